"""Index arithmetic is simplified by rules: each fires, and the numbers stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.codegen import loops
from kcompile.codegen.loops import Buffer, Expr, Var, binary, const, fold, load, ramp, show, stride_of
from kcompile.codegen.loops.evaluate import evaluate
from kcompile.codegen.loops.indexing import flatten, unflatten
from kcompile.codegen.loops.language import OF_CONSTANTS, RULES

X, Y = Var("i"), Var("j")
TRUTH = Var("b", "bool")
YES, NO = const(True, "bool"), const(False, "bool")

# rule -> what it gives, as text, for an operation on operands
FIRES: dict[str, list[tuple[str, Any, Any, str]]] = {
    "_plus_zero": [("add", X, 0, "i"), ("add", 0, X, "i"), ("sub", X, 0, "i")],
    "_times_one": [("mul", X, 1, "i"), ("mul", 1, X, "i"), ("div", X, 1, "i")],
    "_times_zero": [("mul", X, 0, "0"), ("mul", 0, ramp(X, 4), "0")],
    "_modulo_one": [("mod", X, 1, "0")],
    "_constants_together": [
        ("add", X + 3, 4, "(i + 7)"),
        ("mul", X * 3, 4, "(i * 12)"),
        ("add", 4, X + 3, "(i + 7)"),
    ],
    "_product_of_sum": [("mul", X + 3, 4, "((i * 4) + 12)")],
    "_quotient_of_product": [("div", X * 12, 4, "(i * 3)"), ("div", X * 12, 5, "((i * 12) / 5)")],
    "_rest_of_product": [("mod", X * 12, 4, "0"), ("mod", X * 12, 5, "((i * 12) % 5)")],
    "_quotient_and_rest": [
        ("add", X // 5 * 5, X % 5, "i"),
        ("add", X // 5 * 5, X % 4, "(((i / 5) * 5) + (i % 4))"),
        ("add", Y // 5 * 5, X % 5, "(((j / 5) * 5) + (i % 5))"),
    ],
    "_strided": [
        ("add", ramp(X, 4), Y, "(i + j)..x4"),
        ("add", Y, ramp(X, 4, 2), "(j + i)..x4:2"),
        ("add", ramp(X, 4), ramp(Y, 4, 2), "(i + j)..x4:3"),
        ("sub", ramp(X, 4), Y, "(i - j)..x4"),
        ("mul", ramp(X, 4, 2), 3, "(i * 3)..x4:6"),
        ("mul", ramp(X, 4), Y, "(i..x4 * j)"),
    ],
    "_and_or": [
        ("and", TRUTH, YES, "b"),
        ("and", YES, TRUTH, "b"),
        ("and", TRUTH, NO, "False"),
        ("or", TRUTH, NO, "b"),
        ("or", TRUTH, YES, "True"),
    ],
}


def text(e: Expr) -> str:
    _, (only,) = show.expressions(e)
    return only


def test_every_rule_has_its_test() -> None:
    tables = [some for rules in (RULES, OF_CONSTANTS) for of in rules.values() for some in of.values()]
    assert {rule.__name__ for table in tables for rule in table} == set(FIRES)


@pytest.mark.parametrize("rule", FIRES)
def test_the_rule_fires(rule: str) -> None:
    for op, a, b, expected in FIRES[rule]:
        assert text(binary(op, a, b)) == expected


OPS = ("add", "mul", "div", "mod", "min", "max")


@st.composite
def expressions(draw: Any, depth: int = 4) -> tuple[Expr, Expr]:
    """An expression by the constructors, which simplify, and as it was written. Values stay below 2^62."""
    kind = draw(st.sampled_from(("const", "i", "j", "ramp", *("operation",) * 4 * (depth > 0))))
    if kind != "operation":
        leaf = {
            "const": const(draw(st.integers(0, 6))),
            "i": X,
            "j": Y,
            "ramp": ramp(X, 4, draw(st.integers(0, 3))),
        }
        return leaf[kind], leaf[kind]
    op = draw(st.sampled_from(OPS))
    a, plain_a = draw(expressions(depth - 1))
    b, plain_b = draw(expressions(depth - 1))
    if op in ("div", "mod"):
        b = plain_b = const(draw(st.integers(1, 6)))
    lanes = max(plain_a.lanes, plain_b.lanes)
    plain = loops.Binary(op, loops.broadcast(plain_a, lanes), loops.broadcast(plain_b, lanes), "int64", lanes)
    return binary(op, a, b), plain


@settings(max_examples=400)
@given(pair=expressions(), i=st.integers(0, 40), j=st.integers(0, 40))
def test_rules_keep_the_numbers(pair: tuple[Expr, Expr], i: int, j: int) -> None:
    simple, plain = pair
    names = {"i": np.int64(i), "j": np.int64(j)}
    assert simple.lanes in (1, plain.lanes)
    np.testing.assert_array_equal(*np.broadcast_arrays(evaluate(simple, names), evaluate(plain, names)))


@given(
    op=st.sampled_from(("add", "sub", *OPS, "eq", "lt", "ge")), a=st.integers(-50, 50), b=st.integers(-50, 50)
)
def test_folding_is_the_meaning(op: str, a: int, b: int) -> None:
    known = fold(op, a, b)
    if op in ("div", "mod") and b == 0:
        assert known is None
    else:
        dtype = "bool" if op in loops.COMPARISONS else "int64"
        plain = loops.Binary(op, X, Y, dtype, 1)
        assert known == evaluate(plain, {"i": np.int64(a), "j": np.int64(b)})


@given(
    op=st.sampled_from(("add", "sub", "mul", "div", "min", "eq")),
    numbers=st.tuples(*[st.integers(-3, 3)] * 4),
    known=st.tuples(st.booleans(), st.booleans()),
)
def test_the_stride_of_a_result_is_that_of_its_lanes(
    op: str, numbers: tuple[int, int, int, int], known: tuple[bool, bool]
) -> None:
    x, y, s, t = numbers
    stride = stride_of(op, s, t, x if known[0] else None, y if known[1] else None)
    if stride is not None and not (op == "div" and y == 0):
        plain = loops.Binary(op, ramp(X, 4, s), ramp(Y, 4, t), "bool" if op == "eq" else "int64", 4)
        lanes = np.asarray(evaluate(plain, {"i": np.int64(x), "j": np.int64(y)}), np.int64)
        np.testing.assert_array_equal(lanes, lanes[0] + stride * np.arange(4))


@given(shape=st.lists(st.integers(1, 4), max_size=4))
def test_flatten_takes_back_what_unflatten_did(shape: list[int]) -> None:
    """It costs nothing, whatever the flat position was."""
    for flat in (X, X * 3 + Y, ramp(X, 4)):
        if np.prod(shape) > 1:
            assert text(flatten(unflatten(flat, shape), shape)) == text(flat)


def test_an_expression_with_no_part_changed_is_itself() -> None:
    """And one with some is of the same kind, with all else as it was."""
    x, y = Buffer("x", "float32"), Buffer("y", "float32")
    for e in (
        const(1), X, X * Y, -load(x, X), loops.fma(load(x, X), load(y, Y), 1.0), loops.cast(X, "float32"),
        loops.select(binary("lt", X, Y), X, Y), load(x, ramp(X, 4), binary("lt", ramp(X, 4), 9)),
        ramp(X, 4, 2), loops.broadcast(X, 4), loops.reduce_lanes("add", ramp(X, 4)),
    ):  # fmt: skip
        assert loops.map_children(e, lambda part: part) is e
        made = loops.map_children(e, lambda part: Var("z", part.dtype, part.lanes))
        assert (type(made), made.dtype, made.lanes) == (type(e), e.dtype, e.lanes)
        assert [part.name for part in loops.children(made)] == ["z"] * len(loops.children(e))

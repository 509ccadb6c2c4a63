"""Each rule of `simplify` fires where its identity holds, and not beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kcompile.ir import interpreter, ops
from kcompile.ir.graph import Graph, Value
from kcompile.ir.passes import simplify
from kcompile.ir.passes.simplify import RULES
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import Batch, TensorType

SHAPE = (Batch(), 2, 1, 3)
X = np.array([np.nan, np.inf, -np.inf, 0.0, -2.5, 1e-40] * 2, np.float32).reshape(2, 2, 1, 3)

LAST = (3, 2, 1, 0)
Build = Callable[[Tensor], Tensor]


def number(x: Tensor, value: float) -> Tensor:
    return constant(x.graph, value, x.dtype)


def made(build: Build, shape: tuple[object, ...] = SHAPE) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The ops of the simplified graph but for its sources, and its values before and after."""
    graph = Graph("rule")
    x = Tensor(graph, graph.input("x", TensorType(shape)))  # type: ignore[arg-type]
    graph.outputs["y"] = build(x).value
    after = simplify(graph)
    after.verify()
    values = [interpreter.run(g, 2, {"x": X}, {}).outputs["y"] for g in (graph, after)]
    names = [
        f"{m.op.name} {len(m.inputs)}" if m.op.name == "concatenate" else m.op.name
        for m in after.live()
        if m.op.kind != "source"
    ]
    return names, values[0], values[1]


def sums(*operands: int) -> list[str]:
    """The ops of `joined`, of so many operands each."""
    joined = [f"concatenate {count}" for count in operands]
    return ["neg", "exp", joined[0], joined[1], "reduce_max", "reduce_max", "add"]


# rule -> what it shortens, to which ops; and what it leaves, as it is no instance of the identity
FIRES: dict[str, list[tuple[Build, list[str]]]] = {
    "neutral_on_the_right": [
        (lambda x: x + 0.0, []),
        (lambda x: x - 0.0, []),
        (lambda x: x * 1.0, []),
        (lambda x: x / 1.0, []),
        (lambda x: x**1.0, []),
        (lambda x: ops.maximum(x, -np.inf), []),
        (lambda x: ops.minimum(x, np.inf), []),
        (
            lambda x: ops.select(ops.logical_and(x > 0.0, constant(x.graph, True)), x, 0.0),
            ["greater", "select"],
        ),
        (lambda x: x * 2.0, ["mul"]),
        (lambda x: ops.reduce_max(x) + 0.0 * x, ["reduce_max", "mul", "add"]),
    ],
    "neutral_on_the_left": [
        (lambda x: number(x, 0.0) + x, []),
        (lambda x: number(x, 1.0) * x, []),
        (lambda x: number(x, 0.0) - x, ["sub"]),
        (lambda x: number(x, 1.0) / x, ["div"]),
        (lambda x: number(x, 1.0) ** x, ["pow"]),
    ],
    "same_type": [
        (lambda x: again(x, "cast", dtype="float32"), []),
        (lambda x: again(x, "reshape", shape=x.shape), []),
        (lambda x: again(x, "broadcast_to", shape=x.shape), []),
        (lambda x: ops.stop_gradient(x), []),
        (lambda x: ops.copy(x), ["copy"]),
        (lambda x: ops.cast(x, "int32"), ["cast"]),
    ],
    "view_of_view": [
        (lambda x: ops.reshape(ops.reshape(x, (x.shape[0], 6)), (x.shape[0], 3, 2)), ["reshape"]),
        (lambda x: ops.reshape(ops.reshape(x, (x.shape[0], 6)), x.shape), []),
        (lambda x: ops.reshape(-ops.reshape(x, (x.shape[0], 6)), x.shape), ["reshape", "neg", "reshape"]),
    ],
    "done_twice": [
        (lambda x: ops.neg(ops.neg(x)), []),
        (lambda x: ops.reverse(ops.reverse(x, (1, 3)), (3, 1)), []),
        (lambda x: ops.cast(ops.logical_not(ops.logical_not(x > 0.0)), "float32"), ["greater", "cast"]),
        (lambda x: ops.reverse(ops.reverse(x, (1,)), (3,)), ["reverse", "reverse"]),
        (lambda x: ops.relu(ops.relu(x)), ["relu", "relu"]),
    ],
    "transpose_of_transpose": [
        (lambda x: ops.transpose(ops.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1)), []),
        (lambda x: ops.transpose(ops.transpose(x, (1, 0, 2, 3)), (3, 2, 0, 1)), ["transpose"]),
        (
            lambda x: ops.transpose(-ops.transpose(x, (1, 0, 3, 2)), (1, 0, 3, 2)),
            ["transpose", "neg", "transpose"],
        ),
    ],
    "transpose_of_ones": [
        (lambda x: ops.transpose(x, (0, 1, 3, 2)), ["reshape"]),
        (lambda x: ops.transpose(x, (0, 2, 1, 3)), ["reshape"]),
        (lambda x: ops.transpose(x, (0, 3, 2, 1)), ["transpose"]),
    ],
    "reduction_of_ones": [
        (lambda x: ops.reduce_sum(x, 2), ["reshape"]),
        (lambda x: ops.reduce_prod(x, 2), ["reshape"]),
        (lambda x: ops.reduce_max(x, 2), ["reshape"]),
        (lambda x: ops.reduce_min(x, 2), ["reshape"]),
        (lambda x: ops.reduce_sum(x, (1, 2)), ["reduce_sum"]),
    ],
    "concatenated_before": [
        (lambda x: joined(x, (0, 1), (0, 1, 2)), sums(2, 2)),
        (lambda x: joined(x, (1, 2), (0, 1, 2, 1)), sums(2, 3)),
        (lambda x: joined(x, (0, 2), (0, 1, 2)), sums(2, 3)),
    ],
}


def joined(x: Tensor, *chosen: tuple[int, ...]) -> Tensor:
    """The largest numbers of two concatenations of some of three values each."""
    parts = (x, -x, ops.exp(x))
    one, two = (ops.concatenate([parts[i] for i in some], 3) for some in chosen)
    return ops.reduce_max(one, (3,)) + ops.reduce_max(two, (3,))


def again(x: Tensor, op: str, **attrs: object) -> Tensor:
    """A node that the public function would not make."""
    return Tensor(x.graph, Value(x.graph.add(op, [x.value], **attrs).id))


def test_every_rule_has_its_test_and_says_when_it_is_exact() -> None:
    assert [rule.__name__ for rule in RULES] == list(FIRES)
    assert all(rule.__doc__ and "xact" in rule.__doc__ for rule in RULES)


@pytest.mark.parametrize("rule", FIRES)
def test_the_rule_fires_and_keeps_the_bits(rule: str) -> None:
    for build, expected in FIRES[rule]:
        found, before, after = made(build)
        assert found == expected
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("rule", FIRES)
def test_each_rule_is_needed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it some graph of its own stays longer: no other rule does its work."""
    others = tuple(other for other in RULES if other.__name__ != rule)
    monkeypatch.setitem(simplify.__globals__, "RULES", others)
    assert any(made(build)[0] != expected for build, expected in FIRES[rule])


def test_equal_nodes_are_one() -> None:
    found, before, after = made(lambda x: ops.exp(x) + ops.exp(x))
    assert found == ["exp", "add"]
    np.testing.assert_array_equal(after, before)

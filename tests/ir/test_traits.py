"""Each trait of an op against the op's own numpy meaning, on drawn values: a wrong one fails here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import DRAWN, arrays, cases

from kcompile.ir import ops
from kcompile.ir.interpreter import _bind
from kcompile.ir.op import OPS, Op
from kcompile.ir.types import Batch, TensorType

SEEDS = st.integers(0, 2**31 - 1)
N = 3  # samples
ALGEBRA = ("commutative", "neutral", "involution", "signs", "linear", "rounds")
OF_AXES = ("columnwise", "rowwise", "row_by_row", "sums_rows")
OF_MEMORY = (
    "permutes",
    "joins",
    "type_only",
    "view",
    "broadcasts",
    "order_only",
    "numbered",
    "inlined",
    "origin",
    "loop",
)

# Elementwise ops of floats without attributes, of which all traits of algebra are known to be complete.
PLAIN = [
    name
    for name in DRAWN
    if OPS[name].kind == "elementwise"
    and not OPS[name].rounds
    and name not in ("bitcast", "cast", "dequantize", "quantize", "select")
    and not name.startswith(("bitwise", "logical", "shift"))
]


def that_are(trait: str) -> Callable[[Any], Any]:
    """Parameters: the ops whose record has a trait."""
    default = next(f.default for f in fields(Op) if f.name == trait)
    chosen = [name for name in DRAWN if getattr(OPS[name], trait) != default]
    assert chosen
    return pytest.mark.parametrize("name", chosen)


class Use:
    """A drawn use of an op: `values` for its operands, in float64, and its result on others."""

    def __init__(self, name: str, data: st.DataObject, seed: int, specials: bool = False) -> None:
        self.op = OPS[name]
        self.case = data.draw(cases(self.op))
        self.attrs = {k: _bind(a, N, "float64") for k, a in self.case.attrs.items()}
        self.seed, self.specials = seed, specials
        self.values = self.others(0)

    def others(self, number: int) -> list[np.ndarray]:
        made = arrays(self.case, N, self.seed + number, specials=self.specials)
        return [x.astype(np.float64) if x.dtype.kind == "f" else x for x in made]

    def of(self, *values: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.op.numpy(*values, **self.attrs))

    def put(self, slot: int, value: np.ndarray) -> list[np.ndarray]:
        return [value if i == slot else x for i, x in enumerate(self.values)]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_every_trait_has_a_test() -> None:
    names = [f.name for f in fields(Op)]
    assert names[names.index("commutative") :] == [*ALGEBRA, *OF_AXES, *OF_MEMORY]


def test_every_elementwise_op_has_its_public_function() -> None:
    assert {name for name, op in OPS.items() if op.kind == "elementwise"} <= set(ops.__all__)
    assert len(set(ops.__all__)) == len(ops.__all__) and all(hasattr(ops, name) for name in ops.__all__)


# ---------------------------------------------------------------- algebra


@that_are("commutative")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_commutative_ops_take_their_operands_in_any_order(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed, specials=True)
    a, b = use.values
    np.testing.assert_array_equal(use.of(a, b), use.of(b, a))


@that_are("neutral")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_a_neutral_operand_does_nothing(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed, specials=True)
    a = use.values[0]
    neutral = np.full_like(a, use.op.neutral)
    np.testing.assert_array_equal(use.of(a, neutral), a)
    if use.op.commutative:
        np.testing.assert_array_equal(use.of(neutral, a), a)


@that_are("involution")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_an_involution_done_twice_is_nothing(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed, specials=True)
    (x,) = use.values
    np.testing.assert_array_equal(use.of(use.of(x)), x)


@that_are("signs")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_signs_are_those_of_a_sum(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    terms = [sign * x for sign, x in zip(use.op.signs, use.values)]
    assert len(terms) == len(use.values)
    np.testing.assert_array_equal(use.of(*use.values), sum(terms[1:], start=terms[0]))


def linear_in(use: Use, slot: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f(2 x + 3 y) and 2 f(x) + 3 f(y), in one operand."""
    one = use.of(*use.put(slot, 2.0 * x + 3.0 * y))
    return one, 2.0 * use.of(*use.put(slot, x)) + 3.0 * use.of(*use.put(slot, y))


@that_are("linear")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_linear_ops_are_so_in_each_such_operand(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    for slot in use.op.linear:
        if use.values[slot].dtype.kind == "f":
            close(*linear_in(use, slot, use.values[slot], use.others(1)[slot]))
            assert not use.of(*use.put(slot, np.zeros_like(use.values[slot]))).any()


@that_are("rounds")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_rounding_is_near_and_done_once(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed, specials=True)
    (x,) = use.values
    made, finite = use.of(x), np.isfinite(x) & (np.abs(x) < 2.0**127)
    np.testing.assert_array_equal(use.of(made), made)
    assert (np.abs(made[finite] - x[finite]) <= np.abs(x[finite]) * 2.0**-8 + 2.0**-126).all()
    np.testing.assert_array_equal(np.isnan(made), np.isnan(x))


@pytest.mark.parametrize("name", PLAIN)
def test_no_trait_of_algebra_is_missing(name: str) -> None:
    """What the record does not say of an op is not so."""
    op = OPS[name]
    a, b = np.array([2.0, 1.5, -0.75]), np.array([0.5, 3.0, 1.25])
    count = 2 if op.scalar is not None and op.scalar.__code__.co_argcount == 3 else 1
    xs = (a, b)[:count]
    with np.errstate(all="ignore"):
        result = op.numpy(*xs)
        if count == 2:
            assert op.commutative == np.array_equal(result, op.numpy(b, a), equal_nan=True)
        signs = [(s, t)[:count] for s in (1, -1) for t in (1, -1)]
        sums = [s for s in signs if np.array_equal(result, sum(k * x for k, x in zip(s, xs)))]
        assert op.signs == (sums[0] if sums else ())
        for slot in range(count):
            put = [tuple(v if i == slot else x for i, x in enumerate(xs)) for v in (a, b, 2 * a + 3 * b)]
            fa, fb, both = (np.asarray(op.numpy(*p), np.float64) for p in put)
            assert (slot in op.linear) == np.allclose(both, 2 * fa + 3 * fb)


# ---------------------------------------------------------------- axes


def uses(name: str, data: st.DataObject, seed: int, trait: str) -> tuple[Use, Any]:
    use = Use(name, data, seed)
    return use, getattr(use.op, trait)(**use.case.attrs)


@that_are("columnwise")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_a_column_of_the_operand_gives_one_of_the_result(name: str, data: st.DataObject, seed: int) -> None:
    use, slot = uses(name, data, seed, "columnwise")
    if slot is not None:
        assert slot in use.op.linear
        whole, operand = use.of(*use.values), use.values[slot]
        for j in {0, operand.shape[-1] - 1}:
            alone = np.arange(operand.shape[-1]) == j
            close(use.of(*use.put(slot, np.where(alone, operand, 0))), np.where(alone, whole, 0))


@that_are("rowwise")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_a_row_of_the_operands_gives_one_of_the_result(name: str, data: st.DataObject, seed: int) -> None:
    use, slots = uses(name, data, seed, "rowwise")
    whole = use.of(*use.values)
    for i in {0, len(whole) - 1} if slots else ():
        row = [x[i : i + 1] if slot in slots else x for slot, x in enumerate(use.values)]
        close(use.of(*row), whole[i : i + 1])


@that_are("row_by_row")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_other_rows_of_the_operands_do_not_matter(name: str, data: st.DataObject, seed: int) -> None:
    use, does = uses(name, data, seed, "row_by_row")
    whole = use.of(*use.values)
    shape = np.shape(whole)
    if not does or not shape or shape[0] in shape[1:]:  # an operand's first axis may be one of the others
        return
    samples = [slot for slot, x in enumerate(use.values) if x.ndim and len(x) == shape[0]]
    for i in {0, shape[0] - 1}:
        values = list(use.values)
        for slot in samples:
            values[slot] = use.others(1)[slot].copy()
            values[slot][i] = use.values[slot][i]
        np.testing.assert_array_equal(use.of(*values)[i], whole[i])


@that_are("sums_rows")
@settings(max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_a_sum_over_rows_is_that_of_its_rows(name: str, data: st.DataObject, seed: int) -> None:
    use, sums = uses(name, data, seed, "sums_rows")
    if sums:
        rows = [use.of(*(x[i : i + 1] for x in use.values)) for i in range(len(use.values[0]))]
        close(use.of(*use.values), np.sum(rows, 0))


# ---------------------------------------------------------------- memory


@that_are("permutes")
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_a_permutation_is_numpys_transpose(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    (x,) = use.values
    np.testing.assert_array_equal(use.of(x), np.transpose(x, use.attrs["axes"]))


@that_are("joins")
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_what_is_joined_is_numpys_concatenation(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    np.testing.assert_array_equal(use.of(*use.values), np.concatenate(use.values, use.attrs["axis"]))


@that_are("type_only")
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_an_op_for_the_type_alone_keeps_what_has_it(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    (x,) = use.values
    same = {"shape": x.shape, "dtype": x.dtype.name}
    attrs = {k: same[k] for k in use.attrs}
    type = TensorType(x.shape, x.dtype.name)
    assert use.op.types([type], attrs) == (type,)
    np.testing.assert_array_equal(use.op.numpy(x, **attrs), x)


@that_are("view")
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_a_view_has_its_operands_elements_in_order(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    (x,) = use.values
    np.testing.assert_array_equal(np.ravel(use.of(x)), np.ravel(x))


@that_are("broadcasts")
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_a_broadcast_is_numpys(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    (x,) = use.values
    made = use.of(x)
    np.testing.assert_array_equal(made, np.broadcast_to(x, made.shape))


@that_are("order_only")
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_a_function_that_does_not_decrease_goes_before_or_after(
    name: str, data: st.DataObject, seed: int
) -> None:
    def steps(x: Any) -> Any:
        return np.floor(2.0 * x)

    use = Use(name, data, seed)
    made = steps(use.of(*use.values))
    if "value" in use.attrs:
        use.attrs["value"] = steps(use.attrs["value"])
    np.testing.assert_array_equal(use.of(*map(steps, use.values)), made)


@that_are("numbered")
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_places_that_are_not_named_do_not_count(name: str, data: st.DataObject, seed: int) -> None:
    use = Use(name, data, seed)
    table, places = use.values
    axis = use.op.numbered
    assert axis is not None
    unnamed = [i for i in range(table.shape[axis]) if i not in places]
    other = table.copy()
    np.moveaxis(other, axis, 0)[unnamed] += 1
    np.testing.assert_array_equal(use.of(other, places), use.of(table, places))
    np.moveaxis(other, axis, 0)[...] += 1
    assert (use.of(other, places) != use.of(table, places)).all()


@that_are("inlined")
def test_what_is_always_inlined_is_made_by_element_and_cheap(name: str) -> None:
    op = OPS[name]
    assert not op.expensive and (op.scalar is not None or op.lower is not None)
    assert op.kind in ("source", "elementwise", "movement")


def test_sources_say_where_they_come_from() -> None:
    assert {op.origin is not None for op in OPS.values() if op.kind == "source"} == {True}
    assert {op.origin is not None for op in OPS.values() if op.kind != "source"} == {False}


@that_are("origin")
@settings(max_examples=10)
@given(data=st.data())
def test_made_sources_depend_on_the_place_or_the_batch(name: str, data: st.DataObject) -> None:
    op = OPS[name]
    attrs = data.draw(cases(op)).attrs
    one, more = (
        np.asarray(op.numpy(**{k: _bind(a, n, "float64") for k, a in attrs.items()})) for n in (1, 4)
    )
    if op.origin == "size":
        assert one.shape == () and (one != more) == isinstance(attrs["dim"], Batch)
    else:
        along = np.moveaxis(more, attrs["axis"], 0)
        assert all((along[i] == i).all() for i in range(len(along)))


def test_loops_have_bodies() -> None:
    assert {op.kind for op in OPS.values() if op.loop} == {"composite"}


def test_products_are_products() -> None:
    """`is_product` follows from other traits; these must not be true of anything else."""
    a, b = np.array([2.0, 1.5]), np.array([0.5, -3.0])
    for op in OPS.values():
        if op.kind == "elementwise" and op.is_product:
            np.testing.assert_array_equal(op.numpy(a, b), a * b)
    assert any(op.is_product for op in OPS.values())

"""Dims, shapes and broadcasting with the one symbolic size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompile.ir.types import Batch, TensorType, bind, broadcast_shapes, format_shape, numel

N = Batch()
DIMS = st.one_of(st.integers(0, 4), st.builds(Batch, st.integers(1, 3)))


def test_batch_arithmetic() -> None:
    assert N * 3 == Batch(3) == 3 * N
    assert Batch(6) // 2 == Batch(3)
    assert N * 0 == 0
    with pytest.raises(ValueError, match="not divisible"):
        Batch(3) // 2


def test_text() -> None:
    assert str(TensorType((N, 64))) == "float32[n, 64]"
    assert str(TensorType((Batch(2), 3), "int32")) == "int32[2n, 3]"
    assert (format_shape((3,)), format_shape((N, 1)), format_shape(())) == ("(3,)", "(n, 1)", "()")


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="float16"):
        TensorType((1,), "float16")


def test_two_batch_dims_have_no_size() -> None:
    with pytest.raises(ValueError, match="once"):
        numel((N, N))


@given(st.lists(st.integers(0, 4), max_size=4), st.integers(0, 4), st.integers(0, 7))
def test_numel_is_the_product(static: list[int], place: int, n: int) -> None:
    shape = tuple(static[:place]) + (N,) + tuple(static[place:])
    size = numel(shape)
    assert bind((size,), n)[0] == int(np.prod(bind(shape, n)))


@given(st.lists(st.integers(1, 3), max_size=4), st.lists(st.integers(1, 3), max_size=4))
def test_broadcasting_is_numpys(a: list[int], b: list[int]) -> None:
    try:
        expected = np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        with pytest.raises(ValueError, match="do not broadcast"):
            broadcast_shapes(tuple(a), tuple(b))
    else:
        assert broadcast_shapes(tuple(a), tuple(b)) == expected


@given(st.lists(DIMS, max_size=3), st.lists(DIMS, max_size=3))
def test_what_broadcasts_with_the_batch_does_for_every_n(a: list, b: list) -> None:
    try:
        shape = broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return
    for n in (1, 2, 5):
        assert bind(shape, n) == np.broadcast_shapes(bind(a, n), bind(b, n))


def test_the_batch_meets_only_itself_and_one() -> None:
    assert broadcast_shapes((N, 1), (4,)) == (N, 4)
    for other in (3, Batch(2)):
        with pytest.raises(ValueError):
            broadcast_shapes((N,), (other,))

"""Index maps of the contraction family, against loops written out and against what they promise."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import arrays, cases

from kcompile.ir import contraction as maps
from kcompile.ir import ops
from kcompile.ir.contraction import Access, Contraction
from kcompile.ir.op import OPS
from kcompile.ir.types import Batch, TensorType, bind

FAMILY = ("matmul", "conv", "conv_data_gradient", "conv_filter_gradient")


def naive_conv(
    x: np.ndarray, w: np.ndarray, strides: tuple, padding: tuple, dilation: tuple, groups: int = 1
) -> np.ndarray:
    """Cross-correlation, one output element and one tap at a time; group after group."""
    if groups > 1:
        parts = zip(np.split(x, groups, -1), np.split(w, groups, -1))
        return np.concatenate([naive_conv(*part, strides, padding, dilation) for part in parts], -1)
    wide = np.pad(x, ((0, 0), *padding, (0, 0)))
    taps = w.shape[:-2]
    out = [(d - (t - 1) * e - 1) // s + 1 for d, t, s, e in zip(wide.shape[1:-1], taps, strides, dilation)]
    y = np.zeros((len(x), *out, w.shape[-1]))
    for place in itertools.product(*map(range, out)):
        for tap in itertools.product(*map(range, taps)):
            at = tuple(p * s + t * e for p, s, t, e in zip(place, strides, tap, dilation))
            y[(slice(None), *place)] += wide[(slice(None), *at)] @ w[tap]
    return y


@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_conv_is_the_naive_loop(data: st.DataObject, seed: int) -> None:
    case = data.draw(cases(OPS["conv"]))
    x, w = (a.astype(np.float64) for a in arrays(case, 2, seed))
    got = OPS["conv"].numpy(x, w, **case.attrs)
    np.testing.assert_allclose(got, naive_conv(x, w, **case.attrs), atol=1e-10)


@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_gradients_are_adjoint(data: st.DataObject, seed: int) -> None:
    """<conv(x, w), g> = <x, conv_data_gradient(g, w)> = <w, conv_filter_gradient(x, g)>."""
    case = data.draw(cases(OPS["conv"]))
    x, w = (a.astype(np.float64) for a in arrays(case, 3, seed))
    y = OPS["conv"].numpy(x, w, **case.attrs)
    g = np.random.default_rng(seed).normal(size=y.shape)
    dx = OPS["conv_data_gradient"].numpy(g, w, sizes=x.shape[1:-1], **case.attrs)
    dw = OPS["conv_filter_gradient"].numpy(x, g, taps=w.shape[:-2], **case.attrs)
    expected = np.sum(y * g)
    assert np.sum(x * dx) == pytest.approx(expected, abs=1e-9)
    assert np.sum(w * dw) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_matmul_maps_are_the_product(transpose_a: bool, transpose_b: bool) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 3) if transpose_a else (3, 4))
    b = rng.normal(size=(5, 4) if transpose_b else (4, 5))
    spec = maps.matmul(TensorType(a.shape), TensorType(b.shape), transpose_a, transpose_b)
    expected = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    np.testing.assert_allclose(maps.reference(spec, a, b), expected)


def coordinates(access: Access, sizes: dict[int, int]) -> list[np.ndarray]:
    """Numerators of every coordinate over all values of its variables."""
    result = []
    for affine in access.index:
        at = np.full((1,), affine.offset)
        for number, coefficient in affine.terms:
            at = np.add.outer(at, coefficient * np.arange(sizes[number])).ravel()
        result.append(at)
    return result


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=60)
@given(data=st.data())
def test_unguarded_coordinates_are_inside_and_guards_are_needed(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(OPS[name]))
    rule = OPS[name].contraction
    assert rule is not None
    spec: Contraction = rule(*case.types, **case.attrs)
    n = 3
    m, k, j = (bind(dims, n) for dims in (spec.m, spec.k, spec.j))
    sizes = dict(enumerate((*m, *k, *j)))
    rows, summed = len(m), len(m) + len(k)
    for access, allowed in (
        (spec.a, range(summed + len(spec.groups))),
        (spec.b, range(rows, summed + len(j))),
    ):
        shape = bind(case.types[access.operand].shape, n)
        assert len(access.index) == len(access.guarded) == len(shape)
        for at, affine, size, guarded in zip(coordinates(access, sizes), access.index, shape, access.guarded):
            assert all(number in allowed for number, _ in affine.terms)
            inside = (at % affine.divisor == 0) & (at >= 0) & (at // affine.divisor < size)
            if not guarded:
                assert affine.divisor == 1
                assert inside.all()


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=30)
@given(data=st.data())
def test_the_result_type_is_rows_then_columns(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(OPS[name]))
    op = OPS[name]
    assert op.contraction is not None
    spec = op.contraction(*case.types, **case.attrs)
    (result,) = op.types(case.types, case.attrs)
    assert result.shape == spec.m + (math.prod(spec.j),)


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_panels_do_not_change_the_product(name: str, data: st.DataObject, seed: int) -> None:
    case = data.draw(cases(OPS[name]))
    rule = OPS[name].contraction
    assert rule is not None
    spec = rule(*case.types, **case.attrs)
    if any(isinstance(d, Batch) for d in (*spec.k, *spec.j)):
        return
    values: list[Any] = [a.astype(np.float64) for a in arrays(case, 3, seed)]
    expected = maps.reference(spec.bind(3), *values)
    panels = OPS["pack_panels"].numpy(values[spec.b.operand], spec=spec, width=8)
    assert panels.shape == OPS["pack_panels"].infer(case.types[spec.b.operand], spec=spec, width=8).shape
    values[spec.b.operand] = panels
    got = OPS["contract"].numpy(*values, spec=spec.bind(3), panels=8)
    np.testing.assert_allclose(got, expected, atol=1e-10)


@pytest.mark.parametrize("size", [4, 5, 7, 8])
@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_is_keras(size: int, window: int, stride: int, dilation: int) -> None:
    """ceil(size / stride) positions, and the odd element at the end."""
    low, high = ops.same_padding(size, window, stride, dilation)
    assert ops.window_size(size, window, stride, (low, high), dilation) == -(-size // stride)
    assert 0 <= high - low <= 1

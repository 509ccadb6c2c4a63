"""Phases of a strided gradient: every term once, no inserted zero."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kcompile.codegen.contraction.polyphase import phases
from kcompile.ir.op import OPS
from kcompile.ir.types import TensorType


@pytest.mark.parametrize(
    ("size", "taps", "stride", "padding"),
    [
        (8, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (9, 5, 3, (2, 1)),
        (8, 1, 2, (0, 0)),
        (10, 2, 3, (0, 0)),
        (6, 3, 1, (1, 1)),
        (2, 5, 4, (1, 1)),
    ],
)
def test_phases_have_each_term_once(size: int, taps: int, stride: int, padding: tuple[int, int]) -> None:
    out = (size + sum(padding) - taps) // stride + 1
    g, w = TensorType((2, out, 3, 4)), TensorType((taps, 1, 5, 4))
    make = OPS["conv_data_gradient"].contraction
    assert make is not None
    spec = make(g, w, sizes=(size, 3), strides=(stride, 1), padding=(padding, (0, 0)), dilation=(1, 1))
    found: list[tuple[int, int, int]] = []
    for phase in phases(spec, g.shape):
        affine = phase.spec.a.index[1]
        assert all(x.divisor == 1 for x in phase.spec.a.index)
        if phase.empty:
            continue
        row, tap = phase.rows[1], phase.taps[0]
        terms = dict(affine.terms)
        for i, t in itertools.product(range(phase.spec.m[1]), range(phase.spec.k[0])):
            at = affine.offset + terms.get(1, 0) * i + terms.get(len(spec.m), 0) * t
            found.append((row.start + i * row.step, tap.start + t * tap.step, at))
    expected = [
        (i, t, (i + padding[0] - t) // stride)
        for i in range(size)
        for t in range(taps)
        if (i + padding[0] - t) % stride == 0
    ]
    assert sorted(found) == sorted(expected)
    assert len(phases(spec, g.shape)) == min(stride, size)


def test_guards_that_are_not_needed_go() -> None:
    """The gradient of a convolution without padding, by a kernel of one tap."""
    g, w = TensorType((2, 4, 3)), TensorType((1, 5, 3))
    make = OPS["conv_data_gradient"].contraction
    assert make is not None
    spec = make(g, w, sizes=(8,), strides=(2,), padding=((0, 0),), dilation=(1,))
    first, second = phases(spec, g.shape)
    assert not first.empty and second.empty
    assert not any(first.spec.a.guarded)
    assert np.prod(first.spec.m) == 8

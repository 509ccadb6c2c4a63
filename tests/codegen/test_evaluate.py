"""The loop language on numpy: equal to compiled code, and rounded once where that is promised."""

from __future__ import annotations

import ctypes
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import (
    Alloc,
    Buffer,
    Function,
    If,
    N,
    Var,
    binary,
    cast,
    const,
    fma,
    let,
    load,
    loop,
    ramp,
    reduce_lanes,
    select,
    store,
)
from kcompile.codegen.loops.evaluate import convert, evaluate, fused, run

MODERATE = st.floats(-1e100, 1e100).filter(lambda x: x == 0 or abs(x) > 1e-100)
SINGLE = st.floats(-(2.0**100), 2.0**100, width=32)


@given(MODERATE, MODERATE, MODERATE)
def test_fused_in_float64_rounds_once(a, b, c):
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if abs(exact) > Fraction(1, 10**290) or exact == 0:
        assert fused(np.float64(a), np.float64(b), np.float64(c)) == float(exact)


@given(SINGLE, SINGLE, SINGLE)
def test_fused_in_float32_rounds_once(a, b, c):
    got = fused(*(np.float32(v) for v in (a, b, c)))
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    with np.errstate(over="ignore"):
        around = [np.nextafter(got, np.float32(end)) for end in (-np.inf, np.inf)]
    assert got.dtype == np.float32
    if np.isfinite([got, *around]).all():
        distance = abs(Fraction(float(got)) - exact)
        assert all(distance <= abs(Fraction(float(v)) - exact) for v in around)


def test_conversion_to_integers_saturates():
    x = np.array([np.nan, np.inf, -np.inf, 3.9, -3.9, 2.0**31], np.float32)
    assert convert(x, "int32").tolist() == [0, 2**31 - 1, -(2**31), 3, -3, 2**31 - 1]
    assert convert(x, "uint8").tolist() == [0, 255, 0, 3, 0, 255]


def kernel():
    """Row sums of the positive elements, in two ways, and the number of the row in a branch."""
    x, y = Buffer("x", "float32"), Buffer("y", "float32")
    total = Buffer("total", "float32", "register", size=1, lanes=8)
    row, column = Var("row"), Var("column")
    at = ramp(row * 10 + column, 8)
    inside = binary("lt", ramp(column, 8), 10)
    value = load(x, at, inside)
    positive = select(binary("gt", value, 0.0), value, 0.0)
    add = store(total, 0, fma(positive, 2.0, load(total, 0)))
    name, result = let("result", reduce_lanes("add", load(total, 0)))
    odd = binary("eq", row % 2, 1)
    body = [
        Alloc(total),
        store(total, 0, 0.0),
        loop(column, 0, 10, [add], step=8),
        name,
        If(odd, (store(y, row, result),), (store(y, row, result + cast(row, "float32")),)),
    ]
    return Function("rows", (x, y), (loop(row, 0, N, body, kind="parallel"),))


def test_run_gives_what_compiled_code_gives():
    function, target, n = kernel(), targets.native(), 7
    x = np.random.default_rng(0).normal(size=(n, 10)).astype(np.float32)
    interpreted = np.zeros(n, np.float32)
    run(function, [x, interpreted], n)
    raw = np.zeros(1024, np.uint8)
    memory = raw[-raw.ctypes.data % 64 :][:512].view(np.float32)
    memory[:70] = x.ravel()
    pointers = (ctypes.c_void_p * 2)(memory.ctypes.data, memory[80:].ctypes.data)
    library = jit.load(jit.optimise_and_compile(module.emit([function], target), target))
    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p)
    native(library.address("rows"))(pointers, n, 0, n, None)
    assert (interpreted == memory[80 : 80 + n]).all()
    expected = 2 * np.maximum(x, 0).sum(1) + np.where(np.arange(n) % 2, 0, np.arange(n))
    assert np.allclose(interpreted, expected, rtol=1e-5)


def test_access_outside_a_buffer_is_an_error():
    x = Buffer("x", "float32")
    function = Function("late", (x,), (store(x, N, 1.0),))
    with pytest.raises(IndexError, match="x: elements 4 to 4 of 4"):
        run(function, [np.zeros(4, np.float32)], 4)


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match="expected 2 buffers"):
        run(kernel(), [np.zeros(4, np.float32)])
    with pytest.raises(ValueError, match="must be contiguous float32"):
        run(kernel(), [np.zeros(4), np.zeros(4, np.float32)])


def test_integer_division_truncates():
    a, b = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    x, y = Var("x", "int32"), Var("y", "int32")
    assert evaluate(binary("div", x, y), {"x": a, "y": b}).tolist() == [3, -3, -3, 3]
    assert evaluate(binary("mod", x, y), {"x": a, "y": b}).tolist() == [1, -1, 1, -1]
    assert evaluate(x + const(2**31 - 1, "int32"), {"x": a}).dtype == np.int32

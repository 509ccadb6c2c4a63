"""Expressions of the loop language, compiled and run, against numpy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from codegen.compiled import NATIVE, ROW, buffers, elementwise, mapped, run, same_bits, samples

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import (
    Buffer,
    Function,
    N,
    Var,
    binary,
    bitcast,
    cast,
    const,
    dot_bytes,
    fma,
    load,
    loop,
    ramp,
    reduce_lanes,
    select,
    store,
    unary,
)
from kcompile.codegen.loops.evaluate import evaluate
from kcompile_runtime.layout import ELEMENTS

INTEGERS = tuple(name for name, element in ELEMENTS.items() if element.kind in "iu")
FLOAT_OPS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
INT_OPS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
DTYPES = ("float32", "float64", *INTEGERS)


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic_and_comparisons(dtype, lanes):
    a, b = samples(dtype), np.roll(samples(dtype, 1), 3)
    ops = FLOAT_OPS if dtype.startswith("float") else INT_OPS
    bufs = buffers(dtype, dtype)
    outs = [Buffer(op, dtype) for op in ops] + [Buffer(op, "bool") for op in COMPARE]
    at = ramp(ROW, lanes)
    x, y = load(bufs[0], at), load(bufs[1], at)
    stores = [store(o, at, binary(o.name, x, y)) for o in outs]
    function = Function("ops", (*bufs, *outs), (loop(ROW, 0, a.size, stores, step=lanes),))
    arrays = run(function, a, b, *(np.zeros(a.size, o.dtype) for o in outs))
    with np.errstate(all="ignore"):
        for out, got in zip(outs, arrays[2:]):
            same_bits(got, (ops | COMPARE)[out.name](a, b))


@pytest.mark.parametrize("lanes", [1, 8])
def test_integer_division_and_shifts(lanes):
    for dtype in ("int32", "uint32", "int64"):
        a, b = samples(dtype), samples(dtype, 2)
        b[b == 0] = 7
        same_bits(
            mapped(lambda x, y: binary("div", x, y), [a, b], dtype, lanes),
            np.trunc(a.astype(float) / b).astype(dtype),
        )
        same_bits(mapped(lambda x, y: binary("mod", x, y), [a, b], dtype, lanes), np.fmod(a, b).astype(dtype))
        shift = (samples("uint32", 3) % 31).astype(dtype)
        same_bits(mapped(lambda x, y: binary("shr", x, y), [a, shift], dtype, lanes), a >> shift)
        same_bits(mapped(lambda x, y: binary("shl", x, y), [a, shift], dtype, lanes), a << shift)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_mod_is_exact(dtype):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    a = np.array([5.5, -5.5, 1e30, -0.0, 3, huge, 1e30, tiny * 7, np.inf, np.nan, 1, 1, 1], dtype)
    b = np.array([2, -2, 0.7, 3, 3, tiny * 3, -7, tiny * 2, 2, 1, np.inf, 0, np.nan], dtype)
    with np.errstate(all="ignore"):
        same_bits(mapped(lambda x, y: binary("mod", x, y), [a, b], dtype, 1), np.fmod(a, b))


@pytest.mark.parametrize("lanes", [1, 16])
def test_logic_on_bools(lanes):
    a, b = samples("bool"), samples("bool", 1)
    for op, f in {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor, "eq": np.equal}.items():
        same_bits(mapped(lambda x, y, op=op: binary(op, x, y), [a, b], "bool", lanes), f(a, b))
    same_bits(mapped(lambda x: unary("not", x), [a], "bool", lanes), ~a)


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unary_on_floats(dtype, lanes):
    a = samples(dtype)
    for op, f in {"neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor}.items():
        with np.errstate(all="ignore"):
            same_bits(mapped(lambda x, op=op: unary(op, x), [a], dtype, lanes), f(a))


@pytest.mark.parametrize("lanes", [1, 4])
def test_unary_on_integers(lanes):
    for dtype in ("int32", "int64"):
        a = samples(dtype)
        same_bits(mapped(lambda x: unary("neg", x), [a], dtype, lanes), -a)
        same_bits(mapped(lambda x: unary("abs", x), [a], dtype, lanes), abs(a))
        same_bits(mapped(lambda x: unary("not", x), [a], dtype, lanes), ~a)


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_min_and_max_propagate_nan(dtype, lanes):
    a = np.array([np.nan, 1, np.nan, 2, -3, np.inf, -np.inf, 0] * 4, dtype)
    b = np.array([1, np.nan, np.nan, 1, 5, np.nan, 2, 3] * 4, dtype)
    for op, f in {"min": np.minimum, "max": np.maximum}.items():
        same_bits(mapped(lambda x, y, op=op: binary(op, x, y), [a, b], dtype, lanes), f(a, b))
        for c in (0.5, float("nan")):
            expected = f(a, np.dtype(dtype).type(c))
            same_bits(mapped(lambda x, op=op, c=c: binary(op, x, c), [a], dtype, lanes), expected)
            same_bits(
                mapped(lambda x, op=op, c=c: binary(op, const(c, dtype), x), [a], dtype, lanes), expected
            )


def test_max_with_a_constant_is_one_instruction():
    if NATIVE.vector_bits < 256:
        pytest.skip("reads AVX assembly")
    a, b = buffers("float32", "float32")
    at = ramp(ROW, 8)
    relu = Function("relu", (a, b), (loop(ROW, 0, N, [store(b, at, binary("max", load(a, at), 0))], step=8),))
    asm = jit.assembly(module.emit([relu], NATIVE), NATIVE)
    assert "vmaxps" in asm
    assert "vcmp" not in asm


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("name", ["native", "x86-64-v2"])
def test_fma_rounds_once(name, lanes):
    if name != "native" and "x86_64" not in NATIVE.triple:
        pytest.skip("x86-64 code")
    rng = np.random.default_rng(5)
    a, b = ((rng.normal(size=512)).astype("float32") for _ in range(2))
    c = (-a * b * (1 + rng.normal(size=512) * 1e-7)).astype("float32")
    c[:256] = rng.normal(size=256) * 10.0 ** rng.integers(-20, 20, 256)
    got = mapped(lambda x, y, z: fma(x, y, z), [a, b, c], "float32", lanes, targets.named(name))
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c)]
    same_bits(got, np.array([nearest_float32(v) for v in exact], "float32"))


def nearest_float32(value):
    """The float32 nearest to a rational number, ties to even."""
    guess = np.float32(float(value))
    near = [guess, *(np.nextafter(guess, np.float32(end)) for end in (-np.inf, np.inf))]
    return min(near, key=lambda f: (abs(Fraction(float(f)) - value), int(f.view("uint32")) & 1))


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("source", (*DTYPES, "bool"))
def test_casts(source, lanes):
    a = samples(source)
    if source.startswith("float"):
        a = np.where(np.isfinite(a), a, 3).astype(source)
    values, at = Buffer("values", source), ramp(ROW, lanes)
    natural = Buffer("natural", source)  # what an unsigned type holds too
    outs = [Buffer(to, to) for to in (*DTYPES, "bool")]
    inputs = {out: natural if source[0] in "fi" and out.dtype[0] == "u" else values for out in outs}
    stores = [store(out, at, cast(load(inputs[out], at), out.dtype)) for out in outs]
    function = Function("casts", (values, natural, *outs), (loop(ROW, 0, a.size, stores, step=lanes),))
    given = {values: a, natural: a if source == "bool" else abs(a)}
    arrays = run(function, a, given[natural], *(np.zeros(a.size, out.dtype) for out in outs))
    for out, got in zip(outs, arrays[2:]):
        same_bits(got, given[inputs[out]].astype(out.dtype))


def test_float_to_int_saturates():
    a = np.array([np.nan, 1e20, -1e20, 5.9] * 4, "float32")
    got = mapped(lambda x: cast(x, "int32"), [a], "int32", 16)
    assert got[:4].tolist() == [0, 2**31 - 1, -(2**31), 5]


@pytest.mark.parametrize("lanes", [1, 16])
def test_bitcast_and_select(lanes):
    a = samples("float32")
    same_bits(mapped(lambda x: bitcast(x, "int32"), [a], "int32", lanes), a.view("int32"))
    same_bits(mapped(lambda x: bitcast(bitcast(x, "uint32"), "float32"), [a], "float32", lanes), a)
    same_bits(
        mapped(lambda x: select(binary("gt", x, 0.0), x, x * 0.5), [a], "float32", lanes),
        np.where(a > 0, a, a * np.float32(0.5)),
    )


def test_constants_are_exact():
    (out,) = buffers("float32")
    values = [0.1, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, 3.4e38, 1e39]
    function = Function("c", (out,), tuple(store(out, i, v) for i, v in enumerate(values)))
    with np.errstate(over="ignore"):
        same_bits(run(function, np.zeros(8, "float32"))[0], np.array(values, "float32"))


@pytest.mark.parametrize("op", ["add", "mul", "min", "max"])
def test_lanes_are_reduced_by_a_balanced_tree(op):
    a, out = buffers("float32", "float32")
    x = samples("float32", 4)[16:32]
    function = Function("f", (a, out), (store(out, 0, reduce_lanes(op, load(a, ramp(0, 16)))),))
    tree = x
    while tree.size > 1:
        half = tree.size // 2
        f = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[op]
        tree = f(tree[:half], tree[half:])
    same_bits(run(function, x, np.zeros(1, "float32"))[1], tree)


def test_lanes_of_bools_are_reduced():
    a, out = buffers("bool", "bool")
    x = np.array([False] * 7 + [True])
    function = Function(
        "f",
        (a, out),
        (
            store(out, 0, reduce_lanes("or", load(a, ramp(0, 8)))),
            store(out, 1, reduce_lanes("and", load(a, ramp(0, 8)))),
        ),
    )
    assert run(function, x, np.zeros(2, bool))[1].tolist() == [True, False]


@pytest.mark.parametrize("lanes", [1, 4, 8, 16, 32])
@pytest.mark.parametrize("level", ["native", *targets.LEVELS])
def test_products_of_bytes_are_exact_whatever_the_processor_has(level, lanes):
    """Also where all products are as large as they can be: sums of 16 bits would overflow."""
    generator = np.random.default_rng(lanes)
    a, b, c = generator.integers(-(2**31), 2**31, (3, 64)).astype(np.int32)
    a[:8], b[:4], b[4:8] = -1, 0x7F7F7F7F, np.int32(-0x7F7F7F80)  # 255 by 127 and by -128, four times
    left = a.view(np.uint8).reshape(-1, 4).astype(np.int64)
    right = b.view(np.int8).reshape(-1, 4).astype(np.int64)
    expected = ((left * right).sum(1) + c).astype(np.int32)
    target = NATIVE
    if level != "native":
        needs = {name[1:] for name in NATIVE.features.split(",") if name.startswith("+")}
        if not needs.issuperset(targets.named(level).architecture.levels[level]):
            pytest.skip(f"needs {level}")
        target = targets.host_as(level)
    made = elementwise(lambda *words: dot_bytes(*words), ["int32"] * 3, "int32", lanes, target)
    np.testing.assert_array_equal(made(a, b, c), expected)
    words = [Var(name, "int32", 64) for name in "abc"]
    np.testing.assert_array_equal(evaluate(dot_bytes(*words), {"a": a, "b": b, "c": c}), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "bool", "float32"])
@pytest.mark.parametrize("count", [1, 2, 15])
def test_a_masked_store_writes_no_more_than_its_lanes(dtype, count):
    """LLVM stores four bytes for one lane of bytes, where it knows the mask and that they were 32 bits."""
    words, out = Buffer("x", "int32"), Buffer("y", dtype)
    at = ramp(const(0), 16)
    value = cast(binary("add", load(words, at), const(1, "int32")), dtype)
    mask = binary("lt", at, const(count))
    body = loop(ROW, 0, 1, [store(out, at, value, mask)], step=16)
    x, y = np.arange(16, dtype=np.int32) + 70_000, np.ones(16, dtype) * 9
    _, found = run(Function("masked", (words, out), (body,)), x, y.astype(dtype))
    expected = np.where(np.arange(16) < count, (x + 1).astype(dtype), y.astype(dtype))
    same_bits(found, expected)

"""Kernels in the loop language, compiled and run, against numpy."""

from __future__ import annotations

import ctypes
import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.cost import THREAD_CYCLES
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import (
    Alloc,
    Buffer,
    Const,
    For,
    Function,
    If,
    N,
    Store,
    Unary,
    Var,
    across,
    binary,
    bitcast,
    cast,
    const,
    fma,
    let,
    load,
    loop,
    ramp,
    select,
    store,
    unary,
)
from kcompile.codegen.program import Entry, Launch, Program, Ref, Size

NATIVE = targets.native()
REGISTERS = Buffer("r", "float32", "register", 4)
ROW, COL, DEPTH = Var("i"), Var("j"), Var("k")
SIGNATURE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
)


def aligned(array):
    """A copy that starts at a multiple of 64 bytes."""
    array = np.ascontiguousarray(array)
    raw = np.zeros(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def run(function, *arrays, n=0, begin=0, end=1, target=NATIVE):
    """Compile and call a kernel; the arrays come back as they are afterwards."""
    library = jit.load(jit.optimise_and_compile(module.emit([function], target), target))
    arrays = [aligned(a) for a in arrays]
    pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    scratch = aligned(np.zeros(module.scratch_bytes(function) + 1, np.uint8))
    SIGNATURE(library.address(function.name))(pointers, n, begin, end, scratch.ctypes.data)
    return arrays


def buffers(*dtypes):
    return tuple(Buffer(f"b{i}", dtype) for i, dtype in enumerate(dtypes))


def mapped(make, inputs, out_dtype, lanes, target=NATIVE):
    """Apply `make(*expressions)` elementwise, `lanes` at a time; the length divides by lanes."""
    bufs = buffers(*(str(a.dtype) for a in inputs), out_dtype)
    at = ramp(ROW, lanes)
    value = make(*(load(b, at) for b in bufs[:-1]))
    body = loop(ROW, 0, inputs[0].size, [store(bufs[-1], at, value)], step=lanes)
    out = np.zeros(inputs[0].size, out_dtype)
    return run(Function("map", bufs, (body,)), *inputs, out, target=target)[-1]


def same_bits(a, b):
    assert a.dtype == b.dtype
    if a.dtype.kind == "f":
        assert np.array_equal(np.isnan(a), np.isnan(b))
        a, b = (np.where(np.isnan(x), x.dtype.type(0), x) for x in (a, b))
    assert a.tobytes() == b.tobytes()


def samples(dtype, seed=0, size=64):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, size).astype(bool)
    if dtype.startswith("float"):
        special = [0.0, -0.0, np.inf, -np.inf, 1.0, -1.0, 0.5, 1e-40]
        return np.concatenate([special, rng.normal(size=size - 8) * 10]).astype(dtype)
    low, high = (0, 100) if dtype.startswith("u") else (-100, 100)
    return rng.integers(low, high, size).astype(dtype)


# ---------------------------------------------------------------- expressions

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
DTYPES = ("float32", "float64", "int8", "uint8", "int32", "uint32", "int64", "uint64")


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
    for to in ("float32", "float64", "int32", "int64", "uint8", "uint32", "bool"):
        if source[0] in "fi" and to[0] == "u":
            values = abs(a)
        else:
            values = a
        got = mapped(lambda x, to=to: cast(x, to), [values], to, lanes)
        same_bits(got, values.astype(to))


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
def test_across_is_a_balanced_tree(op):
    a, out = buffers("float32", "float32")
    x = samples("float32", 4)[16:32]
    function = Function("f", (a, out), (store(out, 0, across(op, load(a, ramp(0, 16)))),))
    tree = x
    while tree.size > 1:
        half = tree.size // 2
        f = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[op]
        tree = f(tree[:half], tree[half:])
    same_bits(run(function, x, np.zeros(1, "float32"))[1], tree)


def test_across_on_bools():
    a, out = buffers("bool", "bool")
    x = np.array([False] * 7 + [True])
    function = Function(
        "f",
        (a, out),
        (store(out, 0, across("or", load(a, ramp(0, 8)))), store(out, 1, across("and", load(a, ramp(0, 8))))),
    )
    assert run(function, x, np.zeros(2, bool))[1].tolist() == [True, False]


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("stride", [0, 1, 2, -1])
def test_vector_loads_with_strides(dtype, stride):
    a, out = buffers(dtype, dtype)
    x = samples(dtype)
    function = Function("f", (a, out), (store(out, ramp(0, 8), load(a, ramp(16, 8, stride))),))
    same_bits(run(function, x, np.zeros(8, dtype))[1], x[16 + stride * np.arange(8)])


@pytest.mark.parametrize("name", ["native", "x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_gather_scatter_and_masks(dtype, name):
    if name != "native" and "x86_64" not in NATIVE.triple:
        pytest.skip("x86-64 code")
    a, where, on, out, spread = buffers(dtype, "int64", "bool", dtype, dtype)
    x, order = samples(dtype), np.random.default_rng(0).permutation(16)
    mask = samples("bool", 9, 16)
    at, flags = load(where, ramp(0, 16)), load(on, ramp(0, 16))
    function = Function(
        "f",
        (a, where, on, out, spread),
        (
            store(out, ramp(0, 16), load(a, at)),
            store(out, ramp(16, 16), load(a, at, flags)),
            store(out, ramp(32, 16), load(a, ramp(3, 16), flags)),
            store(out, ramp(48, 16), load(a, ramp(0, 16)), flags),
            store(spread, at, load(a, ramp(0, 16))),
            store(spread, at + 16, load(a, ramp(0, 16)), flags),
            store(spread, ramp(32, 16, 2), load(a, ramp(0, 16))),
        ),
    )
    zeros = np.zeros(64, dtype)
    *_, got, placed = run(function, x, order, mask, zeros, zeros, target=targets.named(name))
    masked = [np.where(mask, v, 0) for v in (x[order], x[3:19], x[:16])]
    same_bits(got, np.concatenate([x[order], *masked]).astype(dtype))
    expected = np.zeros(64, dtype)
    expected[order] = x[:16]
    expected[16 + order[mask]] = x[:16][mask]
    expected[32::2] = x[:16]
    same_bits(placed, expected)


def test_masked_scalars_touch_nothing_where_the_mask_is_off():
    a, out = buffers("float32", "float32")
    inside = binary("lt", ROW, 2)
    far = select(inside, ROW, const(1 << 50))
    function = Function(
        "f",
        (a, out),
        (loop(ROW, 0, 4, [store(out, ROW, load(a, far, inside) + 1.0), store(out, far, 9.0, mask=inside)]),),
    )
    got = run(function, np.array([5, 6], "float32"), np.zeros(4, "float32"))[1]
    assert got.tolist() == [9, 9, 1, 1]


def test_masked_tail_does_not_read_past_the_end():
    a, out = buffers("float32", "float32")
    last = binary("lt", ramp(ROW, 16), N)
    double = load(a, ramp(ROW, 16), last) * 2.0
    function = Function("f", (a, out), (loop(ROW, 0, N, [store(out, ramp(ROW, 16), double, last)], step=16),))
    x = samples("float32")
    got = run(function, x[:37], np.zeros(64, "float32"), n=37)[1]
    same_bits(got, np.concatenate([x[:37] * 2, np.zeros(27, "float32")]))


def test_local_arrays():
    """stack, scratch and register buffers, of scalars and of vectors; disjoint scopes share."""
    (out,) = buffers("float32")
    body = []
    for number, space in enumerate(("stack", "scratch", "register")):
        wide = Buffer(f"wide{number}", "float32", space, 3, 8)
        flags = Buffer(f"flags{number}", "bool", space, 3)
        rows = [const(i) for i in range(3)] if space == "register" else [ROW]
        fill = [
            s
            for i in rows
            for s in (store(wide, i, cast(i, "float32") + number), store(flags, i, binary("eq", i % 2, 0)))
        ]
        read = [
            store(out, ramp(number * 24 + i * 8, 8), load(wide, i) + cast(load(flags, i), "float32"))
            for i in rows
        ]
        parts = [fill, read] if space == "register" else [[loop(ROW, 0, 3, part)] for part in (fill, read)]
        scope = (Alloc(wide), Alloc(flags), *parts[0], *parts[1])
        body.append(For(Var("once"), const(0), const(1), scope))
    function = Function("local", (out,), tuple(body))
    assert module.scratch_bytes(function) == 128 + 64
    got = run(function, np.zeros(72, "float32"))[0].reshape(3, 3, 8)
    assert np.array_equal(
        got,
        np.broadcast_to(
            np.array([1, 1, 3], "float32")[None, :, None] + np.arange(3)[:, None, None], got.shape
        ),
    )


# ---------------------------------------------------------------- statements


def test_nested_loops_names_and_branches():
    """Names repeat in disjoint scopes, bounds are data, branches write and merge."""
    (out,) = buffers("int64")
    row = let("t", ROW * 10)
    again = let("t", ROW * 100)
    function = Function(
        "f",
        (out,),
        (
            loop(
                ROW,
                0,
                N,
                [
                    row[0],
                    loop(
                        COL,
                        0,
                        ROW,
                        [
                            If(
                                binary("eq", (ROW + COL) % 2, 0),
                                (store(out, ROW * 4 + COL, row[1] + COL),),
                                (store(out, ROW * 4 + COL, -row[1]),),
                            )
                        ],
                    ),
                    If(binary("ge", ROW, 2), (again[0], store(out, ROW * 4 + 3, again[1]))),
                ],
            ),
            loop(ROW, 5, 5, [store(out, 0, 77)]),
            loop(ROW, 1, 4, [store(out, 16 + ROW, ROW)], step=2),
        ),
    )
    got = run(function, np.zeros(20, "int64"), n=4)[0]
    expected = np.zeros(20, "int64")
    for i in range(4):
        for j in range(i):
            expected[i * 4 + j] = i * 10 + j if (i + j) % 2 == 0 else -i * 10
        if i >= 2:
            expected[i * 4 + 3] = i * 100
    expected[[17, 19]] = 1, 3
    assert got.tolist() == expected.tolist()


def test_parallel_loop_runs_its_part():
    (out,) = buffers("float32")
    scale = let("scale", cast(N, "float32"))
    function = Function(
        "f", (out,), (scale[0], loop(ROW, 0, N, [store(out, ROW, scale[1])], kind="parallel"))
    )
    got = run(function, np.zeros(10, "float32"), n=10, begin=3, end=7)[0]
    assert got.tolist() == [0, 0, 0, 10, 10, 10, 10, 0, 0, 0]


def test_indices_in_loops_that_run_once_fold_to_constants():
    """Index arithmetic on their variables leaves no multiplication, division or branch."""
    (a,) = buffers("float32")
    inner = If(binary("lt", binary("mod", ROW * 3 + COL, 4), 2), (store(a, (ROW * 3 + COL) // 2, 1.0),))
    body = [loop(ROW, i, i + 1, [loop(COL, j, j + 1, [inner])]) for i in range(4) for j in range(3)]
    function = Function("f", (a,), tuple(body))
    text = module.emit([function], NATIVE)
    assert not re.search(r"\b(mul|[su]div|[su]rem|icmp|br)\b", text)
    expected = np.zeros(8, "float32")
    expected[[t // 2 for t in range(12) if t % 4 < 2]] = 1
    same_bits(run(function, np.zeros(8, "float32"))[0], expected)


def micro_kernel(rows, columns, lanes, depth):
    """C = A^T B for packed panels: rows x (columns vectors), accumulated in registers."""
    a, b, c = (Buffer(name, "float32") for name in "abc")
    acc = Buffer("acc", "float32", "register", rows * columns, lanes)
    panel = [
        let(f"b{j}", load(b, ramp(DEPTH * (columns * lanes) + j * lanes, lanes))) for j in range(columns)
    ]
    tile, steps = range(rows * columns), [s for s, _ in panel]
    for i in range(rows):
        binding, one = let(f"one{i}", load(a, DEPTH * rows + i))
        steps.append(binding)
        for j, at in enumerate(range(i * columns, (i + 1) * columns)):
            steps.append(store(acc, at, fma(one, panel[j][1], load(acc, at))))
    body = [
        Alloc(acc),
        *(store(acc, at, 0.0) for at in tile),
        loop(DEPTH, 0, depth, steps),
        *(store(c, ramp(at * lanes, lanes), load(acc, at)) for at in tile),
    ]
    return Function("micro", (a, b, c), tuple(body))


def test_register_tile():
    lanes = NATIVE.lanes("float32")
    rows = 12 if NATIVE.registers == 32 else 6
    function = micro_kernel(rows, 2, lanes, N)
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(50, size)).astype("float32") for size in (rows, 2 * lanes))
    c = run(function, a, b, np.zeros((rows, 2 * lanes), "float32"), n=50)[2]
    np.testing.assert_allclose(c, a.T @ b, rtol=1e-5, atol=1e-5)
    if "x86_64" in NATIVE.triple and NATIVE.fma:
        asm = jit.assembly(module.emit([function], NATIVE), NATIVE)
        assert not re.search(r"mm\d+, -?\d*\(%rsp\)", asm)  # nothing is spilled


def test_deep_expressions():
    (a,) = buffers("float32")
    x = load(a, 0)
    for _ in range(5000):
        x = x + 1.0
    assert run(Function("deep", (a,), (store(a, 0, x),)), np.zeros(1, "float32"))[0] == 5000


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ((store(Buffer("a", "float32"), Var("nowhere"), 0.0),), "nowhere"),
        ((store(Buffer("stray", "float32"), 0, 0.0),), "stray"),
        ((loop(ROW, 0, N, [], kind="parallel"), store(Buffer("a", "float32"), 0, 0.0)), "parallel"),
        ((loop(ROW, 0, 4, [loop(COL, 0, N, [], kind="parallel")]),), "outermost"),
        ((Alloc(REGISTERS), loop(ROW, 0, N, [store(REGISTERS, ROW, 0.0)])), "register buffer"),
        (
            (Store(Buffer("a", "float32"), const(0), Unary("not", Const(1.0, "float32"), "float32", 1)),),
            "not is not defined",
        ),
    ],
)
def test_broken_kernels_are_refused(body, message):
    function = Function("broken", (Buffer("a", "float32"),), body)
    with pytest.raises(ValueError, match=message) as caught:
        module.emit([function], NATIVE)
    assert "broken" in str(caught.value)


def test_unknown_target_and_symbol():
    with pytest.raises(ValueError, match="x86-64-v3"):
        targets.named("pdp11")
    function = Function("f", (), ())
    library = jit.load(jit.optimise_and_compile(module.emit([function], NATIVE), NATIVE))
    with pytest.raises(KeyError, match="nothing"):
        library.address("nothing")


def test_other_targets_compile():
    """The same kernels become code for every target; nothing but data differs."""
    (a,) = buffers("float32")
    x = load(a, ramp(ROW, 4))
    function = Function(
        "f",
        (a,),
        (
            loop(
                ROW, 0, N, [store(a, ramp(ROW, 4), unary("floor", binary("max", fma(x, x, x), 0.5)))], step=4
            ),
        ),
    )
    for target in map(targets.named, targets.NAMES):
        assert len(jit.optimise_and_compile(module.emit([function], target), target)) > 100


# ---------------------------------------------------------------- what does not change in a loop


def lines_of(function, part):
    """The lines of a kernel's text with `part`, and that of its innermost loop's label."""
    text = module.emit([function], NATIVE).splitlines()
    loops = [i for i, line in enumerate(text) if re.match(r"loop\d+:", line)]
    return [i for i, line in enumerate(text) if part in line], loops


def test_invariants_are_computed_before_the_loops_that_do_not_change_them():
    x, s, y = buffers("float32", "float32", "float32")
    value = (load(s, 0) / 3.0 + load(x, ROW)) * load(s, COL)
    body = loop(ROW, 0, 6, [loop(COL, 0, 4, [store(y, ROW * 4 + COL, value)])])
    function = Function("outer", (x, s, y), (body,))
    outer, inner = lines_of(function, "")[1]
    divisions, additions = (lines_of(function, part)[0] for part in ("fdiv", "fadd"))
    assert len(divisions) == len(additions) == 1
    assert divisions[0] < outer < additions[0] < inner
    a, b = samples("float32", size=16)[10:], np.array([1, 2, 3, 4], "float32")
    got = run(function, a, b, np.zeros(24, "float32"))[-1]
    same_bits(got, ((b[0] / np.float32(3) + a)[:, None] * b).ravel())


@pytest.mark.parametrize("aliased", [False, True])
def test_what_a_loop_writes_is_read_in_it(aliased):
    x, y = buffers("float32", "float32")
    body = loop(ROW, 0, 8, [store(y, 0, load(y, 0) + load(x, 1))])
    function = Function("sum", (x, y), (body,), aliased=aliased)
    loads, (start,) = lines_of(function, "load float")
    assert [line > start for line in loads] == ([True, True] if aliased else [False, True])
    assert run(function, np.array([0, 2], "float32"), np.zeros(1, "float32"))[-1] == 16
    both = aligned(np.array([1, 1], "float32"))
    if aliased:  # y is x[1:]
        library = jit.load(jit.optimise_and_compile(module.emit([function], NATIVE), NATIVE))
        pointers = (ctypes.c_void_p * 2)(both.ctypes.data, both.ctypes.data + 4)
        SIGNATURE(library.address("sum"))(pointers, 0, 0, 1, None)
        assert both[1] == 256


def test_nothing_that_could_trap_leaves_a_branch_or_a_loop_that_does_not_run():
    """A division by zero, and loads outside of the arrays."""
    d, x, y = buffers("int64", "float32", "int64")
    zero = load(d, 0)
    far = load(x, zero * 0 + 2**40)
    body = loop(
        ROW,
        0,
        4,
        [
            If(binary("ne", zero, 0), (store(y, ROW, N // zero),)),
            If(binary("ne", zero, 0), (store(y, ROW, cast(far, "int64")),)),
            loop(COL, 0, zero, [store(y, ROW, cast(far, "int64"))]),
        ],
    )
    got = run(
        Function("safe", (d, x, y), (body,)), np.zeros(1, "int64"), np.zeros(4, "float32"), np.arange(4), n=7
    )[-1]
    assert got.tolist() == [0, 1, 2, 3]


def test_a_value_from_before_a_loop_that_may_not_run_is_computed_again_after_it():
    x, y = buffers("float32", "float32")
    value = load(x, 0) * 3.0
    body = (loop(ROW, 0, N, [store(y, ROW, value)]), store(y, 7, value))
    function = Function("twice", (x, y), body)
    assert run(function, np.array([2], "float32"), np.zeros(8, "float32"), n=0)[-1][7] == 6
    assert run(function, np.array([2], "float32"), np.zeros(8, "float32"), n=3)[-1].tolist() == [
        6,
        6,
        6,
        0,
        0,
        0,
        0,
        6,
    ]


# ---------------------------------------------------------------- programs

POOL = """
define void @kc_parallel(ptr %pool, ptr %fn, ptr %bufs, i64 %n, i64 %extent, i64 %grain,
                         ptr %scratch, i64 %stride) {
  %half = sdiv i64 %extent, 2
  %next = getelementptr i8, ptr %scratch, i64 %stride
  call void %fn(ptr %bufs, i64 %n, i64 0, i64 %half, ptr %scratch)
  call void %fn(ptr %bufs, i64 %n, i64 %half, i64 %extent, ptr %next)
  ret void
}
"""


@pytest.mark.parametrize("pool", [0, 1])
def test_program(pool):
    """Launches through the arena, equal kernels shared, serial or in two parts."""
    a, b = buffers("float32", "float32")

    def double(name):
        t = Buffer("t", "float32", "scratch", 4)
        return Function(
            name,
            (a, b),
            (
                loop(
                    ROW,
                    0,
                    N,
                    [Alloc(t), store(t, 0, load(a, ROW) * 2.0), store(b, ROW, load(t, 0))],
                    kind="parallel",
                ),
            ),
            note="layer 'x'",
        )

    extent, quarter = Size(0, 1), Size(THREAD_CYCLES // 4)
    first, second = Ref("arena", offset=Size(64, 64)), Ref("arena")
    chain = [Ref("input"), first, second, first, Ref("output")]
    entry = Entry(
        "predict",
        (
            *(
                Launch(double(f"step{i}"), pair, extent, quarter)
                for i, pair in enumerate(itertools.pairwise(chain))
            ),
            Launch(
                Function("add", (a, b), (store(b, 0, load(b, 0) + load(a, 1)),)),
                (Ref("constant", offset=Size(8)), Ref("output", 0)),
            ),
        ),
        Size(64, 128),
    )
    text = module.emit_program(Program((entry,)), NATIVE)
    assert text.count('define internal void @"k1_step1"(') == 1
    assert "step2" not in text
    library = jit.load(jit.optimise_and_compile([text, POOL], NATIVE))
    x, out = aligned(samples("float32", size=32)[8:29]), aligned(np.zeros(21, "float32"))
    constants = aligned(np.array([0, 0, 0, 10], "float32"))
    assert module.entry_scratch(entry) == 64
    arena = aligned(np.zeros(entry.arena.at(21) + 2 * 64, np.uint8))
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, *[ctypes.c_void_p] * 7)(
        library.address("kc_predict")
    )
    one = ctypes.c_void_p * 1
    assert (
        call(
            21,
            one(x.ctypes.data),
            one(out.ctypes.data),
            None,
            None,
            constants.ctypes.data,
            arena.ctypes.data,
            pool,
        )
        == 0
    )
    expected = x * 16
    expected[0] += 10
    same_bits(out, expected)

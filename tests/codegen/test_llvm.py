"""Memory, statements and programs of the loop language, compiled and run, against numpy."""

from __future__ import annotations

import ctypes
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from codegen.compiled import KERNEL, NATIVE, ROW, buffers, run, same_bits, samples

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.cost import THREAD_CYCLES
from kcompile.codegen.llvm import memory, module
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
    binary,
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
from kcompile_runtime.arrays import aligned_copy
from kcompile_runtime.layout import Memory

REGISTERS = Buffer("r", "float32", "register", 4)
COL, DEPTH = Var("j"), Var("k")


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
    both = aligned_copy(np.array([1, 1], "float32"))
    if aliased:  # y is x[1:]
        library = jit.load(jit.optimise_and_compile(module.emit([function], NATIVE), NATIVE))
        pointers = (ctypes.c_void_p * 2)(both.ctypes.data, both.ctypes.data + 4)
        KERNEL(library.address("sum"))(pointers, 0, 0, 1, None)
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
    x, out = aligned_copy(samples("float32", size=32)[8:29]), aligned_copy(np.zeros(21, "float32"))
    constants = aligned_copy(np.array([0, 0, 0, 10], "float32"))
    assert memory.entry_memory(entry).scratch_at(21) == 64
    arena = aligned_copy(np.zeros(entry.arena.at(21) + 2 * 64, np.uint8))
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


def test_memory_is_the_same_in_python_and_in_code():
    shares = (((0, 0, 0), (6400, 64, 72)), ((128, 128, 0), (3200, 0, 100), (640, 128, 4)))
    library = {}
    for most in (0, 20):
        planned = Memory((64, 192), shares, most)
        text = f'target triple = "{NATIVE.triple}"\n' + memory.memory_ir(planned, "kc_predict")
        library[most] = jit.load(jit.optimise_and_compile(text, NATIVE))
        native = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(
            library[most].address("kc_predict_memory")
        )
        for n, threads in itertools.product((1, 2, 7, 19, 20, 21, 90, 5000), (1, 3, 40)):
            assert native(n, threads) == planned.at(n, threads)
        assert planned.at(5000) == (planned.at(20) if most else 64 + 5000 * 192 + 6400)


def test_sums_that_are_never_the_most_are_left_out():
    def kernel(name, *buffers):
        body = [Alloc(b) for b in buffers]
        return Launch(Function(name, (), (*body, store(buffers[0], 0, const(1.0, "float32")))), ())

    few = Buffer("few", "float32", "scratch", 160, used=(0, 16))
    more, fixed = replace(few, size=320, used=(0, 32)), Buffer("fixed", "float32", "scratch", 200)
    entry = Entry(
        "predict", (kernel("a", few), kernel("b", more), kernel("c", fixed), kernel("d", fixed, few))
    )
    assert memory.entry_memory(entry).scratch == (((0, 0, 0), (1280, 0, 128)), ((832, 832, 0), (640, 0, 64)))

"""Compile kernels of the loop language and call them on arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import Buffer, Expr, Function, N, Var, load, loop, ramp, store
from kcompile_runtime.arrays import aligned_copy

NATIVE = targets.native()
ROW = Var("i")
KERNEL = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
)


def elementwise(
    build: Callable[..., Expr],
    inputs: list[str],
    output: str,
    lanes: int | None = None,
    target: targets.Target | None = None,
    indexed: bool = False,
) -> Callable[..., np.ndarray]:
    """A function from one array for each dtype of `inputs` to one of dtype `output`.

    build: from one value for each input (after the int64 index, when `indexed`) to the result.
    """
    target = target or targets.native()
    lanes = lanes or target.lanes(output)
    buffers = [Buffer(f"x{i}", dtype) for i, dtype in enumerate(inputs)]
    result, i = Buffer("y", output), Var("i")
    index = ramp(i, lanes)
    values = [load(buffer, index) for buffer in buffers]
    value = build(index, *values) if indexed else build(*values)
    body = store(result, index, value)
    function = Function("elementwise", (*buffers, result), (loop(i, 0, N, [body], step=lanes),))
    library = jit.load(jit.optimise_and_compile(module.emit([function], target), target))
    native = KERNEL(library.address("elementwise"))

    def call(*arrays: np.ndarray) -> np.ndarray:
        count = max(len(a) for a in arrays)
        padded = -(-count // lanes) * lanes
        memory = [aligned_copy(np.zeros(padded, dtype)) for dtype in [*inputs, output]]
        for place, array in zip(memory, arrays):
            place[:count] = array
        pointers = (ctypes.c_void_p * len(memory))(*(m.ctypes.data for m in memory))
        native(pointers, padded, 0, 1, None)
        assert library
        return memory[-1][:count]

    return call


def run(function, *arrays, n=0, begin=0, end=1, target=NATIVE):
    """Compile and call a kernel; the arrays come back as they are afterwards."""
    library = jit.load(jit.optimise_and_compile(module.emit([function], target), target))
    arrays = [aligned_copy(a) for a in arrays]
    pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    scratch = aligned_copy(np.zeros(module.scratch_bytes(function) + 1, np.uint8))
    KERNEL(library.address(function.name))(pointers, n, begin, end, scratch.ctypes.data)
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

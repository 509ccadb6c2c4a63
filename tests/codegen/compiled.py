"""Compile an elementwise function of the loop language and call it on arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import Buffer, Expr, Function, N, Var, load, loop, ramp, store

_KERNEL = ctypes.CFUNCTYPE(
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
    native = _KERNEL(library.address("elementwise"))

    def call(*arrays: np.ndarray) -> np.ndarray:
        count = max(len(a) for a in arrays)
        padded = -(-count // lanes) * lanes
        memory = [_aligned(padded, dtype) for dtype in [*inputs, output]]
        for place, array in zip(memory, arrays):
            place[:count] = array
        pointers = (ctypes.c_void_p * len(memory))(*(m.ctypes.data for m in memory))
        native(pointers, padded, 0, 1, None)
        assert library
        return memory[-1][:count]

    return call


def _aligned(count: int, dtype: str) -> np.ndarray:
    """Zeros that start at a multiple of 64 bytes."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)

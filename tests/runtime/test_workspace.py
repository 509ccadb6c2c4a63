"""The workspace that a library asks for is what its code touches, to the byte."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

import kcompile
from kcompile.keras.layers import GRU, Bidirectional, Conv2D, Dense, Embedding, Flatten
from kcompile.keras.models import Sequential
from kcompile_runtime import Artifact, load
from kcompile_runtime.arrays import address, aligned
from kcompile_runtime.layout import ALIGNMENT

RNG = np.random.default_rng(11)
GUARD = 4096


def mlp() -> Sequential:
    return Sequential([Dense(300, "relu", input_shape=(40,)), Dense(72, "tanh"), Dense(10, "softmax")])


def images() -> Sequential:
    layers = [Conv2D(24, 3, input_shape=(10, 10, 3)), Conv2D(16, 3, strides=2), Flatten(), Dense(5)]
    return Sequential(layers)


def steps() -> Sequential:
    return Sequential([Embedding(30, 8, input_length=7), Bidirectional(GRU(6)), Dense(3)])


def touched(loaded: Artifact, n: int) -> tuple[int, int]:
    """(Bytes from the start of the workspace to the last that a call for n samples writes, bytes asked for).
    What is written is seen by filling the memory twice, with different bytes."""
    size_of = loaded._function("workspace_size", ctypes.c_int64, ctypes.c_int64, ctypes.c_int32)
    pointers = [ctypes.c_void_p] * 3
    run = loaded._function("run", ctypes.c_int32, ctypes.c_int64, *pointers, ctypes.c_int64, ctypes.c_void_p)
    size = size_of(n, 1)
    x = (RNG.random((n, *loaded.inputs[0].shape[1:])) * 20).astype(loaded.inputs[0].dtype)
    y = np.empty((n, *loaded.outputs[0].shape[1:]), np.float32)
    inputs, outputs = (ctypes.c_void_p * 1)(address(x)), (ctypes.c_void_p * 1)(address(y))
    last = 0
    for fill in (0xA5, 0x5A):
        memory = aligned(size + GUARD)
        memory[:] = fill
        assert run(n, inputs, outputs, address(memory), size, None) == 0
        last = max(last, int(np.nonzero(memory != fill)[0].max(initial=-1)) + 1)
        short = run(n, inputs, outputs, address(memory), size - 1, None)
        assert short == 2  # KC_SHORT_WORKSPACE
    return last, size


@pytest.mark.parametrize("make", [mlp, images, steps])
def test_a_large_batch_touches_all_of_it(make: Callable[[], Sequential], tmp_path) -> None:
    """All but what aligns its start. A thread's part is for a whole block of rows, which few samples do not
    fill: these touch less, never more."""
    loaded = load(kcompile.export(make(), tmp_path / "model.so"), threads=1)
    used, size = touched(loaded, 500)
    assert used == size - ALIGNMENT
    for n in (1, 7, 33):
        used, size = touched(loaded, n)
        assert 0 < used <= size - ALIGNMENT

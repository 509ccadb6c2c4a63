"""The workspace that a library asks for is what its code touches, to the byte."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

import numpy as np
import pytest

import kcompile
from kcompile.keras.layers import (
    GRU,
    Bidirectional,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
)
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


def photos() -> Sequential:
    """By Winograd's algorithm."""
    layers = [Conv2D(32, 3, padding="same", input_shape=(12, 12, 16)), Conv2D(32, 5), Flatten(), Dense(3)]
    return Sequential(layers)


def large() -> Sequential:
    """In blocks of samples."""
    first = Conv2D(32, 3, padding="same", activation="relu", input_shape=(64, 64, 16))
    return Sequential([first, Conv2D(32, 3, strides=2), GlobalAveragePooling2D(), Dense(3)])


def touched(loaded: Artifact, n: int, threads: int = 1) -> tuple[int, int]:
    """(Bytes from the start of the workspace to the last that a call for n samples writes, bytes asked for).
    What is written is seen by filling the memory twice, with different bytes."""
    size_of = loaded._function("workspace_size", ctypes.c_int64, ctypes.c_int64, ctypes.c_int32)
    pointers = [ctypes.c_void_p] * 3
    run = loaded._function("run", ctypes.c_int32, ctypes.c_int64, *pointers, ctypes.c_int64, ctypes.c_void_p)
    size, pool = size_of(n, threads), None
    if threads > 1:
        room = aligned(loaded._function("pool_size", ctypes.c_int64, ctypes.c_int32)(threads))
        pool = address(room)
        assert (
            loaded._function("pool_start", ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32)(pool, threads)
            == 0
        )
    x = (RNG.random((n, *loaded.inputs[0].shape[1:])) * 20).astype(loaded.inputs[0].dtype)
    y = np.empty((n, *loaded.outputs[0].shape[1:]), np.float32)
    inputs, outputs = (ctypes.c_void_p * 1)(address(x)), (ctypes.c_void_p * 1)(address(y))
    last = 0
    for fill in (0xA5, 0x5A):
        memory = aligned(size + GUARD)
        memory[:] = fill
        assert run(n, inputs, outputs, address(memory), size, pool) == 0
        last = max(last, int(np.nonzero(memory != fill)[0].max(initial=-1)) + 1)
        short = run(n, inputs, outputs, address(memory), size - 1, pool)
        assert short == 2  # KC_SHORT_WORKSPACE
    if pool is not None:
        loaded._function("pool_stop", None, ctypes.c_void_p)(pool)
    return last, size


@pytest.mark.parametrize("make", [mlp, images, steps, photos])
def test_all_of_it_is_touched(make: Callable[[], Sequential], tmp_path) -> None:
    """All but what aligns its start and its end, for one sample as for many."""
    loaded = load(kcompile.export(make(), tmp_path / "model.so"), threads=1)
    for n in (1, 2, 7, 33, 500):
        used, size = touched(loaded, n)
        assert size - 2 * ALIGNMENT < used <= size - ALIGNMENT


def test_of_samples_in_blocks_those_of_one_block(tmp_path) -> None:
    """All of it where blocks are whole; blocks that are evenly cut may be smaller. More samples never take
    less."""
    loaded = load(kcompile.export(large(), tmp_path / "model.so"), threads=1)
    sizes = []
    for n in (1, 5, 31, 32, 64):
        used, size = touched(loaded, n)
        sizes.append(size)
        assert size - 2 * ALIGNMENT < used <= size - ALIGNMENT
    used, size = touched(loaded, 70)
    assert sizes == sorted(sizes) and used < size == sizes[-1] == sizes[-2]


@pytest.mark.parametrize("make", [mlp, photos, large])
def test_threads_stay_within_what_is_asked_for(make: Callable[[], Sequential], tmp_path) -> None:
    loaded = load(kcompile.export(make(), tmp_path / "model.so"), threads=1)
    for n in (3, 50, 301):
        used, size = touched(loaded, n, 3)
        assert 0 < used <= size - ALIGNMENT


def test_one_sample_takes_what_one_needs(tmp_path) -> None:
    """Not a block of rows, 62 KB: values between layers, of 300 and 72 numbers, and sums of as many."""
    path = kcompile.export(mlp(), tmp_path / "model.so", target="x86-64-v3")
    size = int(re.search(r"_WORKSPACE (\d+)", path.with_suffix(".h").read_text())[1])
    assert 4 * (300 + 72) < size < 3000

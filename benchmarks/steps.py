"""Time per sample and step of an LSTM, and memory, from 10 to 1,000 steps: both must be linear.

python -m benchmarks.steps [--threads N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import kcompile
from kcompile.keras.layers import LSTM, Dense
from kcompile.keras.models import Sequential

STEPS = (10, 30, 100, 300, 1000)
BATCH, FEATURES, UNITS = 16, 32, 64


def seconds(call: Callable[[], object], least: float = 0.3) -> float:
    """The best time of a call, over at least so many seconds."""
    call()  # which compiles
    best, end = float("inf"), time.perf_counter() + least
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    print(f"LSTM({UNITS}) on [{BATCH}, steps, {FEATURES}], {threads} thread(s)")
    print(f"{'steps':>6} {'predict':>18} {'training step':>18} {'arena, training':>18}")
    for steps in STEPS:
        model = Sequential([LSTM(UNITS, input_shape=(steps, FEATURES)), Dense(1)])
        model.compile("adam", "mse")
        compiled = kcompile.compile(model, threads=threads)
        x = np.random.default_rng(0).normal(size=(BATCH, steps, FEATURES)).astype(np.float32)
        y = np.zeros((BATCH, 1), np.float32)
        each = 1e9 / (BATCH * steps)
        predict = seconds(lambda: compiled.predict_on_batch(x)) * each  # noqa: B023
        train = seconds(lambda: compiled.train_on_batch(x, y)) * each  # noqa: B023
        entry = compiled.engine.compiled("train").program.entries[-1]
        arena = entry.arena.at(BATCH) / (BATCH * steps)
        print(f"{steps:6d} {predict:12.0f} ns    {train:12.0f} ns    {arena:11.0f} bytes")
    print("each for one sample and one step")


if __name__ == "__main__":
    main()

"""Times that are paid once: importing, and compiling until the first call, cold and from the cache."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

IMPORTS = ("numpy", "kcompile_runtime", "kcompile", "kcompile.keras", "onnxruntime", "jax", "keras")

COMPILED = (
    ("mlp", 128, True, 5),
    *((n, 1, t, 1) for n in ("resnet50", "mobilenet_v2") for t in (False, True)),
)
_IMPORT = "import time; t = time.perf_counter(); import {0}; print(time.perf_counter() - t)"

_COMPILE = """
import sys
import time
import numpy as np
import kcompile
from kcompile import keras
from benchmarks.engines import loss_of
from benchmarks.models import BENCHMARKS, inputs
benchmark = next(b for b in BENCHMARKS if b.name == "{name}")
model = benchmark.model(keras)
model.compile(optimizer="adam", loss=loss_of(benchmark))
x, y = inputs(benchmark, {batch})
t = time.perf_counter()
compiled = kcompile.compile(model, threads={threads})
compiled.train_on_batch(x, y) if {training} else compiled.predict_on_batch(x)
print(time.perf_counter() - t)
"""


def _run(code: str, **environment: str) -> float | None:
    """The number that a fresh process prints last, None where it fails."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    if result.returncode != 0:
        last = result.stderr.strip().splitlines()[-1:]
        if "ModuleNotFoundError" not in result.stderr:
            print(f"  failed: {last}", file=sys.stderr)
        return None
    return float(result.stdout.split()[-1])


def import_seconds(module: str, rounds: int) -> float | None:
    times = [_run(_IMPORT.format(module), KERAS_BACKEND="jax") for _ in range(rounds)]
    return None if None in times else statistics.median(t for t in times if t is not None)


def compile_seconds(
    name: str, batch: int, training: bool, threads: int, rounds: int
) -> tuple[float | None, float | None]:
    """(cold, from the disk cache): until the first call is done, imports and the model not counted."""
    code = _COMPILE.format(name=name, batch=batch, training=training, threads=threads)
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            places = {"XDG_CACHE_HOME": cache, "KC_CACHE": cache}
            cold.append(_run(code, **places))
            warm.append(_run(code, **places))
    if None in cold or None in warm:
        return None, None
    return (
        statistics.median(t for t in cold if t is not None),
        statistics.median(t for t in warm if t is not None),
    )

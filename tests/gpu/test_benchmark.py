"""`python -m benchmarks.gpu` from end to end, at sizes for the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_runs(root: Path):
    names = ("mlp", "embedding-lstm", "products")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--simulate", "--rounds", "1", "--only", *names],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KC_CACHE": "off"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of ours on the device") == 4 and "WRONG" not in done.stdout
    assert done.stdout.count(" native ") == 4 and "TFLOP/s" in done.stdout

"""The most memory that each engine's process holds: until its first result, and while it computes.

    python -m benchmarks.memory [--only NAME ...] [--peers NAME ...] [--batch N] [--threads N]

For every row there is a fresh process for each engine. Printed is the peak of the resident set (VmHWM of
Linux), of all that the process holds: interpreter, libraries, weights and values. "artifact" is the exported
library of the network, run by kcompile_runtime alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.engines import ENGINES, OURS, with_weights
from benchmarks.models import BENCHMARKS, Benchmark, inputs
from benchmarks.worker import Row, Worker

MIB = 1 << 20
DEFAULT = ("resnet50", "mobilenet_v2")
CALLS = 3

_ARTIFACT = """
import sys
import numpy as np
import kcompile_runtime as rt
from benchmarks.worker import peak_bytes, reset_peak
model = rt.load(sys.argv[1], threads=int(sys.argv[2]))
x = np.load(sys.argv[3])
model.predict(x)
first = peak_bytes()
reset_peak()
for _ in range(3):
    model.predict(x)
print(first, peak_bytes())
"""


def of_engine(name: str, row: Row, threads: int) -> tuple[int, int] | str:
    """(Peak until the first result, peak of later calls) in bytes; or why there is none."""
    worker = Worker(name, threads)
    try:
        worker.ask("prepare", row)
        first = worker.ask("peak")
        worker.ask("seconds", CALLS)
        return first, worker.ask("peak")
    except RuntimeError as error:
        return "not measured" if "NotImplementedError" in str(error) else str(error)[:100]
    finally:
        worker.close()


def of_artifact(benchmark: Benchmark, batch: int, threads: int) -> tuple[int, int] | str:
    """The same for the exported library."""
    with tempfile.TemporaryDirectory() as folder:
        library, array = Path(folder) / "network.so", Path(folder) / "x.npy"
        code = (
            "import sys, numpy as np, kcompile; from benchmarks import memory; "
            "memory.export(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))"
        )
        made = [sys.executable, "-c", code, benchmark.name, str(library), str(array), str(batch)]
        run = [sys.executable, "-c", _ARTIFACT, str(library), str(threads), str(array)]
        for command in (made, run):
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                return (result.stderr.strip().splitlines() or ["failed"])[-1][:100]
        first, later = map(int, result.stdout.split())
        return first, later


def export(name: str, library: str, array: str, batch: int) -> None:
    """Write a benchmark's library, and inputs for it."""
    import numpy as np

    import kcompile
    from kcompile import keras, keras3

    benchmark = next(b for b in BENCHMARKS if b.name == name)
    model: Any = with_weights(benchmark, keras3 if benchmark.network else keras)
    kcompile.export(model, library)
    np.save(array, inputs(benchmark, batch)[0])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", default=list(DEFAULT), metavar="NAME")
    parser.add_argument("--peers", nargs="*", default=list(ENGINES), choices=list(ENGINES), metavar="NAME")
    parser.add_argument("--batch", type=int, default=8, help="of training; predict has one sample")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(argv)
    for benchmark in (b for b in BENCHMARKS if b.name in given.only):
        for row in (Row(benchmark.name, "predict", 1), Row(benchmark.name, "train", given.batch)):
            print(f"\n{row}: MiB until the first result, and while it computes")
            for name in dict.fromkeys([OURS, *given.peers]):
                _show(name, of_engine(name, row, given.threads))
            if row.mode == "predict":
                _show("artifact", of_artifact(benchmark, row.batch, given.threads))


def _show(name: str, found: tuple[int, int] | str) -> None:
    text = found if isinstance(found, str) else "  ".join(f"{size / MIB:8.0f}" for size in found)
    print(f"  {name:18}{text}", flush=True)


if __name__ == "__main__":
    main()

"""An epoch over a file of HDF5 that is larger than the memory a process may have, beside one over arrays.

    python -m benchmarks.from_file [--size GIB] [--limit GIB] [--arrays GIB] [--batch N] [--threads N]
                                   [--folder DIR] [--cold]

A file of float32 rows with labels is written. A process whose address space is limited (RLIMIT_AS) trains a
dense network on it for an epoch, evaluates it and predicts, over `HDF5Matrix`, with shuffle="batch". Another
one does the same over arrays in memory, of as many of the rows as `--arrays` says. Printed are rows per
second of both, their ratio, and the peaks of the resident set and of the address space. --cold: the file is
dropped from the system's cache before each pass. --folder: where the file is written, default the one for
temporary files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worker import peak_bytes

FEATURES, CLASSES = 1024, 10
GIB = 1 << 30
PART = 4096  # rows that are written at once
PASSES = ("fit", "evaluate", "predict")


def parts(rows: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Rows of the data, some at a time: where they lie, features and labels."""
    for start in range(0, rows, PART):
        where = slice(start, min(start + PART, rows))
        generator = np.random.default_rng(start)
        count = where.stop - start
        yield where, generator.random((count, FEATURES), np.float32), generator.integers(0, CLASSES, count)


def write(path: Path, rows: int) -> None:
    """A file with the data sets x and y."""
    import h5py

    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (rows, FEATURES), "float32")
        y = file.create_dataset("y", (rows,), "int64")
        for where, features, labels in parts(rows):
            x[where], y[where] = features, labels
    with open(path, "rb") as written:
        os.fsync(written.fileno())


def drop(path: Path) -> None:
    """Take a file out of the system's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def model() -> Any:
    from kcompile.keras.layers import Dense
    from kcompile.keras.models import Sequential

    np.random.seed(1)
    network = Sequential(
        [Dense(256, "relu", input_shape=(FEATURES,)), Dense(64, "relu"), Dense(CLASSES, "softmax")]
    )
    network.compile("sgd", "sparse_categorical_crossentropy")
    return network


def measure(x: Any, y: Any, batch: int, before: Callable[[], None]) -> dict[str, float]:
    """Rows per second of a pass each; before: is called ahead of each."""
    network = model()
    network.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)  # compiled, and known how fast
    network.evaluate(x[:batch], y[:batch], batch_size=batch, verbose=0)
    network.predict(x[:batch], batch_size=batch)
    calls = {
        "fit": lambda: network.fit(x, y, batch_size=batch, shuffle="batch", verbose=0),
        "evaluate": lambda: network.evaluate(x, y, batch_size=batch, verbose=0),
        "predict": lambda: network.predict(x, batch_size=batch),
    }
    found = {}
    for name in PASSES:
        before()
        begin = time.perf_counter()
        calls[name]()
        found[name] = len(x) / (time.perf_counter() - begin)
    return found


def address_space() -> int:
    """The largest that the address space of this process was, in bytes; 0 where nobody says it."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def child(path: Path, way: str, limit: int, rows: int, batch: int, cold: bool) -> None:
    """Measure one way, and print it as JSON."""
    if way == "file":
        from kcompile.keras.utils import HDF5Matrix

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        x, y = HDF5Matrix(path, "x"), HDF5Matrix(path, "y")
        found = measure(x, y, batch, (lambda: drop(path)) if cold else lambda: None)
    else:
        xs, ys = np.empty((rows, FEATURES), np.float32), np.empty(rows, np.int64)
        for where, features, labels in parts(rows):
            xs[where], ys[where] = features, labels
        found = measure(xs, ys, batch, lambda: None)
    print(json.dumps({**found, "resident": peak_bytes(), "space": address_space()}))


def asked(path: Path, way: str, options: argparse.Namespace, rows: int) -> dict[str, Any]:
    """What a process of its own measures."""
    one = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX")}
    threads = {} if options.threads is None else {"KC_THREADS": str(options.threads)}
    limit = int(options.limit * GIB)
    values = [str(path), way, str(limit), str(rows), str(options.batch), str(int(options.cold))]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.from_file", "--child", *values],
        capture_output=True,
        text=True,
        env={**os.environ, **one, **threads},
    )
    if result.returncode:
        raise SystemExit(f"{way}: {result.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def main(arguments: list[str] | None = None) -> None:
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--child"]:
        path, way, limit, rows, batch, cold = given[1:]
        child(Path(path), way, int(limit), int(rows), int(batch), cold == "1")
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.from_file", description=__doc__)
    parser.add_argument("--size", type=float, default=4.0, help="of the file, in GiB")
    parser.add_argument("--limit", type=float, default=1.0, help="of the address space, in GiB")
    parser.add_argument("--arrays", type=float, default=0.5, help="of the arrays in memory, in GiB")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder")
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args(given)
    row = 4 * FEATURES
    rows = int(options.size * GIB) // row
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "rows.h5"
        write(path, rows)
        print(f"{path.stat().st_size / GIB:.2f} GiB, {rows} rows; address space of {options.limit:g} GiB")
        file = asked(path, "file", options, rows)
        arrays = asked(path, "arrays", options, min(rows, int(options.arrays * GIB) // row))
    print(f"{'':10} {'file, rows/s':>14} {'arrays, rows/s':>15} {'ratio':>7}")
    for name in PASSES:
        print(f"{name:10} {file[name]:14.0f} {arrays[name]:15.0f} {file[name] / arrays[name]:7.2f}")
    for name, told in (("file", file), ("arrays", arrays)):
        print(
            f"{name}: at most {told['resident'] >> 20} MiB resident, {told['space'] >> 20} MiB of addresses"
        )


if __name__ == "__main__":
    main()

"""Many rows through a pool of processes, Dask and Ray Data, while one of the workers is killed.

    python -m benchmarks.many_rows [--rows N] [--engines pool dask ray] [--workers N] [--folder DIR]

Rows with a number each are written as files of Parquet. Each engine predicts them with `kcompile.predictor`
in so many processes and writes files of Parquet; the process that meets the row in the middle is killed
there, the first time. Printed are, for each engine: the rows that were written and how many different numbers
they have, the sum of their numbers, the largest distance of a prediction from that of this process alone and
how many have other bits, the seconds, and the largest memory of all its processes together (PSS, which counts
shared pages once, looked at twice a second), with that of Ray's and Dask's own. The exit status is 1 where a
row is lost or doubled, or no process was killed. Needs the extras parquet, dask and ray.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import kcompile_runtime as rt

FEATURES, FILE, BATCH = 32, 50_000, 4096
ENGINES = ("pool", "dask", "ray")
EXPECTED = 1e-5


def rows(start: int, stop: int) -> dict[str, np.ndarray]:
    """Rows by their numbers, the same whoever asks."""
    number = np.arange(start, stop)
    x = np.sin(number[:, None] * np.linspace(0.1, 3, FEATURES)).astype(np.float32)
    return {"id": number, "x": x}


def export(folder: Path) -> None:
    import kcompile
    from kcompile.keras.layers import Dense
    from kcompile.keras.models import Sequential

    np.random.seed(1)
    layers = [Dense(64, "relu", input_shape=(FEATURES,), name="hidden"), Dense(8, "softmax", name="p")]
    kcompile.export(Sequential(layers), folder / "model.so")


def predictor(folder: Path) -> rt.Predictor:
    return rt.predictor(folder / "model.so", batch_size=256, columns={"hidden_input": "x"}, keep=["id"])


class KilledOnce:
    """A function of a batch, whose process is killed at the batch with this number, the first time."""

    def __init__(self, function: Any, number: int, mark: Path) -> None:
        self.function, self.number, self.mark = function, number, mark

    def __call__(self, batch: Any) -> Any:
        if not self.mark.exists() and (batch["id"] == self.number).any():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.function(batch)


def in_pool(function: Any, source: Path, out: Path, workers: int) -> None:
    out.mkdir()
    rt.write_parquet(
        out / "all.parquet", rt.in_processes(function, rt.read_parquet(source, rows=BATCH), workers)
    )


class OfFile:
    """A file to a file of the same name, which appears when it is whole: done again, it is the same."""

    def __init__(self, function: Any, out: Path) -> None:
        self.function, self.out = function, out

    def __call__(self, path: Path) -> int:
        return rt.write_parquet(self.out / path.name, map(self.function, rt.read_parquet(path, rows=BATCH)))


def on_dask(function: Any, source: Path, out: Path, workers: int) -> None:
    import dask.bag
    from dask.distributed import Client

    out.mkdir()
    files = sorted(source.iterdir())
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with Client(**options, silence_logs="CRITICAL") as client:
        bag = dask.bag.from_sequence(files, npartitions=len(files))
        sum(client.compute(bag.map(OfFile(function, out))).result())


def on_ray(function: Any, source: Path, out: Path, workers: int) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    store = 256 << 20  # of objects: blocks beyond it wait
    ray.init(
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=store,
    )
    data = ray.data.read_parquet(str(source), override_num_blocks=2 * workers + 1)
    data.map_batches(function, batch_size=BATCH).write_parquet(str(out))
    ray.shutdown()


RUN = {"pool": in_pool, "dask": on_dask, "ray": on_ray}


def child(engine: str, folder: Path, count: int, workers: int) -> None:
    """Predict on one engine."""
    function = KilledOnce(predictor(folder), count // 2, folder / f"{engine}.killed")
    RUN[engine](function, folder / "rows", folder / engine, workers)


# ---------------------------------------------------------------- what came of it


def processes_below(root: int) -> Iterator[int]:
    """A process and all those that it started, or they did."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    while found:
        process = found.pop()
        yield process
        found += parents.get(process, ())


def memory_below(root: int) -> int:
    """Bytes of a process and all below it, each page once."""
    total = 0
    for process in processes_below(root):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def watched(engine: str, folder: Path, count: int, workers: int) -> tuple[float, int]:
    """Run an engine in a process of its own: seconds, and the largest memory."""
    command = [sys.executable, "-m", "benchmarks.many_rows", "--child", engine, str(folder)]
    log = folder / f"{engine}.log"
    begin, most = time.perf_counter(), 0
    with open(log, "w") as told:
        process = subprocess.Popen(
            [*command, str(count), str(workers)], stdout=told, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            most = max(most, memory_below(process.pid))
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{engine} ended with status {process.returncode}:\n{log.read_text()[-3000:]}")
    return time.perf_counter() - begin, most


def check(engine: str, folder: Path, count: int) -> bool:
    """Print what was written, and tell whether it is all rows, each once."""
    predict = predictor(folder)
    seen, written, total, distance, other = np.zeros(count, np.uint8), 0, 0, 0.0, 0
    for batch in rt.read_parquet(folder / engine, ["id", "p"], rows=FILE):
        number = batch["id"]
        written, total = written + len(number), total + int(number.sum())
        np.add.at(seen, number, 1)
        start = int(number.min())
        expected = predict(rows(start, int(number.max()) + 1))["p"][number - start]
        distance = max(distance, float(np.abs(expected - batch["p"]).max()))
        other += int((expected != batch["p"]).any(axis=1).sum())
    different, right = int((seen > 0).sum()), count * (count - 1) // 2
    killed = (folder / f"{engine}.killed").exists()
    good = written == different == count and total == right and distance < EXPECTED and killed
    print(
        f"{engine}: {written} rows, {different} different, sum of numbers {total} (of {right}), "
        f"{'one worker killed' if killed else 'NO worker killed'}, distance {distance:.1e}, "
        f"{other} rows with other bits: {'ok' if good else 'WRONG'}"
    )
    return good


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--child"]:
        engine, folder, count, workers = given[1:]
        child(engine, Path(folder), int(count), int(workers))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder")
    options = parser.parse_args(given)
    good = True
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        export(folder)
        (folder / "rows").mkdir()
        for start in range(0, options.rows, FILE):
            stop = min(start + FILE, options.rows)
            rt.write_parquet(folder / "rows" / f"{start:012}.parquet", [rows(start, stop)])
        for engine in options.engines:
            seconds, most = watched(engine, folder, options.rows, options.workers)
            good = check(engine, folder, options.rows) and good
            print(f"{engine}: {seconds:.1f} s, at most {most >> 20} MiB", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""What every way of measuring does first: start engines, and keep those that agree on a row's results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.worker import Row, Worker

TOLERANCE = {"predict": 1e-4, "train": 1e-3, "fit": 1e-3}


def start(names: Sequence[str], threads: int) -> list[Worker]:
    """The engines that are installed, with their versions printed."""
    workers = []
    for name in names:
        worker = Worker(name, threads)
        try:
            print(f"  {worker.ask('version')}")
        except RuntimeError as error:
            print(f"  {name}: not measured ({error})")
            worker.close()
        else:
            workers.append(worker)
    return workers


def prepared(workers: Sequence[Worker], row: Row) -> list[Worker]:
    """The engines that can do this row and agree on its results."""
    ready: list[Worker] = []
    reference: tuple[str, np.ndarray] | None = None
    for worker in workers:
        try:
            result = worker.ask("prepare", row)
        except RuntimeError as error:
            if "NotImplementedError" not in str(error):
                print(f"  {worker.name}: failed: {error}")
            continue
        if reference is None:
            reference = worker.name, result
        scale = np.abs(reference[1]).max()
        difference = np.abs(result - reference[1]).max() / scale
        if result.shape != reference[1].shape or not difference <= TOLERANCE[row.mode]:
            print(
                f"  {worker.name}: WRONG: differs from {reference[0]} by {difference:.1e} "
                f"(shapes {result.shape}, {reference[1].shape}); not timed"
            )
            continue
        ready.append(worker)
    return ready


def clock(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{seconds / size:.3g} {unit}"
    raise AssertionError

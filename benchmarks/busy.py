"""How long calls take while other programs are busy on the same processors.

    python -m benchmarks --busy K [K ...] [--only NAME ...] [--peers NAME ...] [--rounds N] [--threads N]

K programs that compute without end share the processors with the engine that is measured; the other
engines sleep. Every call is timed: printed are the median and the 99th percentile of all calls of all
rounds, and for the engines the median over the rounds of what their median and 99th percentile are of
those of our own code on one thread, which may use the same processors beside the same load.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from benchmarks.engines import OURS
from benchmarks.models import Benchmark
from benchmarks.session import clock, prepared, start
from benchmarks.worker import Row, Worker, first_processors

ALONE = "one thread"
ROUND_SECONDS = 0.3  # many turns of the system's scheduler
STEPS = 10  # of a call of fit


def run(
    loads: Sequence[int], benchmarks: Sequence[Benchmark], peers: Sequence[str], threads: int, rounds: int
) -> None:
    """Measure and print."""
    print(f"\nengines, {threads} threads on {threads} processors")
    workers = start([OURS, *(p for p in peers if p != OURS)], threads)
    alone = Worker(OURS, 1, threads)
    workers.insert(1, alone)
    alone.name = f"{OURS}, {ALONE}"
    for benchmark in benchmarks:
        for row in rows(benchmark):
            ready = prepared(workers, row)
            for load in loads if alone in ready else ():
                with busy_programs(load, threads):
                    show(f"{row}, {load} busy", measure(ready, rounds), alone.name)
    for worker in workers:
        worker.close()


def rows(benchmark: Benchmark) -> Iterator[Row]:
    for batch in benchmark.busy:
        yield Row(benchmark.name, "predict", batch)
    if benchmark.busy:
        yield Row(benchmark.name, "fit", benchmark.train[0], STEPS)


@contextmanager
def busy_programs(count: int, processors: int) -> Iterator[None]:
    """So many programs that compute while the body runs, on the first processors."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, first_processors(processors))  # children have their parent's
    try:
        programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    finally:
        os.sched_setaffinity(0, own)
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measure(workers: Sequence[Worker], rounds: int) -> dict[str, list[np.ndarray]]:
    """Seconds of each call, by engine and round. The first round warms up and is not kept."""
    times: dict[str, list[np.ndarray]] = {worker.name: [] for worker in workers}
    for number in range(rounds + 1):
        turn = number % len(workers)
        for worker in (*workers[turn:], *workers[:turn]):
            seconds = worker.timed("latencies", ROUND_SECONDS)
            if number:
                times[worker.name].append(seconds)
    return times


def show(title: str, times: dict[str, list[np.ndarray]], alone: str) -> None:
    print(f"\n{title}")
    table = {name: np.array([np.percentile(r, (50, 99)) for r in found]) for name, found in times.items()}
    for name, found in times.items():
        median, late = np.percentile(np.concatenate(found), (50, 99))
        line = f"  {name:22}{clock(median):>10}  99 of 100 within {clock(late):>8}"
        if name != alone:
            ratios = np.median(table[name] / table[alone], 0)
            line += f"  of one thread's: {ratios[0]:.2f}, {ratios[1]:.2f}"
        print(line, flush=True)

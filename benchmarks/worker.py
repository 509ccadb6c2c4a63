"""A process for each engine: it makes what is asked for, and times it with its own clock.

Engines do not share threads, allocators or environment variables, and one that crashes takes nothing
with it. The processes are asked in turn, so no two of them compute at the same time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import BENCHMARKS, inputs

CHECKED_STEPS = 5


@dataclass(frozen=True)
class Row:
    """What is measured: a benchmark by its name, predict, train or fit, and the batch size; of fit also
    the number of steps, which share the time."""

    benchmark: str
    mode: str
    batch: int
    steps: int = 1

    def __str__(self) -> str:
        steps = f", each of {self.steps} steps" if self.mode == "fit" else ""
        return f"{self.benchmark} {self.mode} b={self.batch}{steps}"


class _Bench:
    """The served side: one engine, and the function it made last."""

    def __init__(self, name: str, threads: int, processors: int) -> None:
        from benchmarks.engines import ENGINES

        os.sched_setaffinity(0, first_processors(processors))
        self.engine = ENGINES[name](threads)
        self.call: Any = None
        self.steps = 1  # of a call

    def version(self) -> str:
        return self.engine.version()

    def prepare(self, row: Row) -> np.ndarray:
        """Make the function and run it: the predictions, or the losses of the first steps (of fit: of
        an epoch in order; what is timed is shuffled)."""
        benchmark = next(b for b in BENCHMARKS if b.name == row.benchmark)
        x, labels = inputs(benchmark, row.batch * row.steps)
        self.steps = row.steps
        if row.mode == "fit":
            fit = self.engine.fit(benchmark, row.batch)
            self.call = lambda: fit(x, labels, True)
            return np.array([fit(x, labels, False)], np.float32)
        if row.mode == "predict":
            predict = self.engine.predict(benchmark)
            self.call = lambda: predict(x)
            return np.array(self.call())
        train = self.engine.train(benchmark)
        self.call = lambda: train(x, labels)
        return np.array([self.call() for _ in range(CHECKED_STEPS)], np.float32)

    def seconds(self, repeats: int) -> float:
        """For one step: the mean over `repeats` calls."""
        call, clock = self.call, time.perf_counter
        begin = clock()
        for _ in range(repeats):
            call()
        return (clock() - begin) / (repeats * self.steps)

    def peak(self) -> int:
        """The most bytes that this process has held since it began, or since the last answer."""
        found = peak_bytes()
        reset_peak()
        return found

    def latencies(self, seconds: float) -> np.ndarray:
        """The seconds that each call took (of fit: for one step), called for about so long."""
        call, clock, found = self.call, time.perf_counter, []
        now = clock()
        stop = now + seconds
        while now < stop:
            begin = now
            call()
            now = clock()
            found.append((now - begin) / self.steps)
        return np.array(found)


def peak_bytes() -> int:
    """The peak of this process' resident set since it began, or since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM: the peak is known on Linux alone")


def reset_peak() -> None:
    """Let the peak begin at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def first_processors(count: int) -> list[int]:
    """So many of those that this process may use."""
    return sorted(os.sched_getaffinity(0))[:count]


def _serve(connection: Connection, name: str, threads: int, processors: int) -> None:
    bench: _Bench | None = None
    while (request := connection.recv()) is not None:
        method, arguments = request
        try:
            bench = bench or _Bench(name, threads, processors)
            connection.send((True, getattr(bench, method)(*arguments)))
        except Exception as error:  # it is the other process that decides what to do
            connection.send((False, f"{type(error).__name__}: {error}"))


class Worker:
    """The asking side. processors: that the engine may use, default one for each thread. Raises
    RuntimeError with the engine's error for what it cannot do."""

    def __init__(self, name: str, threads: int, processors: int | None = None) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=_serve, daemon=True, args=(other, name, threads, processors or threads)
        )
        self._process.start()
        other.close()

    def ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._connection.send((method, arguments))
            good, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(
                f"the process of {self.name} ended (status {self._process.exitcode})"
            ) from error
        if not good:
            raise RuntimeError(answer)
        return answer

    def timed(self, method: str, *arguments: Any) -> Any:
        """`ask`, and wait until the engine's threads sleep, a second at most: some spin for 40 ms after a
        call, on the processors of the engine that is asked next."""
        answer = self.ask(method, *arguments)
        before, stop = self._worked(), time.monotonic() + 1
        while time.monotonic() < stop:
            time.sleep(0.005)
            now = self._worked()
            if now - before < 100_000:
                break
            before = now
        return answer

    def _worked(self) -> int:
        """Nanoseconds for which the threads of the process have run."""
        worked = 0
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                worked += int((task / "schedstat").read_text().split()[0])
        return worked

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()

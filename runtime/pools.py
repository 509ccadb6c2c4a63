"""Batches through a function in several processes: in order, a few at a time, none lost and none twice.

Enters: a function that can be pickled (a `Predictor`), and an iterable of batches. Leaves: the results in the
order of the batches. This is `concurrent.futures` with a bound on what waits, and with patience: where a
process dies, its batches are given to others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import WorkerError
from kcompile_runtime.processors import usable_processors

In = TypeVar("In")
Out = TypeVar("Out")
TRIES = 3  # pools that may break in a row, before a batch is done


def in_processes(
    function: Callable[[In], Out],
    batches: Iterable[In],
    workers: int | None = None,
    ahead: int = 2,
    context: Any = None,
) -> Iterator[Out]:
    """The results of a function of each batch, in order, computed by a pool of processes.

    function: what can be pickled, as a `Predictor`. batches: any iterable; at most workers * ahead of them
    have been taken whose results have not been. workers: how many processes, default as many as there are
    processors. context: of `multiprocessing`, default that of the process; where it starts processes by
    "spawn", a script has to guard what it does by `if __name__ == "__main__"`. An exception of the function
    is raised in its batch's turn, and all processes end, as they do where no more results are taken. Where a
    process dies, all that was not done is done again by new ones: so the function should write nothing
    itself. Raises InputError, and WorkerError where they die again and again on the same batches.
    """
    count = check_count("in_processes: workers", usable_processors() if workers is None else workers)
    most = count * check_count("in_processes: ahead", ahead)
    return _results(function, iter(batches), count, most, context)


def _results(
    function: Callable[[In], Out], batches: Iterator[In], workers: int, most: int, context: Any
) -> Iterator[Out]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    waiting: deque[_Batch[In]] = deque()  # in order
    broken = 0
    pool = ProcessPoolExecutor(workers, context)
    try:
        while True:
            waiting.extend(map(_Batch, islice(batches, most - len(waiting))))
            if not waiting:
                return
            try:
                for batch in waiting:
                    batch.future = batch.future or pool.submit(function, batch.data)
                result = waiting[0].future.result()
            except BrokenProcessPool as error:
                broken += 1
                pool.shutdown()
                if broken == TRIES:
                    raise WorkerError(
                        f"in_processes: {TRIES} pools of processes in a row ended before the first of "
                        f"{len(waiting)} batches was done ({error}). Compute it in this process to see why"
                    ) from error
                for batch in waiting:
                    batch.forget_unless_done()
                pool = ProcessPoolExecutor(workers, context)
                continue
            broken = 0
            waiting.popleft()
            yield result
            del result
    finally:
        pool.shutdown(cancel_futures=True)


class _Batch(Generic[In]):
    """A batch, and the future of its result, None where nobody computes it."""

    def __init__(self, data: In) -> None:
        self.data = data
        self.future: Any = None

    def forget_unless_done(self) -> None:
        future = self.future
        if future is not None and not (future.done() and future.exception() is None):
            self.future = None

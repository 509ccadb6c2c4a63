"""Batches that are made ahead, in order, at most so many at a time.

Enters: a `Sequence`, which is asked for batches by number, or an iterator. Leaves: its batches, in the order
in which it would give them to a single thread. `workers` makes them; the queue is that of the requests which
are under way. Whoever takes a batch asks for the next ones, so no further thread has to look after the queue.
"""

from __future__ import annotations

import random
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

from kcompile.keras.utils.workers import (
    END,
    Inline,
    Workers,
    ask_item,
    ask_next,
    copies_iterators,
    seeds_of_epoch,
)
from kcompile_runtime.checks import check_count, check_flag
from kcompile_runtime.errors import InputError, UnsupportedError, describe
from kcompile_runtime.positions import generators
from kcompile_runtime.threads import check_threads

ENDLESS = 1 << 12  # batches of an epoch of data that have no end


def has_number(data: Any) -> bool:
    """Whether an object has `num_batches`, as a PyDataset of Keras 3 has."""
    return hasattr(type(data), "num_batches") and hasattr(data, "__getitem__")


def number_of_batches(data: Any) -> int | None:
    """How many batches an epoch of it has; None for no end."""
    found: int | None = data.num_batches if has_number(data) else len(data)
    return found


class SequenceEnqueuer:
    """Base of what makes batches ahead: `start`, then `get`, and `stop` at the end.

    sequence: what gives the batches. use_multiprocessing: whether in processes, each of which has a copy of
    it, or in threads.
    """

    def __init__(self, sequence: Any, use_multiprocessing: bool = False) -> None:
        self.sequence = sequence
        self.use_multiprocessing = check_flag("use_multiprocessing", use_multiprocessing)
        self.limit: int | None = None  # how many batches will be taken, where that is known
        self.queue: deque[tuple[Any, Any]] = deque()  # requests under way, as (worker, future)
        self.workers = 0
        self._running = False
        self._paused = False
        self._size = 0
        self._made: Workers | Inline | None = None
        self.taken = self.given = 0  # requests whose batch was taken, and those that had one

    def is_running(self) -> bool:
        return self._running

    def start(self, workers: int = 1, max_queue_size: int = 10) -> None:
        """Begin to make batches. workers: how many threads or processes make them, 0 for the thread that
        takes them. max_queue_size: how many may be made before they are taken."""
        self.workers = check_count("workers", workers, 0)
        check_threads("workers", workers or None)
        self._size = check_count("max_queue_size", max_queue_size) if self.workers else 1
        self._running = True
        try:
            self._begin()
            self._ask_ahead()
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: Any = None) -> None:
        """End all threads and processes, and wait for them. timeout: Keras' wait for its thread; a batch that
        a thread is making is always waited for."""
        self._running = False
        self._close()
        self.queue.clear()

    def get(self) -> Iterator[Any]:
        """The batches, those that are None left out. An exception of a worker is raised in its batch's turn,
        after everything was stopped."""
        try:
            while self._running:
                if not self.queue and not self._again():
                    return
                worker, future = self.queue.popleft()
                batch = future.result()
                self.taken += 1
                self.given += batch is not None and batch is not END
                if batch is END:
                    self._ended(worker)
                elif batch is None and self.limit is not None:
                    self.limit += 1
                self._ask_ahead()
                if batch is not None and batch is not END:
                    yield batch
        except BaseException as error:
            if not isinstance(error, GeneratorExit):
                self.stop()
            raise

    def _ask_ahead(self) -> None:
        """Ask for as many batches as the queue holds."""
        while not self._paused and len(self.queue) < self._size and (self.limit is None or self.limit > 0):
            found = self._next_request()
            if found is None:
                return
            if self._made is None:
                self._made = self._new_workers()
            self.queue.append((found[0], self._made.submit(*found)))
            if self.limit is not None:
                self.limit -= 1

    def _close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    def _begin(self) -> None:
        """Get ready for the first request."""

    def _next_request(self) -> tuple[int, Any] | None:
        """The next worker to ask, and what for; None where there is nothing for now."""
        raise NotImplementedError

    def _new_workers(self) -> Workers | Inline:
        raise NotImplementedError

    def _again(self) -> bool:
        """Whether there are batches behind those that were asked for so far, which then is under way."""
        return False

    def _ended(self, worker: int) -> None:
        """A worker has no more batches."""


class OrderedEnqueuer(SequenceEnqueuer):
    """Makes the batches of a `Sequence`, epoch after epoch, without an end. shuffle: each epoch in another
    order, drawn from Python's generator as Keras draws it. `on_epoch_end` of the sequence is called by the
    thread that takes the batches, and processes get a copy of what it left; not where tells is False: then
    others call it, and nothing of the next epoch is asked for before it is wanted."""

    def __init__(self, sequence: Any, use_multiprocessing: bool = False, shuffle: bool = False) -> None:
        super().__init__(sequence, use_multiprocessing)
        self.shuffle = shuffle
        self.tells = True
        self.began: Any = None  # the generators' state before anything was asked for
        self.journal: Any = None  # a `passes.Journal`, which is told of each `_next_epoch`
        self._order: list[int] = []  # of the requests to come in this epoch, the next one last
        self._whole: list[int] = []  # the same as the epoch began
        self._before = (0, 0)  # taken and given of the epochs before this one
        self._epoch = self._turn = -1

    def join_end_of_epoch(self) -> None:
        """When the last batch of an epoch was taken, begin the next."""
        if self.tells and self._running and not self.queue and not self._order:
            self._next_epoch()

    def _begin(self) -> None:
        length = number_of_batches(self.sequence)
        if length is not None and length < 1:
            raise InputError(
                describe(f"data ({type(self.sequence).__name__})", "at least one batch", f"{length}")
            )
        first = 0 if length is not None else (self._epoch + 1) * ENDLESS
        self._order = list(range(first, first + (ENDLESS if length is None else length)))
        if self.shuffle and length is not None:
            random.shuffle(self._order)
        self._order.reverse()
        self._whole = list(self._order)
        self._before = self.taken, self.given
        self._epoch += 1
        if not self._epoch:
            self.began = generators()

    # ---- for a training that goes on

    def place(self) -> tuple[int, int, int, int]:
        """How many batches were taken, and how many were given, before this epoch and in it."""
        taken, given = self._before
        return taken, given, self.taken - taken, self.given - given

    def pause(self) -> None:
        """Ask for nothing more, and drop what was asked for and not taken."""
        self._paused = True
        self._close()
        self.limit = None if self.limit is None else self.limit + len(self.queue)
        self.queue.clear()

    def next_epoch(self) -> None:
        """Begin the next epoch, whatever was taken of this one."""
        self._next_epoch()

    def go_on(self, place: tuple[int, int, int, int], again: bool) -> None:
        """Give batches from a place on, as in the epoch that has begun; again: from the beginning of the
        epoch."""
        taken, given, inside, given_inside = place
        if inside > len(self._whole):
            got = f"{len(self._whole)} of {inside} batches of an epoch"
            wanted = "as many batches as it had before"
            raise InputError(describe(f"data ({type(self.sequence).__name__})", wanted, got))
        if not again:
            del self._whole[len(self._whole) - inside :]
        self._order = list(self._whole)
        self._before = taken, given
        whole = None if self.limit is None else self.limit + self.given
        self.taken, self.given = (taken, given) if again else (taken + inside, given + given_inside)
        self.limit = None if whole is None else max(whole - self.given, 0)
        self._turn, self._paused = self.taken - 1, False
        self._ask_ahead()

    def _next_epoch(self) -> None:
        if self.journal is not None:
            self.journal.before("next")
        tell = getattr(self.sequence, "on_epoch_end", None)
        if tell is not None and self.tells:
            tell()
        if self.use_multiprocessing:
            self._close()
        self._begin()
        if self.journal is not None:
            self.journal.after()
        self._ask_ahead()

    def _again(self) -> bool:
        if self.limit == 0:
            return False
        if not self._order:
            if (self.taken, self.given) != self._before and self.given == self._before[1]:
                kind = f"data ({type(self.sequence).__name__})"
                raise InputError(describe(kind, "at least one batch that is not None in an epoch", "none"))
            self._next_epoch()
        return True

    def _next_request(self) -> tuple[int, Any] | None:
        if not self._order:
            return None
        self._turn += 1
        return self._turn % max(self.workers, 1), self._order.pop()

    def _new_workers(self) -> Workers | Inline:
        if not self.workers:
            return Inline(self.sequence, ask_item)
        seeds = seeds_of_epoch(self._epoch, self.workers) if self.use_multiprocessing else None
        return Workers(self.sequence, ask_item, self.workers, seeds)


class GeneratorEnqueuer(SequenceEnqueuer):
    """Makes the batches of an iterator until it ends. A thread alone runs it, however many `workers` there
    are, as its batches have an order. Several processes have a copy each and give in turn.

    random_seed: of the random numbers of the first process; the next one has the next seed. None: they go on
    as those of this process, in each alike. wait_time is not used any more, as in Keras.
    """

    def __init__(
        self,
        sequence: Any,
        use_multiprocessing: bool = False,
        wait_time: float | None = None,
        random_seed: int | None = None,
    ) -> None:
        super().__init__(sequence, use_multiprocessing)
        if wait_time is not None:
            warnings.warn("GeneratorEnqueuer: wait_time is not used", DeprecationWarning, stacklevel=2)
        if self.use_multiprocessing and not copies_iterators():
            raise UnsupportedError(
                describe(
                    f"data ({type(sequence).__name__}) in other processes",
                    "a keras.utils.Sequence, which can be sent there",
                    "an iterator",
                    "Use use_multiprocessing=False.",
                )
            )
        self.random_seed = random_seed
        self._open: list[int] = []  # the sources that have not ended yet
        self._turn = -1

    def _begin(self) -> None:
        self._open = list(range(self.workers if self.use_multiprocessing and self.workers else 1))

    def _next_request(self) -> tuple[int, Any] | None:
        if not self._open:
            return None
        self._turn += 1
        return self._open[self._turn % len(self._open)], None

    def _ended(self, worker: int) -> None:
        if worker in self._open:
            self._open.remove(worker)

    def _new_workers(self) -> Workers | Inline:
        if not self.workers:
            return Inline(self.sequence, ask_next)
        if not self.use_multiprocessing:
            return Workers(self.sequence, ask_next, 1)
        first = self.random_seed
        return Workers(
            self.sequence,
            ask_next,
            self.workers,
            [None if first is None else first + k for k in range(self.workers)],
        )

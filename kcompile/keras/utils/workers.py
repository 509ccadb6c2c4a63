"""Threads and processes that make batches while a model trains on those before.

Enters: what is asked for batches. Leaves: `Workers`, each of which answers its requests in their order. A
worker is a thread; where batches are to be made in another process, the thread asks that one, which has a
copy of what is asked. All end with `close`, whatever they are doing.
"""

from __future__ import annotations

import random
import signal
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile_runtime.errors import WorkerError

if TYPE_CHECKING:
    from concurrent.futures import Future

Ask = Callable[[Any, Any], Any]  # (source, request) -> batch
TERMINATION = 5  # seconds that a process is given to end, before it is killed


class End(Enum):
    """What a source that has no more batches answers. It stays the same object in other processes."""

    END = "end of the batches"


END = End.END


class RemoteTraceback(Exception):
    """The cause of an exception from another process: where it was raised there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\nin the process that makes batches:\n{self.text}"


class Workers:
    """Threads that ask a source. Each request is for one of them, so that which process makes which batch
    does not depend on their pace. seeds: None for threads of this process; else each has a process,
    whose random numbers begin with its seed, or go on as those of this process where that is None."""

    def __init__(self, source: Any, ask: Ask, count: int, seeds: Sequence[Any] | None = None) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._processes: list[Process] = []
        try:
            for seed in () if seeds is None else seeds:
                self._processes.append(Process(source, ask, seed))
        except BaseException:
            self.close()
            raise
        if seeds is None:
            self._calls: list[Callable[[Any], Any]] = [lambda request: ask(source, request)] * count
        else:
            self._calls = [process.ask for process in self._processes]
        self._threads = [ThreadPoolExecutor(1, "batches") for _ in self._calls]

    def submit(self, worker: int, request: Any) -> Future[Any]:
        """The batch of a request, which the worker makes after those that it was asked for before."""
        return self._threads[worker].submit(self._calls[worker], request)

    def close(self) -> None:
        """End all threads and processes. What a thread is making is waited for."""
        for process in self._processes:
            process.end()
        for thread in getattr(self, "_threads", ()):
            thread.shutdown(wait=False, cancel_futures=True)
        for thread in getattr(self, "_threads", ()):
            thread.shutdown(wait=True)
        for process in self._processes:
            process.join()


class Inline:
    """In place of workers: the thread that takes a batch makes it."""

    def __init__(self, source: Any, ask: Ask) -> None:
        self._source = source
        self._ask = ask

    def submit(self, worker: int, request: Any) -> Deferred:
        return Deferred(lambda: self._ask(self._source, request))

    def close(self) -> None: ...


@dataclass(frozen=True)
class Deferred:
    """A batch that is made when it is asked for."""

    result: Callable[[], Any]


class Process:
    """A process with a copy of a source, which is asked by one thread of this process."""

    def __init__(self, source: Any, ask: Ask, seed: Any) -> None:
        context = _context()
        self._connection, theirs = context.Pipe()
        self._ended = False
        arguments = (theirs, self._connection, source, ask, seed)
        self._process = context.Process(target=_serve, args=arguments, name="batches", daemon=True)
        with warnings.catch_warnings():
            # Python warns of forks beside threads. Those of the native pool hold no lock that a child takes
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            self._process.start()
        theirs.close()

    def ask(self, request: Any) -> Any:
        try:
            self._connection.send(request)
            good, answer, text = self._connection.recv()
        except (EOFError, OSError) as error:
            if self._ended:
                return END
            self._process.join(TERMINATION)
            raise WorkerError(
                f"the process that makes batches ended with exit code {self._process.exitcode}. "
                "Use use_multiprocessing=False to see its error"
            ) from error
        if good:
            return answer
        raise answer from RemoteTraceback(text)

    def end(self) -> None:
        self._ended = True
        if self._process.is_alive():
            self._process.terminate()

    def join(self) -> None:
        self._process.join(TERMINATION)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()
        self._process.close()


def _context() -> Any:
    """How processes are started: as the script says, else by fork on Linux, where the data need not be
    pickled and the script need not be imported again; elsewhere as Python does it there."""
    import multiprocessing

    method = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.get_context("fork" if method is None and sys.platform == "linux" else method)


def _serve(connection: Any, theirs: Any, source: Any, ask: Ask, seed: Any) -> None:
    """Answer requests, in the process, until nobody can ask any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    theirs.close()
    if seed is not None:
        np.random.seed(seed)
        random.seed(np.asarray(seed).tobytes())
    try:
        while True:
            connection.send(_answer(source, ask, connection.recv()))
    except (EOFError, OSError):
        return


def _answer(source: Any, ask: Ask, request: Any) -> tuple[bool, Any, str]:
    """Whether there is a batch, the batch or the exception, and the text of its traceback."""
    import pickle

    try:
        return True, ask(source, request), ""
    except Exception as error:
        text = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = WorkerError(f"{type(error).__name__}: {error}")
        return False, error, text


def seeds_of_epoch(epoch: int, count: int) -> list[Any]:
    """Seeds of the processes of an epoch: others for each, and the same when a script that seeds numpy is
    run again. Nothing is drawn from the generator."""
    kind, keys, place, *_ = np.random.get_state(legacy=True)
    here = zlib.crc32(np.asarray(keys).tobytes() + bytes(f"{kind}{place}", "ascii"))
    return [np.array([here, epoch, k], np.uint32) for k in range(count)]


def ask_item(source: Any, index: int) -> Any:
    """The batch of a number."""
    return source[index]


def ask_next(source: Any, _: Any) -> Any:
    """The next batch of an iterator, or END."""
    try:
        return next(source)
    except StopIteration:
        return END


def copies_iterators() -> bool:
    """Whether processes are started so that they have a copy of what cannot be pickled."""
    return bool(_context().get_start_method() == "fork")

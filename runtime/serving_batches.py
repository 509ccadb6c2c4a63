"""Requests that wait together are computed together: a queue with an end, batches of several requests.

Enters: arrays of single requests. Leaves: their results. One batch is computed at a time, in a thread; what
arrives meanwhile is the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array
from kcompile_runtime.artifact import Artifact
from kcompile_runtime.errors import InputError, InputTypeError
from kcompile_runtime.serving_tensors import Refused

Observe = Callable[[int, int, float], None]


@dataclass
class _Waiting:
    arrays: list[Array]
    rows: int
    done: asyncio.Future[list[Array]]
    since: float = field(default_factory=time.monotonic)


class Batches:
    """The requests to one model.

    artifact: the model. max_rows: samples of a batch; a request of more is a batch by itself. delay: seconds
    that the first request of a batch waits at most for others, while nothing is computed. max_waiting:
    requests in the queue; more are refused. observe: is told of each batch its requests, samples and seconds.
    """

    def __init__(
        self, artifact: Artifact, max_rows: int, delay: float, max_waiting: int, observe: Observe
    ) -> None:
        self._artifact, self._observe = artifact, observe
        self._max_rows, self._delay, self._max_waiting = max_rows, delay, max_waiting
        specs = (*artifact.inputs, *artifact.outputs)
        self._joins = all(spec.leading and spec.rows for spec in specs)
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, f"serve {artifact.metadata['name']}")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    async def __call__(self, arrays: list[Array], rows: int) -> list[Array]:
        """The outputs for the arrays of one request. Raises Refused when the queue is full, or closed."""
        if self._closing:
            raise Refused(503, "the server is shutting down")
        if len(self._queue) >= self._max_waiting:
            raise Refused(503, f"{self._max_waiting} requests are waiting already: try again later")
        waiting = _Waiting(arrays, rows, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await waiting.done

    def hurry(self) -> None:
        """Wait for no others from now on."""
        self._delay = 0.0
        self._arrived.set()

    async def close(self) -> None:
        """Compute what waits, and accept nothing more."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            await self._others()
            batch = self._taken()
            if not batch:
                continue
            begin = time.monotonic()
            found = await loop.run_in_executor(self._thread, self._computed, batch)
            self._observe(len(batch), sum(w.rows for w in batch), time.monotonic() - begin)
            for waiting, result in zip(batch, found):
                if waiting.done.done():  # nobody waits any more
                    continue
                if isinstance(result, Exception):
                    waiting.done.set_exception(result)
                else:
                    waiting.done.set_result(result)

    async def _others(self) -> None:
        """Wait until a batch is full, or its first request has waited long enough."""
        while self._joins and not self._closing and sum(w.rows for w in self._queue) < self._max_rows:
            left = self._queue[0].since + self._delay - time.monotonic()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except asyncio.TimeoutError:
                return

    def _taken(self) -> list[_Waiting]:
        """The next batch: requests in their order, while they fit."""
        batch: list[_Waiting] = []
        rows = 0
        while self._queue and (not batch or (self._joins and rows + self._queue[0].rows <= self._max_rows)):
            waiting = self._queue.popleft()
            if not waiting.done.done():
                batch.append(waiting)
                rows += waiting.rows
        return batch

    def _computed(self, batch: Sequence[_Waiting]) -> list[list[Array] | Exception]:
        """The results of each request, or what it raised."""
        if len(batch) == 1:
            return [self._alone(batch[0])]
        joined = [np.concatenate(arrays) for arrays in zip(*(w.arrays for w in batch))]
        try:
            outputs = self._run(joined, sum(w.rows for w in batch))
        except Exception:  # of one of them
            return [self._alone(waiting) for waiting in batch]
        ends = np.cumsum([w.rows for w in batch])[:-1]
        parts = [np.split(y, ends * s.rows) for y, s in zip(outputs, self._artifact.outputs)]
        return [list(own) for own in zip(*parts)]

    def _alone(self, waiting: _Waiting) -> list[Array] | Exception:
        try:
            return self._run(waiting.arrays, waiting.rows)
        except (InputError, InputTypeError) as error:
            return Refused(400, str(error))
        except Exception as error:
            return error

    def _run(self, arrays: list[Array], rows: int) -> list[Array]:
        x: Any = arrays if len(arrays) > 1 else arrays[0]
        if self._joins:
            y = self._artifact.predict(x, batch_size=self._max_rows)
        else:
            y = self._artifact.predict_on_batch(x)
        return y if isinstance(y, list) else [y]

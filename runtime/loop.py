"""An entry over the rows of arrays, batch by batch: many batches in one native call, or one by one.

Enters: whole arrays, the order of their rows, a batch size. Leaves: a `Runner`, which the training loop
calls for as many batches as may go by before Python has its turn. The native function is

    int32_t kc_batches(int64_t *job)

It gathers the rows of each batch (without an order it points to them), calls the entry, and moves
the outputs on; the words of a job are listed in `BatchLoop._job`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from kcompile_runtime.arrays import Array, address, aligned, as_input
from kcompile_runtime.errors import RowError
from kcompile_runtime.execute import Executor
from kcompile_runtime.spec import TensorSpec

Runner = Callable[[Sequence[Array], "Array | None", int, int, int], "list[Array]"]
"""(arrays, order, size, start, stop) -> the outputs of the batches of `size` samples from start to stop,
the last one maybe smaller, joined along axis 0. order: which row is the i-th sample, int64 (None: the
i-th). Arrays that are given are valid during the call only; all of a run have the same shapes."""

_BATCHES = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_size_t)


def one_by_one(run: Callable[[int, list[Array]], list[Array]]) -> Runner:
    """The batches one after the other, where no native code has a loop over them. run(n, parts) gives
    the outputs of a batch."""
    buffers: list[Array] = []

    def cut(arrays: Sequence[Array], order: Array | None, size: int, start: int, stop: int) -> list[Array]:
        if order is None:
            return [a[start:stop] for a in arrays]
        if not buffers:
            buffers.extend(aligned((size, *a.shape[1:]), a.dtype) for a in arrays)
        # mode="clip" writes to `out` directly; rows are never out of range
        return [
            a.take(order[start:stop], 0, buffer[: stop - start], "clip") for a, buffer in zip(arrays, buffers)
        ]

    def batches(
        arrays: Sequence[Array], order: Array | None, size: int, start: int, stop: int
    ) -> list[Array]:
        results = []
        for first in range(start, stop, size):
            end = min(first + size, stop)
            try:
                results.append(run(end - first, cut(arrays, order, size, first, end)))
            except RowError as error:
                if error.sample is None:
                    raise
                row = first + error.sample
                raise error.of(row if order is None else int(order[row])) from None
        return joined(results)

    return batches


def joined(results: Sequence[list[Array]]) -> list[Array]:
    """The outputs of several calls as those of one: each joined along axis 0."""
    if len(results) == 1:
        return results[0]
    return [np.concatenate(output) for output in zip(*results)]


class BatchLoop:
    """Runs batches of an entry in one native call; called as a `Runner`, by one thread at a time.

    function: the address of kc_batches. executor: of the entry, whose inputs and outputs `can_join`.
    """

    def __init__(self, function: int, executor: Executor) -> None:
        self._function = _BATCHES(function)
        self._executor = executor
        self._bytes = [spec.nbytes(1) for spec in executor.inputs]
        self._samples = 0
        self._shapes: list[tuple[int, ...]] = []
        self._buffers: list[Array] = []
        self._tables = np.zeros((2, max(len(executor.inputs), len(executor.outputs), 1)), np.int64)

    def __call__(
        self, arrays: Sequence[Array], order: Array | None, size: int, start: int, stop: int
    ) -> list[Array]:
        """See `Runner`."""
        executor = self._executor
        size = min(size, stop - start)
        sources = self._checked(arrays)
        if order is not None and (not self._buffers or len(self._buffers[0]) < size):
            self._buffers = [aligned(s.bind(size), s.numpy_dtype) for s in executor.inputs]
        count = -(-(stop - start) // size)
        results = [np.empty(_joined_shape(s, stop - start, count), s.numpy_dtype) for s in executor.outputs]
        workspace = executor.acquire(size)
        try:
            job = self._job(sources, order, size, start, stop, results, workspace.tail)
            status = self._function(address(job))
            if status:
                first = int(job[1])  # of the batch that failed
                raise executor.failure(
                    status,
                    workspace,
                    lambda sample: first + sample if order is None else int(order[first + sample]),
                )
        finally:
            executor.release(workspace)
        return results

    def _checked(self, arrays: Sequence[Array]) -> list[Array]:
        """The arrays, converted where they do not conform."""
        inputs = self._executor.inputs
        samples = len(arrays[0]) // (inputs[0].rows or 1)
        if samples != self._samples:
            self._samples, self._shapes = samples, [s.bind(samples) for s in inputs]
        return [
            a if a.shape == shape and a.dtype is s.numpy_dtype and a.flags.carray else as_input(a, s, samples)
            for a, s, shape in zip(arrays, inputs, self._shapes)
        ]

    def _job(
        self,
        sources: Sequence[Array],
        order: Array | None,
        size: int,
        start: int,
        stop: int,
        results: Sequence[Array],
        tail: Sequence[ctypes.c_void_p],
    ) -> Array:
        executor = self._executor
        table = address(self._tables)
        words = [
            executor.address,
            start,
            stop,
            size,
            0 if order is None else address(order),
            len(sources),
            len(results),
            *[pointer.value or 0 for pointer in tail],
            table,
            table + self._tables.strides[0],
        ]
        buffers = [0] * len(sources) if order is None else map(address, self._buffers)
        for source, nbytes, buffer in zip(sources, self._bytes, buffers):
            words += address(source), nbytes, buffer
        for array, spec in zip(results, executor.outputs):
            words += address(array), spec.nbytes(size)
        return np.array(words, np.int64)


def can_join(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Whether batches of the inputs are rows of larger arrays, and outputs of several batches can lie
    one behind the other."""
    return (
        bool(inputs)
        and all(s.rows and s.leading and s.nbytes(1) for s in inputs)
        and all(s.leading for s in outputs)
    )


def _joined_shape(spec: TensorSpec, samples: int, batches: int) -> tuple[int, ...]:
    """The shape of all batches' outputs together."""
    if spec.rows:
        return spec.bind(samples)
    first, *rest = spec.bind(1)
    return (first * batches, *rest)

"""Runs the training steps and evaluations of a model on this rank's part of each batch, with the others.

Enters: the engine of this process, and a `Group`. Leaves: an engine of the same interface, whose "train" and
"test" are stages (`stages`) with sums over all ranks between; what it gives is of the whole batch, and its
updates of variables are the same on every rank. Predictions are made by this process alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from kcompile import compiler
from kcompile.ir.digest import fingerprint
from kcompile.ir.types import bind
from kcompile.keras.lengths import Lengths
from kcompile.native import NativeEngine
from kcompile.parallel.communicator import Communicator
from kcompile.parallel.stages import FIRST, SAMPLES, Stage, stages
from kcompile_runtime.arrays import Array, aligned
from kcompile_runtime.errors import RowError, UnsupportedError, describe
from kcompile_runtime.layout import ALIGNMENT, round_up
from kcompile_runtime.loop import Runner, joined


class Group(Protocol):
    """What the engine knows of the ranks. bucket: bytes of gradients that are summed at a time."""

    comm: Communicator
    bucket: int | None

    def own_layers(self, model: Any) -> frozenset[str]:
        """The layers whose statistics of a batch each rank has of its own samples."""

    def part(self, n: int) -> tuple[int, int]:
        """Which of the n samples of a batch are this rank's: from, to."""

    def first(self, n: int) -> int:
        """How many samples of the batch the ranks before have."""

    def told_model(self, name: str, digest: str, variables: Sequence[Any]) -> None:
        """Raises RankError where others compute something else; then all have rank 0's variables."""


class Step:
    """An entry of a model at some lengths, in stages."""

    def __init__(self, engine: NativeEngine, entry: str, lengths: Any, group: Group) -> None:
        traced = engine.traced(entry, lengths)
        graph, self.group, self.variables = traced.graph, group, list(traced.captured.values())
        group.told_model(entry, fingerprint(graph), self.variables)
        made = stages(graph, group.own_layers(engine.model), group.bucket)
        self.parts = [_Part(engine, entry, stage, traced.captured) for stage in made]
        self.inputs = tuple(graph.inputs)
        self._empty = {
            name: np.zeros(bind(graph.type(v).shape, 1), graph.type(v).dtype)
            for name, v in graph.inputs.items()
        }
        for part in self.parts:
            read = {name for name in part.inputs if name.startswith("sum:")}
            part.waits_for = [i for i, other in enumerate(self.parts) if read & set(other.stage.sums)]
        several = sum(bool(part.buffers) for part in self.parts) > 1
        overlaps = group.bucket is not None and several and group.comm.size > 1
        self._sender = ThreadPoolExecutor(1, "kcompile-sums") if overlaps else None
        self.exchanged = sum(part.stage.bytes for part in self.parts)

    def run(self, total: int, first: int, arrays: Sequence[Array]) -> list[Array]:
        """What a batch of `total` samples on all ranks gives; arrays: this rank's rows, which may be none."""
        n = len(arrays[0]) if arrays else 0
        given: dict[str, Array] = dict(zip(self.inputs, arrays)) if n else dict(self._empty)
        given[SAMPLES], given[FIRST] = np.array(total, np.int64), np.array(first, np.int64)
        sent: dict[int, list[Future[None]]] = {}
        outputs: list[Array] = []
        for number, part in enumerate(self.parts):
            for earlier in part.waits_for:
                for future in sent.pop(earlier, ()):
                    future.result()
            outputs = part.run(max(n, 1), given, empty=not n)
            for buffer in part.buffers:
                if self._sender is None:
                    self.group.comm.allreduce(buffer)
                else:
                    future = self._sender.submit(self.group.comm.allreduce, buffer)
                    sent.setdefault(number, []).append(future)
        return outputs

    def close(self) -> None:
        """End the thread that sends sums."""
        if self._sender is not None:
            self._sender.shutdown()


class _Part:
    """A stage as native code. buffers: its sums, one array for each dtype, of which its outputs are views."""

    def __init__(self, engine: NativeEngine, entry: str, stage: Stage, captured: Any) -> None:
        self.stage = stage
        code = compiler.compile_graph(stage.graph, entry, engine.target, frozen=entry != "train")
        self._program = engine.load(code, {name: captured[name] for name in stage.graph.variables})
        self._entry = entry
        self.inputs = tuple(stage.graph.inputs)
        self.waits_for: list[int] = []  # the numbers of the stages whose sums it reads
        self._specs = self._program.entries[entry].outputs
        self.buffers: list[Array] = []
        self._sums: dict[str, Array] = {}
        wanted = [spec for spec in self._specs if spec.name in stage.sums]
        for dtype in dict.fromkeys(spec.dtype for spec in wanted):
            self._hold([spec for spec in wanted if spec.dtype == dtype])

    def _hold(self, specs: Sequence[Any]) -> None:
        """One array for outputs of one dtype, each at an aligned place."""
        places, size = [], 0
        for spec in specs:
            places.append(size)
            size += round_up(spec.nbytes(1), ALIGNMENT)
        memory = aligned(size)
        memory[...] = 0
        kind = specs[0].numpy_dtype
        self.buffers.append(memory[: size - size % kind.itemsize].view(kind))
        for place, spec in zip(places, specs):
            self._sums[spec.name] = memory[place : place + spec.nbytes(1)].view(kind).reshape(spec.bind(1))

    def run(self, n: int, given: dict[str, Array], empty: bool) -> list[Array]:
        """Run the stage for n samples; its outputs are added to what is given. empty: they are no samples of
        the batch, so that their sums are zero."""
        outputs = [
            self._sums[s.name] if s.name in self._sums else np.empty(s.bind(n), s.numpy_dtype)
            for s in self._specs
        ]
        self._program.run(self._entry, n, [given[name] for name in self.inputs], outputs)
        if empty:
            for buffer in self.buffers:
                buffer[...] = 0
        given.update((spec.name, array) for spec, array in zip(self._specs, outputs))
        return outputs


class ParallelEngine:
    """The engine of a `Group` over one of this process, for which it stands otherwise."""

    def __init__(self, inner: NativeEngine, group: Group) -> None:
        for what, wrong in (("verify", inner.verify), ("memory_limit", inner.memory_limit is not None)):
            if wrong:
                raise UnsupportedError(
                    describe("data-parallel training", f"a model compiled without {what}", f"{what}=...")
                )
        self.inner, self.group = inner, group
        self._steps: dict[Any, Step] = {}
        self._lengths: dict[str, Any] = {}  # of the latest arrays
        self.resets = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def variables(self) -> list[Any]:
        """The variables that steps read or update, the same in the same order on all ranks."""
        return list(dict.fromkeys(v for step in self._steps.values() for v in step.variables))

    @property
    def quick(self) -> Callable[[Any], Array] | None:
        """See `Engine`."""
        return self.inner.quick

    @quick.setter
    def quick(self, call: Callable[[Any], Array] | None) -> None:
        self.inner.quick = call

    @property
    def quick_list(self) -> Callable[[Any], Any] | None:
        """See `Engine`."""
        return self.inner.quick_list

    @quick_list.setter
    def quick_list(self, call: Callable[[Any], Any] | None) -> None:
        self.inner.quick_list = call

    def predictor(self) -> Any:
        """See `Engine`."""
        return self.inner.predictor()

    def list_predictor(self) -> Any:
        """See `Engine`."""
        return self.inner.list_predictor()

    def reset(self, entries: Iterable[str] = ("predict", "test", "train")) -> None:
        """See `Engine`. The inner engine is told by itself."""
        gone = set(entries)
        self.resets += bool(gone & {"test", "train"})
        for key in [key for key in self._steps if key[0] in gone]:
            self._steps.pop(key).close()

    def prepare(self, entry: str, lengths: Lengths) -> None:
        """See `Engine`."""
        if entry == "predict":
            self.inner.prepare(entry, lengths)
        else:
            self.step(entry, lengths or None)

    def step(self, entry: str, lengths: Any) -> Step:
        """The stages of an entry at some lengths."""
        if self.inner.model.fixed_step(entry):
            raise UnsupportedError(
                describe(
                    "data-parallel training",
                    "a step that is traced for any number of samples",
                    f"{entry}_step of {self.inner.model.name!r}, which is traced for each",
                )
            )
        key = self.inner._key(entry, lengths)
        if key not in self._steps:
            self._steps[key] = Step(self.inner, entry, lengths, self.group)
        return self._steps[key]

    def run(self, entry: str, n: int, inputs: Sequence[Array]) -> list[Array]:
        """See `Engine`. Of "train" and "test": a batch of n samples on all ranks. inputs: all of its rows, or
        where ranks have shards this rank's."""
        if entry == "predict":
            return self.inner.run(entry, n, inputs)
        if inputs:
            self._lengths[entry] = self.inner._lengths(inputs, entry)
        step = self.step(entry, self._lengths[entry])
        start, stop = self.group.part(n)
        if inputs and len(inputs[0]) == n:
            rows = [x[start:stop] for x in inputs]
        else:  # already this rank's; a row that is none of it was read to have one
            rows = [x[: stop - start] for x in inputs]
        try:
            return step.run(n, self.group.first(n), rows)
        except RowError as error:
            raise (error if error.sample is None else error.of(start + error.sample)) from None

    def batches(self, entry: str) -> Runner:
        """See `Engine`. Arrays: of all data."""
        if entry == "predict":
            return self.inner.batches(entry)

        def run(arrays: Sequence[Array], order: Any, size: int, start: int, stop: int) -> list[Array]:
            results = []
            step = self.step(entry, self.inner._lengths(arrays, entry))
            for first in range(start, stop, size):
                n = min(size, stop - first)
                low, high = self.group.part(n)
                span = slice(first + low, first + high)
                rows = span if order is None else order[span]
                try:
                    parts = [np.ascontiguousarray(x[rows]) for x in arrays]
                    results.append(step.run(n, self.group.first(n), parts))
                except RowError as error:
                    if error.sample is None:
                        raise
                    at = first + low + error.sample
                    raise error.of(at if order is None else int(order[at])) from None
            return joined(results)

        return run

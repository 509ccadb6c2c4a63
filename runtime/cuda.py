"""Compiled programs on a graphics processor: memory on the device, launches, and the way back.

Enters: PTX, the launch table (see `kcompile.codegen.gpu.program`), a model's arrays. Leaves: a `CudaProgram`,
which runs entries on numpy arrays as `program.Program` does. Weights, what is prepared from them,
constants and the arena stay on the device; inputs go there and outputs come back with each call.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array, aligned_copy, as_input, check_output, check_rows
from kcompile_runtime.cuda_driver import MOST_BLOCKS, Driver, Step, argument_tables
from kcompile_runtime.errors import DeviceError, InputError, describe
from kcompile_runtime.program import EntrySpec

PLANS = 16  # batch sizes whose launches are remembered


class Held:
    """An array of the model and its copy on the device. `newer` says which side was written last."""

    def __init__(self, driver: Driver, array: Array) -> None:
        with driver:
            self.pointer = driver.allocate(array.nbytes)
        self.array = array
        self.newer: str | None = "host"
        self.driver = driver
        weakref.finalize(self, _release, driver, [self.pointer], [])

    def host_wrote(self) -> None:
        """The array has values that the device has not."""
        self.newer = "host"

    def device_wrote(self) -> None:
        """The device has values that the array has not."""
        self.newer = "device"

    def to_device(self) -> None:
        """Copy the array there, if it is newer."""
        if self.newer == "host":
            self.driver.upload(self.pointer, self.array)
            self.newer = None

    def to_host(self) -> None:
        """Bring the device's values into the array, where they are newer."""
        if self.newer == "device":
            with self.driver:
                if self.newer == "device":  # no other thread was faster
                    self.driver.download(self.array, self.pointer)
                    self.newer = None


@dataclass
class _Plan:
    """All launches of an entry for one batch size. keep: what their arguments point to. Launches of a
    plan that is used again are recorded, and then start at once."""

    driver: Driver
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[Step, ...]
    keep: tuple[Array, ...]
    used: bool = False
    recorded: Any = None

    def start(self) -> None:
        if self.recorded is not None:
            self.driver.replay(self.recorded)
        elif self.used and len(self.steps) > 1:
            self.recorded = self.driver.record(self.steps)
            weakref.finalize(self, _forget, self.driver, self.recorded)
            self.driver.replay(self.recorded)
        else:
            for step in self.steps:
                self.driver.launch(step)
        self.used = True


class CudaProgram:
    """Entries that share variables, a prepared block and constants, on a device.

    table, constants: of the compiled program. variables: in the order of the table's indices.
    `stale` says that variables changed since "prepare" ran. wrote: called after an entry wrote
    variables. Calls exclude each other, those of other programs on the device too.
    """

    def __init__(
        self,
        driver: Driver,
        ptx: str,
        table: dict[str, Any],
        constants: bytes,
        entries: Sequence[EntrySpec],
        variables: Sequence[Held],
        wrote: Callable[[], None] | None = None,
    ) -> None:
        self.stale = True
        self._told = wrote
        self.entries = {entry.name: entry for entry in entries}
        self.variables = list(variables)
        self._driver = driver
        self._tables = {entry["name"]: entry for entry in table["entries"]}
        self._fixed: dict[str, int] = {}
        self._memory = 0
        self._room = 0
        self._plans: dict[tuple[str, int], _Plan] = {}
        self._owned: list[int] = []
        modules: list[Any] = []
        weakref.finalize(self, _release, driver, self._owned, modules)
        data = aligned_copy(np.frombuffer(constants, np.uint8))
        with driver:
            modules.append(driver.load(ptx))
            self._kernels = {
                launch["kernel"]: driver.kernel(modules[0], launch["kernel"])
                for entry in table["entries"]
                for launch in _launches(entry)
            }
            for name, size in (("prepared", table["prepared"]), ("constant", data.nbytes)):
                self._fixed[name] = driver.allocate(size)
                self._owned.append(self._fixed[name])
            driver.upload(self._fixed["constant"], data)

    def run(
        self, entry: str, n: int, inputs: Sequence[Any], outputs: Sequence[Array] | None = None
    ) -> list[Array]:
        """Run an entry for a batch of n >= 1 and return its outputs, new arrays unless given.

        Raises KeyError for an unknown entry; InputError, InputTypeError for arrays that do not fit;
        DeviceError when the device reports a failure.
        """
        spec = self.entries[entry]
        if n < 1:
            raise InputError(describe(entry, "at least one sample", str(n)))
        if len(inputs) != len(spec.inputs):
            raise InputError(describe(entry, f"{len(spec.inputs)} inputs", str(len(inputs))))
        arrays = [as_input(x, s, n) for x, s in zip(inputs, spec.inputs)]
        for number, rows, label in spec.numbers:
            check_rows(f"{entry}: {label}", arrays[number], rows)
        if outputs is None:
            results = [np.empty(s.bind(n), s.numpy_dtype) for s in spec.outputs]
        else:
            results = list(outputs)
            for y, s in zip(results, spec.outputs):
                check_output(y, s, n)
        with self._driver:
            for variable in self.variables:
                variable.to_device()
            if self.stale and spec.reads_prepared and "prepare" in self._tables:
                self._run("prepare", 1, (), ())
            self.stale = self.stale and not spec.reads_prepared
            self._run(entry, n, arrays, results)
        return results

    def seconds(self, entry: str, n: int, repeats: int) -> float:
        """Time on the device for one call, the mean over `repeats`: launches alone, on what the last
        call of this size left there, without copies. Variables change as in calls."""
        with self._driver:
            plan = self._plan(entry, n)
            for count in (2, repeats):  # the first two record
                self._driver.wait()
                start = time.perf_counter()
                for _ in range(count):
                    plan.start()
                self._driver.wait()
            self._wrote(entry)
            return (time.perf_counter() - start) / repeats

    # ---- one call

    def _run(self, entry: str, n: int, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        driver, plan = self._driver, self._plan(entry, n)
        for pointer, array in zip(plan.inputs, inputs):
            driver.upload(pointer, np.ascontiguousarray(array))
        plan.start()
        self._wrote(entry)
        for pointer, array in zip(plan.outputs, outputs):
            driver.download(array, pointer)
        if not plan.outputs:
            driver.wait()

    def _wrote(self, entry: str) -> None:
        writes = self._tables[entry]["writes"]
        if writes and self._told is not None:
            self._told()  # also the copies here, which are the newest
        for number in writes:
            self.variables[number].device_wrote()
        self.stale = self.stale or (bool(writes) and not self.entries[entry].keeps_prepared)

    def changed(self) -> None:
        """Variables were written: what was prepared from them is prepared again before it is used."""
        self.stale = True

    def _plan(self, entry: str, n: int) -> _Plan:
        plan = self._plans.get((entry, n))
        if plan is None:
            spec = self.entries[entry]
            sizes = [s.nbytes(n) for s in (*spec.inputs, *spec.outputs)]
            arena = _at(self._tables[entry]["arena"], n)
            places = np.cumsum([0, *(_round(size) for size in (arena, *sizes))])
            self._grow(int(places[-1]))
            if len(self._plans) >= PLANS:
                self._plans.clear()
            pointers = [self._memory + int(p) for p in places[:-1]]
            plan = self._plans[entry, n] = self._record(entry, n, pointers)
        return plan

    def _grow(self, size: int) -> None:
        """A workspace of at least so many bytes; what pointed into a smaller one is forgotten."""
        if size <= self._room:
            return
        self._plans.clear()
        if self._memory:
            self._owned.remove(self._memory)
            self._driver.free(self._memory)
            self._memory = self._room = 0
        self._memory, self._room = self._driver.allocate(size), size
        self._owned.append(self._memory)

    def _record(self, entry: str, n: int, pointers: Sequence[int]) -> _Plan:
        """The launches of an entry, with every argument in its place. pointers: to the arena, the
        inputs, the outputs."""
        count = 1 + len(self.entries[entry].inputs)
        bases = {
            "arena": pointers[:1],
            "input": pointers[1:count],
            "output": pointers[count:],
            "variable": [v.pointer for v in self.variables],
            **{name: [pointer] for name, pointer in self._fixed.items()},
        }
        heads, rows = [], []
        for launch, t in _sequence(self._tables[entry]):
            blocks = -(-_at(launch["units"], n) // launch["per_block"]) * launch["times"]
            if blocks > MOST_BLOCKS:
                raise DeviceError(
                    describe(
                        entry,
                        f"at most {MOST_BLOCKS} blocks in a launch",
                        f"{n} samples, which need {blocks}",
                        "Use a smaller batch.",
                    )
                )
            if blocks:
                heads.append((self._kernels[launch["kernel"]], blocks, launch["threads"]))
                rows.append(
                    [*(bases[p["region"]][p["index"]] + _offset(p, n, t) for p in launch["places"]), n]
                )
        arguments = np.zeros((len(rows), max(map(len, rows), default=1)), np.uint64)
        for line, row in zip(arguments, rows):
            line[: len(row)] = row
        table, addresses = argument_tables(arguments)
        steps = tuple(Step(*head, at) for head, at in zip(heads, addresses))
        return _Plan(self._driver, tuple(bases["input"]), tuple(bases["output"]), steps, (arguments, table))


# ---------------------------------------------------------------- the table


def _launches(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [launch for step in entry["steps"] for launch in step.get("launches", [step])]


def _sequence(entry: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Every launch of one call in order, with the round of the repeat that it is in."""
    for step in entry["steps"]:
        for t in range(step.get("count", 1)):
            for launch in step.get("launches", [step]):
                yield launch, t


def _at(size: Sequence[int], n: int) -> int:
    return size[0] + n * size[1]


def _offset(place: dict[str, Any], n: int, t: int) -> int:
    """Bytes from the start of its region to a buffer, in round t."""
    offset = _at(place["offset"], n)
    if "step" in place:
        offset += t * _at(place["step"], n) + (t + place["phase"]) % 2 * _at(place["flip"], n)
    return offset


def _round(size: int) -> int:
    return (size + 255) // 256 * 256


def _release(driver: Driver, pointers: Sequence[int], modules: Sequence[Any]) -> None:
    """Give memory and code back."""
    with _too_late(), driver:
        for pointer in pointers:
            driver.free(pointer)
        for module in modules:
            driver.unload(module)


def _forget(driver: Driver, recorded: Any) -> None:
    with _too_late(), driver:
        driver.forget(recorded)


def _too_late() -> AbstractContextManager[None]:
    """Around giving things back: the driver may have gone, as it does at exit, or have failed."""
    return suppress(DeviceError)

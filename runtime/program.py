"""A compiled model in this process: native entries, their memory, the model's variables.

Enters: addresses of native functions and what they take. Leaves: a `Program`, which runs entries on
numpy arrays. The native interface of an entry:

    int32_t kc_<entry>(int64_t n, void **inputs, void **outputs, void **variables,
                       void *prepared, const void *constants, void *arena, void *pool)
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from kcompile_runtime.arrays import Array, address, aligned, aligned_copy, in_place
from kcompile_runtime.execute import Executor
from kcompile_runtime.layout import NONE, Memory
from kcompile_runtime.loop import BatchLoop, Runner, can_join, one_by_one
from kcompile_runtime.spec import TensorSpec
from kcompile_runtime.threads import ForkLock, PoolFunctions, shared_pool

T = TypeVar("T")


@dataclass(frozen=True)
class EntrySpec:
    """What the runtime knows of an entry.

    name: "predict", "train", ... inputs, outputs: its arrays, in order. memory: the arena's, and behind it
    that of each thread. reads_prepared: the block that "prepare" fills must be up to date before a call.
    writes_variables: calls exclude each other, and the block is out of date after one, unless keeps_prepared:
    it does not depend on the variables that are written. checks: the labels of the layers that read rows by
    numbers from data, in the order of the native code's checks. numbers: of those that are inputs, (input,
    rows, label), for code that does not check.
    """

    name: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    memory: Memory = NONE
    reads_prepared: bool = True
    writes_variables: bool = False
    keeps_prepared: bool = False
    checks: tuple[str, ...] = ()
    numbers: tuple[tuple[int, int, str], ...] = ()


class Prepared:
    """The block, of `size` bytes, that "prepare" fills from variables. Programs that prepare the same from
    the same variables share one: it is filled once after a change.

    `stale` says that variables changed since. refresh: called before it is filled.
    """

    def __init__(self, size: int, refresh: Callable[[], None] | None) -> None:
        self.memory = aligned(size)
        self.stale = True
        self.fill: Callable[[], object] | None = None  # native code, of the first program that has it
        self.keeps_alive: object = None  # what that code reads
        self.lock = ForkLock()
        self._changes = 0
        self._refresh = refresh

    def changed(self) -> None:
        """Variables were written: what was prepared from them is prepared again before it is used."""
        self._changes += 1
        self.stale = True

    def update(self) -> None:
        """Fill the block, if variables changed since it was filled."""
        with self.lock:
            if self.stale:
                changes = self._changes
                if self._refresh is not None:
                    self._refresh()
                if self.fill is not None:
                    self.fill()
                self.stale = changes != self._changes  # another thread may have written meanwhile


class Program:
    """Native entries that share variables, a prepared block and constants.

    symbol: the address of a native function by its name ("kc_predict", "kc_pool_start", and
    "kc_batches", "kc_call", which call entries, see `loop` and `execute`); it is kept, and has to
    keep the code alive. variables: arrays that the code reads and updates in place (copied when they
    are not contiguous and aligned). threads: default, see `default_threads`. pool_abi: of the
    code's pool functions. Call `changed` after writing to `variables` in place. wrote: called after an
    entry wrote variables. refresh: called before the first entry after a change, for arrays whose
    newest values are elsewhere. block: the prepared block of another program, whose "prepare" does the
    same with the same variables; by default a new one. entries: those that are run. prepared: bytes of
    the block. constants: the bytes that code reads.

    Calls of entries that write no variables may run in several Python threads at once. Predicting
    while another thread trains gives numbers of some mixture of old and new weights.
    """

    def __init__(
        self,
        symbol: Callable[[str], int],
        entries: Sequence[EntrySpec],
        variables: Iterable[Array] = (),
        *,
        prepared: int = 0,
        constants: bytes = b"",
        threads: int | None = None,
        pool_abi: int,
        wrote: Callable[[], None] | None = None,
        refresh: Callable[[], None] | None = None,
        block: Prepared | None = None,
    ) -> None:
        self.variables = [in_place(v) for v in variables]
        self.block = Prepared(prepared, refresh) if block is None else block
        self._wrote = wrote
        self.symbol = symbol
        self._lock = self.block.lock
        self._pool = shared_pool(
            PoolFunctions(
                symbol("kc_pool_size"), symbol("kc_pool_start"), symbol("kc_pool_stop"), pool_abi, symbol
            ),
            threads,
        )
        self._constants = aligned_copy(np.frombuffer(constants, np.uint8))
        self._table = (ctypes.c_size_t * max(len(self.variables), 1))(*[address(v) for v in self.variables])
        self._fixed = tuple(
            map(
                ctypes.c_void_p,
                (ctypes.addressof(self._table), address(self.block.memory), address(self._constants)),
            )
        )
        self._pointer = ctypes.c_void_p(self._pool.pointer)
        self.entries = {entry.name: entry for entry in entries}
        self._executors = {entry.name: self._executor(entry) for entry in entries}
        if block is None and "prepare" in self._executors:
            self.block.fill = partial(self._executors["prepare"].run, 1, ())
            self.block.keeps_alive = symbol, self._table, self._constants, self.variables, self._pool

    @property
    def threads(self) -> int:
        """How many threads work on a call."""
        return self._pool.threads

    @property
    def changed(self) -> Callable[[], None]:
        """The function to call when variables were written; the same for all programs with this block."""
        return self.block.changed

    @property
    def stale(self) -> bool:
        """Whether variables changed since "prepare" ran."""
        return self.block.stale

    @property
    def nbytes(self) -> int:
        """Bytes of constants and workspaces, as they are now, without code and the prepared block."""
        return int(self._constants.nbytes) + sum(e.nbytes for e in self._executors.values())

    def run(
        self, entry: str, n: int, inputs: Sequence[Any], outputs: Sequence[Array] | None = None
    ) -> list[Array]:
        """Run an entry for a batch of n >= 1 and return its outputs, new arrays unless given. inputs: arrays
        of the shapes and dtypes of its `EntrySpec`, in order.

        Raises KeyError for an unknown entry; InputError, InputTypeError for arrays that do not fit;
        NativeError when the code reports a failure.
        """
        return self._fresh(self.entries[entry], self._executors[entry].run, n, inputs, outputs)

    def _fresh(self, spec: EntrySpec, call: Callable[..., T], *arguments: Any) -> T:
        """Call native code of an entry with an up-to-date prepared block. Calls that write variables exclude
        each other."""
        if self.block.stale and spec.reads_prepared:
            self.block.update()
        if not spec.writes_variables:
            return call(*arguments)
        with self._lock:
            self.block.stale = self.block.stale or not spec.keeps_prepared
            try:
                return call(*arguments)
            finally:
                if self._wrote is not None:
                    self._wrote()

    def single(self, entry: str) -> Callable[[Any], Array]:
        """A function from the input to the output of an entry with one of each, to be kept: the way for small
        models, a microsecond of Python for a C-contiguous array of the input's dtype."""
        spec, call, block = self.entries[entry], self._executors[entry].one, self.block
        if spec.writes_variables:
            return partial(self._fresh, spec, call)

        def one(x: Any) -> Array:
            if block.stale:
                block.update()
            return call(x)

        return one

    def several(self, entry: str) -> Callable[[Sequence[Any]], list[Array] | None] | None:
        """The same for an entry with any number of inputs and outputs, from a list to a list; it gives None
        for what is not conforming (see `Executor.conforming`). None for an entry that writes variables."""
        spec, call, block = self.entries[entry], self._executors[entry].conforming, self.block
        if spec.writes_variables:
            return None

        def several(x: Sequence[Any]) -> list[Array] | None:
            if block.stale:
                block.update()
            return call(x)

        return several

    def batches(self, entry: str) -> Runner:
        """What runs an entry over the rows of arrays, many batches in one native call: a `Runner`."""
        spec, executor = self.entries[entry], self._executors[entry]
        if not can_join(spec.inputs, spec.outputs):
            return one_by_one(lambda n, parts: self.run(entry, n, parts))
        return partial(self._fresh, spec, BatchLoop(self.symbol("kc_batches"), executor))

    def prepared_block(self) -> bytes:
        """The bytes that "prepare" makes from the variables as they are now."""
        if self.block.stale:
            self.block.update()
        return self.block.memory.tobytes()

    def _executor(self, entry: EntrySpec) -> Executor:
        threads, pointers, pool = self._pool.threads, self._fixed, self._pointer

        def memory(n: int) -> int:
            return entry.memory.at(n, threads)

        def tail(arena: Array) -> tuple[Any, ...]:
            return (*pointers, ctypes.c_void_p(address(arena)), pool)

        return Executor(
            entry.name,
            self.symbol("kc_" + entry.name),
            entry.inputs,
            entry.outputs,
            memory,
            tail,
            self.symbol("kc_call"),
            checks=entry.checks,
        )

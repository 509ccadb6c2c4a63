"""One native function on numpy arrays, at the least cost in Python.

Enters: an address, what its inputs and outputs look like, and how much memory it needs for a batch.
Leaves: an `Executor`, which checks the arrays, refills prebuilt arguments and makes the call. Calls
from several Python threads run side by side, each with a workspace of its own.

The native function is `int32_t f(int64_t n, void **inputs, void **outputs, ...)`; the arguments
after these are fixed for a workspace, and come from `tail`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile_runtime.arrays import DATA_OFFSET, Array, address, aligned, as_input, as_shape, check_output
from kcompile_runtime.batching import no_samples
from kcompile_runtime.errors import InputError, KcompileError, NativeError, RowError, describe
from kcompile_runtime.spec import TensorSpec

Tail = Callable[[Array], tuple[Any, ...]]
BAD_INDEX = 7  # the status for a number of a row that is not there; the workspace says which
_WORDS = 9  # the address of a native function, and as many arguments as kc_call passes on
_Bound = list[tuple[tuple[int, ...], Any, TensorSpec]]  # shape, dtype, and the spec they are of


class _Workspace:
    """What one call in flight needs: memory, pointer tables, and the arguments: words that native code
    unpacks, or ctypes objects (an argument of these takes 50 ns, and an int twice as long)."""

    __slots__ = (
        "args",
        "memory",
        "n",
        "outputs",
        "outputs_table",
        "shape",
        "source",
        "table",
        "tail",
        "target",
        "words",
    )

    def __init__(self, inputs: int, outputs: int) -> None:
        self.memory: Array | None = None
        self.table = (ctypes.c_size_t * max(inputs, 1))()
        self.outputs_table = (ctypes.c_size_t * max(outputs, 1))()
        self.words = (ctypes.c_int64 * _WORDS)()
        self.n = ctypes.c_int64.from_buffer(self.words, 8)
        self.source = ctypes.c_void_p.from_buffer(self.words, 16)
        self.target = ctypes.c_void_p.from_buffer(self.words, 24)
        self.source.value = ctypes.addressof(self.table)
        self.target.value = ctypes.addressof(self.outputs_table)
        self.tail: tuple[Any, ...] = ()
        self.args: tuple[Any, ...] = ()
        self.shape: tuple[int, ...] | None = None  # of the last input and output of `one`
        self.outputs: tuple[int, ...] = ()


class Executor:
    """Calls a native function.

    name: for messages. function: its address. memory: bytes of workspace for a batch of n, which
    must not shrink with n. tail: the last arguments, as ctypes objects, for a workspace's memory.
    caller: the address of `int32_t kc_call(const int64_t words[9])`, which calls words[0] with the other
    words; 0 where there is none. last: makes one more argument for each call, the last one. checks: labels
    of the layers that read rows by number. optional: of the last inputs so many may be None, for NULL.
    """

    def __init__(
        self,
        name: str,
        function: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        memory: Callable[[int], int],
        tail: Tail,
        caller: int = 0,
        last: Callable[[], Any] | None = None,
        checks: Sequence[str] = (),
        optional: int = 0,
    ) -> None:
        self.name = name
        self._needed = len(inputs) - optional
        self.address = function
        self.checks = tuple(checks)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._memory = memory
        self._tail = tail
        self._packed = bool(caller)
        native = ctypes.CFUNCTYPE(ctypes.c_int32)(caller or function)
        native.argtypes = None  # type: ignore[assignment]  # pass ctypes objects as they are; typeshed has no None
        self._function: Callable[..., int] = native if last is None else (lambda *args: native(*args, last()))
        self._free: list[_Workspace] = []
        self._shapes: dict[int, tuple[_Bound, _Bound]] = {}
        single = len(self.inputs) == 1 and len(self.outputs) == 1
        self._fast = single and DATA_OFFSET >= 0
        self._dtype = self.inputs[0].numpy_dtype if single else None
        self._out_dtype = self.outputs[0].numpy_dtype if single else None

    @property
    def nbytes(self) -> int:
        """Bytes of the workspaces that are in no call."""
        return sum(workspace.memory.nbytes for workspace in list(self._free) if workspace.memory is not None)

    def one(self, x: Any) -> Array:
        """The output for the input of a function that has one of each. A new array every call."""
        if not self._fast:
            return self.call((x,))[0]
        try:
            workspace = self._free.pop()  # atomic: a workspace is in one call at a time
        except IndexError:
            workspace = _Workspace(1, 1)
        try:
            if (
                type(x) is not np.ndarray
                or x.shape != workspace.shape
                or x.dtype is not self._dtype
                or not x.flags.carray
            ):
                x = self._convert_one(x, workspace)
                if x is None:
                    return no_samples(self.outputs)[0]
            y = np.empty(workspace.outputs, self._out_dtype)
            workspace.source.value = id(x) + DATA_OFFSET
            workspace.target.value = id(y) + DATA_OFFSET
            status = self._function(*workspace.args)
            if status:
                raise self.failure(status, workspace)
        finally:
            self._free.append(workspace)
        return y

    def _convert_one(self, x: Any, workspace: _Workspace) -> Array | None:
        """Make the input right and the workspace fit it. None for no samples."""
        n = self.batch_of((x,))
        if n == 0:
            return None
        array = as_input(x, self.inputs[0], n)
        self._fit(workspace, n)
        workspace.outputs = self.outputs[0].bind(n)
        workspace.shape = array.shape
        return array

    def call(self, inputs: Sequence[Any]) -> list[Array]:
        """The outputs for any number of inputs; the batch is found from their shapes."""
        n = self.batch_of(inputs)
        return self.run(n, inputs) if n else no_samples(self.outputs)

    def batch_of(self, inputs: Sequence[Any]) -> int:
        """The batch that all inputs have in common, 1 when no input has a batch. Raises InputError
        when they differ, or are of the wrong number."""
        self._count(inputs, self.inputs, "inputs")
        batch, owner = -1, ""
        for i, (value, spec) in enumerate(zip(inputs, self.inputs)):
            if value is None and i >= self._needed:
                continue
            n = as_shape(value, spec)[1]
            if n not in (-1, batch):
                if batch != -1:
                    raise InputError(
                        describe(
                            spec.name,
                            f"as many samples as {owner} has, {batch}",
                            str(n),
                            "All inputs of a call have the same number of samples.",
                        )
                    )
                batch, owner = n, spec.name
        return 1 if batch == -1 else batch

    def run(self, n: int, inputs: Sequence[Any], outputs: Sequence[Array] | None = None) -> list[Array]:
        """Call for a batch of n >= 1. `outputs`, when given, are written in place and returned;
        they must be C-contiguous, of the exact shape and dtype. Raises InputError, InputTypeError,
        NativeError."""
        self._count(inputs, self.inputs, "inputs")
        if n < 1:
            raise InputError(describe(self.name, "at least one sample", str(n)))
        wanted, given = self._shapes.get(n) or self._bind(n)
        arrays = [
            x
            if type(x) is np.ndarray and x.dtype is dtype and x.shape == shape and x.flags.carray
            else (None if x is None and i >= self._needed else as_input(x, spec, n))
            for i, (x, (shape, dtype, spec)) in enumerate(zip(inputs, wanted))
        ]
        if outputs is None:
            results = [np.empty(shape, dtype) for shape, dtype, _ in given]
        else:
            self._count(outputs, self.outputs, "outputs")
            results = list(outputs)
            for y, (shape, dtype, spec) in zip(results, given):
                if not (type(y) is np.ndarray and y.dtype is dtype and y.shape == shape and y.flags.carray):
                    check_output(y, spec, n)
        return self._launch(n, arrays, results)

    def conforming(self, inputs: Sequence[Any]) -> list[Array] | None:
        """The outputs, for arrays that need no look at each: of shapes seen before, of the right dtypes,
        contiguous. None for any others."""
        first = inputs[0] if inputs and len(inputs) == len(self.inputs) else None
        if type(first) is not np.ndarray or not first.ndim:
            return None
        bound = self._shapes.get(first.shape[0])
        if bound is None:
            return None
        wanted, given = bound
        for x, (shape, dtype, _) in zip(inputs, wanted):
            if type(x) is not np.ndarray or x.dtype is not dtype or x.shape != shape or not x.flags.carray:
                return None
        return self._launch(first.shape[0], inputs, [np.empty(shape, dtype) for shape, dtype, _ in given])

    def _launch(self, n: int, arrays: Sequence[Array | None], results: list[Array]) -> list[Array]:
        """The call, of arrays that fit."""
        workspace = self.acquire(n)
        try:
            workspace.table[: len(arrays)] = [0 if a is None else address(a) for a in arrays]
            workspace.outputs_table[: len(results)] = [address(a) for a in results]
            workspace.source.value = ctypes.addressof(workspace.table)
            workspace.target.value = ctypes.addressof(workspace.outputs_table)
            status = self._function(*workspace.args)
            if status:
                raise self.failure(status, workspace)
        finally:
            self.release(workspace)
        return results

    def acquire(self, n: int) -> _Workspace:
        """A workspace for one call with a batch of n; `release` it afterwards."""
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = _Workspace(len(self.inputs), len(self.outputs))
        self._fit(workspace, n)
        workspace.shape = None  # `one` sets its own
        return workspace

    def release(self, workspace: _Workspace) -> None:
        """Let other calls have the workspace."""
        self._free.append(workspace)

    def _bind(self, n: int) -> tuple[_Bound, _Bound]:
        """The concrete shapes for a batch, remembered for the few sizes that occur."""
        if len(self._shapes) > 64:
            self._shapes.clear()
        wanted, given = (
            [(s.bind(n), s.numpy_dtype, s) for s in specs] for specs in (self.inputs, self.outputs)
        )
        self._shapes[n] = wanted, given
        return wanted, given

    def _fit(self, workspace: _Workspace, n: int) -> None:
        """Give the workspace the memory that a batch of n needs: grown, never shrunk."""
        need = self._memory(n)
        if workspace.memory is None or workspace.memory.size < need:
            workspace.memory = aligned(need)
            workspace.args = ()
        if not workspace.args:
            workspace.tail = self._tail(workspace.memory)
            workspace.args = (workspace.n, workspace.source, workspace.target, *workspace.tail)
            if self._packed:
                workspace.words[0] = self.address
                workspace.words[4:] = [pointer.value or 0 for pointer in workspace.tail]
                workspace.args = (ctypes.c_void_p(ctypes.addressof(workspace.words)),)
        workspace.n.value = n

    def _count(self, arrays: Sequence[Any], specs: Sequence[TensorSpec], what: str) -> None:
        if len(arrays) != len(specs):
            names = ", ".join(spec.name for spec in specs)
            raise InputError(describe(self.name, f"{len(specs)} {what} ({names})", str(len(arrays))))

    def failure(
        self, status: int, workspace: _Workspace, rows: Callable[[int], int] | None = None
    ) -> KcompileError:
        """The error for what a native function returned with this workspace. rows: from a sample of the
        call to its number in the user's arrays, where these are larger."""
        if status != BAD_INDEX or workspace.memory is None:
            return NativeError(f"{self.name}: the native code returned status {status}")
        check, place, number, limit, each = workspace.memory[:40].view(np.int64).tolist()
        label = self.checks[check] if 0 <= check < len(self.checks) else ""
        sample = None
        if each:
            sample, place = divmod(place, each)
            sample = sample if rows is None else rows(sample)
        received = f"{number}" if number > -(2**31) else "a number beyond int32, or none"
        return RowError(f"{self.name}: {label or 'rows by number'}", limit, received, place, sample)

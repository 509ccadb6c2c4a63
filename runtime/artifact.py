"""Exported models: an `Artifact` is a library that predicts.

What enters is a file that may come from anywhere: it is read and checked before any of its code is
loaded, so that a damaged file, or one for another machine, ends in an `ArtifactError` and not in a
crash. Its code is then trusted, as with any shared object.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from kcompile_runtime import batching, machines
from kcompile_runtime.arrays import Array, address, aligned
from kcompile_runtime.contents import ABI, Contents
from kcompile_runtime.errors import ArtifactError, InputError, NativeError, describe
from kcompile_runtime.execute import Executor
from kcompile_runtime.spec import specs_of
from kcompile_runtime.streams import Stream
from kcompile_runtime.threads import PoolFunctions, shared_pool
from kcompile_runtime.trainer import Trainer

_STATUS = {
    1: "a NULL pointer",
    2: "a workspace that is too small",
    3: "a batch that is not accepted",
    4: "another ABI",
    5: "no threads",
    6: "the self-test failed",
    7: "a number of a row that is not there",
    8: "memory that is no state",
}


def check_machine(contents: Contents) -> None:
    """Raises ArtifactError, saying what is missing, unless this machine can run the model."""
    machine, metadata = contents.machine, contents.metadata
    if machine == "wasm32":
        raise ArtifactError(
            "a WebAssembly module, which runs in a browser or in Node (its header says "
            "how). Export the model with a target for this machine"
        )
    if "-none-" in metadata["triple"]:
        raise ArtifactError(
            f"an object for programs without an operating system ({metadata['target']}; its header says how "
            "it is linked with one). Export the model with a target for this machine"
        )
    if sys.platform != "linux":
        raise ArtifactError(
            f"made for Linux ({metadata['triple']}), and this is {sys.platform}. "
            "Export the model for this system"
        )
    own = machines.own()
    if machine != own:
        raise ArtifactError(
            f"made for {machine}, and this machine is {own}. Export the model with a target for this machine"
        )
    missing = sorted(set(metadata["cpu_flags"]) - cpu_flags())
    if missing:
        raise ArtifactError(
            f"needs processor features that this machine lacks: "
            f"{', '.join(missing)}. Export the model with an older target, or on "
            "this machine"
        )


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """The features of the processor by the kernel's names: those that the kernel gives each process where
    it names them there, else those that it lists for the first processor in /proc/cpuinfo (where an
    emulator runs this process, that may be of another machine)."""
    known = machines.HWCAPS.get(machines.own())
    getauxval = getattr(ctypes.CDLL(None), "getauxval", None) if known else None
    if known and getauxval is not None:
        getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
        return frozenset(
            name for kind, bits in known.items() for bit, name in bits.items() if getauxval(kind) >> bit & 1
        )
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("flags", "Features"):
                    return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


_loaded: dict[str, list[tuple[int, int, str]]] = {}


def _fresh_name(path: str, checksum: str) -> str:
    """The path, spelled as for no other file before: the system's loader takes a name that it knows
    for the library that it has loaded, and an older export may have been there. Raises
    ArtifactError for a loaded file that was overwritten, whose code is neither the old nor the new."""
    absolute, status = os.path.abspath(path), os.stat(path)
    this = (status.st_dev, status.st_ino, checksum)
    if any(other[:2] == this[:2] and other != this for seen in _loaded.values() for other in seen):
        raise ArtifactError(
            "written over a file that this process has loaded. Delete such a file "
            "before writing it again, or write under another name and rename"
        )
    seen = _loaded.setdefault(absolute, [])
    if this not in seen:
        seen.append(this)
    folder, name = os.path.split(absolute)
    return os.path.join(folder, *["."] * seen.index(this), name)


class Artifact:
    """A loaded model. `inputs` and `outputs` describe its arrays (a `TensorSpec` each), `metadata` its
    origin.

    path: the file; metadata: what it says of itself, checked by `load`; threads and seed as `load` takes
    them. Raises InputError for a seed that does not fit, ArtifactError where the system cannot load its
    code, or code and metadata do not fit.
    """

    def __init__(
        self, path: str, metadata: Mapping[str, Any], threads: int | None = None, seed: int | None = None
    ) -> None:
        self.path = path
        self.metadata = dict(metadata)
        self.inputs = specs_of(metadata["inputs"])
        self.outputs = specs_of(metadata["outputs"])
        self._prefix = f"kc_{metadata['name']}_"
        name = _fresh_name(path, metadata["checksum"])
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise ArtifactError(f"the system cannot load it: {error}") from error
        if self._function("abi", ctypes.c_int32)() != ABI:
            raise ArtifactError("damaged: code and metadata are of different versions")
        self._pool = shared_pool(
            PoolFunctions(
                self._address("pool_size"),
                self._address("pool_start"),
                self._address("pool_stop"),
                metadata["pool_abi"],
                self._library,
            ),
            threads,
        )
        self._size = self._function("workspace_size", ctypes.c_int64, ctypes.c_int64, ctypes.c_int32)
        self._draw = draws_of(seed, bool(metadata.get("draws")))
        self._checks = tuple(map(str, metadata.get("checks", ())))
        self._executor = Executor(
            metadata["name"],
            self._address("run"),
            self.inputs,
            self.outputs,
            self._workspace_size,
            self._tail,
            last=self._draw,
            checks=self._checks,
        )
        self._single = len(self.outputs) == 1
        self._quick = (
            self._single and len(self.inputs) == 1 and not metadata["batch"] and self.inputs[0].rows == 1
        )  # an array of few samples is one call

    @property
    def threads(self) -> int:
        """How many threads work on a call."""
        return self._pool.threads

    def __call__(self, x: Any) -> Any:
        """The outputs for one batch; x, results and errors as of `predict_on_batch`."""
        return self.predict_on_batch(x)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, computed at once.

        x: an array for a model with one input, else a list of arrays in the order of `inputs`, or a
        dict by their names; of the shapes that `inputs` say, where "n" is the batch. Numbers are converted
        to the input's dtype where that loses nothing but precision. Returns an array of the shape and dtype
        that `outputs` say for a model with one output, else a list. Raises
        InputError and InputTypeError for arrays that do not fit.
        """
        if self._single and len(self.inputs) == 1 and not isinstance(x, (list, tuple, dict)):
            return self._executor.one(x)
        return self._result(self._executor.call(self._arrays(x)))

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """The outputs for any number of samples, computed `batch_size` at a time; x, results and errors
        as in `predict_on_batch`. A model exported for one batch size computes
        that many at a time, whatever `batch_size` says."""
        if (
            self._quick
            and type(x) is np.ndarray
            and x.ndim
            and type(batch_size) is int
            and len(x) <= batch_size
        ):
            return self._executor.one(x)
        return self._result(
            batching.predict(
                self._executor.run,
                self.inputs,
                self.outputs,
                self._arrays(x),
                batch_size,
                self.metadata["batch"],
            )
        )

    def stream(self) -> Stream:
        """A `Stream`: states of the model's layers, for a sequence that comes in parts. Raises InputError for
        a model whose layers keep none."""
        return Stream(self)

    def trainer(self) -> Trainer:
        """A `Trainer`, which trains the model in memory of its own. Raises InputError for a library that was
        exported without a training step."""
        return Trainer(self)

    def selftest(self) -> float:
        """Run the sample in the file; return the largest |got - expected| / (1 + |expected|). Raises
        NativeError when it exceeds what the exporter allowed."""
        return self._tested("")

    def _tested(self, of: str) -> float:
        """The same. of: "train_" for the training step."""
        size = self._function(f"{of}selftest_size", ctypes.c_int64)()
        memory = aligned(size)
        error = ctypes.c_double(0.0)
        run = self._function(
            f"{of}selftest", ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p
        )
        status = run(address(memory), size, ctypes.addressof(error))
        if status:
            raise NativeError(
                f"{self.path}: {_STATUS.get(status, f'status {status}')} (largest error {error.value:g})"
            )
        return error.value

    def _arrays(self, x: Any, names: Sequence[str] | None = None) -> list[Any]:
        """One array for each input, or of inputs of these names alone."""
        names = [spec.name for spec in self.inputs] if names is None else names
        if isinstance(x, dict):
            if sorted(x) != sorted(names):
                raise InputError(
                    describe("inputs", f"a dict with the keys {names}", f"keys {sorted(map(str, x))}")
                )
            return [x[name] for name in names]
        if isinstance(x, (list, tuple)) and (len(names) > 1 or _is_list_of_one(x)):
            return list(x)
        return [x]

    def _result(self, outputs: list[Array]) -> Any:
        return outputs[0] if self._single else outputs

    def _workspace_size(self, n: int) -> int:
        return self._accepted(int(self._size(n, self._pool.threads)), n)

    def _accepted(self, size: int, n: int) -> int:
        """Bytes of workspace for n samples. Raises InputError where they are 0."""
        if size == 0:
            batch = self.metadata["batch"] or "at least 1"
            raise InputError(
                describe(
                    self._executor.name,
                    f"a batch of {batch}",
                    str(n),
                    "predict() takes any number of samples.",
                )
            )
        return size

    def _tail(self, memory: Array) -> tuple[Any, ...]:
        return (
            ctypes.c_void_p(address(memory)),
            ctypes.c_int64(memory.size),
            ctypes.c_void_p(self._pool.pointer),
        )

    def _address(self, name: str) -> int:
        try:
            function = self._library[self._prefix + name]
        except AttributeError as error:
            raise ArtifactError(f"damaged: it has no function {self._prefix}{name}") from error
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    def _function(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        return ctypes.CFUNCTYPE(result, *arguments)(self._address(name))


def draws_of(seed: int | None, drawing: bool) -> Callable[[], ctypes.c_uint64] | None:
    """What gives each call of a model that draws random numbers the number of its draw: the seed above,
    and a count below. Calls of several Python threads get different ones."""
    if not drawing:
        if seed is not None:
            raise InputError(describe("seed", "None: the model draws no random numbers", repr(seed)))
        return None
    if seed is None:
        seed = int(np.random.randint(2**32, dtype=np.uint32))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise InputError(describe("seed", "an integer of at least 0 and below 2^32", repr(seed)))
    numbers, upper = itertools.count(), int(seed) << 32
    return lambda: ctypes.c_uint64(upper | next(numbers) & 0xFFFFFFFF)


def _is_list_of_one(x: Sequence[Any]) -> bool:
    """Whether a list is a list of arrays, and not an array written as a list."""
    return len(x) == 1 and hasattr(x[0], "shape")

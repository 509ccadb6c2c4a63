"""HDF5 opened by another process, for files that nobody vouches for.

Enters: an open file. Leaves: an `Hdf5` whose lists and arrays came over a pipe, as JSON and plain bytes;
this process does not touch the file with HDF5. The other one runs `serve` under limits of processor time
and memory, may write no file, and has to answer in time. A file that makes the library loop, crash or
devour memory ends that process, and here in ModelError.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from kcompile.files.reader import limits
from kcompile.files.reader.hdf5 import Hdf5, Stored, open_here
from kcompile.files.reader.limits import damaged
from kcompile_runtime.errors import KcompileError, ModelError, UnsupportedError

_CODE = (
    "import sys; sys.path[:] = sys.argv[6:]; "
    "from kcompile.files.reader.isolated import serve; serve(*sys.argv[1:6])"
)
_COUNT = 8  # bytes that say how many follow


@contextmanager
def open_elsewhere(stream: IO[bytes], name: str) -> Iterator[Hdf5]:
    """`open_hdf5` in another process. Raises ModelError, and UnsupportedError where the system has no limits
    to set."""
    if os.name != "posix":
        raise UnsupportedError("isolated=True needs the process limits of Linux or macOS")
    stream.flush()
    descriptor = stream.fileno()
    bounds = (limits.MAX_PROCESSOR_SECONDS, limits.MAX_WORKING_MEMORY, limits.MAX_OBJECTS)
    command = [sys.executable, "-I", "-c", _CODE, str(descriptor), name, *map(str, bounds), *sys.path]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            bufsize=0,
            pass_fds=(descriptor,),
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        ) as process,
    ):
        try:
            yield _Servant(process, complaints, name).listing()
        finally:
            process.kill()


class _Servant:
    """The other process, seen from this one. What it says is checked, as a file would be."""

    def __init__(self, process: subprocess.Popen[bytes], complaints: IO[bytes], name: str) -> None:
        self.process = process
        self.complaints = complaints
        self.name = name

    def listing(self) -> Hdf5:
        answer = self._answer()
        try:
            datasets = {str(path): _stored(*about) for path, about in answer["datasets"].items()}
            attributes = {str(path): dict(found) for path, found in answer["attributes"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(self.name, f"its reader speaks nonsense: {error}") from error
        numbers = {path: number for number, path in enumerate(datasets)}

        def values(path: str) -> np.ndarray:
            stored = datasets[path]
            assert self.process.stdin is not None
            try:
                self.process.stdin.write(numbers[path].to_bytes(_COUNT, "little"))
            except OSError as error:
                raise self._ended() from error
            self._answer()
            data = self._receive(stored.size * stored.dtype.itemsize)
            return np.frombuffer(data, stored.dtype).reshape(stored.shape)

        return Hdf5(self.name, attributes, datasets, values)

    def _answer(self) -> dict[str, Any]:
        """The next message. Raises ModelError, with the text that it has for an error."""
        size = int.from_bytes(self._receive(_COUNT), "little")
        if size > 4 * limits.MAX_TEXT:
            raise damaged(self.name, f"it has {size} bytes of names and texts")
        answer = json.loads(self._receive(size))
        if "error" in answer:
            raise ModelError(answer["error"])
        return dict(answer)

    def _receive(self, size: int) -> bytearray:
        """The next `size` bytes. Raises ModelError when they do not come in time."""
        assert self.process.stdout is not None
        descriptor, received = self.process.stdout.fileno(), bytearray()
        end = time.monotonic() + limits.MAX_WAIT_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while len(received) < size:
                if not selector.select(max(0.0, end - time.monotonic())):
                    self.process.kill()
                    raise damaged(self.name, f"no answer within {limits.MAX_WAIT_SECONDS} s of reading it")
                piece = os.read(descriptor, min(size - len(received), limits.CHUNK))
                if not piece:
                    raise self._ended()
                received += piece
        return received

    def _ended(self) -> ModelError:
        """Why the other process is no more."""
        code = self.process.wait()
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return damaged(
                self.name,
                "the HDF5 library does not come to an end with it: it took "
                f"{limits.MAX_PROCESSOR_SECONDS} s of processor time, or all memory",
            )
        if code < 0:
            return damaged(self.name, f"the HDF5 library crashes on it ({signal.Signals(-code).name})")
        self.complaints.seek(0)
        last = self.complaints.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        return damaged(self.name, f"its reader failed: {last or f'status {code}'}")


def _stored(shape: Any, dtype: Any) -> Stored:
    sizes = tuple(shape)
    if not all(type(d) is int and d >= 0 for d in sizes) or not limits.DTYPE.fullmatch(dtype):
        raise ValueError(f"{shape!r} of {dtype!r}")
    return Stored(sizes, np.dtype(dtype))


# ---------------------------------------------------------------- in the other process


def serve(descriptor: str, name: str, seconds: str, memory: str, objects: str) -> None:
    """Answer about the HDF5 file behind a descriptor: first what is in it, then the arrays whose
    numbers come in. The last arguments are limits."""
    limits.MAX_OBJECTS = int(objects)
    _confine(int(seconds))
    stream = os.fdopen(int(descriptor), "rb")
    budget = int(memory) + os.fstat(stream.fileno()).st_size
    _allow(budget)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        with open_here(stream, name) as file:
            _say(
                answers,
                {
                    "attributes": file.attributes,
                    "datasets": {path: [s.shape, s.dtype.str] for path, s in file.datasets.items()},
                },
            )
            paths = list(file.datasets)
            while request := requests.read(_COUNT):
                path = paths[int.from_bytes(request, "little")]
                stored = file.datasets[path]
                _allow(budget + 3 * stored.size * stored.dtype.itemsize)
                values = np.ascontiguousarray(file.read(path))
                _say(answers, {})
                answers.write(values.reshape(-1).view(np.uint8).data)
                answers.flush()
    except KcompileError as error:
        _say(answers, {"error": str(error)})


def _say(answers: IO[bytes], message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    answers.write(len(data).to_bytes(_COUNT, "little") + data)
    answers.flush()


def _confine(seconds: int) -> None:
    """Processor time; no file written, no core dumped."""
    import resource

    for what, soft, hard in (
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        allowed = resource.getrlimit(what)[1]  # which nobody may raise
        if allowed != resource.RLIM_INFINITY:
            soft, hard = min(soft, allowed), min(hard, allowed)
        resource.setrlimit(what, (soft, hard))


def _allow(memory: int) -> None:
    """Limit memory to so many bytes beyond those that Python has mapped now (where the system says)."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or memory + _MAPPED < hard:
        resource.setrlimit(resource.RLIMIT_AS, (memory + _MAPPED, hard))


def _mapped() -> int:
    """Bytes of address space in use."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1024**3


_MAPPED = _mapped()

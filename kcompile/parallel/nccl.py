"""A communicator over NCCL, for ranks with a graphics processor each: arrays of the host go by its memory.

Enters: a communicator over MPI, which brings ranks together, and a device. Leaves: a `Communicator` with the
same sums in the same order. The library is nccl4py (extra `nccl`), NVIDIA's own binding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.parallel.communicator import Communicator, Ordered
from kcompile_runtime.arrays import Array
from kcompile_runtime.cuda_driver import Driver
from kcompile_runtime.errors import ExtraError


class _OnDevice:
    """Bytes on the device, as libraries of Python show them to each other."""

    def __init__(self, pointer: int, size: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (pointer, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }


class NcclCommunicator(Ordered):
    """Ranks of NCCL. first: the communicator that the ranks have already, for the identifier by which NCCL
    brings them together, small messages and the end. driver: of this rank's device. nccl: the module, or what
    behaves like it. Raises ExtraError where the library is not there."""

    def __init__(self, first: Communicator, driver: Driver, nccl: Any = None) -> None:
        nccl = library() if nccl is None else nccl
        self._first, self._driver = first, driver
        self.rank, self.size = first.rank, first.size
        name = np.zeros(128, np.uint8)
        if self.rank == 0:
            name[...] = np.frombuffer(bytes(nccl.get_unique_id()), np.uint8)
        first.broadcast(name)
        with driver:
            self._comm = nccl.Communicator.init(
                self.size, self.rank, nccl.UniqueId.from_bytes(name.tobytes())
            )
        self._sizes = [0, 0]
        self._pointers = [0, 0]

    def _memory(self, which: int, size: int) -> _OnDevice:
        """Memory to send from (0) or to receive into (1), kept for the next time."""
        if self._sizes[which] < size:
            if self._pointers[which]:
                self._driver.free(self._pointers[which])
            self._pointers[which], self._sizes[which] = self._driver.allocate(size), size
        return _OnDevice(self._pointers[which], size)

    def _exchanged(self, call: str, array: Array, received: Array) -> Array:
        array = np.ascontiguousarray(array)
        with self._driver as driver:
            source, target = self._memory(0, array.nbytes), self._memory(1, received.nbytes)
            driver.upload(self._pointers[0], array)
            getattr(self._comm, call)(source, target, stream=0)
            driver.download(received, self._pointers[1])
        return received

    def _all_to_all(self, array: Array) -> Array:
        return self._exchanged("alltoall", array, np.empty_like(array))

    def _all_gather(self, array: Array) -> Array:
        return self._exchanged("allgather", array, np.empty((self.size, *array.shape), array.dtype))

    def broadcast(self, array: Array) -> None:
        """See `Communicator`; by the communicator that ranks had before."""
        self._first.broadcast(array)

    def abort(self, message: str) -> None:
        """See `Communicator`."""
        self._comm.abort()
        self._first.abort(message)


def library() -> Any:
    """The module nccl.core. Raises ExtraError."""
    try:
        import nccl.core
    except (ImportError, RuntimeError, OSError) as error:
        raise ExtraError(f'nccl4py cannot be imported ({error}): pip install "kcompile[nccl]"') from error
    return nccl.core

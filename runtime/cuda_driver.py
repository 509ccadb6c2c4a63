"""The CUDA driver in two dozen calls: enters a device, leaves memory, kernels, graphs and copies.

The package is `cuda-bindings` (extra `cuda`, 12 or 13); nothing here is imported before a graphics
processor is asked for. All work goes to the default stream, so calls run in the order they are made:
a copy to the device has left the host's array when it returns, whatever memory that is in, and a copy
to the host waits for all work before it. A failure of a kernel is therefore raised by the copy, or by
`wait`, that follows it.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array, address
from kcompile_runtime.errors import DeviceError

OLDEST = (8, 0)  # compute capability
MOST_BLOCKS = 2**31 - 1  # of a launch
_LOG = 8192  # bytes for what the driver's assembler has to say

_HINTS = {
    2: "Use a smaller batch_size, or free memory that other programs hold on the device",
    222: "The driver is older than CUDA 12: update it",
    700: "This is a fault of kcompile; the process cannot use the device any more",
}


@dataclass(frozen=True)
class Step:
    """A launch. parameters: the address of an array of pointers to the kernel's arguments, which stay
    where they are as long as the launch is used."""

    kernel: Any
    blocks: int
    threads: int
    parameters: int


class Driver:
    """A device, through `cuda.bindings.driver` or what behaves like it (`api`).

    Used as `with driver:`, which makes the device the calling thread's, and gives the thread its own
    back at the end (other packages keep one there too); threads exclude each other. capability: compute
    capability as (major, minor). Every method raises DeviceError, with the driver's own name of what
    went wrong.
    """

    def __init__(self, api: Any, ordinal: int = 0) -> None:
        self._api = api
        self._lock = threading.RLock()
        self._call("cuInit", 0)
        device = self._call("cuDeviceGet", ordinal)
        self._device = device
        self.capability = (
            self.attribute("COMPUTE_CAPABILITY_MAJOR"),
            self.attribute("COMPUTE_CAPABILITY_MINOR"),
        )
        self._context = self._call("cuDevicePrimaryCtxRetain", device)

    def attribute(self, name: str) -> int:
        """A number that the device has under this name, as the driver calls it."""
        kind = getattr(self._api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._call("cuDeviceGetAttribute", kind, self._device))

    @property
    def architecture(self) -> str:
        """The target whose code is best here: "sm_90a", or "sm_80" for every other from 8.0 on."""
        return "sm_90a" if self.capability == (9, 0) else "sm_80"

    def __enter__(self) -> Driver:
        self._lock.acquire()
        try:
            self._call("cuCtxPushCurrent", self._context)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._call("cuCtxPopCurrent")
        finally:
            self._lock.release()

    # ---- code

    def load(self, ptx: str) -> Any:
        """A module: the driver translates PTX for the device. The error says what its assembler did
        not like."""
        text = ctypes.create_string_buffer(ptx.encode())
        log = bytearray(_LOG)
        option = self._api.CUjit_option
        options = [option.CU_JIT_ERROR_LOG_BUFFER, option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
        try:
            return self._call("cuModuleLoadDataEx", ctypes.addressof(text), 2, options, [log, _LOG])
        except DeviceError as error:
            said = bytes(log).split(b"\0")[0].decode(errors="replace").strip()
            raise DeviceError(f"{error} {said}" if said else str(error)) from error

    def unload(self, module: Any) -> None:
        """Forget a module of `load`."""
        self._call("cuModuleUnload", module)

    def kernel(self, module: Any, name: str) -> Any:
        """The function of this name in a module. Raises DeviceError where there is none."""
        return self._call("cuModuleGetFunction", module, name.encode())

    # ---- memory

    def allocate(self, size: int) -> int:
        """The address of so many bytes on the device (at least one), aligned to 256."""
        return int(self._call("cuMemAlloc", max(size, 1), about=f" of {size} bytes"))

    def free(self, pointer: int) -> None:
        """Give back what `allocate` gave."""
        self._call("cuMemFree", pointer)

    def upload(self, pointer: int, array: Array) -> None:
        """Copy a C-contiguous array to the device."""
        if array.nbytes:
            self._call("cuMemcpyHtoD", pointer, address(array), array.nbytes)

    def download(self, array: Array, pointer: int) -> None:
        """Copy from the device into a C-contiguous array, when all work before is done."""
        if array.nbytes:
            self._call("cuMemcpyDtoH", address(array), pointer, array.nbytes)

    # ---- work

    def launch(self, step: Step) -> None:
        """Start a kernel."""
        self._call(
            "cuLaunchKernel", step.kernel, step.blocks, 1, 1, step.threads, 1, 1, 0, 0, step.parameters, 0
        )

    def record(self, steps: Sequence[Step]) -> Any:
        """Launches, one after the other, as one thing to start: a graph (CUDA's, not ours). It holds
        copies of their arguments."""
        graph = self._call("cuGraphCreate", 0)
        try:
            before: list[Any] = []
            for step in steps:
                node = self._api.CUDA_KERNEL_NODE_PARAMS()
                node.func = step.kernel
                node.gridDimX, node.gridDimY, node.gridDimZ = step.blocks, 1, 1
                node.blockDimX, node.blockDimY, node.blockDimZ = step.threads, 1, 1
                node.sharedMemBytes, node.kernelParams = 0, step.parameters
                before = [self._call("cuGraphAddKernelNode", graph, before, len(before), node)]
            return self._call("cuGraphInstantiate", graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)

    def replay(self, recorded: Any) -> None:
        """Start what `record` gave."""
        self._call("cuGraphLaunch", recorded, 0)

    def forget(self, recorded: Any) -> None:
        """Give back what `record` gave."""
        self._call("cuGraphExecDestroy", recorded)

    def wait(self) -> None:
        """Until all work is done."""
        self._call("cuCtxSynchronize")

    def _call(self, name: str, *arguments: Any, about: str = "") -> Any:
        """What a function of the driver gives beside its status."""
        try:
            status, *results = getattr(self._api, name)(*arguments)
        except RuntimeError as error:  # a driver without this function
            raise DeviceError(f"{name}: {error}") from error
        if int(status):
            known = self._api.cuGetErrorName(status)
            text = known[1].decode() if not int(known[0]) else "unknown error"
            hint = _HINTS.get(int(status), "")
            raise DeviceError(
                f"{name}{about} failed on the graphics processor: {text} ({int(status)})."
                f"{' ' * bool(hint)}{hint}"
            )
        return results[0] if results else None


def connect(api: Any = None) -> Driver:
    """The first graphics processor. Raises DeviceError, one message for all that can be missing: the
    package, the driver, the device, or one that is too old. api: instead of the package."""
    try:
        driver = Driver(api) if api is not None else _default()
    except (ImportError, RuntimeError) as error:
        raise _missing(str(error).rstrip(".")) from error
    if driver.capability < OLDEST:
        raise _missing("compute capability {}.{}".format(*driver.capability))
    return driver


@cache
def _default() -> Driver:
    from cuda.bindings import driver

    return Driver(driver)


def _missing(found: str) -> DeviceError:
    return DeviceError(
        "target 'cuda': expected an NVIDIA graphics processor of compute capability {}.{} or newer, "
        "its driver, and the package cuda-bindings (pip install 'kcompile[cuda]'). Received: {}. "
        "Without one, use target='native'.".format(*OLDEST, found)
    )


def argument_tables(arguments: Array) -> tuple[Array, list[int]]:
    """For kernels' arguments, one uint64 row a launch: an array of pointers to them, which has to be
    kept as long as it is used, and the address of each row of it."""
    rows, width = arguments.shape
    start = address(arguments)
    pointers = np.arange(start, start + rows * width * 8, 8, dtype=np.uint64)
    first = address(pointers)
    return pointers, [first + row * width * 8 for row in range(rows)]

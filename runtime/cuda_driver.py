"""The CUDA driver in a dozen calls: enters a device, leaves memory, kernels and copies.

The package is `cuda-bindings` (extra `cuda`); nothing here is imported before a graphics processor is asked
for. All work goes to one stream, so calls run in the order they are made.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array, address
from kcompile_runtime.errors import DeviceError

OLDEST = (8, 0)  # compute capability


class Driver:
    """A device, through `cuda.bindings.driver` or what behaves like it (`api`).

    capability: compute capability as (major, minor). Every method raises DeviceError, with the
    driver's own name of what went wrong.
    """

    def __init__(self, api: Any, ordinal: int = 0) -> None:
        self._api = api
        self._call("cuInit", 0)
        device = self._call("cuDeviceGet", ordinal)
        attribute = api.CUdevice_attribute
        self.capability: tuple[int, int] = tuple(  # type: ignore[assignment]
            int(self._call("cuDeviceGetAttribute", getattr(
                attribute, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part}"), device))
            for part in ("MAJOR", "MINOR"))
        self._context = self._call("cuDevicePrimaryCtxRetain", device)
        self.activate()

    @property
    def architecture(self) -> str:
        """The target whose code is best here: "sm_90a", or "sm_80" for every other from 8.0 on."""
        return "sm_90a" if self.capability == (9, 0) else "sm_80"

    def activate(self) -> None:
        """Make this device the calling thread's."""
        self._call("cuCtxSetCurrent", self._context)

    def load(self, ptx: str) -> Any:
        """A module: the driver translates PTX for the device."""
        text = ctypes.create_string_buffer(ptx.encode())
        return self._call("cuModuleLoadData", ctypes.addressof(text))

    def unload(self, module: Any) -> None:
        self._call("cuModuleUnload", module)

    def kernel(self, module: Any, name: str) -> Any:
        return self._call("cuModuleGetFunction", module, name.encode())

    def allocate(self, size: int) -> int:
        """The address of so many bytes on the device (at least one), aligned to 256."""
        return int(self._call("cuMemAlloc", max(size, 1)))

    def free(self, pointer: int) -> None:
        self._call("cuMemFree", pointer)

    def upload(self, pointer: int, array: Array) -> None:
        """Copy a C-contiguous array to the device."""
        if array.nbytes:
            self._call("cuMemcpyHtoD", pointer, address(array), array.nbytes)

    def download(self, array: Array, pointer: int) -> None:
        """Copy from the device into a C-contiguous array, when all work before is done."""
        if array.nbytes:
            self._call("cuMemcpyDtoH", address(array), pointer, array.nbytes)

    def launch(self, kernel: Any, blocks: int, threads: int, parameters: int) -> None:
        """Start a kernel. parameters: the address of an array of pointers to its arguments."""
        self._call("cuLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, 0, 0, parameters, 0)

    def wait(self) -> None:
        """Until all work is done."""
        self._call("cuCtxSynchronize")

    def _call(self, name: str, *arguments: Any) -> Any:
        """What a function of the driver gives beside its status."""
        status, *results = getattr(self._api, name)(*arguments)
        if int(status):
            known = self._api.cuGetErrorName(status)
            text = known[1].decode() if not int(known[0]) else "unknown error"
            raise DeviceError(f"{name} failed on the graphics processor: {text} ({int(status)})")
        return results[0] if results else None


def connect(api: Any = None) -> Driver:
    """The first graphics processor. Raises DeviceError, one message for all that can be missing: the
    package, the driver, the device, or one that is too old. api: instead of the package."""
    try:
        driver = Driver(api) if api is not None else _default()
    except (ImportError, RuntimeError) as error:
        raise _missing(str(error)) from error
    if driver.capability < OLDEST:
        raise _missing("compute capability {}.{}".format(*driver.capability))
    return driver


@cache
def _default() -> Driver:
    from cuda.bindings import driver

    return Driver(driver)


def _missing(found: str) -> DeviceError:
    return DeviceError(
        "target 'cuda': expected an NVIDIA graphics processor of compute capability {}.{} or newer, its "
        "driver, and the package cuda-bindings (pip install 'kcompile[cuda]'). Received: {}. "
        "Without one, use target='native'.".format(*OLDEST, found))


def argument_tables(arguments: Array) -> tuple[Array, list[int]]:
    """For kernels' arguments, one uint64 row a launch: an array of pointers to them, which has to be
    kept as long as it is used, and the address of each row of it."""
    rows, width = arguments.shape
    start = address(arguments)
    pointers = np.arange(start, start + rows * width * 8, 8, dtype=np.uint64)
    first = address(pointers)
    return pointers, [first + row * width * 8 for row in range(rows)]

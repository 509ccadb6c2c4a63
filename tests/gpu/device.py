"""A graphics processor for machines without one: the driver's functions on the loop-language interpreter.

It has the names and the manners of `cuda.bindings.driver`: results are tuples that begin with a status,
memory is addresses, and arguments of kernels are read through pointers as a driver reads them. Memory is
numpy arrays, and a launch runs the kernel's blocks and threads in the interpreter.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from kcompile.codegen.gpu import evaluate
from kcompile.codegen.gpu.device import DeviceFunction

OK, INVALID = 0, 1


class FakeDriver:
    """functions: the kernels of the module that is loaded next, by name. calls: names of the functions
    called, in order."""

    CUdevice_attribute = SimpleNamespace(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75,
                                         CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76)

    def __init__(self, capability: tuple[int, int] = (9, 0)) -> None:
        self.capability = capability
        self.memory: dict[int, np.ndarray] = {}
        self.modules: dict[int, Mapping[str, DeviceFunction]] = {}
        self.functions: Mapping[str, DeviceFunction] = {}
        self.launches: list[tuple[str, int, int]] = []
        self.calls: list[str] = []
        self.fails = ""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cu"):
            self.calls.append(name)
            if name == self.fails:
                return lambda *arguments: (719,)
        return super().__getattribute__(name)

    def cuInit(self, flags: int) -> tuple[int]:
        assert flags == 0
        return (OK,)

    def cuGetErrorName(self, status: int) -> tuple[int, bytes]:
        return OK, b"CUDA_ERROR_LAUNCH_FAILED"

    def cuDeviceGet(self, ordinal: int) -> tuple[int, str]:
        return OK, f"device {ordinal}"

    def cuDeviceGetAttribute(self, attribute: int, device: str) -> tuple[int, int]:
        assert device == "device 0"
        return OK, self.capability[attribute - 75]

    def cuDevicePrimaryCtxRetain(self, device: str) -> tuple[int, str]:
        return OK, "context"

    def cuCtxSetCurrent(self, context: str) -> tuple[int]:
        assert context == "context"
        return (OK,)

    def cuCtxSynchronize(self) -> tuple[int]:
        return (OK,)

    def cuModuleLoadData(self, text: int) -> tuple[int, int]:
        ptx = ctypes.string_at(text).decode()
        entries = set(re.findall(r"\.visible \.entry (\w+)\(", ptx))
        assert entries == set(self.functions), "every kernel has code, all code is of a kernel"
        self.modules[len(self.modules)] = self.functions
        return OK, len(self.modules) - 1

    def cuModuleUnload(self, module: int) -> tuple[int]:
        del self.modules[module]
        return (OK,)

    def cuModuleGetFunction(self, module: int, name: bytes) -> tuple[int, Any]:
        return OK, (name.decode(), self.modules[module][name.decode()])

    def cuMemAlloc(self, size: int) -> tuple[int, int]:
        assert size > 0
        array = np.full(size + 256, 0xFF, np.uint8)
        start = -array.ctypes.data % 256
        self.memory[array.ctypes.data + start] = array[start:start + size]
        return OK, array.ctypes.data + start

    def cuMemFree(self, pointer: int) -> tuple[int]:
        del self.memory[pointer]
        return (OK,)

    def inside(self, pointer: int, size: int = 0) -> np.ndarray:
        """The memory from an address to the end of its allocation, of at least `size` bytes."""
        for start, array in self.memory.items():
            if start <= pointer <= start + len(array):
                rest = array[pointer - start:]
                assert len(rest) >= size, "copy beyond an allocation"
                return rest
        raise AssertionError(f"address {pointer:#x} is not on the device")

    def cuMemcpyHtoD(self, to: int, source: int, size: int) -> tuple[int]:
        self.inside(to, size)
        ctypes.memmove(to, source, size)
        return (OK,)

    def cuMemcpyDtoH(self, to: int, source: int, size: int) -> tuple[int]:
        self.inside(source, size)
        ctypes.memmove(to, source, size)
        return (OK,)

    def cuLaunchKernel(self, kernel: Any, *rest: int) -> tuple[int]:
        name, function = kernel
        blocks, y, z, threads, tall, deep, shared, stream, parameters, extra = rest
        assert (y, z, tall, deep, shared, stream, extra) == (1, 1, 1, 1, 0, 0, 0)
        count = len(function.buffers) + 1
        pointers = (ctypes.c_void_p * count).from_address(parameters)
        *addresses, n = (ctypes.c_uint64.from_address(p).value for p in pointers)  # type: ignore[arg-type]
        arrays = []
        for buffer, address in zip(function.buffers, addresses):
            data, width = self.inside(address), np.dtype(buffer.dtype).itemsize
            assert address % width == 0
            arrays.append(data[:len(data) // width * width].view(buffer.dtype))
        assert (blocks, threads) == (function.grid.blocks(n), function.grid.threads)
        self.launches.append((name, blocks, threads))
        evaluate.run(function, arrays, n)
        return (OK,)

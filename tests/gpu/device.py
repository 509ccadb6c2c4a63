"""A graphics processor for machines without one: the driver's functions on the loop-language interpreter.

It has the names and the manners of `cuda.bindings.driver`: results are tuples that begin with a status,
memory is addresses, a thread has the context that it pushed, and arguments of kernels are read through
pointers as a driver reads them. Memory is numpy arrays between guard bytes, and a launch runs the
kernel's blocks and threads in the interpreter, after it has checked what a device refuses or faults on:
the size of grid and block, and the alignment that the PTX promises for each pointer.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from kcompile.codegen.gpu import emission, evaluate
from kcompile.codegen.gpu.device import DeviceFunction

OK, INVALID, OUT_OF_MEMORY, NO_CONTEXT, BAD_PTX = 0, 1, 2, 201, 218
NAMES = {
    INVALID: "CUDA_ERROR_INVALID_VALUE",
    OUT_OF_MEMORY: "CUDA_ERROR_OUT_OF_MEMORY",
    NO_CONTEXT: "CUDA_ERROR_INVALID_CONTEXT",
    BAD_PTX: "CUDA_ERROR_INVALID_PTX",
    719: "CUDA_ERROR_LAUNCH_FAILED",
}
GUARD = 256  # bytes around an allocation
FREE_CALLS = (
    "cuInit",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuCtxPushCurrent",
    "cuGetErrorName",
)


@dataclass(frozen=True)
class Kernel:
    """A function with the bytes that the PTX says divide each of its pointers."""

    name: str
    function: DeviceFunction
    aligns: Sequence[int]


@dataclass(frozen=True)
class Launch:
    kernel: Kernel
    blocks: int
    threads: int
    addresses: Sequence[int]
    n: int


class FakeDriver:
    """functions: the kernels of the module that is loaded next, by name. calls: names of the functions
    called, in order. room: bytes of memory."""

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=16,
        CU_DEVICE_ATTRIBUTE_CLOCK_RATE=13,
    )
    CUjit_option = SimpleNamespace(CU_JIT_ERROR_LOG_BUFFER=5, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES=6)
    CUDA_KERNEL_NODE_PARAMS = SimpleNamespace

    def __init__(self, capability: tuple[int, int] = (9, 0), room: int = 1 << 30) -> None:
        self.capability, self.room = capability, room
        self.memory: dict[int, np.ndarray] = {}
        self.modules: dict[int, Mapping[str, Kernel]] = {}
        self.functions: Mapping[str, DeviceFunction] = {}
        self.graphs: dict[int, list[Launch]] = {}
        self.launches: list[Launch] = []
        self.calls: list[str] = []
        self.fails = ""
        self._current = threading.local()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cu"):
            self.calls.append(name)
            if name == self.fails:
                return lambda *arguments: (719,)
            if name not in FREE_CALLS and not self.contexts:
                return lambda *arguments: (NO_CONTEXT,)
        return super().__getattribute__(name)

    @property
    def contexts(self) -> list[Any]:
        """Of the calling thread."""
        if not hasattr(self._current, "stack"):
            self._current.stack = []
        return self._current.stack

    def cuInit(self, flags: int) -> tuple[int]:
        assert flags == 0
        return (OK,)

    def cuGetErrorName(self, status: int) -> tuple[int, bytes]:
        return OK, NAMES[int(status)].encode()

    def cuDeviceGet(self, ordinal: int) -> tuple[int, int]:
        return OK, ordinal

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> tuple[int, int]:
        assert device == 0
        return OK, {75: self.capability[0], 76: self.capability[1], 16: 2, 13: 1000}[attribute]

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[int, int]:
        return OK, 77

    def cuCtxPushCurrent(self, context: int) -> tuple[int]:
        assert context == 77
        self.contexts.append(context)
        return (OK,)

    def cuCtxPopCurrent(self) -> tuple[int, int]:
        return OK, self.contexts.pop()

    def cuCtxSynchronize(self) -> tuple[int]:
        return (OK,)

    # ---- code

    def cuModuleLoadDataEx(
        self, text: int, count: int, options: Sequence[int], values: Sequence[Any]
    ) -> tuple[int, int]:
        log, size = dict(zip(options, values))[5], dict(zip(options, values))[6]
        assert count == 2 and size == len(log)
        ptx = ctypes.string_at(text).decode()
        if not ptx.lstrip().startswith("//"):
            log[:6] = b"line 1"
            return BAD_PTX, 0
        parameters = dict(re.findall(r"\.visible \.entry (\w+)\((.*?)\)", ptx, re.DOTALL))
        assert set(parameters) == set(self.functions), "every kernel has code, all code is of a kernel"
        kernels = {}
        for name, function in self.functions.items():
            aligns = [int(a) for a in re.findall(r"\.ptr \.global \.align (\d+)", parameters[name])]
            assert len(aligns) == len(function.buffers)
            kernels[name] = Kernel(name, function, aligns)
        number = max(self.modules, default=0) + 1
        self.modules[number] = kernels
        return OK, number

    def cuModuleUnload(self, module: int) -> tuple[int]:
        del self.modules[module]
        return (OK,)

    def cuModuleGetFunction(self, module: int, name: bytes) -> tuple[int, Any]:
        return OK, self.modules[module][name.decode()]

    # ---- memory

    @property
    def used(self) -> int:
        return sum(len(m) - 2 * GUARD for m in self.memory.values())

    def cuMemAlloc(self, size: int) -> tuple[int, int]:
        assert size > 0
        if self.used + size > self.room:
            return OUT_OF_MEMORY, 0
        array = np.full(size + 256 + 2 * GUARD, 0xFF, np.uint8)
        start = -(array.ctypes.data + GUARD) % 256
        block = array[start : start + size + 2 * GUARD]
        self.memory[block.ctypes.data + GUARD] = block
        return OK, block.ctypes.data + GUARD

    def cuMemFree(self, pointer: int) -> tuple[int]:
        self.check_guards()
        del self.memory[pointer]
        return (OK,)

    def check_guards(self) -> None:
        for block in self.memory.values():
            assert np.all(block[:GUARD] == 0xFF) and np.all(block[-GUARD:] == 0xFF), "written beyond"

    def inside(self, pointer: int, size: int = 0) -> np.ndarray:
        """The memory from an address to the end of its allocation, of at least `size` bytes."""
        for start, block in self.memory.items():
            if start <= pointer < start + len(block) - 2 * GUARD:
                rest = block[GUARD + pointer - start : -GUARD]
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

    # ---- work

    def cuLaunchKernel(self, kernel: Kernel, *rest: int) -> tuple[int]:
        blocks, y, z, threads, tall, deep, shared, stream, parameters, extra = rest
        assert (y, z, tall, deep, shared, stream, extra) == (1, 1, 1, 1, 0, 0, 0)
        self.run(self.launch(kernel, blocks, threads, parameters))
        return (OK,)

    def launch(self, kernel: Kernel, blocks: int, threads: int, parameters: int) -> Launch:
        """A launch with its arguments as they are now."""
        count = len(kernel.function.buffers) + 1
        pointers = (ctypes.c_void_p * count).from_address(parameters)
        *addresses, n = (ctypes.c_uint64.from_address(p).value for p in pointers)  # type: ignore[arg-type]
        return Launch(kernel, blocks, threads, addresses, n)

    def run(self, launch: Launch) -> None:
        function, arrays = launch.kernel.function, []
        for buffer, address, align in zip(function.buffers, launch.addresses, launch.kernel.aligns):
            data, width = self.inside(address), np.dtype(buffer.dtype).itemsize
            assert address % max(align, width) == 0, f"{launch.kernel.name}: {buffer.name} is misaligned"
            arrays.append(data[: len(data) // width * width].view(buffer.dtype))
        assert 0 < launch.blocks < 2**31 and 0 < launch.threads <= 1024
        grid = function.grid
        assert (launch.blocks, launch.threads) == (grid.blocks(launch.n), grid.threads)
        self.launches.append(launch)
        evaluate.run(function, arrays, launch.n)

    # ---- graphs

    def cuGraphCreate(self, flags: int) -> tuple[int, int]:
        number = max(self.graphs, default=0) + 1
        self.graphs[number] = []
        return OK, number

    def cuGraphAddKernelNode(
        self, graph: int, before: Sequence[int], count: int, node: Any
    ) -> tuple[int, int]:
        launches = self.graphs[graph]
        assert count == len(before) and list(before) == ([len(launches)] if launches else [])
        assert (node.gridDimY, node.gridDimZ, node.blockDimY, node.blockDimZ) == (1, 1, 1, 1)
        assert node.sharedMemBytes == 0
        launches.append(self.launch(node.func, node.gridDimX, node.blockDimX, node.kernelParams))
        return OK, len(launches)

    def cuGraphInstantiate(self, graph: int, flags: int) -> tuple[int, int]:
        _, number = self.cuGraphCreate(0)
        self.graphs[number] = list(self.graphs[graph])
        return OK, number

    def cuGraphDestroy(self, graph: int) -> tuple[int]:
        del self.graphs[graph]
        return (OK,)

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, recorded: int, stream: int) -> tuple[int]:
        assert stream == 0
        for launch in self.graphs[recorded]:
            self.run(launch)
        return (OK,)


def remembering(device: FakeDriver) -> Callable[[Any, Any], emission.Module]:
    """`emission.emit_program`, after which the device knows the kernels of the module loaded next."""
    emit = emission.emit_program

    def remember(program: Any, target: Any) -> emission.Module:
        module = emit(program, target)
        launches = [launch for entry in program.entries for launch in entry.launches]
        device.functions = {module.names[id(x.kernel)]: x.kernel for x in launches}
        return module

    return remember

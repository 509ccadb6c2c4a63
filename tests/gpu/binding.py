"""The real package `cuda-bindings` on a fake device: what it makes of our calls arrives in C.

Run as a program with the library made of libcuda.c: `python binding.py libcuda.so.1`. It stands where
the driver's would, and hands each function of the driver's C interface to a `FakeDriver`. So names,
order and types of arguments, structures, and the ways results come back are those of the installed
package, whichever version it is. Prints "ok" when models predicted and trained through it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from types import SimpleNamespace
from typing import Any

import numpy as np
from gpu import nets
from gpu.device import FakeDriver, remembering

import kcompile
from kcompile import model
from kcompile.codegen.gpu import emission
from kcompile_runtime import cuda_driver

OUT = POINTER(c_void_p)


class NodeParams(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS of the driver's interface (version 2)."""

    _fields_ = [
        ("func", c_void_p),
        *(
            (name, c_uint)
            for name in (
                "gridDimX",
                "gridDimY",
                "gridDimZ",
                "blockDimX",
                "blockDimY",
                "blockDimZ",
                "sharedMemBytes",
            )
        ),
        ("kernelParams", c_void_p),
        ("extra", c_void_p),
        ("kern", c_void_p),
        ("ctx", c_void_p),
    ]


# Of each function: where its result goes (a pointer in front, "<"), and the types of the rest.
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDeviceGet": ("<", POINTER(c_int), c_int),
    "cuDeviceGetAttribute": ("<", POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": ("<", OUT, c_int),
    "cuCtxPushCurrent": (c_void_p,),
    "cuCtxPopCurrent": ("<", OUT),
    "cuCtxSynchronize": (),
    "cuModuleLoadDataEx": ("<", OUT, c_void_p, c_uint, POINTER(c_int), POINTER(c_void_p)),
    "cuModuleUnload": (c_void_p,),
    "cuModuleGetFunction": ("<", OUT, c_void_p, c_char_p),
    "cuMemAlloc": ("<", POINTER(c_uint64), c_size_t),
    "cuMemFree": (c_uint64,),
    "cuMemcpyHtoD": (c_uint64, c_void_p, c_size_t),
    "cuMemcpyDtoH": (c_void_p, c_uint64, c_size_t),
    "cuLaunchKernel": (c_void_p, *[c_uint] * 7, c_void_p, c_void_p, c_void_p),
    "cuGraphCreate": ("<", OUT, c_uint),
    "cuGraphAddKernelNode": ("<", OUT, c_void_p, POINTER(c_void_p), c_size_t, POINTER(NodeParams)),
    "cuGraphInstantiate": ("<", OUT, c_void_p, c_uint64),
    "cuGraphInstantiateWithFlags": ("<", OUT, c_void_p, c_uint64),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
}


class Library:
    """The driver's functions as C sees them, on a fake device."""

    def __init__(self, device: FakeDriver, path: str) -> None:
        self.device = device
        self.handles: list[Any] = []  # kernels, whose handles are numbers from 1
        self.keep: dict[str, Any] = {}
        self.find = ctypes.CFUNCTYPE(c_void_p, c_char_p)(self.lookup)
        library = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        c_void_p.in_dll(library, "kc_find").value = ctypes.cast(self.find, c_void_p).value

    def lookup(self, name: bytes) -> int | None:
        plain = name.decode().removesuffix("_v2").removesuffix("_v3")
        if plain not in SIGNATURES:
            return None
        if plain not in self.keep:
            types = [t for t in SIGNATURES[plain] if t != "<"]
            self.keep[plain] = ctypes.CFUNCTYPE(c_int, *types)(self.function(plain))
        return ctypes.cast(self.keep[plain], c_void_p).value

    def function(self, name: str) -> Callable[..., int]:
        special = getattr(self, name, None)

        def call(*arguments: Any) -> int:
            try:
                if special is not None:
                    return int(special(*arguments))
                first = 1 if SIGNATURES[name][:1] == ("<",) else 0
                rest = [0 if a is None else a for a in arguments[first:]]
                status, *results = getattr(self.device, name)(*rest)
                if first and not status:
                    arguments[0][0] = results[0]
                return int(status)
            except BaseException as error:  # it cannot pass through C
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                return 719

        return call

    def cuGetErrorName(self, status: int, name: Any) -> int:
        self.keep["name"] = self.device.cuGetErrorName(status)[1]
        name[0] = self.keep["name"]
        return 0

    def cuModuleLoadDataEx(self, module: Any, text: int, count: int, options: Any, values: Any) -> int:
        given = dict(zip(options[:count], values[:count]))
        log = (ctypes.c_char * given[6]).from_address(given[5])
        status, number = self.device.cuModuleLoadDataEx(text, count, [5, 6], [log, given[6]])
        module[0] = number
        return status

    def cuModuleGetFunction(self, kernel: Any, module: int, name: bytes) -> int:
        status, found = self.device.cuModuleGetFunction(module, name)
        self.handles.append(found)
        kernel[0] = len(self.handles)
        return status

    def cuLaunchKernel(self, kernel: int, *rest: Any) -> int:
        return self.device.cuLaunchKernel(self.handles[kernel - 1], *(x or 0 for x in rest))[0]

    def cuGraphAddKernelNode(self, node: Any, graph: int, before: Any, count: int, given: Any) -> int:
        fields = {name: getattr(given[0], name) for name, _ in NodeParams._fields_}
        assert not (fields["extra"] or fields["kern"] or fields["ctx"])
        fields["func"] = self.handles[fields["func"] - 1]
        status, number = self.device.cuGraphAddKernelNode(
            graph, before[:count] if count else [], count, SimpleNamespace(**fields)
        )
        node[0] = number
        return status

    def cuGraphInstantiateWithFlags(self, recorded: Any, graph: int, flags: int) -> int:
        status, recorded[0] = self.device.cuGraphInstantiate(graph, flags)
        return status


def main(path: str) -> None:
    os.environ["KC_CACHE"] = "off"  # kernels are learnt when they are emitted
    device = FakeDriver()
    library = Library(device, path)
    from cuda.bindings import driver

    assert library.keep or driver.cuInit(0)[0] == 0
    emission.emit_program = remembering(device)
    connected = cuda_driver.connect()
    model.connect = lambda: connected
    compare(lambda: nets.digits_cnn(size=4, filters=2), images(6))
    compare(lambda: nets.text_lstm(words=20, width=3, units=4, steps=5), texts(6))
    assert device.calls.count("cuGraphLaunch") > 2
    errors(device, connected)
    print("ok")


def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.random((n, 4, 4, 1)).astype("float32"), generator.integers(0, 10, n)


def texts(n: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 20, (n, 5)), generator.integers(0, 2, (n, 1))


def compare(make: Callable[[], Any], data: tuple[np.ndarray, np.ndarray]) -> None:
    """Training and predictions as on the processor."""
    results = []
    for target in ("native", "cuda"):
        np.random.seed(0)
        compiled = kcompile.compile(make(), target=target)
        losses = compiled.fit(*data, batch_size=2, epochs=1, verbose=0, shuffle=False).history["loss"]
        results.append((losses, compiled.predict(data[0], batch_size=4)))
    for right, got in zip(*results):
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-4)


def errors(device: FakeDriver, connected: cuda_driver.Driver) -> None:
    for provoke, expected in (
        (lambda: connected.load("nonsense"), "CUDA_ERROR_INVALID_PTX (218). line 1"),
        (
            lambda: connected.allocate(1 << 40),
            "of 1099511627776 bytes failed on the graphics processor: "
            "CUDA_ERROR_OUT_OF_MEMORY (2). Use a smaller",
        ),
    ):
        try:
            with connected:
                provoke()
        except cuda_driver.DeviceError as error:
            assert expected in str(error), error
        else:
            raise AssertionError(f"no error: {expected}")
    try:
        connected.wait()
    except cuda_driver.DeviceError as error:
        assert "CUDA_ERROR_INVALID_CONTEXT" in str(error)
    else:
        raise AssertionError("a thread without a context")


if __name__ == "__main__":
    main(sys.argv[1])

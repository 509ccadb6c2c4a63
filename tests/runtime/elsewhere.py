"""Run an exported model where it belongs: here, on an emulated processor, or in Node.

`run` gives the outputs; it skips the test where the machine lacks what the target needs (an emulator
and a C library for the processor, Node).
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kcompile_runtime import ArtifactError, load, read_contents

ROOT = Path(__file__).parent.parent.parent
DRIVER = ROOT / "tests" / "codegen" / "driver.c"
TRAIN_DRIVER = ROOT / "tests" / "codegen" / "train_driver.c"
X86 = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
EMULATED = {
    # machine: (options of QEMU, dynamic loader, Debian's package with a C library)
    "aarch64": ((), "ld-linux-aarch64.so.1", "libc6-arm64-cross"),
    "riscv64": (("-cpu", "rv64,v=true,vlen=128"), "ld-linux-riscv64-lp64d.so.1", "libc6-riscv64-cross"),
}
BARE = {
    # target: (system and processor as Zig has them, board as QEMU has it)
    "cortex-m4": ("thumb-freestanding-eabihf", "cortex_m4", "mps2-an386"),
    "cortex-m7": ("thumb-freestanding-eabihf", "cortex_m7", "mps2-an500"),
    "thumbv7em": ("thumb-freestanding-eabi", "cortex_m4-vfp4d16sp-fp16", "mps2-an386"),
}
SHARED = (*X86, *EMULATED)  # targets of shared objects
TARGETS = (*SHARED, "wasm32", *BARE)


def suffix(target: str) -> str:
    return {"wasm32": ".wasm", **dict.fromkeys(BARE, ".o")}.get(target, ".so")


def metadata(path: Path) -> dict:
    """What a file says about itself, for whatever machine it is."""
    return read_contents(path).metadata


def run(
    path: Path, n: int, inputs: Sequence[np.ndarray], threads: int = 1, seed: int | None = None
) -> list[np.ndarray]:
    """The outputs for n samples, after the file's self-test. seed: of a model that draws random
    numbers, for its first call."""
    about = metadata(path)
    if about["triple"].startswith("wasm32"):
        return _in_node(path, n, inputs, about, seed)
    if about["target"] in BARE:
        return _on_a_board(path, n, inputs, about, seed)
    if not about["triple"].startswith(platform.machine()):
        return _emulated(about["triple"].split("-")[0], path, n, inputs, threads, seed)
    try:
        model = load(path, threads, seed)
    except ArtifactError as error:
        pytest.skip(str(error))
    model.selftest()
    result = model.predict_on_batch(list(inputs))
    return result if isinstance(result, list) else [result]


def _arrays(about: dict, n: int, read) -> list[np.ndarray]:
    """The outputs, where `read(i, dtype)` gives the numbers of one."""

    def size(d):
        return d if isinstance(d, int) else n * int(d.removesuffix("n") or 1)

    return [
        read(i, spec["dtype"]).reshape([size(d) for d in spec["shape"]])
        for i, spec in enumerate(about["outputs"])
    ]


def _emulated(machine, path, n, inputs, threads, seed):
    draw = {} if seed is None else {"DRAW": str(seed << 32)}
    return by_driver(
        [*emulator(machine), driver(f"{machine}-linux-gnu.2.28")], path, n, inputs, threads, draw
    )


def emulator(machine: str) -> list[str]:
    """QEMU for a machine, with a C library for what runs there."""
    options, loader, package = EMULATED[machine]
    qemu = shutil.which(f"qemu-{machine}") or shutil.which(f"qemu-{machine}-static")
    if qemu is None:
        pytest.skip(f"needs qemu-{machine}")
    for folder in (os.environ.get("QEMU_LD_PREFIX", ""), f"/usr/{machine}-linux-gnu"):
        if folder and os.path.exists(f"{folder}/lib/{loader}"):
            return [qemu, *options, "-L", folder]
    pytest.skip(f"needs a C library for {machine} (Debian: {package})")


def with_musl(path: Path, n: int, inputs: Sequence[np.ndarray], threads: int) -> list[np.ndarray]:
    """As `run`, for x86-64, in a process with another C library."""
    if not os.path.exists("/lib/ld-musl-x86_64.so.1"):
        pytest.skip("needs musl")
    return by_driver([driver("x86_64-linux-musl", "-dynamic")], path, n, inputs, threads)


def by_driver(command, path, n, inputs, threads, environment=None):
    about = metadata(path)
    with tempfile.TemporaryDirectory() as folder:
        sources = [f"{folder}/x{i}" for i in range(len(inputs))]
        results = [f"{folder}/y{i}" for i in range(len(about["outputs"]))]
        for source, array in zip(sources, inputs):
            np.ascontiguousarray(array).tofile(source)
        done = subprocess.run(
            [*command, path, about["name"], str(n), str(threads), *sources, *results],
            capture_output=True,
            timeout=300,
            env={**os.environ, **(environment or {})},
        )
        assert done.returncode == 0, (done.returncode, done.stderr)
        return _arrays(about, n, lambda i, dtype: np.fromfile(results[i], dtype))


def _on_a_board(path, n, inputs, about, seed):
    """Linked with a program that starts by itself, and has files by semihosting."""
    pytest.importorskip("ziglang")
    qemu = shutil.which("qemu-system-arm")
    if qemu is None:
        pytest.skip("needs qemu-system-arm")
    triple, processor, board = BARE[about["target"]]
    draw = "" if not about.get("draws") else f", {0 if seed is None else seed << 32}ull"
    with tempfile.TemporaryDirectory() as folder:
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", triple, f"-mcpu={processor}"]
        header = path.with_suffix(".h")
        trains = ["-DTRAIN"] if "_train_selftest(" in header.read_text() else []
        given = ["-include", header, f"-DMODEL={about['name']}", f"-DDRAW={draw}", *trains]
        files = [DRIVER.with_name("bare.c"), path, "-T", DRIVER.with_name("bare.ld")]
        flags = ["-O1", "-Wall", "-Werror", "-rtlib=compiler-rt", "-o", f"{folder}/program"]
        subprocess.run([*compiler, *flags, *given, *files], check=True)
        names = [f"x{i}" for i in range(len(inputs))] + [f"y{i}" for i in range(len(about["outputs"]))]
        for name, array in zip(names, inputs):
            np.ascontiguousarray(array).tofile(f"{folder}/{name}")
        words = ",".join(f"arg={word}" for word in ("program", n, *names))
        done = subprocess.run(
            [qemu, "-M", board, "-nographic", "-monitor", "none", "-serial", "none", "-kernel", "program"]
            + ["-semihosting-config", f"enable=on,target=native,{words}"],
            capture_output=True,
            timeout=300,
            cwd=folder,
        )
        assert done.returncode == 0, (done.returncode, done.stderr)
        return _arrays(about, n, lambda i, dtype: np.fromfile(f"{folder}/y{i}", dtype))


@functools.cache
def driver(triple: str, *flags: str, source: Path = DRIVER) -> str:
    """A C program, compiled for a machine by the compiler in the `ziglang` wheel."""
    pytest.importorskip("ziglang")
    folder = tempfile.mkdtemp(prefix="kcompile-driver-")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            triple,
            *flags,
            "-O1",
            "-Wall",
            "-Werror",
            "-o",
            f"{folder}/driver",
            source,
            "-ldl",
        ],
        check=True,
    )
    return f"{folder}/driver"


def _in_node(path, n, inputs, about, seed):
    """By the example."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/x{i}" for i in range(len(inputs))]
        for file, array in zip(files, inputs):
            np.ascontiguousarray(array).tofile(file)
        done = subprocess.run(
            ["node", ROOT / "examples" / "predict.mjs", path, *files],
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ if seed is None else {**os.environ, "SEED": str(seed)},
        )
        assert done.returncode == 0, done.stderr
    texts = [part.split("\n", 1)[1].split() for part in ("\n" + done.stdout).split("\n# ")[1:]]

    def read(i, dtype):
        convert = float if np.dtype(dtype).kind == "f" else int
        return np.array([convert(t.replace("Infinity", "inf")) for t in texts[i]], dtype)

    return _arrays(about, n, read)


def dynamic(path: Path) -> tuple[list[str], list[str]]:
    """(DT_NEEDED libraries, undefined names) of a shared object, from its dynamic section."""
    data = path.read_bytes()
    (programs,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, programs + size * i) for i in range(count)]

    def offset(address):
        return next(h[2] + address - h[3] for h in headers if h[0] == 1 and h[3] <= address < h[3] + h[5])

    entries = next(h for h in headers if h[0] == 2)
    pairs = list(struct.iter_unpack("<QQ", data[entries[2] : entries[2] + entries[5]]))
    table = dict(pairs)
    strings, symbols = offset(table[5]), offset(table[6])
    chains = struct.unpack_from("<II", data, offset(table[4]))[1]  # DT_HASH counts the symbols

    def text(at):
        return data[strings + at : data.index(b"\0", strings + at)].decode()

    rows = [struct.unpack_from("<IBBHQQ", data, symbols + 24 * i) for i in range(1, chains)]
    return [text(value) for key, value in pairs if key == 1], [text(r[0]) for r in rows if r[3] == 0]

"""Processors as data: what enters is a name (or the machine we run on), what leaves is a `Target`.

Schedules read the vector width, the number of registers and the cache sizes; the emitter reads what
is native (masks, fused multiply-add); LLVM reads the triple, the processor and the features.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from kcompile.codegen import architectures
from kcompile.codegen.architectures import Architecture
from kcompile.ir.types import BYTES
from kcompile_runtime.errors import InputError, describe


@dataclass(frozen=True)
class Target:
    """One processor family.

    vector_bits: width of a vector register. registers: how many of them the program can name.
    masks: loads and stores of some lanes cost no more than whole ones. fma: multiply-add rounded
    once is an instruction. l1, l2: data cache bytes that one thread may count on. tune: LLVM's name
    of the processor whose timing decides the order of instructions, "" for a blend; it adds none.
    shared: bytes of memory that the threads of a block have in common, on a GPU; 0 elsewhere. bfloat16_dots:
    products of bfloat16 are summed, two to a lane, in float32 by one instruction (AVX512_BF16). panel_bits:
    the width of panels of weights that code for several processors reads, each by vectors of its own; 0 where
    panels are as this one likes them. lacks: what it has no instructions for and others have, of
    `llvm.lacking.KINDS`.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bits: int
    registers: int
    masks: bool = False
    fma: bool = True
    l1: int = 32 * 1024
    l2: int = 512 * 1024
    tune: str = ""
    shared: int = 0
    bfloat16_dots: bool = False
    panel_bits: int = 0
    lacks: tuple[str, ...] = ()

    @property
    def is_gpu(self) -> bool:
        return self.shared > 0

    @property
    def is_bare(self) -> bool:
        """Whether no operating system loads its code: it is linked with a program."""
        return "-none-" in self.triple

    @property
    def byte_dots(self) -> bool:
        """Whether it multiplies unsigned by signed bytes and adds four products to 32 bits (VNNI)."""
        wanted = "+avx512vnni" if self.vector_bits == 512 else "+avxvnni"
        return wanted in self.features.split(",")

    @property
    def architecture(self) -> Architecture:
        return architectures.of(self.triple)

    @property
    def pointer_bytes(self) -> int:
        return self.architecture.pointer_bytes

    def lanes(self, dtype: str) -> int:
        """How many elements of `dtype` (by their size in memory) fill one vector register."""
        return max(self.vector_bits // (8 * BYTES[dtype]), 1)


_LINUX = "x86_64-unknown-linux-gnu"
# Microcontrollers: no vectors, no caches to speak of, and a floating-point unit for float32 alone, or none.
_BARE, _KIB = "thumbv7em-unknown-none-eabi", 1024
_CORTEX = (
    Target(
        "cortex-m4",
        f"{_BARE}hf",
        "cortex-m4",
        "+dsp,+vfp4d16sp",
        32,
        32,
        l1=16 * _KIB,
        l2=64 * _KIB,
        lacks=("wide", "floor", "float64"),
    ),
    Target(
        "cortex-m7",
        f"{_BARE}hf",
        "cortex-m7",
        "+dsp,+fp-armv8d16sp,-fp64",
        32,
        32,
        l1=16 * _KIB,
        l2=64 * _KIB,
        lacks=("wide", "float64"),
    ),
    Target(
        "thumbv7em",
        _BARE,
        "generic",
        "+dsp,+soft-float",
        32,
        12,
        fma=False,
        l1=16 * _KIB,
        l2=64 * _KIB,
        lacks=("wide", "floor", "float32"),
    ),
)
# The vectors of any processor with V have 128 bits or more, of which we use as many.
_RV64GCV = "+m,+a,+f,+d,+c,+v,+zvl128b,+zihintpause"
_NAMED = (
    Target("x86-64-v2", _LINUX, "x86-64-v2", "", 128, 16, fma=False, l2=256 * 1024),
    Target("x86-64-v3", _LINUX, "x86-64-v3", "", 256, 16, l2=256 * 1024),
    Target("x86-64-v4", _LINUX, "x86-64-v4", "", 512, 32, masks=True, l2=1024 * 1024),
    Target("aarch64", "aarch64-unknown-linux-gnu", "generic", "+neon", 128, 32),
    Target("riscv64", "riscv64-unknown-linux-gnu", "generic-rv64", _RV64GCV, 128, 32, masks=True),
    Target(
        "wasm32",
        "wasm32-unknown-unknown",
        "generic",
        "+simd128,+bulk-memory,+nontrapping-fptoint,+sign-ext",
        128,
        16,
        fma=False,
    ),
    *_CORTEX,
)
NAMES = tuple(target.name for target in _NAMED)
LEVELS = tuple(name for name in NAMES if name.startswith("x86-64-v"))  # of this architecture, see `host_as`

SEVERAL = {"x86-64": LEVELS}  # a library that holds code for each, and picks by what the processor has

# Graphics processors: one element in a thread, threads in blocks with 48 KB in common. Code for sm_80
# runs on every later one, code for sm_90a on that one alone.
_DEVICES = (
    Target("sm_80", "nvptx64-nvidia-cuda", "sm_80", "+ptx71", 32, 255, shared=48 * 1024),
    Target("sm_90a", "nvptx64-nvidia-cuda", "sm_90a", "+ptx80", 32, 255, shared=48 * 1024),
)


def named(name: str) -> Target:
    """The target called `name`. Raises ValueError, listing the names, for any other."""
    if isinstance(name, str) and name == "native":
        return native()
    for target in _NAMED:
        if isinstance(name, str) and target.name == name:
            return target
    names = ", ".join(["native", *NAMES])
    raise InputError(describe("unknown target", f"one of: {names}", repr(name)))


def emissions(name: str) -> tuple[Target, ...]:
    """The targets whose code a library for `name` holds, the least first: one, or for one of `SEVERAL` all
    levels, which read the same panels of weights. Raises InputError, listing the names, for any other."""
    if isinstance(name, str) and name in SEVERAL:
        levels = [named(level) for level in SEVERAL[name]]
        widest = max(level.vector_bits for level in levels)
        return tuple(replace(level, panel_bits=widest) for level in levels)
    if isinstance(name, str) and (name == "native" or name in NAMES):
        return (named(name),)
    names = ", ".join(["native", *SEVERAL, *NAMES, "cuda"])
    raise InputError(describe("unknown target", f"one of: {names}", repr(name)))


def device(name: str) -> Target:
    """The graphics processor called `name`. Raises ValueError, listing the names, for any other."""
    for target in _DEVICES:
        if target.name == name:
            return target
    names = ", ".join(t.name for t in _DEVICES)
    raise ValueError(f"unknown device. Expected one of: {names}. Received: {name!r}")


def of_any_kind(name: str) -> Target:
    """The target or the graphics processor called `name`. Raises InputError, listing all, for any other."""
    for target in (*_NAMED, *_DEVICES):
        if target.name == name:
            return target
    if name == "native":
        return native()
    names = ", ".join(["native", *(t.name for t in (*_NAMED, *_DEVICES))])
    raise InputError(describe("target", f"one of: {names}", repr(name)))


def tuned(target: Target, cpu: str) -> Target:
    """The target with its instructions in the order that suits a processor, by LLVM's name; code
    for it runs wherever the target's does, with the same bits. Raises ValueError for a name that is
    not known."""
    known = target.architecture.tunes
    if not isinstance(cpu, str) or cpu not in known:
        raise InputError(
            describe(
                "cpu",
                f"{'one of: ' + ', '.join(known) if known else 'None'} for target {target.name}",
                repr(cpu),
            )
        )
    return replace(target, tune=cpu)


def simulated(target: Target) -> Target:
    """This machine with the schedules of a target: what runs here computes what an exported file holds
    (the prepared block, the sample's outputs). For the native target that is its own code. For another,
    sums have the target's order, and a product is rounded before it is added: the bits are the same on
    every machine that computes them, whatever instructions it has."""
    own = native()
    if target.name == own.name:
        return own
    return replace(
        own,
        name=f"{target.name} here",
        vector_bits=target.vector_bits,
        registers=target.registers,
        masks=target.masks,
        fma=False,
        l1=target.l1,
        l2=target.l2,
        bfloat16_dots=target.bfloat16_dots,
        panel_bits=target.panel_bits,
    )


def native() -> Target:
    """The machine we run on, or as much of it as KC_TARGET names, one of `LEVELS`. Raises InputError for
    another name, or one that asks for more than the machine has; RuntimeError for a processor older than
    x86-64-v2."""
    level = os.environ.get("KC_TARGET", "").strip()
    return host() if level in ("", "native") else host_as(level, "KC_TARGET")


@cache
def host_as(level: str, argument: str = "target") -> Target:
    """This machine, with the instructions of a level of its architecture alone, and so with the schedules and
    the results' bits of a processor that has no more. argument: what messages call the level."""
    own = host()
    levels = [name for name in LEVELS if named(name).architecture is own.architecture]
    if level not in levels:
        raise InputError(describe(argument, "one of: " + ", ".join(["native", *levels]), repr(level)))
    chosen = named(level)
    has = {name[1:] for name in own.features.split(",") if name.startswith("+")}
    missing = [name for name in own.architecture.levels[level] if name not in has]
    if missing:
        wanted = "a level whose instructions this processor has"
        raise InputError(describe(argument, wanted, f"{level!r}, which has {', '.join(missing)} too"))
    return replace(chosen, name=own.name, triple=own.triple, l1=own.l1, l2=own.l2)


@cache
def host() -> Target:
    """The machine we run on, with all that it has. Raises RuntimeError for a processor older than
    x86-64-v2."""
    import llvmlite.binding as llvm

    triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
    host = llvm.get_host_cpu_features()
    features = ",".join(("+" if on else "-") + name for name, on in sorted(host.items()))
    l1, l2 = _cache_bytes(1, 32 * 1024), _cache_bytes(2, 512 * 1024)
    if architectures.of(triple).name != "x86_64":
        return Target("native", triple, cpu, features, 128, 32, l1=l1, l2=l2)
    if not host.get("sse4.1"):
        raise RuntimeError(f"this processor ({cpu}) has no SSE4.1; kcompile needs x86-64-v2 (2009) or newer")
    if all(host.get(f) for f in ("avx512f", "avx512vl", "avx512bw", "avx512dq")):
        dots = bool(host.get("avx512bf16"))
        return Target("native", triple, cpu, features, 512, 32, masks=True, l1=l1, l2=l2, bfloat16_dots=dots)
    fma = bool(host.get("fma"))
    bits = 256 if host.get("avx2") and fma else 128
    return Target("native", triple, cpu, features, bits, 16, fma=fma, l1=l1, l2=l2)


def _cache_bytes(level: int, default: int) -> int:
    """The data cache size that Linux reports for the first processor, `default` elsewhere."""
    for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind, size = ((entry / name).read_text().strip() for name in ("type", "size"))
            if kind != "Instruction" and (entry / "level").read_text().strip() == str(level):
                return int(size.removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return default

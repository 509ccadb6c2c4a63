"""Architectures as data: what an instruction set and its systems fix, whatever the processor.

A target (`targets`) is a choice within an architecture. To add one is a row here (and, for a machine whose
kernel names features in the auxiliary vector, one in `kcompile_runtime.machines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from kcompile_runtime import machines


@dataclass(frozen=True)
class Linux:
    """What threads and shared objects take on Linux.

    futex, sched_yield, getcpu: numbers of system calls. pause: (declaration, call) of the instruction for
    who spins. clock: LLVM definitions of `kc_pool_now` and `kc_pool_frequency` (ticks a second): a clock
    that costs little, which only weighs times against each other and bounds spinning. emulation: the
    linker's name. elf_flags: of object files (e_flags).
    """

    futex: int
    sched_yield: int
    getcpu: int
    pause: tuple[str, str]
    clock: str
    emulation: str
    elf_flags: int = 0


@dataclass(frozen=True, eq=False)
class Architecture:
    """One instruction set.

    name: as in triples. linux: None where neither threads nor shared objects are made. flags: LLVM's name
    -> the kernel's (for wasm32: LLVM's), of the features that generated code may use. levels: processors by
    LLVM's name -> the features that they stand for. tunes: processors to order instructions for, by LLVM's
    names. attributes: of functions, for LLVM; $BITS is the width of a vector. flush: instructions (before,
    after) between which denormal numbers count as zero. dots: by the bits of a vector, LLVM's name of what
    multiplies 16-bit integers and adds the products of neighbours in 32 bits. pair_sums: the same of what
    adds neighbours alone. byte_pairs: in words of 32 bits, LLVM's names of what makes 16-bit integers of the
    first and third byte, unsigned and signed, and of what adds the products of two such words to a third.
    """

    name: str
    pointer_bytes: int = 8
    linux: Linux | None = None
    flags: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"generic": ()})
    tunes: tuple[str, ...] = ()
    attributes: str = '"prefer-vector-width"="$BITS"'
    flush: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    dots: Mapping[int, str] = field(default_factory=dict)
    pair_sums: Mapping[int, str] = field(default_factory=dict)
    byte_pairs: tuple[str, str, str] | None = None

    @property
    def elf_machine(self) -> int:
        """e_machine of object files, where the architecture has shared objects."""
        return next(number for number, name in machines.ELF.items() if name == self.name)


# ---------------------------------------------------------------- x86-64

_X86_FLAGS = {
    "sse3": "pni",
    "ssse3": "ssse3",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "popcnt": "popcnt",
    "cx16": "cx16",
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "lzcnt": "abm",
    "movbe": "movbe",
    "gfni": "gfni",
    "fma4": "fma4",
    "xop": "xop",
    "tbm": "tbm",
    "avxvnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512_vnni",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512ifma": "avx512ifma",
    "avx512bitalg": "avx512_bitalg",
    "avx512bf16": "avx512_bf16",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512fp16": "avx512_fp16",
    "amx-tile": "amx_tile",
    "amx-bf16": "amx_bf16",
    "amx-int8": "amx_int8",
    "vpclmulqdq": "vpclmulqdq",
}
_V2 = ("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16")
_V3 = (*_V2, "avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_X86_TUNES = (
    "nehalem",
    "westmere",
    "sandybridge",
    "ivybridge",
    "haswell",
    "broadwell",
    "skylake",
    "skylake-avx512",
    "cascadelake",
    "icelake-client",
    "icelake-server",
    "tigerlake",
    "alderlake",
    "raptorlake",
    "sapphirerapids",
    "graniterapids",
    "silvermont",
    "goldmont",
    "tremont",
    "gracemont",
    "btver2",
    "znver1",
    "znver2",
    "znver3",
    "znver4",
    "znver5",
)
# Flush to zero (bit 15) and denormals are zero (bit 6) of MXCSR, and what it was before.
_FLUSH = (
    "  %mxcsr.old = alloca i32, align 4",
    "  %mxcsr.new = alloca i32, align 4",
    "  call void @llvm.x86.sse.stmxcsr(ptr %mxcsr.old)",
    "  %mxcsr = load i32, ptr %mxcsr.old, align 4",
    f"  %mxcsr.set = or i32 %mxcsr, {1 << 15 | 1 << 6}",
    "  store i32 %mxcsr.set, ptr %mxcsr.new, align 4",
    "  call void @llvm.x86.sse.ldmxcsr(ptr %mxcsr.new)",
)
_RESTORE = ("  call void @llvm.x86.sse.ldmxcsr(ptr %mxcsr.old)",)
_X86_CLOCK = """declare i64 @llvm.readcyclecounter()
define internal i64 @kc_pool_now() alwaysinline {
  %now = call i64 @llvm.readcyclecounter()
  ret i64 %now
}
define internal i64 @kc_pool_frequency() alwaysinline { ret i64 3000000000 }  ; roughly
"""
_X86 = Architecture(
    "x86_64",
    linux=Linux(
        futex=202,
        sched_yield=24,
        getcpu=309,
        pause=("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
        clock=_X86_CLOCK,
        emulation="elf_x86_64",
    ),
    flags=_X86_FLAGS,
    levels={"x86-64": (), "x86-64-v2": _V2, "x86-64-v3": _V3, "x86-64-v4": _V4, "generic": ()},
    tunes=_X86_TUNES,
    attributes='"prefer-vector-width"="$BITS" "min-legal-vector-width"="$BITS"',
    flush=(_FLUSH, _RESTORE),
    dots={128: "x86.sse2.pmadd.wd", 256: "x86.avx2.pmadd.wd", 512: "x86.avx512.pmaddw.d.512"},
)

# ---------------------------------------------------------------- aarch64

_ARM_FLAGS = {
    "neon": "asimd",
    "fp-armv8": "fp",
    "dotprod": "asimddp",
    "fullfp16": "asimdhp",
    "sve": "sve",
    "sve2": "sve2",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "lse": "atomics",
    "fp16fml": "asimdfhm",
}
_ARM_TUNES = (
    "cortex-a35",
    "cortex-a53",
    "cortex-a55",
    "cortex-a57",
    "cortex-a72",
    "cortex-a73",
    "cortex-a75",
    "cortex-a76",
    "cortex-a77",
    "cortex-a78",
    "cortex-a510",
    "cortex-a710",
    "cortex-x1",
    "cortex-x2",
    "cortex-x3",
    "cortex-x4",
    "neoverse-n1",
    "neoverse-n2",
    "neoverse-v1",
    "neoverse-v2",
    "apple-m1",
    "apple-m2",
    "ampere1",
)
_ARM_CLOCK = """declare i64 @llvm.read_volatile_register.i64(metadata)
!0 = !{!"cntvct_el0"}
!1 = !{!"cntfrq_el0"}
define internal i64 @kc_pool_now() alwaysinline {
  %now = call i64 @llvm.read_volatile_register.i64(metadata !0)
  ret i64 %now
}
define internal i64 @kc_pool_frequency() alwaysinline {
  %frequency = call i64 @llvm.read_volatile_register.i64(metadata !1)
  ret i64 %frequency
}
"""
_ARM = Architecture(
    "aarch64",
    linux=Linux(
        futex=98,
        sched_yield=124,
        getcpu=168,
        pause=("declare void @llvm.aarch64.isb(i32)", "call void @llvm.aarch64.isb(i32 15)"),
        clock=_ARM_CLOCK,
        emulation="aarch64linux",
    ),
    flags=_ARM_FLAGS,
    tunes=_ARM_TUNES,
    pair_sums={128: "aarch64.neon.saddlp.v4i32.v8i16"},
)

# ---------------------------------------------------------------- riscv64

# The counter of cycles is not for programs since Linux 6.6, and nothing says how fast that of time runs: the
# C library's clock, which asks no kernel, in nanoseconds.
_RISCV_CLOCK = """declare i32 @clock_gettime(i32, ptr)
define internal i64 @kc_pool_now() {
  %time = alloca { i64, i64 }, align 8
  %status = call i32 @clock_gettime(i32 1, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %at = getelementptr i8, ptr %time, i64 8
  %nanoseconds = load i64, ptr %at, align 8
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %nanoseconds
  ret i64 %now
}
define internal i64 @kc_pool_frequency() alwaysinline { ret i64 1000000000 }
"""
_RISCV = Architecture(
    "riscv64",
    linux=Linux(
        futex=98,
        sched_yield=124,
        getcpu=168,
        pause=("declare void @llvm.riscv.pause()", "call void @llvm.riscv.pause()"),
        clock=_RISCV_CLOCK,
        emulation="elf64lriscv",
        elf_flags=5,  # compressed instructions, and doubles in registers across calls: the ABI lp64d
    ),
    flags={letter: letter for letter in "acdfmv"},
    tunes=("rocket-rv64", "sifive-u74", "sifive-p450", "sifive-p670", "sifive-x280", "spacemit-x60"),
)

# ---------------------------------------------------------------- microcontrollers

_THUMB_FLAGS = {"dsp": "dsp", "vfp4d16sp": "fpv4-sp-d16", "fp-armv8d16sp": "fpv5-sp-d16"}  # as GCC has them
_THUMB = Architecture(
    "thumbv7em",
    pointer_bytes=4,
    flags=_THUMB_FLAGS,
    attributes="",
    byte_pairs=("arm.uxtb16", "arm.sxtb16", "arm.smlad"),
)

# ---------------------------------------------------------------- others

_WASM_FEATURES = ("simd128", "bulk-memory", "nontrapping-fptoint", "sign-ext")
_WASM = Architecture(
    "wasm32", pointer_bytes=4, flags={name: name for name in _WASM_FEATURES}, dots={128: "wasm.dot"}
)
_NVPTX = Architecture("nvptx64")

ARCHITECTURES = {each.name: each for each in (_X86, _ARM, _RISCV, _THUMB, _WASM, _NVPTX)}


@cache
def of(triple: str) -> Architecture:
    """The architecture of a triple. One that is not known has what is left out of a row above."""
    name = machines.spelled(triple.split("-")[0])
    return ARCHITECTURES.get(name) or Architecture(name)


def linux(triple: str) -> Linux | None:
    """What Linux takes, where the triple is of a Linux (Android included) on a known architecture."""
    return of(triple).linux if "-linux" in triple else None

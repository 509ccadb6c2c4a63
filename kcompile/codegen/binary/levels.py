"""A library with code for several levels of x86-64: which of them a call takes.

Enters: the levels, the least first. Leaves: LLVM IR that asks the processor once, by the instructions cpuid
and xgetbv, and calls the code of the best level that it has and the system keeps the registers of. Nobody
checks that it has the least.

The two instructions are bytes at the start of a function (LLVM's prologue data), since LLVM assembles text
for the machine that it runs on alone, and the bytes of a library are the same wherever it is written.
Numbers of bits: Intel's manual, volume 2, CPUID; the AMD64 manual, volume 3, appendix E (LZCNT).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kcompile.codegen.llvm.template import filled
from kcompile.codegen.targets import Target

# What cpuid gives: (range, leaf, number of the word: eax, ebx, ecx, edx)
_WORDS = ((0, 1, 2), (0, 7, 1), (1 << 31, (1 << 31) + 1, 2))
# Feature, by LLVM's name: (which of these words, bit)
_BITS = {
    "sse3": (0, 0),
    "ssse3": (0, 9),
    "fma": (0, 12),
    "cx16": (0, 13),
    "sse4.1": (0, 19),
    "sse4.2": (0, 20),
    "movbe": (0, 22),
    "popcnt": (0, 23),
    "avx": (0, 28),
    "f16c": (0, 29),
    "bmi": (1, 3),
    "avx2": (1, 5),
    "bmi2": (1, 8),
    "avx512f": (1, 16),
    "avx512dq": (1, 17),
    "avx512cd": (1, 28),
    "avx512bw": (1, 30),
    "avx512vl": (1, 31),
    "lzcnt": (2, 5),
}
_OSXSAVE = 1 << 27  # of word 0: xgetbv may be asked
_KEPT = {128: 0, 256: 0x06, 512: 0xE6}  # by the bits of vectors: what xgetbv says of their registers
_CPUID = bytes.fromhex(
    "89f0"  # mov eax, esi
    "89d1"  # mov ecx, edx
    "4989d8"  # mov r8, rbx: it is the caller's
    "0fa2"  # cpuid
    "8907"  # mov [rdi], eax
    "895f04"  # mov [rdi+4], ebx
    "894f08"  # mov [rdi+8], ecx
    "89570c"  # mov [rdi+12], edx
    "4c89c3"  # mov rbx, r8
    "c3"  # ret
)
_XGETBV = bytes.fromhex("31c90f01d0c3")  # xor ecx, ecx; xgetbv; ret


def needs(target: Target) -> tuple[tuple[int, ...], int]:
    """The bits that a level needs of each word of cpuid, and of xgetbv. Raises KeyError for a level
    with a feature that cpuid is not asked for here."""
    masks = [0] * len(_WORDS)
    for name in target.architecture.levels[target.cpu]:
        word, bit = _BITS[name]
        masks[word] |= 1 << bit
    return tuple(masks), _KEPT[target.vector_bits]


def levels_ir(
    levels: Sequence[Target],
    prefix: str,
    of_level: Sequence[str],
    draw: Mapping[str, str],
    steps: bool = False,
) -> str:
    """Definitions of the functions of a prefix that run entries, and say how much memory that takes; they
    call those of the prefixes `of_level`. draw: the words of the template for random numbers (see
    `c_interface`). steps: whether there is a training step."""
    words = [
        f"  %word.{i} = call i32 @kc_feature_word(i32 {_signed(start)}, i32 {_signed(leaf)}, i32 {number})"
        for i, (start, leaf, number) in enumerate(_WORDS)
    ]
    lines, best = [], "0"
    for level, target in enumerate(levels[1:], 1):
        masks, kept = needs(target)
        good = "true"
        for i, (value, mask) in enumerate(zip(("%word.0", "%word.1", "%word.2", "%saved"), (*masks, kept))):
            lines += [
                f"  %has.{level}.{i} = and i32 {value}, {_signed(mask)}",
                f"  %is.{level}.{i} = icmp eq i32 %has.{level}.{i}, {_signed(mask)}",
                f"  %good.{level}.{i} = and i1 %is.{level}.{i}, {good}",
            ]
            good = f"%good.{level}.{i}"
        lines.append(f"  %best.{level} = select i1 {good}, i32 {level}, i32 {best}")
        best = f"%best.{level}"
    choices = [_choice(*each, prefix, of_level) for each in _functions(draw, steps)]
    return filled(
        Path(__file__).parent / "levels.ll",
        CPUID_BYTES=len(_CPUID),
        CPUID=_escaped(_CPUID),
        XGETBV_BYTES=len(_XGETBV),
        XGETBV=_escaped(_XGETBV),
        OSXSAVE=_OSXSAVE,
        WORDS="\n".join(words),
        LEVELS="\n".join(lines),
        BEST=best,
        CHOICES="\n".join(choices),
    )


def _functions(draw: Mapping[str, str], steps: bool) -> Iterator[tuple[str, str, str]]:
    """The functions that levels have of their own: result, name, parameters."""
    arrays, memory = "i64 %n, ptr %inputs, ptr %outputs", "ptr %workspace, i64 %size, ptr %pool"
    yield "i64", "workspace_size", "i64 %n, i32 %threads"
    yield "i32", "run", f"{arrays}, {memory}{draw['DRAW_PARAMETER']}"
    if steps:
        yield "i64", "train_workspace_size", "i64 %n, i32 %threads"
        yield "i32", "train", f"{arrays}, ptr %state, {memory}"
        yield "i64", "state_workspace_size", "i64 %n, i32 %threads"
        yield "i32", "state_run", f"{arrays}, ptr %state, {memory}{draw['DRAW_PARAMETER']}"


def _choice(result: str, name: str, parameters: str, prefix: str, of_level: Sequence[str]) -> str:
    """A function that calls that of the level which this processor has."""
    types = ", ".join(each.split()[0] for each in parameters.split(", "))
    cases = " ".join(f"i32 {i}, label %of.{i}" for i in range(1, len(of_level)))
    lines = [f"declare hidden {result} @{level}_{name}({types})" for level in of_level]
    lines += [
        f"define {result} @{prefix}_{name}({parameters}) {{",
        "  %level = call i32 @kc_level()",
        f"  switch i32 %level, label %of.0 [ {cases} ]",
    ]
    for i, level in enumerate(of_level):
        lines += [
            f"of.{i}:",
            f"  %result.{i} = call {result} @{level}_{name}({parameters})",
            f"  ret {result} %result.{i}",
        ]
    return "\n".join([*lines, "}"])


def _signed(word: int) -> int:
    """A word as LLVM's text has it."""
    return word - (1 << 32) if word >> 31 else word


def _escaped(code: bytes) -> str:
    return "".join(f"\\{byte:02X}" for byte in code)

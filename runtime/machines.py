"""Machines by their names: what a file for another one says, and what this one can do.

The code generator's record of an architecture (`kcompile.codegen.architectures`) reads this too.
"""

from __future__ import annotations

import platform

# e_machine of ELF files (System V ABI) -> the name that Linux gives the machine.
ELF = {
    3: "x86",
    8: "mips",
    20: "powerpc",
    21: "powerpc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
# Other spellings, of systems and in triples.
SPELLINGS = {"amd64": "x86_64", "arm64": "aarch64"}

# Features of a processor by the kernel's names, at their bits of AT_HWCAP (16) and AT_HWCAP2 (26) of the
# auxiliary vector (asm/hwcap.h); on RISC-V the letters of the extensions.
HWCAPS = {
    "riscv64": {16: {ord(letter) - ord("a"): letter for letter in "acdfimv"}},
    "aarch64": {
        16: {0: "fp", 1: "asimd", 8: "atomics", 10: "asimdhp", 20: "asimddp", 22: "sve", 23: "asimdfhm"},
        26: {1: "sve2", 13: "i8mm", 14: "bf16"},
    },
}


def spelled(name: str) -> str:
    """The one name of a machine that has several."""
    return SPELLINGS.get(name.lower(), name)


def own() -> str:
    """This machine."""
    return spelled(platform.machine())

"""From object files to a shared object, without a C compiler and without a C library to link with.

Enters: object code, a block of read-only data, a list of names to export. Leaves: a shared object,
the same bytes for the same inputs. The few functions that the code needs of the C library (threads,
futex) stay undefined, and are found by the dynamic loader in the process that loads the file; so it
runs with glibc, musl and Android's library alike.
"""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

DATA_SYMBOL = "kc_data"
METADATA_SECTION = ".kcompile"
PAGE = 4096

_MACHINES = {"x86_64": 62, "aarch64": 183}
_EMULATIONS = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux"}

_FLAGS = ("-shared", "--hash-style=both", "--build-id=none", "--gc-sections", "--strip-all",
          "-z", "noexecstack", "-z", "relro", "-z", "now")


class LinkError(RuntimeError):
    """There is no linker, or it refused."""


def architecture(triple: str) -> str:
    """The processor of a triple that shared objects can be made for: x86_64 or aarch64 with Linux
    (Android included). Raises ValueError for others."""
    first = triple.split("-")[0]
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(first, first)
    if name not in _MACHINES or "-linux" not in triple:
        raise ValueError("shared objects are made for Linux on x86_64 or aarch64. "
                         f"Received: target {triple!r}")
    return name


def link(objects: Sequence[Path], output: Path, exports: Sequence[str], triple: str) -> None:
    """Link objects into the shared object `output`, with `exports` as its only visible names.

    Raises LinkError, with the linker's message, or with what to install when there is no linker.
    """
    script = output.with_name(output.name + ".exports")
    script.write_text("{ global: " + " ".join(f"{name};" for name in exports) + " local: *; };\n")
    command = [*find_linker(triple), "-m", _EMULATIONS[architecture(triple)], *_FLAGS,
               f"--version-script={script}", "-o", str(output), *map(str, objects)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LinkError(f"could not run {command[0]}: {error}") from error
    finally:
        script.unlink()
    if result.returncode:
        raise LinkError(f"linking failed ({' '.join(command[:3])}): {result.stderr.strip()}")


def find_linker(triple: str) -> list[str]:
    """The command of a linker for the target: lld from the `ziglang` wheel, else an installed
    ld.lld, else (for this machine's own processor) the system's ld. Raises LinkError."""
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "ld.lld"]
    for name in ("ld.lld", "ld"):
        path = shutil.which(name)
        if path and (name == "ld.lld" or _is_own_processor(triple)):
            return [path]
    raise LinkError("a linker is needed to write a shared object, and none was found. "
                    "Install one with: pip install 'kcompile[export]'")


def _is_own_processor(triple: str) -> bool:
    import platform

    own = platform.machine().lower()
    return sys.platform == "linux" and architecture(f"{own}-linux") == architecture(triple)


# ---------------------------------------------------------------- an object file that holds data


def write_data_object(file: BinaryIO, triple: str, pieces: Sequence[bytes | memoryview],
                      metadata: bytes) -> None:
    """Write an ELF relocatable object (System V ABI, chapter 4) with two sections: read-only data,
    the pieces one after the other, page-aligned, under the hidden name `kc_data`; and the metadata,
    which is not loaded into memory. Hundreds of megabytes pass through here, so no assembler does.
    """
    size = sum(len(memoryview(p).cast("B")) for p in pieces)
    strings = b"\0" + DATA_SYMBOL.encode() + b"\0"
    names = ["", ".rodata.kcompile", METADATA_SECTION, ".note.GNU-stack", ".symtab", ".strtab",
             ".shstrtab"]
    name_table = "\0".join(names).encode() + b"\0"
    # name, info (global object), other (hidden), section, value, size
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x11, 2, 1, 0, size)
    bodies = [size, len(metadata), 0, len(symbols), len(strings), len(name_table)]
    # type, flags, link, info, alignment, entry size; SHF_ALLOC = 2, PROGBITS = 1
    kinds = [(1, 2, 0, 0, PAGE, 0), (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 1, 0), (2, 0, 5, 1, 8, 24),
             (3, 0, 0, 0, 1, 0), (3, 0, 0, 0, 1, 0)]
    offset, headers, starts = 64, [bytes(64)], []
    name_at = 1
    for name, length, (kind, flags, link_to, info, align, entry) in zip(names[1:], bodies, kinds):
        offset = -(-offset // min(align, 64)) * min(align, 64)
        starts.append(offset)
        headers.append(struct.pack("<IIQQQQIIQQ", name_at, kind, flags, 0, offset, length, link_to,
                                   info, align, entry))
        name_at += len(name) + 1
        offset += length
    table = -(-offset // 8) * 8
    file.write(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 1, _MACHINES[architecture(triple)], 1, 0, 0, table, 0, 64, 0, 0, 64,
        len(headers), len(headers) - 1))
    contents: list[Sequence[bytes | memoryview]] = [
        pieces, [metadata], [], [symbols], [strings], [name_table]]
    position = 64
    for start, parts in zip(starts, contents):
        file.write(bytes(start - position))
        position = start
        for part in parts:
            file.write(part)
            position += len(memoryview(part).cast("B"))
    file.write(bytes(table - position) + b"".join(headers))

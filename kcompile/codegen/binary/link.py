"""From object files to a shared object, or to a WebAssembly module, without a C compiler and without
a C library to link with.

Enters: object code, a block of read-only data, a list of names to export. Leaves: a shared object,
the same bytes for the same inputs. The few functions that the code needs of the C library (threads,
futex, memset) stay undefined, it names no library (DT_NEEDED) that holds them, and the dynamic
loader finds them in the process that loads the file; so it runs with glibc, musl and Android's
library alike. A WebAssembly module has no threads and imports nothing.
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

from kcompile.codegen import architectures
from kcompile.codegen.architectures import Linux
from kcompile.codegen.binary import wasm
from kcompile_runtime.errors import KcompileError
from kcompile_runtime.layout import ALIGNMENT

DATA_SYMBOL = "kc_data"
METADATA_SECTION = ".kcompile"
PAGE = 4096

_FLAGS = (
    "-shared",
    "--hash-style=both",
    "--build-id=none",
    "--gc-sections",
    "--strip-all",
    "-z",
    "noexecstack",
    "-z",
    "relro",
    "-z",
    "now",
)
# The stack comes first in memory: where it overflows it traps, and overwrites no data.
_WASM_FLAGS = (
    "--no-entry",
    "--gc-sections",
    "--strip-all",
    "--stack-first",
    "-z",
    f"stack-size={256 * 1024}",
    "--export=__heap_base",
)


class LinkError(KcompileError, RuntimeError):
    """No linker was found, or it failed."""


def check(triple: str) -> None:
    """Raises ValueError for a triple that no file is made for: neither wasm32 nor a known Linux (Android
    included) nor a known processor without an operating system."""
    known = [each.name for each in architectures.ARCHITECTURES.values() if each.linux]
    if not is_wasm(triple) and not is_bare(triple) and architectures.linux(triple) is None:
        raise ValueError(
            f"shared objects are made for Linux on one of: {', '.join(known)}. Received: target {triple!r}"
        )


def is_wasm(triple: str) -> bool:
    """Whether a triple is linked to a WebAssembly module."""
    return architectures.of(triple).name == "wasm32"


def is_bare(triple: str) -> bool:
    """Whether a triple is of programs without an operating system, which objects are linked with."""
    return "-none-" in triple and architectures.of(triple).name in architectures.ARCHITECTURES


def _linux(triple: str) -> Linux:
    check(triple)
    linux = architectures.linux(triple)
    assert linux is not None
    return linux


def data_alignment(triple: str) -> int:
    """The alignment of `kc_data`: a page where the system maps files."""
    return ALIGNMENT if is_wasm(triple) or is_bare(triple) else PAGE


def link(objects: Sequence[Path], output: Path, exports: Sequence[str], triple: str) -> None:
    """Link objects into `output`, with `exports` as its only visible names (a WebAssembly module
    also has `memory`, and `__heap_base`, where the caller's part of it begins).

    Raises LinkError, with the linker's message, or with what to install when there is no linker.
    """
    script = output.with_name(output.name + ".exports")
    if is_wasm(triple):
        options = [*_WASM_FLAGS, *(f"--export={name}" for name in exports)]
    else:
        names = " ".join(f"{name};" for name in exports)
        script.write_text(f"{{ global: {names} local: *; }};\n")
        options = ["-m", _linux(triple).emulation, *_FLAGS, f"--version-script={script}"]
    command = [*find_linker(triple), *options, "-o", str(output), *map(str, objects)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LinkError(f"could not run {command[0]}: {error}") from error
    finally:
        script.unlink(missing_ok=True)
    if result.returncode:
        raise LinkError(f"linking failed ({' '.join(command[:3])}): {result.stderr.strip()}")


def find_linker(triple: str) -> list[str]:
    """The command of a linker for the target: lld from the `ziglang` wheel, else an installed one:
    ld.lld or wasm-ld, GNU's for this processor (aarch64-linux-gnu-ld), or the system's ld where it
    says that it links for the processor. Raises LinkError."""
    linux = None if is_wasm(triple) else _linux(triple)
    lld = "ld.lld" if linux else "wasm-ld"
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", lld]
    names = [lld, f"{architectures.of(triple).name}-linux-gnu-ld", "ld"] if linux else [lld]
    for path in filter(None, map(shutil.which, names)):
        if Path(path).name != "ld" or (linux and _links_for(path, linux.emulation)):
            return [path]
    raise LinkError(
        f"a linker is needed to write a model for {triple}, and none was found. "
        "Install one with: pip install 'kcompile[export]'"
    )


def _links_for(path: str, emulation: str) -> bool:
    """Whether a linker is GNU's and knows an emulation. (Where a processor is emulated, the linker on
    the path may be the host's.)"""
    try:
        said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return emulation in said.stdout.split()


# ---------------------------------------------------------------- an object file that holds data


def write_data_object(
    file: BinaryIO, triple: str, pieces: Sequence[bytes | memoryview], metadata: bytes
) -> None:
    """Write a relocatable object with two sections: read-only data, the pieces one after the other,
    aligned to `data_alignment`, under the hidden name `kc_data`; and the metadata, which is not
    loaded into memory. Hundreds of megabytes pass through here, so no assembler does."""
    if is_wasm(triple):
        wasm.write_data_object(file, pieces, DATA_SYMBOL, data_alignment(triple), METADATA_SECTION, metadata)
    else:
        _write_elf(file, triple, pieces, metadata)


def _write_elf(file: BinaryIO, triple: str, pieces: Sequence[bytes | memoryview], metadata: bytes) -> None:
    """The object for Linux (System V ABI, chapter 4)."""
    machine, e_flags = architectures.of(triple).elf_machine, _linux(triple).elf_flags
    size = sum(len(memoryview(p).cast("B")) for p in pieces)
    strings = b"\0" + DATA_SYMBOL.encode() + b"\0"
    names = ["", ".rodata.kcompile", METADATA_SECTION, ".note.GNU-stack", ".symtab", ".strtab", ".shstrtab"]
    name_table = "\0".join(names).encode() + b"\0"
    # name, info (global object), other (hidden), section, value, size
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x11, 2, 1, 0, size)
    bodies = [size, len(metadata), 0, len(symbols), len(strings), len(name_table)]
    # type, flags, link, info, alignment, entry size; SHF_ALLOC = 2, PROGBITS = 1
    kinds = [
        (1, 2, 0, 0, PAGE, 0),
        (1, 0, 0, 0, 1, 0),
        (1, 0, 0, 0, 1, 0),
        (2, 0, 5, 1, 8, 24),
        (3, 0, 0, 0, 1, 0),
        (3, 0, 0, 0, 1, 0),
    ]
    offset, headers, starts = 64, [bytes(64)], []
    name_at = 1
    for name, length, (kind, flags, link_to, info, align, entry) in zip(names[1:], bodies, kinds):
        offset = -(-offset // min(align, 64)) * min(align, 64)
        starts.append(offset)
        headers.append(
            struct.pack("<IIQQQQIIQQ", name_at, kind, flags, 0, offset, length, link_to, info, align, entry)
        )
        name_at += len(name) + 1
        offset += length
    table = -(-offset // 8) * 8
    file.write(
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQI", 1, machine, 1, 0, 0, table, e_flags)
        + struct.pack("<6H", 64, 0, 0, 64, len(headers), len(headers) - 1)
    )
    contents: list[Sequence[bytes | memoryview]] = [
        pieces,
        [metadata],
        [],
        [symbols],
        [strings],
        [name_table],
    ]
    position = 64
    for start, parts in zip(starts, contents):
        file.write(bytes(start - position))
        position = start
        for part in parts:
            file.write(part)
            position += len(memoryview(part).cast("B"))
    file.write(bytes(table - position) + b"".join(headers))

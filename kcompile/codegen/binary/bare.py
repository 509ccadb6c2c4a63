"""Object files for programs without an operating system, to be linked with them by any linker.

Enters: the text of a model's code, its read-only data, its metadata. Leaves: one relocatable object (ELF32,
System V ABI, chapter 4, and "ELF for the Arm Architecture") that needs no other, but for floating-point
arithmetic where the processor has none: that is named as the "Run-time ABI for the Arm Architecture" names
it, and comes with each compiler for the processor.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kcompile.codegen.binary import jit
from kcompile.codegen.binary.link import DATA_SYMBOL, METADATA_SECTION, data_alignment
from kcompile.codegen.targets import Target
from kcompile_runtime.errors import UnsupportedError

_ATTRIBUTES = ".ARM.attributes"
_VFP_ARGUMENTS, _EITHER = 28, 3  # "Addenda to the ABI for the Arm Architecture": in which registers floats go
_TEXTS = (4, 5, 67)  # attributes that are text


def object_file(
    texts: Sequence[str],
    target: Target,
    exports: Sequence[str],
    pieces: Sequence[bytes | memoryview],
    metadata: bytes,
) -> bytes:
    """The object, with `exports` as its only names. pieces: the data, one after the other. Raises
    UnsupportedError for a model that needs what neither it nor the processor has."""
    code = bytearray(jit.optimise_and_compile([*texts, _data_ir(pieces, metadata, target)], target, exports))
    sections = list(_sections(code))
    missing = [name for name in _undefined(code, sections) if not _is_arithmetic(name, target)]
    if missing:
        raise UnsupportedError(
            f"export: target {target.name} lacks what this model computes with ({', '.join(missing)})"
        )
    for section in sections:
        if section.name == METADATA_SECTION:
            struct.pack_into("<I", code, section.header + 8, 0)  # no program loads it
        elif section.name == _ATTRIBUTES:
            _suit_either_abi(code, section)
    return bytes(code)


def _is_arithmetic(name: str, target: Target) -> bool:
    return "float32" in target.lacks and name.startswith("__aeabi_")


def _data_ir(pieces: Sequence[bytes | memoryview], metadata: bytes, target: Target) -> str:
    """The data and the metadata as LLVM constants."""
    data = b"".join(pieces)
    align = data_alignment(target.triple)
    return (
        f'@{DATA_SYMBOL} = hidden constant [{len(data)} x i8] c"{_escaped(data)}", '
        f'section ".rodata.kcompile", align {align}\n'
        f'@kc_metadata = internal constant [{len(metadata)} x i8] c"{_escaped(metadata)}", '
        f'section "{METADATA_SECTION}", align 1\n'
        '@llvm.used = appending global [1 x ptr] [ptr @kc_metadata], section "llvm.metadata"\n'
    )


def _escaped(data: bytes) -> str:
    digits = data.hex().upper()
    return "".join([f"\\{digits[i : i + 2]}" for i in range(0, len(digits), 2)])


# ---------------------------------------------------------------- the object file


@dataclass(frozen=True)
class _Section:
    """name; header: where its header is. kind, offset, size, link: as there."""

    name: str
    header: int
    kind: int
    offset: int
    size: int
    link: int


def _sections(code: bytearray) -> Iterator[_Section]:
    (table,) = struct.unpack_from("<I", code, 32)
    size, count, names = struct.unpack_from("<3H", code, 46)
    (start,) = struct.unpack_from("<I", code, table + size * names + 16)
    for header in range(table, table + size * count, size):
        name, kind, offset, length, link = struct.unpack_from("<II8xIII", code, header)
        yield _Section(_text(code, start + name), header, kind, offset, length, link)


def _text(code: bytearray, at: int) -> str:
    return code[at : code.index(0, at)].decode()


def _undefined(code: bytearray, sections: Sequence[_Section]) -> list[str]:
    """The names that other objects have to bring, sorted."""
    (symbols,) = (section for section in sections if section.kind == 2)
    strings = sections[symbols.link].offset
    found = []
    for at in range(symbols.offset + 16, symbols.offset + symbols.size, 16):
        name, section = struct.unpack_from("<I10xH", code, at)
        if section == 0:
            found.append(_text(code, strings + name))
    return sorted(found)


def _suit_either_abi(code: bytearray, section: _Section) -> None:
    """Functions of the interface have no floating-point arguments: the object goes with programs that pass
    these in registers of either kind."""
    at, end = section.offset + 1 + 4, section.offset + section.size  # the format's version, a length
    at = code.index(0, at) + 1  # the vendor's name
    at += 1 + 4  # that what follows is about the file, a length
    while at < end:
        tag, at = _number(code, at)
        if tag in _TEXTS:
            at = code.index(0, at) + 1
            continue
        if tag == _VFP_ARGUMENTS:
            code[at] = _EITHER
        _, at = _number(code, at)


def _number(code: bytearray, at: int) -> tuple[int, int]:
    """An unsigned number, seven bits at a time, lowest first (LEB128), and where it ends."""
    value = shift = 0
    while True:
        value |= (code[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if code[at - 1] < 0x80:
            return value, at

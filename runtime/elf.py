"""A section of an ELF file, read with plain Python: what a shared object says about itself before
any of it is loaded.

Enters: the bytes of a file (System V ABI, chapters 4 and 5). Leaves: the section's bytes and the
processor. Every offset is checked against the file's size, so truncated or hostile files end in
`ArtifactError`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kcompile_runtime import machines
from kcompile_runtime.errors import ArtifactError

LARGEST = 1 << 24  # bytes of metadata


@dataclass(frozen=True)
class Section:
    """A section: the processor its file is for, where it starts, its bytes; and how many bytes of code
    and of constants the file has."""

    machine: str
    offset: int
    data: bytes
    code: int
    constants: int


def read_section(data: memoryview, name: str) -> Section:
    """The section called `name` of a 64-bit little-endian shared object. Raises ArtifactError,
    saying what the file is, for anything else."""
    if bytes(data[:4]) != b"\x7fELF":
        raise ArtifactError(f"not a shared object (ELF): {_guess(bytes(data[:8]))}")
    if len(data) < 64:
        raise ArtifactError(f"truncated: {len(data)} bytes are less than an ELF header")
    if data[4] != 2 or data[5] != 1:
        raise ArtifactError("an ELF file of another kind: not 64-bit little-endian")
    kind, machine = struct.unpack_from("<HH", data, 16)
    machine_name = machines.ELF.get(machine, f"ELF machine {machine}")
    if kind != 3:
        raise ArtifactError(f"an ELF file for {machine_name}, but not a shared object")
    programs, sections = struct.unpack_from("<QQ", data, 32)
    program_size, program_count, header_size, count, names_at = struct.unpack_from("<5H", data, 54)
    _inside(data, programs, program_size * program_count)
    _inside(data, sections, header_size * count)
    if header_size != 64 or (program_count and program_size != 56) or names_at >= count:
        raise ArtifactError("damaged: the ELF header contradicts itself")
    for i in range(program_count):
        offset, length = struct.unpack_from("<Q16xQ", data, programs + 56 * i + 8)
        _inside(data, offset, length)
    headers = [_Header.read(data, sections + 64 * i) for i in range(count)]
    names = headers[names_at]
    wanted = name.encode() + b"\0"
    for header in headers[1:]:
        at = names.offset + header.name
        if header.name < names.length and data[at : at + len(wanted)] == wanted and header.length <= LARGEST:
            return Section(
                machine_name,
                header.offset,
                bytes(data[header.offset : header.offset + header.length]),
                sum(h.length for h in headers if h.is_code),
                sum(h.length for h in headers if h.is_constant),
            )
    raise ArtifactError(
        f"a shared object for {machine_name}, but not one of kcompile's (it has no section {name})"
    )


@dataclass(frozen=True)
class _Header:
    """A section header: where the name is among names, flags, and the part of the file."""

    name: int
    flags: int
    offset: int
    length: int

    @staticmethod
    def read(data: memoryview, at: int) -> _Header:
        name, kind, flags, offset, length = struct.unpack_from("<IIQ8xQQ", data, at)
        if kind == 8:  # SHT_NOBITS: takes no room in the file
            return _Header(name, 0, offset, 0)
        _inside(data, offset, length)
        return _Header(name, flags, offset, length)

    @property
    def is_code(self) -> bool:
        return self.flags & 4 != 0  # SHF_EXECINSTR

    @property
    def is_constant(self) -> bool:
        return self.flags & 7 == 2  # SHF_ALLOC, neither written nor run


def _inside(data: memoryview, offset: int, length: int) -> None:
    if offset + length > len(data):
        raise ArtifactError(f"truncated: the file has {len(data)} bytes, and needs {offset + length}")


def _guess(start: bytes) -> str:
    """What a file that is not ELF seems to be."""
    known = {
        b"\x89HDF": "an HDF5 file; load it with kcompile.load",
        b"PK\x03\x04": "a zip archive, perhaps a .keras file; load it with kcompile.load",
        b"MZ": "a Windows program",
        b"\xcf\xfa\xed\xfe": "a macOS library",
        b"\0asm": "a WebAssembly module; run it in a browser or in Node",
        b"#!": "a script",
    }
    for magic, what in known.items():
        if start.startswith(magic):
            return f"this is {what}"
    return "this is no program file" if start else "the file is empty"

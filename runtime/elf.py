"""A section of an ELF file, read with plain Python: what a shared object, or an object file for a
microcontroller, says about itself before any of it is loaded.

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


@dataclass(frozen=True)
class _Class:
    """The files of one width: how the header's offsets and counts, a program header's offset and length, and
    a section header's name, kind, flags, offset and length are packed. kind: what files are (e_type), in
    words."""

    kind: int
    what: str
    offsets: tuple[str, int]
    counts: int
    program: tuple[int, str, int]
    section: tuple[int, str]


# By EI_CLASS: 64-bit shared objects, and 32-bit objects for programs without an operating system.
_CLASSES = {
    2: _Class(3, "a shared object", ("<QQ", 32), 54, (56, "<Q16xQ", 8), (64, "<IIQ8xQQ")),
    1: _Class(1, "an object file", ("<II", 28), 42, (32, "<I8xI", 4), (40, "<III4xII")),
}


def read_section(data: memoryview, name: str) -> Section:
    """The section called `name` of a little-endian shared object of 64 bits, or object file of 32. Raises
    ArtifactError, saying what the file is, for anything else."""
    if bytes(data[:4]) != b"\x7fELF":
        raise ArtifactError(f"not a shared object (ELF): {_guess(bytes(data[:8]))}")
    if len(data) < 64:
        raise ArtifactError(f"truncated: {len(data)} bytes are less than an ELF header")
    form = _CLASSES.get(data[4])
    if form is None or data[5] != 1:
        raise ArtifactError("an ELF file of another kind: not little-endian")
    kind, machine = struct.unpack_from("<HH", data, 16)
    machine_name = machines.ELF.get(machine, f"ELF machine {machine}")
    if kind != form.kind:
        others = "" if data[4] == 2 else ": not 64-bit"
        raise ArtifactError(f"an ELF file for {machine_name}, but not {form.what}{others}")
    programs, sections = struct.unpack_from(form.offsets[0], data, form.offsets[1])
    program_size, program_count, header_size, count, names_at = struct.unpack_from("<5H", data, form.counts)
    _inside(data, programs, program_size * program_count)
    _inside(data, sections, header_size * count)
    (one_program, of_program, inside), (one_section, of_section) = form.program, form.section
    if header_size != one_section or (program_count and program_size != one_program) or names_at >= count:
        raise ArtifactError("damaged: the ELF header contradicts itself")
    for i in range(program_count):
        offset, length = struct.unpack_from(of_program, data, programs + one_program * i + inside)
        _inside(data, offset, length)
    headers = [_Header.read(data, sections + one_section * i, of_section) for i in range(count)]
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
        f"{form.what} for {machine_name}, but not one of kcompile's (it has no section {name})"
    )


@dataclass(frozen=True)
class _Header:
    """A section header: where the name is among names, flags, and the part of the file."""

    name: int
    flags: int
    offset: int
    length: int

    @staticmethod
    def read(data: memoryview, at: int, form: str) -> _Header:
        name, kind, flags, offset, length = struct.unpack_from(form, data, at)
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

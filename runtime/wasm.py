"""A section of a WebAssembly module, read with plain Python.

Enters: the bytes of a file (WebAssembly Core Specification, 5.5). Leaves: the same as from `elf`. Every
size is checked against the file's, so truncated or hostile files end in `ArtifactError`.
"""

from __future__ import annotations

from kcompile_runtime.elf import LARGEST, Section
from kcompile_runtime.errors import ArtifactError

MAGIC = b"\0asm"
_CUSTOM, _CODE, _DATA = 0, 10, 11


def read_section(data: memoryview, name: str) -> Section:
    """The custom section called `name` of a module of version 1. Raises ArtifactError."""
    if bytes(data[:8]) != MAGIC + b"\1\0\0\0":
        raise ArtifactError("damaged, or a WebAssembly module of another version than 1")
    at, found, sizes = 8, None, {_CODE: 0, _DATA: 0}
    while at < len(data):
        kind = data[at]
        length, start = _number(data, at + 1)
        at = start + length
        if at > len(data):
            raise ArtifactError(f"truncated: the file has {len(data)} bytes, and needs {at}")
        if kind in sizes:
            sizes[kind] += length
        elif kind == _CUSTOM:
            count, text = _number(data, start)
            body = text + count
            if body <= at and bytes(data[text : min(body, text + 100)]) == name.encode():
                found = body, at
    if found is None or found[1] - found[0] > LARGEST:
        raise ArtifactError(f"a WebAssembly module, but not one of kcompile's (it has no section {name})")
    start, end = found
    return Section("wasm32", start, bytes(data[start:end]), sizes[_CODE], sizes[_DATA])


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned number of at most 32 bits (LEB128), and where it ends."""
    value = 0
    for i in range(5):
        if at + i >= len(data):
            raise ArtifactError(f"truncated: the file has {len(data)} bytes, and needs {at + i + 1}")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise ArtifactError("damaged: a number in it has no end")

"""WebAssembly object files that hold data, for `wasm-ld` to link with the code.

Enters: read-only data in pieces, and metadata. Leaves: a relocatable module ("WebAssembly Object
File Linking", the tool conventions of the WebAssembly project, version 2) with one data segment
under a hidden name, and the metadata as a custom section, which the linker copies to its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

_CUSTOM, _IMPORT, _DATA = 0, 2, 11
_SEGMENT_INFO, _SYMBOL_TABLE = 5, 8  # subsections of "linking"
_DATA_SYMBOL, _HIDDEN = 1, 4
LIMIT = 1 << 32  # bytes of memory that 32-bit pointers reach


def write_data_object(
    file: BinaryIO,
    pieces: Sequence[bytes | memoryview],
    symbol: str,
    alignment: int,
    section: str,
    metadata: bytes,
) -> None:
    """Write the object: `symbol` names the pieces, one after the other, at a multiple of
    `alignment` (a power of two); `section` is the custom section of the metadata. Raises ValueError
    for more data than the memory of a module can hold."""
    size = sum(len(memoryview(p).cast("B")) for p in pieces)
    if size >= LIMIT:
        raise ValueError(f"wasm32: expected less than {LIMIT} bytes of weights. Received: {size}")
    memory = b"\1" + _name("env") + _name("__linear_memory") + b"\2\0\1"
    # one segment: active in memory 0, at (i32.const 0), to be placed by the linker
    head = b"\1" + b"\0\x41\0\x0b" + _number(size)
    segment = b"\1" + _name(".rodata.kcompile") + _number(alignment.bit_length() - 1) + b"\0"
    entry = b"\1" + bytes([_DATA_SYMBOL, _HIDDEN]) + _name(symbol) + b"\0\0" + _number(size)
    linking = b"\2" + _section(_SEGMENT_INFO, segment) + _section(_SYMBOL_TABLE, entry)
    file.write(
        b"\0asm\1\0\0\0" + _section(_IMPORT, memory) + bytes([_DATA]) + _number(len(head) + size) + head
    )
    for piece in pieces:
        file.write(piece)
    file.write(_section(_CUSTOM, _name("linking") + linking))
    file.write(_section(_CUSTOM, _name(section) + metadata))


def _section(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _number(len(body)) + body


def _name(text: str) -> bytes:
    return _number(len(text.encode())) + text.encode()


def _number(value: int) -> bytes:
    """An unsigned number, seven bits at a time, lowest first (LEB128)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

"""Messages of Protocol Buffers as scripts of TensorFlow meet them: tensors, and examples of records.

Enters: arrays, lists of numbers and bytes. Leaves: bytes, as the encoding's documentation has them
(protobuf.dev/programming-guides/encoding), and back. Bytes come from files that nobody vouches for: whatever
does not follow the encoding raises InputError.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from kcompile_runtime.errors import InputError, describe

# The numbers of dtypes in tensors: tensorflow/core/framework/types.proto
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_NUMBERS = {name: number for number, name in _DTYPES.items()}


def varint(value: int) -> bytes:
    """A whole number, seven bits to a byte; negative ones as of 64 bits."""
    value %= 2**64
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def field(number: int, content: bytes) -> bytes:
    """A field with bytes in it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """A field with a whole number in it."""
    return varint(number << 3) + varint(value)


def _read_varint(held: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(held) and shift < 70:
        value |= (held[at] & 127) << shift
        at += 1
        if held[at - 1] < 128:
            return value % 2**64, at
        shift += 7
    raise InputError(describe("a message of Protocol Buffers", "whole numbers that end", "other bytes"))


def fields(held: bytes) -> Iterator[tuple[int, Any]]:
    """The number of each field, and its whole number or bytes. Raises InputError."""
    at = 0
    while at < len(held):
        key, at = _read_varint(held, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(held, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _read_varint(held, at)
        if size is None or at + size > len(held):
            raise InputError(describe("a message of Protocol Buffers", "fields that end", "other bytes"))
        yield key >> 3, held[at : at + size]
        at += size


def signed(value: int) -> int:
    """A whole number of 64 bits, with its sign."""
    return value - 2**64 if value >= 2**63 else value


def varints(held: bytes) -> list[int]:
    """Whole numbers one behind another."""
    found, at = [], 0
    while at < len(held):
        value, at = _read_varint(held, at)
        found.append(signed(value))
    return found


# ---------------------------------------------------------------- tensors


def tensor_bytes(array: np.ndarray) -> bytes:
    """An array as a TensorProto."""
    texts = array.dtype.kind in "USO"
    number = 7 if texts else _NUMBERS.get(array.dtype.name)
    if number is None:
        raise InputError(describe("a tensor to be written", "numbers, or texts", array.dtype.name))
    sizes = b"".join(field(2, number_field(1, size) if size else b"") for size in array.shape)
    head = number_field(1, number) + field(2, sizes)
    if texts:
        words = [x.encode() if isinstance(x, str) else x for x in array.ravel().tolist()]
        return head + b"".join(field(8, word) for word in words)
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return head + (field(4, content) if content else b"")


def tensor_of(held: bytes) -> np.ndarray:
    """The array of a TensorProto, as `tensor_bytes` and TensorFlow's serialize_tensor write it. Raises
    InputError."""
    number, shape, content, words = 0, [], b"", []
    for key, value in fields(held):
        if key == 1 and isinstance(value, int):
            number = value
        elif key == 2 and isinstance(value, bytes):
            sizes = [dict(fields(part)).get(1, 0) for k, part in fields(value) if k == 2]
            shape = [signed(size) if isinstance(size, int) else -1 for size in sizes]
        elif key == 4 and isinstance(value, bytes):
            content = value
        elif key == 8 and isinstance(value, bytes):
            words.append(value)
        elif key != 3:
            raise InputError(describe("a tensor to be read", "its content in one piece", f"field {key}"))
    count = math.prod(shape) if all(size >= 0 for size in shape) else -1
    if number == 7 and count == len(words):
        made = np.empty(count, object)
        made[:] = words
        return made.reshape(shape)
    dtype = np.dtype(_DTYPES[number]).newbyteorder("<") if number in _DTYPES else None
    if dtype is None or count * dtype.itemsize != len(content):
        raise InputError(describe("a tensor to be read", "as many numbers as its shape says", "other bytes"))
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("=")).reshape(shape)


# ---------------------------------------------------------------- examples


def feature_bytes(kind: str, values: list[Any]) -> bytes:
    """A list of bytes, floats or whole numbers as a Feature."""
    if kind == "bytes":
        return field(1, b"".join(field(1, value) for value in values))
    if kind == "float":
        return field(2, field(1, struct.pack(f"<{len(values)}f", *values)) if values else b"")
    return field(3, field(1, b"".join(map(varint, values))) if values else b"")


def feature_of(held: bytes) -> tuple[str, list[Any]]:
    """The kind and the values of a Feature; "" for one that says none. Raises InputError."""
    for key, part in fields(held):
        if key not in (1, 2, 3) or not isinstance(part, bytes):
            continue
        found: list[Any] = []
        for inner, value in fields(part):
            if inner != 1:
                continue
            if key == 1 and isinstance(value, bytes):
                found.append(value)
            elif key == 2 and isinstance(value, bytes) and len(value) % 4 == 0:
                found += struct.unpack(f"<{len(value) // 4}f", value)
            elif key == 3:
                found += [signed(value)] if isinstance(value, int) else varints(value)
            else:
                raise InputError(describe("a feature to be read", "values of its kind", "other bytes"))
        return ("bytes", "float", "int64")[key - 1], found
    return "", []


def example_bytes(features: dict[str, bytes]) -> bytes:
    """Features by name as an Example."""
    entries = (field(1, key.encode()) + field(2, value) for key, value in sorted(features.items()))
    return field(1, b"".join(field(1, entry) for entry in entries))


def example_of(held: bytes) -> dict[str, tuple[str, list[Any]]]:
    """The features of an Example by name. Raises InputError."""
    found = {}
    for key, part in fields(held):
        for inner, entry in fields(part) if key == 1 and isinstance(part, bytes) else ():
            if inner == 1 and isinstance(entry, bytes):
                pair = dict(fields(entry))
                name, value = pair.get(1, b""), pair.get(2, b"")
                if not isinstance(name, bytes) or not isinstance(value, bytes):
                    raise InputError(describe("an example to be read", "features by name", "other bytes"))
                found[name.decode("utf-8", "replace")] = feature_of(value)
    return found


# ---------------------------------------------------------------- records

_CRC: list[int] = []


def checksum(held: bytes) -> int:
    """Castagnoli's CRC-32 (RFC 3720, B.4), turned and moved as TFRecord files have it."""
    if not _CRC:
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
            _CRC.append(value)
    crc = 0xFFFFFFFF
    for byte in held:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def record_bytes(held: bytes) -> bytes:
    """Bytes as a record of a file: how many, a checksum of that, the bytes, and their checksum."""
    size = struct.pack("<Q", len(held))
    return size + struct.pack("<I", checksum(size)) + held + struct.pack("<I", checksum(held))


def records_of(held: bytes, name: str) -> Iterator[bytes]:
    """The records of a file. Raises InputError where sizes or checksums are none of its."""
    at = 0
    while at < len(held):
        head = held[at : at + 12]
        size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else -1
        content = held[at + 12 : at + 12 + size] if size >= 0 else b""
        tail = held[at + 12 + size : at + 16 + size] if size >= 0 else b""
        whole = size >= 0 and len(content) == size and len(tail) == 4
        if not whole or (checksum(head[:8]), checksum(content)) != (
            struct.unpack("<I", head[8:])[0],
            struct.unpack("<I", tail)[0],
        ):
            raise InputError(describe(f"TFRecord file {name}", "whole records", f"other bytes from {at} on"))
        yield content
        at += 16 + size

"""Symbols of object files for systems that the tests do not run on: Mach-O and COFF, read as their
specifications have them (Apple, mach-o/nlist.h; Microsoft, PE Format)."""

from __future__ import annotations

import struct


def symbols(data: bytes) -> tuple[set[str], set[str]]:
    """(defined, undefined) external names."""
    return _macho(data) if data[:4] == b"\xcf\xfa\xed\xfe" else _coff(data)


def _macho(data: bytes) -> tuple[set[str], set[str]]:
    """Names without the '_' that the system puts in front of those of C."""
    commands, at = struct.unpack_from("<I", data, 16)[0], 32
    defined, undefined = set(), set()
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, at)
        if command == 2:  # LC_SYMTAB
            table, count, strings, _ = struct.unpack_from("<IIII", data, at + 8)
            for i in range(count):
                text, kind, _, _, _ = struct.unpack_from("<IBBHQ", data, table + 16 * i)
                if kind & 1:  # N_EXT
                    name = data[strings + text : data.index(b"\0", strings + text)].decode()
                    assert name[0] == "_"
                    (defined if kind & 0x0E else undefined).add(name[1:])
        at += size
    return defined, undefined


def _coff(data: bytes) -> tuple[set[str], set[str]]:
    machine, _, _, table, count = struct.unpack_from("<HHIII", data)
    assert machine == 0x8664
    strings, defined, undefined, i = table + 18 * count, set(), set(), 0
    while i < count:
        raw, _, section, _, storage, extra = struct.unpack_from("<8sIhHBB", data, table + 18 * i)
        if storage == 2:  # IMAGE_SYM_CLASS_EXTERNAL
            start = struct.unpack("<4xI", raw)[0] + strings
            name = data[start : data.index(b"\0", start)] if raw[:4] == bytes(4) else raw.rstrip(b"\0")
            (undefined if section == 0 else defined).add(name.decode())
        i += 1 + extra
    return defined, undefined

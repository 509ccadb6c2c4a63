"""The global heaps of an HDF5 file, looked at before the HDF5 library does.

Enters: an open file. Leaves: nothing, or ModelError. Texts of variable length lie in heaps, collections of
objects one behind the other ("HDF5 File Format Specification", III.E). Where one says that it has no size,
the library does not get past it, and never returns: the commonest harm that a damaged bit does.
"""

from __future__ import annotations

import mmap
import struct
from typing import IO

from kcompile.files.reader.limits import damaged

_SIGNATURE = b"GCOL\1"
_HEADER = 16  # bytes of a collection's header, and of an object's
_LARGEST = 1 << 26  # bytes of a collection that are looked at


def check_heaps(stream: IO[bytes], name: str) -> None:
    """Raises ModelError for a heap that does not come to an end."""
    stream.seek(0, 2)
    if not stream.tell():
        return
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_SIGNATURE)
        while at >= 0:
            if not _ends(data, at):
                raise damaged(name, f"the heap at byte {at} has an object without size")
            at = data.find(_SIGNATURE, at + 1)
    stream.seek(0)


def _ends(data: mmap.mmap, start: int) -> bool:
    """Whether the objects of a collection lead to its end, or out of it, which the library notices."""
    if start + _HEADER > len(data):
        return True
    (size,) = struct.unpack_from("<Q", data, start + 8)
    at, end = start + _HEADER, min(start + min(size, _LARGEST), len(data))
    while at + _HEADER <= end:
        index, length = struct.unpack_from("<H6xQ", data, at)
        taken = length if index == 0 else _HEADER + -(-length // 8) * 8  # 0: free room, header included
        if taken == 0:
            return False
        at += taken
    return True

"""The B-trees of an HDF5 file, looked at before the HDF5 library does.

Enters: an open file. Leaves: nothing, or ModelError. Links of groups and chunks of datasets hang in trees of
nodes ("HDF5 File Format Specification", III.A.1). Where a node is below or beside itself, the library
recurses until its stack ends, or goes round for ever.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import IO

from kcompile.files.reader.limits import damaged

_SIGNATURE, _FILE = b"TREE", b"\x89HDF\r\n\x1a\n"
_HEADER = struct.Struct("<4sBBHQQ")  # signature, kind, level, entries, left and right sibling


@dataclass(frozen=True)
class _Node:
    kind: int  # 0 of links, 1 of chunks
    level: int  # 0: no nodes below
    right: int
    below: tuple[int, ...]


def check_trees(stream: IO[bytes], name: str) -> None:
    """Raises ModelError for a tree in which a node leads back to itself."""
    stream.seek(0, 2)
    if not stream.tell():
        return
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        base, nodes = max(data.find(_FILE), 0), {}
        at = data.find(_SIGNATURE)
        while at >= 0:
            if (node := _node(data, at)) is not None:
                nodes[at - base] = node
            at = data.find(_SIGNATURE, at + 1)
    stream.seek(0)
    for start, node in nodes.items():
        if any(
            below in nodes and nodes[below].kind == node.kind and nodes[below].level >= node.level
            for below in node.below
        ):
            raise damaged(name, f"the tree at byte {start} has a node that is not below it")
    checked: set[int] = set()
    for start in nodes:
        row: list[int] = []
        passed: set[int] = set()
        place = start
        while place in nodes and place not in checked:
            if place in passed:
                raise damaged(name, f"the tree at byte {start} has a node beside itself")
            row.append(place)
            passed.add(place)
            place = nodes[place].right
        checked.update(row)


def _node(data: mmap.mmap, at: int) -> _Node | None:
    """The node at a place of the file, if there can be one. Below a node of links each child
    follows a key of 8 bytes; the keys of chunks depend on a rank that is not known here, so every word may be
    a child."""
    if at + _HEADER.size > len(data):
        return None
    _, kind, level, entries, _, right = _HEADER.unpack_from(data, at)
    if kind > 1:
        return None
    below: tuple[int, ...] = ()
    if level:
        count = min(entries * (2 if kind == 0 else 36), (len(data) - at - _HEADER.size) // 8)
        words = struct.unpack_from(f"<{count}Q", data, at + _HEADER.size)
        below = words[1::2] if kind == 0 else words
    return _Node(kind, level, right, below)

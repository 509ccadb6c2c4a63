"""Loops over arrays that lie in windows of wider ones (`loops.Window`).

Enters: a group's body, its `Domain` and its buffers. Leaves: the axes that must begin a loop.
"""

from __future__ import annotations

from collections.abc import Iterable

from kcompile.codegen.loops import Buffer
from kcompile.codegen.loops.indexing import run_axis
from kcompile.ir.domain import Domain
from kcompile.ir.graph import Graph


def cuts_of(body: Graph, domain: Domain, buffers: Iterable[tuple[int, Buffer]]) -> set[int]:
    """The axes of a domain that must begin a loop, as runs of arrays in windows do. buffers: with the ids of
    the nodes that they hold."""
    cuts: set[int] = set()
    for id, buffer in buffers:
        if buffer.window is not None:
            shape = body.nodes[id].types[0].shape
            first = run_axis(shape, buffer.window.run)
            own = domain.axes_of(shape)
            cuts |= set(range(len(domain.shape))) if first is None or own is None else {own[first]}
    return cuts

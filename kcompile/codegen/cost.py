"""What code costs, roughly."""

from __future__ import annotations

from kcompile.ir.graph import Node

EXPENSIVE = 12  # operations that a transcendental function counts for
ACCESS = 2  # and reading memory beyond the nearest cache


def weight(node: Node) -> int:
    """Operations for one element of a node's result, roughly."""
    if node.op.kind == "elementwise":
        return EXPENSIVE if node.op.expensive else 1
    if node.op.kind == "window":
        taps = 1
        for s in node.attrs["size"]:
            taps *= s
        return 3 * taps
    if node.op.kind == "source":
        return 0 if node.op.name == "constant" else ACCESS
    return {"reduction": 2, "random": EXPENSIVE}.get(node.op.kind, 1)

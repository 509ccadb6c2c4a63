"""What a kernel runs over: the elements of one shape, some axes of which are reduced away.

Enters: a group's body. Leaves: its `Space`, and the axes of it collapsed into few, long runs.

Every value in a group is of one of these forms:
- inner: an elementwise value, which has the space's full shape or broadcasts to it;
- outer: a per-row value. Its shape is the axes that are not reduced, either alone (what a reduction gives)
  or with axes of size 1 in place of the reduced ones (which broadcast to inner values).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kcompile.ir.graph import Graph, Node
from kcompile.ir.types import Shape

Run = tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """`full` shape and the axes that are reduced."""

    full: Shape
    axes: tuple[int, ...] = ()

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.full)) if i not in self.axes)

    @property
    def plain(self) -> Shape:
        """The shape of a reduction's result."""
        return tuple(self.full[i] for i in self.kept)

    @property
    def padded(self) -> Shape:
        """The same with ones for the reduced axes."""
        return tuple(1 if i in self.axes else d for i, d in enumerate(self.full))

    @property
    def by_rows(self) -> bool:
        """Whether the reduced axes are the last ones, and static: then one row after the other is
        worked on, and its elements may depend on what it was reduced to."""
        first = len(self.full) - len(self.axes)
        return (
            bool(self.axes)
            and self.axes[0] == first
            and all(isinstance(self.full[a], int) for a in self.axes)
        )

    def takes_outer(self, shape: Shape, user: Node) -> bool:
        """Whether a user of an outer value of this shape reads one number for each kept index."""
        result = user.types[0].shape
        if user.op.view:
            return result in (self.plain, self.padded)
        if not (user.op.kind == "elementwise" or user.op.broadcasts):
            return False
        if result == self.full:
            return self.by_rows and (shape == self.padded or not self.plain)
        return result == shape


def space_of(body: Graph) -> Space:
    """The space of a group: what its reductions run over when they agree, else its results. Of results
    of two shapes without a reduction between them, one has a number for each row of the other."""
    shapes = list(dict.fromkeys(body.type(v).shape for v in body.outputs.values()))
    found = {
        Space(body.type(m.inputs[0]).shape, m.attrs["axes"])
        for m in body.nodes.values()
        if m.op.kind == "reduction"
    }
    if not found and len(shapes) > 1:
        small, *_, full = sorted(shapes, key=lambda shape: (len(shape), -shape.count(1)))
        wide = (*small, *(1,) * (len(full) - len(small)))
        found = {Space(full, tuple(i for i, d in enumerate(full) if wide[i] != d))}
    if len(found) != 1:
        return Space(shapes[0])
    (space,) = found
    return space if set(shapes) <= {space.full, space.plain, space.padded} else Space(shapes[0])


def only_ones(node: Node, before: Shape) -> bool:
    """Whether a node is a reshape that puts in or takes out axes of size 1."""
    return node.op.view and ([d for d in before if d != 1] == [d for d in node.types[0].shape if d != 1])


def runs_of(body: Graph, space: Space) -> list[Run]:
    """Groups adjacent axes that collapse into one loop: axes along which each value varies in both or in
    neither. Only speed depends on it. With movement and windows in the body each axis has its own loop."""
    apart: list[Run] = [(i,) for i in range(len(space.full))]
    nodes = body.live()
    for m in nodes:
        plain = m.op.kind in ("elementwise", "source", "reduction", "random")
        before = body.type(m.inputs[0]).shape if m.inputs else ()
        if m.op.origin == "index" or not (plain or m.op.broadcasts or only_ones(m, before)):
            return apart
    patterns = {tuple(i in space.axes for i in range(len(space.full)))}
    for shape in {t.shape for m in nodes for t in m.types}:
        pattern = _pattern(shape, space)
        if pattern is None:
            return apart
        patterns.add(pattern)
    return _merge(patterns, space.full)


def _pattern(shape: Shape, space: Space) -> tuple[bool, ...] | None:
    """The axes of the space along which a value of this shape varies; None where that is unclear."""
    rank = len(space.full)
    if space.axes and shape == space.plain:
        own: Sequence[int] = space.kept
    elif len(shape) <= rank:
        own = range(rank - len(shape), rank)
    else:
        return None
    if any(d not in (1, space.full[i]) for d, i in zip(shape, own)):
        return None
    varying = {i for d, i in zip(shape, own) if d != 1}
    return tuple(i in varying for i in range(rank)) if varying else (True,) * rank


def _merge(patterns: Iterable[tuple[bool, ...]], full: Shape) -> list[Run]:
    runs: list[list[int]] = []
    for i, d in enumerate(full):
        alike = (
            bool(runs)
            and isinstance(d, int)
            and d != 1
            and full[i - 1] != 1
            and all(p[i] == p[i - 1] for p in patterns)
        )
        if alike:
            runs[-1].append(i)
        else:
            runs.append([i])
    return [tuple(run) for run in runs]

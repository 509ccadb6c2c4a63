"""The iteration domain of a group: the index domain that its kernel loops over, and the axes that it reduces.

Enters: a group's body. Leaves: its `Domain`, and the axes of the domain coalesced into few, long loops.

A value inside a group has one of two forms:
- an element-wise value has the shape of the domain, or broadcasts to it;
- a per-row value has one element for each index of the parallel (not reduced) axes. Its shape is these axes
  alone (`reduced_shape`, what a reduction gives), or has axes of size 1 in place of the reduced ones
  (`keepdims_shape`, which broadcasts to element-wise values).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from kcompile.ir.graph import Graph, Node
from kcompile.ir.types import Shape

Coalesced = tuple[int, ...]  # adjacent axes that one loop runs over


@dataclass(frozen=True)
class Domain:
    """An iteration domain. shape: the number of indices along each axis. axes: those that are reduced."""

    shape: Shape
    axes: tuple[int, ...] = ()

    @staticmethod
    def of_reduction(graph: Graph, node: Node) -> Domain:
        """The domain of a reduction of a graph."""
        return Domain(graph.type(node.inputs[0]).shape, node.attrs["axes"])

    @property
    def parallel(self) -> tuple[int, ...]:
        """The axes that are not reduced."""
        return tuple(i for i in range(len(self.shape)) if i not in self.axes)

    @property
    def reduced_shape(self) -> Shape:
        """The shape of a reduction's result: the parallel axes alone."""
        return tuple(self.shape[i] for i in self.parallel)

    @property
    def keepdims_shape(self) -> Shape:
        """The shape of a reduction's result with keepdims=True: size 1 along the reduced axes."""
        return tuple(1 if i in self.axes else d for i, d in enumerate(self.shape))

    def axes_of(self, shape: Shape) -> Sequence[int] | None:
        """Which axes the axes of a value's shape are; None where it has more of them."""
        rank = len(self.shape)
        if self.axes and shape == self.reduced_shape:
            return self.parallel
        return range(rank - len(shape), rank) if len(shape) <= rank else None

    @property
    def is_row_reduction(self) -> bool:
        """Whether the reduced axes are the last ones and of known size. A kernel then works on one row
        after the other, and elements of a row may depend on what the row was reduced to (softmax)."""
        first = len(self.shape) - len(self.axes)
        return (
            bool(self.axes)
            and self.axes[0] == first
            and all(isinstance(self.shape[a], int) for a in self.axes)
        )

    def reads_per_row(self, shape: Shape, user: Node) -> bool:
        """Whether `user`, of a per-row value of this shape, reads it once for each parallel index."""
        result = user.types[0].shape
        if user.op.view:
            return result in (self.reduced_shape, self.keepdims_shape)
        if not (user.op.kind == "elementwise" or user.op.broadcasts):
            return False
        if result == self.shape:
            return self.is_row_reduction and (shape == self.keepdims_shape or not self.reduced_shape)
        return result == shape


def domain_of(body: Graph) -> Domain:
    """The domain of a group: that of its reductions where all have the same, else that of its results. Where
    results have two shapes and no reduction lies between them, the smaller is per-row for the larger."""
    shapes = list(dict.fromkeys(body.type(v).shape for v in body.outputs.values()))
    found = {Domain.of_reduction(body, m) for m in body.nodes.values() if m.op.kind == "reduction"}
    if not found and len(shapes) > 1:
        small, *_, large = sorted(shapes, key=lambda shape: (len(shape), -shape.count(1)))
        wide = (*small, *(1,) * (len(large) - len(small)))
        found = {Domain(large, tuple(i for i, d in enumerate(large) if wide[i] != d))}
    if len(found) != 1:
        return Domain(shapes[0])
    (domain,) = found
    return (
        domain
        if set(shapes) <= {domain.shape, domain.reduced_shape, domain.keepdims_shape}
        else Domain(shapes[0])
    )


def is_column(shape: Shape, columns: Shape) -> bool:
    """Whether an operand of this shape, broadcast to [rows..., columns...], varies only by column."""
    stripped = shape[-len(columns) :] if columns else ()
    lead = shape[: len(shape) - len(stripped)]
    return stripped == columns and all(d == 1 for d in lead)


def is_row(shape: Shape, rows: Shape, columns: Shape) -> bool:
    """Whether it varies only by row."""
    return shape == rows + (1,) * len(columns)


def only_ones(node: Node, before: Shape) -> bool:
    """Whether a node is a reshape that adds or removes axes of size 1 and nothing else."""
    return node.op.view and ([d for d in before if d != 1] == [d for d in node.types[0].shape if d != 1])


def coalesce_axes(body: Graph, domain: Domain, cuts: Collection[int] = ()) -> list[Coalesced]:
    """The axes of a domain, adjacent ones coalesced into one loop where every value of the group varies
    along both or along neither. Results do not depend on it, speed does. A group that moves elements (a
    transpose, a window) keeps one loop for each axis. cuts: axes that must begin a loop."""
    separate: list[Coalesced] = [(i,) for i in range(len(domain.shape))]
    nodes = body.live()
    for m in nodes:
        plain = m.op.kind in ("elementwise", "source", "reduction", "random")
        before = body.type(m.inputs[0]).shape if m.inputs else ()
        if m.op.origin == "index" or not (plain or m.op.broadcasts or only_ones(m, before)):
            return separate
    patterns = {tuple(i in domain.axes for i in range(len(domain.shape)))}
    for shape in {t.shape for m in nodes for t in m.types}:
        pattern = _pattern(shape, domain)
        if pattern is None:
            return separate
        patterns.add(pattern)
    return _merge(patterns, domain.shape, cuts)


def _pattern(shape: Shape, domain: Domain) -> tuple[bool, ...] | None:
    """For each axis of the domain, whether a value of this shape varies along it; None where the shape does
    not say which of its axes is which."""
    rank, own = len(domain.shape), domain.axes_of(shape)
    if own is None or any(d not in (1, domain.shape[i]) for d, i in zip(shape, own)):
        return None
    varying = {i for d, i in zip(shape, own) if d != 1}
    return tuple(i in varying for i in range(rank)) if varying else (True,) * rank


def _merge(patterns: Iterable[tuple[bool, ...]], shape: Shape, cuts: Collection[int]) -> list[Coalesced]:
    merged: list[list[int]] = []
    for i, d in enumerate(shape):
        alike = (
            bool(merged)
            and i not in cuts
            and isinstance(d, int)
            and d != 1
            and shape[i - 1] != 1
            and all(p[i] == p[i - 1] for p in patterns)
        )
        if alike:
            merged[-1].append(i)
        else:
            merged.append([i])
    return [tuple(axes) for axes in merged]

"""Transposes and reshapes of the operands of a product of matrices become part of its index maps.

Enters: a contraction, its operands in a graph under construction. Leaves: the contraction of what lies before
them. Attention takes heads apart, multiplies for each, and puts them together again; what would be copied for
that is read where it is, by another step. `choose_algorithms` asks for it; nothing happens to windows, whose
coordinates are more than a variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kcompile.ir.contraction import Access, Affine, Contraction, variable
from kcompile.ir.graph import Graph, Value
from kcompile.ir.types import Batch, Dim, Shape, matched, row_major


def absorb_layouts(
    graph: Graph, spec: Contraction, operands: Sequence[Value]
) -> tuple[Contraction, list[Value]]:
    """See the module. Operands stay where no transpose goes, and where steps come before samples (what loops
    over time write): strides that are not known are no maps that kernels read in place."""
    made = list(operands)
    if spec.groups or not all(map(_is_plain, (spec.a, spec.b))):
        return spec, made
    for side in ("a", "b"):
        slot = getattr(spec, side).operand
        now, value = spec, made[slot]
        while (step := _one_step(graph, now, side, value)) is not None:
            passed, (now, value) = graph.nodes[value.node], step
            lies_in_samples = not any(isinstance(d, Batch) for d in graph.type(value).shape[1:])
            if passed.op.permutes and lies_in_samples and _is_read_well(now, side):
                spec, made[slot] = now, value
    return spec, made


def _is_plain(access: Access) -> bool:
    """Whether each coordinate is one variable, or none, and inside."""
    return not any(access.guarded) and all(
        len(x.terms) < 2 and all(c == 1 for _, c in x.terms) and not x.offset and x.divisor == 1
        for x in access.index
    )


def _is_read_well(spec: Contraction, side: str) -> bool:
    """Whether neighbours in memory are used one after the other. Of B, where each step has another one, these
    must be all columns, side by side; only for samples are panels packed of columns that lie across."""
    terms = getattr(spec, side).index[-1].terms
    summed, column = len(spec.m) + len(spec.k) - 1, len(spec.m) + len(spec.k) + len(spec.j) - 1
    inner = {len(spec.m) - 1, summed, column}
    if side == "b" and not spec.g:
        inner = {column} if len(spec.j) == 1 else set()
    return len(terms) == 1 and terms[0][0] in inner and terms[0][1] == 1


def _one_step(graph: Graph, spec: Contraction, side: str, value: Value) -> tuple[Contraction, Value] | None:
    """The contraction of the operand of a transpose or of a reshape, in place of its result; None where it
    has none."""
    node, access = graph.nodes[value.node], getattr(spec, side)
    if node.op.permutes:
        axes = node.attrs["axes"]
        places = [axes.index(i) for i in range(len(axes))]
        index = tuple(access.index[i] for i in places)
        moved = replace(access, index=index, guarded=(False,) * len(index))
        return replace(spec, **{side: moved}), node.inputs[0]
    if not node.op.view:
        return None
    before, after = graph.type(node.inputs[0]).shape, graph.type(value).shape
    made = _of_reshaped(spec, side, before, after)
    return None if made is None else (made, node.inputs[0])


def _of_reshaped(spec: Contraction, side: str, before: Shape, after: Shape) -> Contraction | None:
    """The contraction of an operand of the shape `before`, of which it had the reshape to `after`."""
    pairs = matched(before, after)
    for old, now in pairs:
        dims, parts = after[now], before[old]
        if min(len(dims), len(parts)) > 1 or any(isinstance(d, Batch) for d in (*dims[1:], *parts[1:])):
            return None
        several = [size for size in parts if size != 1]
        if len(parts) > 1 and not _counts(spec, side, now.start, several):
            terms = getattr(spec, side).index[now.start].terms
            if [c for _, c in terms] != [1] or spec.variables[terms[0][0]] != dims[0]:
                return None
            spec = spec.cut(terms[0][0], several)
    index: list[Affine] = []
    for old, now in pairs:
        here, dims, parts = getattr(spec, side).index[now], after[now], before[old]
        if len(parts) > 1:  # the variables that one was cut into
            variables = iter([variable(v) for v, _ in here[0].terms])
            index += [next(variables) if size != 1 else Affine(()) for size in parts]
        elif parts:
            steps = row_major(dims) or ()
            terms = tuple((v, c * step) for x, step in zip(here, steps) for v, c in x.terms)
            index.append(Affine(terms))
    access = replace(getattr(spec, side), index=tuple(index), guarded=(False,) * len(index))
    return replace(spec, **{side: access})


def _counts(spec: Contraction, side: str, axis: int, parts: Sequence[Dim]) -> bool:
    """Whether a coordinate counts up variables of these sizes already, in row-major order."""
    terms = getattr(spec, side).index[axis].terms
    return [(spec.variables[v], c) for v, c in terms] == list(zip(parts, row_major(parts) or ()))

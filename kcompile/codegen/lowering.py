"""From a fused group to a kernel: enters a `group` node's body, leaves a `loops.Function`.

Elements are pulled: the loops run over the elements of the result, and each op's rule asks its
operands for the elements it needs, down to loads from memory. So everything in a group is computed in
registers. Contractions have loops of their own (`contraction`); the rest of their group is pulled in
their epilogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.builder import ZERO, Builder, Index
from kcompile.codegen.loops import BYTES, Buffer, Expr, Function
from kcompile.codegen.program import Size
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Batch, Dim, Shape, TensorType, numel

CHUNK = 1024  # elements of a flat loop that one iteration of the parallel loop covers
EXPENSIVE = 12  # operations that a transcendental function counts for


@dataclass(frozen=True)
class Kernel:
    """A function, the iterations of its parallel loop, and the cycles one iteration takes (a guess,
    which only decides how many threads share the work)."""

    function: Function
    extent: Size
    work: Size


@dataclass(frozen=True)
class OpCall:
    """What a lowering rule sees of the node it lowers."""

    types: tuple[TensorType, ...]
    type: TensorType
    attrs: object


def size_of(dim: Dim) -> Size:
    return Size(0, dim.multiple) if isinstance(dim, Batch) else Size(dim, 0)


class Pull:
    """Elements of a group's values at an index, through the builder `b`."""

    def __init__(self, body: Graph, buffers: Sequence[Buffer], b: Builder, pure: bool = False):
        self.body = body
        self.b = b
        self.pure = pure
        self.buffers = dict(zip((v.node for v in body.inputs.values()), buffers))
        self.uses: dict[Value, int] = {}
        for node in body.nodes.values():
            for value in node.inputs:
                self.uses[value] = self.uses.get(value, 0) + 1
        for value in body.outputs.values():
            self.uses[value] = self.uses.get(value, 0) + 1
        self.given: dict[int, Callable[[Index], Expr]] = {}

    def at(self, value: Value, index: Index) -> Expr:
        """The element of a value; computed once for the same index (the very same expressions)."""
        key = (value, tuple(map(id, index)), id(self.b.mask))
        return self.b.remember(key, (index, self.b.mask), lambda: self._make(value, index))

    def _make(self, value: Value, index: Index) -> Expr:
        node = self.body.nodes[value.node]
        if node.id in self.given:
            return self.given[node.id](index)
        if node.op.name == "input":
            buffer = self.buffers[node.id]
            return self.b.load(buffer, self.b.flatten(index, node.types[0].shape))
        if node.op.name == "constant":
            return self.b.const(node.attrs["value"].array.item(), node.types[0].dtype)
        result = self._apply(node, index)
        many = self.uses.get(value, 0) > 1 or node.op.expensive
        return self.b.share(result) if many and not self.pure else result

    def _apply(self, node: Node, index: Index) -> Expr:
        types = tuple(self.body.type(v) for v in node.inputs)
        if node.op.scalar is not None:
            elements = [self.at(v, self.b.narrow(index, t.shape))
                        for v, t in zip(node.inputs, types)]
            result: Expr = node.op.scalar(self.b, *elements, **node.attrs)
            return result
        assert node.op.lower is not None, node.op.name
        operands = [lambda i, v=v: self.at(v, tuple(i)) for v in node.inputs]
        call = OpCall(types, node.types[0], node.attrs)
        result = node.op.lower(self.b, call, index, *operands)
        return result


def parameters(body: Graph) -> tuple[list[Buffer], list[Buffer]]:
    """The kernel's buffers: one for each input and each output of the body."""
    inputs = [Buffer(f"x{i}", body.type(v).dtype) for i, v in enumerate(body.inputs.values())]
    outputs = [Buffer(f"y{i}", body.type(v).dtype) for i, v in enumerate(body.outputs.values())]
    return inputs, outputs


def lower_group(name: str, node: Node, target: Target, aliased: bool = False) -> Kernel:
    """The kernel of a group. Its buffers are the group's operands, then its results. `aliased`: a
    result may be written over an operand."""
    if target.is_gpu:
        from kcompile.codegen.gpu import schedules

        return schedules.lower_group(name, node, target, aliased)
    body: Graph = node.attrs["body"]
    anchor = next((m for m in body.nodes.values() if m.op.kind == "contraction"), None)
    if anchor is not None:
        from kcompile.codegen.epilogue import lower_anchored

        return lower_anchored(name, node, anchor, target, aliased)
    scatter = next((m for m in body.nodes.values() if m.op.name == "scatter_rows"), None)
    if scatter is not None:
        from kcompile.codegen.scatter import lower_scatter

        return lower_scatter(name, node, scatter, target)
    body = collapse(body)
    inputs, outputs = parameters(body)
    lanes = min([target.lanes("float32"), *(target.lanes(t.dtype) for m in body.nodes.values()
                                            for t in m.types if t.dtype != "bool")])
    b = Builder(target, lanes)
    pull = Pull(body, inputs, b)
    values = list(body.outputs.values())
    shape = body.type(values[0]).shape

    def element(index: Index, mask: Expr | None) -> None:
        with b.where(mask):
            results = [pull.at(v, index) for v in values]
        flat = b.flatten(index, shape)
        for buffer, result in zip(outputs, results):
            b.emit(loops.store(buffer, flat, result, mask))

    extent, work = _loops(b, shape, element, cost(body), rolled=_reduces(body))
    function = Function(name, (*inputs, *outputs), tuple(b.blocks[0]), node.label, aliased)
    return Kernel(function, extent, work)


# ---------------------------------------------------------------- loops over a result


def _loops(b: Builder, shape: Shape, element: Callable[[Index, Expr | None], None], cost: Size,
           rolled: bool) -> tuple[Size, Size]:
    """Loops over all elements of `shape`; gives the parallel extent and the cycles per iteration."""
    if not shape:
        element((), None)
        return Size(1), cost
    *outer, last = shape
    chunk = b.lanes if rolled else CHUNK
    if not outer:
        if isinstance(last, int) and last <= chunk:
            with b.block() as block:
                _row(b, (), ZERO, b.extent(last), last, element)
            for statement in block:
                b.emit(statement)
            return Size(1), _times(cost, -(-last // b.lanes))
        count = b.extent(last)
        with b.loop("p", 0, (count + (chunk - 1)) // chunk, parallel=True) as p:
            start = b.share(p * chunk)
            stop = b.share(loops.binary("min", start + chunk, count))
            _row(b, (), start, stop, last, element)
        chunks = (Size(-(-last // chunk)) if isinstance(last, int)
                  else Size(1, -(-last.multiple // chunk)))
        return chunks, _times(cost, chunk // b.lanes)
    head, inner = _split(outer)
    rows = numel(head)
    with b.loop("p", 0, b.extent(rows), parallel=True) as p:
        _nest(b, inner, b.unflatten(p, head), lambda index: _row(
            b, index, ZERO, b.extent(last), last, element))
    per_row = -(-(last if isinstance(last, int) else last.multiple) // b.lanes)
    repeats = numel(inner)
    return size_of(rows), _times(cost, per_row * (repeats if isinstance(repeats, int) else 1))


def _split(outer: Sequence[Dim]) -> tuple[Shape, Shape]:
    """The axes that the parallel loop flattens, at most two and enough to share, and the rest."""
    head = 1
    while head < min(len(outer), 2) and isinstance(outer[0], (int, Batch)):
        head += 1
    return tuple(outer[:head]), tuple(outer[head:])


def _nest(b: Builder, dims: Shape, index: Index, inner: Callable[[Index], None]) -> None:
    if not dims:
        inner(index)
    elif dims[0] == 1:
        _nest(b, dims[1:], (*index, ZERO), inner)
    else:
        with b.loop("i", 0, b.extent(dims[0])) as i:
            _nest(b, dims[1:], (*index, i), inner)


def _row(b: Builder, index: Index, start: Expr, stop: Expr, size: Dim,
         element: Callable[[Index, Expr | None], None]) -> None:
    """Elements [start, stop) of the last axis: vectors, then one masked vector or single ones."""
    if size == 1:
        element((*index, ZERO), None)
        return
    lanes, whole = b.lanes, start + (stop - start) // b.lanes * b.lanes
    exact = isinstance(size, int) and size % lanes == 0
    if not isinstance(size, int) or size >= lanes:
        with b.loop("v", start, whole, lanes) as i, b.lanes_of(lanes):
            element((*index, loops.ramp(i, lanes)), None)
    if exact:
        return
    if b.target.masks:
        statement = []
        with b.block() as statement, b.lanes_of(lanes):
            place = loops.ramp(whole, lanes)
            mask = b.share(loops.binary("lt", place, stop))
            element((*index, place), mask)
        if isinstance(size, int) and not isinstance(start, loops.Const):
            b.emit(loops.If(loops.binary("lt", whole, stop), tuple(statement)))
        elif isinstance(size, int):
            for s in statement:
                b.emit(s)
        else:
            b.emit(loops.If(loops.binary("lt", whole, stop), tuple(statement)))
    else:
        with b.loop("s", whole, stop) as i, b.lanes_of(1):
            element((*index, i), None)


# ---------------------------------------------------------------- cost


def _times(cost: Size, factor: int) -> Size:
    return Size(cost.fixed * factor, cost.per_sample * factor)


def _reduces(body: Graph) -> bool:
    return any(node.op.kind == "reduction" for node in body.nodes.values())


def cost(body: Graph) -> Size:
    """Cycles for one vector of the result, roughly."""
    once, repeated, factor = 2, 0, Size(1)
    for node in body.nodes.values():
        if node.op.kind == "reduction":
            kept = [d for i, d in enumerate(body.type(node.inputs[0]).shape)
                    if i in node.attrs["axes"]]
            factor = size_of(numel(kept))
            repeated += 2
        elif node.op.kind == "window":
            taps = 1
            for s in node.attrs["size"]:
                taps *= s
            once += 3 * taps
        elif node.op.kind == "elementwise":
            once += EXPENSIVE if node.op.expensive else 1
    return Size(once + repeated * factor.fixed, repeated * factor.per_sample)


# ---------------------------------------------------------------- collapsing axes


def collapse(body: Graph) -> Graph:
    """The same computation with neighbouring axes merged where every value treats them alike, so that
    loops are few and long. Bodies with movement or windows are left as they are."""
    nodes = body.live()
    reductions = [m for m in nodes if m.op.kind == "reduction"]
    if len(reductions) > 1 or any(
            m.op.kind not in ("elementwise", "source", "reduction") or m.op.name == "iota"
            for m in nodes):
        return body
    full = max((t.shape for m in nodes for t in m.types), key=len)
    if reductions:
        full = body.type(reductions[0].inputs[0]).shape
        axes: tuple[int, ...] = reductions[0].attrs["axes"]
    else:
        axes = ()
    after = _after(nodes, reductions)
    runs = _runs(nodes, after, full, axes)
    if runs is None or len(runs) == len(full):
        return body
    return _rebuild(body, nodes, after, runs, axes)


def _after(nodes: Sequence[Node], reductions: Sequence[Node]) -> set[int]:
    """Nodes that follow the reduction, and what only they read: these have its result's axes."""
    after = {m.id for m in reductions}
    for m in nodes:
        if any(v.node in after for v in m.inputs):
            after.add(m.id)
    before: set[int] = set()
    for m in reversed(nodes):
        if m.op.kind == "reduction" or m.id in before:
            before.update(v.node for v in m.inputs)
    if reductions:
        after.update(m.id for m in nodes if m.id not in before)
    return after


def _runs(nodes: Sequence[Node], after: set[int], full: Shape,
          axes: tuple[int, ...]) -> list[list[int]] | None:
    """Axes of `full` in runs that can be merged; None where shapes do not line up."""
    kept = [i for i in range(len(full)) if i not in axes]
    patterns: set[tuple[bool, ...]] = {tuple(i in axes for i in range(len(full)))}
    for m in nodes:
        for t in m.types:
            of = kept if m.id in after and axes else list(range(len(full)))
            if t.rank > len(of):
                return None
            own = of[len(of) - t.rank:]
            if any(d not in (1, full[i]) for d, i in zip(t.shape, own)):
                return None
            if t.shape and set(t.shape) != {1}:
                patterns.add(tuple((i in own and t.shape[own.index(i)] == full[i] and full[i] != 1)
                                   or (i in axes and m.id in after and bool(axes))
                                   for i in range(len(full))))
    runs: list[list[int]] = []
    for i in range(len(full)):
        if runs and all(p[i] == p[i - 1] for p in patterns) and full[i] != 1 and full[i - 1] != 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def _rebuild(body: Graph, nodes: Sequence[Node], after: set[int], runs: list[list[int]],
             axes: tuple[int, ...]) -> Graph:
    kept = [run for run in runs if run[0] not in axes]
    flat = [i for run in runs for i in run]
    kept_flat = [i for run in kept for i in run]

    def merged(type: TensorType, is_after: bool) -> TensorType:
        groups, order = (kept, kept_flat) if is_after and axes else (runs, flat)
        own = order[len(order) - type.rank:]
        dims = [numel([type.shape[own.index(i)] for i in run if i in own])
                for run in groups if any(i in own for i in run)]
        return type.with_shape(dims)

    new = Graph(body.name)
    table: dict[Value, Value] = {}
    for m in nodes:
        if m.op.name == "input":
            value = new.input(m.attrs["name"], merged(m.types[0], m.id in after))
        else:
            attrs = dict(m.attrs)
            if m.op.kind == "reduction":
                attrs["axes"] = tuple(i for i, run in enumerate(runs) if run[0] in axes)
            value = Value(new.add(m.op, [table[v] for v in m.inputs], **attrs).id)
        table[Value(m.id)] = value
    new.outputs = {name: table[v] for name, v in body.outputs.items()}
    return new


def buffer_bytes(type: TensorType) -> Size:
    """Bytes of a value, rounded up to whole cache lines (for each sample, when it has the batch)."""
    count, width = numel(type.shape), BYTES[type.dtype]
    if isinstance(count, Batch):
        return Size(0, -(-count.multiple * width // 64) * 64)
    return Size(-(-count * width // 64) * 64)

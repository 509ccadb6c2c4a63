"""Persistent kernels: all steps of a scan in one launch, where each sample depends on itself alone. A block
has some samples, and runs every step of them on its own, with its barrier between two steps.

What enters: the groups of a scan's body, each with the places of its buffers, and how often they run.
What leaves: one `Launch`, with the bits of the launches it stands for; or None where these are better:
weights that do not stay near a multiprocessor are read faster by all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from kcompile.codegen import cost, loops
from kcompile.codegen.gpu import contraction
from kcompile.codegen.gpu.device import BLOCK, THREAD, Grid, device_function
from kcompile.codegen.gpu.schedules import element_of, supported
from kcompile.codegen.groups.elements import Inliner, parameters
from kcompile.codegen.groups.epilogue import anchored
from kcompile.codegen.loops import BYTES, ZERO, Buffer, Expr, Stmt
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.program import Launch, Ref, Size
from kcompile.codegen.targets import Target
from kcompile.ir.domain import domain_of
from kcompile.ir.graph import Graph, Node
from kcompile.ir.types import Batch, numel

Placed = tuple[Node, Sequence[Ref]]


def lower_persistent(name: str, groups: Sequence[Placed], count: int, target: Target) -> Launch | None:
    """The launch that runs `groups`, in order, `count` times; None where launches of their own are
    better. The groups must be row-wise (`by_samples.is_rowwise`). Raises ValueError for an op that no kernel
    for graphics processors computes."""
    if not _is_light([node for node, _ in groups]):
        return None
    b = _Builder(target)
    arguments = _Arguments(count)
    with b.block() as body:
        first = b.let(BLOCK * cost.SCAN_SAMPLES)
        samples = b.let(loops.binary("min", loops.N - first, cost.SCAN_SAMPLES))
        with b.loop("t", 0, count) as t:
            for node, refs in groups:
                with b.block() as statements:
                    buffers = _group(b, node, first, samples, target)
                places = {}
                for buffer, ref in zip(buffers, refs):
                    argument, shift = arguments.place(buffer, ref, t)
                    places[buffer] = (argument, b.let(shift))
                for s in rebased(statements, places):
                    b.emit(s)
                b.emit(loops.Barrier())
    note = " ".join(dict.fromkeys(node.label for node, _ in groups))
    grid = Grid(Size(0, 1), cost.SCAN_SAMPLES, 1, cost.SCAN_THREADS)
    function = device_function(name, list(arguments.known.values()), grid, body, note, aliased=True)
    return Launch(function, tuple(arguments.refs))


class _Builder(Builder):
    """A builder that knows of each operand an element which other blocks do not write."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, 1)
        self.own: dict[Buffer, Expr] = {}

    def safe(self, buffer: Buffer) -> Expr:
        return self.own.get(buffer, ZERO)


def _is_light(nodes: Sequence[Node]) -> bool:
    """Whether one block does a step about as fast as a launch starts."""
    weights = work = 0
    for node in nodes:
        body = node.body
        for m in body.nodes.values():
            if m.op.kind == "contraction":
                spec = m.attrs["spec"]
                if spec.g or spec.groups:
                    return False
                rows, (columns, depth) = numel(spec.m), spec.sizes[1:]
                if not (isinstance(rows, Batch) and isinstance(columns, int) and isinstance(depth, int)):
                    return False
                weights += columns * depth * BYTES[m.types[0].dtype]
                work += cost.SCAN_SAMPLES * rows.multiple * columns * depth
    return weights <= cost.SCAN_BYTES and work <= cost.SCAN_MULTIPLY_ADDS


def _group(b: _Builder, node: Node, first: Expr, samples: Expr, target: Target) -> Sequence[Buffer]:
    """Emit a group's code for the samples of a block. Gives the buffers: operands, results."""
    body = node.body
    anchor = node.anchor
    if anchor is not None:
        parts = anchored(node, anchor, target)
        b.own = _own(body, parts.buffers, first)
        contraction.lower_samples(
            b,
            parts.spec,
            parts.a,
            parts.b,
            parts.epilogue,
            first,
            samples,
            cost.SCAN_SAMPLES,
            cost.SCAN_THREADS,
        )
        return parts.buffers
    supported(body, node.label)
    inputs, outputs = parameters(body)
    b.own = _own(body, inputs, first)
    domain = domain_of(body)
    each = numel(domain.reduced_shape)
    assert isinstance(each, Batch)
    element = element_of(b, Inliner(body, inputs, b), domain, outputs)
    start = b.let(first * each.multiple)
    with b.loop("e", THREAD, samples * each.multiple, cost.SCAN_THREADS) as e:
        element.by_thread(b.let(start + e))
    return [*inputs, *outputs]


def _own(body: Graph, buffers: Sequence[Buffer], first: Expr) -> dict[Buffer, Expr]:
    """For each operand, the element at which the samples of a block begin."""
    sizes = [numel(body.type(v).shape) for v in body.inputs.values()]
    return {x: first * size.multiple for x, size in zip(buffers, sizes) if isinstance(size, Batch)}


@dataclass
class _Arguments:
    """The parameters of the kernel. Buffers at one place are one parameter. A state is double-buffered, so
    any two parameters may be the same memory."""

    count: int
    known: dict[object, Buffer] = field(default_factory=dict)
    refs: list[Ref] = field(default_factory=list)

    def place(self, buffer: Buffer, ref: Ref, t: Expr) -> tuple[Buffer, Expr]:
        """The parameter that a buffer is in, and how many elements behind its start the buffer begins at step
        t."""
        back = ref.step.fixed < 0 or ref.step.per_sample < 0
        step, steps = ref.step, t
        offset = ref.offset
        if back:  # parameters point to the lowest address
            offset = offset + step * (self.count - 1)
            step, steps = step * -1, (self.count - 1) - t
        shift = steps * _elements(step, buffer)
        if ref.alternate != Size():
            shift = shift + (t + ref.parity) % 2 * _elements(ref.alternate, buffer)
        key = (ref.region, ref.index, offset, buffer.dtype)
        if key not in self.known:
            self.known[key] = Buffer(f"p{len(self.known)}", buffer.dtype)
            self.refs.append(Ref(ref.region, ref.index, offset))
        return self.known[key], shift


def _elements(size: Size, buffer: Buffer) -> Expr:
    width = BYTES[buffer.dtype]
    if size.fixed % width or size.per_sample % width:
        raise ValueError(f"{buffer.name}: {size} is no number of elements of {width} bytes")
    return loops.N * (size.per_sample // width) + size.fixed // width


def rebased(body: Sequence[Stmt], places: Mapping[Buffer, tuple[Buffer, Expr]]) -> tuple[Stmt, ...]:
    """The statements with their accesses rebased: one to a buffer of `places` goes to another buffer, so many
    elements further. An expression that several statements have in common stays one."""
    known: dict[int, Expr] = {}

    def expression(e: Expr) -> Expr:
        if id(e) not in known:
            made = loops.map_children(e, expression)
            if isinstance(made, loops.Load) and made.buffer in places:
                buffer, shift = places[made.buffer]
                made = replace(made, buffer=buffer, index=made.index + shift)
            known[id(e)] = made
        return known[id(e)]

    def statement(s: Any) -> Any:
        parts: dict[str, Any] = {}
        for f in fields(s):
            value = getattr(s, f.name)
            if isinstance(value, tuple):
                parts[f.name] = tuple(map(statement, value))
            elif isinstance(value, Expr) and f.name != "var":
                parts[f.name] = expression(value)
        if isinstance(s, loops.Store) and s.buffer in places:
            buffer, shift = places[s.buffer]
            parts |= {"buffer": buffer, "index": parts["index"] + shift}
        return replace(s, **parts)

    return tuple(map(statement, body))

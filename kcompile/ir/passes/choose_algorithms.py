"""choose_algorithms: each contraction's index maps are written out, and kernels are packed in panels.

`matmul`, `conv` and the rest become `contract`; where the target's kernels want operand B in panels,
a `pack_panels` node makes them, which staging hoists out of the run when B depends on weights alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kcompile.ir.contraction import Contraction
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.ops.scan_build import build
from kcompile.ir.passes.absorb_layouts import absorb_layouts
from kcompile.ir.rewrite import rebuild, weights_only
from kcompile.ir.tensor import Tensor

Width = Callable[[Contraction, bool, str], "int | None"]
Halves = Callable[[Contraction, bool], "Contraction | None"]


def choose_algorithms(
    graph: Graph,
    panel_width: Width,
    frozen: bool = True,
    fixed: frozenset[int] = frozenset(),
    columns_last: bool = False,
    halves: Halves = lambda spec, constant: None,
    near: frozenset[int] = frozenset(),
) -> Graph:
    """See the module. panel_width(maps, B is the same in many calls, its dtype) -> width of panels or None.
    halves(maps of rounded operands, B is the same in many calls) -> maps of words, where the target
    multiplies these; the contraction then rounds its operands itself.

    frozen: weights stay the same from call to call. In the body of a scan the invariants do from step
    to step (`fixed`: their nodes), and panels of them are made before the loop; or, with `columns_last`,
    a B among them has its columns next to each other in memory, so that neighbours read neighbours. near:
    inputs of the body that are rounded before the loop.
    """
    unchanging = _with_dependants(graph, fixed.union(weights_only(graph, graph.live()) if frozen else ()))

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        if node.op.loop:
            return _in_body(new, node, inputs, panel_width, columns_last, halves)
        if node.op.kind != "contraction" or "spec" in node.attrs:
            return None
        assert node.op.contraction is not None
        spec = node.op.contraction(*(new.type(v) for v in inputs), **node.attrs)
        spec, operands = absorb_layouts(new, spec, inputs)
        slot = spec.b.operand
        constant, dtype = node.inputs[slot].node in unchanging, new.type(inputs[slot]).dtype
        whole = [_before_rounding(new, v, near) for v in operands]
        words: dict[str, Any] = {}
        maps = halves(spec, constant) if None not in whole else None
        if maps is not None:
            words, operands = {"words": True}, [v for v in whole if v is not None]
        width = None if spec.g else panel_width(maps or spec, constant, "uint32" if words else dtype)
        if width is not None:
            packed = new.add("pack_panels", [operands[slot]], spec=spec.of_b, width=width, **words)
            operands[slot] = Value(packed.id)
        elif columns_last and node.inputs[slot].node in fixed:
            operands[slot], spec = _columns_last(new, spec, operands[slot])
        return [Value(new.add("contract", operands, spec=spec, panels=width, **words).id)]

    return rebuild(graph, rule)


def _with_dependants(graph: Graph, found: frozenset[int]) -> frozenset[int]:
    """Nodes, and those that are these rounded."""
    made = set(found)
    for node in graph.live():
        if node.op.rounds and node.inputs[0].node in made:
            made.add(node.id)
    return frozenset(made)


def _before_rounding(new: Graph, value: Value, near: frozenset[int]) -> Value | None:
    """What a value is rounded from: itself where it is rounded elsewhere. Behind what moves elements, it is
    moved. None where it is not rounded."""
    node = new.nodes[value.node]
    if node.op.rounds or value.node in near:
        return node.inputs[0] if node.op.rounds else value
    if not (node.op.view or node.op.permutes):
        return None
    inner = _before_rounding(new, node.inputs[0], near)
    return None if inner is None else Value(new.add_again(node, [inner]).id)


def _columns_last(new: Graph, spec: Contraction, operand: Value) -> tuple[Value, Contraction]:
    """Operand B with the dims that its columns run over behind all others, and its map."""
    first = len(spec.m) + len(spec.k)
    of_columns = [
        bool(affine.terms) and all(variable >= first for variable, _ in affine.terms)
        for affine in spec.b.index
    ]
    axes = sorted(range(len(of_columns)), key=of_columns.__getitem__)
    if spec.g or axes == sorted(axes):
        return operand, spec
    turned = new.add("transpose", [operand], axes=tuple(axes))
    access = replace(
        spec.b, index=tuple(spec.b.index[i] for i in axes), guarded=tuple(spec.b.guarded[i] for i in axes)
    )
    return Value(turned.id), replace(spec, b=access)


def _in_body(
    new: Graph, node: Node, inputs: tuple[Value, ...], panel_width: Width, columns_last: bool, halves: Halves
) -> list[Value]:
    attrs, operands = node.attrs, [Tensor(new, v) for v in inputs]
    k, s = attrs["states"], attrs["states"] + attrs["steps"]
    given = [v.node for v in node.body.inputs.values()]
    near = frozenset(v for v, x in zip(given[k:], inputs[k:]) if new.nodes[x.node].op.rounds)
    body = choose_algorithms(
        node.body,
        panel_width,
        fixed=frozenset(given[s:]),
        columns_last=columns_last,
        halves=halves,
        near=near,
    )
    finals, outs = build(
        new, body, operands[:k], operands[k:s], operands[s:], attrs["length"], attrs["reverse"]
    )
    return [x.value for x in (*finals, *outs)]

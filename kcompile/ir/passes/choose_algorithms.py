"""choose_algorithms: each contraction's index maps are written out, and kernels are packed in panels.

`matmul`, `conv` and the rest become `contract`; where the target's kernels want operand B in panels,
a `pack_panels` node makes them, which staging hoists out of the run when B depends on weights alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kcompile.ir.contraction import Contraction
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.ops.scan_build import build
from kcompile.ir.rewrite import rebuild, weights_only
from kcompile.ir.tensor import Tensor

Width = Callable[[Contraction, bool, str], "int | None"]


def choose_algorithms(
    graph: Graph,
    panel_width: Width,
    frozen: bool = True,
    fixed: frozenset[int] = frozenset(),
    columns_last: bool = False,
) -> Graph:
    """See the module. panel_width(maps, B is the same in many calls, its dtype) -> width of panels or None.

    frozen: weights stay the same from call to call. In the body of a scan the invariants do from step
    to step (`fixed`: their nodes), and panels of them are made before the loop; or, with `columns_last`,
    a B among them has its columns next to each other in memory, so that neighbours read neighbours.
    """
    unchanging = fixed.union(weights_only(graph, graph.live()) if frozen else ())

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        if node.op.loop:
            return _in_body(new, node, inputs, panel_width, columns_last)
        if node.op.kind != "contraction" or "spec" in node.attrs:
            return None
        assert node.op.contraction is not None
        spec = node.op.contraction(*(new.type(v) for v in inputs), **node.attrs)
        slot = spec.b.operand
        constant, dtype = node.inputs[slot].node in unchanging, new.type(inputs[slot]).dtype
        width = None if spec.g else panel_width(spec, constant, dtype)
        operands = list(inputs)
        if width is not None:
            packed = new.add("pack_panels", [inputs[slot]], spec=spec.of_b, width=width)
            operands[slot] = Value(packed.id)
        elif columns_last and node.inputs[slot].node in fixed:
            operands[slot], spec = _columns_last(new, spec, inputs[slot])
        return [Value(new.add("contract", operands, spec=spec, panels=width).id)]

    return rebuild(graph, rule)


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
    new: Graph, node: Node, inputs: tuple[Value, ...], panel_width: Width, columns_last: bool
) -> list[Value]:
    attrs, operands = node.attrs, [Tensor(new, v) for v in inputs]
    k, s = attrs["states"], attrs["states"] + attrs["steps"]
    fixed = frozenset(v.node for v in list(node.body.inputs.values())[s:])
    body = choose_algorithms(node.body, panel_width, fixed=fixed, columns_last=columns_last)
    finals, outs = build(
        new, body, operands[:k], operands[k:s], operands[s:], attrs["length"], attrs["reverse"]
    )
    return [x.value for x in (*finals, *outs)]

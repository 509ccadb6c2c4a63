"""choose_algorithms: each contraction's index maps are written out, and kernels are packed in panels.

`matmul`, `conv` and the rest become `contract`; where the target's kernels want operand B in panels,
a `pack_panels` node makes them, which staging hoists out of the run when B depends on weights alone.
"""

from __future__ import annotations

from collections.abc import Callable

from kcompile.ir.contraction import Contraction
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.passes.rewrite import rebuild, weights_only
from kcompile.ir.tensor import Tensor

Width = Callable[[Contraction, bool], "int | None"]


def choose_algorithms(graph: Graph, panel_width: Width, frozen: bool = True,
                      fixed: frozenset[int] = frozenset()) -> Graph:
    """See the module. panel_width(maps, B is the same in many calls) -> width of panels or None.

    frozen: weights stay the same from call to call. In the body of a scan the invariants do from step
    to step (`fixed`: their nodes), and panels of them are made before the loop.
    """
    early = weights_only(graph, graph.live()) if frozen else set()
    early |= fixed

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        if node.op.name == "scan":
            return _in_body(new, node, inputs, panel_width)
        if node.op.kind != "contraction" or node.op.name == "contract":
            return None
        assert node.op.contraction is not None
        spec = node.op.contraction(*(new.type(v) for v in inputs), **node.attrs)
        slot = spec.b.operand
        width = panel_width(spec, node.inputs[slot].node in early)
        operands = list(inputs)
        if width is not None:
            packed = new.add("pack_panels", [inputs[slot]], spec=spec, width=width)
            operands[slot] = Value(packed.id)
        return [Value(new.add("contract", operands, spec=spec, panels=width, n=0).id)]

    return rebuild(graph, rule)


def _in_body(new: Graph, node: Node, inputs: tuple[Value, ...], panel_width: Width) -> list[Value]:
    from kcompile.ir.scan import build  # which is written with the tools of passes itself

    attrs, operands = node.attrs, [Tensor(new, v) for v in inputs]
    k, s = attrs["states"], attrs["states"] + attrs["steps"]
    fixed = frozenset(v.node for v in list(attrs["body"].inputs.values())[s:])
    body = choose_algorithms(attrs["body"], panel_width, fixed=fixed)
    finals, outs = build(new, body, operands[:k], operands[k:s], operands[s:], attrs["length"],
                         attrs["reverse"])
    return [x.value for x in (*finals, *outs)]

"""From a fused group to a kernel for processors: enters a `group` node, leaves a `Kernel`.

The loops run over the elements of the result (`nests`), and the ops of the group are inlined into them
(`groups.elements`). Contractions have loops of their own (`contraction`); the rest of their group is
inlined into their epilogue.
"""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.codegen import cost, loops
from kcompile.codegen.contraction.nests import lower_contraction
from kcompile.codegen.contraction.packing import lower_pack
from kcompile.codegen.contraction.winograd import lower_winograd
from kcompile.codegen.cpu.chains import lower_chain
from kcompile.codegen.cpu.nests import LoopNest
from kcompile.codegen.cpu.scatter import lower_scatter
from kcompile.codegen.groups.elements import Inliner, Windows, lanes_of, parameters
from kcompile.codegen.groups.epilogue import anchored
from kcompile.codegen.groups.operands import Source
from kcompile.codegen.loops import Expr, Function
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.loops.indexing import flatten
from kcompile.codegen.program import Kernel, Launch, Ref
from kcompile.codegen.targets import Target
from kcompile.ir.domain import domain_of
from kcompile.ir.graph import Node
from kcompile.ir.ops.winograd import Tiling


def lower_group(
    name: str, node: Node, target: Target, aliased: bool = False, windows: Windows = ()
) -> Kernel:
    """The kernel of a group. Its buffers are the group's operands, then its results. `aliased`: a
    result may be written over an operand. windows: of the buffers, empty where none has one."""
    body = node.body
    if node.is_chain:
        return lower_chain(name, node, target)
    if node.anchor is not None:
        return _lower_anchored(name, node, node.anchor, target, aliased, windows)
    scatter = next((m for m in body.nodes.values() if m.op.kind == "scatter"), None)
    if scatter is not None:
        return lower_scatter(name, node, scatter, target, aliased)
    packing = _lower_packing(name, node, target) if not any(windows) else None
    if packing is not None:
        return packing
    inputs, outputs = parameters(body, windows)
    b = Builder(target, lanes_of(body, target))
    weights = {m.id: cost.weight(m) for m in body.live()}
    extent, work = LoopNest(
        b, Inliner(body, inputs, b), body, domain_of(body), list(zip(body.outputs.values(), outputs)), weights
    ).emit()
    function = Function(name, (*inputs, *outputs), tuple(b.blocks[0]), node.label, aliased)
    return Kernel(function, extent, work)


def _lower_packing(name: str, node: Node, target: Target) -> Kernel | None:
    """The kernel of a group that packs an operand of a contraction, where that has one of its own."""
    body = node.body
    root = next((m for m in body.nodes.values() if m.op.kind == "movement" and "width" in m.attrs), None)
    if root is None or root.attrs.get("words", False) or body.nodes[root.inputs[0].node].op.origin != "input":
        return None
    (buffer,), (made,) = parameters(body)
    shape = body.type(root.inputs[0]).shape

    def at(index: Index, mask: Expr | None) -> Expr:
        return loops.load(buffer, flatten(index, shape), mask)

    source = Source(at, buffer, shape, dtype=buffer.dtype)
    return lower_pack(name, root.attrs["spec"], source, made, root.attrs["width"], target, node.label)


def _lower_anchored(
    name: str, node: Node, anchor: Node, target: Target, aliased: bool, windows: Windows
) -> Kernel:
    """The kernel of a group whose anchor is a contraction."""
    parts = anchored(node, anchor, target, windows)
    if anchor.op.name == "winograd":
        tiling = Tiling(parts.spec, anchor.attrs["outputs"])
        kernel = lower_winograd(name, tiling, parts.a, parts.b, parts.direct, parts.epilogue, target)
    else:
        kernel = lower_contraction(
            name,
            parts.spec,
            parts.a,
            parts.b,
            parts.epilogue,
            target,
            b_panels=parts.panels,
            words=parts.words,
        )
    return parts.kernel(kernel, node.label, aliased)


def lower_persistent(
    name: str, groups: Sequence[tuple[Node, Sequence[Ref]]], count: int, target: Target
) -> Launch | None:
    """None: the steps of a scan are launches, which a thread runs over samples of its own."""
    return None

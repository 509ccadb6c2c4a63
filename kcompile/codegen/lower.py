"""From a fused group to a kernel: enters a `group` node's body, leaves a `loops.Function`.

The loops run over the elements of the result (`sweeps`), and each op's rule pulls what it needs
(`pull`). Contractions have loops of their own (`contraction`); the rest of their group is pulled in
their epilogue.
"""

from __future__ import annotations

from kcompile.codegen.cpu.nests import Sweeps
from kcompile.codegen.groups.elements import Pull, parameters
from kcompile.codegen.loops import BYTES, Function
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.program import Kernel, Size
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Node
from kcompile.ir.space import space_of
from kcompile.ir.types import Batch, TensorType, numel

EXPENSIVE = 12  # operations that a transcendental function counts for
ACCESS = 2  # and reading memory beyond the nearest cache


class Kernels:
    """The kernels of an entry: groups that compute the same have one. Deep models are made of equal
    layers, and their code is made once."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.made: dict[object, Kernel] = {}

    def of(self, node: Node, name: str, aliased: bool = False) -> Kernel:
        """The kernel of a group; see `lower_group`. name: it is called so where it is new."""
        body: Graph = node.attrs["body"]
        key = (signature(body), aliased)
        if key not in self.made:
            self.made[key] = lower_group(f"{name}_{body.name}", node, self.target, aliased)
        return self.made[key]


def signature(body: Graph) -> object:
    """What a group computes, whatever layer it is from: equal for bodies that need the same code."""
    return (
        tuple((m.op.name, m.inputs, tuple(sorted(m.attrs.items())), m.types) for m in body.nodes.values()),
        tuple(body.outputs.values()),
    )


def lower_group(name: str, node: Node, target: Target, aliased: bool = False) -> Kernel:
    """The kernel of a group. Its buffers are the group's operands, then its results. `aliased`: a
    result may be written over an operand."""
    if target.is_gpu:
        from kcompile.codegen.gpu.schedules import lower_group as with_blocks

        return with_blocks(name, node, target, aliased)
    body: Graph = node.attrs["body"]
    anchor = next((m for m in body.nodes.values() if m.op.kind == "contraction"), None)
    if anchor is not None:
        from kcompile.codegen.groups.epilogue import lower_anchored

        return lower_anchored(name, node, anchor, target, aliased)
    scatter = next((m for m in body.nodes.values() if m.op.kind == "scatter"), None)
    if scatter is not None:
        from kcompile.codegen.cpu.scatter import lower_scatter

        return lower_scatter(name, node, scatter, target, aliased)
    inputs, outputs = parameters(body)
    b = Builder(target, lanes_of(body, target))
    weights = {m.id: weight(m) for m in body.live()}
    extent, work = Sweeps(
        b, Pull(body, inputs, b), body, space_of(body), list(zip(body.outputs.values(), outputs)), weights
    ).emit()
    function = Function(name, (*inputs, *outputs), tuple(b.blocks[0]), node.label, aliased)
    return Kernel(function, extent, work)


def lanes_of(body: Graph, target: Target) -> int:
    """Elements in a vector: of the widest dtype in the body, and not narrower than float32."""
    dtypes = {t.dtype for m in body.nodes.values() for t in m.types if t.dtype != "bool"}
    return min(target.lanes(dtype) for dtype in ("float32", *dtypes))


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


def buffer_bytes(type: TensorType) -> Size:
    """Bytes of a value, rounded up to whole cache lines (for each sample, when it has the batch)."""
    count, width = numel(type.shape), BYTES[type.dtype]
    if isinstance(count, Batch):
        return Size(0, -(-count.multiple * width // 64) * 64)
    return Size(-(-count * width // 64) * 64)

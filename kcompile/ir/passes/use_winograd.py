"""use_winograd: convolutions of stride 1 whose kernel is known ahead, by fewer multiplications.

    conv(x, w)  ->  winograd(x, transformed w)

A convolution in groups becomes one for each. The kernel is transformed by ordinary ops, which staging takes
out of the run. For graphs that do not update their weights (predict, test): results differ by a few 1e-6 of
the largest.
"""

from __future__ import annotations

from collections.abc import Callable

from kcompile.ir.contraction import Contraction
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.ops.movement import concatenate, slice_
from kcompile.ir.ops.winograd import winograd
from kcompile.ir.rewrite import rebuild, weights_only
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import static

Choose = Callable[[Contraction, bool], "tuple[tuple[int, ...], int] | None"]


def use_winograd(graph: Graph, choose: Choose) -> Graph:
    """See the module. choose(maps of a convolution, whether its operands are rounded) -> (outputs of a tile,
    columns of a panel), or None where the direct algorithm is better."""
    prepare_time = weights_only(graph, graph.live())

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> Tensor | None:
        if (
            node.op.name != "conv"
            or node.inputs[1].node not in prepare_time
            or node.types[0].dtype != "float32"
            or any(d != 1 for d in (*node.attrs["strides"], *node.attrs["dilation"]))
        ):
            return None
        assert node.op.contraction is not None
        attrs = dict(node.attrs)
        groups = attrs.pop("groups", 1)
        x, kernel = (_parts(Tensor(new, v), groups) for v in inputs)
        spec = node.op.contraction(x[0].type, kernel[0].type, **attrs)
        chosen = choose(spec, all(new.nodes[v.node].op.rounds for v in inputs))
        if chosen is None:
            return None
        return concatenate([winograd(*part, spec, *chosen) for part in zip(x, kernel)])

    return rebuild(graph, rule)


def _parts(x: Tensor, groups: int) -> list[Tensor]:
    """The groups of the last axis."""
    if groups == 1:
        return [x]
    size, before = static(x.shape[-1:])[0] // groups, (0,) * (x.rank - 1)
    bounds = [(*before, i * size) for i in range(groups)]
    return [slice_(x, low, (*x.shape[:-1], low[-1] + size)) for low in bounds]

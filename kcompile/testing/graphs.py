"""Random graphs of elementwise ops, reductions, broadcasts, reshapes and concatenations, for tests of
fusion and of what comes after it. `graphs()` is a hypothesis strategy; `values(graph, n, seed)` makes its
operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, Dim, Shape, TensorType, bind, broadcast_shapes, numel

UNARY: tuple[Callable[[Tensor], Tensor], ...] = (
    ops.exp,
    ops.tanh,
    ops.relu,
    ops.square,
    lambda x: -x,
    lambda x: x * 0.5,
    lambda x: x + 0.25,
    ops.sigmoid,
)
BINARY: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    ops.maximum,
    lambda x, y: x / (ops.square(y) + 1.0),
    lambda x, y: ops.select(x > y, x, y * 0.5),
)
REDUCE: tuple[Callable[..., Tensor], ...] = (ops.reduce_sum, ops.reduce_mean, ops.reduce_max)


def _shapes(draw: Any) -> list[tuple[Dim, ...]]:
    """A full shape and what broadcasts to it."""
    last = draw(st.sampled_from((1, 3, 10, 16, 20, 48, 64, 70)))
    rows = draw(st.sampled_from((1, 2, 5)))
    full: tuple[Dim, ...] = draw(
        st.sampled_from(
            (
                (Batch(), last),
                (Batch(), rows, last),
                (Batch(), rows, 3, last),
                (rows, last),
                (Batch(), 5, 5),
                (4, 4),
            )
        )
    )
    return [full, full, full[-1:], (1,) * (len(full) - 1) + full[-1:], full[:-1] + (1,), ()]


def _step(draw: Any, known: list[Tensor]) -> Tensor | None:
    x = draw(st.sampled_from(known[-6:]))
    kind = draw(st.integers(0, 8))
    if kind <= 1:
        unary: Callable[[Tensor], Tensor] = draw(st.sampled_from(UNARY))
        return unary(ops.tanh(x) if draw(st.booleans()) else x * 0.3)
    if kind <= 4:
        y = draw(st.sampled_from(known))
        try:
            numel(broadcast_shapes(x.shape, y.shape))  # not all broadcast, nor n * n
        except ValueError:
            return None
        binary: Callable[[Tensor, Tensor], Tensor] = draw(st.sampled_from(BINARY))
        return binary(x, y)
    if kind <= 6 and x.rank:
        first = draw(st.integers(0, x.rank - 1))
        axes = draw(st.sampled_from((range(first, x.rank), range(first + 1), (first,))))
        reduction: Callable[..., Tensor] = draw(st.sampled_from(REDUCE))
        return reduction(x * 0.3, list(axes), draw(st.booleans()))
    if kind == 8 and x.rank >= 2 and isinstance(x.shape[axis := draw(st.integers(1, x.rank - 1))], int):
        beside = [y for y in known if y.rank == x.rank and _but(y.shape, axis) == _but(x.shape, axis)]
        return ops.concatenate([x, *draw(st.lists(st.sampled_from(beside), min_size=1, max_size=2))], axis)
    if x.rank >= 2 and isinstance(x.shape[1], int):
        swapped = [1, 0] if x.rank == 2 else [0, *range(2, x.rank), 1]
        return (
            ops.transpose(x, swapped)
            if draw(st.booleans())
            else ops.reshape(x, (x.shape[0], *(d for d in x.shape[1:] if d != 1)))
        )
    return None


def _but(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def _product(draw: Any, known: list[Tensor]) -> Tensor | None:
    """A product with a kernel, or a convolution of each sample."""
    x = draw(st.sampled_from(known[-6:]))
    if x.rank < 2 or not isinstance(x.shape[0], Batch) or any(isinstance(d, Batch) for d in x.shape[1:]):
        return None
    spatial = x.rank - 2
    taps = [draw(st.sampled_from((1, 3))) for _ in range(spatial)]
    shape = (*taps, x.shape[-1], draw(st.sampled_from((3, 16))))
    kernel = Tensor(x.graph, x.graph.variable(f"k{len(x.graph.variables)}", TensorType(shape))) * 0.3
    if not spatial:
        return ops.matmul(x, kernel)
    padding = tuple((r // 2, r // 2) for r in taps)
    return ops.conv(x, kernel, (1,) * spatial, padding, (1,) * spatial)


@st.composite
def graphs(draw: Any, contractions: bool = False) -> Graph:
    """A strategy of graphs: inputs x0, x1, ..., a variable w with an update, several outputs; with
    contractions, also products and convolutions with kernels k0, k1, ..."""
    graph = Graph("random")
    shapes = _shapes(draw)
    known = [Tensor(graph, graph.input(f"x{i}", TensorType(s))) for i, s in enumerate(shapes)]
    weight = Tensor(graph, graph.variable("w", TensorType(shapes[2])))
    known.append(weight)
    for _ in range(draw(st.integers(3, 14))):
        product = contractions and draw(st.integers(0, 3)) == 0
        made = _product(draw, known) if product else _step(draw, known)
        if made is not None:
            known.append(made)
    for number in range(draw(st.integers(1, 3))):
        graph.outputs[f"y{number}"] = draw(st.sampled_from(known[-5:])).value
    change = [x for x in known if x.shape == weight.shape]
    graph.updates["w"] = (weight * 0.9 + change[-1] * 0.1).value
    return graph


def values(graph: Graph, n: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(inputs, variables) by name, float32."""
    generator = np.random.default_rng(seed)

    def make(named: dict[str, Any]) -> dict[str, np.ndarray]:
        return {
            name: generator.uniform(-1, 1, bind(graph.type(v).shape, n)).astype(np.float32)
            for name, v in named.items()
        }

    return make(graph.inputs), make(graph.variables)

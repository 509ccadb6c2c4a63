"""A small graph for each pass, and what the pass makes of it, as text: `python tests/ir/golden.py` writes
`golden/NAME.txt` anew. A change of a pass shows there what it changes; read the difference.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # else the tests' configuration has set the path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ir.pass_targets import TARGETS, Eager

from kcompile.ir import ops, passes
from kcompile.ir.graph import Graph, Source, Value
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import Batch, TensorType

FOLDER = Path(__file__).resolve().parent / "golden"
N = Batch()


def names() -> set[str]:
    """Of all passes that some pipeline has."""
    return {
        step.name.partition(".")[0]
        for target in TARGETS.values()
        for frozen in (True, False)
        for step in passes.pipeline(target, frozen)
    }


def step_of(name: str) -> passes.Pass:
    """The pass as a pipeline has it, for a target that wants everything."""
    both = (*passes.pipeline(Eager(), True), *passes.pipeline(Eager(), False))
    return next(step for step in both if step.name == name)


def text(name: str) -> str:
    """A graph before and after the pass."""
    graph = EXAMPLES[name]()
    graph.verify()
    after = step_of(name)(graph)
    return f"{graph.text()}\n\n---- after {name} ----\n\n{passes.text(after)}\n"


# ---------------------------------------------------------------- the graphs


def tensor(graph: Graph, name: str, *shape: int | Batch, dtype: str = "float32") -> Tensor:
    return Tensor(graph, graph.input(name, TensorType(shape, dtype)))


def weight(graph: Graph, name: str, *shape: int) -> Tensor:
    return Tensor(graph, graph.variable(name, TensorType(shape)))


def check_indices() -> Graph:
    graph = Graph("embedding")
    numbers = tensor(graph, "numbers", N, 3, dtype="int32")
    with graph.source(Source("words")):
        graph.outputs["rows"] = ops.gather(weight(graph, "table", 10, 4), numbers).value
    return graph


def running_sum(extra: bool) -> Graph:
    body = Graph("step")
    h, x = (tensor(body, name, N, 2) for name in ("h", "x"))
    total = h + x
    body.outputs["h"] = total.value
    if extra:
        body.outputs["saved"] = ops.tanh(total).value
    return body


def scans(*bodies: Graph) -> Graph:
    graph = Graph("scans")
    start, x = tensor(graph, "start", N, 2), tensor(graph, "x", 5, N, 2)
    for i, body in enumerate(bodies):
        with graph.source(Source(f"rnn_{i}")):
            node = graph.add(
                "scan", [start.value, x.value], regions=(body,), length=5, states=1, steps=1, reverse=False
            )
        graph.outputs[f"y{i}"] = Value(node.id, len(node.types) - 1)
    return graph


def merge_scans() -> Graph:
    return scans(running_sum(False), running_sum(True))


def simplify() -> Graph:
    """Neutral numbers, equal nodes, transposes that cancel; in the step of a scan likewise."""
    body = Graph("step")
    h, x = (tensor(body, name, N, 2) for name in ("h", "x"))
    body.outputs["h"] = (ops.tanh(x * 1.0) + ops.tanh(x) + h).value
    graph = scans(body)
    y = Tensor(graph, graph.outputs["y0"])
    again = ops.transpose(ops.transpose(y + 0.0, (1, 0)), (1, 0))
    graph.outputs["y0"] = (again - ops.broadcast_to(constant(graph, 2.0), (N, 2))).value
    return graph


def fold_constants() -> Graph:
    graph = Graph("constants")
    x = tensor(graph, "x", N, 4)
    scale = constant(graph, np.arange(4, dtype=np.float32)) + 1.0
    graph.outputs["y"] = (x * ops.reshape(scale, (1, 4))).value
    graph.outputs["z"] = (x * ops.exp(scale)).value  # exp is not the same on every machine
    return graph


def sink_layouts() -> Graph:
    graph = Graph("channels_first")
    x = tensor(graph, "x", N, 8, 4)
    y = ops.relu(ops.transpose(x, (0, 2, 1)) + weight(graph, "bias", 4, 1))
    graph.outputs["y"] = ops.transpose(y, (0, 2, 1)).value
    both = ops.concatenate([y, ops.reverse(ops.transpose(x, (0, 2, 1)), (2,))], 1)
    graph.outputs["z"] = ops.transpose(both, (0, 2, 1)).value
    return graph


def factor_sums() -> Graph:
    graph = Graph("sums")
    x = tensor(graph, "x", N, 4)
    graph.outputs["y"] = ops.reduce_sum(-(x * weight(graph, "scale", 4)), 0).value
    return graph


def compact_scatters() -> Graph:
    graph = Graph("descent")
    table, numbers = weight(graph, "table", 1000, 4), tensor(graph, "numbers", N, dtype="int32")
    gradient = ops.scatter_rows(tensor(graph, "gradient", N, 4), numbers, 1000)
    graph.updates["table"] = (table - gradient * 0.1).value
    return graph


def split_reductions() -> Graph:
    graph = Graph("mean")
    graph.outputs["y"] = ops.reduce_sum(tensor(graph, "x", N, 32, 32, 8), (0, 1, 2)).value
    return graph


def fold_batch_norm() -> Graph:
    graph = Graph("batch_norm")
    x = tensor(graph, "x", N, 8)
    kernel, bias, scale, shift = (
        weight(graph, name, *shape)
        for name, shape in (("kernel", (8, 4)), ("bias", (4,)), ("scale", (4,)), ("shift", (4,)))
    )
    with graph.source(Source("dense")):
        y = ops.matmul(x, kernel) + bias
    with graph.source(Source("norm")):
        graph.outputs["y"] = (y * scale + shift).value
    return graph


def convolution(dilation: int) -> Graph:
    graph = Graph("convolution")
    x, kernel = tensor(graph, "x", N, 8, 3), weight(graph, "kernel", 3, 3, 4)
    with graph.source(Source("conv")):
        padding = ((dilation, dilation),)
        graph.outputs["y"] = ops.conv(x, kernel, (1,), padding, (dilation,)).value
    return graph


def use_winograd() -> Graph:
    return convolution(1)


def choose_algorithms() -> Graph:
    return convolution(2)


def stage() -> Graph:
    graph = Graph("stages")
    x, kernel = tensor(graph, "x", N, 4), weight(graph, "kernel", 4, 4)
    graph.outputs["y"] = (x * ops.tanh(kernel)[0] + ops.reshape(kernel, (16,))[0]).value
    return graph


def fuse() -> Graph:
    """A dense layer with its bias, a softmax, and a loss beside them."""
    graph = Graph("classifier")
    x, label = tensor(graph, "x", N, 8), tensor(graph, "label", N, 4)
    with graph.source(Source("dense")):
        y = ops.relu(ops.matmul(x, weight(graph, "kernel", 8, 4)) + weight(graph, "bias", 4))
    with graph.source(Source("softmax")):
        p = ops.softmax(y)
    graph.outputs["p"] = p.value
    graph.outputs["loss"] = ops.reduce_sum(ops.square(p - label), -1).value
    return step_of("choose_algorithms")(graph)[0]


def chain_rows() -> Graph:
    """Attention with the heads inside."""
    graph = Graph("attention")
    q, k, v = (tensor(graph, name, N, 6, 2, 4) for name in ("q", "k", "v"))
    with graph.source(Source("attention")):
        weights = ops.softmax(ops.einsum("nthd,nshd->nhts", q, k) * 0.5)
        graph.outputs["y"] = ops.einsum("nhts,nshd->nhtd", weights, v).value
    return step_of("fuse")(step_of("choose_algorithms")(graph)[0])[0]


EXAMPLES: dict[str, Callable[[], Graph]] = {
    f.__name__: f
    for f in (
        check_indices,
        merge_scans,
        simplify,
        fold_constants,
        sink_layouts,
        factor_sums,
        compact_scatters,
        split_reductions,
        fold_batch_norm,
        use_winograd,
        choose_algorithms,
        stage,
        fuse,
        chain_rows,
    )
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for name in EXAMPLES:
        (FOLDER / f"{name}.txt").write_text(text(name))

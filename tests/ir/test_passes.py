"""Passes on small graphs: what they make of them, and that they keep the values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from ir.pass_targets import TARGETS, Plain, check_each

from kcompile.ir import interpreter, ops, passes
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.passes import PassTarget
from kcompile.ir.rewrite import in_regions
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.testing.graphs import graphs, values

N = Batch()
PLAIN = Plain()


def groups(graph: Graph) -> list[Node]:
    return [m for m in graph.live() if m.op.name == "group"]


def names(group: Node) -> set[str]:
    return {m.op.name for m in group.body.nodes.values()}


def fused(graph: Graph, target: PassTarget = PLAIN) -> Graph:
    return passes.run_passes(graph, passes.pipeline(target, frozen=False))[-1]


def same_values(before: Graph, after: Graph, n: int = 3) -> None:
    inputs, variables = values(before, n, 0)
    right = interpreter.run(before, n, inputs, variables, "float64")
    got = interpreter.run(after, n, inputs, variables, "float64")
    for name, expected in {**right.outputs, **right.updates}.items():
        found = {**got.outputs, **got.updates}[name]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "training"])
@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=20)
@given(graph=graphs(contractions=True))
def test_every_pass_keeps_the_values_of_random_graphs(target: str, frozen: bool, graph: Graph) -> None:
    check_each(graph, passes.pipeline(TARGETS[target], frozen), 3, *values(graph, 3, 0))


@settings(max_examples=40)
@given(graph=graphs())
def test_without_row_passes_results_of_a_group_have_one_shape(graph: Graph) -> None:
    made = fused(graph, Plain(row_passes=False))
    made.verify()
    same_values(graph, made)
    assert all(len({t.shape for t in m.types}) == 1 for m in groups(made))


def tensor(graph: Graph, name: str, *shape: object) -> Tensor:
    return Tensor(graph, graph.input(name, TensorType(shape)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- regions

# why a pass is not done to each region by itself
NOT_IN_REGIONS = {
    "check_indices": "it makes outputs of the whole graph, and looks into scans itself",
    "use_winograd": "kernels that are known ahead are variables, which a region has none of",
    "choose_algorithms": "what is constant from step to step, the scan around a region says",
    "stage": "it makes two graphs",
}


def test_passes_are_done_to_regions_unless_there_is_a_reason() -> None:
    steps = [step for t in TARGETS.values() for f in (True, False) for step in passes.pipeline(t, f)]
    assert {step.name for step in steps if not step.regions} == set(NOT_IN_REGIONS)


def within(graph: Graph) -> Graph:
    """The graph as the region of a group."""
    outer = Graph("outer")
    inputs = [outer.input(name, graph.type(v)) for name, v in graph.inputs.items()]
    node = outer.add("group", inputs, regions=(graph,))
    outer.outputs = {name: Value(node.id, i) for i, name in enumerate(graph.outputs)}
    return outer


def test_a_pass_is_done_to_regions_of_regions() -> None:
    inner = Graph("inner")
    x = tensor(inner, "x", N, 3)
    inner.outputs["y"] = (ops.tanh(x) + 0.0).value
    graph = within(within(inner))
    simplify = next(step for step in passes.pipeline(PLAIN, True) if step.name == "simplify")
    (made,) = simplify(graph)
    made.verify()
    assert "add(" in graph.text() and "add(" not in made.text()
    same_values(graph, made)


def test_regions_that_stay_are_shared() -> None:
    first, second = Graph("first"), Graph("second")
    for graph in (first, second):
        graph.outputs["y"] = ops.tanh(tensor(graph, "x", N, 3)).value
    outer = within(first)
    node = outer.add("group", [outer.outputs["y"]], regions=(second,))
    outer.outputs["z"] = Value(node.id)
    assert in_regions(outer, lambda region: region) is outer
    other = Graph("other")
    other.outputs["y"] = ops.exp(tensor(other, "x", N, 3)).value
    made = in_regions(outer, lambda region: other if region is second else region)
    made.verify()
    assert made.nodes[1] is outer.nodes[1] and made.nodes[2].body is other and outer.nodes[2].body is second


def test_a_pass_that_finds_nothing_in_a_region_leaves_it_as_it_is() -> None:
    region = Graph("region")
    region.outputs["y"] = ops.tanh(tensor(region, "x", N, 3)).value
    graph = within(within(region))
    for step in passes.pipeline(PLAIN, True):
        if step.name.startswith(("simplify", "fold_constants", "sink_layouts")):
            (made,) = step(graph)
            assert made.live()[-1].body is graph.live()[-1].body
    tall = Graph("region")
    tall.outputs["y"] = (ops.tanh(tensor(tall, "x", N, 3)) + 0.0).value
    (made,) = next(step for step in passes.pipeline(PLAIN, True) if step.name == "simplify")(within(tall))
    assert made.live()[-1].body is not tall and made.live()[-1].body.text() == region.text()


# ---------------------------------------------------------------- fuse


def test_softmax_is_one_kernel() -> None:
    graph = Graph("softmax")
    graph.outputs["p"] = ops.softmax(tensor(graph, "x", N, 10)).value
    (group,) = groups(fused(graph))
    assert {"reduce_max", "exp", "reduce_sum", "div"} <= names(group)


def test_softmax_crossentropy_and_their_gradient_are_one_kernel_and_a_sum() -> None:
    graph = Graph("loss")
    x, y = tensor(graph, "x", N, 10), tensor(graph, "y", N, 10)
    p = ops.softmax(x)
    share = p / ops.reduce_sum(p, -1, keepdims=True)
    each = -ops.reduce_sum(y * ops.log(ops.clip(share, 1e-7, 1 - 1e-7)), -1)
    loss = ops.reduce_mean(each)
    (dx,) = gradient(loss, [x])
    assert dx is not None
    graph.outputs |= {"loss": loss.value, "dx": dx.value}
    made = fused(graph)
    rows, total = groups(made)
    assert {"exp", "log"} <= names(rows)
    assert total.types[0].shape == ()
    same_values(graph, made)


def test_what_is_cheap_is_repeated_and_not_stored() -> None:
    """Batch normalisation: x - mean goes into the variance and into the result, x is read twice."""
    graph = Graph("batch_norm")
    x = tensor(graph, "x", N, 8, 8, 16)
    mean = ops.reduce_mean(x, (0, 1, 2))
    centered = x - mean
    variance = ops.reduce_mean(ops.square(centered), (0, 1, 2))
    graph.outputs["y"] = ops.relu(centered * ops.rsqrt(variance + 1e-3)).value
    made = groups(fused(graph))
    large = [t for m in made for t in m.types if t.shape == (N, 8, 8, 16)]
    assert len(made) == 3 and len(large) == 1


def test_reductions_of_one_operand_share_a_kernel() -> None:
    graph = Graph("sums")
    x = tensor(graph, "x", N, 32, 4)
    graph.outputs |= {"sum": ops.reduce_sum(x, 1).value, "squares": ops.reduce_sum(ops.square(x), 1).value}
    assert len(groups(fused(graph))) == 1


def test_a_value_that_others_read_too_is_a_further_result() -> None:
    graph = Graph("shared")
    x = tensor(graph, "x", N, 16)
    y = ops.tanh(x)
    graph.outputs |= {"y": y.value, "z": (y * x + 1.0).value}
    (group,) = groups(fused(graph))
    assert len(group.types) == 2


def test_an_epilogue_does_not_multiply_its_results() -> None:
    """Two products with the result of a contraction are no part of its group: each reads it."""
    graph = Graph("epilogue")
    x, a, b = (tensor(graph, name, N, 16) for name in "xab")
    w = Tensor(graph, graph.variable("w", TensorType((16, 16))))
    y = ops.relu(ops.matmul(x, w))
    graph.outputs |= {
        "a": ops.reduce_sum(y * a).value,
        "b": ops.reduce_sum(y * b).value,
        "c": ops.matmul(y, w).value,
    }
    first = groups(fused(graph))[0]
    assert "contract" in names(first) and len(first.types) == 1


def test_an_optimizer_update_is_the_epilogue_of_its_gradient() -> None:
    graph = Graph("update")
    x, g = tensor(graph, "x", N, 8), tensor(graph, "g", N, 4)
    w = Tensor(graph, graph.variable("w", TensorType((8, 4))))
    m = Tensor(graph, graph.variable("m", TensorType((8, 4))))
    slope = ops.matmul(x, g, True)
    new = m * 0.9 + slope * 0.1
    graph.updates |= {"m": new.value, "w": (w - new * 0.01).value}
    (group,) = groups(fused(graph))
    assert len(group.types) == 2


def test_a_rate_that_is_computed_late_reaches_the_epilogue() -> None:
    """Scalars that no data decide come first, wherever the graph has them."""
    graph = Graph("rate")
    x, g = tensor(graph, "x", N, 8), tensor(graph, "g", N, 4)
    w = Tensor(graph, graph.variable("w", TensorType((8, 4))))
    slope = ops.matmul(x, g, True)
    step = Tensor(graph, graph.variable("step", TensorType(())))
    graph.updates["w"] = (w - slope * ops.exp(-step)).value
    last = groups(fused(graph))[-1]
    assert {"contract", "sub"} <= names(last)


def test_a_maximum_and_its_place_are_one_kernel() -> None:
    graph = Graph("pool")
    x, g = tensor(graph, "x", N, 8, 8, 16), tensor(graph, "g", N, 4, 4, 16)
    w = tensor(graph, "w", 16, 16)
    y = ops.max_pool(x, (2, 2), (2, 2), ((0, 0), (0, 0)))
    total = ops.reduce_sum(ops.matmul(ops.reshape(y, (N * 16, 16)), w) * ops.reshape(g, (N * 16, 16)), (0, 1))
    (slope,) = gradient(total, [x])
    graph.outputs |= {"total": total.value, "slope": slope.value}
    made = fused(graph)
    assert {"window_max", "window_argmax"} in [
        {n for n in names(m) if n.startswith("window")} for m in groups(made)
    ]
    same_values(graph, made)


# ---------------------------------------------------------------- sums


def test_a_factor_leaves_its_sum() -> None:
    graph = Graph("factor")
    x, s = tensor(graph, "x", N, 8, 4), tensor(graph, "s", 4)
    graph.outputs["y"] = ops.reduce_sum(-(x * s), (0, 1)).value
    made = passes.simplify(passes.factor_sums(graph))
    (total,) = [m for m in made.live() if m.op.name == "reduce_sum"]
    assert made.nodes[total.inputs[0].node].op.name == "input"
    same_values(graph, made)


def test_a_known_sum_is_used_again() -> None:
    """The sum of x - mean needs no pass over x."""
    graph = Graph("again")
    x, s = tensor(graph, "x", N, 8, 4), tensor(graph, "s", 4)
    mean = ops.reduce_mean(x, (0, 1))
    graph.outputs |= {"mean": mean.value, "rest": ops.reduce_sum((x - mean) * s * 2.0 + s, (0, 1)).value}
    made = passes.simplify(passes.factor_sums(graph))
    assert sum(m.op.name == "reduce_sum" for m in made.live()) == 1
    same_values(graph, made)


@pytest.mark.parametrize(
    ("shape", "axes", "first"),
    [
        ((N, 56, 56, 64), (0, 1, 2), (1, 2)),  # a part for each sample
        ((N, 224, 224, 3), (0, 1, 2), (2,)),  # a part for each line of it
        ((N, 8, 8, 16), (0, 1, 2), None),  # too small
        ((N, 56, 56, 64), (1, 2), None),  # enough results to share
        ((512, 512), (0, 1), (1,)),
        ((N, 4096), (0,), None),  # nothing to split but the batch
    ],
)
def test_large_reductions_are_made_in_two_steps(
    shape: tuple[object, ...], axes: tuple[int, ...], first: tuple[int, ...] | None
) -> None:
    graph = Graph("split")
    graph.outputs["y"] = ops.reduce_sum(tensor(graph, "x", *shape), axes).value
    made = [m for m in passes.split_reductions(graph).live() if m.op.kind == "reduction"]
    assert made[0].attrs["axes"] == (first or axes)
    assert len(made) == (1 if first is None else 2)

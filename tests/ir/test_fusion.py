"""The plan of fusion, stage by stage: which nodes become one kernel, and why others do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from ir import golden

from kcompile.ir import cost, ops
from kcompile.ir.graph import Graph, Value
from kcompile.ir.passes.choose_algorithms import choose_algorithms
from kcompile.ir.passes.fuse import STAGES, fuse, plan_fusion, plan_text
from kcompile.ir.passes.fusion.epilogues import fuse_epilogues
from kcompile.ir.passes.fusion.facts import Facts
from kcompile.ir.passes.fusion.order import insert_copies, schedule_nodes
from kcompile.ir.passes.fusion.plan import FusedGroup, FusionPlan
from kcompile.ir.passes.fusion.producers import WAYS
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.testing.graphs import graphs

N = Batch()


def tensor(graph: Graph, name: str, *shape: object) -> Tensor:
    return Tensor(graph, graph.input(name, TensorType(shape)))  # type: ignore[arg-type]


def weight(graph: Graph, name: str, *shape: int) -> Tensor:
    return Tensor(graph, graph.variable(name, TensorType(shape)))


def prepared(graph: Graph) -> Graph:
    return choose_algorithms(graph, lambda spec, constant, dtype: None, frozen=False)


def ops_of(plan: FusionPlan, ids: tuple[int, ...]) -> list[str]:
    return [plan.graph.nodes[id].op.name for id in ids]


def first_stage(graph: Graph) -> tuple[FusionPlan, list[FusedGroup]]:
    plan = fuse_epilogues(FusionPlan(Facts.of(schedule_nodes(insert_copies(prepared(graph))), True)))
    return plan, list(plan.groups)


# ---------------------------------------------------------------- the plan


def test_the_text_of_a_plan_says_what_becomes_one_kernel() -> None:
    assert str(plan_fusion(golden.fuse())).splitlines() == [
        "fusion plan of classifier",
        "  %0 = variable(kernel)",
        "  %1 = variable(bias)",
        "  %2 = input(x)",
        "  %3 = input(label)",
        "  group 0: pack_panels %4",
        "    %4 = pack_panels(%0)",
        "    -> %4",
        "  group 1: contract %5",
        "    %5 = contract(%2, %4)",
        "    %6 = add(%5, %1)",
        "    %7 = relu(%6)",
        "    -> %7",
        "  group 2: reduce_sum %18 over [n, 4] reducing axes [1]",
        "    %8 = reduce_max(%7)",
        "    %9 = reshape(%8)  again",
        "    %10 = stop_gradient(%9)",
        "    %11 = sub(%7, %10)",
        "    %12 = exp(%11)",
        "    %13 = reduce_sum(%12)",
        "    %14 = reshape(%13)  again",
        "    %15 = div(%12, %14)",
        "    %16 = sub(%15, %3)",
        "    %17 = square(%16)",
        "    %18 = reduce_sum(%17)",
        "    -> %15, %18",
    ]


def test_the_plan_of_a_graph_has_those_of_its_scans() -> None:
    text = plan_text(golden.merge_scans())
    assert text.startswith("fusion plan of ") and text.count("\n\nfusion plan of ") == 2


def test_no_stage_changes_the_plan_that_it_gets() -> None:
    plan = FusionPlan(Facts.of(schedule_nodes(insert_copies(golden.fuse())), True))
    for stage in STAGES:
        before = replace(plan)
        after = stage(plan)
        assert plan == before and after is not plan
        plan = after
    with pytest.raises(FrozenInstanceError):
        plan.groups[0].place = 0  # type: ignore[misc]


@settings(max_examples=40)
@given(graph=graphs(contractions=True))
def test_groups_of_random_graphs_are_a_schedule(graph: Graph) -> None:
    """What a group reads is a source, or stored by a group before it; no value is stored twice; and the graph
    that is made has the plan's groups."""
    graph = prepared(graph)
    plan = plan_fusion(graph)
    there = {Value(node.id) for node in plan.facts.nodes if node.op.in_memory}
    for group in plan.groups:
        assert group.root in group.members
        assert {plan.facts.base(v) for v in group.operands} <= there
        assert not there & set(group.outputs)
        there |= set(group.outputs)
    assert {plan.facts.base(v) for v in plan.facts.results} <= there
    made = [node.body for node in fuse(graph).live() if node.regions]
    assert [(len(b.inputs), len(b.nodes) - len(b.inputs), len(b.outputs)) for b in made] == [
        (len(group.operands), len(group.nodes), len(group.outputs)) for group in plan.groups
    ]


# ---------------------------------------------------------------- stage 1: epilogues


def test_a_bias_and_an_activation_are_the_epilogue_of_their_contraction() -> None:
    graph = Graph("dense")
    y = ops.matmul(tensor(graph, "x", N, 8), weight(graph, "w", 8, 4)) + weight(graph, "b", 4)
    graph.outputs["y"] = ops.tanh(y).value
    plan, (group,) = first_stage(graph)
    assert plan.anchor(group) is plan.graph.nodes[group.root]
    assert ops_of(plan, plan.epilogue(group)) == ["add", "tanh"]


def test_an_epilogue_reads_nothing_that_is_computed_after_its_contraction() -> None:
    graph = Graph("later")
    x, w, v = tensor(graph, "x", N, 8), weight(graph, "w", 8, 4), weight(graph, "v", 8, 4)
    first = ops.matmul(x, w)
    graph.outputs["y"] = (ops.tanh(first) * ops.exp(ops.matmul(x, v))).value
    plan, (one, other) = first_stage(graph)
    assert ops_of(plan, plan.epilogue(one)) == ["tanh"]
    assert ops_of(plan, plan.epilogue(other)) == ["exp", "mul"]


def test_a_cheap_operand_of_an_epilogue_is_rematerialised() -> None:
    """The momentum of a weight, times a number: one operand, read by nobody else."""
    graph = Graph("momentum")
    x, g, m = tensor(graph, "x", N, 8), tensor(graph, "g", N, 4), weight(graph, "m", 8, 4)
    graph.updates["m"] = (ops.matmul(x, g, True) + m * 0.9).value
    plan, (group,) = first_stage(graph)
    assert ops_of(plan, plan.epilogue(group)) == ["add"]
    assert sorted(ops_of(plan, group.rematerialised)) == ["constant", "mul"]


def test_a_long_chain_does_not_all_become_epilogue() -> None:
    graph = Graph("chain")
    y = ops.matmul(tensor(graph, "x", N, 8), weight(graph, "w", 8, 8))
    for _ in range(cost.GROUP_DEPTH + 5):
        y = ops.tanh(y)
    graph.outputs["y"] = y.value
    plan, (group,) = first_stage(graph)
    assert len(plan.epilogue(group)) == cost.GROUP_DEPTH - 1


# ---------------------------------------------------------------- stage 2: the other nodes


def rows_of_softmax(graph: Graph) -> None:
    graph.outputs["p"] = ops.softmax(tensor(graph, "x", N, 10)).value


def sums(graph: Graph) -> None:
    x = tensor(graph, "x", N, 32, 4)
    graph.outputs |= {"sum": ops.reduce_sum(x, 1).value, "squares": ops.reduce_sum(ops.square(x), 1).value}


def shifted(graph: Graph) -> None:
    """What a transpose reads is computed in its own order."""
    x = tensor(graph, "x", N, 4, 6)
    graph.outputs["y"] = ops.transpose(ops.tanh(x), (0, 2, 1)).value


def columns_and_rows(graph: Graph) -> None:
    """A value that comes from rows is not computed in a group that goes down the columns."""
    p = ops.softmax(tensor(graph, "x", N, 10))
    graph.outputs |= {"p": p.value, "total": ops.reduce_sum(p, 0).value}


def windows(graph: Graph) -> None:
    """A window sees each element many times."""
    y = ops.tanh(tensor(graph, "x", N, 8, 8, 3))
    graph.outputs["y"] = ops.max_pool(y, (2, 2), (1, 1), ((0, 0), (0, 0))).value


@pytest.mark.parametrize(
    ("make", "groups", "without_row_passes"),
    [(rows_of_softmax, 1, 4), (sums, 1, 1), (shifted, 2, 2), (columns_and_rows, 2, 5), (windows, 2, 2)],
)
def test_what_one_kernel_takes_in(
    make: Callable[[Graph], None], groups: int, without_row_passes: int
) -> None:
    graph = Graph("example")
    make(graph)
    assert len(plan_fusion(graph).groups) == groups
    assert len(plan_fusion(graph, row_passes=False).groups) == without_row_passes


def test_what_is_cheap_is_rematerialised_by_each_of_its_readers() -> None:
    graph = Graph("centred")
    x = tensor(graph, "x", N, 8, 8, 16)
    centred = x - ops.reduce_mean(x, (0, 1, 2))
    variance = ops.reduce_mean(ops.square(centred), (0, 1, 2))
    graph.outputs["y"] = ops.relu(centred * ops.rsqrt(variance + 1e-3)).value
    plan = plan_fusion(graph)
    again = [ops_of(plan, group.rematerialised).count("sub") for group in plan.groups]
    assert again == [0, 1, 1]


def test_a_chain_longer_than_a_group_begins_another() -> None:
    graph = Graph("chain")
    y = tensor(graph, "x", N, 8)
    for _ in range(2 * cost.GROUP_DEPTH + 1):
        y = ops.tanh(y)
    graph.outputs["y"] = y.value
    sizes = [len(group.members) for group in plan_fusion(graph).groups]
    assert sum(sizes) == 2 * cost.GROUP_DEPTH + 1 and max(sizes) <= cost.GROUP_DEPTH and len(sizes) == 3


def test_every_way_has_a_name_and_a_reason() -> None:
    names = [way.__name__ for way in WAYS]
    assert names[-1] == "begin_group" and len(set(names)) == len(names)
    assert all(way.__doc__ for way in WAYS)


# ---------------------------------------------------------------- order


def test_a_result_that_has_no_buffer_of_its_own_is_copied() -> None:
    graph = Graph("copies")
    x = tensor(graph, "x", N, 4)
    y = ops.tanh(x)
    graph.outputs |= {"x": x.value, "y": y.value, "z": y.value, "flat": ops.reshape(y, (N * 4,)).value}
    made = insert_copies(graph)
    copied = [name for name, v in made.outputs.items() if made.nodes[v.node].op.name == "copy"]
    assert copied == ["x", "z", "flat"]


def test_scalars_that_no_input_decides_come_first_and_the_loss_last() -> None:
    graph = Graph("order")
    x, step = tensor(graph, "x", N, 4), weight(graph, "step")
    each = ops.reduce_sum(ops.square(x), -1)
    loss = ops.reduce_mean(each)
    y = ops.tanh(x)
    rate = ops.exp(-step)
    graph.outputs |= {"loss": loss.value, "y": (y * rate).value}
    order = [node.op.name for node in schedule_nodes(graph).live()]
    assert order.index("exp") < order.index("square")
    assert order.index("tanh") < order.index("reduce_sum", order.index("square") + 2)

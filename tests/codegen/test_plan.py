"""The memory plan: values that are alive together do not meet; updates in place where that is safe."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.codegen import targets
from kcompile.codegen.loops import Window
from kcompile.codegen.memory_plan import Layout, _Plan, allocate, plan
from kcompile.codegen.program import Entry, Ref, Size
from kcompile.compiler import compile_graph, load
from kcompile.ir import interpreter, ops, passes
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType, bind
from kcompile.testing.graphs import graphs
from kcompile_runtime.arrays import aligned_copy

TARGET = targets.named("x86-64-v3")


def layout_of(graph: Graph) -> Layout:
    return Layout({name: number for number, name in enumerate(graph.variables)})


def planned(graph: Graph) -> tuple[Graph, Entry]:
    made = passes.fuse(graph)
    return made, plan(made, "run", layout_of(made), TARGET)


def span(ref: Ref, type: TensorType, n: int) -> tuple[int, int]:
    """The bytes of the arena that a value occupies."""
    start = ref.offset.at(n)
    return start, start + int(np.prod(bind(type.shape, n))) * np.dtype(type.dtype).itemsize


def bytes_of(ref: Ref, type: TensorType, n: int, window: Window | None) -> np.ndarray:
    """The bytes of the arena that the elements of a value occupy."""
    start, stop = span(ref, type, n)
    width = np.dtype(type.dtype).itemsize
    at = np.arange((stop - start) // width)
    if window is not None:
        at = at // window.run * window.stride + at % window.run
    return start + (at[:, None] * width + np.arange(width)).reshape(-1)


class Owners:
    """Follows the launches of a plan, with the owner of every byte of the arena. A value in another one has
    the bytes until that is there as a whole."""

    def __init__(self, planner: _Plan, entry: Entry, n: int) -> None:
        self.planner, self.n = planner, n
        self.owner = np.zeros(entry.arena.at(n), np.int64)
        self.updated: set[int] = set()
        self.launches = iter(entry.launches)

    def root(self, value: Value) -> Value:
        part = self.planner.joins.parts.get(value)
        return part.whole if part else value

    def read(self, value: Value, type: TensorType, ref: Ref) -> None:
        value = self.planner.base[value]
        assert not (ref.region == "variable" and ref.index in self.updated)
        if ref.region == "arena":
            joined = map(Value, self.planner.joins.copied)
            inside = [number(c) for c in joined if self.root(c) == self.root(value)]
            found = self.owner[bytes_of(ref, type, self.n, self.planner.joins.window(value))]
            assert np.isin(found, [number(value), *inside]).all()

    def write(self, value: Value, type: TensorType, ref: Ref, window: Window | None) -> None:
        if ref.region == "arena":
            self.owner[bytes_of(ref, type, self.n, window)] = number(value)
        elif ref.region == "variable":
            self.updated.add(ref.index)

    def run(self, m: Node) -> None:
        joins, graph = self.planner.joins, self.planner.graph
        if m.id not in joins.copied:
            launch = next(self.launches)
            for value, ref in zip(m.inputs, launch.buffers):
                self.read(value, graph.type(value), ref)
            for i, ref in enumerate(launch.buffers[len(m.inputs) :]):
                self.write(Value(m.id, i), m.types[i], ref, joins.window(Value(m.id, i)))
            return
        whole = Value(m.id)
        for copy in joins.copied[m.id]:
            launch = next(self.launches)
            for value, ref in zip(copy.values, launch.buffers):
                self.read(value, graph.type(value), ref)
            self.write(whole, copy.group.types[0], launch.buffers[-1], copy.part.window)
        ref = self.planner.place[whole]
        if ref.region == "arena":
            there = [v for v, part in joins.parts.items() if part.whole == self.root(whole)]
            bytes = bytes_of(ref, m.types[0], self.n, joins.window(whole))
            assert np.isin(self.owner[bytes], list(map(number, [*there, whole]))).all()
        self.write(whole, m.types[0], ref, joins.window(whole))


@settings(max_examples=60)
@given(graph=graphs())
def test_every_group_finds_its_operands_as_they_were_written(graph: Graph) -> None:
    """Followed launch by launch, with the owner of every byte of the arena; and a variable is read
    by nobody once its new value is there."""
    made = passes.fuse(graph)
    planner = _Plan(made, "run", layout_of(made), TARGET, ())
    entry = planner.entry()
    for n in (1, 3, 20):
        owners = Owners(planner, entry, n)
        for m in planner.groups:
            owners.run(m)


def number(value: Value) -> int:
    return 1 + value.node * 100 + value.output


@settings(max_examples=60)
@given(data=st.data())
def test_allocation(data: st.DataObject) -> None:
    """Any order of values, any lifetimes: those alive together are apart, for any batch."""
    graph = Graph("values")
    source = graph.input("x", TensorType(()))
    count = data.draw(st.integers(1, 12))
    nodes = []
    for _ in range(count):
        shape = data.draw(st.sampled_from(((Batch(), 5), (Batch(), 64), (7,), (100,), (), (Batch(3),))))
        nodes.append(graph.add("broadcast_to", [source], shape=shape))
    last = {
        Value(m.id): data.draw(st.integers(step, count))
        for step, m in enumerate(nodes)
        if data.draw(st.booleans())
    }
    needs = {nodes[0].id: Size(128, 64)} if data.draw(st.booleans()) else {}
    made = allocate(nodes, set(), last, needs)
    for n in (1, 2, 33):
        spans = [
            (made.places[Value(m.id)].resolve(made.end.fixed), m.types[0], step, last.get(Value(m.id), step))
            for step, m in enumerate(nodes)
        ]
        for i, (offset, type, start, end) in enumerate(spans):
            low, high = span(Ref("arena", offset=offset), type, n)
            assert low % 4 == 0 and high <= made.end.at(n)
            for other, kind, begin, stop in spans[i + 1 :]:
                left, right = span(Ref("arena", offset=other), kind, n)
                assert begin > end or stop < start or high <= left or right <= low


def test_small_values_do_not_lie_in_the_way_of_large_ones() -> None:
    """Two large values, a small one made when the first is gone, and a large one after that."""
    graph = Graph("values")
    source = graph.input("x", TensorType(()))
    nodes = [graph.add("broadcast_to", [source], shape=(size,)) for size in (1600, 1600, 16, 1600)]
    last = {Value(m.id): step for m, step in zip(nodes, (1, 3, 3, 3))}
    assert allocate(nodes, set(), last, {}).end == Size(2 * 1600 * 4 + 64)


# ---------------------------------------------------------------- updates


def variable(graph: Graph, name: str, *shape: int) -> Tensor:
    return Tensor(graph, graph.variable(name, TensorType(shape)))


def updates_of(entry: Entry) -> list[str]:
    """For each launch that writes a variable: its kernel's name."""
    return [launch.kernel.name for launch in entry.launches if launch.buffers[-1].region == "variable"]


def test_an_update_is_made_in_place() -> None:
    graph = Graph("step")
    w, m = variable(graph, "w", 40), variable(graph, "m", 40)
    new = m * 0.9 + w
    graph.updates |= {"m": new.value, "w": (w - new).value}
    _, entry = planned(graph)
    (launch,) = entry.launches
    assert launch.kernel.aliased and {r.region for r in launch.buffers} == {"variable"}


def test_an_update_waits_for_the_readers_of_the_old_value() -> None:
    """w is read after its new value is known: by another element, and by a later group."""
    graph = Graph("late")
    w = variable(graph, "w", 6, 6)
    graph.updates["w"] = ops.transpose(w, [1, 0]).value
    _, entry = planned(graph)
    assert [name for name in updates_of(entry) if "copy" in name]
    check_against_interpreter(graph)


def test_two_variables_change_places() -> None:
    graph = Graph("swap")
    a, b = variable(graph, "a", 33), variable(graph, "b", 33)
    graph.updates |= {"a": b.value, "b": a.value}
    check_against_interpreter(graph)


def test_an_update_that_leaves_as_an_output_too() -> None:
    graph = Graph("both")
    w = variable(graph, "w", 5)
    new = w * 2.0
    graph.updates["w"] = new.value
    graph.outputs |= {"new": new.value, "old": w.value}
    check_against_interpreter(graph)


def test_an_update_beside_results_of_another_shape() -> None:
    """A statistic and the moving average of it leave one kernel: the average is updated in place."""
    graph = Graph("moving")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 20))))
    moving = variable(graph, "moving", 20)
    mean = ops.reduce_mean(x, 0)
    graph.updates["moving"] = (moving * 0.9 + mean * 0.1).value
    graph.outputs |= {"mean": mean.value, "y": (x - mean).value}
    _, entry = planned(graph)
    assert not [launch for launch in entry.launches if "copy" in launch.kernel.name]
    check_against_interpreter(graph)


def test_equal_groups_share_a_kernel() -> None:
    """Two layers of equal shape: what they compute is compiled once."""
    graph = Graph("twice")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 12, 12))))
    for i in range(3):
        x = ops.softmax(ops.transpose(x * variable(graph, f"w{i}", 12), [0, 2, 1]))
    graph.outputs["y"] = x.value
    _, entry = planned(graph)
    assert len({id(launch.kernel) for launch in entry.launches}) < len(entry.launches)
    check_against_interpreter(graph)


def check_against_interpreter(graph: Graph, threads: int = 1) -> None:
    generator = np.random.default_rng(0)
    inputs = {
        k: generator.normal(size=bind(graph.type(v).shape, 9)).astype(np.float32)
        for k, v in graph.inputs.items()
    }
    state = {
        k: generator.normal(size=graph.type(v).shape).astype(np.float32) for k, v in graph.variables.items()
    }
    right = interpreter.run(graph, 9, inputs, state, "float64")
    held = {k: aligned_copy(v) for k, v in state.items()}
    program = load(compile_graph(graph, "run", targets.native(), frozen=False), held, threads)
    got = dict(zip(graph.outputs, program.run("run", 9, list(inputs.values()))))
    for name, expected in {**right.outputs, **right.updates}.items():
        found = got[name] if name in got else held[name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

"""Every op as blocks and threads, run by the loop-language interpreter, against its numpy meaning."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import machine
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import DRAWN, arrays, cases, graph_of, named

from kcompile.codegen import loops
from kcompile.codegen.cost import TEAM_REDUCTION
from kcompile.codegen.gpu import emission, evaluate
from kcompile.codegen.gpu.contraction import Tile, choose_tile, lower_contraction
from kcompile.codegen.gpu.device import THREAD, Grid, device_function
from kcompile.codegen.gpu.schedules import lower_group
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.loops import Buffer, show
from kcompile.codegen.program import Size
from kcompile.compiler import compile_graph
from kcompile.ir import ops
from kcompile.ir.contraction import matmul
from kcompile.ir.graph import Graph, Node
from kcompile.ir.interpreter import run
from kcompile.ir.op import OPS
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Batch, TensorType, bind


def agree(y: np.ndarray, reference: np.ndarray, tolerance: float) -> None:
    scale = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    np.testing.assert_allclose(y, reference, rtol=10 * tolerance + 2e-6, atol=(tolerance + 1e-7) * scale)


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "winograd"])  # never chosen here
@settings(max_examples=3)
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_schedule_is_numpy(name: str, data: st.DataObject, seed: int) -> None:
    case = data.draw(cases(OPS[name]))
    graph, _, _ = graph_of(OPS[name], case)
    for n in (1, 5):
        values = arrays(case, n, seed)
        expected = run(graph, n, named(values), {}).outputs.values()
        outputs, _ = machine.run(graph, n, named(values))
        for y, reference in zip(outputs, expected):
            agree(y, reference, OPS[name].tolerance)


def test_long_reductions_are_shared_by_threads():
    """Sums over rows, over columns and over everything, long and short, on both sides of a block."""
    generator = np.random.default_rng(0)
    for shape, axes in [
        ((Batch(), 70), (1,)),
        ((Batch(), 2100), (1,)),
        ((Batch(8), 50), (0,)),
        ((Batch(), 40), (0, 1)),
        ((40, Batch(), 3), (0, 2)),
        ((45, 9), (0,)),
    ]:
        graph = Graph("reduction")
        x = Tensor(graph, graph.input("x", TensorType(shape)))
        graph.outputs = {
            "sum": ops.reduce_sum(ops.square(x), axes).value,
            "max": ops.reduce_max(x, axes).value,
        }
        for n in (1, 6):
            value = generator.normal(size=bind(shape, n)).astype(np.float32)
            outputs, _ = machine.run(graph, n, {"x": value})
            for y, reference in zip(outputs, run(graph, n, {"x": value}, {}).outputs.values()):
                agree(y, reference, 1e-5)


@pytest.mark.parametrize("width", [10, 77, 2100])
def test_rows_are_written_by_those_who_reduced_them(width: int):
    """A normalisation as one kernel: two reductions, then the row, none of them done twice."""
    body = Graph("body")
    x = Tensor(body, body.input("x", TensorType((Batch(), width))))
    body.outputs = {"y": ops.softmax(x).value, "most": ops.reduce_max(x, 1).value}
    made = lower_group("kernel", group(body), machine.TARGET).function
    text = "\n".join(show.statements(made.body, ""))
    reductions = 3  # the maximum is there twice, since nothing simplified this body
    assert text.count("shared parts") == (1 if width > TEAM_REDUCTION else 0), "the same for all"
    assert width < TEAM_REDUCTION or text.count("for ") - 2 == reductions + 1, (
        "in the grid's and the block's loop"
    )
    for n in (1, 9):
        value = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
        y, most = np.empty_like(value), np.empty(n, np.float32)
        evaluate.run(made, [value.ravel(), y.ravel(), most], n)
        expected = run(body, n, {"x": value}, {}).outputs
        agree(y, expected["y"], 1e-6)
        np.testing.assert_array_equal(most, expected["most"])


def test_any_number_of_reductions_fits_into_shared_memory():
    """Each of them over columns, with 1024 threads in a block: 4 KB each, 48 KB are all there is."""
    body = Graph("body")
    x = Tensor(body, body.input("x", TensorType((2000, 5))))
    body.outputs = {f"y{i}": ops.reduce_sum(x * float(i + 1), 0).value for i in range(14)}
    made = lower_group("kernel", group(body), machine.TARGET).function
    emission.emit([made], machine.TARGET)
    value = np.random.default_rng(0).normal(size=(2000, 5)).astype(np.float32)
    results = [np.zeros(5, np.float32) for _ in range(14)]
    evaluate.run(made, [value.ravel(), *results])
    for i, y in enumerate(results):
        np.testing.assert_allclose(y, (i + 1) * value.astype(np.float64).sum(0), rtol=1e-3, atol=1e-3)


def group(body: Graph) -> Node:
    outer = Graph("outer")
    operands = [outer.input(name, body.type(v)) for name, v in body.inputs.items()]
    return outer.nodes[outer.add("group", operands, regions=(body,)).id]


@pytest.mark.parametrize("width", [5, 40])
def test_a_number_in_the_place_of_an_operand_of_the_row(width: int):
    body = Graph("body")
    x = Tensor(body, body.input("x", TensorType((Batch(), width))))
    old = Tensor(body, body.input("old", TensorType((Batch(), 1))))
    total = ops.reduce_sum(x, 1, keepdims=True)
    body.outputs = {"new": (old * 0.5 + total).value, "row": (x * old).value}
    made = lower_group("kernel", group(body), machine.TARGET, aliased=True).function
    generator = np.random.default_rng(0)
    n = 11
    rows, kept = (generator.normal(size=(n, w)).astype(np.float32) for w in (width, 1))
    result, memory = np.empty_like(rows), kept.copy()
    evaluate.run(made, [rows.ravel(), memory.ravel(), memory.ravel(), result.ravel()], n)
    agree(result, rows * kept, 1e-6)
    agree(memory, kept * 0.5 + rows.sum(1, keepdims=True), 1e-5)


def test_results_that_do_not_fit_are_refused():
    body = Graph("body")
    x = Tensor(body, body.input("x", TensorType((Batch(), 5))))
    y = Tensor(body, body.input("y", TensorType((3,))))
    body.outputs = {"x": ops.tanh(x).value, "y": ops.tanh(y).value}
    with pytest.raises(ValueError, match="has no schedule"):
        lower_group("kernel", group(body), machine.TARGET)


@pytest.mark.parametrize("tile", [Tile(8, 4), Tile(2, 1), Tile(1, 2)])
def test_tiles_give_the_same_bits(tile: Tile):
    """M, J and K beyond a tile and no multiple of it; sums are one chain over k for any tile."""
    a, b, y = Buffer("a", "float32"), Buffer("b", "float32"), Buffer("y", "float32")
    spec = matmul(TensorType((Batch(), 21)), TensorType((70, 21)), False, True)
    sources = [
        Source(lambda index, mask: pytest.fail("not read so"), buffer, shape)
        for buffer, shape in ((a, (Batch(), 21)), (b, (70, 21)))
    ]
    epilogue = Epilogue((y,), lambda total, row, column, mask: (total,), True)
    generator = np.random.default_rng(0)
    x, w = (generator.normal(size=s).astype(np.float32) for s in ((19, 21), (70, 21)))
    results = []
    for chosen in (tile, Tile(1, 1)):
        made = lower_contraction("product", spec, *sources, epilogue, machine.TARGET, chosen=chosen)
        results.append(np.full(19 * 70, np.nan, np.float32))
        evaluate.run(made.function, [x.ravel(), w.ravel(), results[-1]], 19)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0].reshape(19, 70), x @ w.T, rtol=1e-5, atol=1e-5)


def test_gradients_of_small_kernels_share_their_sums():
    """A convolution's gradient has few results; each is a sum over all images and positions."""
    graph = Graph("gradient")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 6, 6, 3))))
    g = Tensor(graph, graph.input("g", TensorType((Batch(), 6, 6, 5))))
    attributes = {"taps": (3, 3), "strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    graph.outputs["dw"] = (emit("conv_filter_gradient", [x, g], **attributes) * 0.5).value
    kernels = [
        launch.kernel
        for launch in compile_graph(graph, "run", machine.TARGET, frozen=False).program.entries[0].launches
    ]
    assert [k.grid.blocks(7) for k in kernels] == [27 * 5], "a block for each result"
    generator = np.random.default_rng(0)
    for n in (1, 9):
        values = {
            name: generator.normal(size=(n, 6, 6, c)).astype(np.float32) for name, c in (("x", 3), ("g", 5))
        }
        outputs, _ = machine.run(graph, n, values)
        agree(outputs[0], run(graph, n, values, {}, "float64").outputs["dw"], 1e-5)


def test_a_tile_for_every_size():
    assert choose_tile(Batch(), 10) == Tile(2, 1)
    assert choose_tile(Batch(64), 64) == Tile(4, 4)
    assert choose_tile(Batch(3136), 64) == Tile(8, 4)
    assert choose_tile(4096, 4096) == Tile(8, 4)
    assert choose_tile(288, 64) == Tile(1, 1), "few rows and columns: small tiles, more blocks"


def test_a_missing_barrier_is_found():
    """The interpreter runs threads together, so only its records can tell."""
    shared, y = Buffer("shared", "float32", "shared", 64), Buffer("y", "float32")
    write = loops.store(shared, THREAD, loops.cast(THREAD, "float32"))
    read = loops.store(y, THREAD, loops.load(shared, 63 - THREAD))
    grid = Grid(Size(1), 1, 1, 64)
    body = [loops.Alloc(shared), write, loops.Barrier(), read]
    out = np.zeros(64, np.float32)
    evaluate.run(device_function("good", [y], grid, body), [out])
    np.testing.assert_array_equal(out, np.arange(64)[::-1])
    with pytest.raises(evaluate.RaceError, match="before a barrier"):
        evaluate.run(device_function("bad", [y], grid, [body[0], write, read]), [out])
    half = loops.If(loops.binary("lt", THREAD, 32), (loops.Barrier(),))
    with pytest.raises(evaluate.RaceError, match="not all threads"):
        evaluate.run(device_function("half", [y], grid, [half]), [out])
    same = loops.store(y, THREAD // 2, 1.0)
    with pytest.raises(evaluate.RaceError, match="written twice"):
        evaluate.run(device_function("twice", [y], grid, [same]), [out])

"""Entries that compute a batch in blocks of samples, where each sample depends on itself alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kcompile.codegen import cost, targets
from kcompile.codegen.program import Blocks
from kcompile.compiler import Compiled, compile_graph, load
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.interpreter import run
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import Batch, TensorType
from kcompile_runtime.errors import RowError

N = Batch()
Make = Callable[[Tensor], Tensor]


def network(make: Make, *sizes: int) -> Graph:
    graph = Graph("images")
    x = Tensor(graph, graph.input("x", TensorType((N, *sizes))))
    graph.outputs["y"] = make(x).value
    graph.outputs["z"] = (make(x) * 2.0).value
    return graph


def convolved(x: Tensor) -> Tensor:
    weights = np.random.default_rng(0).normal(size=(3, 3, x.shape[-1], 16)).astype(np.float32)
    y = ops.relu(ops.conv(x, constant(x.graph, weights), (1, 1), ((1, 1), (1, 1)), (1, 1)))
    y = ops.concatenate([y, ops.transpose(y, (0, 2, 1, 3))], -1)
    return ops.softmax(ops.reduce_sum(y, (1,)))


def attended(x: Tensor) -> Tensor:
    """Attention with heads along the width: one kernel, whose groups have more rows than samples."""
    weights = ops.softmax(ops.einsum("nthc,nshc->nhts", x, x) * 0.3)
    return ops.einsum("nhts,nshc->nthc", weights, x)


def compiled(graph: Graph, frozen: bool = True) -> Compiled:
    return compile_graph(graph, "run", targets.native(), frozen=frozen)


def blocks_of(graph: Graph) -> Blocks | None:
    return compiled(graph).program.entries[-1].blocks


@pytest.fixture
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "BLOCK_BYTES", 60_000)
    monkeypatch.setattr(cost, "WEIGHTS_AGAIN", 0)


@pytest.mark.parametrize("make", [convolved, attended])
def test_blocks_give_the_bits_of_the_whole_batch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network(make, 12, 12, 3)
    x = np.random.default_rng(1).normal(size=(11, 12, 12, 3)).astype(np.float32)
    expected = run(graph, 11, {"x": x}, {}, "float64").outputs
    results = []
    for held in (60_000, 1 << 40):
        monkeypatch.setattr(cost, "BLOCK_BYTES", held)
        made = compiled(graph)
        blocks = made.program.entries[-1].blocks
        assert blocks is not None and blocks.inputs == (1728,)
        assert (blocks.samples < 11) == (held == 60_000) and (blocks.least or 11) < 6
        for threads in (1, 2, 3):
            program = load(made, {}, threads)
            for n in (1, 2, 3, 5, 11):
                results.append(program.run("run", n, [x[:n].copy()]))
                for got, right in zip(results[-1], expected.values()):
                    np.testing.assert_allclose(got, right[:n], rtol=2e-5, atol=2e-5)
    half = len(results) // 2
    for got, right in zip(results[:half], results[half:]):
        np.testing.assert_array_equal(got, right)


@pytest.mark.usefixtures("small_cache")
def test_blocks_keep_arrays_aligned() -> None:
    blocks = blocks_of(network(lambda x: ops.relu(x) + 1.0, 5))
    assert blocks is not None and blocks.unit == 16 and blocks.samples % 16 == 0


MIXED: dict[str, Make] = {
    "mean over the batch": lambda x: x - ops.reduce_sum(x, (0,)),
    "the other end of the batch": lambda x: ops.reverse(x, (0,)),
}


@pytest.mark.usefixtures("small_cache")
@pytest.mark.parametrize("name", MIXED)
def test_samples_that_depend_on_each_other_stay_together(name: str) -> None:
    graph = network(MIXED[name], 3000)
    assert blocks_of(graph) is None
    x = np.random.default_rng(1).normal(size=(9, 3000)).astype(np.float32)
    expected = run(graph, 9, {"x": x}, {}, "float64").outputs
    got = load(compiled(graph), {}).run("run", 9, [x])
    for a, b in zip(got, expected.values()):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def dense(x: Tensor, layers: int) -> Tensor:
    for _ in range(layers):
        x = ops.relu(ops.matmul(x, constant(x.graph, np.ones((2048, 2048), np.float32))))
    return x


def test_large_weights_are_read_again_for_many_samples_only() -> None:
    """Threads that share a product's columns read a part of the weights each. A thread that computes samples
    of its own reads all: it must have so many that arithmetic takes longer."""
    blocks = blocks_of(network(lambda x: dense(x, 2), 2048))
    assert blocks is not None and blocks.least is not None and 8 <= blocks.least <= 256
    assert blocks.samples > cost.BLOCK_SAMPLES  # and not in blocks in turn


def test_one_layer_is_shared_by_its_own_loop() -> None:
    graph = Graph("layer")
    x = Tensor(graph, graph.input("x", TensorType((N, 2048))))
    graph.outputs["y"] = dense(x, 1).value
    assert blocks_of(graph) is None


def test_a_thread_holds_its_share_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of all threads together is that of a whole batch, whatever their number; and the bits are
    those of one thread."""
    monkeypatch.setattr(cost, "THREAD_CYCLES", 1)
    made = compiled(network(convolved, 12, 12, 3))
    entry = made.program.entries[-1]
    assert entry.blocks is not None and entry.blocks.least == 1
    x = np.random.default_rng(1).normal(size=(40, 12, 12, 3)).astype(np.float32)
    alone = load(made, {}, 1)
    for threads in (2, 3, 5):
        program = load(made, {}, threads)
        for n in (2, 5, 6, 7, 31, 40):
            expected = alone.run("run", n, [x[:n].copy()])
            for got, right in zip(program.run("run", n, [x[:n].copy()]), expected):
                np.testing.assert_array_equal(got, right)


def looked_up(x: Tensor) -> Tensor:
    table = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    rows = ops.gather(constant(x.graph, table), x)
    return ops.softmax(ops.relu(ops.einsum("ntc,cd->ntd", rows, constant(x.graph, table[:32] * 0.2))))


def test_threads_look_up_rows_of_their_own_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checks its own numbers; a bad one is told as if one thread had found the first."""
    monkeypatch.setattr(cost, "THREAD_CYCLES", 1)
    graph = Graph("words")
    x = Tensor(graph, graph.input("x", TensorType((N, 40), "int32")))
    graph.outputs["y"] = looked_up(x).value
    made = compiled(graph)
    blocks = made.program.entries[-1].blocks
    assert blocks is not None and blocks.least == 1
    words = np.random.default_rng(1).integers(0, 50, (31, 40)).astype(np.int32)
    alone = load(made, {}, 1).run("run", 31, [words])
    several = load(made, {}, 3)
    np.testing.assert_array_equal(several.run("run", 31, [words])[0], alone[0])
    for places in ((30,), (17, 29), (3, 11, 22)):
        bad = words.copy()
        for place in places:
            bad[place, 7] = 50 + place
        with pytest.raises(RowError, match=rf"{50 + places[0]}, at place 7 of sample {places[0]}\.$"):
            several.run("run", 31, [bad])
    np.testing.assert_array_equal(several.run("run", 31, [words])[0], alone[0])

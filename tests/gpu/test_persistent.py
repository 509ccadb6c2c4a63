"""Persistent kernels, which run all steps of a scan: the bits of its launches, and where it is not taken."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from gpu import machine, nets
from ir.scans import counting

from kcompile import keras
from kcompile.codegen import cost, loops
from kcompile.codegen.gpu import emission, evaluate, persistent
from kcompile.codegen.gpu.contraction import Tile, choose_thread_tile
from kcompile.codegen.gpu.device import BLOCK, THREAD, DeviceFunction, Grid, device_function
from kcompile.codegen.loops import Buffer, show
from kcompile.codegen.program import Repeat, Size
from kcompile.compiler import compile_graph
from kcompile.ir import interpreter
from kcompile.ir.graph import Graph
from kcompile.keras import graphs


def steps_of(graph: Graph, frozen: bool = True) -> list[Any]:
    return [s for e in compile_graph(graph, "run", machine.TARGET, frozen).program.entries for s in e.steps]


def taken(graph: Graph, frozen: bool = True) -> list[DeviceFunction]:
    """The persistent kernels."""
    made = [
        x for x in steps_of(graph, frozen) if not isinstance(x, Repeat) and "_persistent" in x.kernel.name
    ]
    return [x.kernel for x in made]  # type: ignore[misc]


@pytest.mark.parametrize("units", [5, 40])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_bits_of_its_launches(monkeypatch: pytest.MonkeyPatch, units: int, train: bool, reverse: bool):
    """Batches that fill the blocks, that do not, and that are smaller than one."""
    graph = nets.lstm(train, units=units, reverse=reverse)
    kernels = taken(graph, not train)
    assert len(kernels) == 1 + train and not any(isinstance(s, Repeat) for s in steps_of(graph, not train))
    assert [k.grid.blocks(9) for k in kernels] == [3] * len(kernels)
    for n in (1, 4, 7) if units == 5 else (7,):
        inputs, variables = nets.lstm_arrays(graph, n)
        one = machine.run(graph, n, inputs, variables, not train)
        with monkeypatch.context() as patch:
            patch.setattr(cost, "SCAN_BYTES", -1)
            assert not taken(graph, not train)
            many = machine.run(graph, n, inputs, variables, not train)
        for a, b in zip((*one[0], *one[1].values()), (*many[0], *many[1].values())):
            np.testing.assert_array_equal(a, b)


def recurrent(layer: Any, **options: Any) -> Graph:
    layers = keras.layers
    cell = getattr(layers, layer)
    return graphs.trace(
        keras.Sequential([cell(input_shape=options.pop("shape", (3, 4)), **options)]), "predict"
    ).graph


def test_where_launches_are_better(monkeypatch: pytest.MonkeyPatch):
    assert taken(recurrent("LSTM", units=64))
    assert not taken(recurrent("LSTM", units=512)), "4 MB of weights"
    monkeypatch.setattr(cost, "SCAN_MULTIPLY_ADDS", 4 * 64 * 256 - 1)
    assert not taken(recurrent("LSTM", units=64)), "more work than a block does in a moment"


def test_a_state_that_samples_share():
    """Blocks are at different steps, so none of them may write it: there are launches for each step."""
    graph = counting()
    assert not taken(graph)
    x = np.random.default_rng(0).normal(size=(9, 6, 3)).astype(np.float32)
    outputs, _ = machine.run(graph, 9, {"x": x}, frozen=True)
    for y, right in zip(outputs, interpreter.run(graph, 9, {"x": x}, {}).outputs.values()):
        np.testing.assert_allclose(y, right, rtol=1e-5)


def test_neighbours_read_neighbours():
    """In the gradient's scan too, where a product has the transposed weights: those are turned before."""
    graph = nets.lstm(True, units=40)
    made = compile_graph(graph, "run", machine.TARGET, False)
    scans = [m for m in made.run.nodes.values() if m.op.name == "scan"]
    specs = [
        m.attrs["spec"]
        for s in scans
        for g in s.body.nodes.values()
        if g.regions
        for m in g.body.nodes.values()
        if m.op.name == "contract"
    ]
    assert len(specs) == 2 and {spec.b.index[-1].terms for spec in specs} == {((2, 1),)}


def test_states_are_read_again():
    """A state is written and read in one kernel, so nothing may come from the read-only cache."""
    (kernel,) = taken(nets.lstm(False, units=40))
    text = emission.ptx(emission.emit([kernel], machine.TARGET), machine.TARGET)
    assert "ld.global" in text and "ld.global.nc" not in text
    statements = "\n".join(show.statements(kernel.body, ""))
    assert len(re.findall(r"\bbar(?:rier)?\.sync", text)) == statements.count("barrier") == 2


def test_a_barrier_between_steps_is_needed():
    """The records see what threads of one block and of two do to each other in global memory."""
    y, n = Buffer("y", "float32"), 64
    write = loops.store(y, BLOCK * n + THREAD, 1.0)
    read = loops.store(y, BLOCK * n + THREAD, loops.load(y, BLOCK * n + (n - 1) - THREAD) + 1.0)
    grid = Grid(Size(2), 1, 1, n)
    got = loops.let("got", loops.load(y, BLOCK * n + (n - 1) - THREAD))
    again = [got[0], loops.Barrier(), loops.store(y, BLOCK * n + THREAD, got[1])]
    out = np.zeros(2 * n, np.float32)
    evaluate.run(device_function("good", [y], grid, [write, loops.Barrier(), *again]), [out])
    with pytest.raises(evaluate.RaceError, match="read before a barrier"):
        evaluate.run(device_function("bad", [y], grid, [write, *again]), [out])
    with pytest.raises(evaluate.RaceError, match="after others read it"):
        evaluate.run(device_function("late", [y], grid, [read]), [out])
    other = loops.let("other", loops.load(y, (1 - BLOCK) * n + THREAD))
    far = [other[0], loops.Barrier(), write]
    with pytest.raises(evaluate.RaceError, match="after others read it"):
        evaluate.run(device_function("far", [y], grid, far), [out])


def test_blocks_have_barriers_of_their_own():
    y, n = Buffer("y", "float32"), 64
    out = np.zeros(2 * n, np.float32)
    first = [loops.store(y, BLOCK * n + THREAD, 1.0), loops.Barrier()]
    for number, allowed in ((BLOCK, True), (THREAD, False)):
        body = [loops.If(loops.binary("lt", number, 1), tuple(first))]
        function = device_function("some", [y], Grid(Size(2), 1, 1, n), body)
        if allowed:
            evaluate.run(function, [out])
            assert out.sum() == n
        else:
            with pytest.raises(evaluate.RaceError, match="not all threads reach"):
                evaluate.run(function, [out])


@pytest.mark.parametrize("together", [64, 192, evaluate.TOGETHER])
def test_blocks_meet_however_many_run_together(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "TOGETHER", together)
    y, n, blocks = Buffer("y", "float32"), 64, 5
    own = [loops.store(y, BLOCK * n + THREAD, loops.load(y, BLOCK * n + THREAD) + 1.0)]
    same = [loops.store(y, THREAD + loops.binary("mod", BLOCK, blocks - 1) * n, 1.0)]
    out = np.zeros(blocks * n, np.float32)
    evaluate.run(device_function("own", [y], Grid(Size(blocks), 1, 1, n), own), [out])
    assert np.array_equal(out, np.ones(blocks * n))
    with pytest.raises(evaluate.RaceError, match="written twice"):
        evaluate.run(device_function("same", [y], Grid(Size(blocks), 1, 1, n), same), [out])


def test_two_buffers_in_one_place_are_watched():
    x, y = Buffer("x", "float32"), Buffer("y", "float32")
    body = [loops.store(y, THREAD, loops.load(x, THREAD) + 1.0)]
    function = device_function("shift", [x, y], Grid(Size(1), 1, 1, 8), body)
    memory = np.zeros(9, np.float32)
    evaluate.run(function, [memory[:8], memory[:8]])
    with pytest.raises(evaluate.RaceError, match="after others read it"):
        evaluate.run(function, [memory[:8], memory[1:]])


def test_local_memory_is_written_before_it_is_read():
    y = Buffer("y", "float32")
    for space in ("shared", "stack"):
        local = Buffer("local", "float32", space, 8)  # type: ignore[arg-type]
        body = [loops.Alloc(local), loops.store(y, THREAD, loops.load(local, THREAD))]
        with pytest.raises(evaluate.RaceError, match="before it is written"):
            evaluate.run(device_function("f", [y], Grid(Size(1), 1, 1, 8), body), [np.zeros(8, np.float32)])


def test_more_threads_than_a_block_has_are_refused():
    grid = Grid(Size(1), 1, 1, 2048)
    with pytest.raises(ValueError, match="2048 threads"):
        evaluate.run(device_function("f", [], grid, []), [])


def test_moved_code_shares_what_it_shared():
    x, y, whole = Buffer("x", "float32"), Buffer("y", "float32"), Buffer("whole", "float32")
    value = loops.load(x, THREAD)
    (store,) = persistent.rebased(
        [loops.store(y, THREAD, value * value)], {x: (whole, loops.const(3)), y: (whole, loops.N)}
    )
    assert isinstance(store, loops.Store) and isinstance(store.value, loops.Binary)
    assert store.value.a is store.value.b and store.buffer is whole
    (line,) = show.statements([store], "")
    assert line == "whole[(thread + n)] = (whole[(thread + 3)] * whole[(thread + 3)])"


def test_tiles_of_few_rows():
    assert choose_thread_tile(4, 512) == Tile(4, 4)
    assert choose_thread_tile(4, 16) == Tile(1, 1)
    assert choose_thread_tile(4, 129) == Tile(4, 1)
    assert choose_thread_tile(32, 1000) == Tile(8, 4)

"""PTX of the digits CNN and of an LSTM, assembled for two generations of graphics processors."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpu import nets
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import DRAWN, cases, graph_of

import kcompile
from kcompile.codegen import loops, targets
from kcompile.codegen.gpu import emission, program
from kcompile.codegen.gpu.device import THREAD, Grid, device_function
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import Buffer
from kcompile.codegen.program import Size
from kcompile.compiler import compile_graph
from kcompile.ir.op import OPS
from kcompile.keras import graphs

PTXAS = program.find_ptxas()
assembled = pytest.mark.skipif(PTXAS is None, reason="needs the package nvidia-cuda-nvcc")
NETWORKS = ("cnn predict", "cnn train", "text predict", "text train", "lstm predict", "lstm train")


def traced(network: str) -> Any:
    if network == "cnn predict":
        return graphs.trace(nets.digits_cnn(), "predict").graph
    if network == "cnn train":
        return graphs.trace(nets.digits_cnn(), "train").graph
    if network.startswith("text"):
        entry = "train" if network == "text train" else "predict"
        return graphs.trace(nets.text_lstm(), entry).graph
    return nets.lstm(network == "lstm train", steps=80, width=256, units=128)


@assembled
@pytest.mark.parametrize("target", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("network", NETWORKS)
def test_ptx_assembles_without_spills(network: str, target: str, tmp_path: Path):
    chosen = targets.device(target)
    made = compile_graph(traced(network), "run", chosen, frozen="predict" in network).on_device
    assert PTXAS is not None
    uses = program.assemble(made.ptx, chosen, PTXAS, tmp_path)
    launched = {
        launch["kernel"]
        for entry in made.table["entries"]
        for step in entry["steps"]
        for launch in step.get("launches", [step])
    }
    assert {use.name for use in uses} == launched
    assert not any(use.spills for use in uses), program.summary(uses)
    assert all(use.registers <= 128 and use.shared <= chosen.shared for use in uses)


@assembled
@settings(max_examples=1)
@given(data=st.data())
def test_every_op_assembles(data: st.DataObject) -> None:
    """The kernels of all ops in one module, for the assembler of the oldest cards."""
    chosen, kernels = targets.device("sm_80"), []
    for name in DRAWN:
        if name != "winograd":  # never chosen here
            graph, _, _ = graph_of(OPS[name], data.draw(cases(OPS[name])))
            made = compile_graph(graph, "run", chosen, frozen=False).program
            kernels += [launch.kernel for launch in made.entries[-1].launches]
    named = [replace(kernel, name=f"k{i}_{kernel.name}") for i, kernel in enumerate(kernels)]
    text = emission.ptx(emission.emit(named, chosen), chosen)
    assert PTXAS is not None
    with tempfile.TemporaryDirectory() as folder:
        uses = program.assemble(text, chosen, PTXAS, Path(folder))
    assert len(uses) == len(named) > len(DRAWN) // 2


@assembled
def test_wrong_ptx_is_an_error(tmp_path: Path):
    assert PTXAS is not None
    with pytest.raises(RuntimeError, match="ptxas"):
        program.assemble(".version 7.1\n.target sm_80\nnonsense", targets.device("sm_80"), PTXAS, tmp_path)


def test_rounding_is_said_in_every_instruction():
    """Where PTX leaves rounding open, the assembler may join a product and a sum."""
    made = compile_graph(traced("lstm predict"), "run", targets.device("sm_80"), frozen=True).on_device
    joined = re.findall(r"\b(?:add|sub|mul|mad|fma)\.(?:ftz\.)?f(?:32|64)", made.ptx)
    assert "fma.rn.f32" in made.ptx and not joined
    assert "ftz" not in made.ptx and "approx" not in made.ptx, "denormals are kept, division is exact"


def test_memory_has_its_space():
    made = compile_graph(traced("lstm predict"), "run", targets.device("sm_80"), frozen=True).on_device
    assert "ld.shared" in made.ptx and "ld.global.nc" in made.ptx
    assert not re.search(r"\b(ld|st)\.b32", made.ptx), "an access whose space LLVM did not find out"


def test_ptx_is_kept_on_disk(monkeypatch: pytest.MonkeyPatch):
    """Compiled before, by another object or process: nothing is lowered, and all is the same."""
    target = targets.device("sm_80")
    graph = nets.lstm(True, units=7)
    made = compile_graph(graph, "run", target, frozen=False)
    first = made.on_device
    made.keep(first)
    monkeypatch.setattr(program, "device_program", lambda *_: pytest.fail("compiled again"))
    assert compile_graph(graph, "run", target, frozen=False).on_device == first
    with pytest.raises(pytest.fail.Exception):
        _ = compile_graph(graph, "run", targets.device("sm_90a"), frozen=False).on_device


def test_no_load_is_placed_before_a_barrier():
    """It does not depend on the loop, and the loop does not write there: other threads did."""
    shared, y, r = Buffer("shared", "float32", "shared", 64), Buffer("y", "float32"), loops.Var("r")
    body = [
        loops.Alloc(shared),
        loops.store(shared, THREAD, 1.0),
        loops.loop(
            r, 0, 2, [loops.Barrier(), loops.store(y, r * 64 + THREAD, loops.load(shared, 63 - THREAD))]
        ),
    ]
    target = targets.device("sm_80")
    text = emission.emit([device_function("late", [y], Grid(Size(1), 1, 1, 64), body)], target)
    assert text.index("call void @llvm.nvvm.barrier") < text.index("= load float")
    made = emission.ptx(text, target)
    assert made.index("bar.sync") < made.index("ld.shared")


def test_equal_kernels_are_emitted_once():
    y = Buffer("y", "float32")

    def fill(name: str) -> Any:
        return device_function(name, [y], Grid(Size(1), 1, 1, 32), [loops.store(y, THREAD, 1.0)])

    target = targets.device("sm_80")
    text = emission.emit([fill("one")], target)
    assert "define ptx_kernel void @one(ptr addrspace(1)" in text
    assert emission.ptx(text, target).count(".entry") == 1
    with pytest.raises(ValueError, match="no blocks of threads"):
        module.emit([fill("one")], targets.named("x86-64-v3"))


def test_too_much_shared_memory_is_refused():
    big = Buffer("big", "float64", "shared", 10000)
    kernel = device_function("big", [], Grid(Size(1), 1, 1, 32), [loops.Alloc(big)])
    with pytest.raises(ValueError, match="80000 bytes of shared memory"):
        emission.emit([kernel], targets.device("sm_80"))


def test_show_prints_kernels_and_what_they_use():
    text = kcompile.compile(nets.digits_cnn(size=4, filters=2)).show("ptx")
    assert ".visible .entry" in text and ".target sm_80" in text
    if PTXAS is not None:
        assert re.search(r"// \d+ kernels, 0 bytes of spills$", text)


def test_devices_are_no_targets_of_libraries():
    with pytest.raises(ValueError, match="unknown target"):
        targets.named("sm_80")
    with pytest.raises(ValueError, match="sm_80, sm_90a"):
        targets.device("sm_70")

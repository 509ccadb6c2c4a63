"""The same model gives the same library, whatever numpy computes with: its BLAS chooses a kernel for the
processor, and so do its functions and sums."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ten_models

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.op import OPS
from kcompile.ir.passes import fold_constants
from kcompile.ir.tensor import constant

SCRIPT = Path(ten_models.__file__)
FEATURES = "AVX2 FMA3 AVX512F AVX512_SKX X86_V3 X86_V4"


def environments():
    """Of processes that compute otherwise, each with what this processor has."""
    yield {}
    if platform.machine() in ("x86_64", "AMD64"):
        for core in ("Prescott", "Nehalem"):
            yield {"OPENBLAS_CORETYPE": core, "KC_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": FEATURES}
    else:
        yield {"KC_THREADS": "1"}


def test_ten_models_are_the_same_bytes(tmp_path):
    running = []
    for number, change in enumerate(environments()):
        folder = tmp_path / str(number)
        folder.mkdir()
        env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "KC_THREADS")}
        running.append(
            (
                change,
                subprocess.Popen(
                    [sys.executable, SCRIPT, folder, "x86-64-v3"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**env, "KC_CACHE": "off", **change},
                ),
            )
        )
    printed = []
    for change, process in running:
        out, errors = process.communicate(timeout=600)
        assert process.returncode == 0, (change, errors)
        printed.append(out.splitlines())
    assert len(printed[0]) == len(ten_models.MODELS) == 10
    for (change, _), lines in zip(running[1:], printed[1:]):
        assert lines == printed[0], change


@pytest.mark.parametrize("name", ["matmul", "exp", "tanh", "pow", "reduce_sum", "maximum"])
def test_what_numpy_computes_by_the_processor_is_not_folded(name):
    graph = Graph("g")
    x = constant(graph, np.array([[0.3, 2.5], [1.1, 0.7]]), "float32")
    apply = getattr(ops, name)
    y = apply(x, x) if name in ("matmul", "pow", "maximum") else apply(x)
    graph.outputs["y"] = y.value
    assert name in [node.op.name for node in fold_constants(graph).live()]


@pytest.mark.parametrize("name", ["add", "div", "sqrt", "floor", "transpose"])
def test_exact_arithmetic_is_folded(name):
    graph = Graph("g")
    x = constant(graph, np.array([[0.3, 2.5], [1.1, 0.7]]), "float32")
    y = {"add": lambda: x + x, "div": lambda: x / x, "transpose": lambda: ops.transpose(x, (1, 0))}.get(
        name, lambda: getattr(ops, name)(x)
    )()
    graph.outputs["y"] = y.value
    folded = fold_constants(graph)
    assert [node.op.name for node in folded.live()] == ["constant"]


def test_exact_ops_are_elementwise_and_cheap():
    exact = {name for name, op in OPS.items() if op.exact}
    assert {"add", "mul", "div", "sqrt", "select", "cast"} <= exact
    assert all(OPS[name].kind == "elementwise" and not OPS[name].expensive for name in exact)

"""The straight line and the compiled model: stages, cache, verification, errors."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import kcompile
from kcompile import compiler
from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.binary.bundle import Bundle
from kcompile.codegen.llvm import module
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.op import OPS
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras.layers import (
    LSTM,
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    Input,
    MaxPooling2D,
)
from kcompile.keras.models import Sequential
from kcompile.model import VerificationError
from kcompile.native import NativeEngine
from kcompile.stages import STAGES
from kcompile_runtime.arrays import aligned_copy
from kcompile_runtime.errors import InputError


@pytest.fixture
def network() -> Sequential:
    return Sequential(
        [
            Conv2D(8, 3, padding="same", input_shape=(8, 8, 2), name="look"),
            BatchNormalization(name="norm"),
            Activation("relu", name="bend"),
            MaxPooling2D(name="pool"),
            Flatten(name="flat"),
            Dense(3, activation="softmax", name="say"),
        ]
    )


def simple(factor: float) -> Graph:
    graph = Graph("simple")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 3))))
    w = Tensor(graph, graph.variable("w", TensorType((3, 5))))
    graph.outputs["y"] = (ops.matmul(x, w) * factor).value
    return graph


def test_every_stage_can_be_shown(network: Sequential) -> None:
    compiled = kcompile.compile(network)
    texts = {stage: compiled.show(stage) for stage in STAGES}
    assert "conv(" in texts["graph"] and "# look" in texts["graph"]
    assert "group(" in texts["passes"] and "pack_panels" in texts["passes"]
    # convolution, folded normalisation and activation are one kernel, with the layers' names
    kernels = [line for line in texts["loops"].splitlines() if line.startswith("def ")]
    assert any(all(name in line for name in ("look", "norm", "bend")) for line in kernels)
    assert "define i32" in texts["llvm"] and ".text" in texts["asm"]
    with pytest.raises(ValueError, match="expected one of graph, passes"):
        compiled.show("soup")


def test_a_model_that_was_not_compiled_gets_an_engine_when_it_is_used(network: Sequential) -> None:
    assert network.trainer.engines.found() is None
    result = network.predict(np.ones((2, 8, 8, 2), np.float32))
    attached = network.engine
    assert isinstance(attached, NativeEngine) and attached is network.engine
    latest = kcompile.attach_engine(network)
    assert network.engine is latest is not attached
    np.testing.assert_array_equal(network.predict(np.ones((2, 8, 8, 2), np.float32)), result)


def test_graph_is_networkx_and_names_its_layers(network: Sequential) -> None:
    graph = kcompile.compile(network).graph("predict")
    assert graph.nx.number_of_nodes() == len(graph.nodes)
    assert {str(s) for n in graph.nodes.values() for s in n.sources} >= {"look", "norm", "say"}
    with pytest.raises(ValueError, match="one of predict, test, train"):
        kcompile.compile(network).graph("dream")


def test_a_graph_compiled_before_is_not_lowered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiler.compile_graph(simple(0.123), "predict", targets.native(), frozen=True)
    first = made.bundle
    compiler.load(made, {"w": aligned_copy(np.zeros((3, 5), "float32"))})

    def lowering(*_: object) -> None:
        raise AssertionError("lowered again")

    monkeypatch.setattr("kcompile.codegen.memory_plan.plan", lowering)
    again = compiler.compile_graph(simple(0.123), "predict", targets.native(), frozen=True).bundle
    assert again == first == Bundle.from_bytes(first.to_bytes())


def test_weights_set_later_count(network: Sequential) -> None:
    compiled, x = kcompile.compile(network), np.ones((2, 8, 8, 2), np.float32)
    before = compiled.predict(x)
    compiled.set_weights([w + 0.1 * (i + 1) for i, w in enumerate(compiled.get_weights())])
    after = compiled.predict(x)
    assert not np.allclose(before, after)
    assert compiled.verify(x).ok
    np.testing.assert_array_equal(after, kcompile.compile(network).predict(x))


def test_verification_is_by_layer(network: Sequential) -> None:
    report = kcompile.compile(network).verify()
    assert report.ok and report.first_bad is None
    assert [e.layer for e in report.layers][:3] == ["look", "norm", "bend"]
    assert "say" in report.text()


def test_verify_names_the_first_layer_that_differs(
    network: Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong kernel: the maximum is taken as the sum of the window."""
    right = OPS["window_max"]
    wrong = type(right)(
        **{**{f: getattr(right, f) for f in right.__dataclass_fields__}, "lower": OPS["window_sum"].lower}
    )
    monkeypatch.setitem(OPS, "window_max", wrong)
    monkeypatch.setenv("KC_CACHE", "off")  # which trusts that the compiler did not change
    compiled = kcompile.compile(network, verify=True)
    with pytest.raises(VerificationError, match="first at layer 'pool'"):
        compiled.predict(np.ones((2, 8, 8, 2), np.float32))


def test_verify_accepts_right_code(network: Sequential) -> None:
    network.compile("adam", "sparse_categorical_crossentropy")
    compiled = kcompile.compile(network, verify=True)
    x, y = np.random.rand(20, 8, 8, 2).astype(np.float32), np.random.randint(0, 3, 20)
    compiled.fit(x, y, batch_size=8, epochs=1, verbose=0)
    assert compiled.predict(x).shape == (20, 3)


def test_one_compile_serves_every_batch(network: Sequential) -> None:
    compiled = kcompile.compile(network)
    x = np.random.rand(257, 8, 8, 2).astype(np.float32)
    whole = compiled.predict_on_batch(x)
    for n in (1, 2, 3, 31, 64, 100, 257):
        np.testing.assert_allclose(compiled.predict_on_batch(x[:n]), whole[:n], rtol=1e-5, atol=1e-7)


def test_compile_refuses(network: Sequential, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="target"):
        kcompile.compile(network, target="abacus")
    with pytest.raises(ValueError, match="unknown target"):
        kcompile.export(network, tmp_path / "m.so", target="abacus")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(targets.native().architecture.name != "x86_64", reason="x86-64 only")
@pytest.mark.parametrize("threads", (1, 2))
def test_training_flushes_denormals_and_predicting_does_not(threads: int) -> None:
    tiny = np.float32(1e-40)
    for frozen, expected in ((True, tiny), (False, np.float32(0))):
        graph = Graph("scale")
        x = Tensor(graph, graph.input("x", TensorType((Batch(), 4096))))
        graph.outputs["y"] = ops.tanh(ops.tanh(x) * 0.5).value
        count = Tensor(graph, graph.variable("count", TensorType(())))
        graph.updates["count"] = (count + 1.0).value
        made = compiler.compile_graph(graph, "run", targets.native(), frozen)
        program = compiler.load(made, {"count": np.zeros((), np.float32)}, threads)
        (y,) = program.run("run", 64, [np.full((64, 4096), 2 * tiny)])
        assert np.all(y == expected)
        assert np.float32(2e-40) * np.float32(0.5) == tiny  # the caller's own flags are as before


def test_updates_in_place_are_computed_before_any_is_written() -> None:
    """b reads the old a, which the same kernel writes."""
    graph = Graph("both")
    a, b = (Tensor(graph, graph.variable(name, TensorType((37,)))) for name in "ab")
    new = a + 1.0
    graph.updates["a"], graph.updates["b"] = new.value, (new * b + a).value
    made = compiler.compile_graph(graph, "train", targets.native(), frozen=False)
    values = {
        "a": aligned_copy(np.arange(37, dtype=np.float32)),
        "b": aligned_copy(np.full(37, 2, np.float32)),
    }
    compiler.load(made, values, 1).run("train", 1, [])
    np.testing.assert_array_equal(values["a"], np.arange(37) + 1)
    np.testing.assert_array_equal(values["b"], (np.arange(37) + 1) * 2 + np.arange(37))


def deep(layers: int) -> Sequential:
    model = Sequential([Input((8, 16))])
    for _ in range(layers):
        model.add(LSTM(16, return_sequences=True))
        model.add(Dense(16, activation="relu"))
    return model


def test_equal_layers_share_their_code() -> None:
    """Inside loops over time too: a model twice as deep has no more kernels."""

    def kernels(layers: int) -> tuple[int, int]:
        made = kcompile.compile(deep(layers)).engine.compiled("predict")
        launches = [launch for entry in made.program.entries for launch in entry.launches]
        return len({id(launch.kernel) for launch in launches}), len(launches)

    (few, some), (many, more) = kernels(3), kernels(6)
    assert few == many and more >= 2 * some - few


def test_code_compiled_in_parts_is_the_same_code(network: Sequential) -> None:
    made = kcompile.compile(network).engine.compiled("predict")
    parts = module.emit_modules(made.program, made.target)
    assert len(parts) > 1
    apart = jit.compile_apart(parts, made.target, 2)
    assert (
        apart
        == jit.compile_apart(parts, made.target, 1)
        == [jit.optimise_and_compile(part, made.target) for part in parts]
    )
    with pytest.raises(RuntimeError, match="expected"):
        jit.compile_apart([*parts, "define nonsense"], made.target, 2)


# ---------------------------------------------------------------- levels of the processor

X86 = targets.host().architecture.name == "x86_64"


@pytest.mark.skipif(not X86, reason="x86-64 only")
@pytest.mark.parametrize(("level", "bits"), [("x86-64-v2", 128), ("x86-64-v3", 256), ("x86-64-v4", 512)])
def test_a_level_is_a_processor_that_has_no_more(
    level: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if targets.host().vector_bits < bits:
        with pytest.raises(InputError, match="whose instructions this processor has"):
            targets.host_as(level)
        return
    model = Sequential([Dense(64, activation="tanh", input_shape=(20,)), Dense(3)])
    x = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    expected = model.predict(x)
    compiled = kcompile.compile(model, target=level)
    assert compiled.engine.target.vector_bits == bits
    np.testing.assert_allclose(compiled.predict(x), expected, rtol=1e-5, atol=1e-6)
    assert ("zmm" in compiled.show("asm")) == (bits == 512)
    assert pickle.loads(pickle.dumps(compiled)).engine.target == compiled.engine.target
    monkeypatch.setenv("KC_TARGET", level)
    assert targets.native() == compiled.engine.target == kcompile.compile(model).engine.target


def test_names_of_levels_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential([Dense(3, input_shape=(2,))])
    with pytest.raises(InputError, match="a level of this processor"):
        kcompile.compile(model, target="aarch64")
    monkeypatch.setenv("KC_TARGET", "haswell")
    with pytest.raises(InputError, match="KC_TARGET: expected one of: native"):
        kcompile.compile(model)

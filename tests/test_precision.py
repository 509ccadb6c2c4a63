"""Products in bfloat16: the rule, compiled code beside the interpreter, and what refuses."""

from __future__ import annotations

import copy
import logging
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import cli
from kcompile import model as compiled_models
from kcompile.accuracy import accuracy
from kcompile.codegen import targets
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.interpreter import run
from kcompile.ir.ops.halves import nearest_bfloat16
from kcompile.ir.precision import in_precision
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import layers as L
from kcompile.keras.engine import Input
from kcompile.keras.models import Model, Sequential
from kcompile.testing.models import sample
from kcompile_runtime.errors import InputError

BITS = 2.0**-8  # of an operand that rounds to its other neighbour


def images() -> Model:
    """Convolutions, of which one has a normalisation behind it, and dense layers."""
    return Sequential(
        [
            L.Conv2D(16, 3, padding="same", use_bias=False, input_shape=(8, 8, 6)),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.Conv2D(20, 3, strides=2),
            L.Flatten(),
            L.Dense(33, activation="tanh"),
            L.Dense(5, activation="softmax"),
        ]
    )


def sequence() -> Model:
    """A recurrent layer, and attention."""
    x = Input((7, 10))
    y = L.GRU(12, return_sequences=True)(x)
    y = L.LayerNormalization()(L.Attention()([y, y]))
    return Model(x, L.Dense(5, activation="softmax")(L.GlobalAveragePooling1D()(y)))


def data(model: Model, n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, *model.inputs[0].shape[1:])).astype("float32"), rng.integers(0, 5, n)


@pytest.mark.parametrize(
    ("number", "near"),
    [
        (1.0, 1.0),
        (1.0 + 2.0**-8, 1.0),  # ties to even
        (1.0 + 3 * 2.0**-8, 1.0 + 2.0**-6),
        (1.0 + 2.0**-8 + 2.0**-20, 1.0 + 2.0**-7),
        (-3.1415927, -3.140625),
        (2.0**-126, 2.0**-126),
        (-(2.0**-127), -0.0),
        (3.4e38, np.inf),
        (-np.inf, -np.inf),
        (np.nan, np.nan),
    ],
)
def test_numbers_round_to_the_nearest(number: float, near: float) -> None:
    made = nearest_bfloat16(np.array([number], "float32"))
    np.testing.assert_array_equal(made, np.array([near], "float32"))
    np.testing.assert_array_equal(np.signbit(made), np.signbit(np.float32(near)))


def test_operands_of_products_alone_are_rounded() -> None:
    graph = Graph("g")
    x, w = (Tensor(graph, graph.input(k, TensorType(s))) for k, s in (("x", (Batch(), 3)), ("w", (3, 2))))
    wide = Tensor(graph, graph.input("wide", TensorType((3, 3), "float64")))
    graph.outputs = {
        "product": ops.matmul(x, w).value,
        "sum": ops.reduce_sum(x * x, -1).value,
        "wide": ops.matmul(wide, wide).value,
    }
    values = {
        "x": np.full((2, 3), 1 + 2.0**-9, "float32"),
        "w": np.ones((3, 2), "float32") * 3,
        "wide": np.full((3, 3), 1 + 2.0**-40),
    }
    assert in_precision(graph, "float32") is graph
    made = run(in_precision(graph, "bfloat16"), 2, values, {}).outputs
    np.testing.assert_array_equal(made["product"], np.full((2, 2), 9, "float32"))
    np.testing.assert_array_equal(made["sum"], (values["x"] ** 2).sum(-1))
    np.testing.assert_array_equal(made["wide"], values["wide"] @ values["wide"])


@pytest.mark.parametrize("build", [images, sequence])
def test_predict_and_a_step_are_the_interpreters(build: Callable[[], Model]) -> None:
    model = build()
    model.compile("sgd", "sparse_categorical_crossentropy")
    compiled = kcompile.compile(model, precision="bfloat16", threads=1)
    x, y = data(model)
    assert compiled.verify(x).ok
    start = copy.deepcopy(model.get_weights())
    loss = compiled.train_on_batch(x, y)
    trained = model.get_weights()
    model.set_weights(start)
    model.use_engine(InterpreterEngine(model, "bfloat16"))
    np.testing.assert_allclose(loss, model.train_on_batch(x, y), rtol=1e-3)
    for before, made, right in zip(start, trained, model.get_weights()):
        step = float(np.abs(right - before).max(initial=0.0))
        np.testing.assert_allclose(made, right, atol=4 * BITS * step + 1e-7, rtol=0)


def test_exact_sums_give_the_bits_of_the_rule() -> None:
    """Of numbers that round to small whole ones."""
    rng = np.random.default_rng(1)
    x = (rng.integers(-2, 3, (3, 6, 6, 5)) * (1 + 2.0**-9)).astype("float32")
    model = Sequential([L.Conv2D(18, 3, input_shape=(6, 6, 5)), L.Flatten(), L.Dense(3, use_bias=False)])
    model.set_weights([rng.integers(-2, 3, w.shape) * (1 + 2.0**-9) for w in model.get_weights()])
    made = kcompile.compile(model, precision="bfloat16").predict(x)
    np.testing.assert_array_equal(made, InterpreterEngine(model, "bfloat16").run("predict", 3, [x])[0])
    assert np.any(made != kcompile.compile(model).predict(x))


def test_normalisation_is_not_folded_into_rounded_kernels() -> None:
    """But into the bias, so that one product and one sum are left."""
    model = Sequential([L.Conv2D(16, 3, input_shape=(6, 6, 8)), L.BatchNormalization()])
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    compiled = kcompile.compile(model, precision="bfloat16")
    assert compiled.verify().ok
    *_, group = (m for m in compiled.engine.compiled("predict").run.live() if m.op.kind != "source")
    names = [m.op.name for m in group.body.nodes.values() if m.op.kind != "source"]
    assert names[-3:] == ["contract", "mul", "add"]


def check_random_model(seed: int) -> None:
    """Predictions and a step of a random model are the interpreter's, but for roundings to the other side."""
    drawn = sample(seed, compiled=True)
    engine = kcompile.compile(drawn.model, precision="bfloat16", threads=1).engine
    x, labels = drawn.inputs(5), drawn.targets(5)
    rows = [np.ones(5, np.float32)] * len(drawn.model.outputs)
    for entry, given in (("predict", x), ("train", [*x, *labels, *rows])):
        traced = engine.traced(entry)
        before = {name: array.copy() for name, array in traced.state.items()}
        right = run(traced.graph, 5, dict(zip(traced.graph.inputs, given)), before)
        for made, expected in zip(engine.run(entry, 5, given), right.outputs.values()):
            scale = np.abs(expected).max(initial=0.0)
            np.testing.assert_allclose(made, expected, atol=2 * BITS * scale + 1e-6, rtol=0)
        for name, expected in right.updates.items():
            step = np.abs(expected.astype(np.float64) - before[name]).max(initial=0.0)
            noise = 1e-6 * (1 + np.abs(before[name]).max(initial=0.0))  # of gradients that cancel
            np.testing.assert_allclose(
                traced.captured[name].array, expected, atol=16 * BITS * step + noise, rtol=0, err_msg=name
            )


@pytest.mark.parametrize("seed", [5, 9])
def test_random_models(seed: int) -> None:
    check_random_model(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_random_models(seed: int) -> None:
    check_random_model(seed)


def test_values_that_are_not_finite_go_through() -> None:
    model = Sequential([L.Dense(16, input_shape=(20,), use_bias=False)])
    x = np.zeros((3, 20), "float32")
    x[0, 3], x[1, 4], x[2, 5] = np.nan, np.inf, 1e-40
    made = kcompile.compile(model, precision="bfloat16").predict(x)
    assert np.isnan(made[0]).all() and np.isinf(made[1]).all() and not made[2].any()


def test_what_is_not_a_precision_is_refused() -> None:
    model = images()
    for wrong in ("float16", "mixed_bfloat16", None, 16):
        with pytest.raises(InputError, match=re.escape("'float32', 'bfloat16'")):
            kcompile.compile(model, precision=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="compile: precision"):
        kcompile.compile(model, target="cuda", precision="bfloat16")


def test_the_log_says_once_where_it_is_no_faster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiled_models, "_told", set())
    model = Sequential([L.Dense(2, input_shape=(3,))])
    with caplog.at_level(logging.WARNING, "kcompile"):
        for target in ("x86-64-v2", "x86-64-v2"):
            if targets.native().architecture is targets.named(target).architecture:
                kcompile.compile(model, target=target, precision="bfloat16")
                assert len(caplog.records) == 1 and "no faster" in caplog.text
        kcompile.compile(model)
    assert len(caplog.records) <= 1


def test_copies_keep_it(tmp_path: Path) -> None:
    model = Sequential([L.Dense(2, input_shape=(3,))])
    compiled = kcompile.compile(model, precision="bfloat16")
    assert pickle.loads(pickle.dumps(compiled)).engine.precision == "bfloat16"
    assert kcompile.compile(model).engine.precision == "float32"


def test_libraries_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([L.Dense(40, activation="relu", input_shape=(30,)), L.Dense(3)])
    x = np.random.default_rng(0).normal(size=(4, 30)).astype("float32")
    compiled = kcompile.compile(model, precision="bfloat16")
    library = kcompile_runtime.load(str(kcompile.export(compiled, tmp_path / "model.so")))
    np.testing.assert_array_equal(library.predict(x), compiled.predict(x))
    assert cli.main(["inspect", str(tmp_path / "model.so")]) == 0
    assert re.search(r"precision +bfloat16", capsys.readouterr().out)
    assert np.any(kcompile.compile(model).predict(x) != compiled.predict(x))


def test_the_distance_from_float32_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([L.Dense(40, activation="relu", input_shape=(30,)), L.Dense(3, name="three")])
    x = np.random.default_rng(0).normal(size=(50, 30)).astype("float32")
    found = kcompile.compile(model, precision="bfloat16").accuracy(x)
    assert str(found) == found.text() and "bfloat16 beside float32" in found.text()
    (row,) = found.outputs
    assert (found.precision, found.samples, row.output) == ("bfloat16", 50, "three")
    assert 1e-4 < row.mean < row.largest < 2e-2 and row.same_class is not None and row.same_class > 0.8
    assert kcompile.compile(model).accuracy(x).outputs[0].largest == 0
    model.save(str(tmp_path / "m.h5"))
    assert cli.main(["verify", str(tmp_path / "m.h5"), "--precision", "bfloat16"]) == 0
    text = capsys.readouterr().out
    assert "bfloat16 beside float32" in text and "same class" in text


def test_accuracy_counts_what_is_not_finite() -> None:
    right = np.array([[1.0, 2.0, np.nan]])
    made = np.array([[1.0, np.inf, np.nan]])
    (row,) = accuracy("bfloat16", ["y"], [made], [right]).outputs
    assert row.largest == np.inf
    (row,) = accuracy("bfloat16", ["y"], [right], [right]).outputs
    assert (row.largest, row.mean) == (0, 0)
    (row,) = accuracy("bfloat16", ["y"], [np.array([1.5, 2])], [np.array([1.0, 2])]).outputs
    assert (row.largest, row.same_class) == (0.25, None)

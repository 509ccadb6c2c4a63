"""The numbers of one processor in a minute: functions, products, convolutions, loops over time, training,
and a library. `.ci/run` runs this file as on processors that it emulates; no test here starts a process
of Python."""

from __future__ import annotations

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import compiler
from kcompile.codegen import targets
from kcompile.codegen.binary import link
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import interpreter, ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import layers, models

RNG = np.random.default_rng(7)
FUNCTIONS = (
    "exp",
    "expm1",
    "log",
    "log1p",
    "tanh",
    "sigmoid",
    "softplus",
    "erf",
    "sin",
    "cos",
    "sqrt",
    "rsqrt",
    "square",
    "floor",
    "abs",
    "neg",
    "sign",
    "relu",
    "reduce_sum",
    "reduce_max",
    "reduce_prod",
)


def classifier() -> models.Sequential:
    """By Winograd's algorithm, by the direct one, with strides, and products of odd sizes."""
    return models.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", use_bias=False, input_shape=(10, 10, 16)),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Conv2D(7, 3, strides=2),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(65, activation="elu"),
            layers.Dense(3, activation="softmax"),
        ],
        name="classifier",
    )


def recurrent() -> models.Sequential:
    return models.Sequential(
        [
            layers.Masking(input_shape=(6, 5)),
            layers.Bidirectional(layers.LSTM(9, return_sequences=True)),
            layers.GRU(5),
            layers.Dense(3, activation="softmax"),
        ],
        name="recurrent",
    )


MODELS = {"classifier": classifier, "recurrent": recurrent}


def data(model: models.Sequential, n: int) -> tuple[np.ndarray, np.ndarray]:
    return (RNG.uniform(-1, 1, (n, *model.inputs[0].shape[1:])).astype(np.float32), RNG.integers(0, 3, n))


def test_functions_and_reductions() -> None:
    graph = Graph("functions")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 37), "float32")))
    for name in FUNCTIONS:
        reduces = name.startswith("reduce_")
        y = getattr(ops, name)(x, 1) if reduces else getattr(ops, name)(x)
        graph.outputs[name] = y.value
    program = compiler.load(compiler.compile_graph(graph, "run", targets.native(), frozen=False), {})
    for n in (1, 19):
        values = RNG.uniform(0.1, 3, (n, 37)).astype(np.float32)
        expected = interpreter.run(graph, n, {"x": values}, {}, "float64").outputs
        for got, (name, right) in zip(program.run("run", n, [values]), expected.items()):
            np.testing.assert_allclose(got, right, rtol=3e-6, atol=3e-6, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_the_interpreters(name: str) -> None:
    model = MODELS[name]()
    x = data(model, 5)[0]
    got = model.predict(x)
    model.use_engine(InterpreterEngine(model, "float64"))
    np.testing.assert_allclose(got, model.predict(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_training_is_the_interpreters(name: str) -> None:
    """Losses and weights of a few steps, in float32 both; their sums have other orders."""
    native, reference = MODELS[name](), MODELS[name]()
    reference.set_weights(native.get_weights())
    for model in (native, reference):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    reference.use_engine(InterpreterEngine(reference))
    x, y = data(native, 8)
    for _ in range(3):
        np.testing.assert_allclose(native.train_on_batch(x, y), reference.train_on_batch(x, y), rtol=1e-4)
    for got, right in zip(native.get_weights(), reference.get_weights()):
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-4)


def test_threads_do_not_show() -> None:
    model = classifier()
    x = data(model, 40)[0]
    one, two = (kcompile.compile(model, threads=threads).predict(x, batch_size=40) for threads in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_a_library_predicts_the_same_bits(tmp_path) -> None:
    model = classifier()
    try:
        path = kcompile.export(model, tmp_path / "model.so")
    except link.LinkError as error:
        pytest.skip(str(error))
    library = kcompile_runtime.load(path)
    assert library.selftest() < 1e-6
    x = data(model, 33)[0]
    assert library.predict(x).tobytes() == np.asarray(model.predict(x)).tobytes()

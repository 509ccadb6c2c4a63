"""Embedding: rows of a table, their gradient, masks, configuration and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras
from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential, model_from_json
from kcompile_runtime.errors import InputError, ModelError


def net(**options: Any) -> Any:
    return Sequential([L.Embedding(11, 4, input_length=6, **options), L.LSTM(3), L.Dense(1)])


def numbers(n: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 11, (n, 6))


def test_rows_of_the_table() -> None:
    model = Sequential([L.Embedding(11, 4, input_length=6)])
    x, (table,) = numbers(), model.get_weights()
    assert table.shape == (11, 4) and np.abs(table).max() <= 0.05
    for given in (x, x.astype(np.int32), x.astype(np.float64)):
        np.testing.assert_array_equal(model.predict(given), table[x])
    assert model.inputs[0].dtype == "int32"
    assert model.output_shape == (None, 6, 4)


def test_the_input_may_be_floats_of_another_layer() -> None:
    inputs = L.Input((6,))
    model = Model(inputs, L.Embedding(11, 4)(inputs))
    np.testing.assert_array_equal(
        model.predict(numbers().astype(np.float32)), model.get_weights()[0][numbers()]
    )
    with pytest.raises(InputError, match="whole numbers"):
        Sequential([L.Embedding(11, 4, input_length=6)]).predict(numbers() + 0.5)


def test_training_moves_the_rows_that_occur() -> None:
    """One step of SGD: each row moves by the sum over its places, and no other row."""
    model = Sequential([L.Embedding(11, 4, input_length=6)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = np.array([[1, 1, 2, 3, 1, 2]] * 3)
    before, (target,) = model.get_weights()[0], [np.ones((3, 6, 4), np.float32)]
    model.train_on_batch(x, target)
    expected = before.copy()
    np.add.at(expected, x, -2 * (before[x] - target) / target.size)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5, atol=1e-7)
    untouched = [0, *range(4, 11)]
    np.testing.assert_array_equal(model.get_weights()[0][untouched], before[untouched])


def test_zero_is_padding() -> None:
    x = numbers()
    x[:, 4:] = 0
    x[:, :4] += 1
    x = np.minimum(x, 10) * (np.arange(6) < 4)
    model = net(mask_zero=True)
    short = Sequential([L.Embedding(11, 4, input_length=4), L.LSTM(3), L.Dense(1)])
    short.set_weights(model.get_weights())
    np.testing.assert_allclose(model.predict(x), short.predict(x[:, :4]), rtol=1e-5, atol=1e-7)


def test_regularizer_constraint_and_configuration() -> None:
    model = net(embeddings_regularizer="l2", embeddings_constraint="non_neg", mask_zero=True)
    model.compile("sgd", "mse")
    model.train_on_batch(numbers(), np.ones((7, 1)))
    assert (model.get_weights()[0] >= 0).all()
    copy = model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(numbers()), model.predict(numbers()))


def test_errors() -> None:
    with pytest.raises(ModelError, match="input_dim"):
        L.Embedding(0, 4)
    with pytest.raises(ModelError, match="input_length"):
        L.Embedding(5, 4, input_length=3)(L.Input((4,)))


@pytest.mark.parametrize("width", [1, 3, 16, 37, 256])
@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_scatter_adds_with_the_same_bits_for_any_number_of_threads(width: int, rows: int) -> None:
    graph = Graph("scatter")
    values = Tensor(graph, graph.input("values", TensorType((Batch(), 40, width))))
    at = Tensor(graph, graph.input("at", TensorType((Batch(), 40), "int32")))
    graph.outputs["y"] = ops.scatter_rows(values, at, rows).value
    made = compile_graph(graph, "run", targets.native(), frozen=False)
    rng = np.random.default_rng(0)
    for n in (1, 17):
        x = rng.normal(size=(n, 40, width)).astype(np.float32)
        index = rng.integers(-2, rows + 2, (n, 40)).astype(np.int32)
        results = [load(made, {}, threads).run("run", n, [x, index])[0] for threads in (1, 2)]
        expected = np.zeros((rows, width))
        np.add.at(expected, np.clip(index, 0, rows - 1), x)
        np.testing.assert_allclose(results[0], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(*results)

"""The two networks that every boundary is crossed with: the digits CNN and an LSTM classifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile import keras
from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType


def digits_cnn(size: int = 8, filters: int = 32) -> Any:
    """Two blocks of convolution, batch normalisation and pooling, then dense layers; compiled with
    Adam. Images are [size, size, 1], classes 10."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Conv2D(filters, 3, padding="same", use_bias=False, input_shape=(size, size, 1)),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(2 * filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def text_lstm(words: int = 20000, width: int = 256, units: int = 128, steps: int = 80) -> Any:
    """The classifier of texts: embedding, LSTM, one dense unit; compiled with Adam."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Embedding(words, width, input_length=steps),
            layers.LSTM(units),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def lstm(train: bool, steps: int = 4, width: int = 3, units: int = 5, reverse: bool = False) -> Graph:
    """An LSTM over [n, steps, width], and (train) the gradients of a loss with a step of descent."""
    graph = Graph("lstm")

    def variable(name: str, *shape: int) -> Tensor:
        return Tensor(graph, graph.variable(name, TensorType(shape)))

    x = Tensor(graph, graph.input("x", TensorType((Batch(), steps, width))))
    weights = [variable("w", width, 4 * units), variable("r", units, 4 * units), variable("b", 4 * units)]
    zeros = ops.broadcast_to(ops.constant(graph, 0.0), (Batch(), units))

    def step(state: Any, element: Any, fixed: Any) -> Any:
        w, r, b = fixed
        sums = ops.matmul(element[0], w) + b + ops.matmul(state[0], r)

        def part(k: int) -> Tensor:
            return ops.slice_(sums, (0, k * units), (Batch(), (k + 1) * units))

        i, f, o = (ops.sigmoid(part(k)) for k in (0, 1, 3))
        cell = f * state[1] + i * ops.tanh(part(2))
        hidden = o * ops.tanh(cell)
        return [hidden, cell], [hidden]

    final, outs = scan(step, [zeros, zeros], [ops.transpose(x, (1, 0, 2))], weights, reverse=reverse)
    graph.outputs = {"y": ops.transpose(outs[0], (1, 0, 2)).value, "h": final[0].value}
    if train:
        loss = ops.reduce_mean(ops.square(outs[0])) + ops.reduce_sum(final[0] * 0.3)
        graph.outputs["loss"] = loss.value
        for name, old, g in zip("wrb", weights, gradient(loss, weights)):
            graph.updates[name] = (old - 0.1 * g).value
    return graph


def lstm_arrays(graph: Graph, n: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs for n samples, and weights."""
    generator = np.random.default_rng(0)

    def arrays(values: Any, n: int) -> dict[str, np.ndarray]:
        return {
            name: generator.normal(size=[d if isinstance(d, int) else n for d in graph.type(v).shape]).astype(
                np.float32
            )
            for name, v in values.items()
        }

    return arrays(graph.inputs, n), arrays(graph.variables, n)

"""Embeddings under the optimizers of tf.keras, whose gradients are sparse there: numbers that a batch names
more than once, under limits, and rows that it does not name; against live tf_keras."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nets import ENGINES

from kcompile.tensorflow import names

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("tf_keras")

LIMITS: tuple[dict[str, float], ...] = (
    {},
    {"clipnorm": 0.02},
    {"clipvalue": 0.006},
    {"global_clipnorm": 0.02},
)
MOMENTUM: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True},
    "RMSprop": {"momentum": 0.5, "centered": True},
}
KINDS = ("SGD", "Adam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Ftrl")
CASES = [
    (module, kind, {**MOMENTUM.get(kind, {}), **limit})
    for module in ("", "legacy")
    for kind in (*KINDS, *(["Nadam"] if module else []))  # whose product tf_keras spoils in graphs
    for limit in LIMITS
]
QUICK = (("", "SGD", 1), ("", "Adam", 2), ("legacy", "SGD", 0), ("legacy", "Ftrl", 3))
ROWS, LENGTH, BATCH = 7, 3, 2
X = np.array([[1, 1, 2], [2, 1, 3], [1, 1, 1], [4, 4, 5], [6, 2, 2], [5, 5, 5], [1, 2, 1], [0, 0, 4]])
Y = np.array([[1], [0], [1], [0], [1], [1], [0], [0]], np.float32)
TABLE = np.sin(np.arange(ROWS * 3.0)).reshape(ROWS, 3)
KERNEL = np.cos(np.arange(3.0)).reshape(3, 1)


def quick(module: str, kind: str, limit: dict[str, Any]) -> bool:
    return (module, kind, LIMITS.index({k: v for k, v in limit.items() if "clip" in k})) in QUICK


def net(library: Any, shared: bool = False) -> Any:
    layers = library.layers
    x, table = layers.Input((LENGTH,), dtype="int32"), layers.Embedding(ROWS, 3)
    h = layers.GlobalAveragePooling1D()(table(x))
    if shared:
        h = layers.Multiply()([h, layers.GlobalMaxPooling1D()(table(x))])
    model = library.Model(x, layers.Dense(1)(h))
    model.set_weights([TABLE, KERNEL, np.zeros(1)])
    return model


def trained(model: Any, runner: Any) -> tuple[list[Any], list[np.ndarray]]:
    losses = runner.fit(X, Y, batch_size=BATCH, shuffle=False, epochs=2, verbose=0).history["loss"]
    return losses, model.get_weights()


def close(mine: tuple[list[Any], list[np.ndarray]], theirs: tuple[list[Any], list[np.ndarray]]) -> None:
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-4)
    for a, b in zip(mine[1], theirs[1]):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=5e-5)


@pytest.mark.parametrize(
    ("module", "kind", "options"),
    [
        pytest.param(*case, id="-".join(map(str, case)), marks=[] if quick(*case) else [pytest.mark.slow])
        for case in CASES
    ],
)
def test_fit(module: str, kind: str, options: dict[str, Any]) -> None:
    shared = "global_clipnorm" in options
    found = []
    for library in (importlib.import_module("kcompile.tf_keras"), keras):
        optimizers = getattr(library.optimizers, module) if module else library.optimizers
        model = net(library, shared)
        model.compile(getattr(optimizers, kind)(0.1, **options), "mse")
        found.append(trained(model, model))
    close(*found)


@pytest.mark.parametrize("limit", LIMITS[1:], ids=lambda limit: next(iter(limit)))
def test_live(limit: dict[str, float]) -> None:
    found = []
    for ours in (True, False):
        model = net(keras)
        model.compile(keras.optimizers.Adam(0.1, **limit), "mse", run_eagerly=True)
        found.append(trained(model, ENGINES["native"](model) if ours else model))
    close(*found)


def clipped(tf: Any, kind: str, gradients: Any) -> Any:
    """Gradients as loops and steps of scripts limit them."""
    if kind == "global":
        return tf.clip_by_global_norm(gradients, 0.02)[0]
    if kind == "length":
        length = tf.linalg.global_norm(gradients)
        return [tf.convert_to_tensor(g) / length for g in gradients]
    if kind == "norm":
        return [tf.clip_by_norm(g, 0.02) for g in gradients]
    if kind == "norms":  # twice
        return [tf.clip_by_value(tf.clip_by_norm(g, 0.02, axes=[-1]), -0.01, 0.015) for g in gradients]
    return [tf.clip_by_value(g, -0.006, 0.004) for g in gradients]


def stepped(tf: Any, library: Any, kind: str) -> tuple[list[Any], list[np.ndarray]]:
    """By a train_step."""

    class Clipping(library.Model):  # type: ignore[name-defined, misc]
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            gradients = clipped(tf, kind, tape.gradient(loss, self.trainable_variables))
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            return {"loss": loss}

    inner = net(library)
    model = Clipping(inner.inputs, inner.outputs)
    model.compile(library.optimizers.Adam(0.1))
    return trained(model, model)


def looped(tf: Any, library: Any, kind: str) -> tuple[list[Any], list[np.ndarray]]:
    """By a loop, whose steps are computed when they come, and compiled when they come again."""
    model, optimizer, losses = net(library), library.optimizers.Adam(0.1), []
    for _ in range(2):
        for at in range(0, len(X), BATCH):
            with tf.GradientTape() as tape:
                y = model(tf.constant(X[at : at + BATCH]), training=True)
                loss = tf.reduce_mean(tf.square(y - Y[at : at + BATCH]))
            gradients = clipped(tf, kind, tape.gradient(loss, model.trainable_variables))
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            losses.append(float(loss))
    return losses, model.get_weights()


@pytest.mark.parametrize("train", [stepped, looped])
@pytest.mark.parametrize("kind", ["global", "norm", "value", "norms", "length"])
def test_clipping_of_tapes_gradients(kind: str, train: Any) -> None:
    found = []
    for library, functions in ((importlib.import_module("kcompile.tf_keras"), thin()), (keras, tf)):
        found.append(train(functions, library, kind))
    close(*found)


def thin() -> Any:
    """TensorFlow as scripts find it under kcompile."""
    return SimpleNamespace(**names(""), linalg=SimpleNamespace(**names("linalg")))

"""Layers of the user's own that hold layers, and that take tensors by any argument."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weight_names import block_of, names

import kcompile
from kcompile import keras as keras2
from kcompile import keras3, tf_keras
from kcompile.keras.settings import at_version
from kcompile_runtime import load
from kcompile_runtime.errors import ModelError

RECORDED = json.loads((Path(__file__).parents[1] / "weight_names.json").read_text())
VERSIONS = {"keras2.2": "2.2.4"}
EDITIONS = {"keras2.2": keras2, "keras2": keras2, "tf_keras": tf_keras, "keras3": keras3}


@pytest.mark.parametrize("vintage", RECORDED)
def test_weights_have_the_names_that_keras_gives_them(vintage: str) -> None:
    with at_version(VERSIONS.get(vintage, "2.3.1")):
        assert names(EDITIONS[vintage]) == RECORDED[vintage]


def _data(seed: int = 0, features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(8, features)).astype("f"), rng.normal(size=(8, features)).astype("f")


@pytest.mark.parametrize("keras", [keras2, tf_keras, keras3])
def test_layers_inside_are_trained_as_beside_each_other(keras: Any) -> None:
    layers = keras.layers

    class Residual(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first = layers.Dense(6, activation="relu")
            self.norm = layers.BatchNormalization()
            self.second = layers.Dense(6, kernel_regularizer="l2")

        def call(self, x: Any) -> Any:
            return x + self.second(self.norm(self.first(x)))

    x, y = layers.Input((6,)), layers.Input((6,))
    held = keras.models.Model(x, Residual()(x))
    parts = Residual()
    beside = keras.models.Model(y, layers.add([y, parts.second(parts.norm(parts.first(y)))]))
    parts.set_weights(held.layers[1].get_weights())
    a, b = _data()
    losses = []
    for model in (held, beside):
        model.compile("sgd", "mse")
        losses.append(model.fit(a, b, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(held.predict(a, verbose=0), beside.predict(a, verbose=0), rtol=1e-4, atol=1e-5)


def _pair(keras: Any) -> Any:
    layers = keras.layers

    class Pair(layers.Layer):
        """Scales x by what `scale` says, and adds others."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense = layers.Dense(3)

        def call(self, x: Any, scale: Any = None, others: Any = (), training: bool = False) -> Any:
            y = self.dense(x)
            y = y if scale is None else y * self.dense(scale)
            for other in others:
                y = y + other
            return {"sum": y, "twice": y * 2.0}

    return Pair


@pytest.mark.parametrize("keras", [tf_keras, keras3])
def test_tensors_may_be_any_arguments(keras: Any, tmp_path: Path) -> None:
    a, b = keras.Input((6,)), keras.Input((6,))
    layer = _pair(keras)(name="pair")
    first = layer(a, b, others=[keras.layers.Dense(3)(b)])
    assert list(first) == ["sum", "twice"]
    model = keras.Model([a, b], [first["twice"], layer(b)["sum"]])
    x = [_data(k)[0] for k in range(2)]
    kernel, bias, other, zero = _by_name(model)
    found = model.predict(x, verbose=0)
    wanted = 2 * ((x[0] @ kernel + bias) * (x[1] @ kernel + bias) + x[1] @ other + zero)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], x[1] @ kernel + bias, rtol=1e-4, atol=1e-5)
    classes = {"Pair": type(layer)}
    for suffix in ("h5", "keras"):
        model.save(tmp_path / f"m.{suffix}")
        again = keras.models.load_model(tmp_path / f"m.{suffix}", custom_objects=classes)
        for p, q in zip(again.predict(x, verbose=0), found):
            np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6)
    kcompile.export(model, tmp_path / "m.so")
    for p, q in zip(load(tmp_path / "m.so").predict(x), found):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6)


def _by_name(model: Any) -> list[np.ndarray]:
    pair = model.get_layer("pair").get_weights()
    return [*pair, *next(x for x in model.layers if type(x).__name__ == "Dense").get_weights()]


def test_the_first_argument_may_be_a_dict_of_tensors(tmp_path: Path) -> None:
    class Sum(keras3.layers.Layer):
        def call(self, parts: Any) -> Any:
            return parts["a"] + parts["more"][0] * 2.0 - parts["more"][1]

    a, b, c = (keras3.Input((2,)) for _ in range(3))
    model = keras3.Model([a, b, c], Sum()({"a": a, "more": [b, c]}))
    x = [_data(k, 2)[0] for k in range(3)]
    np.testing.assert_allclose(model.predict(x, verbose=0), x[0] + 2 * x[1] - x[2], rtol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras3.models.load_model(tmp_path / "m.keras", custom_objects={"Sum": Sum})
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_build_is_given_the_shapes_it_names() -> None:
    class Both(keras3.layers.Layer):
        def build(self, x_shape: Any, other_shape: Any) -> None:
            self.seen = x_shape, other_shape
            self.w = self.add_weight(shape=(x_shape[-1], other_shape[-1]), name="w")

        def call(self, x: Any, other: Any) -> Any:
            return keras3.ops.matmul(x, self.w) + other

    layer = Both()
    layer(keras3.Input((3,)), keras3.Input((5,)))
    assert layer.seen == ((None, 3), (None, 5))


def test_a_number_of_no_tensor_is_an_error() -> None:
    class One(keras3.layers.Layer):
        def call(self, x: Any, other: Any = None) -> Any:
            return x

    x = keras3.Input((2,))
    config = keras3.Model(x, One()(x, other=x)).get_config()
    text = json.dumps(config).replace('"index": 0', '"index": 7')
    with pytest.raises(ModelError, match="the number of one of 1 inputs"):
        keras3.Model.from_config(json.loads(text), custom_objects={"One": One})
    with pytest.raises(TypeError, match="argument"):
        One()(x, x, x)


def test_flags_of_layers_inside_count() -> None:
    x = keras3.Input((6,))
    block = block_of(keras3.layers)()
    model = keras3.Model(x, block(x))
    block.first.trainable = False
    model.compile("sgd", "mse")
    before = {w.path: w.numpy() for w in model.weights}
    model.train_on_batch(*_data())
    moved = {w.path for w in model.weights if (w.numpy() != before[w.path]).any()}
    assert {w.path for w in block.first.weights} & moved == set()
    assert {w.path for w in block.second.weights} <= moved
    block.trainable = False
    assert model.trainable_weights == [] and not block.norm.trainable

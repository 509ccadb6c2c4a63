"""Weights of every dtype that numbers have here, as tf.keras and Keras 3 allow them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3, tf_keras
from kcompile.ir.types import DTYPES, FLOATS
from kcompile_runtime.errors import ModelError

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def counting(keras: Any, dtype: str) -> Any:
    class Counts(keras.layers.Layer):  # type: ignore[misc]
        """Adds what it holds, and counts its calls in training."""

        def build(self, shape: Any) -> None:
            self.first = self.add_weight(
                name="first", shape=(3,), dtype=dtype, initializer="ones", trainable=False
            )
            self.calls = self.add_weight(name="calls", shape=(), dtype=dtype, trainable=False)
            self.scale = self.add_weight(name="scale", shape=(3,), initializer="ones")

        def call(self, x: Any, training: Any = None) -> Any:
            cast = keras.ops.cast if keras is keras3 else keras.backend.cast
            if training:
                calls = cast(cast(self.calls, "float32") + 1.0, dtype)
                self.calls.assign(calls)
            return x * self.scale + cast(self.first, "float32")

    return Counts


@pytest.mark.parametrize("keras", [tf_keras, keras3])
@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in FLOATS])
def test_compute_train_and_save(keras: Any, dtype: str, tmp_path: Path) -> None:
    counts = counting(keras, dtype)
    x = keras.Input((3,))
    model = keras.Model(x, counts(name="counts")(x))
    kinds = [v.dtype.name for v in model.get_weights()]
    assert sorted(kinds) == sorted([dtype, dtype, "float32"])
    np.testing.assert_array_equal(model.predict(X, verbose=0), X + 1)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(X, X, batch_size=2, verbose=0)
    assert model.layers[1].calls.numpy() == (True if dtype == "bool" else 2)
    model.save(tmp_path / "m.keras")
    back = kcompile.load(tmp_path / "m.keras", custom_objects={"Counts": counts})
    for a, b in zip(back.get_weights(), model.get_weights()):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(back.predict(X, verbose=0), X + 1)


@pytest.mark.parametrize("keras", [tf_keras, keras3])
def test_first_values(keras: Any) -> None:
    layer = keras.layers.Layer()
    assert layer.add_weight(shape=(2,), dtype="int32", name="a").numpy().tolist() == [0, 0]
    with pytest.raises(ModelError, match="whole numbers"):
        layer.add_weight(shape=(2,), dtype="uint8", initializer="random_normal", name="b")

"""Classes of a script's own in files whose arguments or options look like those of Keras' classes.

Of executed Keras 3 and tf_keras 2.21.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3, tf_keras

BOTH = pytest.mark.parametrize("keras", [tf_keras, keras3])
SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".h5"])
X, Y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)


@BOTH
@SUFFIXES
def test_an_argument_called_layers_is_no_model(keras: Any, suffix: str, tmp_path: Path) -> None:
    class Columns(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, layers: Any = (1,), **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.sizes = list(layers)

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(name="k", shape=(shape[-1], sum(self.sizes)), initializer="ones")

        def call(self, x: Any) -> Any:
            return (
                keras.backend.dot(x, self.kernel) if keras is tf_keras else keras.ops.matmul(x, self.kernel)
            )

        def get_config(self) -> Any:
            return {**super().get_config(), "layers": self.sizes}

    x = keras.Input((3,))
    model = keras.Model(x, Columns([4, 2])(x))
    model.save(tmp_path / f"m{suffix}")
    back = kcompile.load(tmp_path / f"m{suffix}", custom_objects={"Columns": Columns})
    assert back.layers[1].sizes == [4, 2]
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


@BOTH
@SUFFIXES
def test_optimizers_of_a_class_without_a_configuration(keras: Any, suffix: str, tmp_path: Path) -> None:
    class Plain(keras.optimizers.SGD):  # type: ignore[misc]
        pass

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(Plain(0.25), "mse")
    model.train_on_batch(X, Y)
    model.save(tmp_path / f"m{suffix}")
    back = kcompile.load(tmp_path / f"m{suffix}", custom_objects={"Plain": Plain})
    assert type(back.optimizer) is Plain
    assert back.optimizer.get_config() == model.optimizer.get_config()


def test_legacy_optimizers_are_of_their_package_again(tmp_path: Path) -> None:
    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2)])
    model.compile(tf_keras.optimizers.legacy.SGD(0.25), "mse")
    model.save(tmp_path / "m.h5")
    config = kcompile.load(tmp_path / "m.h5").optimizer.get_config()
    wanted = {"name": "SGD", "learning_rate": 0.25, "decay": 0.0, "momentum": 0.0, "nesterov": False}
    assert config == wanted


@BOTH
def test_parts_of_a_loaded_layer_are_numbered_once(keras: Any, tmp_path: Path) -> None:
    class Holds(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.norm = keras.layers.BatchNormalization()

        def call(self, x: Any) -> Any:
            return self.norm(x)

    keras.backend.clear_session()
    x = keras.Input((3,))
    keras.Model(x, Holds()(x)).save(tmp_path / "m.h5")
    back = kcompile.load(tmp_path / "m.h5", custom_objects={"Holds": Holds})
    assert back.layers[1].norm.name == "batch_normalization_1"

"""Files between tf_keras (Keras 2 on TensorFlow) and us, where it is installed: training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras as ours
from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
keras = pytest.importorskip("tf_keras")
# Not Nadam: tf_keras multiplies its product of momenta once for each variable.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {},
    "SGD momentum": {"momentum": 0.9, "nesterov": True},
    "RMSprop": {},
    "Adagrad": {},
    "Adadelta": {},
    "Adam": {"clipvalue": 0.5},
    "Adam amsgrad": {"amsgrad": True},
    "Adamax": {},
}
X, Y = (np.random.default_rng(n).normal(size=(8, n)).astype(np.float32) for n in (4, 2))


def train(*models: Any) -> None:
    for _ in range(3):
        losses = [float(np.ravel(m.train_on_batch(X, Y))[0]) for m in models]
        np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


def loaded(path: Path) -> Any:
    model = kcompile.load(path)
    model.use_engine(InterpreterEngine(model))
    return model


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_there_and_back(tmp_path: Path, name: str, optimizer: str) -> None:
    kind, options = optimizer.split()[0], OPTIMIZERS[optimizer]
    live = keras.Sequential(
        [keras.layers.Dense(3, activation="tanh", input_shape=(4,)), keras.layers.Dense(2)]
    )
    live.compile(getattr(keras.optimizers, kind)(0.01, **options), "mse")
    train(live)
    live.save(tmp_path / name)
    model = loaded(tmp_path / name)
    assert int(model.optimizer.iterations.value) == 3
    train(live, model)
    if name == "m.h5":  # our .keras is that of Keras 3
        model.save(tmp_path / "back.h5")
        again = keras.models.load_model(tmp_path / "back.h5")
        assert int(again.optimizer.iterations) == 6
        train(live, model, again)
    for a, b in zip(model.get_weights(), live.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_nadam_of_keras_2_goes_on_there(tmp_path: Path) -> None:
    model = ours.Sequential([ours.layers.Dense(2, input_shape=(4,))])
    model.compile("nadam", "mse")
    model.use_engine(InterpreterEngine(model))
    train(model)
    model.save(tmp_path / "m.h5")
    train(model, loaded(tmp_path / "m.h5"), keras.models.load_model(tmp_path / "m.h5"))


def normalizing() -> Any:
    """Images (a fused kernel), rows (none), and axes at which TensorFlow has none."""
    layers = keras.layers
    x = layers.Input((5, 5, 4))
    y = layers.BatchNormalization(momentum=0.7)(layers.Conv2D(4, 2)(x))
    y = layers.BatchNormalization(axis=1, momentum=0.7)(y)
    y = layers.BatchNormalization(momentum=0.7)(layers.Flatten()(y))
    z = layers.Reshape((5, 5, 2, 2))(x)
    z = layers.BatchNormalization(axis=1, momentum=0.7)(z)
    z = layers.BatchNormalization(axis=3, momentum=0.7)(z)
    return keras.Model(x, layers.Dense(2)(layers.concatenate([y, layers.Flatten()(z)])))


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("way", ["m.h5", "m.keras", "live"])
def test_moving_statistics_are_those_of_fused_kernels(tmp_path: Path, way: str, batch: int) -> None:
    live = normalizing()
    live.compile("sgd", "mse")
    generator = np.random.default_rng(3)
    x = generator.normal(size=(batch, 5, 5, 4)).astype(np.float32)
    y = generator.normal(size=(batch, 2)).astype(np.float32)
    if way == "live":
        model = from_keras(live)
        model.use_engine(InterpreterEngine(model))
    else:
        live.save(tmp_path / way)
        model = loaded(tmp_path / way)
    for _ in range(3):
        live.train_on_batch(x, y)
        model.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), live.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "ours.h5")
    again = kcompile.load(tmp_path / "ours.h5")
    assert {layer.vintage for layer in (again, *again.layers)} == {"tf_keras"}


def test_a_layer_unfrozen_in_a_frozen_model(tmp_path: Path) -> None:
    """A frozen model writes its weights layer by layer, where others write those that are trained first."""
    x, norm = keras.Input((2,)), keras.layers.BatchNormalization()
    inner = keras.Model(x, keras.Sequential([norm])(keras.layers.Dense(3)(x)), name="inner")
    model = keras.Sequential([inner, keras.layers.Dense(1)])
    inner.trainable = False
    norm.trainable = True
    model.save(tmp_path / "m.h5")
    x = np.ones((3, 2), np.float32)
    np.testing.assert_allclose(loaded(tmp_path / "m.h5").predict(x), model.predict(x, verbose=0), rtol=1e-5)

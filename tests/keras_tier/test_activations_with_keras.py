"""Every activation of the installed Keras: values and gradients, by name, as a function and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3
from kcompile.keras import backend as K

keras = pytest.importorskip("keras")
jax = pytest.importorskip("jax")

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "celu": [{"alpha": 0.6}],
    "elu": [{"alpha": 0.6}],
    "gelu": [{"approximate": True}],
    "glu": [{"axis": 1}],
    "hard_shrink": [{"threshold": 0.8}],
    "leaky_relu": [{"negative_slope": 0.4}],
    "log_softmax": [{"axis": 1}],
    "relu": [{"negative_slope": 0.1}, {"max_value": 0.7}, {"negative_slope": 0.2, "threshold": 0.3}],
    "soft_shrink": [{"threshold": 0.8}],
    "softmax": [{"axis": 1}],
    "sparsemax": [{"axis": 1}],
    "squareplus": [{"b": 2}],
    "threshold": [{"threshold": 0.3, "default_value": -2.0}],
}
NAMES = sorted(
    name
    for name, value in vars(keras.activations).items()
    if not name.startswith("_") and callable(value) and name not in ("get", "serialize", "deserialize")
)
CASES = [
    (name, options)
    for name in NAMES
    for options in ([] if name == "threshold" else [{}]) + OPTIONS.get(name, [])
]
ALONE = [name for name in NAMES if name != "threshold"]  # those that need nothing besides x


def test_values_and_gradients_are_those_of_keras() -> None:
    x = np.random.default_rng(0).normal(0, 2, (3, 4, 6)).astype("float32")
    x[0, 0, :3] = x[0, 1, 3:] = 1.5  # equal elements, where order could count
    weights = np.random.default_rng(1).normal(size=(3, 4, 6)).astype("float32")
    held = K.variable(x)

    def scale(y: Any) -> Any:
        return weights[: y.shape[0], : y.shape[1], : y.shape[2]]

    values, slopes, right = [], [], []
    for name, options in CASES:
        theirs = getattr(keras.activations, name)

        def total(v: Any, theirs: Any = theirs, options: dict[str, Any] = options) -> Any:
            y = theirs(v, **options)
            return (y * scale(y)).sum()

        value = np.asarray(theirs(x, **options))
        right.append((name, options, value, np.asarray(jax.grad(total)(x))))
        y = getattr(keras3.activations, name)(held, **options)
        values.append(y)
        slopes += K.gradients(K.sum(y * scale(value)), [held])
    found = K.function([], values + slopes)([])
    for (name, options, value, slope), y, g in zip(right, found, found[len(values) :]):
        np.testing.assert_allclose(y, value, atol=2e-6, err_msg=f"{name} {options}")
        np.testing.assert_allclose(g, slope, atol=1e-5, err_msg=f"gradient of {name} {options}")


def test_models_and_files_of_keras_have_them(tmp_path: Path) -> None:
    x = np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    inputs = keras.Input((4,))
    outputs = []
    for name in ALONE:
        hidden = keras.layers.Dense(8, activation=name)(inputs)
        outputs.append(keras.layers.Activation(getattr(keras.activations, name))(hidden))
    slope = keras.layers.LeakyReLU(0.1)  # a layer as the activation of another
    live = keras.Model(inputs, [*outputs, keras.layers.Dense(3, activation=slope)(inputs)])
    right = live(x)
    paths = [str(tmp_path / f"model.{kind}") for kind in ("keras", "h5")]
    for path in paths:
        live.save(path)
    for ours in (kcompile.compile(live), *map(kcompile.load, paths)):
        for name, y, expected in zip([*ALONE, "layer"], ours.predict(x), right):
            np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6, err_msg=name)
    read = keras3.models.load_model(paths[0])
    for kind in ("keras", "h5"):
        back = str(tmp_path / f"back.{kind}")
        read.save(back)
        for name, y, expected in zip([*ALONE, "layer"], keras.saving.load_model(back)(x), right):
            np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6, err_msg=name)

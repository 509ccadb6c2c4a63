"""Names that we use on layers and models and Keras has not, in classes of scripts."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kcompile import keras3 as keras
from kcompile.keras.names_of_scripts import NAMES

X = np.ones((4, 3), np.float32)


class Sets(keras.layers.Layer):
    """Sets them all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in NAMES:
            setattr(self, name, len(name))
        self.parts = [keras.layers.Dense(4, kernel_initializer="ones") for _ in range(2)]

    def call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x * float(sum(getattr(self, name) for name in NAMES if name != "parts"))


class Defines(keras.layers.Layer):
    """Has some as methods, properties and numbers of the class."""

    counts = 5

    def number(self, x: Any) -> Any:
        return x + 1.0

    @property
    def label(self) -> float:
        return 7.0

    @classmethod
    def classes(cls) -> float:
        return 2.0

    @staticmethod
    def flag(x: Any) -> Any:
        return x * 2.0

    def trace(self, x: Any) -> Any:
        return x * self.label * self.counts * self.classes()

    def call(self, x: Any) -> Any:
        return self.flag(self.trace(self.number(x)))


class Scaled(keras.layers.Dense):
    """Is given one by its configuration."""

    def __init__(self, units: int, label: float = 3.0, **kwargs: Any) -> None:
        super().__init__(units, kernel_initializer="ones", **kwargs)
        self.label, self.number = label, 4.0

    def call(self, x: Any) -> Any:
        return super().call(x) * self.label * self.number

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units, "label": self.label, "name": self.name}


def total() -> float:
    return float(sum(map(len, NAMES - {"parts"})))


def test_layers_have_them_for_the_script(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), Defines(), Scaled(2), Sets()])
    model.compile("sgd", "mse")
    found = model.predict(X, verbose=0)
    np.testing.assert_allclose(found, np.full((4, 4), 2 * 7 * 5 * 2 * 2 * 3 * 12 * 2 * 4 * total()), 1e-5)
    defines, scaled, sets = model.layers
    assert (defines.counts, defines.label, Defines.counts, Defines.classes()) == (5, 7.0, 5, 2.0)
    scaled.label = 9.0
    assert scaled.label == 9.0 and sets.inside == len("inside") and len(sets.parts) == 2
    scaled.label = 3.0
    weights = tmp_path / "m.weights.h5"
    model.save_weights(weights)
    with h5py.File(weights) as file:
        assert "layers/sets/parts/dense/vars/0" in file
    model.save(tmp_path / "m.keras")
    own = {"Defines": Defines, "Scaled": Scaled, "Sets": Sets}
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects=own)
    np.testing.assert_array_equal(again.predict(X, verbose=0), found)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(X, verbose=0), found)
    assert copied.layers[2].runs == len("runs")


def test_models_have_them_for_the_script() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            for name in NAMES:
                setattr(self, name, len(name))
            self.nodes = [keras.layers.Dense(2, kernel_initializer="ones")]
            self.trainer = keras.layers.Dense(3, kernel_initializer="zeros")

        def call(self, x: Any) -> Any:
            return self.trainer(self.nodes[0](x)) + self.number

    class Named(keras.Model):
        def __init__(self) -> None:
            x = keras.Input((3,))
            super().__init__(x, keras.layers.Dense(1, kernel_initializer="ones")(x))
            for name in NAMES:
                setattr(self, name, name)

    model = Own()
    model.compile("sgd", "mse")
    loss = model.fit(X, X, batch_size=4, verbose=0).history["loss"]
    np.testing.assert_allclose(loss, [25.0])  # (number is 6) - 1
    assert len(model.weights) == 4 and model.label == 5 and model.nodes[0].units == 2
    named = Named()
    named.compile("sgd", "mse")
    named.fit(X, X[:, :1] * 3.0, verbose=0)
    np.testing.assert_allclose(named.predict(X, verbose=0), np.full((4, 1), 3.0))
    assert all(getattr(named, name) == name for name in NAMES)


def test_layers_stand_where_they_were_set_first() -> None:
    """Not where an attribute was made: weights are in this order in Keras 3."""

    class Two(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.last = None
            self.first = keras.layers.Dense(2)
            self.last = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.last(self.first(x))

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = None
            self.first = keras.layers.Dense(2)
            self.last = [keras.layers.Dense(3)]

        def call(self, x: Any) -> Any:
            return self.last[0](self.first(x))

    for made in (Two(), Model()):
        made(X)
        assert [w.shape for w in made.weights] == [(3, 2), (2,), (2, 3), (3,)]

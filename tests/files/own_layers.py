"""Layers and models of a user's own, whose classes say themselves what files keep of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np


def classes(keras: Any) -> SimpleNamespace:
    """The classes, in a Keras 3."""
    L = keras.layers

    class Bare(L.Layer):
        """No name and no dtype in its configuration, nor in its constructor."""

        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor

        def get_config(self) -> dict[str, Any]:
            return {"factor": self.factor}

    class Around(L.Layer):
        """Objects in its configuration, which from_config makes again."""

        def __init__(self, model: Any, layer: Any, scale: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.model, self.layer = model, layer
            self.scale = np.ones(2, "float32") if scale is None else np.asarray(scale, "float32")

        def call(self, x: Any) -> Any:
            return self.model(self.layer(x)) * self.scale

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "model": self.model, "layer": self.layer, "scale": self.scale}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            names = ("model", "layer", "scale")
            made = {name: keras.saving.deserialize_keras_object(config.pop(name)) for name in names}
            return cls(**made, **config)

    class Stores(L.Dense):
        """An array beside the weights."""

        shift = np.zeros(2, "float32")

        def call(self, x: Any) -> Any:
            return super().call(x) + self.shift

        def save_own_variables(self, store: Any) -> None:
            super().save_own_variables(store)
            store["shift"] = self.shift

        def load_own_variables(self, store: Any) -> None:
            self.shift = store["shift"][()]
            super().load_own_variables({key: store[key] for key in ("0", "1")})

    class Told(L.Layer):
        """Built by more than a shape."""

        def build(self, shape: Any, start: str = "zeros") -> None:
            self.start, self.shape_ = start, shape
            self.w = self.add_weight(shape=(shape[-1],), initializer=start)

        def call(self, x: Any) -> Any:
            return x + self.w

        def get_build_config(self) -> dict[str, Any]:
            return {"shape": self.shape_, "start": self.start}

        def build_from_config(self, config: dict[str, Any]) -> None:
            self.build(config["shape"], config["start"])

    class Own(keras.Model):
        """compile with an argument of its own."""

        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units, self.dense = units, L.Dense(units)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def compile(self, optimizer: Any, note: str) -> None:
            super().compile(optimizer, "mse")
            self.note = note

        def get_config(self) -> dict[str, Any]:
            return {"units": self.units}

        def get_compile_config(self) -> dict[str, Any]:
            return {"optimizer": self.optimizer, "note": self.note}

        def compile_from_config(self, config: dict[str, Any]) -> None:
            optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
            self.compile(optimizer, config["note"])

    return SimpleNamespace(Bare=Bare, Around=Around, Stores=Stores, Told=Told, Own=Own)


def chain(keras: Any) -> Any:
    """A model with one of each layer, trained."""
    own = classes(keras)
    inside = keras.Sequential([keras.layers.Dense(2, activation="tanh")])
    told = own.Told()
    told.build((None, 2), "ones")
    model = keras.Sequential(
        [keras.Input((3,)), own.Bare(0.5), own.Around(inside, keras.layers.Dense(4)), own.Stores(2), told]
    )
    model.layers[2].shift = np.array([1.0, 2.0], "float32")
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return model

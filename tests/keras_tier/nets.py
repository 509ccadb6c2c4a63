"""Live Keras models with random weights and data for them, and what computes them on our side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Net:
    """A maker of live models, their losses, and data: data(n, rng) gives inputs and targets."""

    make: Callable[[], Any]
    loss: Any
    data: Callable[[int, np.random.Generator], tuple[Arrays, Arrays]]
    options: dict[str, Any]

    def model(self, seed: int = 0) -> Any:
        """The live model, with random weights that keep values near 1."""
        model = self.make()
        rng = np.random.default_rng(seed)
        for variable in model.weights:
            shape = tuple(variable.shape)
            if len(shape) > 1:
                value = rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
            elif variable.name in ("gamma", "moving_variance"):
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.normal(size=shape) * 0.1
            variable.assign(value.astype(np.float32))
        return model

    def compiled(self, optimizer: Any, seed: int = 0, **options: Any) -> Any:
        model = self.model(seed)
        model.compile(optimizer=optimizer, loss=self.loss, **{**self.options, **options})
        return model


def _mlp() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            layers.Input((20,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(48, activation="tanh", kernel_regularizer="l2"),
            layers.Dense(32),
            layers.Activation("hard_sigmoid"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _mlp_data(n: int, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    return (
        [rng.normal(size=(n, 20)).astype(np.float32)],
        [np.eye(10, dtype=np.float32)[rng.integers(0, 10, n)]],
    )


def _conv() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            layers.Input((12, 11, 3)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.Conv2D(16, (3, 2), strides=2, activation="elu"),
            layers.BatchNormalization(momentum=0.9, scale=False),
            layers.AveragePooling2D(2, strides=1, padding="same"),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def _conv_data(n: int, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    return ([rng.normal(size=(n, 12, 11, 3)).astype(np.float32)], [rng.integers(0, 5, n).astype(np.int32)])


def _shared() -> Any:
    """Two inputs, one encoder for both (a model of its own), two outputs."""
    import keras
    from keras import layers

    first, second = layers.Input((16,), name="first"), layers.Input((16,), name="second")
    encoder = keras.Sequential(
        [layers.Input((16,)), layers.Dense(24, activation="softplus"), layers.Dense(12, activation="selu")],
        name="encoder",
    )
    head = layers.Dense(12, activation="sigmoid", name="head")
    a, b = encoder(first), encoder(second)
    joined = layers.Concatenate()([a, b, layers.Multiply()([a, head(b)]), layers.Add()([head(a), b])])
    hidden = layers.Dense(20, activation="relu")(joined)
    same = layers.Dense(1, activation="sigmoid", name="same")(hidden)
    amount = layers.Dense(3, name="amount")(hidden)
    return keras.Model([first, second], [same, amount])


def _shared_data(n: int, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    return (
        [rng.normal(size=(n, 16)).astype(np.float32) for _ in range(2)],
        [rng.integers(0, 2, (n, 1)).astype(np.float32), rng.normal(size=(n, 3)).astype(np.float32)],
    )


NETS = {
    "mlp": Net(_mlp, "categorical_crossentropy", _mlp_data, {"metrics": ["accuracy"]}),
    "conv": Net(_conv, "sparse_categorical_crossentropy", _conv_data, {"metrics": ["accuracy"]}),
    "shared": Net(
        _shared,
        ["binary_crossentropy", "mse"],
        _shared_data,
        {"loss_weights": [1.0, 0.5], "metrics": [["accuracy"], ["mae"]]},
    ),
}


def one(values: Arrays) -> Any:
    """Keras' way with a single array."""
    return values[0] if len(values) == 1 else values


# ---------------------------------------------------------------- our side


class Interpreted:
    """The front end on the interpreter, one model with the live one."""

    def __init__(self, live: Any) -> None:
        from kcompile.files.twin import Twin
        from kcompile.interpreted import InterpreterEngine

        self.twin = Twin(live)
        self.model = self.twin.model
        self.model.use_engine(InterpreterEngine(self.model))

    def predict_on_batch(self, x: Any) -> Any:
        self.twin.sync(training=False)
        return self.model.predict_on_batch(x)

    def train_on_batch(self, x: Any, y: Any, **options: Any) -> Any:
        self.twin.sync()
        result = self.model.train_on_batch(x, y, **options)
        self.twin.sync()
        return result


def _native(live: Any) -> Any:
    import kcompile

    return kcompile.compile(live)


ENGINES: dict[str, Callable[[Any], Any]] = {"interpreter": Interpreted, "native": _native}

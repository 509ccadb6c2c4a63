"""Data, and models that are trained on it by the interpreter."""

import numpy as np

from kcompile.interpreted import InterpreterEngine
from kcompile.keras.inputs import Input
from kcompile.keras.layers import Concatenate, Dense
from kcompile.keras.models import Model, Sequential

rng = np.random.default_rng(5)
X = rng.normal(size=(20, 4)).astype("f")
CLASSES = X[:, :3].argmax(1)
ONE_HOT = np.eye(3, dtype="f")[CLASSES]
Y = X.sum(1)


def ready(model, *arguments, **options):
    model.compile(*arguments, **options)
    model.use_engine(InterpreterEngine(model))
    return model


def classifier(loss="sparse_categorical_crossentropy", optimizer="sgd", **options):
    layers = [Dense(8, activation="relu", input_shape=(4,)), Dense(3, activation="softmax")]
    return ready(Sequential(layers), optimizer, loss, **options)


def regressor(loss="mse", optimizer="sgd", vintage="keras2", **options):
    return ready(Sequential([Dense(1, input_shape=(4,))], vintage=vintage), optimizer, loss, **options)


def two_outputs(**options):
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(5, activation="tanh", name="shared")
    merged = Concatenate()([shared(a), shared(b)])
    outputs = [Dense(3, activation="softmax", name="kind")(merged), Dense(1, name="size")(merged)]
    options = {"loss": ["sparse_categorical_crossentropy", "mse"], **options}
    return ready(Model([a, b], outputs), "sgd", **options)


def two(vintage="keras2", **compiled):
    x = Input((4,))
    model = Model(
        x,
        [
            Dense(1, name="a", vintage=vintage)(x),
            Dense(3, activation="softmax", name="b", vintage=vintage)(x),
        ],
        vintage=vintage,
    )
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", **compiled)
    return model

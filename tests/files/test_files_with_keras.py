"""Files between real Keras 3 and us, in both directions: equal predictions, equal state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import crafted
import numpy as np
import pytest
from test_saving_files import IMAGES, WORDS, randomized, recurrent, shared

import kcompile
from kcompile import keras as ours

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
keras = pytest.importorskip("keras")


def live_shared() -> Any:
    from keras import layers

    a, b = layers.Input((6, 6, 2), name="a"), layers.Input((6, 6, 2), name="b")
    inner = keras.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(3, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
        ],
        name="inner",
    )
    x = layers.Input((6, 6, 6))
    deep = keras.Model(x, layers.MaxPooling2D()(layers.Conv2D(4, 2, activation="tanh")(x)), name="deep")
    h = layers.Add()([inner(a), inner(b)])
    h = layers.Flatten()(deep(layers.Concatenate()([h, inner(a)])))
    h = layers.Dropout(0.3)(h)
    return keras.Model(
        [a, b],
        [layers.Dense(5, activation="hard_sigmoid", name="head")(h), layers.Dense(1, name="amount")(h)],
    )


def live_recurrent() -> Any:
    from keras import layers

    return keras.Sequential(
        [
            layers.Input((7,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.GRU(4, return_sequences=True, reset_after=True),
            layers.TimeDistributed(layers.Dense(3, activation="relu")),
            layers.SimpleRNN(4),
            layers.Dense(5, activation="softmax"),
        ]
    )


def live_options() -> Any:
    """What has another name, or stands elsewhere, in Keras 3 than in Keras 2."""
    from keras import layers

    a, b = layers.Input((6, 6, 2)), layers.Input((6, 6, 2))
    norm = layers.BatchNormalization(axis=1, center=False)
    h = layers.ReLU(2.0, negative_slope=0.1, threshold=0.3)(norm(a))
    h = layers.PReLU(shared_axes=[1, 2])(layers.Add()([layers.LeakyReLU(negative_slope=0.2)(norm(b)), h]))
    h = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(4, 3, groups=2)(h))
    h = layers.Softmax(axis=-1)(layers.ELU(0.7)(layers.Flatten()(h)))
    return keras.Model([a, b], layers.Dense(3, activity_regularizer="l2", kernel_constraint="unit_norm")(h))


def flat(values: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in (values if isinstance(values, list) else [values])]


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    for x, y in zip(flat(a), flat(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def one(values: list[Any]) -> Any:
    return values if len(values) > 1 else values[0]


CASES = [(live_shared, IMAGES), (live_recurrent, WORDS), (live_options, IMAGES)]


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize(("make", "x"), CASES)
def test_what_keras_saved_predicts_equally_here(tmp_path: Path, name: str, make: Any, x: Any) -> None:
    live = make()
    randomized(live)
    live.save(tmp_path / name)
    model = kcompile.load(tmp_path / name)
    assert model.vintage == "keras3"
    close(crafted.predict(model, *x), live.predict(one(x), verbose=0))


@pytest.mark.parametrize(("make", "x"), CASES)
def test_architecture_and_weights_of_keras(tmp_path: Path, make: Any, x: Any) -> None:
    live = make()
    randomized(live)
    live.save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "m.json").write_text(live.to_json())
    model = kcompile.load(tmp_path / "m.json", weights=tmp_path / "w.weights.h5")
    close(crafted.predict(model, *x), live.predict(one(x), verbose=0))


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(("make", "x"), CASES)
def test_weights_that_keras_cut_in_shards(tmp_path: Path, make: Any, x: Any, isolated: bool) -> None:
    live = make()
    randomized(live)
    largest = max(np.asarray(v).nbytes for v in live.weights)
    live.save_weights(tmp_path / "w.weights.json", max_shard_size=largest / 1024**3)
    assert len(list(tmp_path.glob("w_*.weights.h5"))) > 1
    (tmp_path / "m.json").write_text(live.to_json())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = kcompile.load(tmp_path / "m.json", weights=tmp_path / "w.weights.json", isolated=isolated)
    close(crafted.predict(model, *x), live.predict(one(x), verbose=0))


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize(("make", "x"), [(shared, IMAGES), (recurrent, WORDS)])
def test_what_we_saved_predicts_equally_in_keras(tmp_path: Path, name: str, make: Any, x: Any) -> None:
    model = randomized(make())
    for layer in model.layers:  # Keras 3 has another hard_sigmoid than Keras 2
        for inner in (layer, *(getattr(layer, n, layer) for n in ("forward_layer", "backward_layer"))):
            cell = getattr(inner, "cell", None)
            if hasattr(cell, "recurrent_activation"):
                inner.recurrent_activation = cell.recurrent_activation = ours.activations.sigmoid
    if hasattr(model.layers[1], "layer"):
        model.layers[1].layer.recurrent_activation = ours.activations.sigmoid
    model.save(tmp_path / name)
    live = keras.models.load_model(tmp_path / name)
    close(live.predict(one(x), verbose=0), crafted.predict(model, *x))
    model.save_weights(tmp_path / "w.weights.h5")
    live.load_weights(tmp_path / "w.weights.h5")
    close(live.predict(one(x), verbose=0), crafted.predict(model, *x))


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_sequential_of_functional_models_that_we_saved(tmp_path: Path, name: str) -> None:
    made = ours.Sequential(name="outer")
    for k in (3, 4):  # as wide as the input of the next
        i = ours.layers.Input((k,))
        made.add(ours.models.Model(i, ours.layers.Dense(k + 1, activation="tanh")(i), name=f"m{k}"))
    model, x = randomized(made), np.ones((2, 3), np.float32)
    model.save(tmp_path / name)
    close(keras.models.load_model(tmp_path / name).predict(x, verbose=0), model.predict(x))


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize(
    "optimizer", ["sgd", "adam", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "amsgrad"]
)
def test_training_goes_on_from_a_file_of_keras(tmp_path: Path, name: str, optimizer: str) -> None:
    from keras import layers

    live = keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="tanh"), layers.Dense(2)])
    chosen = (
        keras.optimizers.Adam(0.01, amsgrad=True)
        if optimizer == "amsgrad"
        else (keras.optimizers.SGD(0.1, momentum=0.9) if optimizer == "sgd" else optimizer)
    )
    live.compile(chosen, "mean_squared_error")
    x, y = (np.random.default_rng(n).normal(size=(8, n)).astype(np.float32) for n in (4, 2))
    for _ in range(3):
        live.train_on_batch(x, y)
    live.save(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = kcompile.load(tmp_path / name)
    assert int(model.optimizer.iterations.value) == 3
    from kcompile.interpreted import InterpreterEngine

    model.use_engine(InterpreterEngine(model))
    for _ in range(3):
        live.train_on_batch(x, y)
        model.train_on_batch(x, y)
    close(model.get_weights(), live.get_weights(), 1e-4)


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {},
    "SGD momentum": {"momentum": 0.9, "nesterov": True},
    "RMSprop": {},
    "Adagrad": {},
    "Adadelta": {},
    "Adam": {"clipvalue": 0.5},
    "Adam amsgrad": {"amsgrad": True},
    "Adamax": {},
    "Nadam": {},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_in_keras_and_back(tmp_path: Path, optimizer: str) -> None:
    """By .keras. From an .h5, its own too, Keras 3 trains no further: it builds the optimizer for no
    variables. What tf_keras does with an .h5 is tested beside."""
    from kcompile.interpreted import InterpreterEngine
    from kcompile.keras import layers

    chosen = getattr(ours.optimizers, optimizer.split()[0])(0.01, **OPTIMIZERS[optimizer])
    model = ours.Sequential(
        [
            layers.Dense(3, activation="tanh", input_shape=(4,), vintage="keras3"),
            layers.Dense(2, vintage="keras3"),
        ],
        vintage="keras3",
    )
    model.compile(chosen, "mse", metrics=["mae"])
    model.use_engine(InterpreterEngine(model))
    x, y = (np.random.default_rng(n).normal(size=(8, n)).astype(np.float32) for n in (4, 2))

    def train(*models: Any) -> None:
        for _ in range(3):
            losses = [flat(m.train_on_batch(x, y))[0] for m in models]
            np.testing.assert_allclose(losses, losses[0], rtol=1e-5)

    train(model)
    model.save(tmp_path / "m.keras")
    live = keras.models.load_model(tmp_path / "m.keras")
    assert int(live.optimizer.iterations.value) == 3
    assert live.jit_compile  # as a model of Keras' own: without, it trains many times slower
    train(model, live)
    live.save(tmp_path / "back.keras")
    back = kcompile.load(tmp_path / "back.keras")
    back.use_engine(InterpreterEngine(back))
    assert int(back.optimizer.iterations.value) == 6
    train(model, live, back)
    close(live.get_weights(), model.get_weights(), 1e-5)
    close(back.get_weights(), model.get_weights(), 1e-5)

"""A live model and ours are one model: what is changed on either side counts on both. With Keras 3 on JAX,
and with tf_keras; another process tries Keras 3 on TensorFlow."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile_runtime.errors import ModelError, UnsupportedError

pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of TensorFlow and of Keras


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    if request.param == "tf_keras":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        return pytest.importorskip("tf_keras")
    return importlib.import_module("keras")


X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(16, 1)).astype("float32")


def made(keras: Any, optimizer: Any = None, **options: Any) -> tuple[Any, Any]:
    layers = keras.layers
    live = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(20, activation="tanh", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1, name="last"),
        ]
    )
    live.compile(keras.optimizers.SGD(0.1) if optimizer is None else optimizer, "mse", **options)
    return live, kcompile.compile(live)


def agree(live: Any, ours: Any) -> None:
    for a, b in zip(live.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for found in (ours.predict(X), ours.predict_on_batch(X), ours(X)):
        np.testing.assert_allclose(found, np.asarray(live(X)), rtol=1e-4, atol=1e-5)
    assert ours.verify(X).ok


def rate(live: Any) -> float:
    return float(np.asarray(live.optimizer.learning_rate))


def test_weights_follow_both_ways(keras: Any) -> None:
    live, ours = made(keras, keras.optimizers.SGD(0.01))
    agree(live, ours)
    live.set_weights([w * 0.5 + 0.25 for w in live.get_weights()])
    agree(live, ours)
    live.get_layer("last").kernel.assign(np.full((20, 1), 0.1))
    agree(live, ours)
    ours.set_weights([w * 0.5 for w in ours.get_weights()])
    agree(live, ours)
    ours.fit(X, Y, epochs=2, verbose=0)
    agree(live, ours)
    live.fit(X, Y, epochs=1, verbose=0)
    agree(live, ours)
    ours.model.train_on_batch(X, Y)  # behind the compiled model's back
    assert any((a != b).any() for a, b in zip(live.get_weights(), ours.model.get_weights()))
    ours.evaluate(X, Y, verbose=0)
    agree(live, ours)


def test_old_weights_are_never_put_back(keras: Any) -> None:
    live, ours = made(keras, keras.optimizers.SGD(0.0))
    live.set_weights([np.full_like(w, 0.25) for w in live.get_weights()])
    wanted = [w.copy() for w in live.get_weights()]
    ours.train_on_batch(X, Y)
    found = live.get_weights()
    for place in (0, 1, 6, 7):  # the others are moving statistics and normalise with the data's
        np.testing.assert_array_equal(found[place], wanted[place])


def test_both_train_one_after_the_other(keras: Any) -> None:
    """Adam's moments and steps are one state: three turns of training are those of one model."""
    live, ours = made(keras, keras.optimizers.Adam(0.01))
    alone = keras.models.clone_model(live)
    alone.set_weights(live.get_weights())
    alone.compile(keras.optimizers.Adam(0.01), "mse")
    for turn in range(6):
        (live if turn % 2 else ours).train_on_batch(X, Y)
        alone.train_on_batch(X, Y)
    for a, b in zip(live.get_weights(), alone.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert int(np.asarray(live.optimizer.iterations)) == int(ours.model.optimizer.iterations.value) + 1 == 6
    agree(live, ours)


def test_the_learning_rate_follows_both_ways(keras: Any) -> None:
    live, ours = made(keras)
    live.optimizer.learning_rate = 0.0
    before = live.get_layer("last").get_weights()
    ours.train_on_batch(X, Y)
    for a, b in zip(before, live.get_layer("last").get_weights()):
        np.testing.assert_array_equal(a, b)
    ours.model.optimizer.lr = 0.5
    ours.train_on_batch(X, Y)
    assert rate(live) == 0.5
    assert (live.get_layer("last").get_weights()[0] != before[0]).any()


def test_options_of_the_optimizer_follow_both_ways(keras: Any) -> None:
    live, ours = made(keras, keras.optimizers.SGD(0.1, momentum=0.5))
    ours.train_on_batch(X, Y)
    live.optimizer.momentum = 0.25
    ours.train_on_batch(X, Y)
    assert ours.model.optimizer.momentum == 0.25
    ours.model.optimizer.momentum = 0.75
    ours.train_on_batch(X, Y)
    assert live.optimizer.momentum == 0.75


def moved(live: Any, ours: Any) -> set[str]:
    names = ("first", "last")
    before = {name: live.get_layer(name).get_weights()[0].copy() for name in names}
    ours.train_on_batch(X, Y)
    return {name for name in names if (live.get_layer(name).get_weights()[0] != before[name]).any()}


def test_trainable_follows_both_ways(keras: Any) -> None:
    live, ours = made(keras, keras.optimizers.Adam(0.01))
    assert moved(live, ours) == {"first", "last"}
    live.get_layer("first").trainable = False
    assert moved(live, ours) == {"last"}
    live.get_layer("first").trainable = True
    live.get_layer("last").trainable = False
    assert moved(live, ours) == {"first"}
    ours.model.get_layer("first").trainable = False
    ours.model.get_layer("last").trainable = True
    ours.evaluate(X, Y, verbose=0)
    assert (live.get_layer("first").trainable, live.get_layer("last").trainable) == (False, True)


def test_compile_counts_on_both(keras: Any) -> None:
    live, ours = made(keras)
    ours.train_on_batch(X, Y)
    live.compile(keras.optimizers.Adam(0.02), "mae", metrics=["mse"])
    found = ours.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(found, live.evaluate(X, Y, verbose=0), rtol=1e-4)
    assert len(found) == 2 and type(ours.model.optimizer).__name__ == "Adam"
    ours.train_on_batch(X, Y)
    ours.model.compile("rmsprop", "mean_squared_error")
    ours.train_on_batch(X, Y)
    assert type(live.optimizer).__name__ == "RMSprop"
    np.testing.assert_allclose(live.evaluate(X, Y, verbose=0), ours.evaluate(X, Y, verbose=0), rtol=1e-4)
    agree(live, ours)


def test_a_model_that_is_compiled_later(keras: Any) -> None:
    live = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ours = kcompile.compile(live)
    with pytest.raises(ModelError, match="must be compiled"):
        ours.train_on_batch(X, Y)
    live.compile("adam", "mse")
    ours.fit(X, Y, epochs=2, verbose=0)
    agree(live, ours)
    assert int(np.asarray(live.optimizer.iterations)) == 2


def test_what_cannot_be_taken_over_is_refused(keras: Any) -> None:
    class Own(keras.metrics.Mean):  # type: ignore[misc, name-defined]
        pass

    live, ours = made(keras)
    live.compile("adam", "mse", metrics=[Own()])
    with pytest.raises(UnsupportedError, match="Own"):
        ours.train_on_batch(X, Y)
    live, ours = made(keras)
    live.add(keras.layers.Dense(2))
    with pytest.raises(ModelError, match="Compile the changed model again"):
        ours.predict(X)


def test_several_compiled_models_of_one_live_model(keras: Any) -> None:
    live, first = made(keras)
    second = kcompile.compile(live)
    for turn in (first, second, first):
        turn.train_on_batch(X, Y)
        agree(live, first)
        agree(live, second)


# ---------------------------------------------------------------- callbacks


def test_callbacks_of_the_live_models_keras(keras: Any, tmp_path: Any) -> None:
    seen: list[Any] = []

    class Looks(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert self.model is live
            seen.append((sorted(logs), live.get_weights()[0].copy()))
            if epoch == 1:
                self.model.optimizer.learning_rate = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(int(np.asarray(self.model.optimizer.iterations)))

    live, ours = made(keras)
    history = ours.fit(
        X,
        Y,
        batch_size=8,
        epochs=4,
        verbose=0,
        callbacks=[
            Looks(),
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            keras.callbacks.ModelCheckpoint(str(tmp_path / "w.weights.h5"), save_weights_only=True),
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None),
        ],
    )
    assert len(history.history["loss"]) == 4
    assert [s for s in seen if isinstance(s, int)] == list(range(1, 9))
    weights = [s[1] for s in seen if not isinstance(s, int)]
    assert (weights[0] != weights[1]).any(), "it saw the weights of its epoch"
    np.testing.assert_array_equal(weights[2], weights[3])  # the rate it set is 0
    assert (tmp_path / "log.csv").read_text().count("\n") == 5
    other, _ = made(keras)
    other.load_weights(str(tmp_path / "w.weights.h5"))
    for a, b in zip(other.get_weights(), live.get_weights()):
        np.testing.assert_array_equal(a, b)
    agree(live, ours)


def test_early_stopping_and_lower_rates(keras: Any) -> None:
    live, ours = made(keras, keras.optimizers.SGD(0.01))
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=100.0)
    stop = keras.callbacks.EarlyStopping(
        monitor="loss", patience=3, min_delta=100.0, mode="min", restore_best_weights=True
    )
    history = ours.fit(X, Y, epochs=50, verbose=0, callbacks=[plateau, stop])
    assert len(history.epoch) == 4 and rate(live) < 0.01
    agree(live, ours)


@pytest.mark.parametrize("kind", ["sequential", "functional", "dict"])
def test_callbacks_that_ask_whether_more_is_better(keras: Any, kind: str, tmp_path: Any) -> None:
    """Of a model that never ran: Keras 3 makes metrics, which know it, with a first batch."""
    inputs = keras.Input((X.shape[1],))
    output = keras.layers.Dense(3, activation="softmax", name="out")(inputs)
    model = {
        "sequential": lambda: keras.Sequential([inputs, keras.layers.Dense(3, activation="softmax")]),
        "functional": lambda: keras.Model(inputs, output),
        "dict": lambda: keras.Model(inputs, {"out": output}),
    }[kind]()
    # the one output of a dict has its name before its metrics' names
    monitor, mode = ("loss", "min") if kind == "dict" else ("accuracy", "auto")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    labels = np.arange(len(X)) % 3
    told = [
        keras.callbacks.EarlyStopping(monitor, mode=mode, patience=0, min_delta=100.0),
        keras.callbacks.ReduceLROnPlateau(monitor, mode=mode),
        keras.callbacks.ModelCheckpoint(
            str(tmp_path / "best.keras"), monitor, mode=mode, save_best_only=True
        ),
    ]
    ours = kcompile.compile(model)
    history = ours.fit(X, {"out": labels} if kind == "dict" else labels, epochs=9, verbose=0, callbacks=told)
    assert 1 <= len(history.epoch) < 9 and (tmp_path / "best.keras").exists()
    model.fit(X, {"out": labels} if kind == "dict" else labels, epochs=1, verbose=0)


def test_our_callbacks_see_and_change_the_live_model(keras: Any) -> None:
    live, ours = made(keras)

    class Sets(kcompile.keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            live.set_weights([np.full_like(w, 0.5) for w in live.get_weights()])

    ours.fit(X, Y, epochs=3, verbose=0, callbacks=Sets())
    assert all((w == 0.5).all() for w in live.get_weights())
    agree(live, ours)


def test_callbacks_of_evaluate(keras: Any) -> None:
    live, ours = made(keras)
    heard = []

    class Hears(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_test_begin(self, logs: Any = None) -> None:
            heard.append(self.model is live)

    ours.evaluate(X, Y, verbose=0, callbacks=[Hears()])
    assert heard == [True]


# ---------------------------------------------------------------- other backends


ELSEWHERE = """
import numpy as np, keras, kcompile
X, Y = np.ones((4, 3), "float32"), np.zeros((4, 1), "float32")
live = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
live.compile(keras.optimizers.Adam(0.1), "mse")
ours = kcompile.compile(live)
for change in (lambda: live.set_weights([np.full((3, 1), 7.0), np.ones(1)]),
               lambda: live.fit(X, Y, verbose=0), lambda: ours.fit(X, Y, verbose=0),
               lambda: live.layers[0].kernel.assign(np.ones((3, 1))), lambda: ours.train_on_batch(X, Y)):
    change()
    for a, b in zip(live.get_weights(), ours.get_weights()):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(ours.predict(X), np.asarray(live.predict(X, verbose=0)), rtol=1e-5)
live.optimizer.learning_rate = 0.0
before = live.get_weights()
ours.train_on_batch(X, Y)
for a, b in zip(before, live.get_weights()):
    np.testing.assert_array_equal(a, b)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_other_backends(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-2000:]

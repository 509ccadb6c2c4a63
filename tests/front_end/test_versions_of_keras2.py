"""`kcompile.keras` as Keras 2.2.4 and as 2.3.1: numbers, names and logs that both gave, executed.

2.3.1 is ours with the names and the weighted losses of the manual, as docs/keras2.md says: where a value is
one of these, that of 2.3.1 stands behind it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile.keras as keras
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras import models as M
from kcompile.keras.settings import at_version
from kcompile_runtime.errors import InputError

VERSIONS = ("2.2.4", "2.3.1")
X = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]], np.float32)
Z = X * 0
WEIGHTS = np.array([0.0, 1.0, 3.0, 1.0, 2.0])
STEPS = np.array([[[1.0], [2.0], [0.0]], [[3.0], [0.0], [0.0]]], np.float32)


@pytest.fixture(autouse=True)
def _version() -> Iterator[None]:
    with at_version(None):
        yield


def linear(**options: Any) -> Any:
    """A model whose output is its input, and stays so."""
    model = M.Sequential([L.Dense(1, kernel_initializer="ones", use_bias=False, input_shape=(1,))])
    model.compile(keras.optimizers.SGD(0.0), "mse", **options)
    return model


def same(shape: tuple[int, ...], masked: bool = False, loss: str = "mse", **options: Any) -> Any:
    x = L.Input(shape)
    model = M.Model(x, L.Masking()(x) if masked else L.Activation("linear")(x))
    model.compile(keras.optimizers.SGD(0.0), loss, **options)
    return model


def normalised(momentum: float, size: int) -> tuple[Any, Any]:
    x = L.Input((size,))
    norm = L.BatchNormalization(momentum=momentum)
    model = M.Model(x, norm(x))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model, norm


# ---------------------------------------------------------------- numbers

CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {}


def case(old: Any, new: Any) -> Callable[[Callable[[], Any]], Any]:
    def register(function: Callable[[], Any]) -> Any:
        CASES[function.__name__] = function, dict(zip(VERSIONS, (old, new)))
        return function

    return register


@case([20.2, 3.0, 20.2], [20.2, 3.0, 13.8571])  # 2.3.1: 19.4
def weighted_metrics() -> Any:
    model = linear(weighted_metrics=["mse"], metrics=["mae"])
    tested = model.evaluate(X, Z, sample_weight=WEIGHTS, batch_size=2, verbose=0)
    fitted = model.fit(X, Z, sample_weight=WEIGHTS, batch_size=2, shuffle=False, verbose=0).history
    names = ("loss", "mean_absolute_error", "weighted_mean_squared_error")
    np.testing.assert_allclose([fitted[name][0] for name in names], tested, rtol=1e-5)
    return tested


@case([24.25, 3.0, 24.25], [24.25, 3.0, 13.8571])  # 2.3.1: 19.4
def weighted_metrics_of_a_batch() -> Any:
    model = linear(weighted_metrics=["mse"], metrics=["mae"])
    return model.train_on_batch(X, Z, sample_weight=WEIGHTS)


@case(
    [[4.66667, 2.0, 4.66667], [10.6667, 2.0, 10.6667], [18.0, 2.0, 18.0]],
    [[4.66667, 2.0, 4.66667], [10.6667, 2.0, 6.4], [18.0, 2.0, 9.0]],  # 2.3.1: 2.33333, 5.33333, 4.5
)
def weights_beside_a_mask() -> Any:
    model = same((3, 1), masked=True, metrics=["mae"], weighted_metrics=["mse"])
    return [
        model.evaluate(STEPS, STEPS * 0, verbose=0, sample_weight=None if w is None else np.array(w))
        for w in (None, [1.0, 3.0], [0.0, 3.0])
    ]


@case([14.6667, 3.0, 14.6667], [14.6667, 3.0, 11.0])  # 2.3.1: 7.33333
def weights_of_steps() -> Any:
    model = same((3, 1), sample_weight_mode="temporal", weighted_metrics=["mse"], metrics=["mae"])
    x = np.array([[[1.0], [2.0], [3.0]], [[3.0], [4.0], [5.0]]])
    weights = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    return model.evaluate(x, x * 0, verbose=0, sample_weight=weights)


@case([2.5, 3.0], [8.5, 3.0])
def weights_of_classes_and_samples() -> Any:
    model, y, classes = linear(), np.array([[0.0], [1.0]]), {0: 1.0, 1: 5.0}
    both = model.train_on_batch(X[:2], y, class_weight=classes, sample_weight=np.array([2.0, 3.0]))
    return [both, model.train_on_batch(X[:2], y, class_weight=classes)]


@case([0.5, -0.738635, -0.738635, 0.168639], [0.5, 0.738635, 0.738635, 0.168639])
def metrics() -> Any:
    x, y = np.array([[1.7, 0.5, -0.8, 0.2, 0.9, 0.4]]), np.array([[1.0, 0.0, 0.0, 1.0, 1.0, 0.0]])
    names = ["binary_accuracy", "cosine_proximity", "cosine", "logcosh"]
    return same((6,), metrics=names).test_on_batch(x, y)[1:]


@case(
    [
        [[2.66667, 5.33333], [2.3345, 12.3395]],
        [[4.14815, 8.2963], [6.22534, 32.9053]],
        [[5.72678, 11.4536], [12.2848, 64.9341]],
        [[4.69015, 9.38031], [8.91412, 47.1175]],
    ],
    [
        [[0.533333, 1.06667], [1.2669, 3.2679]],
        [[1.49333, 2.98667], [2.88112, 12.4859]],
        [[2.79467, 5.58933], [6.507, 32.1998]],
        [[6.13333, 6.66667], [7.6669, 9.6679]],
    ],
)
def moving_averages() -> Any:
    """In the last batch they were set before, which 2.2.4 does not look at."""
    model, norm = normalised(0.8, 2)
    x, found = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 9.0]]), []
    for factor in (1, 2, 3, None):
        if factor is None:
            norm.set_weights([np.ones(2), np.zeros(2), np.full(2, 7.0), np.full(2, 9.0)])
        model.train_on_batch(x * (factor or 1), x * 0)
        found.append([w.tolist() for w in model.get_weights()[2:]])
    assert len(model.get_weights()) == 4
    return found


@case([[2.0], [3.33333], [4.85714]], [[1.0], [2.5], [4.25]])
def moving_averages_of_a_model_that_is_compiled_again() -> Any:
    model, found = normalised(0.5, 1)[0], []
    for factor in (1, 2, 3):
        model.compile(keras.optimizers.SGD(0.0), "mse")
        model.train_on_batch(np.array([[1.0], [3.0]]) * factor, np.zeros((2, 1)))
        found.append(model.get_weights()[2].tolist())
    return found


@case([[3.0, 4.0], [3.0, 4.0]], [[1.2, 2.2], [1.38, 2.38]])
def updates_of_moving_averages() -> Any:
    """2.2.4's numbers; 2.3.1's K.function fails without inputs and outputs, and its own are by arithmetic."""
    x, found = K.variable([1.0, 2.0]), []
    run = K.function([], [], updates=[K.moving_average_update(x, K.constant([3.0, 4.0]), 0.9)])
    for _ in range(2):
        run([])
        found.append(K.get_value(x).tolist())
    return found


@case([2, 0, 2, 0, 0, 2, 0, 2, 2, 0, 0, 2, 2, 0, 0, 2], [2, 0, 0, 0, 0, 2, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0])
def identities() -> Any:
    """Of kernels [2, 4] and [4, 2]."""
    gates = M.Sequential([L.GRU(2, recurrent_initializer="identity", input_shape=(3, 2))]).get_weights()[1]
    np.testing.assert_array_equal(gates, np.tile(np.eye(2), 3))
    fill = keras.initializers.Identity(2.0)
    made = [L.Dense(m, kernel_initializer=fill, input_shape=(n,)) for n, m in ((2, 4), (4, 2))]
    return np.concatenate([np.ravel(M.Sequential([layer]).get_weights()[0]) for layer in made])


@case([0.5, 0.905148, 0.905148], [0.0, 0.905148, 0.905148])
def masked_steps_after_a_state() -> Any:
    x, state = L.Input((3, 1)), L.Input((1,))
    layer = L.SimpleRNN(1, kernel_initializer="ones", recurrent_initializer="ones", return_sequences=True)
    model = M.Model([x, state], layer(L.Masking()(x), initial_state=state))
    return np.ravel(model.predict([np.array([[[0.0], [1.0], [0.0]]]), np.array([[0.5]])])).tolist()


@case([0.0, 0.642015, 0.761594, 0.758233], [0.0, 0.642015, 0.642015, 0.758233])
def masked_steps_of_two_cells() -> Any:
    x, ones = L.Input((4, 1)), {"kernel_initializer": "ones"}
    cells = [L.SimpleRNNCell(1, recurrent_initializer=r, **ones) for r in ("ones", "zeros")]
    model = M.Model(x, L.RNN(cells, return_sequences=True)(L.Masking()(x)))
    return np.ravel(model.predict(np.array([[[0.0], [1.0], [0.0], [2.0]]]))).tolist()


@case([[2.5, 1.5], [12.5, 3.5], [25.0, 5.0]], [[2.5, 1.5], [12.5, 2.5], [25.0, 3.0]])
def logs_of_batches() -> Any:
    found = []
    told = keras.callbacks.LambdaCallback(
        on_batch_end=lambda batch, logs: found.append([logs["loss"], logs["mean_absolute_error"]])
    )
    linear(metrics=["mae"]).fit(X, Z, batch_size=2, shuffle=False, verbose=0, callbacks=[told])
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", list(CASES))
def test_numbers(name: str, version: str) -> None:
    keras.set_version(version)
    observe, expected = CASES[name]
    np.testing.assert_allclose(observe(), expected[version], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_batch_dot(version: str) -> None:
    """All shapes and axes that were tried: shapes and checksums, or an error."""
    recorded = json.loads((Path(__file__).parent / "batch_dot_of_keras2.json").read_text())
    keras.set_version(version)
    draw = np.random.RandomState(0)
    shapes = [
        (2, 3),
        (2, 3),
        (2, 3),
        (2, 3, 4),
        (2, 4, 3),
        (2, 3),
        (2, 3, 4),
        (2, 4, 5),
        (2, 3, 4),
        (2, 3, 4),
    ]
    shapes += [(2, 3, 4, 5), (2, 3, 5, 4), (2, 3, 4, 5), (2, 5), (2, 3, 4, 5), (2, 5, 6), (2, 3, 4), (2, 4)]
    shapes += [
        (2, 3, 4, 5),
        (2, 3, 4, 5),
        (2, 3),
        (2, 4, 3),
        (2, 3, 4),
        (2, 3, 4, 5),
        (2, 3, 4, 5),
        (2, 3, 4),
    ]
    shapes += [(2, 4, 3), (2, 3, 4, 5)]
    axes = [None, 1, 2, 3, (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (1, 3), (3, 1), (3, 3)]
    for (a, b), both in itertools.product(zip(shapes[::2], shapes[1::2]), axes):
        x, y = draw.randn(*a), draw.randn(*b)
        expected = recorded[f"{a}{b}{both}"][VERSIONS.index(version)]
        if expected == "error":
            with pytest.raises(Exception, match="batch_dot"):
                K.eval(K.batch_dot(K.variable(x), K.variable(y), axes=both))
            continue
        found = K.eval(K.batch_dot(K.variable(x), K.variable(y), axes=both))
        assert list(found.shape) == expected[0], (a, b, both)
        weights = np.cos(np.arange(found.size)).reshape(found.shape)
        np.testing.assert_allclose(np.abs(found * weights).sum(), expected[1], rtol=2e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_names_and_their_order(version: str) -> None:
    """Those of a validation come first; the rest is 2.2's in both (2.3.1: loss, mae, accuracy, mae_1)."""
    keras.set_version(version)
    model = linear(metrics=["mae", "accuracy"], weighted_metrics=["mae"])
    history = model.fit(X, Z, verbose=0, validation_data=(X, Z)).history
    names = ["loss", "mean_absolute_error", "acc", "weighted_mean_absolute_error"]
    assert model.metrics_names == names
    assert list(history) == [*(f"val_{name}" for name in names), *names]


def test_dtypes_of_what_is_made_like_whole_numbers() -> None:
    for version, dtype in zip(VERSIONS, ("int32", "float32")):
        keras.set_version(version)
        x = K.variable(np.array([1, 2]), dtype="int32")
        assert [K.dtype(K.zeros_like(x)), K.dtype(K.ones_like(x))] == [dtype, dtype]


# ---------------------------------------------------------------- which version


def test_what_is_made_has_the_version_and_keeps_it(tmp_path: Path) -> None:
    assert keras.__version__ == "2.3.1"
    before = linear(weighted_metrics=["mse"])
    keras.set_version("2.2.4")
    assert keras.__version__ == "2.2.4"
    after = linear(weighted_metrics=["mse"])
    assert (before.vintage, after.vintage) == ("keras2", "keras2.2")
    for model, metric in ((before, 13.8571), (after, 20.2)):
        for again in (model, M.clone_model(model), M.Sequential.from_config(model.get_config())):
            assert {again.vintage, *(layer.vintage for layer in again.layers)} == {model.vintage}
        model.save(tmp_path / "m.h5")
        for version in VERSIONS:
            keras.set_version(version)
            opened = kcompile.load(tmp_path / "m.h5")
            found = opened.evaluate(X, Z, sample_weight=WEIGHTS, batch_size=2, verbose=0)
            np.testing.assert_allclose(found, [20.2, metric], rtol=1e-5)
            assert M.model_from_json(model.to_json()).vintage == model.vintage
        keras.set_version("2.2.4")
    assert "vintage" not in after.get_config() and before.get_config()["vintage"] == "keras2"


def test_a_function_of_k_in_a_layer_is_of_the_version_of_the_layer() -> None:
    keras.set_version("2.2.4")
    x, y = L.Input((2, 2, 3)), L.Input((2, 3, 2))
    old = M.Model([x, y], L.Lambda(lambda both: K.batch_dot(both[0], both[1]))([x, y]))
    keras.set_version("2.3.1")
    new = M.Model([x, y], L.Lambda(lambda both: K.batch_dot(both[0], both[1]))([x, y]))
    data = [np.ones((1, 2, 2, 3)), np.ones((1, 2, 3, 2))]
    assert old.predict(data).shape == (1, 2, 2, 2) and new.predict(data).shape == (1, 2, 2, 2, 2)


def test_optimizers_are_configured_in_the_words_of_the_version() -> None:
    for version, word in zip(VERSIONS, ("lr", "learning_rate")):
        keras.set_version(version)
        config = keras.optimizers.Adam(0.5).get_config()
        assert config[word] == 0.5 and len({"lr", "learning_rate"} & set(config)) == 1
        assert keras.optimizers.Adam.from_config(config).get_config() == config
    assert (
        keras.optimizers.SGD(0.1, 0.9, True).nesterov and keras.optimizers.Adam(0.1, 0.8, 0.9, True).amsgrad
    )
    assert keras.optimizers.SGD(0.1, 0.9, 0.01, True).nesterov


@pytest.mark.parametrize("version", ["2.1.6", "2.2", "3", None, 2])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(InputError, match=r"set_version: expected '2\.2\.4' or '2\.3\.1'"):
        keras.set_version(version)
    assert keras.__version__ == "2.3.1"


def test_the_editions_of_other_kerases_are_as_they_were() -> None:
    from kcompile import keras3, tf_keras

    keras.set_version("2.2.4")
    for edition in (keras3, tf_keras):
        layer = edition.layers.Dense(2)
        assert layer.vintage == edition.__name__.rpartition(".")[2] == layer.get_config()["vintage"]
        found = edition.backend.batch_dot(
            K.variable(np.ones((1, 2, 2, 3))), K.variable(np.ones((1, 2, 3, 2)))
        )
        assert K.eval(found).shape == (1, 2, 2, 2, 2)


# ---------------------------------------------------------------- files

# The shapes of an optimizer's weights in Keras 2.2.4 for one weight [1, 1], the number of steps as []
STATES: dict[str, list[list[int]]] = {
    "SGD": [[], [1, 1]],
    "RMSprop": [[1, 1]],
    "Adagrad": [[1, 1]],
    "Adadelta": [[1, 1], [1, 1]],
    "Adam": [[], [1, 1], [1, 1], [1]],
    "Adamax": [[], [1, 1], [1, 1]],
    "Nadam": [[], [1, 1], [1, 1]],
}


@pytest.mark.parametrize("kind", list(STATES))
def test_files_for_2_2_4_have_the_state_that_it_takes(tmp_path: Path, kind: str) -> None:
    """It opened them with the state, and went on as ours; we open them with the number of steps too."""
    import h5py

    keras.set_version("2.2.4")
    model = M.Sequential([L.Dense(1, use_bias=False, input_shape=(1,))])
    model.compile(getattr(keras.optimizers, kind)(), "mse")
    for _ in range(3):
        model.train_on_batch(X, Z)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert file.attrs["keras_version"] == "2.2.4"
        group = file["optimizer_weights"]
        assert [list(group[name].shape) for name in group.attrs["weight_names"]] == STATES[kind]
    again = kcompile.load(tmp_path / "m.h5")
    assert again.vintage == "keras2.2" and int(again.optimizer.iterations.value) == 3
    assert again.train_on_batch(X, Z) == model.train_on_batch(X, Z)
    np.testing.assert_array_equal(again.get_weights(), model.get_weights())
    model.save(tmp_path / "n.h5", vintage="keras2")
    with h5py.File(tmp_path / "n.h5") as file:
        assert file.attrs["keras_version"] == "2.3.1"

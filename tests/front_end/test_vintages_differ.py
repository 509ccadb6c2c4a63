"""What layers and models do where vintages differ, in numbers to check by hand. Each rule is that of
the library itself: tests/keras_tier/test_semantics_with_keras.py runs Keras 3 and tf_keras beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile.interpreted import InterpreterEngine
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential

NEW = ("tf_keras", "keras3")
ALL = ("keras2", *NEW)


def ready(model: Any) -> Any:
    model.use_engine(InterpreterEngine(model))
    return model


# ---------------------------------------------------------------- masks


TABLE = np.array([[7.0], [3.0]], np.float32)
IDS = np.array([[1, 0, 1, 0]], np.int32)  # 3 7 3 7, of which the first and third are there
X = np.array([[[5.0], [2.0], [0.0], [0.0]]], np.float32)  # the first two are there, where it is masked


def merged(kind: str, vintage: str, masked: bool) -> np.ndarray:
    ids, x = L.Input((4,), dtype="int32"), L.Input((4, 1))
    table = L.Embedding(2, 1, mask_zero=True, vintage=vintage)
    second = L.Masking(vintage=vintage)(x) if masked else x
    made = getattr(L, kind)(vintage=vintage)([table(ids), second])
    model = ready(Model([ids, x], made, vintage=vintage))
    table.set_weights([TABLE])
    return model.predict_on_batch([IDS, X])[0, :, 0]


@pytest.mark.parametrize(
    ("kind", "masked", "expected"),
    [
        ("Multiply", True, [15, 2, 3, 0]),
        ("Multiply", False, [15, 2, 0, 0]),
        ("Maximum", True, [5, 2, 3, 7]),
        ("Maximum", False, [5, 2, 3, 0]),
        ("Minimum", True, [3, 2, 3, 7]),
        ("Minimum", False, [3, 2, 0, 0]),
    ],
)
def test_merges_of_keras_3_leave_out_what_is_masked(kind: str, masked: bool, expected: list[float]) -> None:
    np.testing.assert_allclose(merged(kind, "keras3", masked), expected)


@pytest.mark.parametrize("vintage", ["keras2", "tf_keras"])
@pytest.mark.parametrize(
    ("kind", "expected"), [("Multiply", [15, 14, 0, 0]), ("Maximum", [5, 7, 3, 7]), ("Minimum", [3, 2, 0, 0])]
)
def test_merges_before_take_all_values(kind: str, expected: list[float], vintage: str) -> None:
    for masked in (True, False):
        np.testing.assert_allclose(merged(kind, vintage, masked), expected)


@pytest.mark.parametrize(("vintage", "expected"), [("keras2", 3.0), ("tf_keras", 3.0), ("keras3", 3 + 3 * 7)])
def test_the_mask_where_one_input_has_none(vintage: str, expected: float) -> None:
    """Sums of the steps that are there of an embedding and zeros."""
    ids, x = L.Input((4,), dtype="int32"), L.Input((4, 1))
    table = L.Embedding(2, 1, mask_zero=True, vintage=vintage)
    y = L.Add(vintage=vintage)([table(ids), x])
    y = L.SimpleRNN(1, "linear", use_bias=False, vintage=vintage)(y)
    model = ready(Model([ids, x], y, vintage=vintage))
    model.set_weights([TABLE, np.ones((1, 1)), np.ones((1, 1))])
    np.testing.assert_allclose(model.predict_on_batch([IDS * [[1, 0, 0, 0]], X * 0]), [[expected]])


def sums(vintage: str, **options: Any) -> tuple[Any, Any, Any]:
    """Inputs and the call of a unit that adds up the steps that are there, from an initial state."""
    x, state = L.Input((3, 1)), L.Input((1,))
    layer = L.SimpleRNN(1, "linear", use_bias=False, return_sequences=True, vintage=vintage, **options)
    y = layer(L.Masking(vintage=vintage)(x), initial_state=state)
    model = ready(Model([x, state], y, vintage=vintage))
    model.set_weights([np.ones((1, 1)), np.ones((1, 1))])
    return model.predict_on_batch([np.array([[[0.0], [2.0], [0.0]]]), np.array([[5.0]])])[0, :, 0]


@pytest.mark.parametrize(
    ("vintage", "expected"),
    [
        ("keras2.2", [5, 7, 7]),  # the state stands at the first step, which is masked
        ("keras2", [0, 7, 7]),  # K.rnn is tf.keras' own
        ("tf_keras", [0, 7, 7]),  # the output before stands there, of which there is none
        ("keras3", [5, 7, 7]),
    ],
)  # the mask is forgotten, and adding 0 does the same
def test_masked_steps_after_an_initial_state(vintage: str, expected: list[float]) -> None:
    np.testing.assert_allclose(sums(vintage), expected)


def test_zeros_for_masked_steps_after_an_initial_state() -> None:
    np.testing.assert_allclose(sums("tf_keras", zero_output_for_mask=True), [0, 7, 0])


# ---------------------------------------------------------------- flags of training


def frozen_but_one(vintage: str) -> tuple[Any, Any]:
    inner = Sequential(
        [
            L.Dense(2, input_shape=(2,), name="first", vintage=vintage),
            L.Dense(2, name="second", vintage=vintage),
        ],
        name="inner",
        vintage=vintage,
    )
    inner.trainable = False
    inner.get_layer("second").trainable = True
    return Sequential([inner, L.Dense(1, name="head", vintage=vintage)], vintage=vintage), inner


@pytest.mark.parametrize(
    ("vintage", "expected"), [("keras2", ["head"]), ("tf_keras", ["head"]), ("keras3", ["second", "head"])]
)
def test_a_layer_that_is_trainable_in_a_frozen_model(vintage: str, expected: list[str]) -> None:
    model, inner = frozen_but_one(vintage)
    trained = [v.path.split("/")[-2] for v in model.trainable_weights]
    assert list(dict.fromkeys(trained)) == expected
    assert inner.trainable_weights == []
    assert len(model.trainable_weights) + len(model.non_trainable_weights) == len(model.weights) == 6
    before = model.get_weights()
    ready(model).compile("sgd", "mse")
    model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))
    moved = [
        v.path.split("/")[-2] for v, old in zip(model.weights, before) if np.abs(v.value - old).max() > 0
    ]
    assert list(dict.fromkeys(moved)) == expected
    again = Sequential.from_config(model.get_config())
    assert [v.path for v in again.trainable_weights] == [v.path for v in model.trainable_weights]


@pytest.mark.parametrize("vintage", ALL)
def test_freezing_a_wrapper(vintage: str) -> None:
    layer = L.TimeDistributed(L.Dense(2, vintage=vintage), vintage=vintage)
    layer(L.Input((3, 2)))
    layer.trainable = False
    assert layer.layer.trainable == (vintage == "keras2")
    assert layer.trainable_weights == []


@pytest.mark.parametrize(("vintage", "follows"), [("keras2", False), ("tf_keras", True), ("keras3", True)])
def test_statistics_of_a_trainable_normalisation_in_a_frozen_model(vintage: str, follows: bool) -> None:
    norm = L.BatchNormalization(input_shape=(2,), momentum=0.0, vintage=vintage)
    inner = Sequential([norm], vintage=vintage)
    inner.trainable = False
    norm.trainable = True
    model = ready(Sequential([inner, L.Dense(1, vintage=vintage)], vintage=vintage))
    model.compile("sgd", "mse")
    model.train_on_batch(np.full((4, 2), 3.0), np.ones((4, 1)))
    np.testing.assert_allclose(norm.moving_mean.value, np.full(2, 3.0 if follows else 0.0))


# ---------------------------------------------------------------- steps


def spread(vintage: str) -> np.ndarray:
    """The moving mean of a normalisation at each of two steps, whose values are 2 and 4."""
    model = ready(
        Sequential(
            [
                L.TimeDistributed(
                    L.BatchNormalization(momentum=0.5, vintage=vintage), input_shape=(2, 1), vintage=vintage
                ),
                L.Flatten(vintage=vintage),
                L.Dense(1, vintage=vintage),
            ],
            vintage=vintage,
        )
    )
    model.compile("sgd", "mse")
    model.train_on_batch(np.tile([[[2.0], [4.0]]], (3, 1, 1)), np.ones((3, 1)))
    return model.layers[0].layer.moving_mean.value


@pytest.mark.parametrize(
    ("vintage", "expected"),
    [
        ("keras2", 1.5),
        ("tf_keras", 1.5),  # half of the mean over both steps
        ("keras3", 2.5),
    ],
)  # half of 2 after the first step, and half of that and of 4 after the second
def test_normalisation_at_each_step(vintage: str, expected: float) -> None:
    np.testing.assert_allclose(spread(vintage), [expected])


@pytest.mark.parametrize(
    ("vintage", "expected"), [("keras2", 0.06), ("tf_keras", 0.01), ("keras3", 0.0)]
)  # the sum, the mean over rows, none
def test_the_penalty_of_activities_at_each_step(vintage: str, expected: float) -> None:
    model = ready(
        Sequential(
            [
                L.TimeDistributed(
                    L.Dense(1, kernel_initializer="ones", activity_regularizer="l1", vintage=vintage),
                    input_shape=(2, 1),
                    vintage=vintage,
                )
            ],
            vintage=vintage,
        )
    )
    model.compile("sgd", "mse")
    x = np.ones((3, 2, 1))
    np.testing.assert_allclose(model.test_on_batch(x, x), expected, rtol=1e-5)

"""Masks: who makes them, passes them on, uses them, refuses them; losses and metrics of masked outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile.interpreted import InterpreterEngine
from kcompile.ir import ops
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import ModelError

STEPS, WIDTH = 5, 3
THERE = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]], bool)


def data() -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(4, STEPS, WIDTH)).astype(np.float32)
    return x * THERE[..., None]


def net(*layers: Any, shape: tuple[int, ...] = (STEPS, WIDTH), vintage: str = "keras2") -> Any:
    model = Sequential([L.Input(shape), *layers], vintage=vintage)
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape) * 0.5)
    return model


def masks_of(model: Any) -> list[Any]:
    """Shapes of the masks that the outputs have while the model is put together."""
    return [None if y.mask is None else y.mask.shape[1:] for y in model.outputs]


@pytest.mark.parametrize("engine", ["native", "interpreter"])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("backwards", [False, True])
def test_masked_steps_leave_state_and_output(kind: str, backwards: bool, engine: str) -> None:
    model = net(L.Masking(), getattr(L, kind)(4, return_sequences=True, go_backwards=backwards))
    if engine == "interpreter":
        model.use_engine(InterpreterEngine(model))
    got = model.predict(data())
    short = {
        k: net(getattr(L, kind)(4, return_sequences=True, go_backwards=backwards), shape=(k, WIDTH))
        for k in range(1, STEPS + 1)
    }
    for row, x, there in zip(got, data(), THERE):
        kept = x[there][None]
        expected = short[len(kept[0])].predict(kept)[0]
        seen = np.cumsum(there[::-1] if backwards else there)
        for t, count in enumerate(seen):
            right = expected[count - 1] if count else np.zeros(4)
            np.testing.assert_allclose(row[t], right, rtol=1e-5, atol=1e-6)


def test_masking_makes_zeros_and_a_mask() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
    x[0, 1] = 7.0
    x[1, 2, 0] = 7.0
    model = net(L.Masking(7.0), shape=(3, 2))
    expected = x.copy()
    expected[0, 1] = 0
    np.testing.assert_array_equal(model.predict(x), expected)
    assert masks_of(model) == [(3,)]


def test_layers_pass_masks_on() -> None:
    chain = [
        L.Masking(),
        L.Dense(4),
        L.Activation("relu"),
        L.Dropout(0.5),
        L.BatchNormalization(),
        L.TimeDistributed(L.Dense(2)),
        L.LSTM(3, return_sequences=True),
        L.Bidirectional(L.GRU(2, return_sequences=True)),
    ]
    for count in range(1, len(chain) + 1):
        fresh = [type(layer).from_config(layer.get_config()) for layer in chain[:count]]
        assert masks_of(net(*fresh)) == [(STEPS,)]
    assert masks_of(net(L.Masking(), L.LSTM(3))) == [None]


def test_a_dropout_that_does_nothing_keeps_its_mask() -> None:
    plain, dropped = (net(L.Masking(), *extra, L.LSTM(3)) for extra in ((), (L.Dropout(0.5),)))
    np.testing.assert_array_equal(plain.predict(data()), dropped.predict(data()))


def test_masks_go_through_models_inside() -> None:
    inside = Sequential([L.Input((STEPS, WIDTH)), L.Masking(), L.Dense(WIDTH)])
    whole = net(inside, L.LSTM(3))
    flat = net(L.Masking(), L.Dense(WIDTH), L.LSTM(3))
    flat.set_weights(whole.get_weights())
    np.testing.assert_array_equal(whole.predict(data()), flat.predict(data()))
    after = net(L.Masking(), Sequential([L.Input((STEPS, WIDTH)), L.LSTM(3)]))
    direct = net(L.Masking(), L.LSTM(3))
    direct.set_weights(after.get_weights())
    np.testing.assert_array_equal(after.predict(data()), direct.predict(data()))


def test_keras_2_refuses_where_keras_3_drops() -> None:
    with pytest.raises(ModelError, match=r"Flatten.*does not support masking"):
        net(L.Masking(), L.Flatten())
    inputs = L.Input((STEPS, WIDTH))
    y = L.Flatten(vintage="keras3")(L.Masking(vintage="keras3")(inputs))
    assert y.mask is None


def test_merging() -> None:
    a, b = L.Input((STEPS, WIDTH)), L.Input((STEPS, WIDTH))
    masked, other = L.Masking()(a), L.Masking(1.0)(b)
    for layer in (L.Add(), L.Multiply(), L.Concatenate()):
        assert layer([masked, other]).mask.shape[1:] == (STEPS,)
        assert layer([masked, b]).mask is not None
        assert layer([a, b]).mask is None
    assert L.Concatenate(1)([masked, b]).mask.shape[1:] == (2 * STEPS,)
    both = Model([a, b], L.LSTM(2)(L.Add()([masked, other])))
    one = net(L.Masking(), L.LSTM(2))
    one.set_weights(both.get_weights())
    second = np.ones_like(data())  # masked at the first two steps
    second[:, 2:] = 3.0
    there = (THERE & (np.arange(STEPS) >= 2))[..., None]
    np.testing.assert_allclose(
        both.predict([data(), second]), one.predict((data() + 3.0) * there), rtol=1e-5, atol=1e-6
    )


class Steps(L.Layer):
    """Counts the steps that are there: uses a mask, and does not pass it on."""

    def call(self, x: Any, mask: Any = None) -> Any:
        ones = ops.reduce_max(x * 0.0, -1) + 1.0
        return ops.reduce_sum(ones if mask is None else ops.cast(mask, "float32"), 1, keepdims=True)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None


def test_custom_layers_get_masks() -> None:
    np.testing.assert_array_equal(net(L.Masking(), Steps()).predict(data())[:, 0], THERE.sum(1))
    np.testing.assert_array_equal(net(Steps()).predict(data())[:, 0], STEPS)


@pytest.mark.parametrize("vintage", ["keras2", "tf_keras", "keras3"])
def test_masks_of_several_inputs_and_outputs_are_paired_in_their_order(vintage: str) -> None:
    """supports_masking alone: the first input's mask is the output's, as a loss and metrics take it."""

    class Sums(L.Layer):
        supports_masking = True

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return inputs[0] + inputs[1]

    class Twice(L.Layer):
        supports_masking = True

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return [inputs, inputs + 1.0]

    x = L.Input((STEPS, WIDTH), vintage=vintage)
    masked = L.Masking(vintage=vintage)(x)
    plain = L.Dense(WIDTH, vintage=vintage)(x)
    sums = [Sums(vintage=vintage)(pair) for pair in ([masked, plain], [plain, masked])]
    assert [y.mask is not None for y in sums] == [True, False]
    twice = Twice(vintage=vintage)(masked)
    assert [y.mask is not None for y in twice] == [True, vintage == "keras2"]


@pytest.mark.parametrize("engine", ["native", "interpreter"])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_metrics_count_steps_that_are_there(engine: str, weighted: bool) -> None:
    model = net(L.Masking(), L.LSTM(2, return_sequences=True))
    if engine == "interpreter":
        model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = data(), np.random.default_rng(2).normal(size=(4, STEPS, 2)).astype(np.float32)
    weights = np.array([1, 2, 0, 1], np.float32) if weighted else None
    loss, mae = model.test_on_batch(x, y, sample_weight=weights)
    error = model.predict(x) - y
    there = THERE / THERE.mean()
    each = (np.square(error).mean(-1) * there).mean(-1)
    expected = each.mean() if weights is None else (each * weights).sum() / 3
    assert loss == pytest.approx(expected, rel=1e-4)
    assert mae == pytest.approx((np.abs(error).mean(-1) * there).mean(), rel=1e-4)
    before = model.get_weights()
    model.train_on_batch(x, y)
    assert all((a != b).any() for a, b in zip(before, model.get_weights()))


def test_masked_steps_have_no_gradient() -> None:
    """Labels at masked steps change nothing."""
    results = []
    for wrong in (0.0, 100.0):
        model = net(L.Masking(), L.Dense(4), L.GRU(2, return_sequences=True))
        model.compile("sgd", "mse")
        y = np.ones((4, STEPS, 2), np.float32)
        y[~THERE] = wrong
        losses = [model.train_on_batch(data(), y) for _ in range(3)]
        results.append((losses, model.get_weights()))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1]):
        np.testing.assert_array_equal(a, b)


def test_the_mean_over_time_is_of_steps_that_are_there() -> None:
    got = net(L.Masking(), L.GlobalAveragePooling1D()).predict(data())
    np.testing.assert_allclose(got, data().sum(1) / THERE.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("vintage", ["keras2", "tf_keras", "keras3"])
def test_batch_statistics_of_masked_steps(vintage: str) -> None:
    """Keras 2 counts them, its successors do not."""
    model = Sequential(
        [
            L.Input((STEPS, WIDTH)),
            L.Masking(vintage=vintage),
            L.BatchNormalization(momentum=0.0, vintage=vintage),
            L.LSTM(2, vintage=vintage),
        ],
        vintage=vintage,
    )
    model.compile("sgd", "mse")
    model.use_engine(InterpreterEngine(model))
    model.train_on_batch(data(), np.ones((4, 2)))
    steps = data().reshape(-1, WIDTH) if vintage == "keras2" else data()[THERE]
    np.testing.assert_allclose(model.layers[1].get_weights()[2], steps.mean(0), rtol=1e-5)

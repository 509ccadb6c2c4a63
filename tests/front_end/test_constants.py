"""Constants of recurrent layers: tensors that a cell is given at every step, as Keras 2 has it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile_runtime as rt
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras.models import Model, model_from_json
from kcompile.keras.utils import custom_object_scope
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError

N, STEPS, INPUTS, UNITS, FIXED = 4, 5, 3, 4, 2
rng = np.random.default_rng(2)
X = rng.normal(size=(N, STEPS, INPUTS)).astype("f")
C = rng.normal(size=(N, FIXED)).astype("f")
S = rng.normal(size=(N, UNITS)).astype("f")


class WithConstant(L.Layer):
    """h' = tanh(x @ kernel + h @ recurrent + c @ constant)."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape: Any) -> None:
        shape, constant = input_shape
        self.kernel = self.add_weight("kernel", (shape[-1], self.units))
        self.recurrent = self.add_weight("recurrent", (self.units, self.units))
        self.constant = self.add_weight("constant", (constant[-1], self.units))

    def call(self, inputs: Any, states: Any, constants: Any) -> Any:
        (h,), (c,) = states, constants
        h = K.tanh(K.dot(inputs, self.kernel) + K.dot(h, self.recurrent) + K.dot(c, self.constant))
        return h, [h]


def by_hand(
    weights: list[np.ndarray], x: np.ndarray, c: np.ndarray, h: Any = None, there: Any = None
) -> np.ndarray:
    """All outputs [n, time, units]."""
    kernel, recurrent, constant = (w.astype("d") for w in weights)
    h = np.zeros((len(x), UNITS)) if h is None else h
    outs = []
    for t in range(x.shape[1]):
        new = np.tanh(x[:, t] @ kernel + h @ recurrent + c @ constant)
        h = new if there is None else np.where(there[:, t, None], new, h)
        outs.append(h)
    return np.stack(outs, 1)


def fill(model: Any) -> Any:
    values = np.random.default_rng(1)
    for v in model.weights:
        v.assign(values.normal(size=v.shape) * 0.5)
    return model


def inputs() -> tuple[Any, Any, Any]:
    return L.Input((STEPS, INPUTS)), L.Input((FIXED,)), L.Input((UNITS,))


@pytest.mark.parametrize("engine", ["native", "interpreter"])
def test_values_states_and_masks(engine: str) -> None:
    x, c, s = inputs()
    layer = L.RNN(WithConstant(UNITS), return_sequences=True, return_state=True)
    model = fill(Model([x, s, c], layer(L.Masking()(x), initial_state=s, constants=c)))
    if engine == "interpreter":
        model.use_engine(InterpreterEngine(model))
    given = X.copy()
    given[1, 2:4] = 0
    right = by_hand(model.get_weights(), given, C, S, given.any(-1))
    outputs, state = model.predict([given, S, C])
    np.testing.assert_allclose(outputs, right, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state, right[:, -1], rtol=1e-5, atol=1e-6)


def test_gradients_are_finite_differences() -> None:
    """Of the weights, and through the constants, which come from a layer."""
    x, c, _ = inputs()
    fixed = L.Dense(FIXED, activation="tanh")(c)
    model = fill(Model([x, c], L.RNN(WithConstant(UNITS))(x, constants=fixed)))
    model.compile("sgd", "mse")
    y = rng.normal(size=(N, UNITS)).astype("f")
    start = model.get_weights()
    step = 1e-2
    for k, v in enumerate(model.weights):
        way = np.random.default_rng(k).normal(size=v.shape)
        ends = []
        for sign in (step, -step):
            v.assign(start[k] + sign * way)
            ends.append(model.test_on_batch([X, C], y))
        v.assign(start[k])
        model.optimizer.lr = 1.0
        model.train_on_batch([X, C], y)
        slope = ((start[k] - v.numpy()) * way).sum()
        model.set_weights(start)
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("states", [False, True])
def test_lists_and_configurations(states: bool) -> None:
    """As in the tests of Keras 2: the layer of a configuration is called on the flat list."""
    x, c, s = inputs()
    first = L.RNN(WithConstant(UNITS))
    y = first(x, initial_state=s, constants=c) if states else first(x, constants=[c])
    given, data = ([x, s, c], [X, S, C]) if states else ([x, c], [X, C])
    model = fill(Model(given, y))
    config = json.loads(json.dumps(first.get_config()))
    assert config["num_constants"] == 1 == first._num_constants
    with custom_object_scope({"WithConstant": WithConstant}):
        again = L.RNN.from_config(config)
        listed = Model(given, again(list(given)))
        copy = model_from_json(model.to_json())
    for other in (listed, copy):
        other.set_weights(model.get_weights())
        np.testing.assert_array_equal(other.predict(data), model.predict(data))
    assert "num_constants" not in L.RNN(L.GRUCell(2)).get_config()


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_files(name: str, tmp_path: Any) -> None:
    x, c, _ = inputs()
    model = fill(Model([x, c], L.Bidirectional(L.RNN(WithConstant(UNITS)))(x, constants=c)))
    model.save(tmp_path / name)
    again = kcompile.load(tmp_path / name, custom_objects={"WithConstant": WithConstant})
    np.testing.assert_array_equal(again.predict([X, C]), model.predict([X, C]))


def test_both_directions() -> None:
    x, c, s = inputs()
    t = L.Input((UNITS,))
    layer = L.Bidirectional(L.RNN(WithConstant(UNITS), return_sequences=True))
    model = fill(Model([x, s, t, c], layer(x, initial_state=[s, t], constants=c)))
    w = model.get_weights()
    right = [by_hand(w[:3], X, C, S), by_hand(w[3:], X[:, ::-1], C, 2 * S)[:, ::-1]]
    np.testing.assert_allclose(
        model.predict([X, S, 2 * S, C]), np.concatenate(right, -1), rtol=1e-5, atol=1e-6
    )


def test_stacked_cells_take_what_they_ask_for() -> None:
    x, c, _ = inputs()
    stacked = L.RNN([L.GRUCell(3), WithConstant(UNITS)], return_sequences=True)
    model = fill(Model([x, c], stacked(x, constants=c)))
    first = Model(x, L.GRU(3, return_sequences=True)(x))
    first.set_weights(model.get_weights()[:3])
    right = by_hand(model.get_weights()[3:], first.predict(X), C)
    np.testing.assert_allclose(model.predict([X, C]), right, rtol=1e-5, atol=1e-6)


def test_stateful() -> None:
    x, c = L.Input(batch_shape=(N, STEPS, INPUTS)), L.Input(batch_shape=(N, FIXED))
    model = fill(Model([x, c], L.RNN(WithConstant(UNITS), stateful=True)(x, constants=c)))
    first = by_hand(model.get_weights(), X, C)[:, -1]
    np.testing.assert_allclose(model.predict_on_batch([X, C]), first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        model.predict_on_batch([X, 2 * C]),
        by_hand(model.get_weights(), X, 2 * C, first)[:, -1],
        rtol=1e-5,
        atol=1e-6,
    )


def test_export(tmp_path: Any) -> None:
    x, c, _ = inputs()
    model = fill(Model([x, c], L.RNN(WithConstant(UNITS))(x, constants=c)))
    kcompile.export(model, tmp_path / "model.so")
    np.testing.assert_array_equal(rt.load(tmp_path / "model.so").predict([X, C]), model.predict([X, C]))


class Attention(L.Layer):
    """h' = tanh(x @ kernel + the mean of a memory [n, steps, units], weighted by its products with h)."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (input_shape[0][-1], self.units))

    def call(self, inputs: Any, states: Any, constants: Any, training: Any = None) -> Any:
        memory, h = constants[0], states[0]
        share = K.softmax(K.sum(memory * K.expand_dims(h, 1), -1))
        h = K.tanh(K.dot(inputs, self.kernel) + K.batch_dot(share, memory, [1, 1]))
        return h, [h]


def test_a_memory_of_several_axes() -> None:
    x, m = L.Input((STEPS, INPUTS)), L.Input((7, UNITS))
    model = fill(Model([x, m], L.RNN(Attention(UNITS))(x, constants=m)))
    memory = rng.normal(size=(N, 7, UNITS)).astype("f")
    h = np.zeros((N, UNITS))
    for t in range(STEPS):
        e = np.exp((memory * h[:, None]).sum(-1))
        h = np.tanh(
            X[:, t] @ model.get_weights()[0] + np.einsum("nt,ntu->nu", e / e.sum(-1, keepdims=True), memory)
        )
    np.testing.assert_allclose(model.predict([X, memory]), h, rtol=1e-5, atol=1e-6)
    model.compile("adam", "mse")
    losses = [model.train_on_batch([X, memory], S * 0.1) for _ in range(5)]
    other = fill(Model([x, m], L.RNN(Attention(UNITS))(x, constants=m)))
    other.compile("adam", "mse")
    other.use_engine(InterpreterEngine(other))
    right = [other.train_on_batch([X, memory], S * 0.1) for _ in range(5)]
    np.testing.assert_allclose(losses, right, rtol=1e-5)
    assert losses[-1] < losses[0]


class Doubled(L.LSTMCell):
    """An LSTM whose output is doubled."""

    def call(self, inputs: Any, states: Any) -> Any:
        y, states = super().call(inputs, states)
        return y * 2.0, states


def test_a_subclass_of_a_cell_has_its_own_call() -> None:
    x = L.Input((STEPS, INPUTS))
    model, plain = (fill(Model(x, L.RNN(cell(UNITS))(x))) for cell in (Doubled, L.LSTMCell))
    np.testing.assert_allclose(model.predict(X), 2 * plain.predict(X), rtol=1e-6)


class FromOnes(L.GRU):
    def get_initial_state(self, inputs: Any) -> Any:
        return [K.ones_like(inputs[:, 0, :1]) * K.ones((UNITS,))]


def test_the_first_state_may_be_ones_own() -> None:
    x, _, s = inputs()
    model = fill(Model(x, FromOnes(UNITS)(x)))
    given = fill(Model([x, s], L.GRU(UNITS)(x, initial_state=s)))
    np.testing.assert_allclose(model.predict(X), given.predict([X, np.ones((N, UNITS))]), rtol=1e-6)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda x, c: L.LSTM(3)(x, constants=c), ModelError, "constants"),
        (lambda x, c: L.Bidirectional(L.GRU(3))(x, constants=c), ModelError, "constants"),
        (lambda x, c: L.RNN(WithConstant(UNITS))(x, constants=C), UnsupportedError, "tensors"),
        (lambda x, c: L.RNN(WithConstant(UNITS))(x, initial_state=S), UnsupportedError, "reset_states"),
        (lambda x, c: L.RNN(WithConstant(UNITS))([x, c], constants=c), ModelError, "either"),
        (lambda x, c: L.RNN(WithConstant(UNITS), num_constants=1)(x), ModelError, "1 constants"),
        (lambda x, c: L.RNN(WithConstant(UNITS), num_constants=-1), ModelError, "num_constants"),
        (lambda x, c: L.RNN(L.GRUCell(3))(X), InputTypeError, "predict, fit or evaluate"),
        (
            lambda x, c: [f(x, constants=[c] * k) for f in [L.RNN(WithConstant(UNITS))] for k in (1, 2)],
            ModelError,
            "1 of them",
        ),
    ],
)
def test_errors(act: Any, error: type[Exception], text: str) -> None:
    x, c, _ = inputs()
    with pytest.raises(error, match=text):
        act(x, c)

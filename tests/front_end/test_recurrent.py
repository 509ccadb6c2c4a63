"""Recurrent layers, wrappers: against plain numpy loops, options, state, configurations, errors.

Against real Keras: `tests/keras_tier/test_recurrent_layers.py`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import ops
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential, model_from_json
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError

STEPS, INPUTS, UNITS = 6, 3, 4


def data(n: int = 5, shape: tuple[int, ...] = (STEPS, INPUTS), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def fill(model: Any, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape) * 0.5)
    return model


def interpreted(model: Any) -> Any:
    model.use_engine(InterpreterEngine(model))
    return model


def net(*layers: Any, shape: tuple[int, ...] = (STEPS, INPUTS)) -> Any:
    return fill(Sequential([L.Input(shape), *layers]))


def hard_sigmoid(x: Any) -> Any:
    return np.clip(0.2 * x + 0.5, 0, 1)


def by_hand(kind: str, weights: list[np.ndarray], x: np.ndarray, reset_after: bool = False) -> np.ndarray:
    """All outputs [n, time, units], written from the formulas in Keras' documentation."""
    w, r, b = (v.astype(np.float64) for v in weights)
    u = r.shape[0]
    h = c = np.zeros((len(x), u))
    outs = []
    for t in range(x.shape[1]):
        if kind == "SimpleRNN":
            h = np.tanh(x[:, t] @ w + h @ r + b)
        elif kind == "LSTM":
            i, f, g, o = np.split(x[:, t] @ w + h @ r + b, 4, -1)
            c = hard_sigmoid(f) * c + hard_sigmoid(i) * np.tanh(g)
            h = hard_sigmoid(o) * np.tanh(c)
        elif reset_after:
            xz, xr, xh = np.split(x[:, t] @ w + b[0], 3, -1)
            hz, hr, hh = np.split(h @ r + b[1], 3, -1)
            z, reset = hard_sigmoid(xz + hz), hard_sigmoid(xr + hr)
            h = z * h + (1 - z) * np.tanh(xh + reset * hh)
        else:
            xz, xr, xh = np.split(x[:, t] @ w + b, 3, -1)
            z, reset = hard_sigmoid(xz + h @ r[:, :u]), hard_sigmoid(xr + h @ r[:, u : 2 * u])
            h = z * h + (1 - z) * np.tanh(xh + (reset * h) @ r[:, 2 * u :])
        outs.append(h)
    return np.stack(outs, 1)


@pytest.mark.parametrize(
    ("kind", "options"), [("SimpleRNN", {}), ("LSTM", {}), ("GRU", {}), ("GRU", {"reset_after": True})]
)
def test_values_are_the_formulas(kind: str, options: dict[str, Any]) -> None:
    x = data()
    model = net(getattr(L, kind)(UNITS, return_sequences=True, **options))
    expected = by_hand(kind, model.get_weights(), x, **options)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(interpreted(model).predict(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_sequences_states_and_direction(kind: str) -> None:
    make, x = getattr(L, kind), data()
    inputs = L.Input((STEPS, INPUTS))
    layer = make(UNITS, return_sequences=True, return_state=True)
    model = fill(Model(inputs, layer(inputs)))
    outputs, h, *_ = model.predict(x)
    np.testing.assert_array_equal(outputs[:, -1], h)
    last = net(make(UNITS))
    last.set_weights(model.get_weights())
    np.testing.assert_array_equal(last.predict(x), h)
    back = net(make(UNITS, return_sequences=True, go_backwards=True))
    back.set_weights(model.get_weights())
    np.testing.assert_allclose(back.predict(x), model.predict(x[:, ::-1].copy())[0], rtol=1e-5, atol=1e-6)
    for options in ({"unroll": True}, {"implementation": 2}, {"implementation": 0}):
        same = net(make(UNITS, **options))
        same.set_weights(model.get_weights())
        np.testing.assert_array_equal(same.predict(x), h)


@pytest.mark.parametrize("as_list", [False, True])
def test_initial_state(as_list: bool) -> None:
    x, h, c = L.Input((STEPS, INPUTS)), L.Input((UNITS,)), L.Input((UNITS,))
    layer = L.LSTM(UNITS, return_state=True)
    outputs = layer([x, h, c]) if as_list else layer(x, initial_state=[h, c])
    model = fill(Model([x, h, c], outputs))
    whole = data()
    zeros = np.zeros((5, UNITS), np.float32)
    _, h1, c1 = model.predict([whole, zeros, zeros])
    again = model.predict([whole[:, ::-1].copy(), h1, c1])
    double = fill(Sequential([L.Input((2 * STEPS, INPUTS)), L.LSTM(UNITS)]))
    both = np.concatenate([whole, whole[:, ::-1]], 1)
    np.testing.assert_allclose(again[0], double.predict(both), rtol=1e-5, atol=1e-6)
    copy = model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict([whole, h1, c1])[0], model.predict([whole, h1, c1])[0])


@pytest.mark.parametrize("engine", ["native", "interpreter"])
def test_stateful(engine: str) -> None:
    model = fill(Sequential([L.LSTM(UNITS, stateful=True, batch_input_shape=(2, STEPS, INPUTS)), L.Dense(1)]))
    if engine == "interpreter":
        interpreted(model)
    assert model.stateful
    plain = fill(Sequential([L.Input((2 * STEPS, INPUTS)), L.LSTM(UNITS), L.Dense(1)]))
    x = data(2, (2 * STEPS, INPUTS))
    halves = x[:, :STEPS].copy(), x[:, STEPS:].copy()
    first = model.predict_on_batch(halves[0])
    np.testing.assert_allclose(model.predict_on_batch(halves[1]), plain.predict(x), rtol=1e-5, atol=1e-6)
    assert len(model.get_weights()) == 5  # states are no weights
    model.reset_states()
    np.testing.assert_array_equal(model.predict_on_batch(halves[0]), first)
    model.layers[0].reset_states([np.ones((2, UNITS))] * 2)
    np.testing.assert_array_equal(model.layers[0].states[1].value, 1)
    model.compile("sgd", "mse")
    model.reset_states()
    model.test_on_batch(halves[0], np.zeros((2, 1)))
    kept = model.layers[0].states[0].value.copy()
    assert kept.any()
    model.train_on_batch(halves[1], np.zeros((2, 1)))
    assert (model.layers[0].states[0].value != kept).all()
    model.fit(np.concatenate(halves), np.zeros((4, 1)), verbose=0)  # batches of 2 by themselves
    with pytest.raises(InputError, match="stateful"):
        model.predict(data(3))
    with pytest.raises(InputError, match="batch_size=2"):
        model.fit(data(4), np.zeros((4, 1)), batch_size=4)
    with pytest.raises(InputError, match="shape"):
        model.layers[0].reset_states([np.ones((3, UNITS))] * 2)


def test_bidirectional_is_two_layers() -> None:
    x = data()
    for mode, merge in (
        ("concat", lambda a, b: np.concatenate([a, b], -1)),
        ("sum", np.add),
        ("mul", np.multiply),
        ("ave", lambda a, b: (a + b) / 2),
    ):
        model = net(L.Bidirectional(L.GRU(UNITS, return_sequences=True), merge_mode=mode))
        forward = net(L.GRU(UNITS, return_sequences=True))
        backward = net(L.GRU(UNITS, return_sequences=True, go_backwards=True))
        forward.set_weights(model.get_weights()[:3])
        backward.set_weights(model.get_weights()[3:])
        expected = merge(forward.predict(x), backward.predict(x)[:, ::-1])
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    inputs = L.Input((STEPS, INPUTS))
    layer = L.Bidirectional(L.LSTM(UNITS, return_state=True), merge_mode=None)
    outputs = layer(inputs)
    assert len(outputs) == 6
    states = Model(inputs, outputs).predict(x)
    np.testing.assert_array_equal(states[0], states[2])
    np.testing.assert_array_equal(states[1], states[4])
    names = [w.path for w in layer.weights]
    assert "forward_lstm" in names[0] and "backward_lstm" in names[3]


@pytest.mark.parametrize(
    "inner",
    [
        lambda: L.Dense(4, activation="tanh"),
        lambda: L.Conv2D(2, 3),
        lambda: Sequential([L.Input((7, 6, 2)), L.Flatten(), L.Dense(3)]),
    ],
)
def test_time_distributed(inner: Any) -> None:
    layer = inner()
    model = net(L.TimeDistributed(layer), shape=(STEPS, 7, 6, 2))
    x = data(3, (STEPS, 7, 6, 2))
    each = fill(Sequential([L.Input((7, 6, 2)), inner()]))
    each.set_weights(model.get_weights())
    expected = np.stack([each.predict(x[:, t].copy()) for t in range(STEPS)], 1)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    assert model.output_shape == (None, STEPS, *each.output_shape[1:])


class Minimal(L.Layer):
    """The cell of the documents: h' = x @ kernel + h @ recurrent."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.recurrent = self.add_weight("recurrent", (self.units, self.units))

    def call(self, inputs: Any, states: Any) -> Any:
        h = ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.recurrent)
        return h, [h]


def test_cells_of_ones_own_and_stacks() -> None:
    x = data()
    model = net(L.RNN([Minimal(UNITS), Minimal(2)], return_sequences=True))
    w1, r1, w2, r2 = (w.astype(np.float64) for w in model.get_weights())
    a, b, expected = np.zeros((5, UNITS)), np.zeros((5, 2)), []
    for t in range(STEPS):
        a = x[:, t] @ w1 + a @ r1
        b = a @ w2 + b @ r2
        expected.append(b)
    np.testing.assert_allclose(model.predict(x), np.stack(expected, 1), rtol=1e-5, atol=1e-5)
    stacked = net(L.RNN([L.LSTMCell(UNITS), L.GRUCell(3)]))
    one = net(L.LSTM(UNITS, return_sequences=True), L.GRU(3))
    one.set_weights(stacked.get_weights())
    np.testing.assert_allclose(stacked.predict(x), one.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("implementation", [1, 2])
def test_dropout_is_the_same_at_all_steps_and_reproducible(kind: str, implementation: int) -> None:
    losses = []
    for engine in ("native", "native", "interpreter"):
        np.random.seed(0)
        model = net(
            getattr(L, kind)(UNITS, dropout=0.4, recurrent_dropout=0.3, implementation=implementation),
            L.Dense(1),
        )
        if engine == "interpreter":
            interpreted(model)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses.append([model.train_on_batch(data(), np.ones((5, 1))) for _ in range(4)])
        assert model.test_on_batch(data(), np.ones((5, 1))) == model.test_on_batch(data(), np.ones((5, 1)))
    assert losses[0] == losses[1]
    np.testing.assert_allclose(losses[0], losses[2], rtol=1e-4)


def test_dropout_in_stacked_cells() -> None:
    """Their masks are made inside the loop, the same at every step."""
    losses = []
    for engine in ("native", "interpreter"):
        np.random.seed(0)
        model = net(L.RNN([L.LSTMCell(UNITS, dropout=0.4, recurrent_dropout=0.3), L.GRUCell(3, dropout=0.2)]))
        if engine == "interpreter":
            interpreted(model)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses.append([model.train_on_batch(data(), np.ones((5, 3))) for _ in range(4)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    ones = np.ones((5, STEPS, 8), np.float32)
    cells = [
        L.SimpleRNNCell(1, "linear", use_bias=False, dropout=0.5),
        L.SimpleRNNCell(1, "linear", use_bias=False),
    ]
    counted = Sequential([L.Input((STEPS, 8)), L.RNN(cells, return_sequences=True)])
    counted.layers[0].set_weights([np.ones((8, 1)), np.zeros((1, 1)), np.ones((1, 1)), np.zeros((1, 1))])
    counted.compile(
        keras.optimizers.SGD(0.0),
        lambda y, p: ops.reduce_max(ops.abs(p - ops.slice_(p, (0, 0, 0), (p.shape[0], 1, 1))), [1, 2]),
    )
    assert counted.train_on_batch(ones, np.zeros((5, STEPS, 1))) == 0


def test_a_dropped_input_is_dropped_at_every_step() -> None:
    """With all weights ones and no recurrence, the output of a step counts the inputs that are kept."""
    model = Sequential(
        [
            L.Input((STEPS, 8)),
            L.SimpleRNN(1, activation="linear", use_bias=False, dropout=0.5, return_sequences=True),
        ]
    )
    model.layers[0].set_weights([np.ones((8, 1)), np.zeros((1, 1))])
    model.compile(
        keras.optimizers.SGD(0.0),
        lambda y, p: ops.reduce_max(ops.abs(p - ops.slice_(p, (0, 0, 0), (p.shape[0], 1, 1))), [1, 2]),
    )
    x = np.ones((5, STEPS, 8), np.float32)
    assert model.train_on_batch(x, np.zeros((5, STEPS, 1))) == 0


@pytest.mark.parametrize(
    "layer",
    [
        L.LSTM(
            3,
            activation="relu",
            recurrent_activation="sigmoid",
            unit_forget_bias=False,
            kernel_regularizer="l2",
            recurrent_constraint="unit_norm",
            dropout=0.1,
            go_backwards=True,
        ),
        L.GRU(3, reset_after=True, return_sequences=True, implementation=2),
        L.SimpleRNN(3, use_bias=False, bias_initializer="ones"),
        L.RNN(L.LSTMCell(2)),
        L.RNN([L.GRUCell(2), L.SimpleRNNCell(4)], unroll=True),
        L.Bidirectional(L.LSTM(2), merge_mode="ave"),
        L.TimeDistributed(L.Dense(4, activation="relu")),
    ],
)
def test_configurations_round_trip(layer: Any) -> None:
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    model = net(layer)
    copy = model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(data()), model.predict(data()))


def test_weights_are_named_and_shaped_as_keras_has_them() -> None:
    layer = net(L.LSTM(UNITS, name="memory")).layers[0]
    assert [(w.path, w.shape) for w in layer.weights] == [
        ("memory/kernel", (INPUTS, 16)),
        ("memory/recurrent_kernel", (UNITS, 16)),
        ("memory/bias", (16,)),
    ]
    fresh = Sequential([L.Input((STEPS, INPUTS)), L.LSTM(2)]).get_weights()[2]
    assert fresh.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    gru = net(L.GRU(UNITS, reset_after=True)).layers[0]
    assert gru.weights[2].shape == (2, 12)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: L.LSTM(0), ModelError, "units"),
        (lambda: L.LSTM(3, time_major=True), UnsupportedError, "time_major"),
        (lambda: L.GRU(3, dropout=1.5), ModelError, "dropout"),
        (lambda: L.GRU(3, implementation=3), ModelError, "implementation"),
        (lambda: L.RNN(L.Dense(3)), ModelError, "state_size"),
        (lambda: L.RNN("lstm"), ModelError, "layer"),
        (lambda: L.Bidirectional(L.Dense(3)), ModelError, "recurrent"),
        (lambda: L.Bidirectional(L.LSTM(3), merge_mode="max"), ModelError, "merge_mode"),
        (lambda: net(L.LSTM(3), shape=(4,)), ModelError, "rank"),
        (lambda: net(L.LSTM(3, stateful=True)), ModelError, "batch_input_shape"),
        (lambda: net(L.TimeDistributed(L.Dense(3)), shape=(4,)), ModelError, "rank"),
        (lambda: net(L.LSTM(3)).layers[0].reset_states(), ModelError, "not stateful"),
    ],
)
def test_errors(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_export_of_embedding_and_recurrent_layers(tmp_path: Any) -> None:
    import kcompile
    import kcompile_runtime as rt

    model = fill(
        Sequential(
            [
                L.Embedding(20, 4, mask_zero=True, input_length=STEPS),
                L.Bidirectional(L.LSTM(3, return_sequences=True)),
                L.GRU(2),
            ]
        )
    )
    x = np.random.default_rng(0).integers(0, 20, (5, STEPS)).astype(np.int32)
    kcompile.export(model, tmp_path / "model.so")
    np.testing.assert_array_equal(rt.load(tmp_path / "model.so").predict(x), model.predict(x))


def cudnn_layout(kernel: np.ndarray, gates: int) -> np.ndarray:
    """As Keras 2 converts weights between its layers: each gate's transpose, read row by row."""
    return np.hstack([k.T.reshape(k.shape) for k in np.hsplit(kernel, gates)])


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_layers_of_cudnn(kind: str, gates: int) -> None:
    """The same numbers as the plain layer's with sigmoid gates, whose weights are laid out otherwise."""
    options = {"return_sequences": True, "go_backwards": True}
    model = net(getattr(L, f"CuDNN{kind}")(UNITS, **options))
    plain = net(
        getattr(L, kind)(
            UNITS,
            recurrent_activation="sigmoid",
            **options,
            **({"reset_after": True} if kind == "GRU" else {}),
        )
    )
    kernel, recurrent, bias = plain.get_weights()
    stored = [
        cudnn_layout(kernel, gates),
        cudnn_layout(recurrent, gates),
        np.concatenate([bias * 0.25, bias * 0.75]) if kind == "LSTM" else bias.ravel(),
    ]
    model.set_weights(stored)
    x, y = data(), data(shape=(STEPS, UNITS))
    np.testing.assert_allclose(model.predict(x), plain.predict(x), rtol=1e-5, atol=1e-6)
    losses = []
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(0.1), "mse")
        losses.append([each.train_on_batch(x, y) for _ in range(2)])
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    config = json.loads(json.dumps(model.layers[0].get_config()))
    assert "activation" not in config and "dropout" not in config
    copy = model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(x), model.predict(x))
    start = Sequential([L.Input((STEPS, INPUTS)), getattr(L, f"CuDNN{kind}")(2)]).get_weights()[2]
    assert start.tolist() == ([0] * 10 + [1, 1] + [0] * 4 if kind == "LSTM" else [0] * 12)
    with pytest.raises(UnsupportedError, match="dropout"):
        getattr(L, f"CuDNN{kind}")(2, dropout=0.5)


def test_gradients_reach_the_layout_of_cudnn() -> None:
    plain = net(L.LSTM(UNITS, recurrent_activation="sigmoid"))
    model = net(L.CuDNNLSTM(UNITS))
    kernel, recurrent, bias = plain.get_weights()
    model.set_weights([cudnn_layout(kernel, 4), cudnn_layout(recurrent, 4), np.concatenate([bias, bias * 0])])
    x, y = data(), data(shape=(UNITS,))
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(0.1), "mse")
        each.train_on_batch(x, y)
    found, right = model.get_weights(), plain.get_weights()
    for k in (0, 1):
        np.testing.assert_allclose(found[k], cudnn_layout(right[k], 4), rtol=1e-4, atol=1e-6)
    first, second = np.split(found[2], 2)
    np.testing.assert_allclose(first - bias, second, rtol=1e-3, atol=1e-6)  # the slope of both
    np.testing.assert_allclose(first, right[2], rtol=1e-4, atol=1e-6)


def test_copies_of_cells_have_names_of_their_own() -> None:
    model = net(L.Bidirectional(L.RNN(L.LSTMCell(UNITS))))
    plain = net(L.Bidirectional(L.LSTM(UNITS)))
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(data()), plain.predict(data()))


@pytest.mark.parametrize(
    "activation, gates, first",
    [
        ("softmax", "sigmoid", [0.067611, 0.061368, 0.069876, 0.097378, 0.108010]),
        ("tanh", "softmax", [0.008731, 0.042131, 0.065231, 0.061749, 0.048291]),
    ],
)
def test_softmax_of_a_convolutional_lstm_goes_along_the_last_axis_of_the_user(activation, gates, first):
    """Values of Keras 2.3.1, channels first."""
    x = L.Input((2, 2, 4, 5))
    layer = L.ConvLSTM2D(
        3, 2, data_format="channels_first", activation=activation, recurrent_activation=gates
    )
    m = Model(x, layer(x))
    sizes = [w.shape for w in m.get_weights()]
    m.set_weights([np.sin(np.arange(np.prod(s)) + k + 1.0).reshape(s) for k, s in enumerate(sizes)])
    found = m.predict(np.cos(np.arange(80.0)).reshape(1, 2, 2, 4, 5))
    np.testing.assert_allclose(found.ravel()[:5], first, atol=2e-6)


@pytest.mark.parametrize("layer", [L.SimpleRNN, L.LSTM, L.GRU])
def test_dropout_by_a_seed_of_its_own(layer: Any) -> None:
    """Masks follow from the layer's seed, whatever the global one is."""

    def losses(start: int, **seed: Any) -> list[float]:
        np.random.seed(start)
        model = net(layer(UNITS, dropout=0.5, recurrent_dropout=0.3, **seed))
        model.compile("sgd", "mse")
        return [model.train_on_batch(data(), np.ones((5, UNITS))) for _ in range(2)]

    assert losses(1, seed=3) == losses(2, seed=3) == losses(1, seed=3 + 2**32)
    assert losses(1, seed=3) != losses(1, seed=4)
    assert losses(1) != losses(2)
    assert layer(2, seed=7).get_config()["seed"] == 7
    assert "seed" not in layer(2).get_config()
    with pytest.raises(ModelError, match="seed"):
        layer(2, seed=0.5)


def test_seeds_of_recurrent_layers_in_files(tmp_path: Any) -> None:
    model = net(L.LSTM(2, dropout=0.5, seed=7))
    model.save(tmp_path / "m.keras")
    assert keras.models.load_model(tmp_path / "m.keras").layers[-1].get_config()["seed"] == 7
    with pytest.warns(UserWarning, match="does not have seed=7 of LSTM"):
        model.save(tmp_path / "m.h5", vintage="keras2")


def test_cells_of_tf_keras_have_a_base() -> None:
    """The cell of its documentation, with kernels of ones."""

    class Minimal(tf_keras.layers.AbstractRNNCell):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units

        @property
        def state_size(self) -> int:
            return self.units

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer="ones", name="kernel")
            self.back = self.add_weight(shape=(self.units, self.units), initializer="ones", name="back")
            super().build(shape)

        def call(self, inputs: Any, states: Any) -> Any:
            dot = tf_keras.backend.dot
            output = dot(inputs, self.kernel) * 0.1 + dot(states[0], self.back) * 0.1
            return output, output

    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    model = tf_keras.Sequential([tf_keras.layers.RNN(Minimal(3), input_shape=(3, 2))])
    np.testing.assert_allclose(model.predict(x, verbose=0)[0], [1.059] * 3, rtol=1e-6)
    assert np.asarray(Minimal(3).get_initial_state(batch_size=2)).tolist() == [[0.0] * 3] * 2
    with pytest.raises(NotImplementedError, match="must define state_size"):
        tf_keras.layers.RNN(tf_keras.layers.AbstractRNNCell())
    assert not hasattr(keras3.layers, "AbstractRNNCell")

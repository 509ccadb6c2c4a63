"""Layers and models on variables, placeholders and arrays; their methods on tensors of a model."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3
from kcompile.keras import backend as K
from kcompile.keras import layers, losses
from kcompile.keras.layers import Dense, Embedding, Input, SimpleRNN
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import InputError, InputTypeError, ModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 3)).astype("float32")
IMAGES = RNG.normal(size=(2, 8, 8, 3)).astype("float32")

SEQUENCES = {
    "LSTM": lambda: layers.LSTM(3),
    "GRU": lambda: layers.GRU(2, return_sequences=True),
    "Dense": lambda: Dense(2, activation="softmax"),
    "Flatten": layers.Flatten,
    "Conv1D": lambda: layers.Conv1D(2, 3),
    "MaxPooling1D": lambda: layers.MaxPooling1D(2),
    "BatchNormalization": layers.BatchNormalization,
    "Dropout": lambda: layers.Dropout(0.5),
    "TimeDistributed": lambda: layers.TimeDistributed(Dense(2)),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(2)),
    "Masking": layers.Masking,
    "Activation": lambda: layers.Activation("relu"),
    "Reshape": lambda: layers.Reshape((9, 2)),
    "Pooling": layers.GlobalAveragePooling1D,
    "Lambda": lambda: layers.Lambda(lambda t: t * 2),
}


def value(x, inputs, arrays):
    return K.function(inputs, [x])(arrays)[0]


@pytest.mark.parametrize("name", sorted(SEQUENCES))
def test_layers_on_anything(name):
    layer, i = SEQUENCES[name](), Input((6, 3))
    expected = Model(i, layer(i)).predict(X)

    def close(got):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)

    close(K.eval(layer(K.variable(X))))
    close(K.eval(layer(K.constant(X))))
    for shape in ((4, 6, 3), (None, 6, 3)):
        p = K.placeholder(shape)
        close(value(layer(p), [p], [X]))
    if name not in ("TimeDistributed", "Bidirectional"):
        close(value(layer.call(i), [i], [X]))
    assert layer.compute_mask(i) is None or name == "Masking"


def test_models_on_variables():
    model = Sequential(
        [layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 3)), layers.Flatten(), Dense(2)]
    )
    np.testing.assert_allclose(K.eval(model(K.variable(IMAGES))), model.predict(IMAGES), rtol=1e-4, atol=1e-6)
    kernel = model.get_weights()
    out = K.sum(model(K.variable(IMAGES)) * 2) + 1
    model.set_weights([0 * w for w in kernel])
    assert K.eval(out) == 1


def test_a_gradient_by_pixels():
    """The image is a variable: Keras' DeepDream and style transfer."""
    model = Sequential([Dense(4, activation="tanh", input_shape=(3,)), Dense(1)])
    image = K.variable(X[0])
    loss = K.sum(K.square(model(image)))
    (slope,) = K.gradients(loss, [image])
    got, step = K.eval(slope), 1e-2
    moved = [K.eval(K.sum(K.square(model(K.variable(X[0] + s * step * got))))) for s in (1, -1)]
    assert (moved[0] - moved[1]) / (2 * step) == pytest.approx((got**2).sum(), rel=2e-2)


def test_masks_and_states_of_tensors():
    numbers, table = Input((3,), dtype="int32"), Embedding(5, 2, mask_zero=True)
    table(numbers)
    mask = table.compute_mask(numbers)
    assert value(mask, [numbers], [np.array([[0, 1, 2]])]).tolist() == [[False, True, True]]
    x, lstm = Input((6, 3)), layers.LSTM(2)
    lstm(x)
    states = lstm.get_initial_state(x)
    assert [value(s, [x], [X]).shape for s in states] == [(4, 2)] * 2
    np.testing.assert_array_equal(value(layers.Masking().compute_mask(x), [x], [0 * X]), np.zeros((4, 6)))


def test_initial_states_that_are_variables():
    x, rnn = Input((6, 3)), SimpleRNN(2)
    start = RNG.normal(size=(4, 2))
    state = K.variable(start)
    model = Model(x, rnn(x, initial_state=[state]))
    given = Input((2,))
    expected = Model([x, given], rnn(x, initial_state=[given])).predict([X, start])
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(X[:3]), expected[:3], rtol=1e-5)
    K.set_value(state, 0 * start)
    assert not np.allclose(model.predict(X), expected)


def test_arrays():
    dense = keras3.layers.Dense(2)
    y = dense(X)
    np.testing.assert_allclose(y.numpy(), X @ dense.get_weights()[0] + dense.get_weights()[1], rtol=1e-5)
    drop = keras3.layers.Dropout(0.5, seed=3)
    first, second = drop(X, training=True), drop(X, training=True)
    assert (first != second).any() and np.array_equal(drop(X), X)
    assert len(dense.nodes_made) == 0
    with pytest.raises(InputTypeError, match="Data goes into"):
        Dense(2)(X)  # as Keras 2 has it


def test_values_of_tensors():
    loss = losses.mse(np.ones((2, 3)), np.zeros((2, 3)))
    assert loss.numpy().tolist() == np.asarray(loss).tolist() == [1, 1] and float(K.sum(loss)) == 2
    with pytest.raises(ModelError, match="input 'late'"):
        Input((2,), name="late").numpy()


# ---------------------------------------------------------------- placeholders


def test_placeholders_with_several_unknown_sizes():
    a, b = K.placeholder(ndim=2), K.placeholder((None, None))
    f = K.function([a, b], [K.dot(a, K.transpose(b)), K.sum(a, axis=1), K.max(b)])
    assert K.int_shape(a) == (None, None) and K.ndim(b) == 2
    for n, m, k in ((3, 3, 4), (2, 5, 4), (1, 7, 2), (3, 3, 4)):
        x, y = RNG.normal(size=(n, k)), RNG.normal(size=(m, k))
        for got, want in zip(f([x, y]), (x @ y.T, x.sum(1), y.max())):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_placeholders_of_any_sizes_in_one_function():
    x, c = K.placeholder((None, 3)), K.placeholder((2, None))
    f = K.function([x, c], [x * 2, K.softmax(c), K.sum(c, 0)])
    for n, k in ((4, 1), (2, 5), (1, 2)):
        a, b = RNG.normal(size=(n, 3)), RNG.normal(size=(2, k))
        got = f([a, b])
        np.testing.assert_allclose(got[0], 2 * a, rtol=1e-5)
        np.testing.assert_allclose(got[1].sum(-1), np.ones(2), rtol=1e-5)
        np.testing.assert_allclose(got[2], b.sum(0), rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="shape"):
        f([np.ones((2, 4)), np.ones((2, 1))])

"""`optimizer.get_updates`, K.function(updates=...), and what layers say of their losses and updates."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.keras import backend as K
from kcompile.keras import optimizers
from kcompile.keras.layers import BatchNormalization, Dense, Dropout, Input, Layer
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import KcompileError

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (16, 3)).astype("float32")
Y = X.sum(1, keepdims=True)

OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.1, momentum=0.9, clipnorm=0.5),
    "nesterov": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True, decay=0.1),
    "RMSprop": lambda: optimizers.RMSprop(0.01, clipvalue=0.2),
    "Adagrad": lambda: optimizers.Adagrad(0.1),
    "Adadelta": lambda: optimizers.Adadelta(),
    "Adam": lambda: optimizers.Adam(0.01),
    "Adamax": lambda: optimizers.Adamax(0.01),
    "Nadam": lambda: optimizers.Nadam(0.01),
}
STYLES = {
    "loss, params": lambda o, loss, w: o.get_updates(loss, w),
    "by name": lambda o, loss, w: o.get_updates(params=w, loss=loss),
    "params, loss": lambda o, loss, w: o.get_updates(w, loss),
    "Keras 1": lambda o, loss, w: o.get_updates(w, {}, loss),
    "Keras 1 by name": lambda o, loss, w: o.get_updates(params=w, constraints=[], loss=loss),
}


def network():
    np.random.seed(3)
    return Sequential([Dense(4, activation="tanh", input_shape=(3,)), Dense(1, kernel_constraint="max_norm")])


def trained(name):
    """What train_on_batch does."""
    model, optimizer = network(), OPTIMIZERS[name]()
    model.compile(optimizer, "mse")
    for _ in range(3):
        model.train_on_batch(X, Y)
    return model.get_weights() + optimizer.get_weights()


def stepped(name, style):
    model, optimizer, labels = network(), OPTIMIZERS[name](), K.placeholder((None, 1))
    loss = K.mean(K.square(model.output - labels))
    step = K.function(
        [model.input, labels], [loss], updates=STYLES[style](optimizer, loss, model.trainable_weights)
    )
    losses = [step([X, Y])[0] for _ in range(3)]
    assert losses[0] != losses[1]
    return model.get_weights() + optimizer.get_weights()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_step_is_that_of_training(name):
    for a, b in zip(trained(name), stepped(name, "loss, params")):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_the_orders_of_arguments(style):
    for a, b in zip(stepped("Adam", "loss, params"), stepped("Adam", style)):
        np.testing.assert_array_equal(a, b)


def test_constraints_of_keras_1():
    w = K.variable([3.0, -4.0])
    updates = optimizers.SGD(0.0).get_updates([w], {w: "non_neg"}, K.sum(K.square(w)))
    K.function([], [], updates=updates)([])
    np.testing.assert_array_equal(K.eval(w), [3, 0])


def test_the_rate_may_change_between_steps():
    w, optimizer = K.variable([1.0]), optimizers.SGD(0.5)
    step = K.function([], [], updates=optimizer.get_updates(K.sum(w), [w]))
    step([])
    K.set_value(optimizer.lr, 0.25)
    step([])
    assert K.eval(w) == 0.25 and K.eval(optimizer.iterations) == 2


def test_predictions_follow_the_updates():
    model = network()
    before = model.predict(X)
    loss = K.mean(K.square(model.output))
    step = K.function([model.input], [], updates=optimizers.SGD(0.1).get_updates(loss, model.weights))
    step([X])
    w = model.get_weights()
    expected = np.tanh(X @ w[0] + w[1]) @ w[2] + w[3]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(before, expected)


def test_gradients_are_limited_as_the_optimizer_says():
    model = network()
    loss = K.sum(K.square(model.output - 9))
    for optimizer, expected in (
        (optimizers.SGD(clipvalue=0.01), lambda g: np.clip(g, -0.01, 0.01)),
        (optimizers.SGD(), lambda g: g),
    ):
        found = K.function([model.input], optimizer.get_gradients(loss, model.weights))([X])
        plain = K.function([model.input], K.gradients(loss, model.weights))([X])
        for a, b in zip(found, plain):
            np.testing.assert_allclose(a, expected(b), rtol=1e-5)


def test_updates_of_k():
    v, n = K.variable([1.0, 2.0]), K.variable(0, dtype="int32")
    f = K.function([], [v * 2], updates=[K.update(v, [5.0, 6.0]), K.update_add(n, 1)])
    np.testing.assert_array_equal(f([])[0], [2, 4])
    np.testing.assert_array_equal(f([])[0], [10, 12])
    assert K.eval(n) == 2
    K.function([], [], updates=[K.moving_average_update(v, np.ones(2), 0.5), K.update_sub(n, 5)])([])
    np.testing.assert_array_equal(K.eval(v), [3, 3.5])
    assert K.eval(n) == -3
    K.function([], [], updates=[(v, np.zeros(2))])([])
    assert not K.eval(v).any()


def test_losses_and_updates_of_a_model():
    i = Input((3,))
    h = Dense(4, kernel_regularizer="l2", activity_regularizer="l1")(i)
    normal = BatchNormalization()
    model = Model(i, normal(h))
    step = K.function([i, K.learning_phase()], [model.output, *model.losses], updates=model.updates)
    other = Model.from_config(model.get_config())
    other.set_weights(model.get_weights())
    model.compile("sgd", "mse")
    _, *penalties = step([X, 0])
    other.compile(optimizers.SGD(0.0), "mse")
    other.train_on_batch(X, np.zeros((16, 4)))
    for a, b in zip(model.get_weights()[-2:], other.get_weights()[-2:]):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    w = model.get_weights()
    hidden = X @ w[0] + w[1]
    np.testing.assert_allclose(
        sorted(map(float, penalties)), sorted([0.01 * (w[0] ** 2).sum(), 0.01 * abs(hidden).sum()]), rtol=1e-4
    )
    assert len(model.get_losses_for(None)) == 1 and len(model.get_losses_for(i)) == 1
    assert len(normal.updates) == 2 == len(model.get_updates_for(i)) and model.get_updates_for(None) == []


def test_losses_of_custom_layers():
    class Penalised(Layer):
        def call(self, x):
            self.add_loss(K.sum(K.square(x)))
            return 2 * x

    i = Input((3,))
    model = Model(i, Penalised()(Dropout(0.5)(i)))
    (loss,) = model.losses
    assert K.function([i], [loss])([X])[0] == pytest.approx((X**2).sum(), rel=1e-5)
    assert model.updates == [] == Sequential([Dense(2, input_dim=3)]).losses


@pytest.mark.parametrize(
    "call",
    [
        lambda w: optimizers.SGD().get_updates(K.sum(w)),
        lambda w: optimizers.SGD().get_updates(3, [w]),
        lambda w: optimizers.SGD().get_updates(K.sum(w), [w], 5, 6),
        lambda w: optimizers.SGD().get_updates([w], [3], K.sum(w)),
        lambda w: K.function([], [], updates=optimizers.SGD().get_updates(K.sum(w), [K.variable(1.0)]))([]),
        lambda w: optimizers.SGD().get_updates(K.sum(w), [w], rate=3),
        lambda w: K.function([], [w], updates=[w]),
        lambda w: K.function([], [w], updates=[(3, w)]),
    ],
)
def test_errors_are_ours(call):
    with pytest.raises(KcompileError, match=r"Received|depend"):
        call(K.variable([1.0]))

"""Losses, metrics, activations, regularizers and constraints take whatever functions of K take.

Each is called on numpy arrays, variables, tensors of a model and inside a layer, and compared with numpy.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from kcompile.keras import activations, constraints, initializers, losses, metrics, regularizers
from kcompile.keras import backend as K
from kcompile.keras.layers import Dense, Input, Lambda
from kcompile.keras.models import Model
from kcompile.keras.optimizers import Adam

RNG = np.random.default_rng(0)
EPSILON = 1e-7
P = RNG.dirichlet(np.ones(4), 6).astype("float32")
Q = RNG.dirichlet(np.ones(4), 6).astype("float32")
T = np.eye(4, dtype="float32")[RNG.integers(0, 4, 6)]
X = RNG.normal(0, 2, (6, 4)).astype("float32")
SIGNS = np.sign(X)
CLASSES = RNG.integers(0, 4, (6, 1)).astype("float32")


def mean(x):
    return x.mean(-1)


def safe(p):
    return np.clip(p, EPSILON, 1 - EPSILON)


def unit(x):
    return x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), 1e-12))


def norm(x):
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def concordance(t, p):
    """As Keras 3 has it, with the distances of both from the mean of p."""
    m, n = t.mean(-1, keepdims=True), p.mean(-1, keepdims=True)
    spread = t.var(-1, keepdims=True) + p.var(-1, keepdims=True) + (m - n) ** 2
    return mean(2 * (t - n) * (p - n) / (spread + EPSILON))


def shares(p):
    return np.log(safe(p / p.sum(-1, keepdims=True)))


def rank(t, p):
    """How many classes score higher than the right one."""
    return (p > (t * p).sum(-1, keepdims=True)).sum(-1)


def one_hot(c):
    return np.eye(4)[c[:, 0].astype(int)]


def binary(t, p):
    return -(t * np.log(safe(p)) + (1 - t) * np.log(1 - safe(p)))


def huber(t, p):
    e = abs(t - p)
    return mean(np.where(e <= 1, e * e / 2, e - 0.5))


def focal(t, p):
    right = t * p + (1 - t) * (1 - p)
    return mean((1 - right) ** 2 * binary(t, p))


# y_true, y_pred, and the formula
LOSSES = {
    "mean_squared_error": (P, Q, lambda t, p: mean((t - p) ** 2)),
    "mean_absolute_error": (P, Q, lambda t, p: mean(abs(t - p))),
    "mean_absolute_percentage_error": (P, Q, lambda t, p: 100 * mean(abs((t - p) / t))),
    "mean_squared_logarithmic_error": (P, Q, lambda t, p: mean((np.log1p(p) - np.log1p(t)) ** 2)),
    "logcosh": (X, P, lambda t, p: mean(np.log(np.cosh(p - t)))),
    "huber_loss": (X, P, huber),
    "poisson": (P, Q, lambda t, p: mean(p - t * np.log(p + EPSILON))),
    "cosine_proximity": (X, Q, lambda t, p: -(unit(t) * unit(p)).sum(-1)),
    "hinge": (SIGNS, Q, lambda t, p: mean(np.maximum(1 - t * p, 0))),
    "squared_hinge": (SIGNS, Q, lambda t, p: mean(np.maximum(1 - t * p, 0) ** 2)),
    "categorical_hinge": (T, X, lambda t, p: np.maximum(((1 - t) * p).max(-1) - (t * p).sum(-1) + 1, 0)),
    "categorical_crossentropy": (T, P, lambda t, p: -(t * shares(p)).sum(-1)),
    "sparse_categorical_crossentropy": (CLASSES, P, lambda t, p: -(one_hot(t) * shares(p)).sum(-1)),
    "binary_crossentropy": (T, P, lambda t, p: mean(binary(t, p))),
    "kullback_leibler_divergence": (P, Q, lambda t, p: (safe(t) * np.log(safe(t) / safe(p))).sum(-1)),
    "binary_focal_crossentropy": (T, P, focal),
    "categorical_focal_crossentropy": (T, P, lambda t, p: -0.25 * (t * (1 - p) ** 2 * shares(p)).sum(-1)),
    "categorical_generalized_cross_entropy": (
        CLASSES,
        P,
        lambda t, p: (1 - (one_hot(t) * p).sum(-1) ** 0.5) / 0.5,
    ),
}
OTHER_SHAPES = {"Dice", "Tversky", "Circle", "CTC"}  # compared in tests/keras_tier
METRICS = {
    "binary_accuracy": (T, P, lambda t, p: mean((p > 0.5) == t)),
    "categorical_accuracy": (T, P, lambda t, p: t.argmax(-1) == p.argmax(-1)),
    "sparse_categorical_accuracy": (CLASSES, P, lambda t, p: t[:, 0] == p.argmax(-1)),
    "top_k_categorical_accuracy": (T, P, lambda t, p: rank(t, p) < 5),
    "sparse_top_k_categorical_accuracy": (CLASSES, P, lambda t, p: rank(one_hot(t), p) < 5),
    "cosine_similarity": (X, Q, lambda t, p: (unit(t) * unit(p)).sum(-1)),
    "cosine_proximity": (X, Q, lambda t, p: (unit(t) * unit(p)).sum(-1)),
    "accuracy": (SIGNS, SIGNS[::-1].copy(), lambda t, p: t == p),
    "pearson_correlation": (X, Q, lambda t, p: mean(norm(t) * norm(p))),
    "concordance_correlation": (X, Q, concordance),
}
ACTIVATIONS = {
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_sigmoid_keras3": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "exponential": np.exp,
    "linear": lambda x: x,
}


def logistic(x):
    return 1 / (1 + np.exp(-x))


def sparsemax(x):
    """As Keras 3 has it, whose threshold adds up all cumulative sums."""
    ordered = -np.sort(-x, -1)
    sums = ordered.cumsum(-1)
    support = 1 + np.arange(1, x.shape[-1] + 1) * ordered > sums
    k = support.sum(-1, keepdims=True)
    return np.maximum(x - ((sums * support).sum(-1, keepdims=True) - 1) / k, 0)


# Those of Keras 3, with options
NEWER = {
    "relu6": ({}, lambda x: np.clip(x, 0, 6)),
    "leaky_relu": ({"negative_slope": 0.3}, lambda x: np.where(x > 0, x, 0.3 * x)),
    "celu": ({"alpha": 0.7}, lambda x: np.where(x > 0, x, 0.7 * np.expm1(x / 0.7))),
    "gelu": (
        {"approximate": True},
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": ({}, lambda x: x * logistic(x)),
    "mish": ({}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "squareplus": ({"b": 3}, lambda x: (x + np.sqrt(x * x + 3)) / 2),
    "log_sigmoid": ({}, lambda x: np.log(logistic(x))),
    "hard_silu": ({}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "hard_tanh": ({}, lambda x: np.clip(x, -1, 1)),
    "tanh_shrink": ({}, lambda x: x - np.tanh(x)),
    "hard_shrink": ({"threshold": 0.8}, lambda x: np.where(abs(x) > 0.8, x, 0)),
    "soft_shrink": ({"threshold": 0.8}, lambda x: np.sign(x) * np.maximum(abs(x) - 0.8, 0)),
    "threshold": ({"threshold": 0.2, "default_value": -3}, lambda x: np.where(x > 0.2, x, -3)),
    "sparse_plus": ({}, lambda x: np.where(x < -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x))),
    "sparse_sigmoid": ({}, lambda x: np.clip((x + 1) / 2, 0, 1)),
    "glu": ({"axis": 1}, lambda x: x[:, :2] * logistic(x[:, 2:])),
    "log_softmax": ({"axis": 1}, lambda x: np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True))),
    "sparsemax": ({"axis": 1}, sparsemax),
}


def norms(w):
    return np.sqrt((w * w).sum(0, keepdims=True))


OBJECTS = {
    "max_norm": (constraints.max_norm(1.0), lambda w: w * np.minimum(norms(w), 1) / norms(w)),
    "non_neg": (constraints.non_neg(), lambda w: np.maximum(w, 0)),
    "unit_norm": (constraints.unit_norm(), lambda w: w / norms(w)),
    "min_max_norm": (constraints.min_max_norm(1.0, 2.0), lambda w: w * np.clip(norms(w), 1, 2) / norms(w)),
    "l1": (regularizers.l1(0.1), lambda w: 0.1 * abs(w).sum()),
    "l2": (regularizers.l2(0.1), lambda w: 0.1 * (w * w).sum()),
    "l1_l2": (regularizers.l1_l2(0.1, 0.2), lambda w: (0.1 * abs(w) + 0.2 * w * w).sum()),
    "L1L2()": (regularizers.L1L2(), lambda w: 0.0 * w.sum()),
}


def ways(function, *arrays):
    """The values of a function by every way to call it."""
    yield "arrays", K.eval(function(*arrays))
    yield "float64", K.eval(function(*[a.astype("float64") for a in arrays]))
    yield "variables", K.eval(function(*[K.variable(a) for a in arrays]))
    yield "constants", K.eval(function(*[K.constant(a) for a in arrays]))
    yield "a variable and an array", K.eval(function(*arrays[:-1], K.variable(arrays[-1])))
    yield "lists", K.eval(function(*[a.tolist() for a in arrays]))
    inputs = [Input(a.shape[1:]) for a in arrays]
    yield "inputs", K.function(inputs, [function(*inputs)])(list(arrays))[0]
    yield (
        "placeholders",
        (lambda given: K.function(given, [function(*given)])(list(arrays))[0])(
            [K.placeholder(a.shape) for a in arrays]
        ),
    )


def agree(function, expected, *arrays):
    with np.errstate(all="ignore"):
        want = expected(*[a.astype("float64") for a in arrays])
    for way, got in ways(function, *arrays):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-6, err_msg=way)


def own_functions(module, *parameters):
    """Names of the module's own public functions with these parameters first."""
    return {
        name
        for name, f in vars(module).items()
        if inspect.isfunction(f)
        and f.__module__ == module.__name__
        and not name.startswith("_")
        and tuple(inspect.signature(f).parameters)[: len(parameters)] == parameters
    }


def test_the_tables_have_every_function():
    def names(module, *parameters):
        return {getattr(module, key).__name__ for key in own_functions(module, *parameters)}

    assert names(losses, "y_true", "y_pred") - {"indices", "same_rank"} == set(LOSSES)
    assert names(metrics, "y_true", "y_pred") == set(METRICS)
    assert own_functions(activations, "x") == {*ACTIVATIONS, *NEWER, "swish", "hard_swish"}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_loss(name):
    t, p, expected = LOSSES[name]
    function = getattr(losses, name)
    agree(function, expected, t, p)
    np.testing.assert_allclose(
        K.eval(function(y_true=K.variable(t), y_pred=p)), expected(t, p), rtol=2e-4, atol=2e-6
    )


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metric(name):
    t, p, expected = METRICS[name]
    agree(getattr(metrics, name), expected, t, p)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation(name):
    agree(getattr(activations, name), ACTIVATIONS[name], X)
    i = Input((4,))
    model = Model(i, Lambda(getattr(activations, name))(i))
    np.testing.assert_allclose(model.predict(X), ACTIVATIONS[name](X.astype("float64")), rtol=2e-5, atol=2e-6)


def test_activations_of_keras3():
    values = [getattr(activations, name)(K.variable(X), **options) for name, (options, _) in NEWER.items()]
    for (name, (_, expected)), y in zip(NEWER.items(), K.function([], values)([])):
        np.testing.assert_allclose(y, expected(X.astype("float64")), rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_regularizer_or_constraint(name):
    function, expected = OBJECTS[name]
    agree(function, expected, X)


@pytest.mark.parametrize("name", sorted(losses.CLASSES.keys() - OTHER_SHAPES))
def test_loss_objects_reduce(name):
    if name not in {type(losses.get(n)).__name__ for n in losses.CLASSES}:
        pytest.skip("another name of a class")
    loss = losses.CLASSES[name]()
    t, p, expected = LOSSES[loss.function.__name__]
    w = np.arange(1, 7, dtype="float32")
    agree(loss, lambda t, p: expected(t, p).mean(), t, p)
    weighted = K.eval(loss(K.variable(t), K.variable(p), sample_weight=w))
    np.testing.assert_allclose(weighted, (expected(t, p) * w).mean(), rtol=2e-4)
    total = losses.CLASSES[name](reduction="sum")
    np.testing.assert_allclose(K.eval(total(t, p)), expected(t, p).sum(), rtol=2e-4)


def test_metric_objects_are_means_outside_a_model():
    t, p, expected = METRICS["categorical_accuracy"]
    for a, b in ((t, p), (K.variable(t), K.variable(p))):
        assert K.eval(metrics.CategoricalAccuracy()(a, b)) == pytest.approx(expected(t, p).mean())


def test_losses_of_the_users_own():
    class Cubed(losses.Loss):
        def call(self, y_true, y_pred):
            return K.mean(K.pow(K.abs(y_pred - y_true), 3), axis=-1)

    agree(Cubed(), lambda t, p: mean(abs(t - p) ** 3).mean(), P, Q)


def test_options_and_numbers():
    logits = K.eval(losses.binary_crossentropy(K.variable(T), X, from_logits=True))
    np.testing.assert_allclose(logits, mean(np.logaddexp(0, X) - T * X), rtol=1e-4)
    np.testing.assert_allclose(
        K.eval(activations.relu(K.variable(X), max_value=np.float32(1.0))), np.clip(X, 0, 1)
    )
    assert K.eval(activations.sigmoid(0.0)) == 0.5
    assert K.eval(regularizers.l2(np.float32(0.5))(K.variable([2.0]))) == 2.0
    np.testing.assert_allclose(K.eval(initializers.Constant(np.float32(2))((2, 3))), np.full((2, 3), 2.0))


def test_gradients_through_losses():
    a, b = K.variable(P), K.variable(Q)
    (slope,) = K.gradients(K.sum(losses.mse(a, b)), [b])
    np.testing.assert_allclose(K.eval(slope), 2 * (Q - P) / 4, rtol=1e-4, atol=1e-7)


def test_a_variational_autoencoder_trains():
    """The loss of Keras' example: mse of input and output tensors, and a divergence."""
    inputs = Input((4,))
    h = Dense(6, activation="tanh")(inputs)
    center, spread = Dense(2)(h), Dense(2)(h)
    z = Lambda(lambda args: args[0] + K.exp(args[1] / 2) * K.random_normal(K.shape(args[0])))(
        [center, spread]
    )
    outputs = Dense(4)(z)
    model = Model(inputs, outputs)
    kl = -0.5 * K.sum(1 + spread - K.square(center) - K.exp(spread), axis=-1)
    model.add_loss(K.mean(losses.mse(inputs, outputs) * 4 + kl))
    model.compile(optimizer=Adam(0.02))
    before = np.mean([model.evaluate(X, verbose=0) for _ in range(20)])
    model.fit(X, epochs=100, verbose=0)
    assert np.mean([model.evaluate(X, verbose=0) for _ in range(20)]) < 0.8 * before


def test_layers_that_a_loss_alone_needs_are_read_and_not_trained():
    inputs = Input((4,))
    outputs, side = Dense(4)(inputs), Dense(1)
    model = Model(inputs, outputs)
    model.add_loss(K.mean(losses.mse(inputs, outputs)) + K.mean(K.square(side(inputs))))
    model.compile("sgd")
    kept = side.get_weights()
    w, b = model.get_weights()
    expected = ((X - X @ w - b) ** 2).mean() + ((X @ kept[0]) ** 2).mean()
    assert model.evaluate(X, verbose=0) == pytest.approx(expected, rel=1e-4)
    model.fit(X, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(side.get_weights(), kept))


def test_errors_say_where():
    with pytest.raises(Exception, match=r"losses\.mean_squared_error"):
        losses.mse(K.variable(np.ones((2, 3))), K.variable(np.ones((2, 4))))
    with pytest.raises(Exception, match=r"activations\.softmax"):
        activations.softmax(K.variable([1.0, 2.0]))

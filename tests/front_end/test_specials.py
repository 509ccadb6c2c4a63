"""NaN, infinities, denormal and huge numbers go through functions of K and layers as IEEE arithmetic has it.

Each function is compiled and interpreted, and compared with numpy in float64.
"""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.keras import activations, layers, losses
from kcompile.keras import backend as K
from kcompile.keras.models import Model

INF, NAN = np.inf, np.nan
X = np.array(
    [
        NAN,
        INF,
        -INF,
        0.0,
        -0.0,
        1e-40,
        -1e-40,
        3e38,
        -3e38,
        2.0**20,
        -(2.0**24),
        1e10,
        8388609.0,
        0.5,
        1.5,
        -2.5,
        0.49999997,
        -0.3,
        1.0,
        -1.0,
    ],
    np.float32,
)
ROWS = np.array(
    [
        [1, NAN, 2, NAN],
        [INF, 0, 1, INF],
        [-INF, -INF, -INF, -INF],
        [-INF, 0, 3, INF],
        [3, 3, 1, 1],
        [NAN, NAN, NAN, NAN],
        [-0.0, 0.0, -0.0, 0.0],
        [1e38, 1e38, 1, -3e38],
    ],
    np.float32,
)

ELEMENTS = {
    "abs": np.abs,
    "negative": np.negative,
    "square": np.square,
    "exp": np.exp,
    "log": np.log,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
    "round": np.round,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "identity": lambda x: x,
}
REDUCTIONS = {
    "sum": np.sum,
    "max": np.max,
    "min": np.min,
    "mean": np.mean,
    "argmax": np.argmax,
    "argmin": np.argmin,
    "logsumexp": lambda x, axis: np.logaddexp.reduce(x, axis=axis),
    "any": lambda x, axis: np.any(x != 0, axis=axis),
    "all": lambda x, axis: np.all(x != 0, axis=axis),
}
PAIRS = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "add": np.add,
    "multiply": np.multiply,
    "divide": np.divide,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "less_equal": np.less_equal,
    "pow": np.power,
}
LAYERS = {
    "ThresholdedReLU": (lambda: layers.ThresholdedReLU(1.0), lambda x: np.where(x <= 1, 0, x)),
    "LeakyReLU": (lambda: layers.LeakyReLU(0.5), lambda x: np.where(x > 0, x, 0.5 * x)),
    "ELU": (lambda: layers.ELU(2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
    "ReLU": (lambda: layers.ReLU(6.0, 0.0, 0.5), lambda x: np.where(x <= 0.5, 0, np.minimum(x, 6))),
    "ReLU with a slope": (
        lambda: layers.ReLU(6.0, 0.25, 0.5),
        lambda x: np.where(x <= 0.5, 0.25 * (x - 0.5), np.minimum(x, 6)),
    ),
    "PReLU": (lambda: layers.PReLU("ones"), lambda x: x),
    "selu": (
        lambda: layers.Activation("selu"),
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    ),
    "Masking": (lambda: layers.Activation(lambda x: K.clip(x, -1.0, 2.0)), lambda x: np.clip(x, -1, 2)),
}


def agree(got, expected, rtol=2e-6):
    """Equal, with NaN where it is NaN; beyond float32 is infinite."""
    with np.errstate(all="ignore"):
        expected = np.asarray(expected).astype(np.float32)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-44)


def both(function, *arrays):
    """The values of a function, interpreted and compiled."""
    given = [K.placeholder(a.shape) for a in arrays]
    return K.eval(function(*map(K.constant, arrays))), K.function(given, [function(*given)])(list(arrays))[0]


def numpy_value(function, *arrays, **options):
    with np.errstate(all="ignore"):
        return function(*[a.astype(np.float64) for a in arrays], **options)


@pytest.mark.parametrize("name", sorted(ELEMENTS))
def test_elements(name):
    for got in both(getattr(K, name), X):
        agree(got, numpy_value(ELEMENTS[name], X), 1e-5 if name in ("sin", "cos") else 2e-6)


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
def test_reductions(name):
    for got in both(lambda x: getattr(K, name)(x, axis=-1), ROWS):
        agree(got, numpy_value(REDUCTIONS[name], ROWS, axis=-1))


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_pairs(name):
    a, b = np.repeat(X, len(X)), np.tile(X, len(X))
    for got in both(getattr(K, name), a, b):
        agree(got, numpy_value(PAIRS[name], a, b), 1e-5)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers(name):
    make, expected = LAYERS[name]
    i = layers.Input((len(X),))
    agree(Model(i, make()(i)).predict(X[None])[0], numpy_value(expected, X), 1e-5)


def test_positions_of_integers():
    """argmin is not argmax of the negative, which wraps around."""
    x = np.array([[3, 0, 2], [1, 1, 0]])
    for dtype in ("uint8", "int32", "bool"):
        array = x.astype(dtype)
        assert K.eval(K.argmin(K.constant(array, dtype), -1)).tolist() == array.argmin(-1).tolist()
        assert K.eval(K.argmax(K.constant(array, dtype), -1)).tolist() == array.argmax(-1).tolist()
    low = K.constant(np.array([[5, -(2**31), 0]]), "int32")
    assert K.eval(K.argmin(low, -1)).tolist() == [1]


def test_softmax_of_what_is_finite():
    for got in both(activations.softmax, np.array([[3e38, -3e38, 0], [-3e38, -3e38, -3e38]], np.float32)):
        agree(got, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_classes_that_cannot_be_do_not_spoil_the_others() -> None:
    """Logits of -inf, as masks of actions are: of the other classes they are no part of the loss."""
    logits = K.variable([[1, -np.inf, 2], [-np.inf, -np.inf, 0]])
    loss = losses.sparse_categorical_crossentropy(K.variable([[0], [2]]), logits, from_logits=True)
    np.testing.assert_allclose(K.eval(loss), [np.log(np.exp(1) + np.exp(2)) - 1, 0], rtol=1e-6)
    np.testing.assert_allclose(
        K.eval(K.gradients(K.sum(loss), [logits])[0]), [[-0.7310586, 0, 0.7310586], [0, 0, 0]], rtol=1e-6
    )


def test_targets_that_are_in_no_top_k() -> None:
    scores = K.variable(
        [[0.1, 0.9, np.inf], [0.1, 0.9, np.inf], [0.5, 0.2, np.nan], [0.1, 0.2, 0.3], [1, 2, 3]]
    )
    targets = K.variable([1, 2, 2, 5, -1], dtype="int32")
    np.testing.assert_array_equal(K.eval(K.in_top_k(scores, targets, 2)), [True, False, False, False, False])

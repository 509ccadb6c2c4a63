"""CTC and folds of K: against all paths summed, finite differences, and what Keras 2.2.4 and 2.3.1 print."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

from kcompile.keras import backend as K
from kcompile.keras.layers import Dense, Input, Lambda
from kcompile.keras.models import Model
from kcompile_runtime.errors import InputError, UnsupportedError


def probabilities(batch, time, classes, seed=0):
    x = np.exp(np.random.RandomState(seed).randn(batch, time, classes) * 2)
    return (x / x.sum(-1, keepdims=True)).astype("float32")


def labels_of(path, blank):
    return tuple(k for k, _ in groupby(path) if k != blank)


def cost_by_paths(p, labels):
    """-log of the sum over all paths that give the labels, after Keras' guard of the logarithm."""
    p = p + K.epsilon()
    p = p / p.sum(-1, keepdims=True)
    time, classes = p.shape
    found = [
        np.prod([p[t, k] for t, k in enumerate(path)])
        for path in product(range(classes), repeat=time)
        if labels_of(path, classes - 1) == tuple(labels)
    ]
    return -np.log(sum(found))


P = probabilities(5, 5, 3)
LABELS = np.array([[0, 1], [1, 1], [0, -1], [7, 9], [0, 0]], "float32")
STEPS, USED = np.array([[5], [4], [5], [3], [5]]), np.array([[2], [2], [1], [0], [2]])


def test_the_cost_is_that_of_all_paths_summed():
    made = K.eval(K.ctc_batch_cost(K.variable(LABELS), K.variable(P), K.variable(STEPS), K.variable(USED)))
    wanted = [
        cost_by_paths(p[:steps], labels[:used].astype(int))
        for p, labels, steps, used in zip(P, LABELS, STEPS[:, 0], USED[:, 0])
    ]
    np.testing.assert_allclose(made[:, 0], wanted, rtol=1e-5)


def test_what_keras_says():
    """Keras 2.2.4 and 2.3.1 on TensorFlow, the same numbers."""
    p = probabilities(4, 9, 6)
    rng = np.random.RandomState(0)
    rng.randn(4, 9, 6)
    y = rng.randint(0, 5, (4, 4)).astype("float32")
    y[0, :2], y[1, 2:] = 1, -1
    steps, used = np.array([[9], [5], [9], [7]]), np.array([[4], [2], [3], [4]])
    inputs = [
        K.placeholder(ndim=2),
        K.placeholder((None, 9, 6)),
        K.placeholder((None, 1)),
        K.placeholder((None, 1)),
    ]
    cost = K.ctc_batch_cost(*inputs)
    function = K.function(inputs, [cost, K.gradients(K.sum(cost), inputs[1])[0]])
    found, slopes = function([y, p, steps, used])
    np.testing.assert_allclose(found[:, 0], [18.457064, 6.9995008, 10.455858, 11.775013], rtol=1e-6)
    np.testing.assert_allclose(
        slopes[1, :2],
        [
            [-0.554508, 0.99999946, 0.9999994, 0.99999934, 0.99999946, -10.505904],
            [-0.5249616, 0.99999946, 0.9999995, 0.79431444, 0.9999994, -4.4629],
        ],
        rtol=1e-4,
    )
    assert not slopes[1, 5:].any()  # steps that do not count
    decoded, scores = K.ctc_decode(p, steps[:, 0])
    assert K.get_value(decoded[0]).tolist() == [
        [3, 4, 0, 1, 0, 1, 3],
        [1, 4, 0, 3, -1, -1, -1],
        [0, 2, 3, 1, 3, 0, 1],
        [0, 1, 4, 3, 0, -1, -1],
    ]
    np.testing.assert_allclose(K.eval(scores)[:, 0], [4.962625, 3.3852782, 5.2643228, 3.735877], rtol=1e-6)
    decoded, scores = K.ctc_decode(K.variable(p), K.variable(steps[:, 0]), False, 100, 2)
    assert [K.eval(d).tolist() for d in decoded] == [
        [[3, 4, 0, 1, 3, -1], [1, 4, 0, 3, -1, -1], [2, 3, 1, 3, 0, 1], [0, 1, 4, 3, 0, -1]],
        [[3, 0, 4, 0, 1, 3], [3, 4, 0, 3, -1, -1], [2, 3, 1, 4, 0, 1], [0, 1, 4, 3, 4, 0]],
    ]
    np.testing.assert_allclose(
        K.eval(scores),
        [[-3.101985, -3.744179], [-2.674194, -3.1347694], [-3.2443702, -3.6136906], [-3.2067602, -3.5988307]],
        rtol=2e-3,  # TensorFlow keeps a little more of what a beam of this width drops
    )


def test_its_gradient_is_that_of_finite_differences():
    p = K.placeholder((5, 5, 3))
    cost = K.sum(K.ctc_batch_cost(K.constant(LABELS), p, K.constant(STEPS), K.constant(USED)))
    function = K.function([p], [cost, K.gradients(cost, p)[0]])
    slopes = function([P])[1]
    for place in [(0, 0, 0), (0, 4, 2), (1, 2, 1), (2, 3, 0), (4, 1, 2)]:
        step = np.zeros_like(P)
        step[place] = 1e-2
        change = (function([P + step])[0] - function([P - step])[0]) / 2e-2
        assert abs(change - slopes[place]) < 0.02 * max(1, abs(change)), place


def test_too_few_steps_cost_infinitely_much():
    short = K.ctc_batch_cost(
        K.constant([[0, 0]]), K.constant(P[:1, :2]), K.constant([[2]]), K.constant([[2]])
    )
    assert K.eval(short) == np.inf


def test_a_reader_is_trained():
    """The shape of Keras' image_ocr: a Lambda makes the loss, the compiled loss gives it on."""
    rng = np.random.RandomState(1)
    x = rng.randn(24, 6, 4).astype("float32")
    y = rng.randint(0, 3, (24, 2)).astype("float32")
    x[:, 1, :3] += 4 * np.eye(3)[y[:, 0].astype(int)]
    x[:, 4, :3] += 4 * np.eye(3)[y[:, 1].astype(int)]
    data, labels = Input((6, 4), name="data"), Input((2,), name="labels")
    steps, used = Input((1,), name="steps", dtype="int64"), Input((1,), name="used", dtype="int64")
    pred = Dense(4, activation="softmax")(data)
    loss = Lambda(lambda args: K.ctc_batch_cost(*args), output_shape=(1,), name="ctc")(
        [labels, pred, steps, used]
    )
    model = Model([data, labels, steps, used], loss)
    model.compile("adam", {"ctc": lambda y_true, y_pred: y_pred})
    inputs = {"data": x, "labels": y, "steps": np.full((24, 1), 6), "used": np.full((24, 1), 2)}
    model.optimizer.lr = 0.05
    history = model.fit(inputs, {"ctc": np.zeros(24)}, epochs=30, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < 0.4 * history[0]
    read = Lambda(lambda args: K.ctc_decode(args[0], K.flatten(args[1]))[0][0])([pred, steps])
    found = Model([data, steps], read).predict([x, inputs["steps"]])
    assert found.shape == (24, 6) and found.min() == -1
    best = Model(data, pred).predict(x)
    assert (
        K.eval(K.ctc_decode(best, inputs["steps"][:, 0])[0][0]).tolist()
        == found[:, : (found > -1).sum(1).max()].tolist()
    )


def test_a_search_is_an_output_of_a_function():
    """As scripts decode what a network says: a network, a number of steps, and the best paths."""
    data, steps = Input((5, 3)), K.placeholder((None,))
    scaled = Dense(3, activation="softmax", kernel_initializer="identity")(data)
    paths, scores = K.ctc_decode(scaled, steps, greedy=False, beam_width=20, top_paths=2)
    assert K.int_shape(scores) == (None, 2) and K.dtype(paths[0]) == "int64"
    search = K.function([data, steps], [*paths, scaled, scores])
    for count in (5, 3):
        x, lengths = P[:count] * 5, STEPS[:count, 0]
        first, second, y, found = search([x, lengths])
        right = K.ctc_decode(y, lengths, greedy=False, beam_width=20, top_paths=2)
        np.testing.assert_array_equal(first, K.eval(right[0][0]))
        np.testing.assert_array_equal(second, K.eval(right[0][1]))
        np.testing.assert_allclose(found, K.eval(right[1]), rtol=1e-6)
    alone = K.function([data], K.ctc_decode(data, np.full(5, 4), greedy=False)[0][0])
    np.testing.assert_array_equal(alone([P]), K.eval(K.ctc_decode(P, [4] * 5, greedy=False)[0][0]))


def test_costs_and_labels_in_double_precision():
    K.set_floatx("float64")
    try:
        given = [K.variable(a) for a in (LABELS, P, STEPS, USED)]
        cost, (found, _) = K.eval(K.ctc_batch_cost(*given)), K.ctc_decode(Input((5, 3)), Input(()))
    finally:
        K.set_floatx("float32")
    guarded = [
        cost_by_paths(p[:s].astype(float), y[:u].astype(int))
        for p, y, s, u in zip(P, LABELS, STEPS[:, 0], USED[:, 0])
    ]
    np.testing.assert_allclose(cost[:, 0], guarded, rtol=1e-12)
    assert cost.dtype == np.float64 and K.int_shape(found[0]) == (None, 5)


def test_wrong_questions_are_told():
    with pytest.raises(UnsupportedError, match="a search over prefixes works on values"):
        Lambda(lambda y: K.ctc_decode(y, K.ones_like(y[:, 0, 0]), greedy=False)[1])(Input((5, 3)))
    data = Input((5, 3))
    with pytest.raises(UnsupportedError, match=r"K.ctc_decode works on values"):
        K.function([data], [K.ctc_decode(data, [5] * 5, greedy=False)[1] * 2.0])([P])
    with pytest.raises(InputError, match="at most as many steps"):
        K.ctc_decode(P, [6] * 5)
    with pytest.raises(InputError, match="at most the"):
        K.ctc_decode(P, [1] * 5, greedy=False, top_paths=9)


# ---------------------------------------------------------------- folds


def test_folds_go_over_the_first_axis():
    x = K.variable(np.arange(4.0))
    assert K.eval(K.foldl(lambda a, b: a * 2 + b, x)) == ((0 * 2 + 1) * 2 + 2) * 2 + 3
    assert K.eval(K.foldr(lambda a, b: a * 2 + b, x)) == ((3 * 2 + 2) * 2 + 1) * 2 + 0
    assert K.eval(K.foldl(lambda a, b: a + b, x, K.variable(10.0))) == 16
    assert K.eval(K.foldl(lambda a, b: a + b, x[:1])) == 0
    rows = K.variable(np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(K.eval(K.map_fn(lambda row: K.sum(row) * 2, rows)), [2, 10, 18])
    np.testing.assert_array_equal(
        K.eval(K.map_fn(lambda pair: pair[0] - pair[1][0], [rows, rows * 2])), [[0, 1], [-2, -1], [-4, -3]]
    )
    assert K.dtype(K.map_fn(lambda row: row > 1, rows, dtype="int32")) == "int32"


def test_folds_have_gradients_in_models():
    i = Input((3, 2))
    steps = Lambda(
        lambda x: K.foldl(lambda a, b: a * K.sum(b), K.permute_dimensions(x, (1, 0, 2)), K.ones_like(x[:, 0]))
    )
    x = np.random.RandomState(0).randn(4, 3, 2).astype("float32")
    with pytest.raises(ValueError):
        K.map_fn(lambda row: row, i)
    y = Model(i, steps(i)).predict(x, batch_size=4)
    np.testing.assert_allclose(y, np.full((4, 2), np.prod(x.sum((0, 2)))), rtol=1e-5)
    w = K.variable([2.0, 3.0])
    slope = K.gradients(K.foldl(lambda a, b: a * b, w), w)[0]
    np.testing.assert_array_equal(K.eval(slope), [3, 2])


def test_what_keras_has_for_the_sake_of_tensorflow():
    with pytest.warns(UserWarning, match=r"K\.print_tensor\('m'\): compiled code does not print"):
        assert K.eval(K.print_tensor(K.variable(3.0), "m")) == 3
    K.manual_variable_initialization(True)
    assert K.get_variable_shape(K.zeros((2, 3))) == (2, 3)
    assert K.eval(K.size(K.zeros((2, 3)))) == 6
    assert K.is_symbolic(Input((3,))) and not K.is_symbolic(K.zeros((2,)))
    assert K.normalize_data_format(None) == K.image_data_format()

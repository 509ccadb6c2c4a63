"""Losses and metrics: values against numpy's and Keras' own, gradients against finite differences."""

import functools

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.ir import interpreter, ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import backend as K
from kcompile.keras import losses, metrics
from kcompile.keras.semantics import semantics
from kcompile.keras.settings import at_version
from kcompile_runtime.errors import InputError, KcompileError

rng = np.random.default_rng(7)
N, C = 6, 4


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


SCORES = rng.normal(size=(N, C))
PROBABILITIES = softmax(SCORES)
SIGMOIDS = 1 / (1 + np.exp(-SCORES))
ONE_HOT = np.eye(C)[rng.integers(0, C, N)]
BITS = rng.integers(0, 2, (N, C)).astype(float)
REALS = rng.normal(size=(N, C))
POSITIVE = rng.uniform(0.1, 2, (N, C))
SIGNS = BITS * 2 - 1

# name -> labels, predictions, and what the loss is
CASES = {
    "mean_squared_error": (REALS, SCORES, lambda t, p: ((p - t) ** 2).mean(-1)),
    "mean_absolute_error": (REALS, SCORES, lambda t, p: np.abs(p - t).mean(-1)),
    "mean_absolute_percentage_error": (
        REALS,
        SCORES,
        lambda t, p: 100 * np.abs((p - t) / np.maximum(np.abs(t), 1e-7)).mean(-1),
    ),
    "mean_squared_logarithmic_error": (
        POSITIVE,
        POSITIVE[::-1],
        lambda t, p: ((np.log1p(p) - np.log1p(t)) ** 2).mean(-1),
    ),
    "logcosh": (REALS, SCORES, lambda t, p: np.log(np.cosh(p - t)).mean(-1)),
    "huber_loss": (
        REALS * 2,
        SCORES,
        lambda t, p: np.where(np.abs(p - t) <= 1, (p - t) ** 2 / 2, np.abs(p - t) - 0.5).mean(-1),
    ),
    "poisson": (POSITIVE, POSITIVE[::-1], lambda t, p: (p - t * np.log(p + 1e-7)).mean(-1)),
    "cosine_proximity": (
        REALS,
        SCORES,
        lambda t, p: -(t * p).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(p, axis=-1),
    ),
    "hinge": (SIGNS, SCORES, lambda t, p: np.maximum(1 - t * p, 0).mean(-1)),
    "squared_hinge": (SIGNS, SCORES, lambda t, p: (np.maximum(1 - t * p, 0) ** 2).mean(-1)),
    "categorical_hinge": (
        ONE_HOT,
        SCORES,
        lambda t, p: np.maximum(((1 - t) * p).max(-1) - (t * p).sum(-1) + 1, 0),
    ),
    "categorical_crossentropy": (
        ONE_HOT,
        PROBABILITIES,
        lambda t, p: -(t * np.log(p / p.sum(-1, keepdims=True))).sum(-1),
    ),
    "sparse_categorical_crossentropy": (
        ONE_HOT.argmax(1)[:, None],
        PROBABILITIES,
        lambda t, p: -np.log(p[np.arange(N), t[:, 0].astype(int)]),
    ),
    "binary_crossentropy": (BITS, SIGMOIDS, lambda t, p: -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(-1)),
    "binary_focal_crossentropy": (
        BITS,
        SIGMOIDS,
        lambda t, p: -(t * (1 - p) ** 2 * np.log(p) + (1 - t) * p**2 * np.log(1 - p)).mean(-1),
    ),
    "categorical_focal_crossentropy": (
        ONE_HOT,
        PROBABILITIES,
        lambda t, p: -(0.25 * (1 - p) ** 2 * t * np.log(p)).sum(-1),
    ),
    "categorical_generalized_cross_entropy": (
        ONE_HOT.argmax(1)[:, None],
        PROBABILITIES,
        lambda t, p: (1 - p[np.arange(N), t[:, 0].astype(int)] ** 0.5) / 0.5,
    ),
    "kullback_leibler_divergence": (
        PROBABILITIES[::-1],
        PROBABILITIES,
        lambda t, p: (t * np.log(t / p)).sum(-1),
    ),
}
KERAS3 = {
    "logcosh": "log_cosh",
    "huber_loss": "huber",
    "cosine_proximity": "cosine_similarity",
    "kullback_leibler_divergence": "kl_divergence",
}

# With other shapes, and compared by tests/keras_tier/test_losses_with_keras.py
OTHER_SHAPES = {"dice", "tversky", "circle", "ctc"}
NO_DEFAULT = {"categorical_generalized_cross_entropy": {"q": 0.5}}  # arguments that Keras' functions want
SQUEEZED = {"categorical_generalized_cross_entropy"}  # labels without the last axis


def run(function, t, p, precision="float64", wants_gradient=False):
    """The value of a loss or metric, and the gradient of its sum by the predictions."""
    graph = Graph()

    def given(name, array):
        kind = "int32" if np.asarray(array).dtype.kind == "i" else "float32"
        type = TensorType((Batch(), *np.shape(array)[1:]), kind)
        return Tensor(graph, graph.input(name, type))

    y_true, y_pred = given("t", t), given("p", p)
    result = function(y_true, y_pred)
    graph.outputs["value"] = result.value
    if wants_gradient:
        total = ops.reduce_sum(result)
        graph.outputs["gradient"] = gradient(total, [y_pred])[0].value
    found = interpreter.run(graph, len(p), {"t": t, "p": p}, {}, precision).outputs
    return (found["value"], found["gradient"]) if wants_gradient else found["value"]


def test_every_loss_has_a_case():
    assert set(CASES) | OTHER_SHAPES == set(losses.FUNCTIONS)


@pytest.mark.parametrize("name", CASES)
def test_value(name):
    t, p, expected = CASES[name]
    np.testing.assert_allclose(run(losses.get(name), t, p), expected(t, p), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    t, p, _ = CASES[name]
    function, step = losses.get(name), 1e-6
    found = run(function, t, p, wants_gradient=True)[1]
    expected = np.empty_like(p)
    for i in np.ndindex(p.shape):
        up, down = p.copy(), p.copy()
        up[i] += step
        down[i] -= step
        expected[i] = (run(function, t, up).sum() - run(function, t, down).sum()) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_probabilities_are_clipped_at_keras_epsilon():
    certain = np.array([[1.0, 0.0]])
    wrong = run(losses.categorical_crossentropy, np.array([[0.0, 1.0]]), certain)
    np.testing.assert_allclose(wrong, -np.log(1e-7), rtol=1e-6)
    right = run(losses.binary_crossentropy, np.ones((1, 1)), np.ones((1, 1)))
    np.testing.assert_allclose(right, -np.log(np.float32(1 - 1e-7)), rtol=1e-6)


def test_categorical_brings_probabilities_to_sum_1():
    half = run(losses.categorical_crossentropy, np.array([[1.0, 0.0]]), np.array([[3.0, 3.0]]))
    np.testing.assert_allclose(half, np.log(2), rtol=1e-6)


def test_from_logits_is_stable_and_the_same():
    for function, t, p in (
        (losses.categorical_crossentropy, ONE_HOT, PROBABILITIES),
        (losses.sparse_categorical_crossentropy, ONE_HOT.argmax(1), PROBABILITIES),
        (losses.binary_crossentropy, BITS, SIGMOIDS),
    ):
        logits = functools.partial(function, from_logits=True)
        np.testing.assert_allclose(run(logits, t, SCORES), run(function, t, p), rtol=1e-6)
        assert np.isfinite(run(logits, t, SCORES * 1e4)).all()


def test_label_smoothing():
    smooth = losses.CategoricalCrossentropy(label_smoothing=0.1)
    expected = -((ONE_HOT * 0.9 + 0.1 / C) * np.log(PROBABILITIES)).sum(-1)
    np.testing.assert_allclose(run(smooth.call, ONE_HOT, PROBABILITIES), expected, rtol=1e-6)


def test_sparse_labels_of_either_shape_and_dtype():
    labels = ONE_HOT.argmax(1)
    expected = run(losses.sparse_categorical_crossentropy, labels, PROBABILITIES)
    for other in (labels[:, None], labels.astype(float), labels.astype(float)[:, None]):
        found = run(losses.sparse_categorical_crossentropy, other, PROBABILITIES)
        np.testing.assert_array_equal(found, expected)


def test_hinge_takes_labels_of_0_and_1():
    np.testing.assert_allclose(run(losses.hinge, BITS, SCORES), run(losses.hinge, SIGNS, SCORES))


def test_reductions_and_weights():
    t, p, expected = CASES["mean_squared_error"]
    each = expected(t, p)
    np.testing.assert_allclose(run(losses.MeanSquaredError(), t, p), each.mean(), rtol=1e-6)
    np.testing.assert_allclose(run(losses.MeanSquaredError(reduction="sum"), t, p), each.sum(), rtol=1e-6)
    weighted = run(lambda y, z: losses.MeanSquaredError()(y, z, ops.reduce_max(y, 1)), t, p)
    np.testing.assert_allclose(weighted, (each * t.max(1)).mean(), rtol=1e-6)
    with pytest.raises(ValueError, match="reduction"):
        losses.MeanSquaredError(reduction="product")


def test_names_classes_and_configurations():
    assert losses.get("mse") is losses.get("MSE") is losses.mean_squared_error
    assert losses.get("kld") is losses.kullback_leibler_divergence
    assert losses.serialize(losses.get("mae")) == "mean_absolute_error"
    made = losses.get(losses.serialize(losses.BinaryCrossentropy(from_logits=True)))
    assert made.arguments == {"from_logits": True} and made.name == "binary_crossentropy"
    assert isinstance(losses.get(losses.Huber), losses.Huber)
    with pytest.raises(ValueError, match=r"unknown loss.*Received: 'mistake'"):
        losses.get("mistake")
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        losses.MeanSquaredError(from_logits=True)
    assert metrics.deserialize(metrics.serialize(metrics.BinaryAccuracy(threshold=0.3))).arguments == {
        "threshold": 0.3
    }
    with pytest.raises(ValueError, match="unknown metric"):
        metrics.get("mistake")


# ---------------------------------------------------------------- metrics


def test_accuracies():
    labels, hit = ONE_HOT.argmax(1), ONE_HOT.argmax(1) == SCORES.argmax(1)
    np.testing.assert_array_equal(run(metrics.categorical_accuracy, ONE_HOT, SCORES), hit)
    np.testing.assert_array_equal(run(metrics.sparse_categorical_accuracy, labels, SCORES), hit)
    np.testing.assert_allclose(
        run(metrics.binary_accuracy, BITS, SIGMOIDS), ((SIGMOIDS > 0.5) == BITS).mean(1)
    )
    chosen = SCORES[np.arange(N), labels]
    ranks = np.greater(SCORES, chosen[:, None]).sum(1)
    for k in (1, 2, 3):
        found = run(functools.partial(metrics.sparse_top_k_categorical_accuracy, k=k), labels, SCORES)
        np.testing.assert_array_equal(found, ranks < k)
        found = run(metrics.TopKCategoricalAccuracy(k).values, ONE_HOT, SCORES)
        np.testing.assert_array_equal(found, ranks < k)


def kind_of(metric, loss, y_true, y_pred, vintage="keras2"):
    graph = Graph()
    tensors = (
        Tensor(graph, graph.input(name, TensorType((Batch(), *shape))))
        for name, shape in (("t", y_true), ("p", y_pred))
    )
    meaning = semantics(vintage)
    return metrics.name_in(metric, meaning), metrics.resolve(metric, loss, *tensors, meaning)


def test_accuracy_is_chosen_by_loss_and_output():
    """As `handle_metrics` of Keras 2 does, and by the shapes alone in Keras 3."""
    binary, sparse = losses.binary_crossentropy, losses.sparse_categorical_crossentropy
    assert kind_of("accuracy", binary, (1,), (1,)) == ("acc", metrics.binary_accuracy)
    assert kind_of("acc", binary, (4,), (4,)) == ("acc", metrics.binary_accuracy)
    assert kind_of("accuracy", sparse, (1,), (4,))[1] is metrics.sparse_categorical_accuracy
    assert kind_of("accuracy", losses.mse, (4,), (4,))[1] is metrics.categorical_accuracy
    assert kind_of("ce", sparse, (1,), (4,)) == ("ce", sparse)
    assert kind_of("accuracy", binary, (4,), (4,), "keras3") == ("accuracy", metrics.categorical_accuracy)
    assert kind_of("mse", losses.mse, (4,), (4,)) == ("mean_squared_error", losses.mse)


# ---------------------------------------------------------------- real Keras


@pytest.mark.keras
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_keras(name):
    import jax
    import keras

    t, p, _ = CASES[name]
    reference = functools.partial(getattr(keras.losses, KERAS3.get(name, name)), **NO_DEFAULT.get(name, {}))
    labels = t if t.dtype.kind == "i" else t.astype("float32")
    theirs = labels[:, 0] if name in SQUEEZED else labels
    p = p.astype("float32")
    value, slope = run(losses.get(name), labels, p, "float32", wants_gradient=True)
    np.testing.assert_allclose(value, np.asarray(reference(theirs, p)).reshape(N), rtol=1e-5, atol=1e-6)
    expected = jax.grad(lambda x: reference(theirs, x).sum())(p)
    np.testing.assert_allclose(slope, np.asarray(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.keras
def test_extreme_probabilities_are_those_of_keras():
    import keras

    p = np.array([[0, 1], [1e-9, 1], [0.5, 0.5], [1e-7, 2e-7], [1, 0]], "float32")
    t = np.array([[1, 0]] * 5, "float32")
    for name in ("categorical_crossentropy", "binary_crossentropy"):
        expected = np.asarray(getattr(keras.losses, name)(t, p))
        np.testing.assert_allclose(run(losses.get(name), t, p, "float32"), expected, rtol=1e-5, atol=1e-7)


CUBE = rng.normal(size=(N, 3, C))


@pytest.mark.parametrize(
    ("loss", "labels", "scores", "expected"),
    [
        (
            losses.Huber(2.0),
            REALS * 3,
            SCORES,
            lambda t, p: np.where(np.abs(p - t) <= 2, (p - t) ** 2 / 2, 2 * np.abs(p - t) - 2).mean(-1),
        ),
        (
            losses.CosineSimilarity(axis=1),
            CUBE[::-1],
            CUBE,
            lambda t, p: -(t * p).sum(1) / np.linalg.norm(t, axis=1) / np.linalg.norm(p, axis=1),
        ),
        (
            losses.BinaryCrossentropy(True, 0.2),
            BITS,
            SCORES,
            lambda t, p: np.log1p(np.exp(p)).mean(-1) - ((0.8 * t + 0.1) * p).mean(-1),
        ),
        (
            losses.CategoricalCrossentropy(label_smoothing=0.2),
            ONE_HOT,
            PROBABILITIES,
            lambda t, p: -((0.8 * t + 0.05) * np.log(p)).sum(-1),
        ),
        (
            losses.CategoricalCrossentropy(True, axis=1),
            softmax(CUBE[::-1]),
            CUBE,
            lambda t, p: -(t * np.log(softmax(p.swapaxes(1, 2)).swapaxes(1, 2))).sum(1),
        ),
        (
            losses.SparseCategoricalCrossentropy(ignore_class=-1),
            np.array([[0], [-1], [2], [1], [-1], [3]]),
            PROBABILITIES,
            lambda t, p: np.where(t[:, 0] < 0, 0, -np.log(p[np.arange(N), t[:, 0].astype(int)])),
        ),
        (
            losses.BinaryFocalCrossentropy(True, 0.3, 1.0),
            BITS,
            SIGMOIDS,
            lambda t, p: -(0.3 * t * (1 - p) * np.log(p) + 0.7 * (1 - t) * p * np.log(1 - p)).mean(-1),
        ),
    ],
)
def test_options_of_losses(loss, labels, scores, expected):
    found = run(loss.call, labels, scores)
    np.testing.assert_allclose(found, expected(labels, scores), rtol=1e-5, atol=1e-7)
    assert losses.deserialize(losses.serialize(loss)).get_config() == loss.get_config()


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.Huber("a"),
        lambda: losses.Huber(delta=0),
        lambda: losses.Huber(delta=None),
        lambda: losses.BinaryCrossentropy(from_logits=1),
        lambda: losses.CosineSimilarity(axis=1.5),
        lambda: losses.CategoricalCrossentropy(label_smoothing=2),
        lambda: losses.MeanSquaredError(delta=1),
        lambda: losses.MeanSquaredError("mistake"),
        lambda: losses.MeanSquaredError(dtype="int32"),
        lambda: metrics.TopKCategoricalAccuracy(0),
        lambda: metrics.BinaryAccuracy(threshold="a"),
        lambda: metrics.MeanMetricWrapper("mse"),
        lambda: losses.get(3),
        lambda: metrics.get(None),
        lambda: losses.deserialize({"config": {}}),
        lambda: metrics.deserialize({"class_name": ["a"]}),
        lambda: metrics.SparseCategoricalCrossentropy(ignore_class=1.5),
    ],
)
def test_options_that_make_no_sense_are_told_at_once(make):
    with pytest.raises(KcompileError):
        make()


def test_the_metric_cosine_similarity_is_the_cosine_and_the_loss_minus_it():
    found = run(metrics.get("cosine_similarity"), REALS, SCORES)
    np.testing.assert_allclose(found, -run(losses.get("cosine_similarity"), REALS, SCORES))
    np.testing.assert_allclose(found, run(metrics.CosineSimilarity().values, REALS, SCORES))
    assert run(metrics.get("cosine_proximity"), REALS, SCORES)[0] == found[0]
    with at_version("2.2.4"):
        assert run(metrics.get("cosine_proximity"), REALS, SCORES)[0] == -found[0]


def test_binary_crossentropy_of_flattened_tensors_is_one_number():
    """The reconstruction term of variational autoencoders: K.flatten takes the batch along."""
    from kcompile import keras

    K = keras.backend
    given, predicted = keras.layers.Input((3, 2)), keras.layers.Input((3, 2))
    loss = keras.losses.binary_crossentropy(K.flatten(given), K.flatten(predicted))
    labels, chances = np.random.randint(0, 2, (5, 3, 2)), np.random.uniform(0.1, 0.9, (5, 3, 2))
    expected = -np.mean(labels * np.log(chances) + (1 - labels) * np.log(1 - chances))
    assert np.isclose(K.function([given, predicted], [loss])([labels, chances])[0], expected, rtol=1e-5)


def test_overlaps_are_of_the_axes_or_of_the_batch():
    y = np.array([[1.0, 0.0], [1.0, 1.0]], np.float32)
    p = np.array([[0.5, 0.25], [1.0, 0.0]], np.float32)
    both, truth, said = 1.5, 3.0, 1.75
    assert K.eval(losses.Dice()(y, p)) == pytest.approx(1 - 2 * both / (truth + said), rel=1e-5)
    each = losses.Dice(axis=(1,), reduction="none")(y, p)
    np.testing.assert_allclose(K.eval(each), [1 - 1 / 1.75, 1 - 2 / 3], rtol=1e-5)
    found = K.eval(losses.Tversky(alpha=0.2, beta=0.6)(y, p))
    assert found == pytest.approx(1 - both / (both + 0.2 * (truth - both) + 0.6 * (said - both)), rel=1e-5)


def test_losses_that_do_not_count_are_not_in_the_mean():
    y, p = np.array([0, 1, 2]), np.eye(3, dtype=np.float32) * 0.4 + 0.2
    one = -np.log(0.6)
    assert K.eval(losses.SparseCategoricalCrossentropy(ignore_class=1)(y, p)) == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize("keras", [keras3, tf_keras])
def test_cosines_along_the_batch(keras):
    """Of each feature, whose mean is the loss, in Keras 3 and tf_keras 2.21; weights have no place there."""
    x = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 1.0], [2.0, 1.0, 1.0]], np.float32)
    y = x[:, :2] * 0.5 + 1
    loss = keras.losses.CosineSimilarity(axis=0)
    np.testing.assert_allclose(loss(y, x[:, :2]), -0.85707, atol=1e-5)
    each = keras.losses.CosineSimilarity(axis=0, reduction="none")(y, x[:, :2])
    np.testing.assert_allclose(each, [-0.91350, -0.80064], atol=1e-5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), loss)
    history = model.fit(x, y, batch_size=2, shuffle=False, epochs=2, verbose=0).history["loss"]
    np.testing.assert_allclose(history, [-0.93406, -0.93555], atol=1e-5)
    with pytest.raises(InputError, match="no weights of samples"):
        model.evaluate(x, y, sample_weight=np.ones(3), verbose=0)

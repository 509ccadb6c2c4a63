"""Every loss of the installed Keras with its options, called on arrays: values with and without weights, by
each reduction; and those that came with Keras 3 in models that are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3

keras = pytest.importorskip("keras")

FOCAL = {"alpha": 0.4, "gamma": 1.5, "label_smoothing": 0.1}
CASES: list[tuple[str, dict[str, Any], str]] = [
    *((kind, {}, "numbers") for kind in ("MeanSquaredError", "MeanAbsoluteError", "LogCosh", "Hinge")),
    *((kind, {}, "positive") for kind in ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError")),
    *((kind, {}, "positive") for kind in ("Poisson", "SquaredHinge")),
    ("CategoricalHinge", {}, "classes"),
    ("KLDivergence", {}, "classes"),
    ("Huber", {"delta": 0.5}, "numbers"),
    ("CosineSimilarity", {"axis": 1}, "numbers"),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, "classes"),
    ("BinaryCrossentropy", {"from_logits": True, "axis": 1}, "numbers"),
    ("BinaryFocalCrossentropy", {**FOCAL, "apply_class_balancing": True}, "classes"),
    ("BinaryFocalCrossentropy", {**FOCAL, "from_logits": True}, "binary logits"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, "classes"),
    ("CategoricalCrossentropy", {"from_logits": True}, "logits"),
    ("CategoricalFocalCrossentropy", FOCAL, "classes"),
    ("CategoricalFocalCrossentropy", {**FOCAL, "from_logits": True}, "logits"),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, "sparse"),
    ("SparseCategoricalCrossentropy", {}, "sparse"),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, "sparse"),
    ("Dice", {"axis": (1,)}, "classes"),
    ("Tversky", {"alpha": 0.3, "beta": 0.9, "axis": (1,)}, "classes"),
    ("Circle", {}, "embeddings"),
    ("Circle", {"gamma": 5.0, "margin": 0.2, "remove_diagonal": False}, "embeddings"),
    ("CTC", {}, "unaligned"),
]
REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight", None)


def data(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels, numbers = rng.integers(0, 4, 7), rng.normal(size=(7, 4)).astype("f")
    one_hot, scores = np.eye(4, dtype="f")[labels], rng.dirichlet(np.ones(4), 7).astype("f")
    paths = np.array([[1, 2, 0], [3, 3, 1], [2, 0, 0]]), rng.normal(size=(3, 9, 4)).astype("f")
    return {
        "numbers": (rng.normal(size=(7, 4)).astype("f"), numbers),
        "positive": (np.abs(rng.normal(size=(7, 4))).astype("f"), np.abs(numbers)),
        "classes": (one_hot, scores),
        "logits": (one_hot, numbers),
        "binary logits": (rng.integers(0, 2, (7, 4)).astype("f"), numbers),
        "sparse": (labels, scores),
        "embeddings": (labels, numbers / np.linalg.norm(numbers, axis=1, keepdims=True)),
        "unaligned": paths,
    }[kind]


def test_values_are_those_of_keras() -> None:
    for kind, options, given in CASES:
        y, p = data(given)
        rng = np.random.default_rng(1)
        for reduction in REDUCTIONS:
            ours, theirs = (getattr(k.losses, kind)(**options, reduction=reduction) for k in (keras3, keras))
            for w in (None, rng.uniform(0, 2, len(y)).astype("f")):
                found = np.asarray(ours(y, p, sample_weight=w))
                right = np.asarray(theirs(y, p, sample_weight=w))
                np.testing.assert_allclose(
                    found, right, rtol=2e-5, atol=2e-6, err_msg=f"{kind} {options} {reduction} {w}"
                )
        again = type(ours).from_config(ours.get_config())
        assert again.get_config() == ours.get_config()


def test_losses_over_the_batch_are_those_of_keras() -> None:
    y, p = data("classes")
    for kind in ("Dice", "Tversky"):
        found, right = (float(getattr(k.losses, kind)()(y, p)) for k in (keras3, keras))
        assert found == pytest.approx(right, rel=1e-5)


def test_every_loss_is_compared() -> None:
    known = {n for n, c in vars(keras.losses).items() if isinstance(c, type) and n != "Loss"}
    assert known == {kind for kind, _, _ in CASES}
    assert all(hasattr(keras3.losses, n) for n in vars(keras.losses) if not n.startswith("_"))


@pytest.mark.parametrize("kind", ["Dice", "Tversky", "CTC"])
def test_models_are_trained_on_them(kind: str) -> None:
    rng = np.random.default_rng(0)
    steps, unaligned = [], kind == "CTC"
    x = rng.normal(size=(6, 8, 3) if unaligned else (6, 3)).astype("f")
    y = rng.integers(1, 4, (6, 2)) if unaligned else np.eye(4, dtype="f")[rng.integers(0, 4, 6)]
    start = None
    for library in (keras, keras3):
        layers = library.layers
        model = library.Sequential(
            [layers.Input(x.shape[1:]), layers.Dense(4, activation=None if unaligned else "softmax")]
        )
        start = start or [np.asarray(w) for w in model.get_weights()]
        model.set_weights(start)
        loss = getattr(library.losses, kind)()
        eager = {} if library is keras3 else {"run_eagerly": True}
        model.compile(library.optimizers.SGD(0.1), loss, **eager)
        steps.append([float(np.ravel(model.train_on_batch(x, y))[0]) for _ in range(3)])
    np.testing.assert_allclose(steps[1], steps[0], rtol=2e-4)

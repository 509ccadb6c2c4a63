"""Every loss class of Keras 3 and of tf_keras with its options, by each reduction and with every kind of
weights, beside ours: on arrays, and in models that are trained."""

from __future__ import annotations

import importlib
from itertools import product
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.keras, pytest.mark.slow]
OURS = {"keras": "kcompile.keras3", "tf_keras": "kcompile.tf_keras"}
REDUCTIONS = {
    "keras": ("sum_over_batch_size", "sum", "none", "mean", "mean_with_sample_weight"),
    "tf_keras": ("auto", "sum_over_batch_size", "sum", "none"),
}
FOCAL = {"alpha": 0.4, "gamma": 1.5}
ANY = ("numbers", "steps", "column")
CASES: dict[str, list[tuple[dict[str, Any], str]]] = {
    **{kind: [({}, data) for data in ANY] for kind in ("MeanSquaredError", "MeanAbsoluteError", "LogCosh")},
    "Huber": [({"delta": 0.5}, data) for data in ANY],
    **{kind: [({}, "numbers"), ({}, "binary")] for kind in ("Hinge", "SquaredHinge")},
    "CategoricalHinge": [({}, "classes"), ({}, "steps of classes")],
    "MeanAbsolutePercentageError": [({}, "positive")],
    "MeanSquaredLogarithmicError": [({}, "positive")],
    "Poisson": [({}, "positive")],
    "KLDivergence": [({}, "classes"), ({}, "steps of classes")],
    "CosineSimilarity": [({}, "numbers"), ({"axis": 1}, "steps"), ({"axis": -2}, "steps")],
    "BinaryCrossentropy": [
        *product(({}, {"label_smoothing": 0.2}, {"from_logits": True}), ("binary", "column")),
        ({"axis": 1}, "steps of classes"),
    ],
    "BinaryFocalCrossentropy": [
        ({}, "binary"),
        ({**FOCAL, "apply_class_balancing": True, "label_smoothing": 0.1}, "binary"),
        ({**FOCAL, "from_logits": True}, "binary"),
        ({"axis": 1}, "steps of classes"),
    ],
    "CategoricalCrossentropy": [
        *product(({}, {"label_smoothing": 0.2}, {"from_logits": True}), ("classes", "steps of classes")),
        ({"axis": 1, "label_smoothing": 0.1}, "steps of classes"),
    ],
    "CategoricalFocalCrossentropy": [
        ({**FOCAL, "label_smoothing": 0.1}, "classes"),
        ({**FOCAL, "from_logits": True}, "steps of classes"),
        ({"axis": 1}, "steps of classes"),
    ],
    "SparseCategoricalCrossentropy": list(
        product(
            ({}, {"from_logits": True}, {"ignore_class": 1}, {"ignore_class": 2, "from_logits": True}),
            ("sparse", "sparse column", "steps of sparse"),
        )
    ),
    "CategoricalGeneralizedCrossEntropy": [({"q": 0.3}, "sparse")],
    "Dice": list(product(({}, {"axis": (1,)}), ("classes", "steps of classes"))),
    "Tversky": list(product(({"alpha": 0.3, "beta": 0.9}, {"axis": (1,)}), ("classes", "steps of classes"))),
}
ELSEWHERE = {"CTC", "Circle", "Loss", "Reduction"}  # in test_losses_with_keras


def batch(kind: str, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels, steps = rng.integers(0, 4, n), rng.integers(0, 4, (n, 3))
    numbers, shares = rng.normal(size=(2, n, 3, 4)).astype("f"), rng.uniform(0.1, 0.9, (n, 4)).astype("f")
    scores, each = rng.dirichlet(np.ones(4), n).astype("f"), rng.dirichlet(np.ones(4), (n, 3)).astype("f")
    yes, one_hot = rng.integers(0, 2, (n, 4)).astype("f"), np.eye(4, dtype="f")
    return {
        "numbers": (numbers[0, :, 0], numbers[1, :, 0]),
        "steps": (numbers[0], numbers[1]),
        "positive": (np.abs(numbers[0, :, 0]) + 0.1, np.abs(numbers[1, :, 0]) + 0.1),
        "binary": (yes, shares),
        "column": (yes[:, 0], shares[:, :1]),
        "classes": (one_hot[labels], scores),
        "steps of classes": (one_hot[steps], each),
        "sparse": (labels, scores),
        "sparse column": (labels[:, None].astype("f"), scores),
        "steps of sparse": (steps, each),
    }[kind]


def weights(data: str, n: int) -> list[Any]:
    rng = np.random.default_rng(9)
    found = [None, rng.uniform(0, 2, n).astype("f"), rng.uniform(0, 2, (n, 1)).astype("f"), 2.0]
    return [*found, rng.uniform(0, 2, (n, 3)).astype("f")] if data.startswith("steps") else found


def tensors(library: Any) -> Any:
    """What makes tensors of arrays: beside arrays, tf_keras takes labels [n] for [n, n]."""
    return library.ops.convert_to_tensor if hasattr(library, "ops") else library.backend.constant


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("library", OURS)
def test_values_are_theirs(library: str, kind: str) -> None:
    theirs, ours = pytest.importorskip(library), importlib.import_module(OURS[library])
    if not hasattr(theirs.losses, kind):
        pytest.skip(f"{library} has no {kind}")
    for (options, data), reduction in product(CASES[kind], REDUCTIONS[library]):
        y, p = batch(data)
        a, b = (getattr(k.losses, kind)(**options, reduction=reduction) for k in (ours, theirs))
        for w in weights(data, len(y)):
            # tf_keras makes outputs [n, 1] beside labels [n] one sample [n]: only the mean says nothing of it
            if (library, data) == ("tf_keras", "column") and (w is not None or reduction in ("sum", "none")):
                continue
            try:
                right = np.asarray(b(*map(tensors(theirs), (y, p)), sample_weight=w))
            except Exception:  # which weights it does not take
                continue
            found = np.asarray(a(y, p, sample_weight=w))
            assert found.shape == right.shape, (options, data, reduction, w)
            np.testing.assert_allclose(
                found, right, rtol=3e-5, atol=3e-6, err_msg=f"{options} {data} {reduction} {w}"
            )


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("library", OURS)
def test_models_are_trained_as_theirs(library: str, kind: str) -> None:
    theirs, ours = pytest.importorskip(library), importlib.import_module(OURS[library])
    if not hasattr(theirs.losses, kind):
        pytest.skip(f"{library} has no {kind}")
    options, data = CASES[kind][-1]
    y, p = batch(data)
    for reduction, w in product(set(REDUCTIONS[library]) - {"none", "mean"}, weights(data, len(y))[:2]):
        found = []
        for keras in (theirs, ours):
            x = keras.layers.Input(p.shape[1:])
            layer = keras.layers.Dense(p.shape[-1], kernel_initializer="identity")
            model = keras.models.Model(x, layer(x))
            eager = {"run_eagerly": True} if keras is theirs else {}
            loss = getattr(keras.losses, kind)(**options, reduction=reduction)
            model.compile(keras.optimizers.SGD(0.001), loss, **eager)
            common: dict[str, Any] = {"sample_weight": w, "batch_size": 4, "verbose": 0}
            try:
                losses = model.fit(p, y, epochs=2, shuffle=False, **common).history["loss"]
                found.append([*losses, model.evaluate(p, y, **common)])
            except Exception:
                if keras is ours:
                    raise
                break  # which weights it does not take
        if len(found) == 2:
            np.testing.assert_allclose(found[1], found[0], rtol=2e-4, err_msg=f"{options} {reduction} {w}")


@pytest.mark.parametrize("library", OURS)
def test_every_class_is_compared(library: str) -> None:
    theirs = pytest.importorskip(library)
    known = {name for name, value in vars(theirs.losses).items() if isinstance(value, type)}
    assert known - CASES.keys() <= ELSEWHERE

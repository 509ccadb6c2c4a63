"""Every metric class of Keras 3 and of tf_keras with each of its options, beside ours: as an object that
counts batches, with every kind of weights, and in models, plain and weighted, through evaluate and fit."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.keras
OURS = {"keras": "kcompile.keras3", "tf_keras": "kcompile.tf_keras"}
Case = tuple[str, dict[str, Any]]

SPARSE_OPTIONS = (
    {},
    {"ignore_class": 1},
    {"from_logits": True},
    {"ignore_class": 0, "from_logits": True},
    {"ignore_class": -1},
)
CORRELATIONS = ("PearsonCorrelation", "ConcordanceCorrelation")
ERRORS = ("MeanSquaredError", "MeanAbsoluteError", "LogCoshError", "CosineSimilarity", "RootMeanSquaredError")
POSITIVE = ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "Poisson", "KLDivergence")
AVERAGES = (None, "micro", "macro", "weighted")
BY_LABEL = {"multi_label": True, "num_labels": 4, "label_weights": [1.0, 2.0, 3.0, 4.0]}
COUNTS = tuple(f"{a}{b}" for a, b in product(("True", "False"), ("Positives", "Negatives")))


def areas(**options: Any) -> list[Case]:
    curves, ways = ("ROC", "PR", "PRGAIN"), ("interpolation", "minoring", "majoring")
    return [("AUC", {"curve": c, "summation_method": s, **options}) for c, s in product(curves, ways)]


def sparse() -> list[Case]:
    return [
        ("SparseCategoricalAccuracy", {}),
        *(("SparseTopKCategoricalAccuracy", {"k": k}) for k in (1, 2)),
        *(("SparseCategoricalCrossentropy", options) for options in SPARSE_OPTIONS),
    ]


CASES: dict[str, list[Case]] = {
    "numbers": [
        *((kind, {}) for kind in (*ERRORS, "Hinge", "SquaredHinge", "CategoricalHinge")),
        ("MeanSquaredError", {"dtype": "float64"}),
        ("CosineSimilarity", {"axis": 1}),
        *((kind, {"axis": axis}) for kind, axis in product(CORRELATIONS, (-1, 0))),
        *(
            ("R2Score", {"class_aggregation": how, "num_regressors": count})
            for how, count in product((None, "uniform_average", "variance_weighted_average"), (0, 2))
        ),
        ("MeanRelativeError", {"normalizer": [1.0, 2.0, 0.0, 4.0]}),
    ],
    "positive": [(kind, {}) for kind in POSITIVE],
    "steps": [
        *((kind, {}) for kind in ERRORS),
        ("CosineSimilarity", {"axis": 1}),
        *((kind, {"axis": axis}) for kind, axis in product(CORRELATIONS, (-1, 0, 1))),
    ],
    "binary": [
        *(("BinaryAccuracy", {"threshold": threshold}) for threshold in (0.5, 0.3)),
        *(("BinaryCrossentropy", {"label_smoothing": share}) for share in (0, 0.1)),
        *((kind, {"thresholds": t}) for kind, t in product(COUNTS, (None, 0.3, [0.2, 0.7]))),
        ("SensitivityAtSpecificity", {"specificity": 0.6}),
        ("SpecificityAtSensitivity", {"sensitivity": 0.6, "num_thresholds": 1}),
        ("RecallAtPrecision", {"precision": 0.4}),
        ("RecallAtPrecision", {"precision": 0.99, "num_thresholds": 3}),
        *areas(),
        ("AUC", {"thresholds": [0.2, 0.5, 0.7]}),
        ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}),
    ],
    "equal": [
        *((kind, {}) for kind in ("Hinge", "SquaredHinge", "Accuracy", "BinaryAccuracy")),
        ("Accuracy", {"dtype": "float64"}),
        ("BinaryCrossentropy", {"from_logits": True}),
        ("AUC", {"num_thresholds": 11, "from_logits": True}),
    ],
    "classes": [
        ("CategoricalAccuracy", {}),
        *(("TopKCategoricalAccuracy", {"k": k}) for k in (1, 2)),
        ("BinaryCrossentropy", {"label_smoothing": 0.1}),
        *(("CategoricalCrossentropy", o) for o in ({}, {"label_smoothing": 0.1}, {"from_logits": True})),
        *(
            (kind, options)
            for kind in ("Precision", "Recall")
            for options in (
                {},
                {"thresholds": [0.2, 0.7]},
                {"top_k": 2, "class_id": 1},
                {"class_id": 2},
                {"top_k": 1, "thresholds": 0.4},
            )
        ),
        ("SpecificityAtSensitivity", {"sensitivity": 0.3, "num_thresholds": 50, "class_id": 1}),
        ("PrecisionAtRecall", {"recall": 0.4, "num_thresholds": 7, "class_id": 1}),
        *areas(**BY_LABEL),
        *areas(num_thresholds=9),
        ("AUC", {"multi_label": True}),
        *(("F1Score", {"average": how, "threshold": t}) for how, t in product(AVERAGES, (None, 0.4))),
        ("FBetaScore", {"beta": 2.0, "threshold": 0.4, "average": "weighted"}),
        ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False, "sparse_y_true": False}),
        ("OneHotIoU", {"num_classes": 4, "target_class_ids": [1, 2]}),
        ("OneHotMeanIoU", {"num_classes": 4, "ignore_class": 3}),
    ],
    "steps of classes": [
        ("CategoricalAccuracy", {}),
        ("TopKCategoricalAccuracy", {"k": 2}),
        ("BinaryAccuracy", {"threshold": 0.3}),
        ("BinaryCrossentropy", {}),
        ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
        ("CategoricalCrossentropy", {"axis": 1}),
        ("Precision", {"top_k": 2}),
        ("Recall", {"class_id": 1}),
        ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False, "sparse_y_true": False}),
        ("OneHotIoU", {"num_classes": 4, "target_class_ids": [1, 2], "ignore_class": 0}),
    ],
    "sparse": [*sparse(), ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False})],
    "sparse vectors": sparse(),
    "steps of sparse": sparse(),
    "labels": [
        ("MeanIoU", {"num_classes": 4, "ignore_class": 1}),
        ("MeanIoU", {"num_classes": 4}),
        ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}),
        ("IoU", {"num_classes": 4, "target_class_ids": [0, 2], "dtype": "float32"}),
    ],
    "sorted": [("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True})],
}
# tf_keras multiplies weights [n, 1] of a model, as [n, 1, 1], with values [n, 4]: every sample by all weights
AMISS = {("tf_keras", "F1Score", "micro")}
OF_VALUES = {"Mean", "MeanMetricWrapper", "MeanTensor", "Metric", "Sum"}


def batch(kind: str, seed: int, n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels, others, steps = rng.integers(0, 4, n), rng.integers(0, 4, n), rng.integers(0, 4, (n, 3))
    scores, each = rng.dirichlet(np.ones(4), n).astype("f"), rng.dirichlet(np.ones(4), (n, 3)).astype("f")
    one_hot, numbers = np.eye(4, dtype="f"), rng.normal(size=(2, n, 3, 4)).astype("f")
    zeros_and_ones = rng.integers(0, 2, (2, n, 4)).astype("f")
    return {
        "numbers": (numbers[0, :, 0], numbers[1, :, 0]),
        "positive": (np.abs(numbers[0, :, 0]) + 0.1, np.abs(numbers[1, :, 0]) + 0.1),
        "steps": (numbers[0], numbers[1]),
        "binary": (zeros_and_ones[0, :, :1], rng.uniform(0, 1, (n, 1)).astype("f")),
        "equal": (zeros_and_ones[0], zeros_and_ones[1]),
        "classes": (one_hot[labels], scores),
        "steps of classes": (one_hot[steps], each),
        "sparse": (labels[:, None].astype("f"), scores),
        "sparse vectors": (labels, scores),
        "steps of sparse": (steps, each),
        "labels": (labels[:, None].astype("f"), others[:, None].astype("f")),
        "sorted": (labels[:, None], np.stack([rng.permutation(4) for _ in range(n)])),
    }[kind]


def weights(kind: str, n: int, seed: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(100 + seed)
    found: list[np.ndarray | None] = [None, rng.uniform(0, 2, n).astype("f")]
    return [*found, rng.uniform(0, 2, (n, 3)).astype("f")] if kind.startswith("steps") else found


def made(library: Any, case: Case, name: str | None = None) -> Any:
    kind, options = case
    return getattr(library.metrics, kind)(**options, **({} if name is None else {"name": name}))


def available(library: Any, data: str) -> Iterator[Case]:
    """The cases that a library knows: its classes, with the values of options that it takes."""
    for case in CASES[data]:
        try:
            made(library, case)
        except (AttributeError, TypeError, ValueError):
            continue
        yield case


def counted(library: Any, case: Case, data: str, k: int, columns: bool = False) -> np.ndarray:
    """What a metric says after one batch and after two, with the k-th kind of weights; and after a reset.
    columns: whether weights [n] are [n, 1]."""
    metric, found = made(library, case), []
    for seed in range(2):
        y, p = batch(data, seed)
        w = weights(data, len(y), seed)[k]
        w = w[:, None] if columns and w is not None and w.ndim == 1 else w
        metric.update_state(y, p, sample_weight=w)
        found.append(np.asarray(metric.result(), float))
    metric.reset_state()
    metric.update_state(*batch(data, 5))
    return np.stack([*found, np.asarray(metric.result(), float)])


@pytest.mark.slow
@pytest.mark.parametrize("data", CASES)
@pytest.mark.parametrize("library", OURS)
def test_objects_count_as_theirs(library: str, data: str) -> None:
    theirs, ours = pytest.importorskip(library), importlib.import_module(OURS[library])
    for case in available(theirs, data):
        for k in range(len(weights(data, 1, 0))):
            try:
                right = counted(theirs, case, data, k)
            except Exception:  # which weights it does not take
                continue
            label = f"{case} weights {k}"
            np.testing.assert_allclose(
                counted(ours, case, data, k), right, rtol=3e-5, atol=3e-6, err_msg=label
            )
        mine, there = made(ours, case).get_config(), made(theirs, case).get_config()
        assert {*mine} >= {*there}, case
        assert made(ours, case).from_config(mine).get_config() == mine


def reported(library: Any, cases: list[Case], data: str, k: int, eager: bool) -> dict[str, np.ndarray]:
    y, p = batch(data, 3, 14)
    w = weights(data, 14, 0)[k]
    w = w[:, None] if data.startswith("steps") and w is not None and w.ndim == 1 else w
    x = library.layers.Input(p.shape[1:])
    layer = library.layers.Dense(p.shape[-1], use_bias=False, kernel_initializer="identity")
    model = library.models.Model(x, layer(x))
    plain = [made(library, c, f"m{i}") for i, c in enumerate(cases)]
    by_sample = [c for c in cases if c[1].get("axis") != 0]  # as weights are
    weighted = [made(library, c, f"w{i}") for i, c in enumerate(by_sample)]
    loss = "sparse_categorical_crossentropy" if "sparse" in data else "mse"
    options = {"run_eagerly": True} if eager else {}
    model.compile(library.optimizers.SGD(0.01), loss, metrics=plain, weighted_metrics=weighted, **options)
    common: dict[str, Any] = {"sample_weight": w, "batch_size": 5, "verbose": 0}
    tested = model.evaluate(p, y, return_dict=True, **common)
    logs = model.fit(p, y, epochs=2, shuffle=False, **common).history
    return {**{f"tested {key}": np.asarray(v, float) for key, v in tested.items()}, **logs}


def reported_there(library: Any, cases: list[Case], data: str, k: int) -> tuple[dict[str, Any], list[Case]]:
    """What their model reports, and of which cases: without those that it does not take in a model."""
    try:
        return reported(library, cases, data, k, eager=True), cases
    except Exception:
        taken = []
        for case in cases:
            with suppress(Exception):
                reported(library, [case], data, k, eager=True)
                taken.append(case)
        return reported(library, taken, data, k, eager=True), taken


@pytest.mark.slow
@pytest.mark.parametrize("data", sorted(CASES.keys() - {"sorted"}))
@pytest.mark.parametrize("library", OURS)
def test_models_report_as_theirs(library: str, data: str) -> None:
    theirs, ours = pytest.importorskip(library), importlib.import_module(OURS[library])
    compared = 0
    for k in range(len(weights(data, 1, 0))):
        cases = list(available(theirs, data))
        for case in list(cases):
            # R2Score of Keras 3 asks a number for its truth where JAX traces it
            traced = library == "keras" and case[1].get("num_regressors")
            if traced or (k and (library, case[0], case[1].get("average")) in AMISS):
                cases.remove(case)
                continue
            try:
                counted(theirs, case, data, k, library == "tf_keras")  # as its models give them
            except Exception:  # which weights it does not take
                cases.remove(case)
        right, cases = reported_there(theirs, cases, data, k)
        found = reported(ours, cases, data, k, eager=False)
        assert found.keys() == right.keys()
        for key, value in right.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5, err_msg=f"{key} {k} {cases}")
        compared += 1
    assert compared


@pytest.mark.parametrize("library", OURS)
def test_every_class_is_compared(library: str) -> None:
    theirs = pytest.importorskip(library)
    known = {name for name, value in vars(theirs.metrics).items() if isinstance(value, type)}
    assert known - {kind for cases in CASES.values() for kind, _ in cases} <= OF_VALUES


def test_means_of_places_are_those_of_tf_keras() -> None:
    theirs, ours = pytest.importorskip("tf_keras"), importlib.import_module("kcompile.tf_keras")
    found = []
    for library in (theirs, ours):
        metric = library.metrics.MeanTensor()
        said = []
        for seed in range(3):
            values = np.random.default_rng(seed).normal(size=(4, 3)).astype("f")
            w = [None, np.arange(4.0), np.ones((4, 1)) * 0.5][seed]
            metric.update_state(values, sample_weight=w)
            said.append(np.asarray(metric.result()))
        metric.reset_state()
        found.append([*said, np.asarray(metric.result()), metric.get_config()])
        with pytest.raises(ValueError):
            metric.update_state(np.ones((2, 3)))
    for mine, right in zip(found[1][:-1], found[0][:-1]):
        np.testing.assert_allclose(mine, right, rtol=1e-6)
    assert found[1][-1] == found[0][-1]

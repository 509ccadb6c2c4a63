"""Every metric of the installed Keras with its options, on arrays: batches with and without weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WEIGHTS = [1.0, 2.0, 3.0, 4.0]
AREAS = [
    ("AUC", {"curve": curve, "summation_method": method, **more}, data)
    for curve in ("ROC", "PR", "PRGAIN")
    for method in ("interpolation", "minoring", "majoring")
    for more, data in (
        ({}, "binary"),
        ({"multi_label": True, "num_labels": 4, "label_weights": WEIGHTS}, "classes"),
    )
]
CASES: list[tuple[str, dict[str, Any], str]] = [
    *((f"{truth}{said}", {}, "binary") for truth in ("True", "False") for said in ("Positives", "Negatives")),
    ("TruePositives", {"thresholds": [0.2, 0.5, 0.9]}, "binary"),
    *(
        (kind, options, "classes")
        for kind in ("Precision", "Recall")
        for options in (
            {},
            {"thresholds": 0.3},
            {"thresholds": [0.2, 0.7]},
            {"top_k": 2, "class_id": 1},
            {"top_k": 1, "thresholds": 0.4},
        )
    ),
    ("SensitivityAtSpecificity", {"specificity": 0.6}, "binary"),
    ("SpecificityAtSensitivity", {"sensitivity": 0.6, "num_thresholds": 1}, "binary"),
    ("PrecisionAtRecall", {"recall": 0.4, "num_thresholds": 7, "class_id": 1}, "classes"),
    ("RecallAtPrecision", {"precision": 0.4}, "binary"),
    *AREAS,
    ("AUC", {"thresholds": [0.2, 0.5, 0.7]}, "binary"),
    ("AUC", {"num_thresholds": 11, "from_logits": True}, "binary"),
    ("AUC", {"multi_label": True}, "classes"),
    *(("F1Score", {"average": average}, "classes") for average in (None, "micro", "macro", "weighted")),
    ("FBetaScore", {"beta": 2.0, "threshold": 0.4, "average": "weighted"}, "classes"),
    ("RootMeanSquaredError", {}, "numbers"),
    ("R2Score", {"class_aggregation": None}, "numbers"),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, "numbers"),
    ("R2Score", {"num_regressors": 2}, "numbers"),
    ("PearsonCorrelation", {}, "numbers"),
    ("ConcordanceCorrelation", {}, "numbers"),
    ("MeanIoU", {"num_classes": 4, "ignore_class": 1}, "labels"),
    ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False}, "labels and scores"),
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}, "labels"),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [1, 2]}, "classes"),
    ("OneHotMeanIoU", {"num_classes": 4}, "classes"),
    ("OneHotMeanIoU", {"num_classes": 4, "sparse_y_pred": True}, "one-hot and labels"),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, "binary"),
]
MEANS = ("Mean", "Sum")


def batch(kind: str, seed: int, n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels, others = rng.integers(0, 4, n), rng.integers(0, 4, n)
    one_hot, scores = np.eye(4, dtype="f")[labels], rng.dirichlet(np.ones(4), n).astype("f")
    return {
        "binary": (rng.integers(0, 2, n).astype("f"), rng.uniform(0, 1, n).astype("f")),
        "classes": (one_hot, scores),
        "numbers": (rng.normal(size=(n, 3)).astype("f"), rng.normal(size=(n, 3)).astype("f")),
        "labels": (labels, others),
        "labels and scores": (labels, scores),
        "one-hot and labels": (one_hot, others),
    }[kind]


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in CASES}))
def test_batches_add_up_to_what_they_do_in_keras(kind: str) -> None:
    for _, options, data in (case for case in CASES if case[0] == kind):
        ours, theirs = (getattr(k.metrics, kind)(**options) for k in (keras3, keras))
        for seed in range(3):
            y, p = batch(data, seed)
            w = np.random.default_rng(seed).uniform(0, 3, len(y)).astype("f") if seed else None
            for metric in (ours, theirs):
                metric.update_state(y, p, sample_weight=w)
        np.testing.assert_allclose(
            ours.result(), theirs.result(), rtol=2e-5, atol=2e-6, err_msg=f"{kind} {options}"
        )
        again = type(ours).from_config(ours.get_config())
        assert again.get_config() == ours.get_config()
        again.update_state(*batch(data, 0))
        ours.reset_state()
        ours.update_state(*batch(data, 0))
        np.testing.assert_array_equal(again.result(), ours.result())


@pytest.mark.parametrize("kind", MEANS)
def test_means_and_sums_of_values(kind: str) -> None:
    ours, theirs = (getattr(k.metrics, kind)() for k in (keras3, keras))
    for values, w in (([1.0, 5.0], None), ([[1.0, 2.0], [3.0, 6.0]], [0.5, 2.0]), (4.0, None)):
        for metric in (ours, theirs):
            metric.update_state(np.array(values), sample_weight=None if w is None else np.array(w))
    np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-6)


def test_every_metric_of_keras_is_here() -> None:
    public = {name for name, value in vars(keras.metrics).items() if callable(value)}
    assert {
        name for name in public if not name.startswith("_") and not hasattr(keras3.metrics, name)
    } == set()

"""Metrics that keep a state in models: fit, evaluate, live models and files, beside Keras 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3

keras = pytest.importorskip("keras")


def net(library: Any) -> Any:
    layers = library.layers
    return library.Sequential([layers.Input((3,)), layers.Dense(4, activation="softmax", name="out")])


def plain(library: Any) -> list[Any]:
    m = library.metrics
    return [
        "AUC",
        m.AUC(curve="PR", multi_label=True, num_labels=4, name="areas"),
        m.Precision(top_k=2, class_id=1, name="precision_at_2"),
        m.Recall(thresholds=0.3),
        m.TruePositives(),
        m.SensitivityAtSpecificity(0.5, num_thresholds=20),
        m.F1Score(average="macro"),
        m.OneHotMeanIoU(4),
        m.RootMeanSquaredError(),
        m.R2Score(),
        "accuracy",
        "kl_divergence",
    ]


def weighted(library: Any) -> list[Any]:
    m = library.metrics
    return [m.AUC(name="weighted_auc"), m.PrecisionAtRecall(0.4), m.FBetaScore("weighted", 2.0, 0.3)]


def compiled(library: Any, start: list[np.ndarray]) -> Any:
    model = net(library)
    model.set_weights(start)
    eager = {} if library is keras3 else {"run_eagerly": True}
    model.compile(
        library.optimizers.SGD(0.1),
        "categorical_crossentropy",
        metrics=plain(library),
        weighted_metrics=weighted(library),
        **eager,
    )
    return model


@pytest.mark.slow
def test_fit_evaluate_and_files_report_what_keras_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(22, 3)).astype("f"), rng.integers(0, 4, 22)
    y, w = np.eye(4, dtype="f")[labels], rng.uniform(0, 2, 22).astype("f")
    start = [np.asarray(v) for v in net(keras).get_weights()]
    theirs, ours = compiled(keras, start), compiled(keras3, start)
    options: dict[str, Any] = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    logs = [m.fit(x, y, sample_weight=w, **options).history for m in (theirs, ours)]
    assert set(logs[0]) == set(logs[1])
    for name, right in logs[0].items():
        np.testing.assert_allclose(logs[1][name], right, rtol=2e-4, atol=1e-5, err_msg=name)
    right = theirs.evaluate(x, y, sample_weight=w, batch_size=8, verbose=0)
    path = str(tmp_path / "theirs.keras")
    theirs.save(path)
    for model in (ours, kcompile.compile(theirs), kcompile.load(path)):
        found = model.evaluate(x, y, sample_weight=w, batch_size=8, verbose=0)
        np.testing.assert_allclose(found, right, rtol=2e-4, atol=1e-5)
    ours.save(path)
    back = keras.saving.load_model(path)
    found = back.evaluate(x, y, sample_weight=w, batch_size=8, verbose=0)
    np.testing.assert_allclose(found, right, rtol=2e-4, atol=1e-5)

"""Options of metrics and losses, as each Keras has them: values recorded from executed Keras 3 and tf_keras
(tests/keras_tier/test_metric_options_with_keras.py compares all of them)."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

import kcompile
from kcompile import keras3, tf_keras
from kcompile.keras.tracing import Trace, tracing
from kcompile_runtime.errors import InputError

SHARE = float(np.exp(-0.5))


@pytest.mark.parametrize(("library", "plain", "weighted"), [(keras3, 0.25, 0.5), (tf_keras, 0.5, 0.5)])
def test_what_is_of_the_ignored_class(library, plain, weighted):
    y, p = np.array([0, 1]), np.array([[SHARE, 1 - SHARE]] * 2, "f")
    metric = library.metrics.SparseCategoricalCrossentropy(ignore_class=1)
    assert float(metric(y, p)) == pytest.approx(plain)
    metric.reset_state()
    assert float(metric(y, p, sample_weight=np.array([3.0, 1.0]))) == pytest.approx(weighted)
    assert metric.get_config()["ignore_class"] == 1


def test_a_loaded_model_counts_as_its_keras_does(tmp_path):
    x = np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6], [0.9, 0.1]], "f")
    model = keras3.Sequential([keras3.layers.Input((2,)), keras3.layers.Activation("linear")])
    entropy = keras3.metrics.SparseCategoricalCrossentropy(ignore_class=1, name="entropy")
    score = keras3.metrics.R2Score(class_aggregation=None)
    weighed = keras3.metrics.SparseCategoricalCrossentropy(ignore_class=1, name="weighed")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[entropy], weighted_metrics=[weighed])
    model.save(str(tmp_path / "entropy.keras"))
    model.compile("sgd", "mse", metrics=[score])
    model.save(str(tmp_path / "score.keras"))
    loaded = kcompile.load(str(tmp_path / "entropy.keras"))  # in a script of Keras 2
    for weights, right in ((None, 0.4286996), (np.ones(4), 0.8573992)):  # two of four, or of two that count
        found = loaded.evaluate(x, np.array([0, 1, 1, 0]), 4, 0, weights, return_dict=True)
        assert found["entropy"] == pytest.approx(0.4286996, rel=1e-5)
        assert found["weighed"] == pytest.approx(right, rel=1e-5)
    loaded = kcompile.load(str(tmp_path / "score.keras"))
    found = loaded.evaluate(x, x[::-1] * [1.0, 2.0], verbose=0, return_dict=True)
    np.testing.assert_allclose(found["r2_score"], [-3.0, -1.948276], rtol=1e-5)
    model.compile("sgd", keras3.losses.Dice(axis=-1))  # which is the default elsewhere
    model.save(str(tmp_path / "dice.keras"))
    found = kcompile.load(str(tmp_path / "dice.keras")).evaluate(x, x[::-1] * [1.0, 0.2], verbose=0)
    assert found[0] == pytest.approx(0.6831794, rel=1e-5)


def test_a_model_reports_metrics_of_a_batch_as_a_whole():
    x = np.array([[1.0, 3.0], [2.0, 1.0], [4.0, 2.0]], "f")
    model = keras3.Sequential([keras3.layers.Input((2,)), keras3.layers.Activation("linear")])
    metrics = [keras3.metrics.PearsonCorrelation(axis=0), keras3.metrics.MeanSquaredError(dtype="float64")]
    model.compile("sgd", "mse", metrics=metrics)
    found = model.evaluate(x, x[::-1], verbose=0, return_dict=True)
    assert found["pearson_correlation"] == pytest.approx(np.mean([-0.9285714, 0.5]), rel=1e-5)
    assert found["mean_squared_error"] == pytest.approx(found["loss"])


def test_means_of_places():
    metric = tf_keras.metrics.MeanTensor()
    with pytest.raises(InputError, match="no value"):
        metric.result()
    metric.update_state([0.0, 1.0, 2.0, 3.0])
    metric.update_state([4.0, 5.0, 6.0, 7.0])
    metric.update_state([12.0, 10.0, 8.0, 6.0], sample_weight=[0, 0.2, 0.5, 1])
    np.testing.assert_allclose(metric.result(), [2.0, 3.6363635, 4.8, 5.3333335], rtol=1e-6)
    with pytest.raises(InputError, match="shape"):
        metric.update_state([1.0])


def test_relative_errors():
    metric = tf_keras.metrics.MeanRelativeError(normalizer=[1, 3, 2, 3])
    metric.update_state([1, 3, 2, 3], [2, 4, 6, 8])
    assert float(metric.result()) == pytest.approx(1.25)
    assert metric.get_config()["normalizer"] == [1.0, 3.0, 2.0, 3.0]
    assert not hasattr(keras3.metrics, "MeanRelativeError")


def test_losses_compute_in_their_dtype():
    loss = keras3.losses.MeanSquaredError(dtype="float64")
    assert loss.dtype == "float64" and loss.get_config()["dtype"] == "float64"
    assert loss(np.ones((2, 2), "f"), np.zeros((2, 2), "f")).dtype == "float64"
    assert keras3.losses.Loss("mine", "sum").reduction == "sum"
    assert tf_keras.losses.Loss("sum", "mine").reduction == "sum"


def test_a_variable_has_the_value_of_the_trace_that_reads_it():
    variable = keras3.Variable([1.0, 2.0])
    np.testing.assert_array_equal(variable.value, [1.0, 2.0])
    trace = Trace("test")
    with tracing(trace.graph):
        assert variable.value.shape == (2,) and variable.value.graph is trace.graph


def test_losses_of_an_edition_are_of_its_vintage_wherever_they_are_called():
    y, p = np.array([0.0, 1.0, 1.0], "f"), np.array([[0.1], [0.2], [0.8]], "f")
    for library in (keras3, tf_keras):
        assert float(library.losses.MeanSquaredError()(y, p)) == pytest.approx(0.23, rel=1e-5)
    loss = keras3.losses.MeanSquaredError(reduction="none")
    np.testing.assert_allclose(loss(y, p), [0.01, 0.64, 0.04], rtol=1e-5)
    weights = np.array([[1.0], [0.5], [2.0]], "f")
    found = keras3.losses.MeanSquaredError(reduction="none")(y, p, sample_weight=weights)
    np.testing.assert_allclose(found, [[0.01], [0.32], [0.08]], rtol=1e-5)
    mean = keras3.losses.MeanSquaredError("mean_with_sample_weight")(y, p, sample_weight=weights)
    assert float(mean) == pytest.approx(0.41 / 3.5)
    scores = np.array([[0.5, 0.5], [0.25, 0.75]], "f")
    dice = keras3.losses.Dice("sum")(np.eye(2, dtype="f"), scores, sample_weight=np.array([1.0, 2.0], "f"))
    assert float(dice) == pytest.approx(3 * (1 - 2 * 1.25 / 4), rel=1e-5)
    assert [library.losses.LogCosh().name for library in (keras3, tf_keras)] == ["log_cosh"] * 2
    assert tf_keras.losses.KLDivergence().name == "kl_divergence"
    assert tf_keras.metrics.KLDivergence().name == "kullback_leibler_divergence"


@pytest.mark.parametrize(("library", "expected"), [(keras3, 0.75), (tf_keras, 1.0)])
def test_smoothed_labels_of_classes_on_another_axis(library, expected):
    y = np.zeros((1, 2, 4), "f")
    y[:, 0] = 1.0
    loss = library.losses.CategoricalCrossentropy(label_smoothing=0.5, axis=1)
    assert float(loss(y, np.full_like(y, 0.5))) == pytest.approx(expected * np.log(2))


def of_Ones_own(y_true, y_pred):
    return y_pred[..., 0]


class _Firsts:
    def __call__(self, y_true, y_pred):
        return y_pred[..., 0]


@pytest.mark.parametrize(
    ("library", "names"),
    [
        (keras3, ["of__ones_own", "lambda", "__firsts"]),
        (tf_keras, ["of_Ones_own", "<lambda>", "private__firsts"]),
    ],
)
def test_names_of_functions_and_objects_of_ones_own(library, names):
    model = library.Sequential([library.layers.Input((2,)), library.layers.Activation("linear")])
    model.compile("sgd", "mse", metrics=[of_Ones_own, lambda t, p: p[..., 0], _Firsts()])
    assert {"loss", *names} == {*model.evaluate(np.ones((4, 2)), np.ones((4, 2)), 4, 0, return_dict=True)}
    assert library.metrics.MeanMetricWrapper(of_Ones_own).name.startswith("mean_metric_wrapper")


def test_sorted_numbers_of_classes_are_no_scores():
    metric = keras3.metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)
    metric.update_state(np.array([0, 1, 2]), np.array([[0.2, 0.7, 0.1], [2.0, 1.0, 0.0], [1.0, 0.0, 2.0]]))
    assert float(metric.result()) == pytest.approx(1 / 3)
    metric.reset_state()
    metric.update_state(np.array([[0], [1]]), np.array([[1, 0, 2], [2, 0, 1]]))
    assert float(metric.result()) == 0.5


def test_a_curve_of_gains_by_both_of_its_names():
    assert tf_keras.metrics.AUC(curve="PR_GAIN").curve == keras3.metrics.AUC(curve="prgain").curve


def test_tensors_in_files_of_metrics_are_read(tmp_path):
    x = np.array([[0.2, 0.8], [0.7, 0.1], [0.4, 0.6], [0.9, 0.3]], "f")
    y = np.array([[0, 1], [0, 1], [1, 0], [1, 0]], "f")
    model = keras3.Sequential([keras3.layers.Input((2,)), keras3.layers.Activation("linear")])
    area = keras3.metrics.AUC(multi_label=True, label_weights=[1.0, 3.0])
    model.compile("sgd", "mse", metrics=[area])
    model.save(str(tmp_path / "ours.keras"))
    with zipfile.ZipFile(tmp_path / "ours.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    given = config["compile_config"]["metrics"][0]["config"]
    given["label_weights"] = {"class_name": "__tensor__", "config": {"value": [1.0, 3.0], "dtype": "float32"}}
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "theirs.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    for loaded in (model, kcompile.load(str(tmp_path / "theirs.keras"))):
        assert loaded.evaluate(x, y, verbose=0)[1] == pytest.approx(0.5625, rel=1e-5)

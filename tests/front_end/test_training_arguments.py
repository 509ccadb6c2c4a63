"""What compile, fit, evaluate and the single steps refuse before the first step."""

import numpy as np
import pytest
from small_models import CLASSES, ONE_HOT, X, Y, classifier, regressor, two, two_outputs

from kcompile import keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import losses
from kcompile.keras.layers import Dense
from kcompile.keras.models import Sequential
from kcompile_runtime.errors import InputError, KcompileError, UnsupportedError


def test_fit_before_compile_and_without_loss():
    model = Sequential([Dense(1, input_shape=(4,))])
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="must be compiled before"):
            call(X, Y)
    with pytest.raises(ValueError, match=r"compile: loss.*Received: None"):
        model.compile("sgd")
    model.use_engine(InterpreterEngine(model))
    assert model.predict(X).shape == (20, 1)
    for regular in ({"kernel_regularizer": "l2"}, {"activity_regularizer": "l1"}):
        model = Sequential([Dense(1, input_shape=(4,), **regular)])
        model.compile("sgd")
        assert model.train_on_batch(X, None) > 0


def test_without_a_loss_tf_keras_tests_and_keras_3_trains_on_zero():
    model = Sequential([Dense(1, input_shape=(4,), vintage="tf_keras")], vintage="tf_keras")
    model.compile("sgd", metrics=["mae"])
    y = np.zeros((20, 1))
    loss, distance = model.evaluate(X, y, verbose=0)
    assert loss == 0 and distance == pytest.approx(np.abs(model.predict(X)).mean(), rel=1e-5)
    with pytest.raises(ValueError, match=r"has no loss.*model.compile"):
        model.fit(X, y)
    model = Sequential([Dense(1, input_shape=(4,), vintage="keras3")], vintage="keras3")
    model.compile("adam")
    before = model.get_weights()
    assert model.fit(X, None, epochs=2, verbose=0).history == {"loss": [0.0, 0.0]}
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


WRONG = {
    "rank": (X[:, :, None, None], CLASSES, r"dense_\w+: expected float32 of shape \(n, 4\)"),
    "size": (X[:, :3], CLASSES, r"Received: shape \(20, 3\)"),
    "one sample": (X[0], CLASSES[0], r"pass x\[None\]|shape \(4,\)"),
    "lengths": (X, CLASSES[:-1], "the same number of samples"),
    "no samples": (X[:0], CLASSES[:0], "at least one sample"),
    "text": (X.astype(str), CLASSES, "expected numbers"),
    "complex": (X.astype(complex), CLASSES, "expected numbers"),
    "objects": (X.astype(object), CLASSES, "expected numbers"),
    "ragged": ([[1.0, 2.0], [3.0]], CLASSES, "ragged"),
    "one-hot labels": (X, ONE_HOT, "categorical_crossentropy"),
    "a class too many": (X, CLASSES + 1, r"class numbers from 0 to 2.*from 1 to 3"),
    "a negative class": (X, CLASSES - 1, "from -1 to 1"),
    "labels with fractions": (X, CLASSES + 0.5, "whole numbers"),
    "labels with nan": (X, np.full(20, np.nan), "labels of|values of int32"),
    "no labels": (X, None, "y: expected labels"),
    "no data": (None, CLASSES, "x: expected data"),
    "two inputs": ([X, X], CLASSES, r"shape \(2, 20, 4\)|expected"),
    "names": ({"other": X}, CLASSES, "data by input name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_is_told_before_the_first_step(name):
    x, y, message = WRONG[name]
    model = classifier()
    before = model.get_weights()
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises((ValueError, TypeError), match=message):
            call(x, y)
    assert model.optimizer.iterations.value == 0
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_class_numbers_for_a_dense_loss():
    with pytest.raises(ValueError, match="to_categorical"):
        classifier("categorical_crossentropy").fit(X, CLASSES)
    with pytest.raises(ValueError, match=r"labels of output 'dense_\w+': expected"):
        regressor("mse").fit(X, ONE_HOT)


def test_lists_of_another_length():
    model = two_outputs()
    with pytest.raises(ValueError, match="data of the inputs"):
        model.fit(X, [CLASSES, Y])
    with pytest.raises(ValueError, match="data of the outputs"):
        model.fit([X, X], [CLASSES])
    with pytest.raises(ValueError, match="the same number of samples"):
        model.fit([X, X[:5]], [CLASSES, Y])


def test_wrong_weights():
    model = classifier()
    with pytest.raises(ValueError, match=r"none for 2"):
        model.fit(X, CLASSES, class_weight={0: 1, 1: 1})
    with pytest.raises(ValueError, match="a dict from class to weight"):
        model.fit(X, CLASSES, class_weight="auto")
    with pytest.raises(ValueError, match="sample_weight of output"):
        model.fit(X, CLASSES, sample_weight=np.ones(7))
    model = two_outputs()
    with pytest.raises(ValueError, match="one dict for a model of several outputs"):
        model.fit([X, X], [CLASSES, Y], class_weight={0: 1, 1: 2, 2: 1})
    model.fit([X, X], [CLASSES, Y], class_weight={"kind": {0: 1, 1: 2, 2: 1}}, verbose=0)
    model.fit([X, X], [CLASSES, Y], sample_weight={"size": np.arange(20)}, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"epochs": -1}, "epochs"),
        ({"verbose": 7}, "verbose"),
        ({"shuffle": "yes"}, "shuffle"),
        ({"validation_split": 1.0}, "validation_split"),
        ({"validation_data": X}, "validation_data"),
        ({"validation_steps": 1}, "validation_steps"),
        ({"validation_data": (X, CLASSES[:3])}, "the same number of samples"),
        ({"validation_data": (X, CLASSES + 9)}, "class numbers from 0 to 2"),
    ],
)
def test_wrong_options_of_fit(options, message):
    model = classifier()
    with pytest.raises(ValueError, match=message):
        model.fit(X, CLASSES, **{"verbose": 0, **options})
    assert model.optimizer.iterations.value == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mistake"}, "unknown loss"),
        ({"loss": "mse", "metrics": ["mistake"]}, "unknown metric"),
        ({"loss": "mse", "optimizer": "mistake"}, "unknown optimizer"),
        ({"loss": {"other": "mse"}}, "names of outputs"),
        ({"loss": ["mse", "mse"]}, "one for each of the 1 outputs"),
        ({"loss": "mse", "metrics": {"other": "mae"}}, "names of outputs"),
        ({"loss": "mse", "loss_weights": 3}, "a list or dict"),
        ({"loss": "mse", "sample_weight_mode": "temporal"}, "sample_weight_mode"),
        ({"loss": losses.MeanSquaredError(reduction="none")}, "a reduction to one number"),
        ({"loss": "mse", "metrics": [losses.MeanSquaredError("sum")]}, "reduction"),
    ],
)
def test_bad_arguments_of_compile(options, message):
    model = Sequential([Dense(1, input_shape=(4,))])
    with pytest.raises(ValueError, match=message):
        model.compile(**{"optimizer": "sgd", **options})


def test_functions_that_return_no_tensor():
    with pytest.raises(ValueError, match=r"expected a symbolic tensor. Received: 3"):
        regressor(lambda t, p: 3).train_on_batch(X, Y)
    with pytest.raises(TypeError, match="expected a symbolic tensor"):
        regressor(metrics=[lambda t, p: None]).train_on_batch(X, Y)


@pytest.mark.parametrize(
    ("vintage", "mapping", "message"),
    [
        ("keras2", {1: 5.0}, "every class in the data"),
        ("tf_keras", {1: 5.0}, "every class|from 0 on"),
        ("tf_keras", {0: 1.0, 1: 5.0, 2: 1.0, 7: 2.0}, "from 0 on"),
        ("keras3", {1: 5.0}, ""),
        ("keras2", {0: 1.0, 1: 5.0, 2: 1.0, 7: 2.0}, ""),
        ("keras3", {0: None}, "a finite number"),
        ("keras3", {0: "a"}, "a finite number"),
        ("keras2", {"a": 1.0}, "a class"),
        ("keras2", [1, 2], "a dict"),
        ("keras2", 3, "a dict from class to weight"),
        ("keras3", {0: float("nan")}, "a finite number"),
    ],
)
def test_class_weight_of_some_classes(vintage, mapping, message):
    model = Sequential([Dense(3, activation="softmax", input_shape=(4,), vintage=vintage)], vintage=vintage)
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "sparse_categorical_crossentropy")
    if message:
        with pytest.raises(ValueError, match=message):
            model.train_on_batch(X, CLASSES, class_weight=mapping)
        return
    p = model.predict(X)
    expected = (-np.log(p[np.arange(len(X)), CLASSES]) * np.where(CLASSES == 1, 5, 1)).mean()
    assert model.train_on_batch(X, CLASSES, class_weight=mapping) == pytest.approx(expected, rel=1e-5)


def test_no_samples_give_no_predictions_and_no_loss():
    model = two(loss=["mse", None])
    for call in (model.predict, model.predict_on_batch, model):
        assert [y.shape for y in call(X[:0])] == [(0, 1), (0, 3)]
    for call in (model.evaluate, model.train_on_batch, model.test_on_batch, model.fit):
        with pytest.raises(ValueError, match="at least one sample"):
            call(X[:0], [X[:0, :1], CLASSES[:0]])


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": "3"},
        {"epochs": 2.5},
        {"epochs": None},
        {"batch_size": 2.5},
        {"batch_size": "8"},
        {"validation_split": 1.5},
        {"validation_split": "a"},
        {"validation_freq": 0},
        {"workers": -1},
        {"validation_freq": "a"},
        {"validation_freq": [0.5]},
        {"validation_batch_size": 0},
        {"verbose": "a"},
        {"verbose": None},
        {"verbose": [1]},
        {"shuffle": "yes"},
        {"shuffle": None},
        {"shuffle": X},
        {"workers": None},
        {"max_queue_size": "a"},
        {"use_multiprocessing": "no"},
        {"initial_epoch": -1},
        {"steps_per_epoch": 0},
        {"steps_per_epoch": 1.5},
        {"validation_steps": 1},
        {"callbacks": [3]},
        {"callbacks": 3},
        {"callbacks": "a"},
        {"class_weight": "a"},
        {"sample_weight": "a"},
        {"validation_data": 3},
        {"validation_data": (X,)},
        {"validation_data": "ab"},
        {"mistake": 1},
    ],
)
def test_arguments_of_fit_that_make_no_sense(options):
    model = regressor()
    with pytest.raises(KcompileError):
        model.fit(X, Y, **{"verbose": 0, **options})


def test_how_another_keras_computes_is_no_error():
    model = regressor(run_eagerly=False, steps_per_execution=4, jit_compile="auto")
    assert model.evaluate(X, Y, verbose=0) > 0


# ---------------------------------------------------------------- arguments by position


def test_compile_takes_arguments_in_the_order_of_its_keras():
    for edition, given in ((keras3, [None, ["mae"]]), (tf_keras, [["mae"], None])):
        model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,))])
        model.compile("sgd", "mse", *given)
        assert model.trainer.names() == ["loss", "mae"]
        assert type(model.evaluate(np.ones((2, 2)), np.ones((2, 1)), 2, 0)) is list


def test_predictions_have_a_bar_since_tf_keras(capsys):
    for edition in (keras3, tf_keras):
        model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,))])
        model.predict(np.ones((2, 2)))
        assert "1/1" in capsys.readouterr().out
        model.predict(np.ones((2, 2)), verbose=0)
        assert capsys.readouterr().out == ""


def test_formats_of_files_are_named_or_refused(tmp_path):
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(2,))])
    model.save(tmp_path / "a.h5", True, "h5")
    model.save(tmp_path / "a.keras", save_format="keras")
    for options, text in (
        ({"save_format": "tf"}, "SavedModels"),
        ({"signatures": 1}, "signatures"),
        ({"options": 1}, "options"),
        ({"zipped": False}, "zipped"),
    ):
        with pytest.raises(UnsupportedError, match=text):
            model.save(tmp_path / "b.keras", **options)
    with pytest.raises(InputError, match="a path that ends in"):
        model.save(tmp_path / "b.keras", save_format="h5")
    with pytest.raises(UnsupportedError, match="max_shard_size"):
        model.save_weights(tmp_path / "b.weights.h5", max_shard_size=1.0)
    with pytest.raises(UnsupportedError, match="options"):
        model.load_weights(tmp_path / "a.h5", options=1)

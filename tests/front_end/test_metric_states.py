"""Metrics that keep a state: layers as Keras 2.2 has them, and subclasses of Metric.

The answers of `KERAS` were given by Keras 2.2.4 and 2.3.1; where 2.2.4 races, between the reading of a
variable and its update within an epoch, by the definition of the metric.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import metrics
from kcompile.keras.layers import Dense, Input, Layer
from kcompile.keras.metrics import Metric
from kcompile.keras.models import Model, Sequential, load_model
from kcompile.keras.settings import at_version
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError

GENERATOR = np.random.RandomState(0)
X = GENERATOR.rand(10, 3).astype("float32")
Y = (GENERATOR.rand(10, 1) > 0.4).astype("float32")


class Hits(Layer):
    """The number of samples that are 1 and said to be, as Keras 2.2 writes it."""

    def __init__(self, name: str = "hits", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.stateful = True
        self.hits = K.variable(0, dtype="int32")

    def reset_states(self) -> None:
        K.set_value(self.hits, 0)

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = K.cast(y_true, "int32"), K.cast(K.round(y_pred), "int32")
        new = K.sum(K.cast(K.equal(y_pred, y_true), "int32") * y_true)
        before = self.hits * 1
        self.add_update(K.update_add(self.hits, new), inputs=[y_true, y_pred])
        return before + new


class Share(Metric):
    """The share of such samples among all, as Keras 2.3 writes it: by updates that are returned."""

    def __init__(self, name: str = "share", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.hits = self.add_weight(name="hits", shape=(), initializer="zeros")
        self.seen = self.add_weight("seen", initializer="zeros")
        self.resets = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        new = K.cast(K.equal(y_true, K.round(y_pred)), "float32") * y_true
        if sample_weight is not None:
            new = new * K.reshape(sample_weight, (-1, 1))
        seen = K.cast(K.shape(y_true)[0], "float32")
        return [K.update_add(self.hits, K.sum(new)), K.update_add(self.seen, seen)]

    def result(self) -> Any:
        return self.hits / self.seen

    def reset_states(self) -> None:
        self.resets += 1
        super().reset_states()


class Sums(Metric):
    """The sums of labels and outputs, as Keras 3 writes it: variables are assigned to."""

    def __init__(self, name: str = "sums", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.sums = self.add_variable((2,), "zeros", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.sums.assign(self.sums + K.stack([K.sum(y_true), K.sum(y_pred)]))

    def result(self) -> Any:
        return self.sums


def model_of(vintage: str | None = None, **arguments: Any) -> Sequential:
    options = {} if vintage is None else {"vintage": vintage}
    model = Sequential(
        [Dense(1, activation="sigmoid", input_dim=3, kernel_initializer="ones", **options)], **options
    )
    model.compile("sgd", "binary_crossentropy", **arguments)
    return model


def forever(x: Any, y: Any) -> Any:
    while True:
        yield x, y


VALIDATION = {"validation_data": (X[:6], Y[:6]), "shuffle": False, "batch_size": 4, "verbose": 0}
# A history of two epochs, evaluate in batches of 3, three steps on a batch, a test on it, two epochs of
# three such steps.
KERAS = {
    "hits": ([8, 8], [4, 4], 8, [11, 14, 17], 20, [9, 9]),
    "share": ([0.8, 0.8], [2 / 3, 2 / 3], 0.8, [0.75] * 3, 0.75, [0.75, 0.75]),
}


@pytest.mark.parametrize("kind", [Hits, Share])
@pytest.mark.parametrize("version", ["2.2.4", "2.3.1"])
def test_a_state_goes_on_from_batch_to_batch_and_begins_anew_with_epochs_and_passes(
    kind: Any, version: str
) -> None:
    with at_version(version):
        metric = kind()
        model = model_of(metrics=["acc", metric])
    name = metric.name
    history, validated, whole, steps, tested, given = KERAS[name]
    assert model.metrics_names == ["loss", "acc", name]
    found = model.fit(X, Y, epochs=2, **VALIDATION).history
    assert found[name] == pytest.approx(history) and found[f"val_{name}"] == pytest.approx(validated)
    assert model.evaluate(X, Y, batch_size=3, verbose=0)[2] == pytest.approx(whole)
    assert [model.train_on_batch(X[:4], Y[:4])[2] for _ in range(3)] == pytest.approx(steps)
    assert model.test_on_batch(X[:4], Y[:4])[2] == pytest.approx(tested)
    batches = forever(X[:4], Y[:4])
    found = model.fit_generator(batches, steps_per_epoch=3, epochs=2, verbose=0).history
    assert found[name] == pytest.approx(given)


def test_values_of_batches_and_resets_are_those_of_keras() -> None:
    metric, seen = Share(), []
    model = model_of(metrics=[metric])

    class Listener(keras3.callbacks.Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(logs["share"])

    model.fit(X, Y, epochs=2, callbacks=[Listener()], **VALIDATION)
    assert seen == pytest.approx([0.75, 0.75, 0.8] * 2)
    assert metric.resets == 4  # before each epoch and each validation
    model.evaluate(X, Y, verbose=0)
    assert metric.resets == 5 and metric.get_weights() == [8.0, 10.0]
    model.train_on_batch(X[:4], Y[:4], reset_metrics=False)
    assert model.train_on_batch(X[4:], Y[4:], reset_metrics=False)[1] == pytest.approx(0.8)
    assert metric.get_weights() == [8.0, 10.0]
    model.reset_metrics()
    assert metric.get_weights() == [0.0, 0.0]


def test_weights_of_samples_are_given_to_weighted_metrics() -> None:
    model = model_of(metrics=[Share()], weighted_metrics=[Share("weighted")])
    assert model.evaluate(X, Y, 4, verbose=0, sample_weight=np.arange(10.0))[1:] == pytest.approx([0.8, 4.1])
    with pytest.raises(UnsupportedError, match=r"weighted_metrics.*Hits"):
        model_of(weighted_metrics=[Hits()])


def test_masks_are_weights_of_states_but_in_keras_3() -> None:
    class Weights(Metric):
        def __init__(self) -> None:
            super().__init__("weights")
            self.sum = self.add_weight("sum")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.sum.assign_add(-1.0 if sample_weight is None else K.sum(sample_weight))

        def result(self) -> Any:
            return self.sum

    x = np.ones((4, 3, 2), "float32")
    x[1:, 2] = 0
    found = {}
    for edition in (None, tf_keras, keras3):
        home = keras3 if edition is keras3 else tf_keras if edition is tf_keras else None
        layers = home.layers if home else __import__("kcompile.keras.layers", fromlist=["Masking"])
        models = home if home else __import__("kcompile.keras.models", fromlist=["Sequential"])
        first = {"input_shape": (3, 2)}
        model = models.Sequential([layers.Masking(**first), layers.TimeDistributed(layers.Dense(1))])
        model.compile("sgd", "mse", metrics=[Weights()])
        found[home and home.__version__] = model.evaluate(x, x[..., :1], verbose=0)[1]
    assert list(found.values()) == [9.0, 9.0, -1.0]


def test_each_of_several_outputs_has_a_state_of_its_own() -> None:
    x = Input((3,))
    outputs = [Dense(1, activation="sigmoid", kernel_initializer="ones", name=n)(x) for n in "ab"]
    model = Model(x, outputs)
    given = Share()
    model.compile("sgd", "mse", metrics=[given])
    values = dict(zip(model.metrics_names, model.evaluate(X, [Y, 1 - Y], 4, verbose=0)))
    assert values["a_share"] == pytest.approx(0.8) and values["b_share"] == pytest.approx(0.2)
    assert given.get_weights() == [0.0, 0.0]  # as Keras does, each output has a copy
    model.compile("sgd", "mse", metrics={"b": given})
    model.evaluate(X, [Y, 1 - Y], 4, verbose=0)
    assert given.get_weights() == pytest.approx([2.0, 10.0])


def test_a_result_may_be_an_array_or_a_dict(capsys: pytest.CaptureFixture[str]) -> None:
    class Both(Sums):
        def result(self) -> Any:
            return {"labels": self.sums[0], "outputs": self.sums[1]}

    model = model_of(metrics=[Sums(), Both()], vintage="keras3")
    expected = [Y.sum(), model.predict(X).sum()]
    assert model.trainer.names() == ["loss", "sums", "labels", "outputs"]
    found = model.evaluate(X, Y, batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["sums"], expected, rtol=1e-6)
    np.testing.assert_allclose([found["labels"], found["outputs"]], expected, rtol=1e-6)
    history = model.fit(X, Y, batch_size=5, epochs=2, verbose=2).history
    assert np.shape(history["sums"]) == (2, 2)
    assert f"sums: {np.mean(history['sums'][0]):.4f}" in capsys.readouterr().out


def test_the_interpreter_gives_the_same() -> None:
    results = []
    for engine in (None, InterpreterEngine):
        model = model_of(metrics=[Hits(), Share(), Sums()])
        if engine is not None:
            model.use_engine(engine(model))
        history = model.fit(X, Y, epochs=2, **VALIDATION).history
        results.append({key: np.asarray(value, float) for key, value in history.items()})
    assert results[0].keys() == results[1].keys()
    for key, value in results[0].items():
        np.testing.assert_allclose(value, results[1][key], rtol=1e-5)


def test_on_arrays_a_metric_counts_at_once_in_eager_editions_and_by_updates_in_keras_2() -> None:
    metric = Share()
    updates = metric.update_state(Y, Y)
    assert metric.get_weights() == [0.0, 0.0]
    for update in updates:
        K.eval(update)
    assert K.eval(metric.result()) == pytest.approx(0.8)

    class Newer(keras3.metrics.Metric):
        def __init__(self) -> None:
            super().__init__()
            self.total = self.add_weight(shape=(), initializer="zeros", name="total")

        def update_state(self, values: Any, sign: float = 1.0) -> None:
            self.total.assign_add(K.sum(values) * sign)

        def result(self) -> Any:
            return self.total

    metric = Newer()
    assert metric.name == "newer" and metric.update_state([1.0, 2.0]) is None
    before = metric.result()
    assert float(metric(np.array([[4.0]]), sign=-1.0)) == -1.0 and float(before) == 3.0
    metric.reset_state()
    assert float(metric.result()) == 0.0

    mean = keras3.metrics.Mean()
    mean.update_state([1, 2, 3, 4])
    assert float(mean.result()) == 2.5
    assert float(mean([1.0, 0.0], sample_weight=[2.0, 3.0])) == pytest.approx(12 / 9)
    assert float(metrics.Mean().result()) == 0.0
    error = tf_keras.metrics.MeanSquaredError()
    assert float(error([1.0, 2.0], [2.0, 2.0])) == 0.5 and float(error([0.0], [0.0])) == 0.25


def test_metrics_are_copied_pickled_and_saved_with_a_model(tmp_path: Any) -> None:
    model = model_of(metrics=["acc", Hits(), Share()])
    model.evaluate(X, Y, verbose=0)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again.evaluate(X, Y, 4, verbose=0)[2:] == pytest.approx([8, 0.8])
    custom = {"Hits": Hits, "Share": Share}
    for name in ("m.h5", "m.keras"):
        model.save(str(tmp_path / name))
        read = load_model(str(tmp_path / name), custom_objects=custom)
        assert read.evaluate(X, Y, 4, verbose=0)[2:] == pytest.approx([8, 0.8]), name


def test_what_is_no_metric_is_told() -> None:
    with pytest.raises(InputTypeError, match="color"):
        Share(color="red")
    with pytest.raises(NotImplementedError, match="update_state"):
        model_of(metrics=[Metric("none")]).evaluate(X, Y, verbose=0)

    class Wrong(Share):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return "sum"

    with pytest.raises(ModelError, match=r"results of K\.update"):
        model_of(metrics=[Wrong()]).evaluate(X, Y, verbose=0)

    class Long(Share):
        def result(self) -> Any:
            return K.ones_like(self.hits) + self.batch

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.batch = y_pred

    with pytest.raises(ModelError, match="sizes that are known"):
        model_of(metrics=[Long()]).evaluate(X, Y, verbose=0)


def test_functions_of_a_given_state_leave_the_metrics_own() -> None:
    metric, other = keras3.metrics.MeanSquaredError(), keras3.metrics.MeanSquaredError()
    y, p = np.zeros((4, 1), "float32"), np.full((4, 1), 2.0, "float32")
    metric.update_state(y, p)
    state = metric.stateless_update_state(metric.stateless_reset_state(), y, p / 2)
    assert float(metric.stateless_result(state)) == 1 and float(metric.result()) == 4
    other.update_state(y, p / 2)
    metric.merge_state([other])
    assert float(metric.result()) == 2.5


def test_overlaps_of_pictures_are_counted_by_their_pixels() -> None:
    """Values of tf_keras 2.21."""
    y = np.arange(16).reshape(2, 2, 2, 2) % 3 % 2
    scores = np.linspace(0, 1, 16, dtype="float32").reshape(2, 2, 2, 2)
    binary = keras3.metrics.BinaryIoU([0, 1], threshold=0.4)
    binary.update_state(y, scores)
    found = [float(binary.result())]
    mean = keras3.metrics.OneHotMeanIoU(2, axis=1)
    mean.update_state(np.eye(2, dtype="float32")[y[..., 0]].transpose(0, 3, 1, 2), scores)
    np.testing.assert_allclose([*found, float(mean.result())], [0.278846, 0.125000], rtol=1e-5)


def test_class_numbers_may_be_sorted_already() -> None:
    metric = keras3.metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)
    metric.update_state(np.array([1, 0]), np.array([[2, 1, 0], [1, 2, 0]]))
    assert float(metric.result()) == 0.5


def test_results_of_a_pass_are_those_of_the_metrics() -> None:
    """In Keras 3: after fit, evaluate and single batches, until they begin anew."""
    rng = np.random.RandomState(0)
    x, y = rng.rand(24, 4).astype("float32"), rng.randint(0, 3, 24)
    model = keras3.Sequential([keras3.Input((4,)), keras3.layers.Dense(3, activation="softmax")])
    top = keras3.metrics.SparseTopKCategoricalAccuracy(k=2, name="top")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", top])
    model.fit(x, y, validation_data=(x[:6], y[:6]), verbose=0)
    last = {name: values[-1] for name, values in model.history.history.items()}
    found = model.get_metrics_result()
    assert {name: float(v) for name, v in found.items()} == pytest.approx(
        {name: last[f"val_{name}"] for name in ("loss", "accuracy", "top")}
    )
    for told in (
        model.evaluate(x, y, return_dict=True, verbose=0),
        model.train_on_batch(x, y, return_dict=True),
    ):
        assert {name: float(v) for name, v in model.get_metrics_result().items()} == pytest.approx(told)
    assert len(model.metrics_variables) == 6
    model.reset_metrics()
    assert set(map(float, model.get_metrics_result().values())) == {0.0}

"""Live Keras 3 models on JAX with steps of their own, traced whole: losses and weights are those of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile_runtime.errors import ModelError, UnsupportedError

keras = pytest.importorskip("keras")
jax = pytest.importorskip("jax")
if keras.backend.backend() != "jax":
    pytest.skip("steps are traced where Keras runs on JAX", allow_module_level=True)
layers, ops = keras.layers, keras.ops
RNG = np.random.RandomState(0)
X, Y = RNG.rand(24, 5).astype("float32"), RNG.rand(24, 2).astype("float32")


class OwnLoss(keras.Model):
    """compute_loss and compute_metrics of its own, beside what layers add."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.distance = keras.metrics.Mean(name="distance")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: Any = True,
    ) -> Any:
        loss = ops.mean(ops.square(y - y_pred)) + 0.1 * ops.mean(ops.abs(y_pred - ops.mean(x)))
        return loss + sum(self.losses)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.distance.update_state(ops.abs(y - y_pred))
        return super().compute_metrics(x, y, y_pred, sample_weight)


class OwnStep(keras.Model):
    """The stateless step of the guide of Keras on JAX."""

    def compute_loss_and_updates(
        self, trainable_variables: Any, non_trainable_variables: Any, x: Any, y: Any, training: bool = False
    ) -> Any:
        y_pred, non_trainable_variables = self.stateless_call(
            trainable_variables, non_trainable_variables, x, training=training
        )
        loss = ops.mean(ops.abs(y - y_pred) ** 1.5)
        return loss, (y_pred, non_trainable_variables)

    def train_step(self, state: Any, data: Any) -> Any:
        trainable_variables, non_trainable_variables, optimizer_variables, metrics_variables = state
        x, y = data
        grad_fn = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (loss, (_, non_trainable_variables)), grads = grad_fn(
            trainable_variables, non_trainable_variables, x, y, training=True
        )
        trainable_variables, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables, grads, trainable_variables
        )
        return {"loss": loss}, (
            trainable_variables,
            non_trainable_variables,
            optimizer_variables,
            metrics_variables,
        )


def functional(kind: Any, optimizer: Any = None, seed: int = 1) -> Any:
    keras.utils.set_random_seed(seed)
    start = keras.Input((5,))
    x = layers.Dense(6, activation="tanh", kernel_regularizer="l2")(start)
    x = layers.BatchNormalization()(x)
    model = kind(start, layers.Dense(2)(layers.ActivityRegularization(l2=0.01)(x)))
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("kind", [OwnLoss, OwnStep])
def test_training_is_that_of_keras(kind: Any) -> None:
    found, right = functional(kind), functional(kind)
    compiled = kcompile.compile(found)
    assert compiled.way == "tracing"
    options: dict[str, Any] = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    mine = compiled.fit(X, Y, **options).history
    theirs = right.fit(X, Y, **options).history
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=1e-4, err_msg=name)
    for a, b in zip(found.variables, right.variables):  # the live model has what was trained
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-3, atol=1e-5, err_msg=a.path)
    for a, b in zip(found.optimizer.variables, right.optimizer.variables):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-3, atol=1e-5, err_msg=a.path)
    np.testing.assert_allclose(compiled.predict(X), right.predict(X, verbose=0), rtol=1e-3, atol=1e-5)
    # Both go on alike: ours after Keras, with another learning rate
    for model in (found, right):
        model.fit(X, Y, **options)
        model.optimizer.learning_rate = 0.02
    mine, theirs = compiled.fit(X, Y, **options).history, right.fit(X, Y, **options).history
    np.testing.assert_allclose(mine["loss"], theirs["loss"], rtol=1e-4)
    if kind is OwnLoss:
        mine = compiled.evaluate(X, Y, verbose=0, return_dict=True)
        theirs = right.evaluate(X, Y, verbose=0, return_dict=True)
        assert mine.keys() == theirs.keys()
        np.testing.assert_allclose([mine[k] for k in theirs], list(theirs.values()), rtol=1e-4)


def test_gradients_of_jax_through_convolutions_pools_and_recurrence() -> None:
    """The programs of JAX's gradients: of strided, depthwise and transposed convolutions, pools, an LSTM."""
    x = RNG.rand(16, 8, 8, 2).astype("float32")
    y = RNG.rand(16, 2).astype("float32")

    def made() -> Any:
        keras.utils.set_random_seed(2)
        start = keras.Input((8, 8, 2))
        h = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(start)
        h = layers.DepthwiseConv2D(3, padding="same")(layers.MaxPooling2D(2)(h))
        h = layers.Conv2DTranspose(3, 3, strides=2, padding="same")(h)
        h = layers.LSTM(3)(layers.Reshape((4, 12))(layers.AveragePooling2D(2, strides=1, padding="same")(h)))
        model = OwnLoss(start, layers.Dense(2, activation="softmax")(layers.LayerNormalization()(h)))
        model.compile(keras.optimizers.SGD(0.5), loss="mse", metrics=["categorical_accuracy"])
        return model

    found, right = made(), made()
    options: dict[str, Any] = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    mine, theirs = kcompile.compile(found).fit(x, y, **options).history, right.fit(x, y, **options).history
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=1e-4, err_msg=name)
    for a, b in zip(found.variables, right.variables):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-3, atol=1e-5, err_msg=a.path)


def test_what_is_compiled_anew_is_told() -> None:
    model = functional(OwnLoss)
    compiled = kcompile.compile(model)
    compiled.fit(X, Y, verbose=0)
    model.compile("sgd", "mse")
    with pytest.raises(ModelError, match=r"kcompile\.compile again"):
        compiled.fit(X, Y, verbose=0)


def test_a_predict_step_of_its_own_is_refused() -> None:
    class OwnPredict(keras.Model):
        def predict_step(self, state: Any, data: Any) -> Any:
            return data, state

    with pytest.raises(UnsupportedError, match="predict_step"):
        kcompile.compile(functional(OwnPredict))


@keras.saving.register_keras_serializable(package="tests")
class Near(keras.metrics.Metric):
    """The share of the values that are as near as that, by weights of samples."""

    def __init__(self, limit: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.limit = limit
        self.hits, self.seen = (
            self.add_weight(name=n, shape=(), initializer="zeros") for n in ("hits", "seen")
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        near = ops.cast(ops.abs(y_true - y_pred) < self.limit, "float32")
        if sample_weight is not None:
            near = near * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        self.hits.assign_add(ops.sum(near))
        self.seen.assign_add(ops.cast(ops.size(y_true), "float32"))

    def result(self) -> Any:
        return self.hits / self.seen


def test_metrics_of_classes_of_ones_own() -> None:
    """They count, and are told in the order, as in Keras: by its steps, traced."""
    made = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([layers.Input((5,)), layers.Dense(4, activation="relu"), layers.Dense(2)])
        model.compile(
            keras.optimizers.Adam(0.01), "mse", metrics=["mse", Near(name="near")], weighted_metrics=["mae"]
        )
        made.append(model)
    ours, theirs = kcompile.compile(made[0]), made[1]
    assert ours.way == "tracing"
    given: dict[str, Any] = {"batch_size": 7, "verbose": 0}
    weights = RNG.rand(24)
    for w in (weights, None):
        np.testing.assert_allclose(
            ours.evaluate(X, Y, sample_weight=w, **given),
            theirs.evaluate(X, Y, sample_weight=w, **given),
            1e-5,
        )
    options: dict[str, Any] = {"epochs": 2, "shuffle": False, "validation_data": (X, Y), **given}
    found = ours.fit(X, Y, sample_weight=weights, **options).history
    right = theirs.fit(X, Y, sample_weight=weights, **options).history
    assert found.keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_allclose(found[name], values, 1e-5, err_msg=name)

"""Optimizers of a script's own as tf.keras asks for them; the scale of LossScaleOptimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile_runtime.errors import ModelError

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = X[:, :2] * 0.5 + 1
base: Any = tf_keras.optimizers.Optimizer


class Heavy(base):
    """SGD with momentum."""

    def __init__(self, learning_rate: Any = 0.1, factor: float = 0.9, name: str = "Heavy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.factor = factor

    def build(self, var_list: Any) -> None:
        super().build(var_list)
        if hasattr(self, "_built") and self._built:
            return
        self.moments = [
            self.add_variable_from_reference(model_variable=v, variable_name="m") for v in var_list
        ]
        self._built = True

    def update_step(self, gradient: Any, variable: Any) -> None:
        rate = tf_keras.backend.cast(self.learning_rate, variable.dtype)
        moment = self.moments[self._index_dict[self._var_key(variable)]]
        moment.assign(self.factor * moment + gradient)
        variable.assign_sub(rate * moment)

    def get_config(self) -> Any:
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate, "factor": self.factor}


def trained(optimizer: Any, keras: Any = tf_keras, **options: Any) -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")])
    model.compile(optimizer, "mse")
    return model.fit(X, Y, batch_size=2, shuffle=False, verbose=0, **options).history["loss"]


def test_update_step_of_tf_keras() -> None:
    optimizer = Heavy(0.1)
    found = trained(optimizer, epochs=3)
    np.testing.assert_allclose(found, [1.60293, 0.66868, 0.14323], atol=1e-5)  # tf_keras 2.21
    assert int(optimizer.iterations.numpy()) == 6
    again = Heavy.from_config(optimizer.get_config())
    assert again.factor == 0.9 and float(again.learning_rate.numpy()) == pytest.approx(0.1)


def test_a_schedule_gives_the_rate_of_the_step() -> None:
    schedule = tf_keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    same = tf_keras.optimizers.SGD(schedule, momentum=0.0)
    np.testing.assert_allclose(
        trained(Heavy(schedule, factor=0.0), epochs=2), trained(same, epochs=2), rtol=1e-5
    )


def test_a_class_that_says_no_rate() -> None:
    class Without(Heavy):
        def __init__(self) -> None:
            base.__init__(self, name="Without")
            self.factor = 0.5

    with pytest.raises(ModelError, match="_build_learning_rate"):
        trained(Without())


def test_the_scale_of_the_loss() -> None:
    """Keras 3.15."""
    optimizer = keras3.optimizers.LossScaleOptimizer(
        keras3.optimizers.SGD(0.1), initial_scale=8.0, dynamic_growth_steps=2
    )
    model = keras3.Sequential([keras3.Input((3,)), keras3.layers.Dense(2, kernel_initializer="ones")])
    model.compile(optimizer, "mse")
    scales = []
    for _ in range(5):
        model.train_on_batch(X, Y)
        scales.append(float(optimizer.dynamic_scale.numpy()))
    assert scales == [8.0, 16.0, 16.0, 32.0, 32.0]
    assert int(optimizer.step_counter.numpy()) == 1 and float(optimizer.scale_loss(2.0)) == 64.0

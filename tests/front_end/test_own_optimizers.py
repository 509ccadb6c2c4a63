"""Optimizers of a script's own, as Keras 3 asks for them: `update_step`, and `apply` over the gradients."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3
from kcompile_runtime.errors import ModelError

layers, ops, optimizers = keras3.layers, keras3.ops, keras3.optimizers
RANDOM = np.random.RandomState(0)
X, Y = RANDOM.rand(32, 3).astype("float32"), RANDOM.rand(32, 2).astype("float32")


class Momentum(optimizers.Optimizer):
    """SGD with a momentum, and the number of its steps in a variable of its own."""

    def __init__(self, learning_rate=0.1, momentum=0.9, name="own", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momenta = [self.add_variable_from_reference(v, name="momentum") for v in variables]
        self.seen = self.add_variable(shape=(), name="seen")

    def update_step(self, gradient, variable, learning_rate):
        m = self.momenta[self._get_variable_index(variable)]
        self.assign(m, m * self.momentum - gradient * ops.cast(learning_rate, variable.dtype))
        self.assign_add(variable, m)
        self.assign_add(self.seen, 1.0)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


class Centred(optimizers.SGD):
    """Gradients of matrices without their means."""

    def apply(self, grads, trainable_variables=None):
        made = [g - ops.mean(g, axis=0, keepdims=True) if len(g.shape) > 1 else g for g in grads]
        return super().apply(made, trainable_variables)


def model_of(optimizer):
    ones = {"kernel_initializer": "ones"}
    model = keras3.Sequential([keras3.Input((3,)), layers.Dense(4, "tanh", **ones), layers.Dense(2, **ones)])
    model.compile(optimizer, "mse")
    return model


def losses(model, epochs=3):
    return model.fit(X, Y, batch_size=16, epochs=epochs, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.1}, {"weight_decay": 0.01}], ids=str)
def test_update_step_is_the_step(options):
    rate = optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    model = model_of(Momentum(rate, **options))
    wanted = losses(model_of(optimizers.SGD(rate, momentum=0.9, **options)))
    np.testing.assert_allclose(losses(model), wanted, rtol=1e-5)
    assert float(model.optimizer.seen) == 6 * 4


def test_its_state_is_kept_in_files(tmp_path):
    model = model_of(Momentum(momentum=0.5))
    losses(model)
    model.save(tmp_path / "model.keras")
    found = keras3.models.load_model(tmp_path / "model.keras", custom_objects={"Momentum": Momentum})
    assert found.optimizer.momentum == 0.5 and int(found.optimizer.iterations) == 6
    np.testing.assert_allclose(losses(found), losses(model), rtol=1e-5)


def test_apply_has_its_say_about_gradients():
    found, plain = losses(model_of(Centred(0.1))), losses(model_of(optimizers.SGD(0.1)))
    assert not np.allclose(found, plain, rtol=1e-3)
    step = model_of(Centred(0.1))
    before = step.get_weights()
    losses(step, 1)
    moved = step.get_weights()[0] - before[0]
    np.testing.assert_allclose(moved.mean(0), 0, atol=1e-6)


def test_an_optimizer_needs_a_rate_and_knows_its_variables():
    with pytest.raises(TypeError, match="learning_rate"):
        optimizers.Optimizer(name="own")
    with pytest.raises(ModelError, match="built for"):
        Momentum()._get_variable_index(keras3.Variable(np.ones(2)))


def test_what_a_second_compile_leaves_out_is_that_of_the_first():
    model = model_of("sgd")
    model.compile(optimizers.SGD(0.0), "mse", metrics=["mae"])
    first = model.evaluate(X, Y, verbose=0)
    model.compile(optimizers.SGD(0.0))
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), first)

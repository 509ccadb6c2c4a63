"""A network of Keras on JAX, with all of Keras' own Python left out: one jitted function by XLA."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np

from benchmarks.models import Benchmark
from benchmarks.networks import NETWORKS, random_weights


def _model(benchmark: Benchmark) -> Any:
    model = NETWORKS[benchmark.network](keras)
    model.set_weights(random_weights(model))
    return model


def _state(model: Any) -> tuple[list[Any], list[Any]]:
    return [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]


def predictor(benchmark: Benchmark) -> Any:
    """x -> y"""
    model = _model(benchmark)
    state = _state(model)
    run = jax.jit(lambda state, x: model.stateless_call(*state, x, training=False)[0])
    return lambda x: np.asarray(run(state, x))


def trainer(benchmark: Benchmark) -> Any:
    """(x, labels) -> loss, after one step of Keras' Adam."""
    model, optimizer = _model(benchmark), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    def loss_of(trainable: Any, others: Any, x: Any, labels: Any) -> Any:
        y, others = model.stateless_call(trainable, others, x, training=True)
        return jnp.mean(jnp.square(y - labels)), others

    @jax.jit
    def step(state: Any, x: Any, labels: Any) -> Any:
        trainable, others, kept = state
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others, x, labels)
        trainable, kept = optimizer.stateless_apply(kept, gradients, trainable)
        return (trainable, others, kept), loss

    state: Any = (*_state(model), [v.value for v in optimizer.variables])

    def train(x: Any, labels: Any) -> float:
        nonlocal state
        state, loss = step(state, x, labels)
        return float(loss)

    return train

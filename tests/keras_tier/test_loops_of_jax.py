"""Loops of a script's own in the style of JAX: refused once, with what to write instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3 as keras
from kcompile_runtime.errors import UnsupportedError


def test_functions_that_jax_traces_are_refused_with_the_remedy() -> None:
    jax = pytest.importorskip("jax")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    x = np.ones((2, 3), np.float32)

    def loss(values: Any) -> Any:
        return jax.numpy.mean(model.stateless_call(values, [], x)[0])

    arrays = [np.asarray(v) for v in model.trainable_variables]
    assert jax.numpy.asarray(model.trainable_variables[0]).shape == (3, 1)
    for values in (arrays, model.trainable_variables):
        for function in (jax.jit(loss), jax.value_and_grad(loss)):
            with pytest.raises(UnsupportedError, match=r"train_step\(self, data\).*compile_jax"):
                function(values)

"""Products in bfloat16 as JAX makes them of operands that are cast to bfloat16, with sums of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile

keras = pytest.importorskip("keras")
jax = pytest.importorskip("jax")

pytestmark = pytest.mark.keras


def model() -> Any:
    """A live one, whose values between layers are of bfloat16 nowhere."""
    made = keras.Sequential(
        [
            keras.Input((9, 8, 6)),
            keras.layers.Conv2D(20, 3, strides=2, activation="relu", bias_initializer="normal"),
            keras.layers.Flatten(),
            keras.layers.Dense(12, activation="tanh", bias_initializer="normal"),
            keras.layers.Dense(4),
        ]
    )
    made.compile("sgd", "mse")
    return made


def in_bfloat16(weights: list[Any], x: Any) -> Any:
    half, single = jax.numpy.bfloat16, {"preferred_element_type": jax.numpy.float32}
    kernel, bias, *dense = weights
    y = jax.lax.conv_general_dilated(
        x.astype(half),
        kernel.astype(half),
        (2, 2),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        **single,
    )
    y = jax.nn.relu(y + bias).reshape(len(x), -1)
    for i, function in ((0, jax.numpy.tanh), (2, lambda v: v)):
        y = function(jax.numpy.dot(y.astype(half), dense[i].astype(half), **single) + dense[i + 1])
    return y


def test_predictions_of_a_live_model() -> None:
    live = model()
    x = np.random.default_rng(0).normal(size=(5, 9, 8, 6)).astype("float32")
    right = np.asarray(in_bfloat16([jax.numpy.asarray(w) for w in live.get_weights()], jax.numpy.asarray(x)))
    made = kcompile.compile(live, precision="bfloat16").predict(x)
    scale = np.abs(right).max()
    # Sums in another order may round an operand to its other neighbour
    np.testing.assert_allclose(made, right, atol=2.0**-9 * scale, rtol=0)
    assert np.abs(live.predict(x, verbose=0) - made).max() > 1e-4 * scale


def test_training_keeps_weights_of_float32() -> None:
    live = model()
    compiled = kcompile.compile(live, precision="bfloat16")
    x = np.random.default_rng(0).normal(size=(16, 9, 8, 6)).astype("float32")
    y = np.tanh(x[:, :4, 0, 0])
    losses = compiled.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for weight in live.get_weights():
        assert weight.dtype == np.float32
        assert weight.size < 20 or np.any(weight.view(np.uint32) & 0xFFFF)

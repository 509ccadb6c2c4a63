"""`Input(tensor=...)`: a model whose input is a tensor of K, as neural style transfer has it."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras
from kcompile.keras import backend as K
from kcompile_runtime.errors import InputTypeError, UnsupportedError


def test_gradients_by_an_image_that_a_network_sees() -> None:
    rng = np.random.RandomState(0)
    content, style = K.variable(rng.rand(1, 6, 6, 2)), K.variable(rng.rand(1, 6, 6, 2))
    image = K.placeholder((1, 6, 6, 2))
    start = keras.layers.Input(tensor=K.concatenate([content, style, image], axis=0))
    features = keras.layers.Conv2D(3, 3, activation="tanh", name="features")(start)
    model = keras.models.Model(start, keras.layers.GlobalAveragePooling2D()(features))
    seen = model.get_layer("features").output
    loss = K.sum(K.square(seen[2, :, :, :] - seen[0, :, :, :])) + K.sum(seen[1] * seen[2])
    step = K.function([image], [loss, *K.gradients(loss, image)])
    x = rng.rand(1, 6, 6, 2).astype("float32")
    _, gradient = step([x])
    direction = rng.randn(*x.shape).astype("float32")
    high, low = (float(step([x + s * direction])[0]) for s in (1e-2, -1e-2))
    assert (high - low) / 2e-2 == pytest.approx(float(np.sum(gradient * direction)), rel=1e-2)
    twin = keras.models.Model(model.inputs, seen)
    with pytest.raises(UnsupportedError, match="depends on a placeholder"):
        twin.predict(None, steps=1)


def test_a_variable_as_input() -> None:
    held = K.variable(np.ones((2, 3)))
    start = keras.layers.Input(tensor=held)
    out = keras.layers.Dense(2, kernel_initializer="ones")(start)
    assert start.shape == (2, 3)
    read = K.function([], [out])
    np.testing.assert_allclose(read([])[0], np.full((2, 2), 3.0))
    K.set_value(held, np.zeros((2, 3)))
    np.testing.assert_allclose(read([])[0], np.zeros((2, 2)))
    with pytest.raises(InputTypeError, match="input_tensor"):
        keras.layers.Input(tensor=3)

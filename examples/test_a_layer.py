"""Tests of a layer of your own, by hypothesis: `pytest examples/test_a_layer.py` (extra `testing`)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile import keras
from kcompile.keras import backend as K
from kcompile.testing import assert_agrees, assert_gradients, inputs_for


class Gate(keras.layers.Layer):
    """x * sigmoid(x w), with one learned row w."""

    def build(self, input_shape):
        self.w = self.add_weight(name="w", shape=(input_shape[-1],), initializer="normal")
        super().build(input_shape)

    def call(self, x):
        return x * K.sigmoid(x * self.w)


@settings(max_examples=5, deadline=None)
@given(data=st.data(), width=st.integers(1, 70), compiled_with=st.sampled_from(["sgd", "adam"]))
def test_gate(data, width, compiled_with):
    model = keras.Sequential([Gate(input_shape=(width,)), keras.layers.Dense(1)])
    model.compile(compiled_with, "mse")
    x = data.draw(inputs_for(model))
    assert_agrees(model, x)
    assert_gradients(model, x, x[0].sum(1, keepdims=True))

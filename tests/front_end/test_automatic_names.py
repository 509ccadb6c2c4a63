"""Automatic names go on after what makes others inside, as those of executed Keras 3 and tf_keras do."""

from __future__ import annotations

from typing import Any

import pytest

from kcompile import keras3, tf_keras

BOTH = pytest.mark.parametrize("keras", [tf_keras, keras3])


@BOTH
def test_layers_that_attention_makes(keras: Any) -> None:
    keras.backend.clear_session()
    layers = keras.layers
    attention, x = layers.MultiHeadAttention(2, 2), keras.Input((4, 3))
    assert layers.Dropout(0.1).name == "dropout"
    attention(x, x)
    names = [layers.Dropout(0.1).name, layers.Softmax().name, layers.EinsumDense("ab,bc->ac", 2).name]
    later = keras is keras3
    assert names == [f"dropout_{1 + later}", "softmax_1" if later else "softmax", "einsum_dense"]


@BOTH
def test_the_lookup_of_text_vectorization(keras: Any) -> None:
    keras.backend.clear_session()
    keras.layers.TextVectorization()
    assert keras.layers.StringLookup(vocabulary=["a"]).name == "string_lookup_1"


@BOTH
def test_optimizers(keras: Any) -> None:
    """Numbered in Keras 3; in tf.keras they have the name that the constructor of Keras' class has."""
    keras.backend.clear_session()
    make = keras.optimizers

    class Own(make.SGD):  # type: ignore[misc]
        pass

    first, second = make.Adam(), make.Adam()
    names = [first.name, second.name, make.get("adam").name, make.Adam(name="mine").name, Own().name]
    if keras is tf_keras:
        assert names == ["Adam", "Adam", "Adam", "mine", "SGD"]
        return
    assert names == ["adam", "adam_1", "adam_2", "mine", "own"]
    assert make.deserialize(make.serialize(second)).name == "adam_1"
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("adam", "mse")
    assert model.optimizer.name == "adam_3"
    keras.backend.clear_session()
    assert make.Adam().name == "adam"

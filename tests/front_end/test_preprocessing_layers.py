"""Layers that prepare data: hashes beside recorded answers of TensorFlow, state of `adapt`, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras import hashes
from kcompile_runtime.errors import ModelError, UnsupportedError

L = keras3.layers
# Of tf.strings.to_hash_bucket_fast and to_hash_bucket_strong with the key (133, 137), of 2**62 buckets
RECORDED = {
    "0": (1363911219970409023, 3811194907141297369),
    "123": (1389097997109478219, 2750855035396548436),
    "12345": (2715825699093921016, 1644766953199143810),
    "12345678": (3430003927990384362, 1592922254571014780),
    "123456789012345678": (704066306491908369, 3532372298948791141),
    "-9223372036854775808": (1493431938208774112, 2580724138282598084),
}


def test_hashes_are_those_of_tensorflow() -> None:
    for text, (fast, strong) in RECORDED.items():
        assert hashes.fingerprint(text.encode()) % 2**62 == fast
        assert hashes.keyed(text.encode(), (133, 137)) % 2**62 == strong
    assert hashes.crossed((1, 2, 3)) % 1000003 == 948881


def test_normalization_learns_from_batches_as_from_the_whole() -> None:
    data = np.random.default_rng(0).normal(3, 2, (60, 4)).astype("float32")
    whole, parts = L.Normalization(), L.Normalization()
    whole.adapt(data)
    parts.adapt([data[:7], data[7:30], data[30:]])
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=1e-6)
    np.testing.assert_allclose(np.std(whole(data), 0), 1, rtol=1e-4)


def test_layers_on_arrays_are_refused_behind_what_is_learned() -> None:
    x = keras3.Input((3,))
    with pytest.raises(UnsupportedError, match=r"has weights to train.*call them on the data"):
        keras3.Model(x, L.Hashing(3)(L.Dense(2)(x)))
    with pytest.raises(ModelError, match="dtype='string'"):
        L.StringLookup(vocabulary=["a"])(x)
    with pytest.raises(ModelError, match="Put StringLookup, TextVectorization or Hashing before it"):
        L.Dense(2)(keras3.Input((3,), dtype="string"))
    with pytest.raises(UnsupportedError, match="let the model give numbers"):
        keras3.Model(x, L.StringLookup(vocabulary=["a"], invert=True)(x))


def test_images_change_in_training_alone() -> None:
    x = np.random.default_rng(0).random((8, 5, 6, 3)).astype("float32")
    for layer in (L.RandomFlip(seed=1), L.RandomRotation(0.3), L.RandomContrast(0.5, (0, 1))):
        np.testing.assert_array_equal(layer(x, training=False), x)
        assert np.abs(layer(x, training=True) - x).max() > 0.01


def test_samples_of_a_batch_meet_in_compiled_models() -> None:
    x = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    inside = keras3.Sequential([keras3.Input((1, 1, 1)), L.MixUp(1.0), L.Flatten()])
    np.testing.assert_array_equal(inside.predict(x, verbose=0), x.reshape(5, 1))
    found = np.concatenate([inside(x, training=True) for _ in range(9)], 1)  # one may meet itself
    assert np.abs(found - x.reshape(5, 1)).max() > 0.01 and 0 <= found.min() <= found.max() <= 4


def test_boxes_are_as_many_as_they_may_be() -> None:
    given = {"boxes": np.ones((2, 3, 4)), "labels": np.array([[1, 2, 3], [4, 5, 6]])}
    images = np.zeros((2, 4, 4, 3), np.float32)
    for count, labels in ((2, [[1, 2], [4, 5]]), (4, [[1, 2, 3, -1], [4, 5, 6, -1]])):
        made = L.MaxNumBoundingBoxes(count)({"images": images, "bounding_boxes": given})["bounding_boxes"]
        assert made["labels"].tolist() == labels and made["boxes"].shape == (2, count, 4)
    with pytest.raises(UnsupportedError, match="Boxes and masks"):
        L.RandomFlip()({"images": images, "bounding_boxes": given})


def test_layers_of_other_libraries_say_what_to_use() -> None:
    with pytest.raises(UnsupportedError, match="save it as"):
        L.TFSMLayer("model")
    with pytest.raises(UnsupportedError, match="RandomZoom"):
        tf_keras.layers.RandomHeight(0.2)


def test_vectors_of_categories_are_of_the_whole_type_that_the_layer_is_given() -> None:
    """As Keras 3 and tf_keras give them; lookups give floats all the same."""
    layers, x = keras3.layers, keras3.Input((1,), dtype="int32")
    for mode in ("one_hot", "multi_hot", "count"):
        for layer in (
            layers.CategoryEncoding(4, output_mode=mode, dtype="int32"),
            layers.Discretization([1.0, 2.0], output_mode=mode, dtype="int32"),
            layers.Hashing(4, output_mode=mode, dtype="int32"),
        ):
            assert layer(np.array([[1], [3]])).dtype == "int32"
        assert layers.CategoryEncoding(4, output_mode=mode, dtype="int64")(x).dtype == "int64"
        assert layers.CategoryEncoding(4, output_mode=mode)(x).dtype == "float32"
        lookup = layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode=mode, dtype="int32")
        assert lookup(x).dtype == "float32"

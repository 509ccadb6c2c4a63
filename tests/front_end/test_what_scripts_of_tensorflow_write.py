"""What scripts of TensorFlow write around their models. The values are TensorFlow 2's."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.pipelines import Dataset
from kcompile.tensorflow import augmenting, names, places
from kcompile_runtime.errors import InputError, KcompileError

tf, image, math, random = names(""), names("image"), names("math"), names("random")
PICTURE = np.arange(24, dtype="float32").reshape(2, 4, 3) / 24


def sampled(numbered):
    """A model that takes of each sample [4, 4, 1] what is at places [3, 2] of its own."""

    class Sampled(tf_keras.layers.Layer):
        def call(self, inputs):
            pictures, at = inputs
            at = tf["cast"](at, "int32")
            rows, columns = at[..., 0], at[..., 1]
            if not numbered:
                return tf["gather_nd"](pictures, at, batch_dims=1)
            count = tf["shape"](pictures)[0]
            own = tf["tile"](tf["reshape"](tf["range"](0, count), (count, 1)), (1, 3))
            return tf["gather_nd"](pictures, tf["stack"]([own, rows, columns], 2))

    given = tf_keras.Input((4, 4, 1)), tf_keras.Input((3, 2))
    model = tf_keras.Model(given, Sampled()(given))
    model.use_engine(InterpreterEngine(model))
    return model


@pytest.mark.parametrize("numbered", [True, False])
def test_each_sample_is_read_at_places_of_its_own(numbered):
    pictures = np.arange(5 * 16, dtype="float32").reshape(5, 4, 4, 1)
    at = np.random.RandomState(0).randint(0, 4, (5, 3, 2))
    found = sampled(numbered).predict([pictures, at], verbose=0)
    expected = [[pictures[n, r, c] for r, c in rows] for n, rows in enumerate(at)]
    np.testing.assert_array_equal(found, expected)


def test_other_samples_are_read_where_their_number_is_known():
    class Backwards(tf_keras.layers.Layer):
        def call(self, x):
            count = tf["shape"](x)[0]
            numbers = tf["range"](0, count)
            return tf["gather_nd"](x, tf["stack"]([count - 1 - numbers, numbers * 0], 1))

    x = tf_keras.Input((4,))
    model = tf_keras.Model(x, Backwards()(x))
    for n in (5, 3):
        data = np.arange(4.0 * n).reshape(n, 4)
        np.testing.assert_array_equal(model.predict(data, verbose=0), data[::-1, 0])


def test_a_rate_may_hold_a_schedule_that_files_name():
    class After(keras3.optimizers.schedules.LearningRateSchedule):
        def __init__(self, after):
            self.after = after

        def __call__(self, step):
            return self.after(step) * 2.0

        def get_config(self):
            return {"after": keras3.saving.serialize_keras_object(self.after)}

        @classmethod
        def from_config(cls, config):
            return cls(keras3.saving.deserialize_keras_object(config["after"]))

    made = After.from_config(After(keras3.optimizers.schedules.CosineDecay(0.25, 20)).get_config())
    assert made.after.get_config()["initial_learning_rate"] == 0.25


def test_columns_of_texts_and_the_only_element():
    columns = {"name": np.array(["a", "bc"], dtype=object), "n": np.arange(2)}
    assert Dataset.from_tensor_slices(columns).batch(2).get_single_element()["name"].tolist() == ["a", "bc"]
    with pytest.raises(InputError, match="get_single_element"):
        Dataset.range(2).get_single_element()
    twice = Dataset.range(3).map(lambda x: tf["numpy_function"](lambda v: np.float32(v * 2), [x], "float32"))
    assert [v.numpy().item() for v in twice] == [0.0, 2.0, 4.0]
    pair = tf["py_function"](lambda a: [a.numpy() + 1, a.numpy() / 2], [np.ones(2)], ["int32", "float32"])
    assert [v.dtype.name for v in pair] == ["int32", "float32"]


def test_numbers_of_the_gamma_distribution_by_rows():
    assert random["gamma"]([3], [0.2, 0.5]).shape == (3, 2)
    assert random["gamma"](4, [[1.0], [2.0]], [1.0, 2.0, 3.0]).shape == (4, 2, 3)
    many = np.asarray(random["gamma"]([20000], 3.0, 2.0, seed=1))
    assert many.mean() == pytest.approx(1.5, abs=0.05) and many.dtype == np.float32


def test_first_values_by_the_names_of_tensorflow():
    assert np.asarray(tf["random_normal_initializer"](1.0, 0.0)((2,))).tolist() == [1.0, 1.0]
    assert np.asarray(tf["constant_initializer"]([1.0, 2.0])((2,))).tolist() == [1.0, 2.0]
    layer = tf_keras.layers.Dense(2, kernel_initializer=tf["random_uniform_initializer"](3.0, 3.0))
    layer.build((None, 1))
    assert layer.get_weights()[0].tolist() == [[3.0, 3.0]]


def test_pictures_by_chance():
    several = np.stack([PICTURE] * 40)
    flipped = np.asarray(image["random_flip_left_right"](several))
    turned = [np.array_equal(x, PICTURE[:, ::-1]) for x in flipped]
    assert 0 < sum(turned) < 40
    assert all(np.array_equal(x, PICTURE) for x, was in zip(flipped, turned) if not was)
    part = np.asarray(image["random_crop"](PICTURE, (2, 2, 3)))
    assert any(np.array_equal(part, PICTURE[:, k : k + 2]) for k in range(3))
    light = np.asarray(image["random_brightness"](PICTURE, 0.1)) - PICTURE
    assert np.ptp(light) < 1e-6 and abs(light).max() <= 0.1
    whole = image["adjust_brightness"]((PICTURE * 255).astype("uint8"), 0.5)
    assert whole.dtype == np.uint8 and whole.max() == 255
    for name, given in (
        ("random_contrast", (0.5, 1.5)),
        ("random_hue", (0.1,)),
        ("random_saturation", (0.5, 1.5)),
    ):
        assert image[name](PICTURE, *given).shape == PICTURE.shape
    assert image["resize_with_crop_or_pad"](PICTURE, 1, 7).shape == (1, 7, 3)
    with pytest.raises(InputError, match="pad_to_bounding_box"):
        augmenting.pad_to_bounding_box(PICTURE, 0, 0, 1, 4)
    with pytest.raises(InputError, match="random_crop"):
        augmenting.random_crop(PICTURE, (3, 2, 3))
    with pytest.raises(KcompileError, match="RandomFlip"):
        augmenting.FUNCTIONS["image.random_flip_up_down"](tf_keras.Input((4, 4, 3)))


def test_added_losses_of_samples_are_told_as_their_mean_and_train_as_their_sum():
    class Adding(tf_keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(2,), initializer="ones", trainable=True)

        def call(self, x):
            self.add_loss((x * self.w) ** 2)
            return x

    given = tf_keras.Input((2,))
    model = tf_keras.Model(given, Adding()(given))
    model.use_engine(InterpreterEngine(model))
    model.compile(tf_keras.optimizers.SGD(0.01))
    x = np.arange(8.0).reshape(4, 2) / 4
    history = model.fit(x, batch_size=2, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert history == pytest.approx([1.0753349, 0.8906480], rel=1e-5)
    assert model.get_weights()[0].tolist() == pytest.approx([0.8655047, 0.8030960], rel=1e-5)


def test_shapes_that_are_set_and_ways_of_resizing():
    part = tf["constant"]([[1.0]])
    part.set_shape([None, 1])
    assert image["resize"](PICTURE, (4, 4), image["ResizeMethod"].NEAREST_NEIGHBOR).shape == (4, 4, 3)


def test_counts_and_segments():
    assert np.asarray(math["bincount"]([1, 2, 2, 5])).tolist() == [0, 1, 2, 0, 0, 1]
    assert np.asarray(places.bincount([1, 2, 2, 5], [0.5, 1, 2, 3], 8, 5)).tolist() == [0, 0.5, 3, 0, 0]
    mean = math["unsorted_segment_mean"](np.arange(4.0), np.array([0, 0, 2, 2]), 3)
    assert np.asarray(mean).tolist() == [0.5, 0.0, 2.5]
    with pytest.raises(KcompileError, match="axis and binary_output"):
        places.bincount([1], axis=0)
    with pytest.raises(KcompileError, match="bad_indices_policy"):
        places.gather_nd(PICTURE, [[0]], bad_indices_policy="IGNORE")

"""`tf.data.Dataset` over numpy: what fit, evaluate and predict make of one, and what it refuses.

Its elements beside TensorFlow's: tests/keras_tier/test_pipelines_with_keras.py."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras.pipelines import Dataset, TensorSpec
from kcompile.tensorflow import names

X = np.random.RandomState(0).rand(10, 3).astype("float32")
Y = X.sum(1, keepdims=True)


def model_of(kind):
    model = kind.Sequential([kind.Input((3,)), kind.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("kind", [keras3, tf_keras])
def test_a_data_set_trains_as_its_arrays_do(kind):
    arrays, sets = model_of(kind), model_of(kind)
    sets.set_weights(arrays.get_weights())
    batches = Dataset.from_tensor_slices((X, Y)).batch(4)
    expected = arrays.fit(X, Y, 4, 2, verbose=0, shuffle=False, validation_data=(X, Y)).history
    # what a data set does not say, its end says
    unknown = batches.filter(lambda x, y: True)
    assert int(unknown.cardinality()) == -2 and len(batches) == 3
    found = sets.fit(unknown, epochs=2, verbose=0, validation_data=unknown).history
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(found["val_loss"], expected["val_loss"], rtol=1e-5)
    assert sets.evaluate(unknown, verbose=0) == pytest.approx(arrays.evaluate(X, Y, verbose=0))
    np.testing.assert_allclose(sets.predict(unknown, verbose=0), arrays.predict(X, verbose=0), rtol=1e-6)


def test_a_generator_without_steps_is_one_epoch():
    model = model_of(keras3)
    with pytest.warns(UserWarning, match="the data ended after 0"):
        history = model.fit(((X[:4], Y[:4]) for _ in range(3)), epochs=2, verbose=0)
    assert len(history.history["loss"]) == 1


def test_orders_follow_from_the_seed():
    def orders(**options):
        shuffled = Dataset.range(20).shuffle(6, **options)
        return [[int(v) for v in shuffled] for _ in range(2)]

    first, second = orders(seed=1)
    assert sorted(first) == sorted(second) == list(range(20)) and first != second
    assert orders(seed=1) == [first, second]
    assert len({tuple(order) for order in orders(seed=1, reshuffle_each_iteration=False)}) == 1
    assert all(value <= place + 5 for place, value in enumerate(first))  # from the next six


def test_a_data_set_tells_what_is_in_it():
    batches = Dataset.from_tensor_slices({"x": X, "y": Y[:, 0]}).batch(4)
    assert batches.element_spec == {
        "x": TensorSpec((None, 3), "float32"),
        "y": TensorSpec((None,), "float32"),
    }
    assert next(iter(batches))["x"].numpy().tolist() == X[:4].tolist()
    with pytest.raises(TypeError, match="infinite"):
        len(batches.repeat())
    with pytest.raises(AttributeError, match=r"tf\.data\.Dataset\.save is not supported\. Use numpy\.savez"):
        batches.save("x")
    with pytest.raises(ValueError, match="padded_batch"):
        list(Dataset.from_generator(lambda: iter([[1], [1, 2]])).batch(2))
    with pytest.raises(ValueError, match="as many rows"):
        Dataset.from_tensor_slices((X, Y[:3]))
    with pytest.raises(TypeError, match="a function"):
        batches.map(3)


def test_folders_and_series_are_refused_where_they_say_nothing(tmp_path):
    utils = keras3.utils
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_text("hello")
    texts = utils.text_dataset_from_directory(tmp_path, verbose=False, max_length=3)
    assert [(x.tolist(), y.tolist()) for x, y in texts] == [(["hel"], [0])]
    for wrong in ({"labels": "x"}, {"label_mode": "x"}, {"subset": "training"}, {"format": "grain"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            utils.text_dataset_from_directory(tmp_path, **wrong)
    with pytest.raises(ValueError, match="seed"):
        utils.image_dataset_from_directory(tmp_path, validation_split=0.5, subset="training")
    with pytest.raises(ValueError, match="no files"):
        utils.image_dataset_from_directory(tmp_path, verbose=False)
    with pytest.raises(ValueError, match="output_sequence_length"):
        utils.audio_dataset_from_directory(tmp_path)
    (tmp_path / "a" / "one.wav").write_bytes(names("audio")["encode_wav"](np.ones((3, 1)) / 2, 8000).numpy())
    sounds = utils.audio_dataset_from_directory(tmp_path, verbose=False, output_sequence_length=4)
    np.testing.assert_allclose(next(iter(sounds))[0].ravel(), [0.5, 0.5, 0.5, 0], atol=1e-4)
    with pytest.raises(ValueError, match="targets"):
        utils.timeseries_dataset_from_array(np.arange(20), np.arange(15), 2, start_index=3)
    with pytest.raises(ValueError, match="left_size or right_size"):
        utils.split_dataset(X)

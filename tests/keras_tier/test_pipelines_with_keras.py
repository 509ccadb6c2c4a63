"""`tf.data.Dataset` over numpy, and functions of keras.utils that make one, beside TensorFlow and Keras."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from kcompile import keras3
from kcompile.keras.pipelines import Dataset
from kcompile.keras.pipelines.elements import over

pytestmark = pytest.mark.keras
X, Y = np.arange(24.0).reshape(12, 2), np.arange(12)


def pairs(kind):
    return kind.from_tensor_slices((X, Y))


WAYS = {
    "batch": lambda D: pairs(D).batch(5),
    "drop_remainder": lambda D: pairs(D).batch(5, drop_remainder=True),
    "map": lambda D: pairs(D).map(lambda a, b: (a * 2, b + 1)).repeat(2).skip(3).take(9),
    "window": lambda D: D.range(20).window(5, 2, 3, True).flat_map(lambda w: w.batch(5)),
    "window with gaps": lambda D: D.range(20).window(4, shift=7).flat_map(lambda w: w.batch(4)),
    "interleave": lambda D: D.range(5).interleave(
        lambda v: D.from_tensors(v).repeat(6), cycle_length=2, block_length=4
    ),
    "filter": lambda D: D.range(10).filter(lambda v: v % 3 == 0),
    "take_while": lambda D: D.range(6).take_while(lambda v: v < 4),
    "enumerate": lambda D: D.range(1, 6).map(lambda n: n * 10).enumerate(2),
    "zip": lambda D: D.zip((D.range(3), D.range(10, 15))),
    "zip of arguments": lambda D: D.zip(D.range(3), D.range(10, 15)),
    "concatenate": lambda D: D.range(3).concatenate(D.range(2)),
    "shard": lambda D: D.range(10).shard(3, 1),
    "unbatch": lambda D: pairs(D).batch(4).unbatch().batch(3),
    "padded_batch": lambda D: D.from_generator(
        lambda: iter([[1, 2], [3]]), output_types="int32"
    ).padded_batch(2, padded_shapes=[None]),
    "dict": lambda D: D.from_tensor_slices({"a": [1, 2, 3], "b": [[1.0], [2.0], [3.0]]}).batch(2),
    "cache": lambda D: D.range(4).cache().repeat(2).prefetch(2),
}


def elements(dataset):
    """The elements of a data set of either kind, with their dtypes."""
    return [over(lambda a: (a.dtype.name, a.tolist()), found) for found in dataset.as_numpy_iterator()]


def test_elements_and_their_number_are_those_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    for name, way in WAYS.items():
        ours, theirs = way(Dataset), way(tf.data.Dataset)
        assert (name, elements(ours)) == (name, elements(theirs))
        assert (name, int(ours.cardinality())) == (name, int(theirs.cardinality()))


SERIES = (
    {"sequence_length": 5},
    {"sequence_length": 3, "sequence_stride": 2, "sampling_rate": 2, "batch_size": 4},
    {"sequence_length": 3, "start_index": 2, "end_index": 15, "batch_size": None},
    {"sequence_length": 4, "sequence_stride": 3, "batch_size": 2, "start_index": 3},
)


def test_windows_and_parts_are_those_of_keras():
    pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    series = np.arange(40.0).reshape(20, 2)
    for options in SERIES:
        for targets in (None, np.arange(20), series):
            made = [
                elements(kind.utils.timeseries_dataset_from_array(series, targets, **options))
                for kind in (keras3, keras)
            ]
            assert made[0] == made[1]
    ways = ({"left_size": 0.7}, {"right_size": 3}, {"left_size": 0.5, "right_size": 0.25, "shuffle": True})
    for data in (X, [X, Y], (X, Y)):
        for way in ways:
            made = [
                [elements(part) for part in kind.utils.split_dataset(data, seed=3, **way)]
                for kind in (keras3, keras)
            ]
            assert made[0] == made[1]


FOLDERS = (
    {},
    {"interpolation": "nearest", "label_mode": "categorical"},
    {"interpolation": "bicubic", "label_mode": "binary"},
    {"interpolation": "area"},
    {"interpolation": "lanczos3", "color_mode": "rgba"},
    {"interpolation": "lanczos5"},
    {"interpolation": "gaussian"},
    {"interpolation": "mitchellcubic"},
    {"crop_to_aspect_ratio": True},
    {"pad_to_aspect_ratio": True},
    {"labels": None, "data_format": "channels_first"},
    {"validation_split": 0.3, "subset": "validation"},
)


@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    numbers = np.random.RandomState(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(4):
            rows, columns = numbers.randint(5, 30, 2)
            pixels = numbers.randint(0, 256, (rows, columns, 3)).astype(np.uint8)
            image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_images_of_folders_are_those_of_keras(folder):
    pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    for options in FOLDERS:
        ours, theirs = (
            kind.utils.image_dataset_from_directory(
                folder, batch_size=3, image_size=(8, 16), shuffle=False, verbose=False, **options
            )
            for kind in (keras3, keras)
        )
        assert ours.class_names == theirs.class_names and list(ours.file_paths) == theirs.file_paths
        assert len(ours) == len(theirs)
        for mine, real in zip(ours.as_numpy_iterator(), theirs.as_numpy_iterator()):
            assert over(lambda a: a.dtype, mine) == over(lambda a: a.dtype, real)
            over(functools.partial(np.testing.assert_allclose, atol=2e-3, err_msg=str(options)), mine, real)
    for options in ({"seed": 3}, {"seed": 4, "validation_split": 0.3, "subset": "training"}):
        ours, theirs = (
            kind.utils.image_dataset_from_directory(folder, verbose=False, **options)
            for kind in (keras3, keras)
        )
        assert list(ours.file_paths) == theirs.file_paths

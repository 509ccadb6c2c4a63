"""Data as batches, as scripts of tf.keras and Keras 3 put them together, over numpy: `tf.data.Dataset`, and
the functions of keras.utils that make one.

`dataset`: the object and its methods; `gathering`: those that group elements, and choose among data sets.
`elements`: what such an object is made of. `folders`: of images, texts and sounds in folders; `sounds`: of
those in files. `series`: windows of time series; a data set in two parts. Loaded when it is asked for.
"""

from kcompile.keras.pipelines.dataset import AUTOTUNE, INFINITE, UNKNOWN, Dataset, Options
from kcompile.keras.pipelines.elements import TensorSpec
from kcompile.keras.pipelines.folders import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
)
from kcompile.keras.pipelines.series import split_dataset, timeseries_dataset_from_array

__all__ = [
    "AUTOTUNE",
    "INFINITE",
    "UNKNOWN",
    "Dataset",
    "Options",
    "TensorSpec",
    "audio_dataset_from_directory",
    "image_dataset_from_directory",
    "split_dataset",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
]

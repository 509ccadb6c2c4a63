"""Images before a network for ImageNet, and classes behind it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.keras import backend as K
from kcompile.keras.eager import EagerArray
from kcompile.keras.settings import checked_data_format, floatx
from kcompile.keras.utils.data_utils import get_file
from kcompile_runtime.errors import InputError, describe

__all__ = ["decode_predictions", "preprocess_input"]

CLASS_INDEX = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
MODES = ("caffe", "tf", "torch")
# The means and deviations of ImageNet's channels, in the order that the mode has
STATISTICS = {
    "caffe": ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Images [rows, columns, channels] or a batch, with values in [0, 255], as a network wants them.

    mode: "caffe", blue first and without the mean of ImageNet's channels; "tf", in [-1, 1]; "torch", in
    [0, 1] and then normalized by ImageNet's channels. An array of floats is changed in place, as Keras does;
    of a tensor there comes another.
    """
    data_format = checked_data_format(data_format)
    if mode not in MODES:
        raise InputError(
            describe("preprocess_input: mode", "one of " + ", ".join(map(repr, MODES)), repr(mode))
        )
    if isinstance(x, EagerArray):
        return preprocess_input(np.array(x), data_format, mode).view(type(x))
    if not isinstance(x, np.ndarray):
        return _of_tensor(x, data_format, mode)
    if not np.issubdtype(x.dtype, np.floating):
        x = x.astype(floatx())
    if mode == "tf":
        x /= 127.5
        x -= 1.0
        return x
    axis = x.ndim - (3 if data_format == "channels_first" else 1)
    if mode == "caffe":
        x = np.flip(x, axis)  # a view
    else:
        x /= 255.0
    mean, deviation = _statistics(mode, x.ndim, axis)
    x -= mean
    x /= deviation
    return x


def _of_tensor(x: Any, data_format: str, mode: str) -> Any:
    if mode == "tf":
        return x / 127.5 - 1.0
    rank = K.ndim(x)
    axis = rank - (3 if data_format == "channels_first" else 1)
    x = K.reverse(x, axis) if mode == "caffe" else x / 255.0
    mean, deviation = _statistics(mode, rank, axis)
    return (x - mean) / deviation


def _statistics(mode: str, rank: int, axis: int) -> list[np.ndarray]:
    """The means and deviations, with the channels at this axis."""
    shape = [3 if a == axis else 1 for a in range(rank)]
    return [np.array(values, "float32").reshape(shape) for values in STATISTICS[mode]]


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """For each row of probabilities [n, 1000], the largest: (class, description, probability)."""
    shape = np.shape(preds)
    if len(shape) != 2 or shape[1] != 1000:
        raise InputError(describe("decode_predictions", "probabilities (samples, 1000)", f"shape {shape}"))
    names = _class_names()
    return [
        [(*names[i], row[i]) for i in np.argsort(row)[-top:][::-1]] if top else []
        for row in np.asarray(preds)
    ]


@functools.lru_cache(maxsize=1)
def _class_names() -> list[tuple[str, str]]:
    """The classes of ImageNet, and what they are."""
    path = get_file(
        "imagenet_class_index.json",
        CLASS_INDEX,
        cache_subdir="models",
        file_hash="c2c37ea517e94d9795004a39431a14cb",
    )
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    return [tuple(found[str(i)]) for i in range(len(found))]


def of_mode(mode: str) -> Callable[..., Any]:
    """`preprocess_input` of a family of networks."""

    def preprocess_input(x: Any, data_format: str | None = None) -> Any:
        return globals()["preprocess_input"](x, data_format, mode)

    preprocess_input.__doc__ = f"Images with values in [0, 255] as these networks want them ({mode})."
    return preprocess_input

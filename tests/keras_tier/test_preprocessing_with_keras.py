"""Layers over images beside the real ones of Keras 3: sizes, and fixed transformations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile.ir.tensor import constant
from kcompile.keras.evaluation import computed

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras
R = np.random.default_rng(0)
X = (R.random((3, 9, 7, 3)) * 255).astype("float32")
COLUMN = R.uniform(0.2, 1.9, (3, 1)).astype("float32")
OTHER = R.uniform(-1, 1, (3, 1)).astype("float32")


def changed(layer: Any, **drawn: Any) -> np.ndarray:
    """What the layer makes of X with these numbers."""

    def make(graph: Any) -> Any:
        numbers = {name: constant(graph, v, v.dtype.name) for name, v in drawn.items()}
        return [layer.changed(constant(graph, X, "float32"), numbers)]

    return computed(make)[0]


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"])
def test_resizing(interpolation: str) -> None:
    for size, options in (
        ((4, 5), {}),
        ((13, 21), {"crop_to_aspect_ratio": True}),
        ((4, 5), {"antialias": True}),
        ((12, 5), {"pad_to_aspect_ratio": True, "fill_value": 7.0}),
    ):
        given = {"interpolation": interpolation, **options}
        ours, theirs = (k.layers.Resizing(*size, **given)(X) for k in (keras3, keras))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("fill", ["reflect", "wrap", "constant", "nearest"])
def test_fixed_movements(fill: str) -> None:
    given = {"fill_mode": fill, "fill_value": 3.0}
    zoom = {"height_zoom": COLUMN, "width_zoom": OTHER + 1.2}
    right = keras.layers.RandomZoom(0.9, 0.9, **given).transform_images(X, zoom)
    np.testing.assert_allclose(
        changed(keras3.layers.RandomZoom(0.9, 0.9, **given), **zoom), right, rtol=1e-4, atol=1e-2
    )
    moves = {"translations": np.concatenate([OTHER * 9, COLUMN * 5], 1)}
    right = keras.layers.RandomTranslation(0.9, 0.9, **given).transform_images(X, moves)
    ours = changed(keras3.layers.RandomTranslation(0.9, 0.9, **given), across=OTHER * 9, down=COLUMN * 5)
    np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-2)


def test_fixed_colours() -> None:
    four = COLUMN.reshape(3, 1, 1, 1)
    for name, ours, theirs in (
        ("RandomContrast", {"contrast_factor": four}, {"contrast_factor": four}),
        ("RandomBrightness", {"rgb_delta": four * 40}, {"rgb_delta": four * 40}),
        ("RandomHue", {"factor": four / 4}, {"factor": COLUMN[:, 0] / 4}),
        ("RandomSaturation", {"factor": four}, {"factor": COLUMN[:, 0]}),
        ("RandomSharpness", {"factor": four / 2}, {"factor": COLUMN[:, 0] / 2}),
        ("RandomColorDegeneration", {"factor": four / 2}, {"factor": four / 2}),
    ):
        right = getattr(keras.layers, name)(0.5).transform_images(X, theirs)
        made = changed(getattr(keras3.layers, name)(0.5), **ours)
        np.testing.assert_allclose(made, right, rtol=1e-4, atol=1e-2, err_msg=name)

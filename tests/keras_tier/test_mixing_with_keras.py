"""Layers that mix images, or move and spread their pixels, beside those of Keras 3, with the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3
from kcompile.ir.tensor import constant
from kcompile.keras.evaluation import computed

keras = pytest.importorskip("keras")
jax = pytest.importorskip("jax")
OURS, THEIRS = keras3.layers, keras.layers
R = np.random.default_rng(0)
X = (R.random((3, 9, 7, 3)) * 255).astype("float32")
CHOSEN = np.array([True, True, False])


def changed(layer: Any, x: np.ndarray, **drawn: Any) -> np.ndarray:
    """What the layer makes of images with these numbers."""

    def make(graph: Any) -> Any:
        numbers = {name: constant(graph, v, v.dtype.name) for name, v in drawn.items()}
        return [layer.changed(constant(graph, x, "float32"), numbers)]

    return computed(make)[0]


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_perspectives(interpolation: str) -> None:
    given: dict[str, Any] = {"interpolation": interpolation, "fill_value": 3.0}
    moves = R.uniform(-0.4, 0.4, (3, 4, 2)).astype("float32")
    start = np.tile(np.array([[[0.0, 0], [6, 0], [0, 8], [6, 8]]], "float32"), (3, 1, 1))
    right = THEIRS.RandomPerspective(**given).transform_images(
        X,
        {
            "apply_perspective": CHOSEN,
            "start_points": start,
            "end_points": start + start * moves,
            "input_shape": X.shape,
        },
    )
    drawn = {"moves": moves.reshape(3, 8), "chosen": CHOSEN.reshape(3, 1, 1, 1)}
    made = changed(OURS.RandomPerspective(**given), X, **drawn)
    np.testing.assert_allclose(made, right, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("fill", ["reflect", "wrap", "constant", "nearest", "mirror"])
def test_elastic_moves(fill: str) -> None:
    given: dict[str, Any] = {"fill_mode": fill, "fill_value": 3.0}
    x = (R.random((3, 40, 33, 3)) * 255).astype("float32")
    numbers = {"apply_transform": CHOSEN, "distortion_factor": np.float32(0.35)}
    right = THEIRS.RandomElasticTransform(**given).transform_images(
        x, {**numbers, "seed": keras.random.SeedGenerator(5)}
    )
    key = keras.src.random.seed_generator.draw_seed(keras.random.SeedGenerator(5))
    noise = np.asarray(jax.random.normal(key, (3, 40, 33), "float32"))[..., None]
    drawn = {"chosen": CHOSEN.reshape(3, 1, 1, 1), "scale": np.array([0.35], "float32"), "noise": noise}
    made = changed(OURS.RandomElasticTransform(**given), x, **drawn)
    np.testing.assert_allclose(made, right, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 16, 24, 3), {}),
        ((2, 19, 13, 1), {"tile_grid_size": (3, 2), "clip_limit": 2.0}),
        ((1, 9, 9, 2), {"tile_grid_size": (2, 4), "clip_limit": 0.0}),
        ((2, 16, 16, 3), {"value_range": (0, 1)}),
    ],
)
def test_contrast_tile_by_tile(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    name = "ContrastLimitedAdaptiveHistogramEqualization"
    x = (R.random(shape) ** 2 * options.get("value_range", (0, 255))[1]).astype("float32")
    made, right = (getattr(library, name)(**options)(x) for library in (OURS, THEIRS))
    np.testing.assert_allclose(made, right, rtol=1e-4, atol=1e-3)


def shares(library: Any, name: str, seed: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels that a layer makes of 400 samples, of two kinds in turn."""
    kinds = np.arange(400) % 2
    images = np.broadcast_to(kinds.reshape(-1, 1, 1, 1), (400, 6, 6, 1)).astype("float32")
    given = {"images": images, "labels": np.eye(2, dtype="float32")[kinds]}
    made = getattr(library, name)(seed=seed, **options)(given, training=True)
    return np.asarray(made["images"]), np.asarray(made["labels"])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixtures_are_of_the_same_distribution(alpha: float) -> None:
    (ours, labels), (theirs, _) = (shares(library, "MixUp", 3, alpha=alpha) for library in (OURS, THEIRS))
    np.testing.assert_allclose(labels[:, 1], ours[:, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    for found, right in zip(
        np.quantile(ours, [0.2, 0.4, 0.6, 0.8]), np.quantile(theirs, [0.2, 0.4, 0.6, 0.8])
    ):
        assert abs(found - right) < 0.12


def test_rectangles_are_of_the_same_sizes() -> None:
    found = []
    for library in (OURS, THEIRS):
        several = [shares(library, "CutMix", seed) for seed in range(12)]
        for images, labels in several:
            assert set(np.unique(images)) <= {0.0, 1.0}
            assert np.abs(images.mean((1, 2, 3)) - labels[:, 1]).max() < 0.35  # whole pixels
        found.append(np.mean([labels.max(1).mean() for _, labels in several]))
    assert abs(found[0] - found[1]) < 0.03


def test_pipelines_in_files_and_live_models(tmp_path: Path) -> None:
    inner = THEIRS.Pipeline([THEIRS.Dense(3), THEIRS.Dense(2)])
    model = keras.Sequential(
        [keras.Input((2,)), THEIRS.Pipeline([THEIRS.Rescaling(2.0), inner]), THEIRS.Dense(1)]
    )
    x = R.random((3, 2)).astype("float32")
    wanted = model.predict(x, verbose=0)
    for name in ("a.keras", "a.h5"):
        model.save(tmp_path / name)
        again = kcompile.load(tmp_path / name)
        np.testing.assert_allclose(again.predict(x), wanted, rtol=1e-5, atol=1e-6)
        again.save(tmp_path / f"ours_{name}")
        back = keras.models.load_model(tmp_path / f"ours_{name}", compile=False)
        np.testing.assert_allclose(back.predict(x, verbose=0), wanted, rtol=1e-5, atol=1e-6)
    compiled = kcompile.compile(model)
    assert compiled.way == "configuration"
    np.testing.assert_allclose(compiled.predict(x), wanted, rtol=1e-5, atol=1e-6)

"""Data sets beside those of Keras 3, from the same files."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from kcompile import keras3

sys.path.append(str(Path(__file__).resolve().parent.parent / "preprocessing"))
import fake_cache

theirs = pytest.importorskip("keras.datasets")


@pytest.mark.parametrize(
    "name, options",
    [
        ("mnist", {}),
        ("fashion_mnist", {}),
        ("imdb", {}),
        ("imdb", {"num_words": 30, "skip_top": 4, "maxlen": 20, "seed": 3, "start_char": None}),
        ("imdb", {"num_words": 20, "oov_char": None, "index_from": 0}),
        ("reuters", {}),
        ("reuters", {"num_words": 30, "maxlen": 20, "test_split": 0.5, "seed": 3}),
        ("boston_housing", {}),
        ("california_housing", {}),
        ("california_housing", {"version": "small", "test_split": 0.1, "seed": 1}),
        ("boston_housing", {"test_split": 0.5, "seed": 3}),
    ],
)
def test_data_sets(name, options, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    fake_cache.trust(monkeypatch)
    base = fake_cache.fill(tmp_path)

    def there(fname, origin, cache_subdir="datasets", **options):
        return str(tmp_path / cache_subdir / fname)

    monkeypatch.setattr(importlib.import_module(f"keras.src.datasets.{name}"), "get_file", there)
    assert base.is_dir()
    found = getattr(keras3.datasets, name).load_data(**options)
    expected = importlib.import_module(f"keras.datasets.{name}").load_data(**options)
    for ours, other in zip((a for pair in found for a in pair), (a for pair in expected for a in pair)):
        other = np.asarray(other)
        assert len(ours) == len(other) and ours.dtype == other.dtype
        assert (
            list(map(list, ours)) == list(map(list, other)) if ours.dtype == object else (ours == other).all()
        )

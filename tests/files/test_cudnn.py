"""Weights of layers of cuDNN, and of plain ones, each in the place of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile.keras import layers as L
from kcompile.keras.models import Sequential
from kcompile_runtime.errors import ModelError

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("f")


def net(*layers: Any) -> Any:
    model = Sequential([L.Input((5, 3)), *layers])
    rng = np.random.default_rng(1)
    for v in model.weights:
        v.assign(rng.normal(size=v.shape) * 0.5)
    return model


def plain(kind: str, **options: Any) -> Any:
    after = {"reset_after": True} if kind == "GRU" else {}
    return getattr(L, kind)(4, **{"recurrent_activation": "sigmoid", **after, **options})


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("to_plain", [False, True])
def test_either_reads_the_others_weights(kind: str, both_ways: bool, to_plain: bool, tmp_path: Path) -> None:
    around = L.Bidirectional if both_ways else (lambda layer: layer)
    models = [net(around(plain(kind))), net(around(getattr(L, f"CuDNN{kind}")(4)))]
    target, source = models if to_plain else models[::-1]
    source.save_weights(tmp_path / "w.h5")
    target.load_weights(tmp_path / "w.h5")
    np.testing.assert_allclose(target.predict(X), source.predict(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (lambda: plain("LSTM", recurrent_activation="hard_sigmoid"), "recurrent_activation='sigmoid'"),
        (lambda: L.LSTM(5), "shapes"),
        (lambda: L.GRU(4), "shapes"),
    ],
)
def test_what_would_mean_something_else_is_refused(layer: Any, text: str, tmp_path: Path) -> None:
    net(L.CuDNNLSTM(4)).save_weights(tmp_path / "w.h5")
    target = net(layer())
    before = target.get_weights()
    with pytest.raises(ModelError, match=text):
        target.load_weights(tmp_path / "w.h5")
    for a, b in zip(before, target.get_weights()):
        np.testing.assert_array_equal(a, b)

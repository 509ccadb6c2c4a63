"""Attention beside real Kerases: predictions, three steps of training, live models, and files over and back,
of calls with masks, named tensors and scores."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import as_list, close, trained

import kcompile
from kcompile.keras.models import load_model

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore::UserWarning")]
Q, V = (4, 6), (5, 6)  # steps and features of queries and values
CAUSAL = np.tril(np.ones((1, 4, 5), bool))


def masked(keras: Any, x: Any) -> Any:
    return keras.layers.Masking()(x)


# The outputs for a query, a value and a mask of [queries, values], by name
BOTH: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "masks": lambda keras, layers, q, v, m: layers.Attention(use_scale=True)(
        [masked(keras, q), masked(keras, v)], use_causal_mask=True
    ),
    "scores": lambda keras, layers, q, v, m: layers.Attention()([q, v, v], return_attention_scores=True),
    "additive": lambda keras, layers, q, v, m: layers.AdditiveAttention()(
        [masked(keras, q), masked(keras, v)]
    ),
    "masked heads": lambda keras, layers, q, v, m: layers.MultiHeadAttention(2, 3, activity_regularizer="l2")(
        masked(keras, q), masked(keras, v), use_causal_mask=True
    ),
    "key and mask": lambda keras, layers, q, v, m: layers.MultiHeadAttention(2, 3, output_shape=5)(
        q, v, key=layers.Dense(4)(v), attention_mask=m
    ),
    "scores of heads": lambda keras, layers, q, v, m: layers.MultiHeadAttention(2, 3)(
        q,
        value=v,
        return_attention_scores=True,  # masked ones have a mask there that no loss takes
    ),
    "equation": lambda keras, layers, q, v, m: layers.EinsumDense("abc,bd->acd", (6, 5), bias_axes="cd")(q),
}
KERAS3: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "an array": lambda keras, layers, q, v, m: layers.MultiHeadAttention(2, 3)(q, v, attention_mask=CAUSAL),
    "window and gate": lambda keras, layers, q, v, m: layers.MultiHeadAttention(
        2, 3, sliding_window=2, use_gate=True
    )(q, q, use_causal_mask=True),
    "groups": lambda keras, layers, q, v, m: layers.GroupQueryAttention(3, 4, 2, use_gate=True)(
        masked(keras, q), masked(keras, v), use_causal_mask=True
    ),
}
CASES = [*(("keras", name) for name in (*BOTH, *KERAS3)), *(("tf_keras", name) for name in BOTH)]


@pytest.mark.parametrize(("library", "name"), CASES)
def test_attention_is_that_of_keras(library: str, name: str, tmp_path: Path) -> None:
    keras = pytest.importorskip(library)
    made, rng = {**BOTH, **KERAS3}[name], np.random.default_rng(0)
    inputs = [keras.Input(Q), keras.Input(V), keras.Input((4, 5), dtype="bool")]
    live = keras.Model(inputs, made(keras, keras.layers, *inputs))
    live.set_weights([rng.uniform(-1, 1, w.shape).astype(np.float32) for w in live.get_weights()])
    live.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", **eager(library))
    x = [rng.normal(size=(7, *shape)).astype(np.float32) for shape in (Q, V)]
    x[0][2, 2:], x[1][3, :2] = 0, 0  # at the end, and at the start: queries that see nothing
    x.append(rng.random((7, 4, 5)) > 0.4)
    expected = as_list(live.predict_on_batch(x))
    y = [rng.normal(size=np.shape(a)).astype(np.float32) for a in expected]
    written = [tmp_path / "theirs.keras", tmp_path / "theirs.h5"]
    for path in written:
        live.save(path)
    models = [load_model(path) for path in written]
    for ours in (*models, kcompile.compile(live)):
        for a, b in zip(as_list(ours.predict_on_batch(x)), expected):
            close(a, b, 2e-5, name)
    for path in back(library, name, tmp_path):
        models[0].save(path)
        again = keras.models.load_model(path)
        for a, b in zip(as_list(again.predict_on_batch(x)), expected):
            close(a, b, 2e-5, path.name)
    losses, weights = trained(models[1], x, y, 3), models[1].get_weights()
    close(losses, own_losses(live, x, y), 2e-4, name)
    for a, b in zip(weights, live.get_weights()):
        close(a, b, 5e-4, name)


def eager(library: str) -> dict[str, bool]:
    """How it is run: tf_keras makes graphs slowly."""
    return {"run_eagerly": True} if library == "tf_keras" else {}


def back(library: str, name: str, folder: Path) -> list[Path]:
    """The files that the library can read of ours: tf_keras no .keras, Keras 3 no other names in .h5."""
    kinds = (".keras", ".h5") if library == "keras" else (".h5",)
    return [folder / f"ours{kind}" for kind in kinds if (name, kind) != ("an array", ".h5")]


def own_losses(live: Any, x: Any, y: Any) -> np.ndarray:
    """Of each batch alone."""
    found = []
    for _ in range(3):
        live.reset_metrics()
        found.append(np.ravel(live.train_on_batch(x, y))[0])
    return np.array(found)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_masks_go_on_as_in_keras(library: str) -> None:
    real = pytest.importorskip(library)
    ours = importlib.import_module({"keras": "kcompile.keras3", "tf_keras": "kcompile.tf_keras"}[library])
    found = []
    for keras in (real, ours):
        layers, q, v = keras.layers, keras.Input(Q), keras.Input(V)
        outputs = [
            layers.MultiHeadAttention(2, 3)(masked(keras, q), v),
            layers.MultiHeadAttention(2, 3)(q, masked(keras, v)),
            layers.Attention()([masked(keras, q), v]),
            layers.LayerNormalization()(masked(keras, q)),
            layers.UnitNormalization()(masked(keras, q)),
        ]
        found.append([getattr(y, "_keras_mask", None) is not None for y in outputs])
        if keras is ours:
            found[1] = [y.mask is not None for y in outputs]
    assert found[0] == found[1] == [True, False, True, True, True]

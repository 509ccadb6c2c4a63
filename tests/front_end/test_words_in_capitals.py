"""Words that Keras takes in capitals, and the names by which Keras 3 and tf.keras know metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile_runtime.errors import KcompileError

X = np.linspace(-1, 1, 8 * 8 * 3, dtype="float32").reshape(1, 8, 8, 3)


@pytest.mark.parametrize("edition", [keras, tf_keras, keras3], ids=lambda edition: edition.__name__)
def test_paddings_of_layers_are_kept_in_small_letters(edition: Any) -> None:
    layers = edition.layers
    made = [
        layers.Conv2D(2, 3, padding="SAME"),
        layers.MaxPooling2D(2, padding="Valid"),
        layers.Conv2DTranspose(2, 3, padding="SAME"),
        layers.Conv1D(2, 3, padding="CAUSAL"),
        layers.UpSampling2D(2, interpolation="BILINEAR"),
    ]
    found = [getattr(layer, "padding", None) or layer.interpolation for layer in made]
    assert found == ["same", "valid", "same", "causal", "bilinear"]
    with pytest.raises(KcompileError, match="padding"):
        layers.Conv2D(2, 3, padding="CAUSAL")


def test_paddings_of_functions() -> None:
    ops, kernel = keras3.ops, np.ones((3, 3, 3, 4), "float32")
    assert ops.conv(X, kernel, 1, "SAME").shape == (1, 8, 8, 4)
    assert ops.conv_transpose(X, np.ones((3, 3, 4, 3), "float32"), 2, "SAME").shape == (1, 16, 16, 4)
    assert ops.max_pool(X, 3, 2, "VALID").shape == (1, 3, 3, 3)
    assert ops.image.extract_patches(X, 2, padding="VALID").shape == (1, 4, 4, 12)


def reported(edition: Any, *metrics: Any) -> list[str]:
    model = edition.Sequential([edition.layers.Dense(1, activation="sigmoid", input_shape=(3,))])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "binary_crossentropy", metrics=list(metrics))
    return list(model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0).history)


def test_names_of_metrics() -> None:
    words = ["auc", "f1_score", "root_mean_squared_error", "precision", "ACC"]
    assert reported(keras3, *words) == sorted([*words, "loss"])
    keras.backend.clear_session()
    # An object that is made for a name takes one number
    assert reported(tf_keras, "AUC", "Precision", "mae") == ["loss", "auc", "precision", "mae"]
    assert reported(tf_keras, "AUC") == ["loss", "auc_1"]

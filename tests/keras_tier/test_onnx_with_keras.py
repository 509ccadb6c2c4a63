"""Live models of Keras as files of ONNX, computed by ONNX Runtime beside Keras itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kcompile

keras = pytest.importorskip("keras")
runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytestmark = pytest.mark.keras
L = keras.layers


def images() -> keras.Model:
    x = L.Input((16, 16, 3))
    y = L.Activation("swish")(L.BatchNormalization()(L.Conv2D(6, 3, strides=2, padding="same")(x)))
    y = L.Add()([y, L.SeparableConv2D(6, 3, padding="same")(y)])
    y = L.Conv2DTranspose(4, 3, strides=2, padding="same")(y)
    return keras.Model(x, L.Dense(5, activation="softmax")(L.GlobalAveragePooling2D()(y)))


def texts() -> keras.Model:
    x = L.Input((7,), dtype="int32")
    y = L.Embedding(11, 8, mask_zero=True)(x)
    y = L.LayerNormalization()(y + L.MultiHeadAttention(2, 4)(y, y))
    y = L.Bidirectional(L.LSTM(4, return_sequences=True))(y)
    return keras.Model(x, [L.GRU(3)(y), keras.ops.argmax(y, -1)])


@pytest.mark.parametrize("make", [images, texts])
def test_onnx_predicts_as_keras(make, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = make()
    path = kcompile.export(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(1)
    shape = (3, *model.inputs[0].shape[1:])
    x = generator.random(shape, np.float32) if make is images else generator.integers(0, 11, shape, np.int32)
    right = model(x)
    made = session.run(None, {session.get_inputs()[0].name: x})
    for got, expected in zip(made, right if isinstance(right, list) else [right], strict=True):
        assert_allclose(got, np.asarray(expected), 1e-4, 1e-5)

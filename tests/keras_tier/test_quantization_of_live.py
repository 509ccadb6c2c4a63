"""Live models of Keras 3 and tf_keras, and their files, predict with 8 bits near what Keras predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile

keras = pytest.importorskip("keras")


def network(k: Any) -> Any:
    image = k.Input((9, 9, 3))
    x = k.layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = k.layers.ReLU(max_value=6.0)(k.layers.BatchNormalization()(x))
    x = k.layers.Conv2D(8, 3, groups=2, activation="tanh")(k.layers.MaxPooling2D(2)(x))
    return k.Model(image, k.layers.Dense(4, name="last")(k.layers.Flatten()(x)))


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_live_model_and_its_file(package: str, tmp_path: Path) -> None:
    k = pytest.importorskip(package)
    x = np.random.default_rng(0).normal(size=(60, 9, 9, 3)).astype("float32")
    model = network(k)
    right = np.asarray(model(x))
    quantized = kcompile.quantize(model, x, verbose=0)
    assert [each.quantized for each in quantized.report.layers] == [True] * 3
    found = quantized.predict(x)
    np.testing.assert_allclose(found, right, atol=0.03 * np.abs(right).max())
    (row,) = quantized.report.accuracy.outputs
    assert row.largest == pytest.approx(np.abs(found - right).max() / np.abs(right).max(), rel=0.05)
    path = tmp_path / "model.keras"
    model.save(path)
    np.testing.assert_array_equal(kcompile.quantize(str(path), x, verbose=0).predict(x), found)
    model.set_weights([w * 0 for w in model.get_weights()])
    np.testing.assert_array_equal(quantized.predict(x), found)  # its weights are copies


def test_code_of_its_own() -> None:
    class Twice(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = keras.layers.Dense(6)

        def call(self, x: Any) -> Any:
            return keras.ops.sin(self.inner(keras.ops.tanh(self.inner(x))))

    if keras.backend.backend() != "jax":
        pytest.skip("code of its own is traced by JAX")
    x = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
    given = keras.Input((6,))
    model = keras.Model(given, keras.layers.Dense(2)(Twice()(given)))
    quantized = kcompile.quantize(model, x, verbose=0)
    assert quantized.report.layers[0].quantized and len(quantized.report.layers) == 3
    right = np.asarray(model(x))
    np.testing.assert_allclose(quantized.predict(x), right, atol=0.05 * np.abs(right).max())

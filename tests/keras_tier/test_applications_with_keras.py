"""Networks of keras.applications compute what those of tf_keras do with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import tf_keras as ours

NETWORKS = {
    "MobileNet": {"input_shape": (32, 32, 3), "alpha": 0.25},
    "MobileNetV2": {"input_shape": (33, 32, 3), "alpha": 0.35},
    "ResNet50": {"input_shape": (32, 33, 3)},
    "ResNet50V2": {"input_shape": (32, 32, 3)},
    "DenseNet121": {"input_shape": (32, 32, 3)},
    "Xception": {"input_shape": (71, 72, 3)},
    "InceptionV3": {"input_shape": (75, 75, 3)},
    "NASNetMobile": {"input_shape": (32, 32, 3)},
    "VGG16": {"input_shape": (32, 32, 3)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_what_tf_keras_computes(name: str) -> None:
    theirs: Any = pytest.importorskip("tf_keras")
    options = {**NETWORKS[name], "weights": None, "include_top": False, "pooling": "avg"}
    real, made = (getattr(keras.applications, name)(**options) for keras in (theirs, ours))
    assert [w.shape for w in made.get_weights()] == [w.shape for w in real.get_weights()]
    rng = np.random.default_rng(0)
    values = [np.abs(w) + rng.uniform(0, 0.1, w.shape).astype("f") for w in real.get_weights()]
    signs = [rng.choice([-1, 1], w.shape) if w.ndim > 1 else 1 for w in values]
    weights = [(w * s).astype("f") for w, s in zip(values, signs)]
    real.set_weights(weights)
    made.set_weights(weights)
    x = rng.normal(size=(2, *NETWORKS[name]["input_shape"])).astype("f")
    right = real.predict(x, verbose=0)
    np.testing.assert_allclose(made.predict(x), right, rtol=1e-3, atol=1e-3 * np.abs(right).max())

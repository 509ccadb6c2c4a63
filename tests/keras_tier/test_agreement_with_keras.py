"""`assert_agrees` with a live Keras model on either side."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.files.live import from_keras
from kcompile.testing import assert_agrees

keras = pytest.importorskip("keras")


def test_a_live_model_is_compiled_or_compared_with() -> None:
    live = keras.Sequential(
        [keras.layers.Input((5,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(3, name="last")]
    )
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    assert_agrees(live, x)
    assert_agrees(live, x, against=live)
    ours = from_keras(live)
    assert_agrees(ours, x, against=live)
    ours.set_weights([w + np.float32(0.01) for w in ours.get_weights()])
    with pytest.raises(AssertionError, match="output 'last': 18 of 18 elements differ"):
        assert_agrees(ours, x, against=live)

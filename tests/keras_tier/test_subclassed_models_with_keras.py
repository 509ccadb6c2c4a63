"""Models by subclassing trained beside those of live Kerases, from equal weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras

KERASES = {"keras": keras3, "tf_keras": tf_keras}
X = np.random.RandomState(0).rand(24, 6, 3).astype("float32")
Y = np.random.RandomState(1).rand(24, 2).astype("float32")


def classifier(edition: Any) -> Any:
    """The same code for both: a model inside, layers in a list, weights of its own, a penalty."""
    layers = edition.layers

    class Block(edition.Model):
        def __init__(self, units: int) -> None:
            super().__init__()
            # Not relu: where it is never 0, the bias before the norm has a gradient of rounding errors alone
            self.dense = layers.Dense(units, activation="tanh", kernel_regularizer="l2")
            self.norm = layers.BatchNormalization()

        def call(self, inputs: Any, training: Any = None) -> Any:
            return self.norm(self.dense(inputs), training=training)

    class Classifier(edition.Model):
        def __init__(self) -> None:
            super().__init__()
            self.mask = layers.Masking(0.0)
            self.recur = layers.LSTM(4)
            self.blocks = [Block(4), Block(4)]
            self.out = layers.Dense(2)

        def call(self, inputs: Any, training: Any = None) -> Any:
            x = self.recur(self.mask(inputs))
            for block in self.blocks:
                x = x + block(x, training=training)
            return self.out(x)

    return Classifier()


@pytest.mark.parametrize("name", list(KERASES))
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_losses_and_weights_after_training(name: str, optimizer: str) -> None:
    live, ours = classifier(pytest.importorskip(name)), classifier(KERASES[name])
    x = X.copy()
    x[::3, 4:] = 0
    live(x[:2])
    ours(x[:2])
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in live.get_weights()]
    ours.set_weights(live.get_weights())
    np.testing.assert_allclose(ours.predict(x), live.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    found = []
    for model in (live, ours):
        model.compile(optimizer, "mse", metrics=["mae"])
        found.append(model.fit(x, Y, batch_size=24, epochs=6, verbose=0).history)
    for key in found[0]:
        np.testing.assert_allclose(found[1][key], found[0][key], rtol=1e-4)
    for a, b in zip(ours.get_weights(), live.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        ours.evaluate(x, Y, verbose=0), live.evaluate(x, Y, verbose=0), rtol=1e-3, atol=1e-5
    )
    trained = [w.shape for w in live.trainable_weights]
    assert [tuple(w.shape) for w in ours.trainable_weights] == [tuple(shape) for shape in trained]


def test_weights_by_layer_are_theirs(tmp_path: Any) -> None:
    """tf.keras' .h5 has them by layer, as ours does; Keras 3 writes .weights.h5."""
    live, ours = classifier(pytest.importorskip("tf_keras")), classifier(tf_keras)
    live(X[:2])
    ours(X[:2])
    for layer, mine in zip(live.layers, ours.layers):
        mine.name = layer.name
    live.save_weights(str(tmp_path / "w.h5"))
    ours.load_weights(tmp_path / "w.h5")
    np.testing.assert_allclose(ours.predict(X), live.predict(X, verbose=0), rtol=1e-4, atol=1e-5)
    ours.save_weights(tmp_path / "ours.h5")
    live.load_weights(str(tmp_path / "ours.h5"))

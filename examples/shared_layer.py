"""Two inputs, one encoder that both share, two outputs with a loss of their own each.

Two noisy readings of the same curve, or of two curves: say whether they belong together, and what
the amplitude of the first is. Run: python examples/shared_layer.py
"""

import numpy as np

from kcompile.keras.layers import Concatenate, Dense, Input
from kcompile.keras.models import Model


def pairs(samples, rng):
    """Two readings (samples, 32) each, whether they are of one curve, the first's amplitude."""
    t = np.linspace(0, 2 * np.pi, 32)
    same = rng.integers(0, 2, samples)
    amplitude = rng.uniform(0.5, 2, samples)
    first = rng.integers(1, 5, samples)
    second = np.where(same, first, first % 4 + 1)

    def reading(frequency):
        curve = amplitude[:, None] * np.sin(frequency[:, None] * t)
        return (curve + rng.normal(0, 0.1, curve.shape)).astype("float32")

    return [reading(first), reading(second)], [same.astype("float32"), amplitude.astype("float32")]


def main(epochs=15):
    np.random.seed(1)
    rng = np.random.default_rng(1)
    reading_a = Input(shape=(32,), name="reading_a")
    reading_b = Input(shape=(32,), name="reading_b")
    encoder = Dense(64, activation="relu", name="encoder")  # one set of weights, two uses
    merged = Concatenate()([encoder(reading_a), encoder(reading_b)])
    hidden = Dense(64, activation="relu")(merged)
    same = Dense(1, activation="sigmoid", name="same")(hidden)
    amplitude = Dense(1, name="amplitude")(hidden)

    model = Model(inputs=[reading_a, reading_b], outputs=[same, amplitude])
    model.compile(
        optimizer="adam",
        loss={"same": "binary_crossentropy", "amplitude": "mse"},
        loss_weights={"same": 1.0, "amplitude": 0.5},
        metrics={"same": "accuracy"},
    )
    model.summary()
    x, y = pairs(2000, rng)
    model.fit(x, y, epochs=epochs, batch_size=32, validation_split=0.1, verbose=2)

    x_test, y_test = pairs(200, rng)
    said_same, said_amplitude = model.predict(x_test)
    accuracy = np.mean((said_same[:, 0] > 0.5) == y_test[0])
    error = np.mean(np.abs(said_amplitude[:, 0] - y_test[1]))
    print(f"same curve or not: {accuracy:.2f} right; amplitude: off by {error:.3f} on average")
    return accuracy


if __name__ == "__main__":
    main()

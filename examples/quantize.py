"""Train a network on handwritten digits, and let a copy of it predict with numbers of 8 bits.

Run: python examples/quantize.py
"""

import numpy as np

import kcompile
from kcompile.keras.datasets import digits
from kcompile.keras.layers import BatchNormalization, Conv2D, Dense, Flatten, MaxPooling2D
from kcompile.keras.models import Sequential


def network():
    return Sequential(
        [
            Conv2D(16, 3, padding="same", activation="relu", input_shape=(8, 8, 1)),
            BatchNormalization(),
            Conv2D(32, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dense(64, activation="relu"),
            Dense(10, activation="softmax", name="classes"),
        ]
    )


def main(epochs=10):
    np.random.seed(1)
    (x, y), (x_test, y_test) = digits.load_data()
    x, x_test = (a[..., None].astype("float32") / 16 for a in (x, x_test))
    model = network()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=2)

    # Ranges come from samples that are like what it will be given; the last layer stays float32.
    small = kcompile.quantize(model, x[:200], labels=y[:200], skip=["classes"])

    right = [float(np.mean(m.predict(x_test).argmax(axis=1) == y_test)) for m in (model, small)]
    print(f"of {len(y_test)} test images right: {right[0]:.1%} in float32, {right[1]:.1%} in 8 bits")
    return right


if __name__ == "__main__":
    main()

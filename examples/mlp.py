"""A multilayer perceptron for ten classes, as in the Keras documents, on data made here.

Run: python examples/mlp.py
"""

import numpy as np

from kcompile.keras.layers import Dense, Dropout
from kcompile.keras.models import Sequential
from kcompile.keras.optimizers import SGD


def clusters(samples, centers, rng):
    """x: (samples, 20) near the center of its class. y: (samples, 10), one-hot."""
    label = rng.integers(0, 10, samples)
    x = centers[label] + rng.normal(0, 0.7, (samples, 20))
    return x.astype("float32"), np.eye(10, dtype="float32")[label]


def main(epochs=20):
    np.random.seed(1)
    rng = np.random.default_rng(1)
    centers = rng.normal(0, 1, (10, 20))
    x_train, y_train = clusters(1000, centers, rng)
    x_test, y_test = clusters(100, centers, rng)

    model = Sequential()
    model.add(Dense(64, activation="relu", input_dim=20))
    model.add(Dropout(0.5))
    model.add(Dense(64, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(10, activation="softmax"))

    sgd = SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    model.compile(loss="categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=epochs, batch_size=128)
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=128, verbose=0)
    print(f"test loss {loss:.3f}, accuracy {accuracy:.2f}")
    return accuracy


if __name__ == "__main__":
    main()

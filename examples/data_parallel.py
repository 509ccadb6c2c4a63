"""Digits, read by a convolutional network that several processes train together.

Run: mpiexec -n 2 python -m mpi4py examples/data_parallel.py (extra `mpi`)
"""

import numpy as np

import kcompile
from kcompile import keras
from kcompile.keras import layers
from kcompile.keras.datasets import digits


def network():
    model = keras.models.Sequential(
        [
            layers.Conv2D(16, 3, activation="relu", input_shape=(8, 8, 1)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(epochs=10, communicator="mpi"):
    """communicator: as of `kcompile.distribute`; every rank runs this with all of the data."""
    np.random.seed(1)
    (x, y), (x_test, y_test) = digits.load_data()
    with kcompile.distribute(communicator) as team:
        model = network()
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=2)
        loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    if team.rank == 0:
        print(f"ranks: {team.size}, loss {loss:.3f}, accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()

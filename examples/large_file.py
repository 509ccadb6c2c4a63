"""A network trained on rows of a file, of which a few batches are in memory at a time; then all rows of the
file predicted by two processes, batch by batch.

Run: python examples/large_file.py
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np

import kcompile
import kcompile_runtime as rt
from kcompile.keras.layers import Dense
from kcompile.keras.models import Sequential
from kcompile.keras.utils import HDF5Matrix

PART = 1000  # rows that are made, and predicted, at once


def write(path, rows):
    """A file of so many rows: x (rows, 20) near the center of its class, and the class."""
    rng = np.random.default_rng(1)
    centers = rng.normal(0, 1, (10, 20))
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (rows, 20), "float32")
        label = file.create_dataset("label", (rows,), "int64")
        for start in range(0, rows, PART):
            part = rng.integers(0, 10, min(PART, rows - start))
            label[start : start + PART] = part
            x[start : start + PART] = centers[part] + rng.normal(0, 0.7, (len(part), 20))


def batches(path):
    """The rows of the file by parts, with the number of each."""
    with h5py.File(path, "r") as file:
        for start in range(0, len(file["x"]), PART):
            x = file["x"][start : start + PART]
            yield {"row": np.arange(start, start + len(x)), "x": x}


def main(rows=20_000, epochs=3):
    np.random.seed(1)
    with tempfile.TemporaryDirectory() as made:
        path, library = Path(made) / "rows.h5", Path(made) / "model.so"
        write(path, rows)
        train = {"start": 0, "end": rows * 9 // 10}
        model = Sequential(
            [Dense(32, activation="relu", input_shape=(20,), name="hidden"), Dense(10, "softmax", name="p")]
        )
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        x, label = HDF5Matrix(path, "x", **train), HDF5Matrix(path, "label", **train)
        model.fit(x, label, batch_size=100, epochs=epochs, shuffle="batch")
        kcompile.export(model, library)

        predict = rt.predictor(library, columns={"hidden_input": "x"}, keep=["row"])
        seen, right = np.zeros(rows, int), 0
        labels = HDF5Matrix(path, "label")
        for batch in rt.in_processes(predict, batches(path), workers=2):
            seen[batch["row"]] += 1
            right += np.sum(batch["p"].argmax(axis=1) == labels[batch["row"]])
    accuracy, once = right / rows, int((seen == 1).sum())
    print(f"{once} of {rows} rows predicted once, {accuracy:.1%} of them right")
    return once == rows, accuracy


if __name__ == "__main__":
    main()

"""A training that is killed again and again, and goes on each time: it ends in the bits of one that was not.

Run: python examples/resume.py
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from kcompile.keras.callbacks import Checkpoint, EarlyStopping, LambdaCallback
from kcompile.keras.layers import BatchNormalization, Dense, Dropout
from kcompile.keras.models import Sequential
from kcompile.keras.utils import Sequence


class Noisy(Sequence):
    """Points of two classes, in another order in each epoch, with noise that is drawn for each batch."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.label = rng.integers(0, 2, 512)
        self.x = rng.normal(0, 1, (512, 8)) + self.label[:, None]
        self.order = np.arange(512)

    def __len__(self):
        return 16

    def __getitem__(self, index):
        rows = self.order[index * 32 : (index + 1) * 32]
        return self.x[rows] + np.random.normal(0, 0.3, (32, 8)), self.label[rows]

    def on_epoch_end(self):
        np.random.shuffle(self.order)


def train(folder, epochs, kill_after=None):
    """Train, and go on where the folder says; kill_after: batches until this process is killed."""
    np.random.seed(1)
    random.seed(1)  # draws the order of a Sequence's batches
    model = Sequential(
        [Dense(32, activation="relu", input_dim=8), BatchNormalization(), Dropout(0.3), Dense(2)]
    )
    model.add(Dense(2, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    left = [kill_after]

    def die(batch, logs):
        if left[0] is not None:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    listed = [
        EarlyStopping("loss", patience=9),
        LambdaCallback(on_batch_end=die),
        Checkpoint(folder, "10 batches"),
    ]
    history = model.fit(Noisy(), epochs=epochs, verbose=0, callbacks=listed, workers=1, resume=folder)
    return model.get_weights(), history.history


def main(epochs=12, kills=3):
    with tempfile.TemporaryDirectory() as folder:
        whole, history = train(Path(folder) / "whole", epochs)
        for number in range(kills):
            command = [
                sys.executable,
                __file__,
                str(Path(folder) / "parts"),
                str(epochs),
                str(25 + 10 * number),
            ]
            assert subprocess.run(command).returncode == -signal.SIGKILL
            newest = max(path.name for path in Path(folder, "parts").iterdir() if path.suffix == ".kcs")
            print(f"killed in batch {25 + 10 * number}; the newest state is {newest}")
        weights, resumed = train(Path(folder) / "parts", epochs)
    same = resumed == history and all(np.array_equal(a, b) for a, b in zip(whole, weights))
    print(f"after {kills} kills the weights and the History are {'the same bits' if same else 'DIFFERENT'}")
    return same


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()

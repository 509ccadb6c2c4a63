"""A page on which one draws a digit: a network in WebAssembly reads it, and its last layer is trained there.

web/ has the page. Run: python examples/web_page.py DIR, then python -m http.server --directory DIR
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import kcompile
from kcompile.keras.datasets import digits
from kcompile.keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from kcompile.keras.models import Sequential
from kcompile.keras.optimizers import SGD

PAGE = Path(__file__).parent / "web"


def main(epochs=15, folder=None):
    np.random.seed(1)
    (x, y), (x_test, y_test) = digits.load_data()
    x, x_test = (a[..., None].astype("float32") / 16 for a in (x, x_test))
    model = Sequential(
        [
            Conv2D(8, 3, padding="same", activation="relu", input_shape=(8, 8, 1)),
            Conv2D(16, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dense(32, activation="relu"),
            Dropout(0.3),
            Dense(10, activation="softmax"),
        ],
        name="digits",
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=2)
    expected = model.predict(x_test, verbose=0).argmax(axis=1)
    # What is trained in the page: the last layer, by the examples that a person draws.
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.compile(SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(folder or temporary).resolve()
        kcompile.export_npm(model, folder / "model", train=True)
        for file in PAGE.iterdir():
            shutil.copy(file, folder)
        size = (folder / "model" / "model.wasm").stat().st_size
        print(f"\nthe module has {size:,} bytes, with weights and the training step")
        if not shutil.which("node"):
            return None
        x_test.tofile(folder / "images.bin")
        done = subprocess.run(
            ["node", folder / "check.mjs", folder / "images.bin"], capture_output=True, text=True, check=True
        )
        (folder / "images.bin").unlink()
    read, taught = done.stdout.splitlines()
    before, after, less = taught.split()
    print(f"a bar is read as {before}, and when it was taught as {after}; the loss is less: {less}")
    found = np.array(read.split(), int)
    print(f"{np.mean(found == expected):.1%} of {len(found)} test images read as in Python")
    return np.mean(found == expected), after, np.mean(expected == y_test)


if __name__ == "__main__":
    main(folder=sys.argv[1] if len(sys.argv) > 1 else None)

"""Export a network for several processors, and predict with it from C and from JavaScript.

predict.c and predict.mjs are the programs. The C program is compiled with the system's compiler, or
with the one in the `ziglang` wheel (pip install 'kcompile[export]'), which also links the models.
Run: python examples/export_c.py [DIR]    (DIR keeps the models)
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import kcompile
from kcompile.keras.datasets import digits
from kcompile.keras.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
)
from kcompile.keras.models import Sequential

HERE = Path(__file__).parent
TARGETS = ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", "riscv64", "wasm32")


def network():
    """Handwritten digits, 8 x 8 pixels. The name is in the names of the C functions."""
    return Sequential(
        [
            Conv2D(16, 3, padding="same", use_bias=False, input_shape=(8, 8, 1)),
            BatchNormalization(),
            Activation("relu"),
            Conv2D(32, 3, padding="same", use_bias=False),
            BatchNormalization(),
            Activation("relu"),
            MaxPooling2D(2),
            Dropout(0.3),
            Flatten(),
            Dense(10, activation="softmax"),
        ],
        name="digits",
    )


def in_c(images, folder):
    """The classes that the C program finds, one for each image."""
    found = shutil.which("cc")
    compiler = [found] if found else [sys.executable, "-m", "ziglang", "cc"]
    program = folder / "predict"
    subprocess.run(
        [
            *compiler,
            "-std=c11",
            "-O2",
            "-I",
            folder,
            HERE / "predict.c",
            folder / "digits.so",
            f"-Wl,-rpath,{folder}",
            "-pthread",
            "-o",
            program,
        ],
        check=True,
    )
    result = subprocess.run([program], input=images.tobytes(), capture_output=True, check=True)
    return [int(line.split()[0]) for line in result.stdout.splitlines()]


def in_javascript(images, model):
    """The classes that the same network finds as a WebAssembly module, in Node."""
    file = model.with_name("images.bin")
    images.tofile(file)
    result = subprocess.run(
        ["node", HERE / "predict.mjs", model, file], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in result.stdout.splitlines() if not line.startswith("#")]
    return np.array(rows, float).argmax(axis=1)


def main(epochs=5, folder=None):
    np.random.seed(1)
    (x, y), (x_test, y_test) = digits.load_data()
    x, x_test = (a[..., None].astype("float32") / 16 for a in (x, x_test))
    model = network()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=2)
    expected = model.predict(x_test, verbose=0).argmax(axis=1)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(folder or temporary).resolve()
        weights = sum(w.nbytes for w in model.get_weights())
        print(f"\nweights: {weights:,} bytes. Exported, with the code and a sample for the self-test:")
        for target in TARGETS:
            suffix = ".wasm" if target == "wasm32" else ".so"
            path = kcompile.export(model, folder / target / f"digits{suffix}", target=target)
            first = path.read_bytes()
            again = kcompile.export(model, path, target=target).read_bytes()
            print(
                f"{target:10} {len(first):8,} bytes"
                f"{', the same every time' if again == first else ', DIFFERENT the second time'}"
            )

        kcompile.export(model, folder / "digits.so")  # for this machine
        right = {"C": np.mean(in_c(x_test, folder) == expected)}
        if shutil.which("node"):
            right["JavaScript"] = np.mean(
                in_javascript(x_test, folder / "wasm32" / "digits.wasm") == expected
            )
        for language, share in right.items():
            print(f"{language}: {share:.1%} of {len(expected)} test images as in Python")
    print(f"accuracy {np.mean(expected == y_test):.3f}")
    return min(right.values())


if __name__ == "__main__":
    main(folder=sys.argv[1] if len(sys.argv) > 1 else None)

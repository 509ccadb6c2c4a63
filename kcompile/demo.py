"""The demo: handwritten digits from training to a library that needs no compiler.

Enters: the numbers of epochs and images, and a folder for the library. Leaves: what it measured, printed, and
whether every check held. It uses the public interface only, so it is also an example.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import kcompile
import kcompile_runtime
from kcompile import keras
from kcompile.keras import layers
from kcompile.keras.datasets import digits

EPOCHS, ACCURACY = 20, 0.98
SOON = 0.5  # the accuracy after fewer epochs
CHANCE = 0.1  # of a class among ten; the least for a part of the images is twice as much
BATCH = 32


class Check(NamedTuple):
    """A claim of the demo, and whether it held."""

    claim: str
    holds: bool


def network() -> keras.Sequential:
    """Two convolutions with batch normalisation, for images of (8, 8, 1) and ten classes."""
    return keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", use_bias=False, input_shape=(8, 8, 1)),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def run(epochs: int = EPOCHS, keep: Path | None = None, images: int | None = None) -> list[Check]:
    """Trains, evaluates, exports, reloads, verifies and times. Returns what was checked.

    epochs: fewer than `EPOCHS` need not reach `ACCURACY`.
    keep: the folder where model.so and model.h stay; None throws them away.
    images: to train on, and as many for the test as is their share; None is all.
    """
    np.random.seed(1)
    (x, y), (x_test, y_test) = digits.load_data()
    x, x_test = (a[..., None].astype("float32") / 16 for a in (x, x_test))
    images = min(images or len(x), len(x))
    part, few = images < len(x), max(1, len(x_test) * images // len(x))
    x, y, x_test, y_test = x[:images], y[:images], x_test[:few], y_test[:few]
    model = network()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.summary()

    print(f"\nTraining on {len(x)} images of handwritten digits")
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=epochs, validation_data=(x_test, y_test))
    trained = time.perf_counter() - start
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    wanted = 2 * CHANCE if part else ACCURACY if epochs >= EPOCHS else SOON
    checks = [
        check(
            f"test accuracy {accuracy:.4f} (loss {loss:.4f}) after {trained:.1f} s; at least {wanted}",
            accuracy >= wanted,
        )
    ]

    compiled = kcompile.compile(model)
    report = compiled.verify(x_test[:100])
    print("\nCompiled code against the interpreter, layer by layer")
    print(report.text())
    checks.append(check("the compiled code computes what the interpreter computes", report.ok))

    with tempfile.TemporaryDirectory() as temporary:
        folder = temporary if keep is None else keep
        Path(folder).mkdir(parents=True, exist_ok=True)
        library = Path(folder) / "model.so"
        kcompile.export(compiled, str(library))
        program = kcompile_runtime.load(str(library))
        same = np.array_equal(program.predict(x_test), compiled.predict(x_test, verbose=0))
        checks.append(
            check(
                f"{library.name} ({library.stat().st_size:,} bytes), loaded with numpy "
                "alone, predicts the same bits",
                same,
            )
        )
        one = x_test[:1]
        print(f"\npredict, one image:       {microseconds(lambda: compiled.predict_on_batch(one))}")
        print(f"the same from model.so:   {microseconds(lambda: program.predict(one))}")
    batch = x[:BATCH], y[:BATCH]
    print(f"training step, {BATCH} images: {microseconds(lambda: model.train_on_batch(*batch))}")
    if keep is not None:
        print(f"\nmodel.so and model.h are in {keep}")
    return checks


def check(claim: str, holds: bool) -> Check:
    """Print whether a claim holds."""
    print(f"{'ok  ' if holds else 'FAIL'} {claim}")
    return Check(claim, holds)


def microseconds(call: Callable[[], object], repeats: int = 300, seconds: float = 2.0) -> str:
    """The median time of a call, for print: of so many, or of those that fit into so many seconds."""
    times: list[int] = []
    while len(times) < repeats and sum(times) < seconds * 1e9:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return f"{statistics.median(times) / 1000:9.1f} microseconds"

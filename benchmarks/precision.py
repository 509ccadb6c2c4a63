"""Products in bfloat16 beside float32: the time of predict and of a training step, paired within rounds, and
the accuracy of predictions.

python -m benchmarks.precision [--threads N] [--batch N] [--seconds S]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import kcompile
from kcompile.keras import layers as L
from kcompile.keras.engine import Input
from kcompile.keras.models import Model, Sequential

PRECISIONS = ("float32", "bfloat16")


def dense() -> Model:
    return Sequential(
        [
            L.Dense(512, activation="relu", input_shape=(784,)),
            L.Dense(512, activation="relu"),
            L.Dense(10, activation="softmax"),
        ]
    )


def images() -> Model:
    """VGG's way: convolutions of 3 by 3 and stride 1, which predict by Winograd's algorithm."""
    x = y = Input((32, 32, 3))
    for filters, count in ((64, 2), (128, 2), (256, 3)):
        for _ in range(count):
            y = L.Conv2D(filters, 3, padding="same", activation="relu")(y)
        y = L.MaxPooling2D()(y)
    return Model(x, L.Dense(10, activation="softmax")(L.Dense(512, activation="relu")(L.Flatten()(y))))


def residual() -> Model:
    """ResNet's way: 1 by 1 around 3 by 3, with normalisations."""
    x = y = Input((28, 28, 128))
    for strides in (2, 1, 1):
        for filters, size, step in ((128, 1, 1), (128, 3, strides), (256, 1, 1)):
            y = L.Conv2D(filters, size, strides=step, padding="same", use_bias=False)(y)
            y = L.Activation("relu")(L.BatchNormalization()(y))
    return Model(x, L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(y)))


def recurrent() -> Model:
    return Sequential(
        [
            L.LSTM(256, return_sequences=True, input_shape=(20, 128)),
            L.LSTM(256),
            L.Dense(10, activation="softmax"),
        ]
    )


MODELS: dict[str, Callable[[], Model]] = {
    "dense": dense,
    "images": images,
    "residual": residual,
    "recurrent": recurrent,
}


def paired(calls: list[Callable[[], Any]], seconds: float) -> list[float]:
    """The median time of each call, and of the ratios of the first's to the second's within rounds."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()  # which compiles
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for call, found in zip(calls, times):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    ratios = [first / second for first, second in zip(*times)]
    return [*map(statistics.median, times), statistics.median(ratios)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    chosen = parser.parse_args()
    print(f"batch {chosen.batch}, {chosen.threads} thread(s); medians")
    print(f"{'model':10} {'':8} {'float32':>12} {'bfloat16':>12} {'ratio':>6}  difference, largest and mean")
    for name, build in MODELS.items():
        model = build()
        model.compile("sgd", "sparse_categorical_crossentropy")
        rng = np.random.default_rng(0)
        x = rng.normal(size=(chosen.batch, *model.inputs[0].shape[1:])).astype(np.float32)
        y = rng.integers(0, 10, chosen.batch)
        forms = [kcompile.compile(model, threads=chosen.threads, precision=p) for p in PRECISIONS]
        (row,) = forms[1].accuracy(x).outputs
        predict = [lambda form=form: form.predict_on_batch(x) for form in forms]  # type: ignore[misc]  # noqa: B023
        train = [lambda form=form: form.train_on_batch(x, y) for form in forms]  # type: ignore[misc]  # noqa: B023
        for what, calls in (("predict", predict), ("train", train)):
            first, second, ratio = paired(calls, chosen.seconds)
            told = f"  {row.largest:.1e}, {row.mean:.1e}" if what == "predict" else ""
            print(f"{name:10} {what:8} {first * 1e3:9.3f} ms {second * 1e3:9.3f} ms {ratio:6.2f}{told}")


if __name__ == "__main__":
    main()

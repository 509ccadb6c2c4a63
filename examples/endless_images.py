"""A convolutional network over images that are drawn while it trains: an endless generator, asked ahead by a
thread, and a Sequence, whose batches several workers make. Run: python examples/endless_images.py"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kcompile import keras
from kcompile.keras.callbacks import EarlyStopping
from kcompile.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from kcompile.keras.models import Sequential

SIZE, KINDS = 16, ("lying", "standing", "rising", "falling")
Batch = tuple[np.ndarray, np.ndarray]


def drawn(count: int, generator: np.random.Generator) -> Batch:
    """Images [count, SIZE, SIZE, 1] of stripes in noise, and which way each of them runs."""
    kinds = generator.integers(len(KINDS), size=count)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    ways = np.stack([rows, columns, rows + columns, rows - columns])[kinds]
    start = generator.integers(6, size=(count, 1, 1))
    stripes = ((ways + start) % 6 < 3).astype("float32")
    noise = generator.normal(scale=0.3, size=stripes.shape)
    return (stripes + noise).astype("float32")[..., None], kinds


def endless(count: int, seed: int) -> Iterator[Batch]:
    """Batches of new images, as many as anybody asks for."""
    generator = np.random.default_rng(seed)
    while True:
        yield drawn(count, generator)


class Drawn(keras.utils.Sequence):
    """Batches of an epoch: the batch of a number is the same whoever draws it, other in the next epoch."""

    def __init__(self, batches: int, count: int) -> None:
        self.batches, self.count, self.epoch = batches, count, 0

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        return drawn(self.count, np.random.default_rng([self.epoch, index]))

    def on_epoch_end(self) -> None:
        self.epoch += 1


def network() -> Sequential:
    model = Sequential(
        [
            Conv2D(8, 3, activation="relu", input_shape=(SIZE, SIZE, 1)),
            MaxPooling2D(2),
            Flatten(),
            Dense(len(KINDS), activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(epochs: int = 10, workers: int = 3, processes: bool = False) -> float:
    """Train on both, and give the accuracy on images of a third source."""
    keras.utils.set_random_seed(1)
    model = network()
    model.fit_generator(endless(32, seed=0), steps_per_epoch=20, epochs=max(1, epochs // 2), verbose=2)
    model.fit_generator(
        Drawn(20, 32),
        epochs=epochs,
        validation_data=endless(64, seed=1),
        validation_steps=4,
        workers=workers,
        use_multiprocessing=processes,
        callbacks=[EarlyStopping("val_loss", patience=3)],
        verbose=2,
    )
    loss, accuracy = model.evaluate_generator(endless(100, seed=2), steps=5)
    print(f"loss {loss:.3f}, accuracy {accuracy:.3f}")
    return float(accuracy)


if __name__ == "__main__":
    main()

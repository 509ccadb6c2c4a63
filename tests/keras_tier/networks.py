"""The networks of the installed keras.applications beside ours: predictions, training, files; as a table.

`python tests/keras_tier/networks.py [NAME ...]` prints a line for each network, or for those that are named.
Images are as small as a network allows. The error of predictions is a share of the largest output, that of
the loss a share of the loss, and that of a training step a share of the norm of the step (of all weights
together). `one bit` is what the number before is between two runs of ours, one of which begins with every
weight rounded otherwise: with normalisations over few small images, it is worth no more digits.
"""

from __future__ import annotations

import gc
import inspect
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kcompile

# Networks whose images cannot be as small as SIDE
LARGER = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
SIDE, BATCH, CLASSES = 64, 4, 10


def names() -> list[str]:
    """The functions of keras.applications that make a network."""
    return [name for name, make in vars(keras.applications).items() if inspect.isfunction(make)]


@dataclass(frozen=True)
class Row:
    """What is measured of one network. way: by which kcompile takes the live model. The others are errors."""

    name: str
    parameters: int
    way: str
    predicted: float
    predicted_bit: float
    loss: float
    loss_bit: float
    step: float
    one_bit: float
    keras_file: float
    h5_file: float

    def __str__(self) -> str:
        errors = (
            self.predicted,
            self.predicted_bit,
            self.loss,
            self.loss_bit,
            self.step,
            self.one_bit,
            self.keras_file,
            self.h5_file,
        )
        return f"{self.name:20}{self.parameters:12,} {self.way:14}" + "".join(f"{e:10.1e}" for e in errors)


TITLE = f"{'network':20}{'parameters':>12} {'way':14}" + "".join(
    f"{title:>10}" for title in ("predict", "one bit", "loss", "one bit", "step", "one bit", ".keras", ".h5")
)


def usual(variable: Any, rng: np.random.Generator) -> np.ndarray:
    """A value as it is after training: none where all elements are equal, and no scale that is nearly 0."""
    value, size = np.asarray(variable), variable.shape
    if value.ndim == 0 or value.dtype != "float32" or "seed" in variable.path:
        return value
    if variable.path.endswith(("gamma", "variance")):
        return rng.uniform(0.8, 1.2, size).astype("float32")
    return value if value.any() else rng.uniform(-0.1, 0.1, size).astype("float32")


def network(name: str) -> Any:
    """A live network with weights as after training."""
    options = {"classes": CLASSES, "classifier_activation": None, "input_shape": images(name).shape[1:]}
    return measured(settled(getattr(keras.applications, name)(weights=None, **options)), images(name))


def measured(model: Any, x: np.ndarray) -> Any:
    """The model, whose moving statistics are those of a batch. With others, values grow from layer to layer,
    in the deepest networks until two ways of Keras itself give other predictions."""
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = 0.0
    if found:
        model(x, training=True)
    for layer, momentum in zip(found, momenta):
        layer.momentum = momentum
    return model


def settled(model: Any) -> Any:
    """The model, which draws nothing in training any more, with weights as after training."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for rate in ("rate", "drop_path_rate"):
            if hasattr(layer, rate):
                setattr(layer, rate, 0.0)
    model.set_weights([usual(v, rng) for v in model.weights])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # without which Keras computes by the weights of before
    return model


def images(name: str) -> np.ndarray:
    """Random images, as large as the network takes them."""
    side = LARGER.get(name, SIDE)
    return np.random.default_rng(1).uniform(0, 255, (BATCH, side, side, 3)).astype("float32")


def largest(found: Any, right: Any) -> float:
    """The largest difference, as a share of the largest number."""
    scale = float(np.abs(right).max(initial=0.0)) or 1.0
    return float(np.abs(np.asarray(found, "float64") - right).max(initial=0.0)) / scale


def moved(model: Any, step: Any, start: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """The loss of a step from these weights, and how far it takes all of them."""
    model.set_weights(start)
    loss = float(np.ravel(step())[0])
    return loss, np.concatenate([np.ravel(b - a) for a, b in zip(start, model.get_weights())])


def share(found: np.ndarray, right: np.ndarray) -> float:
    """The norm of the difference, as a share of the norm."""
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


def compare(name: str, model: Any = None) -> Row:
    """Predictions, a training step and files of one network, by real Keras and by us. model: instead of that
    of this name."""
    model, x = network(name) if model is None else settled(model), images(name)
    y = np.arange(BATCH) % CLASSES
    right = model.predict(x, verbose=0)
    loaded = {"keras": math.nan, "h5": math.nan}
    with tempfile.TemporaryDirectory() as folder:
        for ending in loaded:
            path = str(Path(folder) / f"model.{ending}")
            model.save(path)
            loaded[ending] = largest(kcompile.compile(path).predict(x), right)
            Path(path).unlink()
    model.compile(keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    start = model.get_weights()
    rng = np.random.default_rng(2)
    other = [(w * (1 + rng.uniform(-1, 1, w.shape) * 2.0**-23)).astype(w.dtype) for w in start]
    compiled = kcompile.compile(model)  # which shares the weights
    ours = compiled.predict(x)
    predicted = largest(ours, right)
    model.set_weights(other)
    predicted_bit = largest(compiled.predict(x), ours)
    loss, step = moved(model, lambda: compiled.train_on_batch(x, y), start)
    near = moved(model, lambda: compiled.train_on_batch(x, y), other)
    real_loss, real_step = moved(model, lambda: model.train_on_batch(x, y), start)
    return Row(
        name,
        model.count_params(),
        compiled.way,
        predicted,
        predicted_bit,
        largest(loss, np.array(real_loss)),
        largest(near[0], np.array(loss)),
        share(step, real_step),
        share(near[1], step),
        *loaded.values(),
    )


def check(row: Row) -> None:
    """Raises AssertionError where the errors are more than rounding makes of them."""
    assert max(row.predicted, row.keras_file, row.h5_file) < max(1e-4, 30 * row.predicted_bit), str(row)
    assert row.loss < max(1e-4, 30 * row.loss_bit), str(row)
    assert row.step < max(1e-3, 30 * row.one_bit), str(row)


def main(wanted: list[str]) -> None:
    print(TITLE)
    for name in wanted or names():
        try:
            print(compare(name), flush=True)
        except Exception as error:
            print(f"{name:20} {type(error).__name__}: {error}", flush=True)
        keras.backend.clear_session()
        gc.collect()


if __name__ == "__main__":
    main(sys.argv[1:])

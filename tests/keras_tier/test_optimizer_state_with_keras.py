"""The variables of optimizers, their order and names, and their way through .weights.h5, beside Keras 3 and
tf_keras."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.keras

PAIRS = [("kcompile.keras3", "keras"), ("kcompile.tf_keras", "tf_keras")]
KINDS = [
    "SGD",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "Nadam",
    "Ftrl",
    "Lion",
    "Lamb",
    "Adafactor",
    "Muon",
    "ScheduleFreeAdamW",
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{"momentum": 0.9}],
    "RMSprop": [{"momentum": 0.5, "centered": True}],
    "Adam": [{"amsgrad": True}, {"use_ema": True}],
}


def layers_of(keras: Any) -> Any:
    keras.backend.clear_session()
    layers = [keras.layers.Dense(3, input_shape=(4,), name="d"), keras.layers.Dense(2, name="e")]
    return keras.Sequential(layers, name="net")


def listing(
    keras: Any, weights: list[Any], kind: str, options: dict[str, Any], module: str
) -> list[tuple[Any, ...]]:
    optimizer = getattr(keras.optimizers, kind)(**options, name=kind.lower())
    optimizer.build(weights)
    found = []
    for variable in optimizer.variables:
        # In training tf_keras puts the class before the names; Keras 3 gives some of Adafactor's no path
        name = variable.name.removeprefix(f"{kind}/")
        path = getattr(variable, "path", "") if "tf_keras" not in module else ""
        found.append((name, path, tuple(variable.shape)))
    return found


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_variables_are_in_their_order_and_have_their_names(ours, theirs):
    real, mine = pytest.importorskip(theirs), importlib.import_module(ours)
    weights = [layers_of(keras).trainable_variables for keras in (mine, real)]
    options_of = dict(OPTIONS)
    if theirs == "keras":
        options_of["Lion"] = [{"gradient_accumulation_steps": 2}]
    for kind in KINDS:
        if not hasattr(real.optimizers, kind):
            continue
        for options in ({}, *options_of.get(kind, [])):
            if (theirs, kind) == ("tf_keras", "SGD") and "momentum" not in options:
                continue  # tf_keras has momenta that it does not use
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = listing(real, weights[1], kind, options, theirs)
            assert listing(mine, weights[0], kind, options, ours) == wanted, (kind, options)


def trained(keras: Any, make: Any, x: np.ndarray, y: np.ndarray, steps: int) -> tuple[Any, list[float]]:
    model = layers_of(keras)
    model.compile(make(keras), "mse")
    return model, [float(model.train_on_batch(x, y)) for _ in range(steps)]


MAKERS = {
    "adam": lambda keras: keras.optimizers.Adam(0.01, amsgrad=True),
    "sgd": lambda keras: keras.optimizers.SGD(0.01),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_training_goes_on_from_weights_of_either(ours, theirs, kind, tmp_path):
    real, mine = pytest.importorskip(theirs), importlib.import_module(ours)
    make, path = MAKERS[kind], str(tmp_path / "a.weights.h5")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
    for first, second in ((mine, real), (real, mine)):
        model, _ = trained(first, make, x, y, 2)
        model.save_weights(path)
        other, _ = trained(second, make, x, y, 0)
        other.optimizer.build(other.trainable_variables)
        other.load_weights(path)
        assert int(other.optimizer.iterations) == 2
        following = [[float(m.train_on_batch(x, y)) for _ in range(3)] for m in (model, other)]
        np.testing.assert_allclose(following[1], following[0], rtol=1e-5)

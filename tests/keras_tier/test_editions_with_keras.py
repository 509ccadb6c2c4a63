"""Defaults of `kcompile.keras3` and `kcompile.tf_keras` beside those of the real Kerases: every argument that
both have, of every layer, optimizer, initializer, regularizer, constraint, loss and metric that both have."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

pytestmark = pytest.mark.keras

MODULES = ("layers", "optimizers", "initializers", "regularizers", "constraints", "callbacks", "losses")
# Written otherwise, and meaning the same
SAME = [
    {None, "channels_last"},
    {None, 1e-7},  # data_format by image_data_format, epsilon by K.epsilon
    {"normal", "truncated_normal"},  # of VarianceScaling: Keras 2's normal is truncated
    {"sum_over_batch_size", "auto"},
    {False, None},
    {"zeros", "Zeros"},
    {"cosine_proximity", "cosine_similarity"},
    {"kullback_leibler_divergence", "kl_divergence"},
    {"logcosh", "log_cosh"},
]
# Arguments that have another default here for a reason
KNOWN = {("callbacks", "CallbackList")}


def arguments(value):
    target = value.__init__ if inspect.isclass(value) else value
    try:
        found = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def same(ours, theirs):
    if ours is inspect.Parameter.empty or theirs is inspect.Parameter.empty:
        return True  # what is required there may have a default here
    if isinstance(theirs, (tuple, list)):
        return all(same(o, t) for o, t in zip(np.broadcast_to(ours, len(theirs)).tolist(), theirs))
    return ours == theirs or any({ours, theirs} <= pair for pair in SAME)


def differences(ours, theirs):
    for module in MODULES:
        there = importlib.import_module(f"{theirs}.{module}")
        here = importlib.import_module(f"{ours}.{module}")
        for name, value in vars(here).items():
            other = getattr(there, name, None)
            if name.startswith("_") or not callable(value) or other is None or (module, name) in KNOWN:
                continue
            mine, real = arguments(value), arguments(other)
            mine.pop("learning_rate", None)  # compared as a value, see `rates`
            for argument in mine.keys() & real.keys():
                if argument == "name" and mine[argument] is None and real[argument] == name:
                    continue  # that of the class, when none is given
                if not same(mine[argument], real[argument]):
                    yield f"{module}.{name}({argument}): {mine[argument]!r}, there {real[argument]!r}"


def rates(package):
    optimizers = importlib.import_module(f"{package}.optimizers")
    return {
        name: float(getattr(optimizers, name)().learning_rate)
        for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam")
    }


@pytest.mark.parametrize("ours, theirs", [("kcompile.keras3", "keras"), ("kcompile.tf_keras", "tf_keras")])
def test_defaults_are_the_real_ones(ours, theirs):
    pytest.importorskip(theirs)
    assert list(differences(ours, theirs)) == []
    mine, real = rates(ours), rates(theirs)
    assert mine == pytest.approx(real)


@pytest.mark.parametrize("ours, theirs", [("kcompile.keras3", "keras"), ("kcompile.tf_keras", "tf_keras")])
def test_names_of_layers_and_models(ours, theirs):
    pytest.importorskip(theirs)
    names = []
    for package in (ours, theirs):
        keras = importlib.import_module(package)
        keras.backend.clear_session()
        first, second = keras.Input((4,)), keras.Input((4,))
        both = keras.layers.Add()([keras.layers.Dense(3)(first), keras.layers.Dense(3)(second)])
        models = [
            keras.Model([first, second], both),
            keras.Model(first, keras.layers.Dense(2)(first)),
            keras.Sequential([keras.layers.Dense(3, input_shape=(4,)), keras.layers.BatchNormalization()]),
            keras.Sequential(),
        ]
        names.append([[m.name for m in models], *([layer.name for layer in m.layers] for m in models[:3])])
    if theirs == "keras":  # what Keras 3 counts besides, a Functional for each Input, is not ours
        for found in names:
            found[0][:2] = []
    assert names[0] == names[1]

"""Arguments by position and their defaults, of methods of models and of what scripts train with, beside
those of Keras 3 and tf_keras: ours begin with theirs; what ours have besides stands behind."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

pytestmark = pytest.mark.keras

PAIRS = [("kcompile.keras3", "keras"), ("kcompile.tf_keras", "tf_keras")]
METHODS = [
    "compile",
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
    "predict_on_batch",
    "summary",
    "get_layer",
    "save",
    "save_weights",
    "load_weights",
    "reset_metrics",
]
MODULES = [
    "callbacks",
    "optimizers",
    "optimizers.schedules",
    "losses",
    "metrics",
    "initializers",
    "regularizers",
    "constraints",
]
# What is another number, or stands for one, and means the same
SAME = [
    {None, 1e-7},  # epsilon by K.epsilon
    {None, 0.001},  # the learning rate that the class has
    {None, 0.01},
    {None, 0.0025},
    {"sum_over_batch_size", "auto"},
    {"normal", "truncated_normal"},
    {None, False},
]
# Theirs that are not here, or elsewhere, for a reason
KNOWN = {
    "get": "also takes the vintage",
    "deserialize": "one name for all, and no legacy format",
    "serialize": "one name for all, and no legacy format",
    "CallbackList": "has Keras 2's queue_length",
    "ProgbarLogger": "has Keras 2's count_mode",
    "sparse_categorical_crossentropy": "has ignore_class before the axis in Keras 3, behind it in tf_keras",
    "SparseCategoricalCrossentropy": "has an axis before the name in Keras 3 alone",
    "Optimizer": "is the base of ours, which takes lr",
}


def arguments(value: Any) -> list[tuple[str, Any]]:
    try:
        found = inspect.signature(value.__init__ if inspect.isclass(value) else value).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [(p.name, p.default) for p in found if p.kind in kinds and p.name != "self"]


def same(ours: Any, theirs: Any) -> bool:
    if inspect.Parameter.empty in (ours, theirs):
        return True
    if callable(ours) or callable(theirs):
        return True
    return ours == theirs or any({str(ours), str(theirs)} == set(map(str, pair)) for pair in SAME)


def differences(mine: Any, real: Any, label: str) -> list[str]:
    ours, theirs = arguments(mine), arguments(real)
    found = []
    names = [name for name, _ in ours][: len(theirs)]
    if names != [name for name, _ in theirs]:
        found.append(f"{label}: {names}, there {[name for name, _ in theirs]}")
    known = dict(ours)
    for name, default in theirs:
        if name in known and name != "name" and not same(known[name], default):
            found.append(f"{label}({name}): {known[name]!r}, there {default!r}")
    return found


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_methods_take_what_theirs_take(ours, theirs):
    real, mine = pytest.importorskip(theirs), importlib.import_module(ours)
    found = []
    for kind in ("Model", "Sequential"):
        for name in METHODS:
            there, here = (getattr(getattr(k, kind), name) for k in (real, mine))
            found += differences(here, there, f"{kind}.{name}")
    assert found == []


# What takes the names of theirs, in whichever order
NAMED = [
    "layers.Layer.add_loss",
    "layers.Layer.add_weight",
    "Model.compute_loss",
    "Model.export",
    "utils.custom_object_scope",
    "utils.get_file",
    "utils.load_img",
    "utils.normalize",
    "utils.pad_sequences",
    "utils.set_random_seed",
    "utils.split_dataset",
    "utils.to_categorical",
    "saving.load_model",
    "saving.register_keras_serializable",
    "saving.save_model",
    "saving.serialize_keras_object",
    "initializers.deserialize",
    "regularizers.deserialize",
    "constraints.deserialize",
]
# Theirs that ours have not: there are no two formats
ABSENT = {"use_legacy_format"}


@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize("path", NAMED)
def test_functions_take_the_names_of_theirs(ours, theirs, path):
    there, here = pytest.importorskip(theirs), importlib.import_module(ours)
    for part in path.split("."):
        there, here = getattr(there, part, None), getattr(here, part, None)
    if there is None or here is None:
        pytest.skip("one of both has no such function")
    parameters = inspect.signature(here).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return  # it takes what it says by itself
    assert {name for name, _ in arguments(there)} - {name for name, _ in arguments(here)} <= ABSENT


@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize("module", MODULES)
def test_constructors_take_what_theirs_take(ours, theirs, module):
    pytest.importorskip(theirs)
    here = importlib.import_module(f"{ours}.{module}")
    there: Any = importlib.import_module(theirs)
    for part in module.split("."):
        there = getattr(there, part)
    found = []
    for name in dir(there):
        if not name.startswith("_") and name not in KNOWN and callable(getattr(there, name)):
            if (mine := getattr(here, name, None)) is not None:
                found += differences(mine, getattr(there, name), f"{module}.{name}")
    assert found == []

"""A live model of another Keras (Keras 3 on any backend, tf_keras) as one of ours, and back.

Enters: the object, of which nothing is used but its configuration, its weights, its optimizer and
what it was compiled with; its package is never imported by us. Leaves: a `kcompile.keras` model with the
same layer names, weights, optimizer state and `compile` arguments, of the vintage of its package.
`write_back` copies what training changed into the live model again. Everything that is not supported is
reported at once, before anything is built.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.files.compilations import described, translate_compilation
from kcompile.files.configs import translate_model
from kcompile.files.problems import Problems
from kcompile.files.vintage import parse_version
from kcompile.files.weights import run_inside
from kcompile.keras import models
from kcompile.keras.engine import Variable
from kcompile.keras.layer_weights import kept_random_state
from kcompile.keras.semantics import vintage_of_version
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

PACKAGES = ("keras", "tf_keras", "tensorflow", "keras_core")

# Where Keras 3 and tf_keras keep the slots of an optimizer: our name -> theirs.
SLOTS = {
    "SGD": {"momentum": "momentums"},
    "RMSprop": {"rms": "_velocities"},
    "Adagrad": {"accumulator": "_accumulators"},
    "Adadelta": {"accumulator": "_accumulated_grads", "delta": "_accumulated_delta_vars"},
    "Adam": {"m": "_momentums", "v": "_velocities", "vhat": "_velocity_hats"},
    "Adamax": {"m": "_m", "u": "_u"},
    "Nadam": {"m": "_momentums", "v": "_velocities"},
}


def is_live(model: Any) -> bool:
    """Whether the object is a model of another Keras."""
    names = {c.__name__: c.__module__.partition(".")[0] for c in type(model).__mro__}
    return names.get("Model") in PACKAGES


def from_keras(model: Any) -> Any:
    """Our model with the configuration, weights and compilation of a live one.

    Raises UnsupportedError, naming every layer, argument, loss, metric or optimizer option that is not
    supported; ModelError for an object that is no Keras model, or one that is not built.
    """
    if not is_live(model):
        raise ModelError(describe("compile", "a model of kcompile.keras or of Keras, or a path",
                                  f"{type(model).__module__}.{type(model).__name__}"))
    if not model.built:
        raise ModelError(f"model {model.name!r} has no weights yet. Call model.build(input_shape), "
                         "or give it an Input")
    problems = Problems(model.name)
    vintage, tf = _vintage(model)
    config, compiled = _config(model, problems), _compile_config(model, problems)
    translated = translate_model(config, problems, vintage) if config else {}
    arguments = translate_compilation(compiled, problems, tf) if compiled else None
    problems.report()
    with kept_random_state():
        made = models.model_from_config(translated)
    for ours, theirs in _pairs(made, model):
        ours.assign(_numpy(theirs))
    if arguments is not None:
        made.compile(**arguments)
        _read_optimizer(made, model)
    return made


def write_back(ours: Any, theirs: Any) -> None:
    """Copy our weights, and the optimizer's state where both are compiled, into the live model.

    Raises ModelError when the two no longer have the same layers, UnsupportedError for an optimizer
    whose state cannot be reached.
    """
    for variable, live in _pairs(ours, theirs):
        live.assign(variable.value)
    if ours.compilation is not None and getattr(theirs, "optimizer", None) is not None:
        _write_optimizer(ours, theirs)


# ---------------------------------------------------------------- configuration


def _config(model: Any, problems: Problems) -> dict[str, Any] | None:
    kind = type(model)
    if kind.__module__.partition(".")[0] not in PACKAGES:
        problems.add(f"{kind.__name__} is a class of your own. Build it as Sequential or functional "
                     "Model of the layers it calls")
        return None
    if kind.__name__ not in ("Sequential", "Functional", "Model") or not hasattr(model, "layers"):
        problems.add(f"models of class {kind.__name__}")
        return None
    config = dict(model.get_config())
    if "layers" not in config:
        problems.add("a model that is neither Sequential nor functional")
        return None
    return {"class_name": "Sequential" if kind.__name__ == "Sequential" else "Functional",
            "config": config}


def _compile_config(model: Any, problems: Problems) -> dict[str, Any] | None:
    optimizer = getattr(model, "optimizer", None)
    if not getattr(model, "compiled", False) and optimizer is None:
        return None
    if optimizer is not None and not hasattr(optimizer, "build"):
        problems.add("compile: a legacy optimizer of tf_keras, whose state cannot be shared. Compile the "
                     f"live model with tf_keras.optimizers.{type(optimizer).__name__}")
        return None
    # The arguments themselves say more than their configurations, which is what is public
    given = getattr(getattr(model, "_compile_config", None), "config", None)
    if not isinstance(given, Mapping):
        problems.add("the arguments of compile cannot be read")
        return None
    config = {key: value if key == "loss_weights" else described(value) for key, value in given.items()
              if key in ("loss", "metrics", "loss_weights", "weighted_metrics", "sample_weight_mode")}
    return {**config, "optimizer": described(optimizer),
            "auto_scale_loss": given.get("auto_scale_loss")}


def _vintage(model: Any) -> tuple[str, bool]:
    """Whose semantics the live model has, and whether its package is tf.keras."""
    root = type(model).__module__.partition(".")[0]
    version, tf = parse_version(str(getattr(sys.modules.get(root), "__version__", "3")))
    return vintage_of_version(version, tf), tf


# ---------------------------------------------------------------- weights


def _numpy(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable)


def _pairs(ours: Any, theirs: Any) -> Iterator[tuple[Variable, Any]]:
    """Each of our weights beside the live one. Raises ModelError where the models differ."""
    if isinstance(ours, models.Model):
        for layer in theirs.layers:
            yield from _pairs(ours.get_layer(layer.name), layer)
        return
    if run_inside(ours) is not None:  # a wrapper around a model
        yield from _pairs(ours.layer, theirs.layer)
        return
    live = list(theirs.weights)
    if len(live) != len(ours.weights) or any(
            tuple(v.shape) != w.shape for v, w in zip(live, ours.weights)):
        raise ModelError(describe(
            f"Layer {theirs.name!r}", f"weights {[w.shape for w in ours.weights]}",
            f"{[tuple(v.shape) for v in live]}", "Compile the changed model again"))
    yield from zip(ours.weights, live)


# ---------------------------------------------------------------- the optimizer


def _slots(ours: Any, theirs: Any) -> list[tuple[Variable, Any]]:
    """Each slot of our optimizer beside the live one's, for a live optimizer that has its slots."""
    optimizer, live = ours.compilation.optimizer, theirs.optimizer
    optimizer.build(ours.compilation.trainable)
    kept = optimizer.weights[1 + len(optimizer.state()):]  # slot by slot, over the trainable weights
    place = {id(v): i for i, v in enumerate(ours.compilation.trainable)}
    mine = {id(w): v for v, w in _pairs(ours, theirs)}
    order = [place[id(mine[id(w)])] for w in theirs.trainable_variables]
    pairs = []
    for number, slot in enumerate(optimizer.slots()):
        name = SLOTS[type(optimizer).__name__][slot]
        found = getattr(live, name, None)
        if not isinstance(found, Sequence) or len(found) != len(order):
            raise UnsupportedError(
                f"the state of the live optimizer {type(live).__name__} cannot be reached: expected "
                f"{len(order)} arrays in {name}. Compile the live model again, with trainable as it "
                "is now, to start with a fresh state")
        pairs += [(kept[number * len(order) + i], w) for i, w in zip(order, found)]
    return pairs


def _read_optimizer(ours: Any, theirs: Any) -> None:
    """Copy iterations and slots, which the live optimizer has after its first step."""
    optimizer, live = ours.compilation.optimizer, theirs.optimizer
    optimizer.iterations.assign(_numpy(live.iterations))
    if getattr(live, "built", False):
        for mine, other in _slots(ours, theirs):
            mine.assign(_numpy(other))


def _write_optimizer(ours: Any, theirs: Any) -> None:
    optimizer, live = ours.compilation.optimizer, theirs.optimizer
    if not getattr(live, "built", False):
        live.build(theirs.trainable_variables)
    live.iterations.assign(optimizer.iterations.value)
    live.learning_rate = float(optimizer.learning_rate_variable.value)
    for mine, other in _slots(ours, theirs):
        other.assign(mine.value)



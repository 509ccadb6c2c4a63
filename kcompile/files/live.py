"""A live model of another Keras (Keras 3 on any backend, tf_keras) as one of ours, and back.

Enters: the object, of which nothing is used but its configuration, its weights, its optimizer and
what it was compiled with; its package is never imported by us. Leaves: a `kcompile.keras` model with the
same layer names, weights, optimizer state and `compile` arguments, of the vintage of its package; and what of
the two belongs together (`pairs`, `slots`), by which `twin` keeps them one model. Everything that is not
supported is reported at once, before anything is built.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.files.compile_configs import described, translate_compile_config
from kcompile.files.configs import translate_model
from kcompile.files.learned import APART, from_live
from kcompile.files.problems import MODELS, PACKAGES, Problems
from kcompile.files.sharing import mark_live
from kcompile.files.vintage import parse_version
from kcompile.files.weights.inside import held_by, holders, run_inside
from kcompile.jaxpr.live_models import backend_of, function_of, model_of
from kcompile.jaxpr.live_steps import stepping_model
from kcompile.keras import losses, models
from kcompile.keras.engine import Variable, as_list
from kcompile.keras.graphs import target_type
from kcompile.keras.layer_weights import kept_random_state
from kcompile.keras.operands import leaves
from kcompile.keras.optimizer import COMMON_SLOTS
from kcompile.keras.semantics import vintage_of_version
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


def is_live(model: Any) -> bool:
    """Whether the object is a model of another Keras."""
    names = {c.__name__: c.__module__.partition(".")[0] for c in type(model).__mro__}
    return names.get("Model") in PACKAGES


def from_keras(model: Any, examples: Any = None) -> Any:
    """Our model with the configuration, weights and arguments of `compile` of a live one.

    A model with layers that are not ours is taken by what its code computes, where it computes by JAX
    (`kcompile.jaxpr`); its inputs are of the shapes and dtypes of the examples, where these are given. Raises
    UnsupportedError, naming every layer, argument, loss, metric or optimizer option that is not
    supported; ModelError for an object that is no Keras model, or one that is not built.
    """
    if not is_live(model):
        raise ModelError(
            describe(
                "compile",
                "a model of kcompile.keras or of Keras, or a path",
                f"{type(model).__module__}.{type(model).__name__}",
            )
        )
    if not model.built:
        raise ModelError(
            f"model {model.name!r} has no weights yet. Call model.build(input_shape), or give it an Input"
        )
    problems = Problems(model.name)
    vintage, tf = _vintage(model)
    config = _config(model, problems)
    translated = translate_model(config, problems, vintage) if config else {}
    steps = own_steps(model)
    traces = problems.found or examples is not None or steps
    made = _traced(model, problems, examples, stepping_model if steps else model_of) if traces else None
    _note_own_steps(model, problems)
    arguments = None
    if not steps:
        compiled = _compile_config(model, problems)
        arguments = translate_compile_config(compiled, problems, vintage, tf) if compiled else None
    problems.report()
    if made is None:
        with kept_random_state():
            made = models.model_from_config(translated)
    for ours, theirs in pairs(made, model):
        ours.assign(value_of(theirs))
    for ours, theirs in flagged_of(made, model):  # configurations of models of tf.keras lack their own
        ours.trainable = bool(theirs.trainable)
        if getattr(ours, "adapters", ()):
            ours.lora_alpha = theirs.lora_alpha  # which not all layers of Keras have of their configuration
    if steps:
        made.compile()  # what it trains by is in its steps
    if arguments is not None:
        made.compile(**arguments)
        optimizer, other = made.optimizer, model.optimizer
        optimizer._iterations.assign(value_of(steps_of(other)))
        for ours, theirs in slots(made, model):
            ours.assign(value_of(theirs))
        copy_exclusions(made, model)
    return made


def compile_arguments(model: Any) -> dict[str, Any] | None:
    """The arguments of our `compile` for what a live model is compiled with, None where it is not. Raises
    UnsupportedError naming all that is not supported."""
    problems = Problems(model.name)
    compiled = _compile_config(model, problems)
    arguments = translate_compile_config(compiled, problems, *_vintage(model)) if compiled else None
    problems.report()
    return arguments


def is_tf(model: Any) -> bool:
    """Whether the live model is one of tf.keras 2."""
    return _vintage(model)[1]


def _traced(model: Any, problems: Problems, examples: Any, way: Callable[..., Any]) -> Any:
    """The model by tracing, after which its layers are no problems any more; None where that does not work,
    which is one more."""
    try:
        with kept_random_state():
            made = way(model, examples)
    except Exception as error:  # whatever the user's code raises where it is given no data
        problems.add(f"and its code cannot be traced: {error}")
        return None
    problems.found.clear()
    return made


# ---------------------------------------------------------------- configuration


def _config(model: Any, problems: Problems) -> dict[str, Any] | None:
    kind = type(model)
    if kind.__module__.partition(".")[0] not in PACKAGES:
        problems.add(
            f"{kind.__name__} is a class of your own. Build it as Sequential or functional "
            "Model of the layers it calls"
        )
        return None
    if kind.__name__ not in MODELS or not hasattr(model, "layers"):
        problems.add(f"models of class {kind.__name__}")
        return None
    config = dict(model.get_config())
    if "layers" not in config:
        problems.add("a model that is neither Sequential nor functional")
        return None
    entry = {"class_name": "Sequential" if kind.__name__ == "Sequential" else "Functional", "config": config}
    mark_live(entry, model)
    from_live(entry, model)
    return entry


def _compile_config(model: Any, problems: Problems) -> dict[str, Any] | None:
    optimizer = getattr(model, "optimizer", None)
    if not getattr(model, "compiled", False) and optimizer is None:
        return None
    if optimizer is not None and not hasattr(optimizer, "build"):
        problems.add(
            "compile: a legacy optimizer of tf_keras, whose state cannot be shared. Compile the "
            f"live model with tf_keras.optimizers.{type(optimizer).__name__}"
        )
        return None
    # The arguments themselves say more than their configurations, which is what is public
    given = getattr(getattr(model, "_compile_config", None), "config", None)
    if not isinstance(given, Mapping):
        problems.add("the arguments of compile cannot be read")
        return None
    config = {
        key: value if key == "loss_weights" else described(_own(value, model))
        for key, value in given.items()
        if key in ("loss", "metrics", "loss_weights", "weighted_metrics", "sample_weight_mode")
    }
    # Keras has already put the optimizer into one that scales the loss, where it should be
    return {**config, "optimizer": described(optimizer), "auto_scale_loss": False}


# Methods that say how a model trains
_STEPS = ("train_step", "test_step", "compute_loss", "compute_metrics", "stateless_compute_loss")


def _is_own(model: Any, name: str) -> bool:
    """Whether a class of the user's own defines a method of Keras' models."""
    home = next((c.__module__ for c in type(model).__mro__ if name in vars(c)), "keras")
    return home.partition(".")[0] not in PACKAGES


def own_steps(model: Any) -> bool:
    """Whether a live model trains by steps of its own that JAX traces, or counts metrics of classes of the
    user's own, which Keras' steps, traced, do too."""
    if getattr(model, "optimizer", None) is None or backend_of(model)[1] != "jax":
        return False
    return any(_is_own(model, name) for name in _STEPS) or _has_own_metrics(model)


def _has_own_metrics(model: Any) -> bool:
    """Whether `compile` was given a metric of a class of the user's own."""
    given = getattr(getattr(model, "_compile_config", None), "config", None)
    if not isinstance(given, Mapping):
        return False
    kinds = [type(m) for key in ("metrics", "weighted_metrics") for m in leaves(given.get(key))]
    return any(
        kind.__module__.partition(".")[0] not in PACKAGES
        and any(c.__name__ == "Metric" for c in kind.__mro__)
        for kind in kinds
    )


def _note_own_steps(model: Any, problems: Problems) -> None:
    """Steps of the user's own that are not traced: a problem, where they would count."""
    trains = getattr(model, "optimizer", None) is not None and backend_of(model)[1] != "jax"
    for name in ("predict_step", *(_STEPS if trains else ())):
        if _is_own(model, name):
            problems.add(
                f"a {name} of its own ({type(model).__name__}.{name}), which would not be called. "
                + (
                    "Compute what it changes in `call`"
                    if name == "predict_step"
                    else "Set KERAS_BACKEND=jax before keras is imported, where steps are traced, or write "
                    "it as a loss, a metric or add_loss"
                )
            )


def _own(value: Any, model: Any) -> Any:
    """Losses and metrics with the functions of the user's own among them traced, where JAX computes them."""
    if isinstance(value, Mapping):
        return {k: _own(v, model) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_own(v, model) for v in value]
    kind = type(value)
    function = value if kind.__name__ == "function" else getattr(value, "call", None)
    of_a_loss = any(c.__name__ == "Loss" for c in kind.__mro__)
    home = value.__module__ if kind.__name__ == "function" else kind.__module__
    if not callable(function) or home.partition(".")[0] in PACKAGES or isinstance(value, type):
        return value
    if (
        not (of_a_loss or kind.__name__ == "function")
        or home.startswith("kcompile.")
        or backend_of(model)[1] != "jax"
    ):
        return value
    if of_a_loss:
        made = function_of(function, value.name)
        return losses.FunctionLoss(made, value.reduction, value.name)
    return function_of(function, value.__name__)


def _vintage(model: Any) -> tuple[str, bool]:
    """The vintage of a live model, and whether its package is tf.keras."""
    root = type(model).__module__.partition(".")[0]
    version, tf = parse_version(str(getattr(sys.modules.get(root), "__version__", "3")))
    return vintage_of_version(version, tf), tf


def build_metrics(ours: Any, theirs: Any) -> None:
    """Make the metrics of a live model of Keras 3, which makes them with its first batch and whose callbacks
    ask them whether more is better. It has those of our labels' shapes."""
    metrics, held = getattr(theirs, "_compile_metrics", None), theirs
    while held is not None and not hasattr(held, "_outputs_struct"):
        held = getattr(held, "_functional", None)  # of a Sequential
    if metrics is None or metrics.built or held is None:
        return
    types = [
        target_type(loss, y.batch_type) if kind is None else kind
        for loss, kind, y in zip(ours.compile_arguments.losses, ours.compile_arguments.targets, ours.outputs)
    ]
    shapes = [tuple(d if isinstance(d, int) else 1 for d in t.shape) for t in types]
    labels = [np.zeros(shape, np.float32) for shape in shapes]
    tree = sys.modules[type(theirs).__module__.partition(".")[0]].tree
    metrics.build(tree.pack_sequence_as(held._outputs_struct, labels), held._outputs_struct)


# ---------------------------------------------------------------- weights


def value_of(variable: Any) -> np.ndarray:
    """The value of a live variable."""
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable)


def layers_of(ours: Any, theirs: Any) -> Iterator[tuple[Any, Any]]:
    """Each layer of ours beside the live one, those that hold others first."""
    yield ours, theirs
    if hasattr(ours, "live_layer"):
        return
    if isinstance(ours, models.Model):
        for layer in theirs.layers:
            yield from layers_of(ours.get_layer(layer.name), layer)
        return
    for name in holders(ours):
        live = getattr(theirs, name, getattr(theirs, f"_{name}", None))
        for mine, other in zip(held_by(ours, name), [] if live is None else as_list(live)):
            yield from layers_of(mine, other)


def flagged_of(ours: Any, theirs: Any) -> Iterator[tuple[Any, Any]]:
    """What has a flag `trainable`: the layers, and then, in Keras 3, the weights, whose flags layers set."""
    yield from layers_of(ours, theirs)
    if ours.semantics.trained_weights == "own flag":
        yield from pairs(ours, theirs)


def pairs(ours: Any, theirs: Any) -> Iterator[tuple[Variable, Any]]:
    """Each of our weights beside the live one. Raises ModelError where the models differ."""
    if hasattr(ours, "live_layer"):
        yield from ours.live_layer.pairs
        return
    if isinstance(ours, models.Model):
        for layer in theirs.layers:
            yield from pairs(ours.get_layer(layer.name), layer)
        return
    if run_inside(ours) is not None:  # a wrapper around a model
        yield from pairs(ours.layer, theirs.layer)
        return
    live = [] if type(theirs).__name__ in APART else list(theirs.weights)
    if len(live) != len(ours.weights) or any(tuple(v.shape) != w.shape for v, w in zip(live, ours.weights)):
        raise ModelError(
            describe(
                f"Layer {theirs.name!r}",
                f"weights {[w.shape for w in ours.weights]}",
                f"{[tuple(v.shape) for v in live]}",
                "Compile the changed model again",
            )
        )
    yield from zip(ours.weights, live)


def slots(ours: Any, theirs: Any) -> list[tuple[Variable, Any]]:
    """Each slot of our optimizer beside the live one's, of the weights for which both have slots; none
    before the live optimizer is built. Raises UnsupportedError where its state cannot be reached."""
    optimizer, live = ours.compile_arguments.optimizer, theirs.optimizer
    if not is_built(live):
        return []
    optimizer.build(ours.compile_arguments.trainable)
    around = []
    if hasattr(live, "inner_optimizer"):
        around = [(optimizer.counter, live.step_counter), (optimizer.scale, live.dynamic_scale)]
        optimizer, live = optimizer.inner_optimizer, live.inner_optimizer
    trained = _known(live, theirs)
    mine = [(w, v) for v, w in pairs(ours, theirs)]
    found = around + [
        (getattr(optimizer, name), getattr(live, attribute))
        for name, attribute in optimizer.live_state.items()
        if hasattr(live, attribute)
    ]
    live_names = {slot.name: slot.live for slot in (*COMMON_SLOTS, *optimizer.known_slots)}
    for slot in (*optimizer.common_slots(), *optimizer.slots()):
        held = getattr(live, live_names.get(slot, ""), None)
        if not isinstance(held, Sequence) or len(held) != len(trained):
            raise UnsupportedError(
                f"the state of the live optimizer {type(live).__name__} cannot be reached: expected "
                f"{len(trained)} arrays of its {slot!r}. Compile the live model again, with trainable as it "
                "is now, to start with a fresh state"
            )
        for variable, value in zip(trained, held):
            found += [
                (optimizer._slots[v][slot], value)
                for w, v in mine
                if w is variable and slot in optimizer._slots.get(v, ())
            ]
    return found


def copy_exclusions(ours: Any, theirs: Any) -> None:
    """Let the weights not decay that the live optimizer excludes."""
    live, optimizer = theirs.optimizer, ours.optimizer
    if getattr(live, "weight_decay", None) is None and not hasattr(live, "adam_weight_decay"):
        return
    excluded = [w for w, v in pairs(ours, theirs) if not live._use_weight_decay(v)]
    if [id(v) for v in optimizer.excluded()] != [id(v) for v in excluded]:
        optimizer.exclude_from_weight_decay(excluded)


def _known(optimizer: Any, model: Any) -> list[Any]:
    """The variables that a live optimizer has slots for, in their order: those that were trained when it
    was built."""
    known = getattr(optimizer, "_trainable_variables", None)  # Keras 3
    if known is not None:
        return list(known)
    places = getattr(optimizer, "_index_dict", None)  # tf_keras
    if places is None:
        return list(model.trainable_variables)
    by_key = {optimizer._var_key(v): v for v in model.weights}
    return [by_key.get(key) for key in sorted(places, key=places.__getitem__)]


def steps_of(optimizer: Any) -> Any:
    """The variable that counts the batches of a live optimizer. What Keras 3 calls iterations are its steps,
    of several batches each."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return getattr(inner, "_iterations", inner.iterations)


def is_built(optimizer: Any) -> bool:
    """Whether a live optimizer has its slots."""
    return bool(getattr(optimizer, "built", False) or getattr(optimizer, "_built", False))

"""The arguments of `compile` of Keras 2, Keras 3 and tf_keras, as ours.

Enters: what `get_compile_config` gives, or the training_config of a file; nothing in it is trusted.
Leaves: objects and names that our `compile` takes; what is not supported goes to `Problems`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kcompile.files.calls import mapping
from kcompile.files.configs import plain
from kcompile.files.problems import HOMES, Problems
from kcompile.keras import losses, metrics, optimizers
from kcompile.keras.loss_scaling import LossScaleOptimizer
from kcompile.keras.semantics import LEGACY_OPTIMIZERS
from kcompile.keras.settings import running
from kcompile.keras.utils.serialization import custom_names


def translate_compile_config(
    config: Mapping[str, Any], problems: Problems, vintage: str, tf: bool = False
) -> dict[str, Any]:
    """The arguments of `compile` from `get_compile_config`, or the `training_config` of a file: objects,
    or names, of ours. vintage: of the model, which its metrics count by. tf: those of tf.keras.

    `run_eagerly`, `jit_compile` and `steps_per_execution` say how another Keras computes, and mean
    nothing here.
    """
    with running(vintage):
        return _translated(config, problems, tf)


def _translated(config: Mapping[str, Any], problems: Problems, tf: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"loss_weights": config.get("loss_weights")}
    made["optimizer"] = _optimizer(config.get("optimizer", config.get("optimizer_config")), problems, tf)
    made["loss"] = _nested("loss", config.get("loss"), losses.get, problems)
    for key in ("metrics", "weighted_metrics"):
        made[key] = _nested(
            key, config.get(key), metrics.get, problems, ("accuracy", "acc", "crossentropy", "ce")
        )
    made["auto_scale_loss"] = config.get("auto_scale_loss") is not False
    mode = config.get("sample_weight_mode")
    made["sample_weight_mode"] = None if mode in ([None], {}) else mode
    return made


def _optimizer(value: Any, problems: Problems, tf: bool) -> Any:
    config = value.get("config") if isinstance(value, Mapping) else None
    if isinstance(config, Mapping) and isinstance(config.get("inner_optimizer"), Mapping):
        return _around(config, problems, tf)
    if isinstance(config, Mapping):
        given = dict(config)
        legacy = given.get("is_legacy_optimizer", True)  # the only ones that do not say so
        if tf:
            given["vintage"] = LEGACY_OPTIMIZERS if legacy else "tf_keras"
        if tf and legacy:
            if str(value.get("class_name")) == "Nadam":
                given["schedule_decay"] = given.pop("decay", None)
        value = {**value, "config": given}
    found = _object("optimizer", value, optimizers.get, problems)
    if tf and found is not None and found.home is None:
        found.settle_in("tf_keras")
    return found


def _around(config: Mapping[str, Any], problems: Problems, tf: bool) -> Any:
    """A LossScaleOptimizer of Keras 3, or one of the two of tf.keras."""
    inner = _optimizer(config["inner_optimizer"], problems, tf)
    given = {k: v for k, v in config.items() if k != "inner_optimizer" and v is not None}
    if given.pop("dynamic", True) is not True:
        problems.add(
            "compile: a LossScaleOptimizer with a fixed scale. Use loss_scale_factor of the optimizer"
        )
        return None
    try:
        return inner and LossScaleOptimizer(inner, **given)
    except (ValueError, TypeError) as error:
        problems.add(f"compile: LossScaleOptimizer: {error}")
        return None


def _nested(what: str, value: Any, get: Any, problems: Problems, names: tuple[str, ...] = ()) -> Any:
    """Names and objects in lists and dicts, by output. `names` have a meaning only in a model."""
    if value is None or (isinstance(value, str) and value in names):
        return value
    if isinstance(value, (list, tuple)):
        return [_nested(what, v, get, problems, names) for v in value]
    if isinstance(value, Mapping) and "class_name" not in value:
        return {k: _nested(what, v, get, problems, names) for k, v in value.items()}
    if isinstance(value, str):
        found = _object(what, value, get, problems)  # the name stays, as results are reported under it
        return found if value in custom_names() else value
    return _object(what, value, get, problems)


def _object(what: str, value: Any, get: Any, problems: Problems) -> Any:
    """An object from its configuration, without options that say nothing."""
    if isinstance(value, Mapping) and value.get("class_name") == "function":
        return _function(what, value, get, problems)
    if isinstance(value, Mapping):
        name = str(value.get("class_name")).rpartition(">")[2]
        if not _is_keras(value) and name not in custom_names():
            problems.add(f"compile: {what}: {name}, a class of your own. {_REMEDY.format(name)}")
            return None
        config = {
            k: _of_numbers(plain(v))
            for k, v in mapping(value.get("config")).items()
            if what == "optimizer" or not (v is None or v in _SILENT.get(k, ())) or _says(get, name, k, v)
        }
        if name == "MeanMetricWrapper":  # what tf.keras makes of a name or function
            found = _object(what, mapping(value.get("config")).get("fn"), get, problems)
            config["fn"] = found.function if type(found) is metrics.MeanMetricWrapper else found
            return metrics.MeanMetricWrapper(**config) if found is not None else None
        config.pop("fn", None)  # the function of a loss class, which tf_keras writes beside it
        value = {"class_name": name, "config": config}
    try:
        return get(value)
    except (ValueError, TypeError) as error:
        named = value["class_name"] if isinstance(value, Mapping) else value
        problems.add(f"compile: {what} {named!r}: {error}")
        return None


def _of_numbers(value: Any) -> Any:
    """A value of a configuration, tensors and arrays as lists: AUC's label_weights, of which Keras 3 and
    tf.keras write into .keras what they do not read again."""
    if isinstance(value, Mapping) and value.get("class_name") in ("__tensor__", "__numpy__"):
        return mapping(value.get("config")).get("value")
    return value


def _says(get: Any, name: str, option: str, value: Any) -> bool:
    """Whether a class of losses or metrics has another default for an option, so that a value that is mostly
    left out says something: None as R2Score's class_aggregation, -1 as Dice's axis, float32 of an IoU."""
    if option == "name" or (option == "dtype" and (value is None or get is losses.get)):
        return False
    known = losses.CLASSES if get is losses.get else metrics.CLASSES
    made = custom_names().get(name, known.get(name))
    found = inspect.signature(made).parameters.get(option) if isinstance(made, type) else None
    return found is not None and found.default not in (value, inspect.Parameter.empty)


_SILENT: dict[str, tuple[Any, ...]] = {"axis": (-1,), "dtype": ("float32",), "from_sorted_ids": (False,)}
_REMEDY = (
    "Write it over kcompile.keras.backend, and give it to load by custom_objects={{{0!r}: ...}}, or "
    "to compile of a kcompile.keras model"
)


def _is_keras(value: Mapping[str, Any]) -> bool:
    """Whether a configuration speaks of something of Keras' own; older files do not say."""
    module = value.get("module")
    return module is None or str(module).partition(".")[0] in HOMES


def _function(what: str, value: Mapping[str, Any], get: Any, problems: Problems) -> Any:
    """A function by its name. As a metric it is reported under the name that its Keras gave it."""
    name = value.get("config")
    if not (_is_keras(value) and value.get("module") is not None) and name not in custom_names():
        problems.add(f"compile: {what} {name!r}, a function of your own. {_REMEDY.format(name)}")
        return None
    source = losses.get if ".losses" in str(value.get("module")) else get
    if not _known(source, name):
        problems.add(f"compile: {what} {name!r}")
        return None
    found = source(name)
    return (
        metrics.MeanMetricWrapper(found, name)
        if get is metrics.get and found is not None and (name not in custom_names())
        else found
    )


def described(value: Any) -> Any:
    """The losses or metrics of a live model as configurations that hold all of their options: of those that
    wrap a function also the ones that get_config may leave out."""
    if isinstance(value, Mapping):
        return {key: described(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(v) for v in value]
    if value is None or isinstance(value, (str, losses.Loss)) or getattr(value, "traced", False):
        return value
    kind = value if isinstance(value, type) else type(value)
    if isinstance(value, type):
        return {"class_name": kind.__name__, "module": kind.__module__, "config": {}}
    if not hasattr(value, "get_config"):
        named = value if hasattr(value, "__name__") else kind
        return {"class_name": "function", "module": str(named.__module__), "config": named.__name__}
    config = {**value.get_config(), **getattr(value, "_fn_kwargs", {})}
    wrapped = getattr(value, "_fn", getattr(value, "fn", None))
    if kind.__name__ == "MeanMetricWrapper" and wrapped is not None:
        config["fn"] = described(wrapped)
    if isinstance(getattr(value, "dtype", None), str):
        config["dtype"] = value.dtype
    return {"class_name": kind.__name__, "module": kind.__module__, "config": config}


def _known(get: Any, name: Any) -> bool:
    try:
        return isinstance(name, str) and get(name) is not None
    except (ValueError, TypeError):
        return False

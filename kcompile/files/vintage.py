"""Which Keras wrote a model, and the configurations of Keras 0.3 and 1 in the words of Keras 2.

Enters: parsed configurations, as they stand in files. Leaves: the same as `{"class_name", "config"}`
trees with Keras 2's classes and arguments. Layers of Keras 1 are translated by the table `KERAS1`: a new
class takes a line there. Whether a layer or argument is supported is not decided here (`configs` does).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kcompile.files.branches import as_functional, has_branches
from kcompile.keras import keras1
from kcompile.keras.layers.old_merge import MODES
from kcompile.keras.semantics import vintage_of_version
from kcompile_runtime.errors import ModelError, describe

Config = dict[str, Any]
BACKENDS = ("tensorflow", "theano")
MAX_LAYERS = 10_000  # in all models of a file


@dataclass(frozen=True)
class Vintage:
    """version: of Keras, such as (1, 2, 2). tf: tf.keras wrote it. backend: that it computed with,
    None where nobody knows."""

    version: tuple[int, ...]
    tf: bool = False
    backend: str | None = None

    @property
    def semantics(self) -> str:
        """The vintage whose semantics the front end gives it: a name of `kcompile.keras.semantics`."""
        return vintage_of_version(self.version, self.tf)

    @property
    def keras1(self) -> bool:
        return self.version < (2,)


OURS = Vintage((2, 3), False, "kcompile")  # files of kcompile say the vintages of layers themselves


def parse_version(text: str) -> tuple[tuple[int, ...], bool]:
    """ "2.2.4-tf" -> ((2, 2, 4), True). From 2.4 on Keras is tf.keras."""
    numbers = tuple(int(n) for n in re.findall(r"\d{1,6}", text.partition("-")[0])[:3])
    if not numbers:
        raise ModelError(describe("keras_version", "a version such as 2.3.1", repr(text)))
    return numbers, "-tf" in text or (2, 4) <= numbers < (3,)


def vintage_of(entry: Mapping[str, Any], version: str | None, backend: str | None) -> Vintage:
    """The vintage of a model's configuration. version, backend: as a file says beside it."""
    version = version if version is not None else _text(entry, "keras_version")
    backend = backend if backend is not None else _text(entry, "backend")
    if backend == OURS.backend:
        return OURS
    if version is not None:
        numbers, tf = parse_version(version)
        return Vintage(numbers, tf, backend)
    if "module" in entry:  # Keras 3 writes where its classes are, and no version
        return Vintage((3,), False, backend)
    return Vintage((1,) if _is_old(entry) else (2, 3), False, backend)


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) else None


def _is_old(entry: Mapping[str, Any]) -> bool:
    """Whether a configuration without a version speaks Keras 1 (or 0.3)."""
    config = entry.get("config")
    layers = entry.get("layers", config.get("layers") if isinstance(config, Mapping) else config)
    if not isinstance(layers, list):
        return False
    signs = {
        "dim_ordering",
        "output_dim",
        "nb_filter",
        "border_mode",
        "input_dtype",
        "W_regularizer",
        "init",
        "p",
        "inner_init",
    }
    for layer in layers:
        if isinstance(layer, Mapping):
            inner = layer.get("config")
            if signs & set(inner if isinstance(inner, Mapping) else layer):
                return True
    return isinstance(config, list) or "layers" in entry


# ---------------------------------------------------------------- Keras 1 -> 2

# Arguments of files beside those that scripts may write (`keras1.LAYERS`); None: it says nothing.
NAMES: dict[str, str | None] = {
    "U_constraint": "recurrent_constraint",
    "atrous_rate": "dilation_rate",
    "cache_enabled": None,
    "custom_name": None,
    "input_dim": None,
    "input_dtype": "dtype",
    "input_length": None,
}


@dataclass(frozen=True)
class Rule:
    """How a class of Keras 1 is written in Keras 2, beyond what `keras1.LAYERS` has.

    name: the class, None: the same. names: more arguments. change: called with the new configuration, for
    what is more than a name.
    """

    name: str | None = None
    names: Mapping[str, str | None] = field(default_factory=dict)
    change: Callable[[Config], None] | None = None


def _embedding(config: Config) -> None:
    if config.get("dropout") == 0:
        del config["dropout"]


# Classes of Keras 1 that have another name, or arguments that scripts of Keras 2 cannot write.
KERAS1: dict[str, Rule] = {
    "AtrousConvolution1D": Rule("Conv1D"),
    "AtrousConvolution2D": Rule("Conv2D"),
    "Convolution1D": Rule("Conv1D"),
    "Convolution2D": Rule("Conv2D"),
    "Convolution3D": Rule("Conv3D"),
    "Deconvolution2D": Rule("Conv2DTranspose", {"output_shape": None}),
    "Embedding": Rule(
        None, {"input_dim": "input_dim", "input_length": "input_length", "dropout_W": "dropout"}, _embedding
    ),
    "SeparableConvolution2D": Rule("SeparableConv2D"),
    "TimeDistributedDense": Rule("Dense"),
}


def upgrade(entry: Mapping[str, Any]) -> Config:
    """The configuration of a model or layer of Keras 0.3 or 1 in the words of Keras 2."""
    if not isinstance(entry, Mapping):
        raise ModelError(describe("configuration", "a class_name and a config", repr(entry)[:80]))
    if "class_name" not in entry:
        return _upgrade_03(entry)
    kind, config = entry["class_name"], entry.get("config")
    if not isinstance(kind, str) or not isinstance(config, (Mapping, list)):
        raise ModelError(describe("configuration", "a class_name and a config", repr(entry)[:80]))
    made = {key: value for key, value in entry.items() if key not in ("class_name", "config")}
    if kind in ("Sequential", "Model"):
        layers = config if isinstance(config, list) else config.get("layers")
        if not isinstance(layers, list):
            raise ModelError(describe(f"configuration of a {kind}", "a list of layers", repr(layers)[:80]))
        rest = {} if isinstance(config, list) else dict(config)
        if kind == "Sequential" and has_branches(layers):
            return {**made, **as_functional(layers, upgrade, rest.get("name"))}
        return {
            **made,
            "class_name": kind,
            "config": {**rest, "layers": [upgrade(layer) for layer in layers]},
        }
    if isinstance(config, list):
        raise ModelError(describe(f"configuration of a {kind}", "arguments by name", "a list"))
    return {**made, **upgrade_layer(kind, config)}


def upgrade_layer(kind: str, config: Mapping[str, Any]) -> Config:
    """The configuration of one layer, with those inside it (wrappers)."""
    if kind == "Merge":
        return _upgrade_merge(config)
    rule = KERAS1.get(kind, Rule())
    spelling = keras1.LAYERS.get(rule.name or kind, keras1.Spelling())
    names = {**NAMES, **spelling.names, **rule.names}
    made: Config = {}
    for key, value in config.items():
        if value in (spelling.gone.get(key) or ()):
            continue
        new = names.get(key, key)
        for name in (new,) if isinstance(new, str) else new or ():
            made[name] = _value(key, value)
    if any(size in made for size in spelling.sizes):
        made["kernel_size"] = [made.pop(size, None) for size in spelling.sizes]
    if rule.change is not None:
        rule.change(made)
    if isinstance(made.get("layer"), Mapping):
        made["layer"] = upgrade(made["layer"])
    return {"class_name": rule.name or kind, "config": made}


def _value(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return keras1.VALUES.get(key, {}).get(value, value)
    if key.endswith("_regularizer") and isinstance(value, Mapping):
        return {
            "class_name": "L1L2"
            if value.get("name") in ("WeightRegularizer", "ActivityRegularizer", "L1L2Regularizer")
            else value.get("name"),
            "config": {k: v for k, v in value.items() if k != "name"},
        }
    if key.endswith("_constraint") and isinstance(value, Mapping):
        return {
            "class_name": value.get("name"),
            "config": {"max_value" if k == "m" else k: v for k, v in value.items() if k != "name"},
        }
    return value


def _upgrade_merge(config: Mapping[str, Any]) -> Config:
    """A Merge called on tensors. One that holds its branches and is not the first layer of a Sequential
    stays, to be refused."""
    mode = config.get("mode")
    kind = MODES[mode].__name__ if isinstance(mode, str) and mode in MODES else "Merge"
    made = {key: config[key] for key in ("name", "trainable") if key in config}
    if config.get("layers"):
        kind = "Merge"
    elif config.get("mode_type") in ("lambda", "function"):
        return {
            "class_name": "Lambda",
            "config": {**made, "function": mode, "arguments": config.get("arguments") or {}},
        }
    if kind == "Merge":
        return {"class_name": "Merge", "config": {**made, "mode": mode}}
    if kind == "Concatenate":
        made["axis"] = config.get("concat_axis", -1)
    if kind == "Dot":
        made.update(axes=config.get("dot_axes", -1), normalize=mode == "cos")
    return {"class_name": kind, "config": made}


def _upgrade_03(entry: Mapping[str, Any]) -> Config:
    """A Sequential of Keras 0.3: layers without names of their own, their class called "name"."""
    counts: dict[str, int] = {}
    layers = []
    for layer in entry.get("layers", ()):
        kind = layer.get("name") if isinstance(layer, Mapping) else layer
        if not isinstance(layer, Mapping) or not isinstance(kind, str):
            raise ModelError(describe("a layer of Keras 0.3", "the name of its class", repr(kind)[:80]))
        config = {key: value for key, value in layer.items() if key != "name"}
        if isinstance(config.get("input_shape"), list):
            config["batch_input_shape"] = [None, *config.pop("input_shape")]
        counts[kind] = counts.get(kind, 0) + 1
        config["name"] = f"{kind.lower()}_{counts[kind]}"
        layers.append(upgrade_layer(kind, config))
    return {"class_name": str(entry.get("name", "Sequential")), "config": {"layers": layers}}

"""FeatureSpaces of Keras 3 in .keras files: columns of a table with the layers that prepare them.

Enters: a space; or an opened file, in which nothing is trusted. Leaves: a configuration that Keras takes,
which holds all that was learned; or a space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kcompile.files import emit, learned, reader
from kcompile.files.calls import mapping
from kcompile.files.configs import translate_model
from kcompile.files.problems import Problems
from kcompile.keras.engine import Layer
from kcompile.keras.feature_space import FeatureSpace
from kcompile.keras.layers.preprocessing.scaling import Normalization
from kcompile.keras.layers.registry import deserialize
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

KIND = "FeatureSpace"
ROOM = "preprocessors"  # where Keras 3 has what belongs to the layers of columns
_HOME = "keras.src.layers.preprocessing.feature_space"
_ARGUMENTS = ("output_mode", "crossing_dim", "hashing_dim", "num_discretization_bins")


# ---------------------------------------------------------------- written


def configuration(space: Any) -> dict[str, Any]:
    """The space as Keras 3 writes it, with all that was learned. Raises UnsupportedError for a column that
    another thing than a layer prepares."""
    columns = {name: _column(name, feature) for name, feature in space.features.items()}
    crosses = [_entry("Cross", cross.get_config()) for cross in space.crosses]
    config: dict[str, Any] = {"features": columns, "crosses": crosses}
    config.update((key, getattr(space, key)) for key in _ARGUMENTS)
    built = {name: entry["config"]["preprocessor"]["build_config"] for name, entry in columns.items()}
    entry = {"module": "keras.utils", "class_name": KIND, "config": config, "registered_name": None}
    return {**entry, "build_config": built}


def _column(name: str, feature: Any) -> dict[str, Any]:
    layer = feature.preprocessor
    if not isinstance(layer, Layer):
        why = f"feature {name!r} is prepared by a function. Make it a layer"
        raise UnsupportedError(f"FeatureSpace.save: {why}")
    made = emit.layer_entry(layer)
    if isinstance(layer, Normalization) and layer.built and made["config"].get("mean") is None:
        for key in ("mean", "variance"):
            made["config"][key] = np.ravel(getattr(layer, key)).tolist()
    made["build_config"] = {"input_shape": [None, 1]} if isinstance(layer, Normalization) else {}
    config = {"dtype": feature.dtype, "preprocessor": made, "output_mode": feature.output_mode}
    return _entry("Feature", config)


def _entry(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": _HOME, "class_name": kind, "config": config, "registered_name": kind}


# ---------------------------------------------------------------- read


def _known(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer by the class that Keras shows: what gives a column as it is has one of its own there."""
    if layer.get("class_name") != "TFDIdentity":
        return dict(layer)
    return {"module": "keras.layers", "class_name": "Identity", "config": layer.get("config", {})}


def read(
    entry: Mapping[str, Any], archive: reader.KerasArchive, vintage: str, custom: Mapping[str, Any]
) -> FeatureSpace:
    """The space of an opened .keras file. Raises UnsupportedError for layers that are not supported,
    ModelError for what is no space."""
    config = mapping(entry.get("config"))
    given = mapping(config.get("features"))
    columns = {str(name): mapping(mapping(column).get("config")) for name, column in given.items()}
    layers = [c.get("preprocessor") for c in columns.values()]
    if not layers or not all(isinstance(layer, dict) for layer in layers):
        raise ModelError(describe(KIND, "the configuration of a FeatureSpace", "columns without layers"))
    learned.from_archive({"config": {"layers": layers}}, archive.assets, archive.weights, ROOM)
    layers = [_known(mapping(layer)) for layer in layers]
    problems = Problems(KIND, "loaded")
    chain = {"class_name": "Sequential", "config": {"name": "columns", "layers": layers}}
    made = translate_model(chain, problems, vintage, custom=custom)["config"]["layers"]
    problems.report()
    if len(made) != len(layers):
        raise ModelError(describe(KIND, "a layer for each column", "models among them"))
    features = {}
    for (name, column), one in zip(columns.items(), made):
        features[name] = {
            "dtype": str(column.get("dtype")),
            "preprocessor": deserialize(one),
            "output_mode": str(column.get("output_mode")),
        }
    options = {key: config[key] for key in _ARGUMENTS if key in config}
    crosses = [dict(mapping(mapping(c).get("config"))) for c in config.get("crosses") or ()]
    return FeatureSpace.from_config({**options, "features": features, "crosses": crosses, "vintage": vintage})

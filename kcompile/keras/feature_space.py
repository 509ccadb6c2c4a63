"""keras.utils.FeatureSpace: the columns of a table as one array of numbers, or a dict of arrays.

Enters: what each column is, and data: dicts of arrays, or data sets of them. Leaves: layers that prepare each
column; on arrays the encoded columns, and on inputs the tensors of a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import Layer
from kcompile.keras.inputs import Input
from kcompile.keras.layers import Concatenate, Identity
from kcompile.keras.layers.preprocessing import (
    CategoryEncoding,
    Discretization,
    HashedCrossing,
    Hashing,
    IntegerLookup,
    Normalization,
    Rescaling,
    StringLookup,
)
from kcompile.keras.layers.registry import deserialize
from kcompile.keras.saving import files
from kcompile.keras.settings import get_uid
from kcompile.keras.utils.serialization import serialize
from kcompile_runtime.arrays import gives_batches
from kcompile_runtime.checks import check_path
from kcompile_runtime.errors import InputError, KindError, ModelError, UnsupportedError, describe

__all__ = ["Cross", "Feature", "FeatureSpace"]

MODES = ("int", "one_hot", "float")
UNBATCHED = 32  # rows of a data set that gives them one by one are taken together by so many


class Feature:
    """A column: its dtype, the layer that prepares it, and in which form it comes out: "int", "one_hot" or
    "float"."""

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        if output_mode not in MODES:
            raise ModelError(describe("Feature: output_mode", ", ".join(map(repr, MODES)), repr(output_mode)))
        made = deserialize(preprocessor) if isinstance(preprocessor, Mapping) else preprocessor
        if not callable(made):
            raise KindError(describe("Feature: preprocessor", "a layer", repr(preprocessor)))
        self.dtype, self.preprocessor, self.output_mode = dtype, made, output_mode

    def get_config(self) -> dict[str, Any]:
        made, layer = serialize(self.preprocessor), self.preprocessor
        if isinstance(layer, Normalization) and layer.built and made["config"].get("mean") is None:
            for key in ("mean", "variance"):
                made["config"][key] = np.ravel(getattr(layer, key)).tolist()
        return {"dtype": self.dtype, "preprocessor": made, "output_mode": self.output_mode}


class Cross:
    """Columns that are hashed together into crossing_dim bins, in the form "int" or "one_hot"."""

    def __init__(self, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot") -> None:
        if output_mode not in MODES[:2]:
            raise ModelError(describe("Cross: output_mode", "'int' or 'one_hot'", repr(output_mode)))
        self.feature_names, self.crossing_dim = tuple(feature_names), crossing_dim
        self.output_mode = output_mode

    @property
    def name(self) -> str:
        """The names of the columns, joined."""
        return "_X_".join(self.feature_names)

    def get_config(self) -> dict[str, Any]:
        return {
            "feature_names": list(self.feature_names),
            "crossing_dim": self.crossing_dim,
            "output_mode": self.output_mode,
        }


def _made(space: Any, kind: str, name: str | None) -> dict[str, Any]:
    """The name and the vintage of a column's layer."""
    return {"name": f"{name or f'{kind}_{get_uid(kind)}'}_preprocessor", "vintage": space.vintage}


class FeatureSpace(Layer):
    """Columns by name, each a `Feature` or the name of a kind: "float", "float_normalized", "float_rescaled",
    "float_discretized", "integer_categorical", "string_categorical", "integer_hashed", "string_hashed".

    output_mode: "concat" for one array, columns in the order of their names, then crosses; "dict". crosses:
    lists of names, or `FeatureSpace.cross`. crossing_dim, hashing_dim, num_discretization_bins: of crosses
    and kinds that are given by name. `adapt` learns what layers need; then the space is called on dicts of
    arrays, and `get_encoded_features` are the tensors for a model over `get_inputs`.
    """

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Sequence[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not isinstance(features, Mapping) or not features:
            raise ModelError(
                describe("FeatureSpace: features", "a dict of columns by name", repr(features)[:80])
            )
        if output_mode not in ("concat", "dict"):
            raise ModelError(describe("FeatureSpace: output_mode", "'concat' or 'dict'", repr(output_mode)))
        self.output_mode = output_mode
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins = num_discretization_bins
        self.features = {key: self._feature(key, value) for key, value in features.items()}
        self.crosses = [self._cross(cross) for cross in crosses or ()]
        self.preprocessors = {key: value.preprocessor for key, value in self.features.items()}
        self.crossers = {
            cross.name: HashedCrossing(cross.crossing_dim, name=cross.name, vintage=self.vintage)
            for cross in self.crosses
        }
        self.inputs = {
            key: Input((1,), dtype=value.dtype, name=key, vintage=self.vintage)
            for key, value in self.features.items()
        }
        self.one_hot_encoders: dict[str, Layer] = {}
        self._joined = Concatenate(axis=-1, name=f"{self.name}_concatenate", vintage=self.vintage)
        self._adapted = False
        self._encoded: Any = None

    # ---- kinds of columns

    @classmethod
    def cross(cls, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot") -> Cross:
        """Columns hashed together."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """A column with a layer of one's own."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """Numbers as they are."""
        return Feature("float32", Identity(**_made(cls, "float", name)), "float")

    @classmethod
    def float_rescaled(cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None) -> Feature:
        """Numbers times scale, plus offset."""
        return Feature("float32", Rescaling(scale, offset, **_made(cls, "float_rescaled", name)), "float")

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """Numbers of mean 0 and variance 1."""
        return Feature("float32", Normalization(-1, **_made(cls, "float_normalized", name)), "float")

    @classmethod
    def float_discretized(
        cls,
        num_bins: int | None,
        bin_boundaries: Any = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Numbers as those of bins."""
        layer = Discretization(bin_boundaries, num_bins, **_made(cls, "float_discretized", name))
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Whole numbers as places in a vocabulary."""
        layer = IntegerLookup(max_tokens, num_oov_indices, **_made(cls, "integer_categorical", name))
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Texts as places in a vocabulary."""
        layer = StringLookup(max_tokens, num_oov_indices, **_made(cls, "string_categorical", name))
        return Feature("string", layer, output_mode)

    @classmethod
    def string_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Texts by their hash."""
        return Feature("string", Hashing(num_bins, **_made(cls, "string_hashed", name)), output_mode)

    @classmethod
    def integer_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Whole numbers by their hash."""
        return Feature("int32", Hashing(num_bins, **_made(cls, "integer_hashed", name)), output_mode)

    def _feature(self, name: str, given: Any) -> Feature:
        if isinstance(given, Feature):
            return given
        if isinstance(given, Mapping):
            return Feature(**given.get("config", given))
        plain = ("float", "float_normalized", "float_rescaled", "integer_categorical", "string_categorical")
        if given in plain:
            made: Feature = getattr(self, given)(name=name)
            return made
        if given == "float_discretized":
            return self.float_discretized(self.num_discretization_bins, name=name)
        if given in ("integer_hashed", "string_hashed"):
            hashed: Feature = getattr(self, given)(self.hashing_dim, name=name)
            return hashed
        wanted = ", ".join((*plain, "float_discretized", "integer_hashed", "string_hashed"))
        raise ModelError(describe(f"FeatureSpace: feature {name!r}", wanted, repr(given)))

    def _cross(self, given: Any) -> Cross:
        if isinstance(given, Mapping):
            given = Cross(**given.get("config", given))
        if not isinstance(given, Cross):
            given = Cross(given, self.crossing_dim)
        unknown = [name for name in given.feature_names if name not in self.features]
        if unknown:
            raise ModelError(
                describe("FeatureSpace: crosses", "names of features", ", ".join(map(repr, unknown)))
            )
        return given

    # ---- learned

    def adapt(self, dataset: Any) -> None:
        """Let the layers learn from a dict of arrays, or a data set of dicts, batched or not."""
        if not isinstance(dataset, Mapping) and not gives_batches(dataset):
            raise KindError(
                describe(
                    "FeatureSpace: adapt", "a data set of dicts, or a dict of arrays", type(dataset).__name__
                )
            )
        for name in self._learning():
            if isinstance(dataset, Mapping):
                column = np.asarray(dataset[name]).reshape(-1, 1)
                parts = [column[at : at + UNBATCHED] for at in range(0, len(column), UNBATCHED)]
            else:
                parts = _batched([np.asarray(row[name]) for row in dataset])
            if not parts:
                raise InputError("FeatureSpace: adapt: expected data. Received: none")
            learner: Any = self.preprocessors[name]
            learner.adapt(parts)
        self._adapted = True
        self.get_encoded_features()

    def _learning(self) -> list[str]:
        """The columns whose layers learn."""
        found = []
        for name, layer in self.preprocessors.items():
            config = layer.get_config() if isinstance(layer, Layer) else {}
            given = any(config.get(key) is not None for key in ("mean", "vocabulary", "bin_boundaries"))
            if hasattr(layer, "adapt") and not (given and config.get("has_input_vocabulary") is not False):
                found.append(name)
        return found

    def _ready(self) -> None:
        if not self._adapted and self._learning():
            raise ModelError(f"{self.name}: call adapt(dataset) on the FeatureSpace before it is used")
        self._adapted = True

    # ---- encoded

    def get_inputs(self) -> dict[str, Any]:
        """The inputs of a model, by column: [batch, 1]."""
        self._ready()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """The encoded columns of `get_inputs`: tensors of a model."""
        self._ready()
        if self._encoded is None:
            self._encoded = self._encode(self.inputs)
        return self._encoded

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        """The encoded columns of a dict of arrays [batch] or [batch, 1], or of single values."""
        self._ready()
        data = inputs
        if not isinstance(data, Mapping):
            raise KindError(describe(f"{self.name}: call", "a dict of columns", type(data).__name__))
        if any(isinstance(x, Tensor) or hasattr(x, "node") for x in data.values()):
            raise UnsupportedError(
                f"{self.name}: call: expected arrays. For a model, use get_inputs and get_encoded_features"
            )
        self.get_encoded_features()
        arrays = {name: np.asarray(data[name]) for name in self.features if name in data}
        if missing := [name for name in self.features if name not in arrays]:
            raise InputError(describe(f"{self.name}: call", ", ".join(self.features), f"no {missing[0]!r}"))
        alone = any(array.ndim == 0 for array in arrays.values())
        columns = {name: array.reshape(-1, 1) if array.ndim < 2 else array for name, array in arrays.items()}
        for name, feature in self.features.items():
            if feature.dtype != "string":
                columns[name] = columns[name].astype(feature.dtype)
        made = self._encode(columns)
        if not alone:
            return made
        return {name: y[0] for name, y in made.items()} if isinstance(made, dict) else made[0]

    def _encode(self, columns: Mapping[str, Any]) -> Any:
        prepared = {name: self.preprocessors[name](columns[name]) for name in sorted(columns)}
        crossed = {
            cross.name: self.crossers[cross.name]([prepared[name] for name in cross.feature_names])
            for cross in sorted(self.crosses, key=lambda cross: cross.name)
        }
        modes = {name: self.features[name].output_mode for name in prepared}
        modes |= {cross.name: cross.output_mode for cross in self.crosses}
        made = {
            name: self._one_hot(name, y) if modes[name] == "one_hot" else y
            for name, y in {**prepared, **crossed}.items()
        }
        if self.output_mode == "dict":
            return made
        for name, y in made.items():
            if not str(y.dtype).startswith("float"):
                raise ModelError(
                    f"{self.name}: feature {name!r} is not encoded (its dtype is {y.dtype}), and cannot be "
                    "joined with others. Use output_mode='dict'"
                )
        parts = list(made.values())
        return parts[0] if len(parts) == 1 else self._joined(parts)

    def _one_hot(self, name: str, y: Any) -> Any:
        if name not in self.one_hot_encoders:
            layer = self.crossers.get(name) or self.preprocessors[name]
            count = None
            if isinstance(layer, (IntegerLookup, StringLookup)):
                count = layer.vocabulary_size()
            elif isinstance(layer, CategoryEncoding):
                count = layer.num_tokens
            elif isinstance(layer, (Discretization, Hashing, HashedCrossing)):
                count = layer.num_bins
            if count is None or not str(y.dtype).startswith("int"):
                raise ModelError(
                    f"{self.name}: feature {name!r} has output_mode='one_hot', and how many numbers its "
                    "layer gives is not known. Use output_mode='int'"
                )
            self.one_hot_encoders[name] = CategoryEncoding(
                count, output_mode="multi_hot", name=f"{name}_one_hot", vintage=self.vintage
            )
        return self.one_hot_encoders[name](y)

    # ---- configuration

    def get_config(self) -> dict[str, Any]:
        """The arguments for `from_config`, with what was learned."""
        return {
            "features": {name: serialize(feature) for name, feature in self.features.items()},
            "output_mode": self.output_mode,
            "crosses": [serialize(cross) for cross in self.crosses],
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FeatureSpace:
        """The space of a configuration; what it had learned is learned."""
        made = cls(**config)
        made._adapted = True
        return made

    def save(self, filepath: Any) -> None:
        """Write a .keras file, which `load_model` reads, and Keras 3. Raises UnsupportedError in tf.keras,
        and for columns that functions prepare, InputError for another suffix, OSError."""
        self._ready()
        files().save_space(self, check_path("FeatureSpace.save: filepath", filepath))


def _batched(rows: list[np.ndarray]) -> list[np.ndarray]:
    """Columns [batch, 1] of what a data set gives."""
    if rows and rows[0].ndim == 0:
        return [np.stack(rows[at : at + UNBATCHED]).reshape(-1, 1) for at in range(0, len(rows), UNBATCHED)]
    return [row[:, None] if row.ndim == 1 else row for row in rows]

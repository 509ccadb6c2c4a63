"""Models and files: Keras' names for what `kcompile.files` does.

The front end does not know files; it reaches them through the public package when a method is called.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

PathLike = str | os.PathLike[str]
Custom = Mapping[str, Any] | None


def _files() -> Any:
    import kcompile

    return kcompile.files


class Saving:
    """The part of `Model` that is about files and texts."""

    def save(self, path: PathLike, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write the whole model to a .keras (Keras 3) or .h5 file (as tf.keras has it), which appears
        whole or not at all. Raises InputError, ModelError for a model without weights, OSError."""
        _files().save(self, path, overwrite, include_optimizer)

    def save_weights(self, path: PathLike, overwrite: bool = True) -> None:
        """Write the weights to .weights.h5 (laid out as in Keras 3), .h5 (Keras 2) or .npz."""
        _files().save_weights(self, path, overwrite)

    def load_weights(self, path: PathLike, by_name: bool = False, skip_mismatch: bool = False) -> None:
        """Read weights from a file of any Keras. by_name: only into layers whose name is in the file.
        skip_mismatch: leave layers that do not fit, with a warning. Raises ModelError, with nothing
        changed, where they do not fit."""
        _files().load_weights(self, path, by_name, skip_mismatch)

    def to_json(self, **kwargs: Any) -> str:
        """The architecture as JSON, as Keras 2 and 3 read it. kwargs: those of json.dumps."""
        text: str = _files().to_json(self, **kwargs)
        return text

    def to_yaml(self, **kwargs: Any) -> str:
        """The architecture as YAML. kwargs: those of yaml.safe_dump."""
        text: str = _files().to_yaml(self, **kwargs)
        return text


def save_model(model: Any, filepath: PathLike, overwrite: bool = True, include_optimizer: bool = True
               ) -> None:
    """`model.save`."""
    model.save(filepath, overwrite, include_optimizer)


def load_model(filepath: PathLike, custom_objects: Custom = None, compile: bool = True) -> Any:
    """The model in a .keras or .h5 file of any Keras; `kcompile.load` says more."""
    return _files().load(filepath, custom_objects=custom_objects, compile=compile)


def model_from_json(json_string: str, custom_objects: Custom = None) -> Any:
    """The model that `to_json` wrote, with fresh weights. Raises ModelError for other text."""
    return _files().model_from_json(json_string, custom_objects)


def model_from_yaml(yaml_string: str, custom_objects: Custom = None) -> Any:
    """The model that `to_yaml` wrote, with fresh weights. Raises ModelError for other text."""
    return _files().model_from_yaml(yaml_string, custom_objects)

"""Models from elsewhere: files, and live objects of Keras (`live`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kcompile.files import reader
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


def load(path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> Any:
    """The model in a file.

    path: an architecture in JSON, as `model.to_json()` gives it. weights: an .npz file made by
    `numpy.savez(weights, *model.get_weights())`; without it weights are initialised anew. Raises
    UnsupportedError for formats that are not read yet (.keras, .h5, .yaml), ModelError for damaged
    or unfitting files, OSError.
    """
    from kcompile.keras.models import model_from_config

    file = Path(path)
    if file.suffix != ".json":
        raise UnsupportedError(describe(
            str(file), "a model architecture in .json", f"a file with suffix {file.suffix!r}",
            "Other formats of Keras are not read yet; a live Keras model can be handed to "
            "kcompile.compile directly."))
    config = reader.read_json(file)
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError(describe(str(file), "a model as model.to_json() writes it",
                                  type(config).__name__))
    model = model_from_config(config)
    if weights is not None:
        model.set_weights(reader.read_arrays(weights))
    return model

"""The settings and small services that Keras calls the backend (`K`).

Numbers that hold for a whole script: the fuzz factor, the float type, the default data format, and
the counters that name layers. Nothing here computes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from kcompile_runtime.errors import ModelError, UnsupportedError, describe

DATA_FORMATS = ("channels_last", "channels_first")
FLOAT = "float32"

_settings: dict[str, Any] = {"epsilon": 1e-7}
_names: Counter[str] = Counter()


def epsilon() -> float:
    """The small number that guards divisions and logarithms."""
    return float(_settings["epsilon"])


def set_epsilon(value: float) -> None:
    _settings["epsilon"] = float(value)


def floatx() -> str:
    """The dtype of weights and of what layers compute: float32."""
    return FLOAT


def set_floatx(dtype: str) -> None:
    if dtype != FLOAT:
        raise UnsupportedError(describe("set_floatx", "'float32'", repr(dtype)))


def image_data_format() -> str:
    """'channels_last' or 'channels_first': as set, or as `~/.keras/keras.json` has it."""
    if "image_data_format" not in _settings:
        _settings["image_data_format"] = _configured_format()
    return str(_settings["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    _settings["image_data_format"] = checked_data_format(data_format)


def checked_data_format(value: str | None) -> str:
    """A data format, None meaning the default. Raises ModelError."""
    if value is None:
        return image_data_format()
    if value not in DATA_FORMATS:
        raise ModelError(describe("data_format", " or ".join(map(repr, DATA_FORMATS)), repr(value)))
    return value


def _configured_format() -> str:
    try:
        text = (Path.home() / ".keras" / "keras.json").read_text(encoding="utf-8")
        value = json.loads(text).get("image_data_format")
    except (OSError, ValueError, RuntimeError, AttributeError):
        return DATA_FORMATS[0]
    return value if value in DATA_FORMATS else DATA_FORMATS[0]


# ---------------------------------------------------------------- names


def get_uid(prefix: str = "") -> int:
    """1, 2, 3, ... for each prefix."""
    _names[prefix] += 1
    return _names[prefix]


def reset_uids() -> None:
    _names.clear()


def clear_session() -> None:
    """Start naming layers from 1 again. Models that exist keep working."""
    reset_uids()


def snake_case(name: str) -> str:
    """Keras' way from a class to the names of its layers: MaxPooling2D -> max_pooling2d."""
    spaced = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    spaced = re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()
    return spaced if not spaced.startswith("_") else "private" + spaced


# ---------------------------------------------------------------- values


def int_shape(x: Any) -> tuple[int | None, ...]:
    """The shape of a tensor of a model, None standing for the batch."""
    return tuple(x.shape)


def is_keras_tensor(x: Any) -> bool:
    """Whether x came out of Input or of a layer."""
    from kcompile.keras.engine import KerasTensor

    return isinstance(x, KerasTensor)


def get_value(variable: Any) -> np.ndarray:
    """A copy of a variable's value."""
    return np.array(variable.numpy())


def set_value(variable: Any, value: Any) -> None:
    variable.assign(value)


def eval(x: Any) -> np.ndarray:
    """The value of x."""
    return np.asarray(x)

"""Arguments of images under the names of Keras 1."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from kcompile.keras.settings import checked_data_format
from kcompile_runtime.errors import InputError, InputTypeError, describe

ORDERINGS = {"th": "channels_first", "tf": "channels_last", "default": None}
AXES = {"row_index": "row_axis", "col_index": "col_axis", "channel_index": "channel_axis"}


def older_axes(where: str, old: Mapping[str, Any], axes: dict[str, Any]) -> dict[str, Any]:
    """The axes of an image, also under the names of Keras 1. Raises InputTypeError for other arguments."""
    _check(where, old, AXES)
    for name, value in old.items():
        _warn(where, name, AXES[name])
        axes[AXES[name]] = value
    return axes


def data_format_of(where: str, data_format: str | None, old: Mapping[str, Any]) -> str:
    """A data format, None for the default, also as Keras 1's dim_ordering. Raises ModelError (a ValueError)
    for another, InputTypeError for other arguments."""
    _check(where, old, ("dim_ordering",))
    if "dim_ordering" in old:
        _warn(where, "dim_ordering", "data_format")
        ordering = old["dim_ordering"]
        if ordering not in ORDERINGS:
            raise InputError(describe(f"{where}: dim_ordering", "'th', 'tf' or 'default'", repr(ordering)))
        data_format = ORDERINGS[ordering]
    return checked_data_format(data_format)


def _check(where: str, old: Mapping[str, Any], known: Any) -> None:
    if others := [name for name in old if name not in known]:
        raise InputTypeError(
            describe(where, f"the arguments of Keras' {where}", ", ".join(map(repr, others)))
        )


def _warn(where: str, old: str, new: str) -> None:
    warnings.warn(f"{where}: {old} is Keras 1's name of {new}", stacklevel=4)

"""Arguments of images under the names of Keras 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompile.keras.keras1 import Spelling, translated
from kcompile.keras.settings import checked_data_format
from kcompile_runtime.errors import InputTypeError, describe

AXES = Spelling({"row_index": "row_axis", "col_index": "col_axis", "channel_index": "channel_axis"})
ORDERING = Spelling({"dim_ordering": "data_format"})


def older_axes(where: str, old: Mapping[str, Any], axes: dict[str, Any]) -> dict[str, Any]:
    """The axes of an image, also under the names of Keras 1. Raises InputTypeError for other arguments."""
    return {**axes, **_translated(where, AXES, old)}


def data_format_of(where: str, data_format: str | None, old: Mapping[str, Any]) -> str:
    """A data format, None for the default, also as Keras 1's dim_ordering. Raises ModelError (a ValueError)
    for another, InputTypeError for other arguments."""
    return checked_data_format(_translated(where, ORDERING, old).get("data_format", data_format))


def _translated(where: str, spelling: Spelling, old: Mapping[str, Any]) -> dict[str, Any]:
    if others := [name for name in old if name not in spelling.names]:
        raise InputTypeError(
            describe(where, f"the arguments of Keras' {where}", ", ".join(map(repr, others)))
        )
    return translated(where, spelling, (), old, stacklevel=5)[1]

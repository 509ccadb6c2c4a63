"""Options of losses and metrics: what their values may be, and how constructors take them.

Enters: arguments as users and configurations give them. Leaves: Python's own numbers by name, or an error
that names the class and the option.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.types import FLOATS
from kcompile.keras.policies import MIXED, dtype_here, named
from kcompile.keras.settings import dtype_name
from kcompile.keras.tensors import is_integer, is_number
from kcompile_runtime.errors import InputTypeError, ModelError, describe


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


# What options of losses and metrics may be: for messages, and as a test.
OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "from_logits": ("True or False", lambda v: isinstance(v, (bool, np.bool_))),
    "from_sorted_ids": ("True or False", lambda v: isinstance(v, (bool, np.bool_))),
    "apply_class_balancing": ("True or False", lambda v: isinstance(v, (bool, np.bool_))),
    "label_smoothing": ("a number from 0 to 1", _share),
    "alpha": ("a number of at least 0", lambda v: is_number(v) and v >= 0),
    "beta": ("a number of at least 0", lambda v: is_number(v) and v >= 0),
    "margin": ("a number", is_number),
    "remove_diagonal": ("True or False", lambda v: isinstance(v, (bool, np.bool_))),
    "axes": (
        "an integer, some of them, or None",
        lambda v: v is None or is_integer(v) or (isinstance(v, (list, tuple)) and all(map(is_integer, v))),
    ),
    "threshold": ("a number", is_number),
    "gamma": ("a number of at least 0", lambda v: is_number(v) and v >= 0),
    "delta": ("a number above 0", lambda v: is_number(v) and v > 0),
    "q": ("a number between 0 and 1", lambda v: is_number(v) and 0 < v < 1),
    "axis": ("an integer", is_integer),
    "ignore_class": ("an integer or None", lambda v: v is None or is_integer(v)),
    "k": ("an integer of at least 1", lambda v: is_integer(v) and v >= 1),
}


OVER_AXES = ("Dice", "Tversky")  # whose axis may be several


def checked_options(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as Python's own numbers. Raises ModelError for one that makes no sense."""
    for name, value in given.items():
        expected, allowed = OPTIONS["axes" if name == "axis" and kind in OVER_AXES else name]
        if not allowed(value):
            raise ModelError(describe(f"{kind}: {name}", expected, repr(value)))
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}


def options_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a loss or metric function behind y_true and y_pred."""
    return list(inspect.signature(function).parameters.values())[2:]


def bound_options(
    kind: str, parameters: Sequence[inspect.Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a constructor by name. Raises InputTypeError where they do not fit it."""
    try:
        found = inspect.Signature(list(parameters)).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise InputTypeError(
            describe(kind, "arguments " + ", ".join(p.name for p in parameters), str(error))
        ) from None
    return found


def number_type(kind: str, dtype: Any) -> str | None:
    """The dtype that a loss computes in: of its name or policy; None: of its outputs. Raises ModelError."""
    if dtype is None:
        return None
    found = dtype_here(str(named(dtype_name(dtype))).removeprefix(MIXED))
    if found not in FLOATS:
        raise ModelError(describe(f"{kind}: dtype", f"None or one of {', '.join(FLOATS)}", repr(dtype)))
    return str(found)


class Reduction:
    """The names of reductions."""

    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"

"""Small helpers that Keras 2 has in public, and that scripts and layers of their own take from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kcompile.keras.utils import serialization
from kcompile_runtime.errors import InputError, describe

__all__ = [
    "check_for_unexpected_keys",
    "deserialize_keras_object",
    "getargspec",
    "has_arg",
    "is_all_none",
    "make_batches",
    "object_list_uid",
    "serialize_keras_object",
    "slice_arrays",
    "to_list",
    "transpose_shape",
    "unpack_singleton",
]


def serialize_keras_object(instance: Any) -> Any:
    """None, the name of a function, or {"class_name", "config"}. Raises InputError for other objects."""
    if not (instance is None or hasattr(instance, "get_config") or hasattr(instance, "__name__")):
        raise InputError(
            describe("serialize_keras_object", "a function or an object with get_config", repr(instance))
        )
    return serialization.serialize(instance)


def deserialize_keras_object(
    identifier: Any,
    module_objects: Mapping[str, Any] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    printable_module_name: str = "object",
) -> Any:
    """The object of a configuration, or the function of a name, among the user's and module_objects."""
    with serialization.custom_object_scope(custom_objects):
        known = module_objects or {}
        if isinstance(identifier, str) and identifier in known:
            return known[identifier]
        return serialization.deserialize(identifier, known, printable_module_name)


def getargspec(fn: Callable[..., Any]) -> inspect.FullArgSpec:
    """The names and defaults of a function's arguments."""
    return inspect.getfullargspec(fn)


def has_arg(fn: Callable[..., Any], name: str, accept_all: bool = False) -> bool:
    """Whether a function takes an argument of this name; accept_all: also as one of `**kwargs`."""
    parameters = inspect.signature(fn).parameters
    found = parameters.get(name)
    if found is None:
        return accept_all and any(p.kind == p.VAR_KEYWORD for p in parameters.values())
    return found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)


def to_list(x: Any, allow_tuple: bool = False) -> list[Any]:
    """A list as it is (and a tuple as a list, where allow_tuple), anything else in a list."""
    return x if isinstance(x, list) else list(x) if allow_tuple and isinstance(x, tuple) else [x]


def unpack_singleton(x: Any) -> Any:
    """The item of a list of one; anything else as it is."""
    return x[0] if len(x) == 1 else x


def object_list_uid(object_list: Any) -> str:
    """The identities of objects as one text."""
    return ", ".join(str(abs(id(x))) for x in to_list(object_list))


def is_all_none(iterable_or_element: Any) -> bool:
    """Whether every item is None."""
    found = iterable_or_element
    return all(x is None for x in (found if isinstance(found, (list, tuple)) else [found]))


def slice_arrays(arrays: Any, start: Any = None, stop: int | None = None) -> Any:
    """The samples from start to stop, or those that a list `start` names, of an array or of each in a
    list."""
    if isinstance(start, list) and stop is not None:
        raise InputError(describe("slice_arrays: stop", "None for a list of samples", repr(stop)))
    if arrays is None:
        return [None]
    chosen = list(start) if hasattr(start, "__len__") else slice(start, stop)
    if isinstance(arrays, list):
        return [None if x is None else x[chosen] for x in arrays]
    return arrays[chosen]


def transpose_shape(shape: Sequence[Any], target_format: str, spatial_axes: Iterable[int]) -> Any:
    """A shape with channels last as one of the target format; its spatial axes are these."""
    if target_format not in ("channels_first", "channels_last"):
        raise InputError(
            describe("transpose_shape: target_format", "channels_first or channels_last", repr(target_format))
        )
    if target_format == "channels_last":
        return shape
    spatial = list(spatial_axes)
    moved = [*shape[: spatial[0]], shape[-1], *(shape[axis] for axis in spatial)]
    return tuple(moved) if isinstance(shape, tuple) else moved


def check_for_unexpected_keys(
    name: str, input_dict: Mapping[str, Any], expected_values: Iterable[str]
) -> None:
    """Raises InputError for keys that are not expected."""
    expected = list(expected_values)
    unknown = sorted(set(input_dict) - set(expected))
    if unknown:
        raise InputError(
            describe(name, f"keys among {', '.join(map(repr, expected))}", ", ".join(map(repr, unknown)))
        )


def make_batches(size: int, batch_size: int) -> list[tuple[int, int]]:
    """The first sample and the one behind the last of each batch."""
    return [(start, min(size, start + batch_size)) for start in range(0, size, batch_size)]

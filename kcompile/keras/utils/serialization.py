"""Objects as configurations and back: what every `get` of the front end is made of.

Enters: an identifier as Keras takes them (None, a name, an object, a class, a function, a
configuration dict). Leaves: the object; and the other way the name or `{"class_name", "config"}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompile_runtime.errors import ModelError, UnsupportedError, describe

_custom: dict[str, Any] = {}


def get_custom_objects() -> dict[str, Any]:
    """The user's classes and functions by the names that configurations may use."""
    return _custom


@contextmanager
def custom_object_scope(
    *objects: Mapping[str, Any] | None, custom_objects: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Inside the `with`, these names mean these classes and functions. custom_objects: the same by name."""
    before = dict(_custom)
    for names in (*objects, custom_objects):
        _custom.update(_checked(names))
    try:
        yield
    finally:
        _custom.clear()
        _custom.update(before)


CustomObjectScope = custom_object_scope


def deserializer(get: Callable[[Any], Any]) -> Callable[..., Any]:
    """The `deserialize` of a module, whose `get` takes names and configurations."""

    def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """What `get` gives of a configuration or name. custom_objects: a script's classes and functions."""
        with custom_object_scope(custom_objects):
            return get(config)

    deserialize.__module__, deserialize.__qualname__ = get.__module__, "deserialize"
    return deserialize


class FunctionName(str):
    """The name of a function in a configuration, which in this process still knows the function. As text, in
    a file, it is the name alone."""

    function: Any

    def __new__(cls, function: Any) -> FunctionName:
        made = super().__new__(cls, getattr(function, "__name__", type(function).__name__))
        made.function = function
        return made

    def __reduce__(self) -> Any:
        return FunctionName, (self.function,)


def serialize(value: Any) -> Any:
    """A value in the form of a configuration, made of what JSON can hold."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [serialize(v) for v in value]
    if isinstance(value, Mapping):
        return {k: serialize(v) for k, v in value.items()}
    if hasattr(value, "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    raise ModelError(
        describe("get_config", "a number, text, list, function or object with get_config", repr(value))
    )


def custom_names(custom_objects: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The user's objects by name: those of the scopes that are open, and these."""
    return {**_custom, **_checked(custom_objects)}


def _checked(names: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise ModelError(describe("custom_objects", "a dict of classes and functions by name", repr(names)))
    return names


def deserialize(identifier: Any, known: Mapping[str, Any], kind: str) -> Any:
    """The object that an identifier names. known: name -> class or function; kind: for errors,
    such as "initializer". Raises UnsupportedError for a name that nobody knows, ModelError for a
    configuration that the object refuses."""
    if isinstance(identifier, str):
        found = _look_up(identifier, known, kind)
        return found() if inspect.isclass(found) else found
    if isinstance(identifier, Mapping) and "class_name" in identifier:
        name, config = identifier["class_name"], identifier.get("config", {})
        if name == "function":  # how Keras 3 writes a function
            return deserialize(config, known, kind)
        found = _look_up(name, known, kind)
        if not inspect.isclass(found):
            return found
        try:
            make = getattr(found, "from_config", None)
            # A list: of a Sequential of early Keras 2
            own = dict(config) if isinstance(config, Mapping) else config
            return make(own) if make else found(**own)
        except TypeError as error:
            raise ModelError(f"{kind} {name!r}: {error}. Received: config={config}") from error
    if inspect.isclass(identifier):
        return identifier()
    if identifier is None or callable(identifier):
        return identifier
    raise ModelError(describe(kind, "a name, an object, a function or a configuration", repr(identifier)))


def _look_up(name: str, known: Mapping[str, Any], kind: str) -> Any:
    short = name.rpartition(">")[2]  # Keras 3 writes "package>Name" for registered objects
    for names in (_custom, known):
        for candidate in (name, short):
            if candidate in names:
                return names[candidate]
    near = ", ".join(sorted(known))
    raise UnsupportedError(
        f"{kind} {name!r} is not known. Expected one of: {near}. An object of "
        "your own is found through custom_objects or custom_object_scope"
    )

"""What `pickle` and `copy` keep of models, layers, variables, optimizers and callbacks.

Enters: an object. Leaves: the part of its state that is its own, without what belongs to this process (code,
listeners, copies on devices). Functions are kept by name, so that they are found again in another process.
"""

from __future__ import annotations

import importlib
from types import FunctionType
from typing import Any

from kcompile.keras.names_of_scripts import our_key, set_by_script, share
from kcompile_runtime.errors import UnsupportedError


class KeptFunction:
    """A function in a state: itself where the state is copied, its name where it is pickled."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function

    def __deepcopy__(self, memo: Any) -> FunctionType:
        return self.function

    def __reduce__(self) -> Any:
        place = self.function.__module__, self.function.__qualname__
        try:
            found: Any = _find(*place)
        except (ImportError, AttributeError):
            found = None
        if found is self.function:
            return _find, place
        if getattr(found, "__wrapped__", None) is self.function:
            return _find_wrapped, place
        raise UnsupportedError(
            f"pickle: function {place[1]!r} of module {place[0]!r} cannot be found again "
            "by its name. Define it with def at the top of a module"
        )


def _find(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _find_wrapped(module: str, name: str) -> Any:
    return _find(module, name).__wrapped__


def state_of(thing: Any, *without: str) -> dict[str, Any]:
    """The attributes of an object but for these."""
    left_out = {our_key(thing, name) for name in without}
    return {k: _kept(v) for k, v in vars(thing).items() if k not in left_out}


def restore(thing: Any, state: dict[str, Any], **others: Any) -> None:
    """Give an object the state that `state_of` gave, and other attributes."""
    vars(thing).update({k: _found(v) for k, v in state.items()})
    vars(thing).update({our_key(thing, name): value for name, value in others.items()})
    for name in set_by_script(thing):
        share(type(thing), name)


def _kept(value: Any) -> Any:
    return _map(value, lambda x: KeptFunction(x) if isinstance(x, FunctionType) else x)


def _found(value: Any) -> Any:
    return _map(value, lambda x: x.function if isinstance(x, KeptFunction) else x)


def _map(value: Any, change: Any) -> Any:
    """A value with what lists, tuples and dicts hold changed."""
    kind = type(value)
    if kind in (list, tuple):
        return kind(_map(v, change) for v in value)
    return {k: _map(v, change) for k, v in value.items()} if kind is dict else change(value)

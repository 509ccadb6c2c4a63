"""The paths of weights: the names of the layers that were being called or built when they were made.

Enters: layers, as their `call` and `build` run. Leaves: the path in which a layer makes its weights. Which
layers leave no name there is in `editions`, and is as the Kerases have it: TensorFlow's graphs have a scope
for each call of a layer, Keras 3 also for each build.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kcompile.keras.editions import edition
from kcompile.keras.settings import snake_case

_open: ContextVar[tuple[tuple[Any, str], ...]] = ContextVar("open", default=())


@contextmanager
def scope(layer: Any) -> Iterator[None]:
    """Inside the `with`, a layer is called or built."""
    outer = _open.get()
    if outer and outer[-1][0] is layer:
        yield
        return
    around = outer[-1][1] if outer else ""
    name = _name(layer, outer[-1][0] if outer else None)
    token = _open.set((*outer, (layer, "/".join(part for part in (around, name) if part))))
    try:
        yield
    finally:
        _open.reset(token)


@contextmanager
def chained(model: Any) -> Iterator[None]:
    """Inside the `with`, the layers of a Sequential are called: in Keras 3 it is a scope, in tf.keras they
    are in none, and Keras 2 has that which it is called in."""
    rules = edition(model.vintage)
    if rules.builds_in_scope:
        with scope(model):
            yield
        return
    token = _open.set(() if rules.eager else _open.get())
    try:
        yield
    finally:
        _open.reset(token)


def _name(layer: Any, outer: Any) -> str:
    rules = edition(layer.vintage)
    if _is_a(layer, rules.unnamed) or _is_a(outer, rules.unnamed_inside):
        return ""
    made_inside = outer is not None and layer.name == outer.name  # the cell that a recurrent layer makes
    kind = re.sub(r"\dD", "", type(layer).__name__)
    return snake_case(kind, layer.vintage) if made_inside else str(layer.name)


def _is_a(layer: Any, names: frozenset[str]) -> bool:
    return any(cls.__name__ in names for cls in type(layer).__mro__)


def path_in(layer: Any, name: str) -> str:
    """The path of a weight that a layer makes now. Where its own `build` was called by another layer, only
    Keras 3 has its name too."""
    outer = _open.get()
    if not outer or (outer[-1][0] is not layer and not outer[-1][1]):
        return f"{layer.name}/{name}"
    around = outer[-1][1]
    own = [layer.name] if outer[-1][0] is not layer and edition(layer.vintage).builds_in_scope else []
    return "/".join([around, *own, name]) if around else name

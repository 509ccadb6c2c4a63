"""keras.tree: nested lists, tuples, named tuples, deques and dicts, and functions over their leaves.

Leaves of a dict come by its sorted keys, those of an OrderedDict in its own order. None is a leaf.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]

_DIFFERENT = "Structures don't have the same nested structure."


class MAP_TO_NONE:
    """What a function of `traverse` gives to put None in a place."""


def _is_named(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _is_dict(x: Any) -> bool:
    return type(x) in (dict, OrderedDict, defaultdict)


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple, a deque or a dict."""
    return type(structure) in (list, tuple, deque) or _is_dict(structure) or _is_named(structure)


def _keys(structure: Any) -> list[Any]:
    """The places of the parts, in their order."""
    if not _is_dict(structure):
        return list(range(len(structure)))
    return list(structure) if isinstance(structure, OrderedDict) else sorted(structure)


def _made(structure: Any, parts: Sequence[Any]) -> Any:
    """A structure as this one, of other parts."""
    if _is_dict(structure):
        table = dict(zip(_keys(structure), parts))
        ordered = {key: table[key] for key in structure}
        if isinstance(structure, defaultdict):
            return defaultdict(structure.default_factory, ordered)
        return type(structure)(ordered)
    if _is_named(structure):
        return type(structure)(*parts)
    return deque(parts, structure.maxlen) if isinstance(structure, deque) else type(structure)(parts)


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves with the keys and numbers that lead to them."""
    if not is_nested(structure):
        return [((), structure)]
    return [
        ((key, *path), leaf) for key in _keys(structure) for path, leaf in flatten_with_path(structure[key])
    ]


def flatten(structure: Any) -> list[Any]:
    """The leaves as a list."""
    return [leaf for _, leaf in flatten_with_path(structure)]


def _alike(a: Any, b: Any) -> bool:
    """Whether two nested structures have parts at the same places; dicts of any kind are alike."""
    if _is_dict(a) and _is_dict(b):
        return set(a) == set(b)
    return type(a) is type(b) and len(a) == len(b)


def _together(func: Callable[..., Any], first: Any, rest: Sequence[Any], deeper: bool) -> Any:
    """deeper: the others may be nested where the first has a leaf."""
    if not is_nested(first):
        if not deeper and any(map(is_nested, rest)):
            raise ValueError(_DIFFERENT)
        return func(first, *rest)
    if not all(is_nested(x) and _alike(first, x) for x in rest):
        raise ValueError(_DIFFERENT)
    parts = [_together(func, first[key], [x[key] for x in rest], deeper) for key in _keys(first)]
    return _made(first, parts)


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """The structure of what `func` gives for leaves at the same place. none_is_leaf: else None stays None.
    Raises ValueError for structures that differ, TypeError for what is no function."""
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: {func!r}")
    if not structures:
        raise ValueError("Must provide at least one structure")

    def called(*leaves: Any) -> Any:
        if not none_is_leaf and leaves[0] is None:
            if any(leaf is not None for leaf in leaves):
                raise ValueError(_DIFFERENT)
            return None
        return func(*leaves)

    return _together(called, structures[0], structures[1:], False)


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """`map_structure` as deep as the shallow one goes; what is below is given to `func` as it is."""
    if not structures:
        raise ValueError("Must provide at least one structure")

    def called(shallow: Any, *below: Any) -> Any:
        if shallow is None:  # which is no leaf to Keras here
            raise ValueError(_DIFFERENT)
        return func(*below)

    return _together(called, shallow_structure, structures, True)


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Raises ValueError where two structures are not nested alike. check_types changes nothing."""
    if check_types is not None:
        warnings.warn("assert_same_structure: check_types has no effect", DeprecationWarning, stacklevel=2)
    map_structure(lambda *_: None, a, b)


def assert_same_paths(a: Any, b: Any) -> None:
    """Raises ValueError where the leaves of two structures are not at the same keys and numbers."""
    one, other = ({path for path, _ in flatten_with_path(x)} for x in (a, b))
    if one != other:
        raise ValueError(
            "`a` and `b` don't have the same paths.\n"
            f"Paths in `a` missing in `b`:\n{one - other}\nPaths in `b` missing in `a`:\n{other - one}"
        )


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """The structure with these leaves, in the order of `flatten`. Raises ValueError for another number."""
    given = list(flat_sequence)
    count = len(flatten(structure))
    if len(given) != count:
        raise ValueError(f"pack_sequence_as: expected {count} elements. Received: {len(given)}")
    leaves = iter(given)
    return _together(lambda _: next(leaves), structure, (), False)


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """The structure with what `func` gives in place of parts and leaves, of the whole first (or last). Where
    it gives None the part stays, and the walk goes on into it."""

    def inside() -> Any:
        if not is_nested(structure):
            return structure
        return _made(structure, [traverse(func, structure[key], top_down) for key in _keys(structure)])

    below = structure if top_down else inside()
    found = func(below)
    if found is None:
        return inside() if top_down else below
    return None if isinstance(found, type) and found.__name__ == "MAP_TO_NONE" else found


def lists_to_tuples(structure: Any) -> Any:
    """The structure with tuples in place of lists."""
    return traverse(lambda x: tuple(x) if isinstance(x, list) else None, structure, top_down=False)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """`map_structure` over shapes: lists and tuples of integers and None are leaves."""
    if isinstance(structure, (list, tuple)) and all(x is None or isinstance(x, int) for x in structure):
        return func(structure)
    if not is_nested(structure):
        return func(structure)
    return _made(structure, [map_shape_structure(func, structure[key]) for key in _keys(structure)])

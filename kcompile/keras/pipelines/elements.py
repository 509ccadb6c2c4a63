"""Elements of data sets: arrays, and tuples and dicts of them.

Enters: what scripts call an element: numbers, lists, arrays, tensors without inputs. Leaves: arrays with the
method `numpy` of tensors, nested in tuples and dicts as they came; a list is one array, as in tf.data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir.described import DType, TensorShape
from kcompile.keras.eager import EagerArray, EagerTensor
from kcompile.keras.settings import dtype_name
from kcompile_runtime.arrays import is_array
from kcompile_runtime.errors import InputError, InputTypeError, describe


@dataclass(frozen=True)
class TensorSpec:
    """The shape, with None for sizes that elements differ in, and the dtype of the arrays of a data set."""

    shape: Any = None
    dtype: Any = "float32"
    name: str | None = None


def element(x: Any) -> Any:
    """What x is as an element. Python's numbers are float32 and int32. Raises InputTypeError."""
    if x is None or isinstance(x, EagerArray):
        return x if x is None else x.view(EagerTensor)
    if isinstance(x, dict):
        return {key: element(value) for key, value in x.items()}
    if isinstance(x, tuple):
        made = tuple(map(element, x))
        return type(x)(*made) if hasattr(x, "_fields") else made
    if not is_array(x) and hasattr(x, "numpy"):  # tensors of K, variables
        x = x.numpy()
    try:
        array = np.asarray(x, dtype=object) if isinstance(x, bytes) else np.asarray(x)
        array = array.astype(object) if array.dtype.kind == "S" else array
    except ValueError as error:
        raise InputError(describe("an element of a data set", "rows of one length", str(error))) from error
    if array.dtype == object and array.size and all(isinstance(v, (str, bytes)) for v in array.flat):
        return _of_texts(array).view(EagerTensor)
    if array.dtype == object:
        kind = type(x).__name__
        raise InputTypeError(
            describe("an element of a data set", "numbers, arrays, and tuples and dicts of them", kind)
        )
    if not hasattr(x, "dtype"):
        array = array.astype({"float64": "float32", "int64": "int32"}.get(array.dtype.name, array.dtype))
    return array.view(EagerTensor)


def _of_texts(array: np.ndarray) -> np.ndarray:
    """Texts, as columns of pandas hold them, or bytes that are texts; other bytes stay."""
    try:
        words = [v if isinstance(v, str) else v.decode() for v in array.ravel().tolist()]
    except UnicodeDecodeError:
        return array
    return np.array(words).reshape(array.shape)


def over(function: Callable[..., Any], *nested: Any) -> Any:
    """A function over the arrays of elements that are nested alike."""
    first = nested[0]
    if isinstance(first, dict):
        return {key: over(function, *(x[key] for x in nested)) for key in first}
    if isinstance(first, tuple):
        made = tuple(over(function, *parts) for parts in zip(*nested))
        return type(first)(*made) if hasattr(first, "_fields") else made
    return None if first is None else function(*nested)


def arrays(nested: Any) -> Iterator[np.ndarray]:
    """The arrays of an element."""
    if isinstance(nested, dict):
        nested = tuple(nested.values())
    if isinstance(nested, tuple):
        for part in nested:
            yield from arrays(part)
    elif nested is not None:
        yield nested


def rows(nested: Any) -> int:
    """The number of rows that all arrays have. Raises InputError."""
    counts = {len(a) if a.ndim else None for a in arrays(nested)}
    if len(counts) != 1 or None in counts:
        got = ", ".join(str(a.shape) for a in arrays(nested)) or "none"
        raise InputError(describe("a data set", "arrays with as many rows as each other", f"shapes {got}"))
    count = counts.pop()
    assert count is not None
    return count


def row(nested: Any, at: int) -> Any:
    """The row of that number."""
    return over(lambda a: np.asarray(a[at]).view(EagerTensor), nested)


def stacked(elements: Sequence[Any]) -> Any:
    """Elements one upon another. Raises InputError where their shapes differ."""

    def joined(*parts: Any) -> Any:
        shapes = {a.shape for a in parts}
        if len(shapes) > 1:
            raise InputError(
                describe(
                    "batch",
                    "elements of one shape",
                    " and ".join(map(str, sorted(shapes)[:2])),
                    "Resize or pad them before, or use padded_batch.",
                )
            )
        return np.stack([np.asarray(a) for a in parts]).view(EagerTensor)

    return over(joined, *elements)


def padded(elements: Sequence[Any], shapes: Any, values: Any) -> Any:
    """Elements one upon another, each filled up at its ends. shapes: nested as the elements, with None for
    the longest; None: all of them. values: what fills them."""

    def joined(target: Any, value: Any, *parts: Any) -> Any:
        longest = np.max([a.shape for a in parts], axis=0).tolist()
        known = [None] * len(longest) if target is None else list(np.atleast_1d(np.array(target, object)))
        sizes = [m if d is None or d == -1 else int(d) for d, m in zip(known, longest)]
        if len(known) != len(longest) or any(d < m for d, m in zip(sizes, longest)):
            raise InputError(
                describe("padded_batch: padded_shapes", f"at least {tuple(longest)}", repr(target))
            )
        fill = (0 if parts[0].dtype.kind not in "UO" else "") if value is None else value
        dtype = object if parts[0].dtype.kind in "UO" else parts[0].dtype
        made = np.full((len(parts), *sizes), fill, dtype)
        for place, a in enumerate(parts):
            inside: Any = (place, *(slice(d) for d in a.shape))
            made[inside] = a
        return made.view(EagerTensor)

    return _beside(joined, shapes, values, elements)


def _beside(joined: Callable[..., Any], shapes: Any, values: Any, elements: Sequence[Any]) -> Any:
    """`over` for elements with shapes and values that may stand for all of them."""
    first: Any = elements[0]
    if isinstance(first, dict):
        return {
            key: _beside(
                joined, _part(shapes, key, dict), _part(values, key, dict), [e[key] for e in elements]
            )
            for key in first
        }
    if isinstance(first, tuple):
        return tuple(
            _beside(joined, _part(shapes, k, tuple), _part(values, k, tuple), [e[k] for e in elements])
            for k in range(len(first))
        )
    return joined(shapes, values, *elements)


def _part(given: Any, key: Any, kind: type) -> Any:
    inside: Any = given if isinstance(given, kind) else None
    return given if inside is None else inside[key]


def spec(nested: Any, batched: bool) -> Any:
    """The types of an element. batched: whether the number of rows may be another in the next one."""

    def of(a: Any) -> TensorSpec:
        shape = (None, *a.shape[1:]) if batched and a.ndim else a.shape
        return TensorSpec(TensorShape(shape), DType("string" if a.dtype.kind in "USO" else a.dtype.name))

    return over(of, nested)


def cast_like(nested: Any, signature: Any) -> Any:
    """An element in the dtypes of TensorSpecs, or of dtypes alone, nested as it is."""
    if isinstance(nested, dict) and isinstance(signature, dict):
        return {key: cast_like(value, signature[key]) for key, value in nested.items()}
    if isinstance(nested, tuple) and isinstance(signature, tuple):
        return tuple(map(cast_like, nested, signature))
    if isinstance(signature, tuple):
        return tuple(map(cast_like, nested, signature))
    dtype = dtype_name(getattr(signature, "dtype", signature))
    made = np.asarray(nested) if dtype == "string" else np.asarray(nested, str(dtype))
    return made.view(EagerTensor)

"""`tf.strings` on arrays of texts: what scripts standardise and split texts with, before models take numbers.

Enters: arrays of texts or bytes, lists, single texts. Leaves: arrays with the method `numpy`, of texts or of
numbers; where texts are split, a list of lists, as rows of any length are no array.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.keras import hashes
from kcompile.keras.eager import EagerArray
from kcompile_runtime.errors import InputError, InputTypeError, UnsupportedError, describe

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}  # TensorFlow's, without an encoding
_UPPER = {lower: lower - 32 for lower in range(ord("a"), ord("z") + 1)}


def _text(x: Any) -> str:
    if isinstance(x, bytes):
        return x.decode()
    if isinstance(x, str):
        return x
    raise InputTypeError(describe("tf.strings", "texts", repr(x)))


def _each(function: Callable[[str], Any], given: Any, dtype: Any = object) -> Any:
    """A function of each text."""
    array = np.asarray(given)
    found = [function(_text(x)) for x in array.ravel().tolist()]
    return np.array(found, dtype=dtype).reshape(array.shape).view(EagerArray)


def lower(input: Any, encoding: str = "", name: Any = None) -> Any:
    """Small letters; without an encoding of ASCII's alone."""
    return _each(str.lower if encoding else lambda x: x.translate(_LOWER), input)


def upper(input: Any, encoding: str = "", name: Any = None) -> Any:
    """Capital letters; without an encoding of ASCII's alone."""
    return _each(str.upper if encoding else lambda x: x.translate(_UPPER), input)


def strip(input: Any, name: Any = None) -> Any:
    """Texts without the spaces at their ends."""
    return _each(lambda x: x.strip(" \t\n\r\v\f"), input)


def regex_replace(
    input: Any, pattern: Any, rewrite: Any, replace_global: bool = True, name: Any = None
) -> Any:
    """Texts in which what a pattern finds (all of it, or the first) is written anew; \\1: its first group."""
    found = re.compile(_text(np.asarray(pattern).item()))
    new = _text(np.asarray(rewrite).item())
    return _each(lambda x: found.sub(new, x, 0 if replace_global else 1), input)


def regex_full_match(input: Any, pattern: Any, name: Any = None) -> Any:
    """Whether a pattern matches the whole of each text."""
    found = re.compile(_text(np.asarray(pattern).item()))
    return _each(lambda x: found.fullmatch(x) is not None, input, bool)


def length(input: Any, unit: str = "BYTE", name: Any = None) -> Any:
    """How many bytes, or characters (unit="UTF8_CHAR"), texts have."""
    return _each(len if unit == "UTF8_CHAR" else lambda x: len(x.encode()), input, np.int32)


def substr(input: Any, pos: Any, len: Any, unit: str = "BYTE", name: Any = None) -> Any:
    """The parts of texts that begin at pos and are as long, in bytes or characters."""
    start, size = int(np.asarray(pos)), int(np.asarray(len))

    def part(text: str) -> str:
        whole: Any = text if unit == "UTF8_CHAR" else text.encode()
        first = start + _size(whole) if start < 0 else start
        return _text(whole[first : first + size])

    return _each(part, input)


_size = len


def split(input: Any, sep: Any = None, maxsplit: int = -1, result_type: Any = None, name: Any = None) -> Any:
    """The parts of each text: of one an array, of several a list of lists."""
    array = np.asarray(input)
    between = None if sep is None else _text(np.asarray(sep).item())

    def parts(text: str) -> list[str]:
        if between:
            return text.split(between, maxsplit)
        return [word.decode() for word in text.encode().split(None, maxsplit)]

    if array.ndim == 0:
        return np.array(parts(_text(array.item())), dtype=object).view(EagerArray)
    if array.ndim > 1:
        raise UnsupportedError(describe("tf.strings.split", "texts [n]", f"shape {array.shape}"))
    return [parts(_text(x)) for x in array.tolist()]


def unicode_split(input: Any, input_encoding: str, *args: Any, **kwargs: Any) -> Any:
    """The characters of each text."""
    array = np.asarray(input)
    if array.ndim == 0:
        return np.array(list(_text(array.item())), dtype=object).view(EagerArray)
    return [list(_text(x)) for x in array.tolist()]


def join(inputs: Any, separator: str = "", name: Any = None) -> Any:
    """Texts of several arrays one behind another."""
    several = np.broadcast_arrays(*(np.asarray(x, dtype=object) for x in inputs))
    rows = zip(*(a.ravel().tolist() for a in several))
    made = [separator.join(map(_text, row)) for row in rows]
    return np.array(made, dtype=object).reshape(several[0].shape).view(EagerArray)


def reduce_join(
    inputs: Any, axis: Any = None, keepdims: bool = False, separator: str = "", name: Any = None
) -> Any:
    """The texts along an axis (all of them) in one."""
    array = np.asarray(inputs, dtype=object)
    rows = array.reshape(1, -1) if axis is None else np.moveaxis(array, axis, -1)
    made = np.apply_along_axis(lambda row: np.array(separator.join(map(_text, row)), object), -1, rows)
    if axis is None:
        return made.reshape([1] * array.ndim if keepdims else ()).view(EagerArray)
    return (np.expand_dims(made, axis) if keepdims else made).view(EagerArray)


def as_string(input: Any, **kwargs: Any) -> Any:
    """Whole numbers as they are written."""
    array = np.asarray(input)
    if array.dtype.kind not in "iu" or kwargs.keys() - {"name"}:
        raise UnsupportedError(describe("tf.strings.as_string", "whole numbers alone", str(array.dtype)))
    return array.astype(str).astype(object).view(EagerArray)


def to_number(input: Any, out_type: Any = "float32", name: Any = None) -> Any:
    """The numbers that texts are."""
    try:
        return _each(float, input, str(out_type))
    except ValueError as error:
        raise InputError(describe("tf.strings.to_number", "texts that are numbers", str(error))) from error


def to_hash_bucket_fast(input: Any, num_buckets: int, name: Any = None) -> Any:
    """The remainder of FarmHash's Fingerprint64."""
    return _each(lambda x: hashes.fingerprint(x.encode()) % num_buckets, input, np.int64)


def to_hash_bucket_strong(input: Any, num_buckets: int, key: Any, name: Any = None) -> Any:
    """The remainder of SipHash with a key of two numbers."""
    return _each(lambda x: hashes.keyed(x.encode(), key) % num_buckets, input, np.int64)


FUNCTIONS: dict[str, Any] = {
    f"strings.{function.__name__}": function
    for function in (
        lower,
        upper,
        strip,
        regex_replace,
        regex_full_match,
        length,
        substr,
        split,
        unicode_split,
        join,
        reduce_join,
        as_string,
        to_number,
        to_hash_bucket_fast,
        to_hash_bucket_strong,
    )
}


def _is_text(x: Any) -> bool:
    return not hasattr(x, "node") and not hasattr(x, "graph") and np.asarray(x).dtype.kind in "USO"


def _with_axis(input: Any, axis: Any, name: Any = None) -> Any:
    return np.expand_dims(np.asarray(input), int(axis)).view(EagerArray)


def _without_axis(input: Any, axis: Any = None, name: Any = None) -> Any:
    return np.squeeze(np.asarray(input), axis).view(EagerArray)


def _reshaped(tensor: Any, shape: Any, name: Any = None) -> Any:
    return np.reshape(np.asarray(tensor), [int(d) for d in np.ravel(shape)]).view(EagerArray)


ON_TEXTS = {"expand_dims": _with_axis, "squeeze": _without_axis, "reshape": _reshaped}


def also_texts(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors that takes arrays of texts too."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else kwargs.get("input", kwargs.get("tensor"))
        return (ON_TEXTS[name] if _is_text(first) else function)(*args, **kwargs)

    return call

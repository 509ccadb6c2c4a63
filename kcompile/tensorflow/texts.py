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
from kcompile.keras.eager import EagerTensor, as_tensors
from kcompile_runtime.errors import InputError, InputTypeError, UnsupportedError, describe

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}  # TensorFlow's, without an encoding
_UPPER = {lower: lower - 32 for lower in range(ord("a"), ord("z") + 1)}


def _text(x: Any) -> str:
    if isinstance(x, bytes):
        return x.decode()
    if isinstance(x, str):
        return x
    raise InputTypeError(describe("tf.strings", "texts", repr(x)))


def _check_encoding(function: str, encoding: str, errors: str) -> None:
    if str(encoding).upper() not in ("UTF-8", "UTF8"):
        raise UnsupportedError(f"tf.strings.{function}: an encoding other than UTF-8: {encoding!r}")
    if errors not in ("replace", "strict", "ignore"):
        raise InputError(
            describe(f"tf.strings.{function}: errors", "replace, strict or ignore", repr(errors))
        )


def _each(function: Callable[[str], Any], given: Any, dtype: Any = object) -> Any:
    """A function of each text."""
    array = np.asarray(given)
    found = [function(_text(x)) for x in array.ravel().tolist()]
    return np.array(found, dtype=dtype).reshape(array.shape).view(EagerTensor)


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


def split(input: Any, sep: Any = None, maxsplit: int = -1, name: Any = None) -> Any:
    """The parts of each text: of one an array, of several a list of lists."""
    array = np.asarray(input)
    between = None if sep is None else _text(np.asarray(sep).item())

    def parts(text: str) -> list[str]:
        if between:
            return text.split(between, maxsplit)
        return [word.decode() for word in text.encode().split(None, maxsplit)]

    if array.ndim == 0:
        return np.array(parts(_text(array.item())), dtype=object).view(EagerTensor)
    if array.ndim > 1:
        raise UnsupportedError(describe("tf.strings.split", "texts [n]", f"shape {array.shape}"))
    return [parts(_text(x)) for x in array.tolist()]


def unicode_split(
    input: Any, input_encoding: str, errors: str = "replace", replacement_char: int = 65533, name: Any = None
) -> Any:
    """The characters of each text."""
    _check_encoding("unicode_split", input_encoding, errors)
    array = np.asarray(input)
    if array.ndim == 0:
        return np.array(list(_text(array.item())), dtype=object).view(EagerTensor)
    return [list(_text(x)) for x in array.tolist()]


def join(inputs: Any, separator: str = "", name: Any = None) -> Any:
    """Texts of several arrays one behind another."""
    several = np.broadcast_arrays(*(np.asarray(x, dtype=object) for x in inputs))
    rows = zip(*(a.ravel().tolist() for a in several))
    made = [separator.join(map(_text, row)) for row in rows]
    return np.array(made, dtype=object).reshape(several[0].shape).view(EagerTensor)


def reduce_join(
    inputs: Any, axis: Any = None, keepdims: bool = False, separator: str = "", name: Any = None
) -> Any:
    """The texts along an axis (all of them) in one."""
    array = np.asarray(inputs, dtype=object)
    rows = array.reshape(1, -1) if axis is None else np.moveaxis(array, axis, -1)
    made = np.apply_along_axis(lambda row: np.array(separator.join(map(_text, row)), object), -1, rows)
    if axis is None:
        return made.reshape([1] * array.ndim if keepdims else ()).view(EagerTensor)
    return (np.expand_dims(made, axis) if keepdims else made).view(EagerTensor)


def as_string(
    input: Any,
    precision: int = -1,
    scientific: bool = False,
    shortest: bool = False,
    width: int = -1,
    fill: str = "",
    name: Any = None,
) -> Any:
    """Numbers as they are written: fractions with so many digits (default 6), as scientific ones, or as the
    shortest of both; texts of at least a width, which `fill` fills."""
    array = np.asarray(input)
    if array.dtype.kind in "USO":
        return array.view(EagerTensor)
    if array.dtype.kind not in "iufb" or (scientific and shortest):
        raise UnsupportedError(describe("tf.strings.as_string", "numbers, in one way", str(array.dtype)))
    digits = "" if precision < 0 else f".{precision}"
    form = f"{fill}{width if width > 0 else ''}{digits if array.dtype.kind == 'f' else ''}"
    kind = ("e" if scientific else "g" if shortest else "f") if array.dtype.kind == "f" else "d"
    if array.dtype.kind == "b":
        words = ["true" if x else "false" for x in array.ravel().tolist()]
    else:
        words = [f"%{form}{kind}" % x for x in array.ravel().tolist()]
    return np.array(words, dtype=object).reshape(array.shape).view(EagerTensor)


def bytes_split(input: Any, name: Any = None) -> Any:
    """The bytes of each text, which are characters of ASCII's."""
    array = np.asarray(input)
    if any(len(_text(x)) != len(_text(x).encode()) for x in array.ravel().tolist()):
        raise UnsupportedError("tf.strings.bytes_split: texts beyond ASCII. Use tf.strings.unicode_split")
    return unicode_split(input, "UTF-8")


def unicode_decode(
    input: Any,
    input_encoding: str,
    errors: str = "replace",
    replacement_char: int = 65533,
    replace_control_characters: bool = False,
    name: Any = None,
) -> Any:
    """The numbers of the characters of each text: of one an array, of several a list of arrays."""
    _check_encoding("unicode_decode", input_encoding, errors)
    if replace_control_characters:
        raise UnsupportedError("tf.strings.unicode_decode: replace_control_characters")
    array = np.asarray(input)
    if array.ndim == 0:
        return np.array([ord(c) for c in _text(array.item())], np.int32).view(EagerTensor)
    return [np.array([ord(c) for c in _text(x)], np.int32).view(EagerTensor) for x in array.tolist()]


def unicode_encode(
    input: Any, output_encoding: str, errors: str = "replace", replacement_char: int = 65533, name: Any = None
) -> Any:
    """Texts of the numbers of their characters, along the last axis."""
    _check_encoding("unicode_encode", output_encoding, errors)
    rows = np.asarray(input)
    if rows.ndim == 1:
        return np.array("".join(map(chr, rows.tolist())), dtype=object).view(EagerTensor)
    made = ["".join(map(chr, row)) for row in rows.reshape(-1, rows.shape[-1]).tolist()]
    return np.array(made, dtype=object).reshape(rows.shape[:-1]).view(EagerTensor)


def written(template: str, inputs: Any, placeholder: str = "{}", summarize: int = 3, name: Any = None) -> Any:
    """tf.strings.format: a template in which values stand in the places of the placeholder."""
    parts = _text(np.asarray(template).item()).split(placeholder)
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if len(parts) != len(given) + 1:
        raise InputError(describe("tf.strings.format", f"{len(parts) - 1} inputs", str(len(given))))
    words = [str(np.asarray(x)) for x in given]
    text = parts[0] + "".join(word + part for word, part in zip(words, parts[1:]))
    return np.array(text, dtype=object).view(EagerTensor)


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
    "strings.format": written,
    "strings.bytes_split": bytes_split,
    "strings.unicode_decode": unicode_decode,
    "strings.unicode_encode": unicode_encode,
}
FUNCTIONS |= {
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
    if isinstance(x, (str, bytes, np.ndarray, np.generic)):
        return np.asarray(x).dtype.kind in "USO"
    return isinstance(x, (list, tuple)) and len(x) > 0 and _is_text(x[0])


def _alike(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as arrays of str."""
    found = [np.asarray(side) for side in (x, y)]
    made = [np.array([_text(t) for t in a.ravel().tolist()], object).reshape(a.shape) for a in found]
    return made[0], made[1]


def _equal(x: Any, y: Any, name: Any = None) -> Any:
    first, second = _alike(x, y)
    return np.asarray(first == second)


def _unequal(x: Any, y: Any, name: Any = None) -> Any:
    first, second = _alike(x, y)
    return np.asarray(first != second)


def _pick(params: Any, indices: Any, validate_indices: Any = None, axis: Any = 0, **kwargs: Any) -> Any:
    return np.take(np.asarray(params), np.asarray(indices), axis or 0)


def _choose(condition: Any, x: Any = None, y: Any = None, name: Any = None) -> Any:
    return np.where(np.asarray(condition), *(np.asarray(side, dtype=object) for side in (x, y)))


def _joined(values: Any, axis: int, name: Any = None) -> Any:
    return np.concatenate([np.asarray(x, dtype=object) for x in values], int(axis))


ON_TEXTS: dict[str, Callable[..., Any]] = {
    "concat": _joined,
    "equal": _equal,
    "expand_dims": lambda input, axis, name=None: np.expand_dims(np.asarray(input), int(axis)),
    "gather": _pick,
    "identity": lambda input, name=None: np.asarray(input),
    "math.equal": _equal,
    "math.not_equal": _unequal,
    "not_equal": _unequal,
    "reshape": lambda tensor, shape, name=None: np.reshape(
        np.asarray(tensor), [int(d) for d in np.ravel(shape)]
    ),
    "size": lambda input, out_type="int32", name=None: np.asarray(np.size(input), str(out_type)),
    "squeeze": lambda input, axis=None, name=None: np.squeeze(np.asarray(input), axis),
    "stack": lambda values, axis=0, name="stack": np.stack([np.asarray(x, object) for x in values], axis),
    "tile": lambda input, multiples, name=None: np.tile(np.asarray(input), [int(d) for d in multiples]),
    "transpose": lambda a, perm=None, conjugate=False, name=None: np.transpose(np.asarray(a), perm),
    "where": _choose,
}


def also_texts(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors that takes arrays of texts too."""
    of_texts = ON_TEXTS[name]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [x for x in (*args, *kwargs.values()) if x is not None]
        first = given[1] if name == "where" and len(given) > 1 else given[0] if given else None
        if name in ("concat", "stack") and isinstance(first, (list, tuple)):
            first = first[0] if len(first) else None
        return as_tensors(of_texts(*args, **kwargs)) if _is_text(first) else function(*args, **kwargs)

    return call

"""`tf.debugging`: what a script claims of its tensors, checked where it is known: on values, and of types in
models. Of numbers that a model computes nothing is checked, as its compiled code does not stop: a warning
says so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.tensorflow.functions import Function, on_values
from kcompile_runtime.errors import InputError, describe


class _Failed(InputError):
    """A claim that does not hold; TensorFlow's is no ValueError, but scripts catch either."""


def _known(name: str, *given: Any) -> bool:
    if on_values(*given):
        return True
    warnings.warn(
        f"tf.debugging.{name}: numbers that a model computes are not checked, as compiled code does not stop",
        stacklevel=4,
    )
    return False


def _fail(name: str, claim: str, got: Any, message: Any) -> None:
    text = describe(f"tf.debugging.{name}", claim, got)
    raise _Failed(f"{message}: {text}" if message else text)


def _of_two(name: str, claim: str, holds: Callable[[Any, Any], Any]) -> Function:
    def check(x: Any, y: Any, message: Any = None, summarize: Any = None, name: Any = None) -> None:
        if _known(label, x, y):
            first, second = np.asarray(x), np.asarray(y)
            if not np.all(holds(first, second)):
                _fail(label, claim, f"{first} and {second}", message)

    def check_summary(x: Any, y: Any, summarize: Any = None, message: Any = None, name: Any = None) -> None:
        check(x, y, message)

    label = name
    return check_summary if name == "assert_none_equal" else check


def _of_one(name: str, claim: str, holds: Callable[[Any], Any]) -> Function:
    def check(x: Any, message: Any = None, summarize: Any = None, name: Any = None) -> None:
        if _known(label, x) and not np.all(holds(np.asarray(x))):
            _fail(label, claim, str(np.asarray(x)), message)

    label = name
    return check


def assert_near(
    x: Any,
    y: Any,
    rtol: Any = None,
    atol: Any = None,
    message: Any = None,
    summarize: Any = None,
    name: Any = None,
) -> None:
    """Raises InputError where x and y differ by more than rounding."""
    if _known("assert_near", x, y):
        first, second = np.asarray(x), np.asarray(y)
        dtype = first.dtype if first.dtype.kind == "f" else np.dtype("float32")
        least = 10 * float(np.finfo(dtype).eps)
        bounds = (least if rtol is None else float(rtol), least if atol is None else float(atol))
        if not np.all(np.abs(first - second) <= bounds[1] + bounds[0] * np.abs(second)):
            _fail("assert_near", "tensors that are near", f"{first} and {second}", message)


def _rank(name: str, holds: Callable[[int, int], bool], claim: str) -> Function:
    def check(x: Any, rank: Any, message: Any = None, name: Any = None) -> None:
        got = len(x.shape) if hasattr(x, "shape") else np.ndim(x)
        if not holds(got, int(rank)):
            _fail(label, f"rank {claim} {int(rank)}", f"rank {got}", message)

    label = name
    return check


def assert_rank_in(x: Any, ranks: Any, message: Any = None, name: Any = None) -> None:
    """Raises InputError where the number of axes is none of these."""
    got = len(x.shape) if hasattr(x, "shape") else np.ndim(x)
    if got not in [int(rank) for rank in ranks]:
        _fail("assert_rank_in", f"one of the ranks {tuple(ranks)}", f"rank {got}", message)


def assert_type(tensor: Any, tf_type: Any, message: Any = None, name: Any = None) -> None:
    """Raises InputError where the dtype is another one."""
    kind = tensor.dtype if hasattr(tensor, "dtype") else np.asarray(tensor).dtype
    got = "string" if getattr(kind, "kind", "") in ("U", "O") else getattr(kind, "name", str(kind))
    if got != str(tf_type):
        _fail("assert_type", str(tf_type), got, message)


def assert_shapes(
    shapes: Any, data: Any = None, summarize: Any = None, message: Any = None, name: Any = None
) -> None:
    """Raises InputError where tensors have not the shapes that pairs say: sizes, letters that stand for one
    size each, None for any, and "..." for any axes at the front."""
    sizes: dict[str, Any] = {}
    for tensor, claim in shapes.items() if isinstance(shapes, dict) else shapes:
        got = [d if isinstance(d, int) else None for d in np.shape(tensor) or getattr(tensor, "shape", ())]
        wanted = [claim] if isinstance(claim, int) else list(claim)
        if wanted and wanted[0] in ("...", Ellipsis, "*"):
            wanted = wanted[1:]
            got = got[len(got) - len(wanted) :]
        if len(got) != len(wanted):
            _fail("assert_shapes", str(tuple(wanted)), str(tuple(got)), message)
        for size, word in zip(got, wanted):
            known = sizes.setdefault(word, size) if isinstance(word, str) and not word.isdigit() else word
            if None not in (size, known) and int(size) != int(known):  # type: ignore[arg-type]
                _fail("assert_shapes", f"{word} to be {known}", str(size), message)


def assert_all_finite(x: Any, message: str, name: Any = None) -> Any:
    """`check_numerics`."""
    return check_numerics(x, message)


def check_numerics(tensor: Any, message: str, name: Any = None) -> Any:
    """The tensor. Raises InputError where a number is infinite or none."""
    if _known("check_numerics", tensor) and not np.all(np.isfinite(np.asarray(tensor))):
        _fail("check_numerics", "numbers that are finite", str(np.asarray(tensor)), message)
    return tensor


def assert_true(condition: Any, data: Any = None, summarize: Any = None, name: Any = None) -> None:
    """tf.debugging.Assert. Raises InputError where a condition does not hold."""
    if _known("Assert", condition) and not np.all(np.asarray(condition)):
        _fail("Assert", "a condition that holds", str(data), None)


_TWO = {
    "equal": ("equal tensors", lambda x, y: x == y),
    "none_equal": ("tensors without equal elements", lambda x, y: x != y),
    "less": ("x < y", lambda x, y: x < y),
    "less_equal": ("x <= y", lambda x, y: x <= y),
    "greater": ("x > y", lambda x, y: x > y),
    "greater_equal": ("x >= y", lambda x, y: x >= y),
}
_ONE = {
    "positive": ("numbers above 0", lambda x: x > 0),
    "negative": ("numbers below 0", lambda x: x < 0),
    "non_negative": ("numbers from 0 on", lambda x: x >= 0),
    "non_positive": ("numbers up to 0", lambda x: x <= 0),
}
_RANKS = {
    "rank": (lambda got, rank: got == rank, "of"),
    "rank_at_least": (lambda got, rank: got >= rank, "of at least"),
}
NAMES: dict[str, Any] = {
    **{f"debugging.assert_{name}": _of_two(f"assert_{name}", *parts) for name, parts in _TWO.items()},
    **{f"debugging.assert_{name}": _of_one(f"assert_{name}", *parts) for name, parts in _ONE.items()},
    **{f"debugging.assert_{name}": _rank(f"assert_{name}", *parts) for name, parts in _RANKS.items()},
    "debugging.Assert": assert_true,
    "debugging.assert_all_finite": assert_all_finite,
    "debugging.assert_near": assert_near,
    "debugging.assert_rank_in": assert_rank_in,
    "debugging.assert_shapes": assert_shapes,
    "debugging.assert_type": assert_type,
    "debugging.check_numerics": check_numerics,
    "Assert": assert_true,
}
NAMES.update(
    (name, NAMES[f"debugging.{name}"])
    for name in ("assert_equal", "assert_less", "assert_greater", "assert_rank")
)

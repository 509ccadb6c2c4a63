"""What constructors of layers do with their arguments: names, checks, the shape of a first layer.

Enters: arguments as users (and configurations) give them. Leaves: values that are what they have to be,
or an error that names the layer and the argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from kcompile.keras.explain import explained
from kcompile.keras.operands import sizes
from kcompile.keras.policies import FLOAT_NAMES, REMEDY, DTypePolicy, policy_of
from kcompile.keras.settings import dtype_name, dtype_policy
from kcompile.keras.tensors import KerasShape, as_list, is_integer
from kcompile_runtime.checks import check_flag, finite
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


class ConfigurationError(UnsupportedError, NotImplementedError):
    """A configuration, or a file with one, of a layer or model that no configuration describes."""


class Arguments:
    """The part of `Layer` that is about arguments, and about its name."""

    name: str
    dtype_policy: DTypePolicy
    semantics: Any

    @property
    def label(self) -> str:
        """How errors speak of the layer."""
        return f"Layer {self.name!r} ({type(self).__name__})"

    def named_errors(self) -> AbstractContextManager[None]:
        """Errors raised inside name this layer (the innermost one, where layers are nested)."""
        return explained(self.label)

    def one_of(self, argument: str, value: Any, options: Sequence[Any]) -> Any:
        """The value of an argument that has few. Raises ModelError naming the layer."""
        if isinstance(value, (str, int)) and value in options:
            return value
        raise ModelError(
            describe(f"{self.label}: {argument}", "one of " + ", ".join(map(repr, options)), repr(value))
        )

    def word(self, argument: str, value: Any, options: Sequence[str]) -> Any:
        """The same for a word that Keras takes in capitals too: in small letters."""
        return self.one_of(argument, value.lower() if isinstance(value, str) else value, options)

    def flag(self, argument: str, value: Any) -> bool:
        """True or False (1 or 0; None is False). Raises InputError naming the layer."""
        if value is None or isinstance(value, bool):
            return bool(value)
        return check_flag(f"{self.label}: {argument}", value)

    def positive(self, argument: str, value: Any) -> int:
        """The value of an argument that counts something. Raises ModelError naming the layer."""
        if is_integer(value) and value > 0:
            return int(value)
        raise ModelError(describe(f"{self.label}: {argument}", "a positive integer", repr(value)))

    def positives(self, argument: str, value: Any, count: int) -> tuple[int, ...]:
        """One positive integer for each of `count` axes; a single one stands for all."""
        return self._integers(argument, value, count, 1, "a positive integer")

    def counts(self, argument: str, value: Any, count: int) -> tuple[int, ...]:
        """One integer of at least 0 for each of `count` axes; a single one stands for all."""
        return self._integers(argument, value, count, 0, "an integer of at least 0")

    def _integers(self, argument: str, value: Any, count: int, low: int, kind: str) -> tuple[int, ...]:
        value = sizes(value)
        values = as_list(value) if isinstance(value, (list, tuple)) else [value] * count
        if len(values) == count and all(is_integer(v) and v >= low for v in values):
            return tuple(map(int, values))
        wanted = kind + (f" or {count} of them" if count > 1 else "")
        raise ModelError(describe(f"{self.label}: {argument}", wanted, repr(value)))

    def sides(self, argument: str, value: Any, count: int) -> tuple[tuple[int, int], ...]:
        """How many elements before and behind each of `count` axes: one number for all, or for each axis a
        number or a pair; for one axis, also a pair alone."""
        value = sizes(value)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * count
        if count == 1 and isinstance(value, (list, tuple)) and len(value) == 2:
            values = [value]
        if len(values) == count:
            with self.named_errors():
                pairs = (self.counts(argument, v, 2) for v in values)
                return tuple((before, behind) for before, behind in pairs)
        wanted = f"an integer of at least 0, or {count} integers or pairs of them"
        raise ModelError(describe(f"{self.label}: {argument}", wanted, repr(value)))

    def number(self, argument: str, value: Any, low: float = -np.inf, high: float = np.inf) -> float:
        """A finite number in [low, high). Raises ModelError naming the layer."""
        number = finite(value)
        if number is not None and low <= number < high:
            return number
        bounds = "" if low == -np.inf else f" in [{low:g}, {high:g})"
        raise ModelError(describe(f"{self.label}: {argument}", f"a number{bounds}", repr(value)))

    def random_seed(self, seed: Any) -> int | None:
        """The seed of what the layer draws: a whole number, or None for the model's. Raises ModelError
        naming the layer."""
        bounded = self.semantics.seeds == "of 32 bits"
        if seed is None or (is_integer(seed) and (not bounded or 0 <= seed < 2**32)):
            return None if seed is None else int(seed)
        wanted = f"an integer{' from 0 to 2**32 - 1' if bounded else ''}, or None"
        raise ModelError(describe(f"{self.label}: seed", wanted, repr(seed)))

    def policy(self, value: Any, whole: bool) -> DTypePolicy:
        """The policy that `dtype` says. whole: whether it may be of whole numbers. Raises ModelError,
        UnsupportedError, InputTypeError, naming the layer."""
        if value is None:
            return dtype_policy()
        with self.named_errors():
            policy = policy_of(dtype_name(value))
        return policy if whole else DTypePolicy(self.one_of("dtype", policy.name, FLOAT_NAMES))

    @property
    def compute_dtype(self) -> str:
        """The dtype in which Keras computes by the layer's policy."""
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype in which Keras keeps the weights by the layer's policy."""
        return self.dtype_policy.variable_dtype

    def quantize(self, mode: Any = None, **options: Any) -> None:
        """Raises UnsupportedError."""
        raise UnsupportedError(f"{self.label}: quantize: {REMEDY}")


def parameters(cls: type, stop: type = object) -> dict[str, None]:
    """Names of the constructor arguments of a class and of its bases below `stop`, in order."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if base is stop or base is object:
            break
        if "__init__" in vars(base):
            names.update(
                (p.name, None)
                for p in inspect.signature(vars(base)["__init__"]).parameters.values()
                if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
            )
    return names


def show_parameters(function: Callable[..., Any], parameters: Iterable[inspect.Parameter]) -> None:
    """Make these what `inspect` and `help` say of a function that takes (*args, **kwargs)."""
    vars(function)["__signature__"] = inspect.Signature(list(parameters))


def checked_name(name: Any) -> str:
    if isinstance(name, str) and name:
        return name
    raise ModelError(describe("the name of a layer", "text", repr(name)))


def input_shape_argument(kwargs: dict[str, Any]) -> KerasShape | None:
    """Take the ways to state the first layer's input out of kwargs: a shape with the batch."""
    batch = kwargs.pop("batch_size", None)
    dim, shape = kwargs.pop("input_dim", None), sizes(kwargs.pop("input_shape", None))
    length = kwargs.pop("input_length", None) if dim is not None else None  # alone it says nothing
    full = sizes(kwargs.pop("batch_input_shape", kwargs.pop("batch_shape", None)))
    if shape is None and dim is not None:
        shape = (dim,) if length is None else (length, dim)
    if full is None and shape is None:
        return None
    given = full if full is not None else (batch, *(shape if isinstance(shape, (list, tuple)) else [shape]))
    if (
        not isinstance(given, (list, tuple))
        or not given
        or any(d is not None and not (is_integer(d) and d > 0) for d in given)
    ):
        raise ModelError(describe("input_shape", "positive sizes", str(given)))
    return tuple(None if d is None else int(d) for d in given)

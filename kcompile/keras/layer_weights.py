"""The variables of a layer: made, counted, read and written.

Enters: names, shapes, initializers. Leaves: `Variable`s, in the order in which Keras lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np

from kcompile.ir.types import BYTES, DTYPES, FLOATS
from kcompile.keras import constraints, initializers, regularizers
from kcompile.keras.editions import edition
from kcompile.keras.layer_arguments import Arguments
from kcompile.keras.operands import value_of
from kcompile.keras.scopes import path_in
from kcompile.keras.settings import dtype_name, floatx, get_uid, running
from kcompile.keras.tensors import Variable, is_integer
from kcompile.keras.tracing import tracing
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import (
    InputError,
    InputTypeError,
    ModelError,
    NotBuiltError,
    UnsupportedError,
    describe,
)


def unnamed(vintage: str) -> str:
    """The name of a weight that is given none: variable, variable_1, ... in Keras 3, and Variable before."""
    if edition(vintage).variables != "last part":
        return "Variable"
    number = get_uid("Variable") - 1
    return f"variable_{number}" if number else "variable"


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Numbers drawn inside, such as first values of weights that nobody will see, do not move numpy's
    global generator."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


# Bytes of weights that may still be made, None: as many as there is room for.
_budget: ContextVar[int | None] = ContextVar("budget", default=None)
_blank: ContextVar[bool] = ContextVar("blank", default=False)


@contextmanager
def weight_budget(limit: int, blank: bool = False) -> Iterator[None]:
    """Inside, layers make at most `limit` bytes of weights: a file must not ask for more than there
    is. What is too large raises ModelError before it is allocated. blank: first values are not drawn,
    as all of them are about to be overwritten."""
    tokens = _budget.set(limit), _blank.set(blank)
    try:
        yield
    finally:
        _budget.reset(tokens[0])
        _blank.reset(tokens[1])


# Arguments of add_weight since tf.keras that change nothing on one device, and those that may have these
# values
MEANINGLESS = ("autocast", "aggregation", "experimental_autocast", "synchronization", "use_resource")
DEFAULTS: dict[str, Any] = {
    "caching_device": None,
    "collections": None,
    "getter": None,
    "overwrite_with_gradient": False,
    "partitioner": None,
}


def _check_others(label: str, others: Mapping[str, Any]) -> None:
    """Raises UnsupportedError, and InputTypeError for what no Keras has."""
    for name, value in others.items():
        if name in DEFAULTS and value != DEFAULTS[name]:
            what = f"{label}: add_weight: {name}"
            raise UnsupportedError(describe(what, repr(DEFAULTS[name]), repr(value)))
        if name not in DEFAULTS and name not in MEANINGLESS:
            wanted = "the arguments of Keras' add_weight"
            raise InputTypeError(describe(f"{label}: add_weight", wanted, repr(name)))


# Initializers that draw floats
DRAWN = (
    initializers.RandomNormal,
    initializers.TruncatedNormal,
    initializers.VarianceScaling,
    initializers.Orthogonal,
)


class Weights(Arguments):
    """The part of `Layer` that is about its variables."""

    trainable: Any
    dtype: str
    built: bool
    semantics: Any
    vintage: Any
    _trainable: list[Variable]
    _non_trainable: list[Variable]

    def add_weight(
        self,
        name: str | None = None,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool = True,
        constraint: Any = None,
        **others: Any,
    ) -> Variable:
        """A new variable of this layer, filled by `initializer` (default glorot_uniform, or zeros for whole
        numbers since tf.keras). others: what later
        Kerases have besides, which says how variables are kept elsewhere and means nothing here."""
        _check_others(self.label, others)
        sizes, name = tuple(shape or ()), unnamed(self.vintage) if name is None else name
        if None in sizes:
            raise ModelError(
                describe(
                    f"{self.label}: weights {name!r}",
                    "a shape that is known",
                    f"shape {sizes}, with sizes that the model's inputs leave unknown",
                    "Give the Input these sizes",
                )
            )
        if not isinstance(name, str) or not all(is_integer(d) and d > 0 for d in sizes):
            raise ModelError(
                describe(
                    f"{self.label}: add_weight", "a name and positive sizes", f"name={name!r}, shape={shape}"
                )
            )
        own = self.dtype if self.dtype in FLOATS else floatx()
        known = DTYPES if edition(self.vintage).eager else (*FLOATS, "int32", "uint32")
        kind = self.one_of("dtype of add_weight", dtype_name(dtype or own), known)
        self._spend(BYTES[kind] * prod(map(int, sizes)), sizes)
        usual = "zeros" if edition(self.vintage).eager and kind not in FLOATS else "glorot_uniform"
        fill = initializers.get(usual if initializer is None else initializer)
        if kind not in FLOATS and edition(self.vintage).eager and isinstance(fill, DRAWN):
            wanted = "an initializer of whole numbers, as zeros and ones are"
            raise ModelError(describe(f"{self.label}: {kind} weights {name!r}", wanted, type(fill).__name__))
        fill = np.zeros if _blank.get() else fill
        taken = {v.path for v in (*self._trainable, *self._non_trainable)}
        with tracing(None), running(self.vintage):  # first values are computed now
            variable = Variable(
                value_of(filled(fill, sizes, kind)),
                unique(path_in(self, name), taken),
                trainable,
                kind,
                regularizers.get(regularizer),
                constraints.get(constraint),
            )
        if variable.shape != sizes:
            raise ModelError(
                describe(
                    f"{self.label}: initializer of {name!r}", f"shape {sizes}", f"shape {variable.shape}"
                )
            )
        self._check_constraint(variable.constraint, name, sizes)
        (self._trainable if trainable else self._non_trainable).append(variable)
        return variable

    def _check_constraint(self, constraint: Any, name: str, shape: tuple[int, ...]) -> None:
        """Raises ModelError for an axis that the weights do not have."""
        axes = getattr(constraint, "axis", ())
        for axis in axes if isinstance(axes, (list, tuple)) else (axes,):
            if is_integer(axis) and not -len(shape) <= axis < len(shape):
                raise ModelError(
                    describe(
                        f"{self.label}: constraint of {name!r}",
                        f"an axis of its shape {shape}",
                        f"axis {axis}",
                    )
                )

    def _spend(self, size: int, shape: Sequence[int]) -> None:
        left = _budget.get()
        if left is None:
            return
        if size > left:
            raise ModelError(
                describe(
                    f"{self.label}: weights",
                    f"at most {left} bytes more",
                    f"shape {tuple(shape)}, which is {size} bytes",
                )
            )
        _budget.set(left - size)

    @property
    def variables(self) -> list[Variable]:
        """The weights, by the name that Keras has for them since tf.keras."""
        found: list[Variable] = self.weights
        return found

    @property
    def trainable_variables(self) -> list[Variable]:
        """Those that are trained."""
        found: list[Variable] = self.trainable_weights
        return found

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """Those that are not."""
        found: list[Variable] = self.non_trainable_weights
        return found

    @property
    def inside(self) -> Sequence[Any]:
        """The layers that this one holds."""
        return ()

    @property
    def runs(self) -> int:
        """How many layers run in a call, this one included."""
        return 1 + sum(layer.runs for layer in self.inside)

    @property
    def flagged_weights(self) -> list[Variable]:
        """The weights whose own layer is trainable, whatever is said of the layers around it."""
        own = self._flagged if self.trainable else []
        return [*own, *(v for layer in self.inside for v in layer.flagged_weights)]

    @property
    def _flagged(self) -> list[Variable]:
        """The weights that are trained if the layer is; in Keras 3 a variable has a flag of its own."""
        own = self.semantics.trained_weights == "own flag"
        return [v for v in self._trainable if v.trainable] if own else list(self._trainable)

    @property
    def trainable_weights(self) -> list[Variable]:
        return self._flagged if self.trainable else []

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        """Make these the layer's trained weights, as custom layers of Keras 1 and 2 do in `build`."""
        self._trainable = list(variables)

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trained = {id(v) for v in (self._flagged if self.trainable else ())}
        return [v for v in (*self._trainable, *self._non_trainable) if id(v) not in trained]

    @property
    def state_variables(self) -> list[Variable]:
        """The variables that outlive calls and are no weights: the states of a stateful recurrent layer."""
        return []

    @property
    def weights(self) -> list[Variable]:
        """The trainable ones first; those that were made to be, where a variable alone is frozen."""
        if len(self._flagged) < len(self._trainable):
            return [*self._trainable, *self._non_trainable]
        return self.trainable_weights + self.non_trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write all weights, in the order of `get_weights`, or none. Raises InputError."""
        if not isinstance(weights, (list, tuple, np.ndarray)):
            raise InputError(describe(f"{self.label}: set_weights", "a list of arrays", repr(weights)))
        variables, arrays = self.weights, [as_array(w, f"{self.label}: set_weights") for w in weights]
        if len(arrays) != len(variables):
            remedy = "" if self.built else "It has none before it is built: give it an input shape"
            raise InputError(
                describe(f"{self.label}: set_weights", f"{len(variables)} arrays", f"{len(arrays)}", remedy)
            )
        for variable, array in zip(variables, arrays):
            if array.shape != variable.shape:
                raise InputError(
                    describe(
                        f"{self.label}: set_weights",
                        f"shape {variable.shape} for {variable.path!r}",
                        f"shape {array.shape}",
                    )
                )
        for variable, array in zip(variables, arrays):
            variable.assign(array)

    def count_params(self) -> int:
        """The number of elements of all weights. Raises NotBuiltError before the layer is built."""
        if not self.built:
            raise NotBuiltError(
                f"{self.label}: count_params: the layer has no weights yet. Call it on "
                "an input, or give it an input_shape in a Sequential"
            )
        return sum(v.array.size for v in self.weights)


def filled(fill: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """First values. An initializer of ours makes them in this dtype; functions of users take a shape."""
    return fill(shape, dtype) if isinstance(fill, initializers.Initializer) else fill(shape)


def weights_of_others(layer: Arguments) -> ModelError:
    """The error for setting the trained weights of a layer whose weights belong to the layers inside."""
    return ModelError(
        f"{layer.label}: trainable_weights: they are those of the layers inside, and cannot be set. "
        "Set trainable of these layers"
    )


def distinct(variables: Iterable[Variable]) -> list[Variable]:
    """Each once, where it is first met."""
    return list({id(v): v for v in variables}.values())


def distinguish(variables: Sequence[Variable]) -> None:
    """Layers inside others may have the same names; give each variable a path of its own."""
    taken: set[str] = set()
    for variable in variables:
        variable.path = unique(variable.path, taken)
        taken.add(variable.path)


def unique(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it new."""
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found

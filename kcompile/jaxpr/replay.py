"""The walk over a program of JAX: each of its equations written into a graph.

Enters: the program, traced for two sizes of the batch, and values for its inputs. Leaves: values for its
outputs.

A value is a `Tensor` of the graph; an array that is known now, numbers and what follows from them, so that
indices and tables cost nothing later; a `Complex` of two of these; or what random numbers come from
(`draws`), which is no number here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Source
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType, bind
from kcompile.jaxpr.keys import known_key
from kcompile.jaxpr.programs import evaluate, line_of
from kcompile.jaxpr.sizes import Pair, Sizes
from kcompile.keras.tracing import Trace
from kcompile_runtime.errors import ModelError, UnsupportedError

Rule = Callable[..., Any]

# For each primitive of JAX, by its name: how it is written in ops. A rule gets the equation and its operands,
# and gives the result, or a list of them.
RULES: dict[str, Rule] = {}
# For some, what they make of arrays that are known, by numpy; others are asked of JAX itself.
KNOWN: dict[str, Rule] = {}
# Programs inside programs, which JAX names after the function: what is written in their place.
FUNCTIONS: dict[str, Rule] = {}
# Primitives that look into values which are no numbers here.
OPAQUE: dict[str, Rule] = {}
# What primitives make of complex numbers, or make into them.
COMPLEX: dict[str, Rule] = {}


def rule(*names: str, table: dict[str, Rule] = RULES) -> Callable[[Rule], Rule]:
    """Register the rule of primitives of these names."""

    def register(function: Rule) -> Rule:
        for name in names:
            assert name not in table, name
            table[name] = function
        return function

    return register


@dataclass(frozen=True)
class Complex:
    """Complex numbers: both parts are tensors, or arrays that are known and broadcast to the whole shape."""

    real: Any
    imaginary: Any


class Equation:
    """One equation of a program: its name, its parameters for every batch, and the types of what it reads and
    makes."""

    def __init__(self, replay: Replay, first: Any, second: Any) -> None:
        self.replay, self.first, self.second = replay, first, second
        self.outer = replay.outer
        self.name: str = first.primitive.name

    def __getitem__(self, name: str) -> Any:
        """A parameter."""
        return self.replay.sizes.join(self.first.params[name], self.second.params[name])

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.first.params else default

    @property
    def types(self) -> list[TensorType]:
        """Of the results."""
        return [
            self.replay.sizes.type(a.aval, b.aval) for a, b in zip(self.first.outvars, self.second.outvars)
        ]

    @property
    def type(self) -> TensorType:
        return self.types[0]

    @property
    def input_types(self) -> list[TensorType]:
        return [self.replay.sizes.type(a.aval, b.aval) for a, b in zip(self.first.invars, self.second.invars)]

    @property
    def varies(self) -> bool:
        """Whether shapes of the results hold the batch."""
        return any(a.aval.shape != b.aval.shape for a, b in zip(self.first.outvars, self.second.outvars))

    @property
    def complex_inputs(self) -> list[bool]:
        """Which operands are complex numbers."""
        return [_is_complex(v.aval) for v in self.first.invars]

    @property
    def gives_complex(self) -> bool:
        return any(_is_complex(v.aval) for v in self.first.outvars)

    @property
    def place(self) -> str:
        """The layer, as the user named it, and the line."""
        scope, line = str(self.first.source_info.name_stack), line_of(self.first)
        parts = [f"layer {scope!r}" if scope else "", f"({line})" if line else ""]
        outer = self.outer
        return " ".join(filter(None, parts)) or ("" if outer is None else outer.place)

    @property
    def layer(self) -> str:
        """The layer whose code this is, as far as is known."""
        own, outer = str(self.first.source_info.name_stack), self.outer
        return own.rpartition("/")[2] or ("" if outer is None else outer.layer)

    def refuse(self, why: str) -> UnsupportedError:
        place = f" in {self.place}" if self.place else ""
        return UnsupportedError(f"the primitive {self.name!r} of JAX{place}: {why}")

    def tensors(self, *values: Any) -> list[Tensor]:
        """Operands as tensors, whole."""
        return [self.replay.tensor(v, t) for v, t in zip(values, self.input_types)]

    def operands(self, *values: Any) -> list[Tensor]:
        """Operands as tensors, where a known array may be left unspread: for ops that broadcast."""
        return [self.replay.tensor(v, t, spread=False) for v, t in zip(values, self.input_types)]


class Replay:
    """Writes into `graph`. trace: where random numbers come from, None where there are none. rules: whether
    functions with a gradient of their own keep it."""

    def __init__(self, graph: Graph, sizes: Sizes, trace: Trace | None = None, rules: bool = True) -> None:
        self.graph, self.sizes, self.trace, self.rules = graph, sizes, trace, rules
        self.looping = False
        self.outer: Equation | None = None  # whose program this is
        self.drawn: dict[Any, Tensor] = {}

    def inside(self, graph: Graph) -> Replay:
        """The same for the body of a loop."""
        made = Replay(graph, self.sizes, rules=self.rules)
        made.looping, made.outer = True, self.outer
        return made

    def run(self, programs: Pair, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a program whose constants are its own."""
        first, second = programs
        consts = [self.constant(a, b) for a, b in zip(first.consts, second.consts)]
        return self.walk(Pair(first.jaxpr, second.jaxpr), consts, inputs)

    def walk(self, programs: Pair, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        first, second = programs
        if [e.primitive.name for e in first.eqns] != [e.primitive.name for e in second.eqns]:
            raise UnsupportedError("the program of JAX depends on the size of the batch")
        known: dict[Any, Any] = dict(zip(first.constvars, consts))
        known.update(zip(first.invars, inputs, strict=True))

        def read(var: Any, other: Any) -> Any:
            return known[var] if not hasattr(var, "val") else self.constant(var.val, other.val)

        for a, b in zip(first.eqns, second.eqns):
            values = [read(x, y) for x, y in zip(a.invars, b.invars)]
            known.update(zip(a.outvars, self.step(Equation(self, a, b), values)))
        return [read(x, y) for x, y in zip(first.outvars, second.outvars)]

    def step(self, equation: Equation, values: Sequence[Any]) -> Sequence[Any]:
        """The results of an equation."""
        name = equation.name
        if equation.gives_complex or any(equation.complex_inputs):
            if name not in PROGRAMS:
                return self._of_complex(equation, values)
            if name in LOOPS:
                raise equation.refuse("complex numbers go into no loop or branch; give it both parts")
        if any(not is_number(v) for v in values) and name not in PROGRAMS:
            if name not in OPAQUE:
                raise equation.refuse("keys of random numbers go into the functions of keras.random alone")
            return _listed(OPAQUE[name](equation, *values))
        if name not in PROGRAMS and not name.startswith("random_") and not equation.varies:
            if all(isinstance(v, np.ndarray) and v.dtype != object for v in values):
                return self._evaluated(equation, values)
        found = RULES.get(name) or OPAQUE.get(name)
        if found is None:
            raise equation.refuse("it is not supported")
        outer, self.outer = self.outer, equation if name in PROGRAMS else self.outer
        with self._source(equation):
            try:
                return _listed(found(equation, *values))
            except (ValueError, TypeError, NotImplementedError, IndexError) as error:
                if isinstance(error, (UnsupportedError, ModelError)):
                    raise
                raise equation.refuse(str(error)) from error
            finally:
                self.outer = outer

    def _of_complex(self, equation: Equation, values: Sequence[Any]) -> Sequence[Any]:
        """The results of an equation of complex numbers."""
        if not equation.varies and all(_is_known(v) for v in values):
            whole = [
                np.broadcast_to(v.real, x.aval.shape) + 1j * np.broadcast_to(v.imaginary, x.aval.shape)
                if isinstance(v, Complex)
                else v
                for v, x in zip(values, equation.first.invars)
            ]
            return [_split(np.asarray(v)) for v in evaluate(equation.first, whole)]
        found = COMPLEX.get(equation.name)
        if found is None:
            raise equation.refuse("of complex numbers, it is not supported")
        with self._source(equation):
            return _listed(found(equation, *values))

    def _source(self, equation: Equation) -> Any:
        """What is written is known by the layer that it comes from."""
        layer = equation.layer
        if not layer or self.trace is None:
            return nullcontext()
        return self.graph.source(Source(layer))

    def _evaluated(self, equation: Equation, values: Sequence[np.ndarray]) -> Sequence[Any]:
        """Of arrays that are known."""
        if equation.name in KNOWN:
            with np.errstate(all="ignore"):
                made = _listed(KNOWN[equation.name](equation, *values))
            return [np.asarray(v, t.dtype) for v, t in zip(made, equation.types)]
        return [np.asarray(v, t.dtype) for v, t in zip(evaluate(equation.first, values), equation.types)]

    def constant(self, first: Any, second: Any) -> Any:
        """What has these values in the two traces: the same numbers, or a number that follows from the
        batch."""
        a, b = _array(first), _array(second)
        if a is None or b is None:
            return known_key(first)
        if a.shape == b.shape and a.tobytes() == b.tobytes():
            return _split(a)
        if a.shape == b.shape == () and self.sizes.traced[0] != self.sizes.traced[1]:
            return self._of_batch(a, b)
        raise UnsupportedError("an array that is made for one size of the batch, outside of JAX, is used")

    def _of_batch(self, first: np.ndarray, second: np.ndarray) -> Tensor:
        """A scalar that is proportional to the batch, or to one over it."""
        low, high = self.sizes.traced
        dtype, a, b = first.dtype.name, float(first), float(second)
        if np.isclose(a * high, b * low, rtol=1e-6):
            per = a / low
            size = ops.extent(self.graph, Batch(), dtype)
            return size if per == 1 else size * per
        if first.dtype.kind == "f" and np.isclose(a * low, b * high, rtol=1e-6):
            return ops.constant(self.graph, a * low, dtype) / ops.extent(self.graph, Batch(), dtype)
        raise UnsupportedError(f"a number is {a} for a batch of {low} and {b} for one of {high}")

    def tensor(self, value: Any, type: TensorType, spread: bool = True) -> Tensor:
        """A value as a tensor of the graph. spread: to the shape of the type, else to one that broadcasts."""
        if isinstance(value, Complex):
            raise UnsupportedError(
                "complex numbers are computed with, but are no results: give their real and imaginary parts"
            )
        if isinstance(value, Tensor):
            return value if not spread or value.shape == type.shape else ops.broadcast_to(value, type.shape)
        small = ops.constant(self.graph, squeezed(np.asarray(value, type.dtype)), type.dtype)
        if not spread or small.shape == type.shape:
            return small
        return ops.broadcast_to(small, type.shape)

    def placeholder(self, value: Any, type: TensorType) -> Any:
        """What stands for a value in this graph, where only what is known of it counts."""
        if not isinstance(value, Tensor):
            return value
        return Tensor(self.graph, self.graph.input(f"in{len(self.graph.inputs)}", type))

    def concrete(self, type: TensorType) -> tuple[int, ...]:
        """The shape in the first trace."""
        return bind(type.shape, self.sizes.traced[0])


# Primitives that hold programs: they are walked through, whatever their operands are.
PROGRAMS: set[str] = set()
# ... again and again, or one of several
LOOPS = frozenset({"cond", "scan", "while"})


def is_number(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype != object)


def squeezed(array: np.ndarray) -> np.ndarray:
    """The array with one element along each axis along which it does not vary, and without such axes in front
    of all others."""
    for axis in range(array.ndim):
        if array.shape[axis] > 1:
            first = array.take([0], axis)
            same = array.strides[axis] == 0 or (array == first).all()
            array = first if same else array
    while array.ndim and array.shape[0] == 1:
        array = array[0]
    return array


def _listed(made: Any) -> Sequence[Any]:
    return made if isinstance(made, (list, tuple)) else [made]


def _array(value: Any) -> np.ndarray | None:
    """A number or an array as numpy's; None for keys of random numbers."""
    if str(getattr(value, "dtype", "")).startswith("key<"):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "fiubc" else np.asarray(value, np.float32)


def _is_complex(aval: Any) -> bool:
    return str(getattr(aval, "dtype", "")).startswith("complex")


def _is_known(value: Any) -> bool:
    if isinstance(value, Complex):
        return _is_known(value.real) and _is_known(value.imaginary)
    return isinstance(value, np.ndarray) and value.dtype != object


def _split(array: np.ndarray) -> Any:
    """Complex numbers by their parts; others as they are."""
    return Complex(array.real.copy(), array.imag.copy()) if array.dtype.kind == "c" else array

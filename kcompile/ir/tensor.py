"""A value of a graph under construction, with Python's operators.

What the front end, gradient rules and passes write expressions with. The functions that build nodes
are in `kcompile.ir.ops`; this holds the handle they take and give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, Union

import numpy as np

from kcompile.ir.described import StaticShape, dtype_of
from kcompile.ir.graph import Graph, Value
from kcompile.ir.op import Op
from kcompile.ir.types import FLOATS, Batch, Dim, Shape, TensorType
from kcompile_runtime.arrays import as_array


class HasTensor(Protocol):
    """Something with a value in any graph: a variable of the front end."""

    def __tensor__(self, graph: Any) -> Tensor: ...


Operand = Union["Tensor", HasTensor, int, float, bool, np.ndarray]

# Python's operators, by numpy's functions that they call when an array stands on the left
UFUNCS = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "floor_divide": "floordiv",
    "remainder": "mod",
    "power": "pow",
    "matmul": "matmul",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_xor": "xor",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "equal": "eq",
    "not_equal": "ne",
}
# Of comparisons, the one with the operands turned round
REFLECTED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}
# Names under which K has what numpy calls otherwise
RENAMED = {"absolute": "abs", "amax": "max", "amin": "min", "negative": "-x", "arange": "arange"}
NO_DATA = (
    "a symbolic tensor has no data yet: the code that is being traced becomes part of the "
    "compiled model, and runs later"
)

NO_TAPE = "Gradients in a step are tape.gradient(loss, weights), of `with tf.GradientTape() as tape:`"


_OF_VALUES = ("numpy", "item", "tolist")

# What operators are made of that is made of tensors itself, by name
_made_later: dict[str, Callable[..., Tensor]] = {}


def operator_of(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A decorator: the function, which an operator of tensors calls."""
    _made_later[function.__name__] = function
    return function


class Tensor:
    """A handle on a value of `graph`."""

    __slots__ = ("__weakref__", "graph", "value")
    __array_priority__ = 1000  # numpy leaves `array + tensor` to us

    def __init__(self, graph: Graph, value: Value) -> None:
        self.graph = graph
        self.value = value
        if graph.eager:
            graph.hold(self)

    @property
    def type(self) -> TensorType:
        return self.graph.type(self.value)

    @property
    def shape(self) -> Shape:
        return StaticShape(self.type.shape)

    @property
    def dtype(self) -> str:
        return dtype_of(self.type.dtype)

    @property
    def rank(self) -> int:
        return self.type.rank

    def get_shape(self) -> StaticShape:
        """TensorFlow's name of the shape, where the batch is None."""
        return StaticShape(None if isinstance(d, Batch) else d for d in self.shape)

    ndim = rank

    def __repr__(self) -> str:
        return f"<{self.type} {self._known('')}>" if self.graph.eager else f"<{self.type} %{self.value.node}>"

    # ---- what needs the data, which tensors of an eager graph have

    def _known(self, otherwise: str) -> np.ndarray:
        """The value, not a copy. Raises TypeError, which says `otherwise`, where there is none yet."""
        if not self.graph.eager:
            raise TypeError(otherwise)
        tracer: Any = self.graph.tracer and self.graph.tracer()
        found: np.ndarray = tracer.value_of(self)
        return found

    def __bool__(self) -> bool:
        return bool(
            self._known(
                "a symbolic tensor has no truth value: the branch would be decided before "
                "the data is known. Use `select(condition, a, b)` (K.switch, keras.ops.where, tf.cond)"
            )
        )

    def __iter__(self) -> Any:
        if self.graph.eager:
            return iter([self[i] for i in range(len(self))])
        raise TypeError(
            "a symbolic tensor cannot be iterated over. Loop over a size that is known "
            "(`for i in range(x.shape[1])`, with x[:, i] inside), or use K.rnn"
        )

    def __len__(self) -> int:
        if self.graph.eager and self.rank:
            return int(self.shape[0])
        raise TypeError("a symbolic tensor has no len(). Use x.shape, or K.int_shape(x)")

    def __int__(self) -> int:
        return int(self._known(f"{NO_DATA}. int(x) is not possible: use K.cast(x, 'int32')"))

    def __index__(self) -> int:
        return self._known(f"{NO_DATA}. It cannot be an index of Python's").__index__()

    def __float__(self) -> float:
        return float(self._known(f"{NO_DATA}. float(x) is not possible: use K.cast(x, 'float32')"))

    def __format__(self, spec: str) -> str:
        return format(self._known("").item(), spec) if self.graph.eager and spec else str(self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(
            self._known(
                f"{NO_DATA}. It cannot become a numpy array here: use functions of "
                "keras.backend (K) instead of numpy's (or another library's)"
            ),
            dtype,
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = UFUNCS.get(ufunc.__name__)
        if method == "__call__" and name is not None and not options:
            return by_operator(self, name, inputs)
        if not self.graph.eager:
            _refuse_numpy(ufunc.__name__)
        return getattr(ufunc, method)(*map(_as_array, inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not self.graph.eager:
            _refuse_numpy(function.__name__)
        return function(*map(_as_array, args), **{key: _as_array(x) for key, x in kwargs.items()})

    def __getattr__(self, name: str) -> Any:
        if name in _OF_VALUES and self.graph.eager:
            array = np.array(self._known(""))
            return (lambda: array) if name == "numpy" else getattr(array, name)
        hint = f". {NO_DATA}" if name in ("eval", *_OF_VALUES) else ""
        hint = f". {NO_TAPE}" if name in ("backward", "grad") else hint
        raise AttributeError(
            f"a symbolic tensor has no attribute {name!r}{hint}. Functions of "
            "keras.backend (K), Python's operators and x.shape work on it"
        )

    # ---- operators

    def _pair(self, other: Operand, swap: bool = False) -> list[Tensor]:
        """Both operands. Those of two dtypes are as the code that is traced has it."""
        if type(other) is not int:
            tracer = self.graph.tracer and self.graph.tracer()
            if tracer is not None and (self.dtype in FLOATS, self.dtype) != _kind(other, self.dtype):
                made: list[Tensor] = tracer.alike(*((other, self) if swap else (self, other)))
                return made
        return promote(other, self) if swap else promote(self, other)

    def _binary(self, name: str, other: Operand, swap: bool = False) -> Tensor:
        return emit(name, self._pair(other, swap))

    def _bits(self, name: str, other: Operand, swap: bool = False) -> Tensor:
        """An operator on bits of integers, and on bools."""
        x, y = self._pair(other, swap)
        of_bools = {"and": "logical_and", "or": "logical_or", "xor": "not_equal"}
        return emit(of_bools[name] if x.dtype == "bool" else f"bitwise_{name}", [x, y])

    def _quotient(self, other: Operand, swap: bool = False) -> Tensor:
        """x / y: of integers, of the dtype that the code that is traced has for it."""
        x, y = self._pair(other, swap)
        tracer = self.graph.tracer and self.graph.tracer()
        if x.dtype not in FLOATS and tracer is not None:
            x, y = (emit("cast", [t], dtype=tracer.quotient_dtype) for t in (x, y))
        return emit("div", [x, y])

    def _product(self, other: Operand, swap: bool = False) -> Tensor:
        """The product of matrices, for each entry of the axes before."""
        return _made_later["product"](*self._pair(other, swap))

    def __add__(self, other: Operand) -> Tensor:
        return self._binary("add", other)

    def __radd__(self, other: Operand) -> Tensor:
        return self._binary("add", other, True)

    def __sub__(self, other: Operand) -> Tensor:
        return self._binary("sub", other)

    def __rsub__(self, other: Operand) -> Tensor:
        return self._binary("sub", other, True)

    def __mul__(self, other: Operand) -> Tensor:
        return self._binary("mul", other)

    def __rmul__(self, other: Operand) -> Tensor:
        return self._binary("mul", other, True)

    def __truediv__(self, other: Operand) -> Tensor:
        return self._quotient(other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return self._quotient(other, True)

    def __floordiv__(self, other: Operand) -> Tensor:
        return _whole_part(*self._pair(other))

    def __rfloordiv__(self, other: Operand) -> Tensor:
        return _whole_part(*self._pair(other, True))

    def __mod__(self, other: Operand) -> Tensor:
        x, y = self._pair(other)
        return x - _whole_part(x, y) * y

    def __rmod__(self, other: Operand) -> Tensor:
        x, y = self._pair(other, True)
        return x - _whole_part(x, y) * y

    def __matmul__(self, other: Operand) -> Tensor:
        return self._product(other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return self._product(other, True)

    def __pow__(self, other: Operand) -> Tensor:
        if self.dtype not in FLOATS and type(other) is int and 0 < other < 64:
            return self if other == 1 else self ** (other // 2) * self ** (other - other // 2)
        return self._binary("pow", other)

    def __rpow__(self, other: Operand) -> Tensor:
        return self._binary("pow", other, True)

    def __neg__(self) -> Tensor:
        return emit("neg", [self])

    def __abs__(self) -> Tensor:
        return emit("abs", [self])

    def __round__(self, digits: int | None = None) -> Tensor:
        if digits:
            raise TypeError(f"round of a tensor: to integers alone. Received: {digits} digits")
        return emit("round_to_even", [self]) if self.dtype in FLOATS else self

    def __invert__(self) -> Tensor:
        if self.dtype == "bool":
            return emit("logical_not", [self])
        ones = -1 if self.dtype.startswith("int") else 2 ** (8 * np.dtype(self.dtype).itemsize) - 1
        return self._bits("xor", ones)

    def __and__(self, other: Operand) -> Tensor:
        return self._bits("and", other)

    __rand__ = __and__

    def __or__(self, other: Operand) -> Tensor:
        return self._bits("or", other)

    __ror__ = __or__

    def __xor__(self, other: Operand) -> Tensor:
        return self._bits("xor", other)

    __rxor__ = __xor__

    def __getitem__(self, key: Any) -> Tensor:
        """Numpy's basic indexing: integers, slices with bounds known now, `...` and None. The batch
        can only be kept whole. Raises IndexError."""
        return _indexed(self, key)

    # Where Keras 2 compared identities, which is what nobody means
    def __eq__(self, other: Any) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else (self._binary("equal", other))

    def __ne__(self, other: Any) -> Any:
        return (
            NotImplemented if other is None or isinstance(other, str) else (self._binary("not_equal", other))
        )

    __hash__ = object.__hash__

    def __gt__(self, other: Operand) -> Tensor:
        return self._binary("greater", other)

    def __ge__(self, other: Operand) -> Tensor:
        return self._binary("greater_equal", other)

    def __lt__(self, other: Operand) -> Tensor:
        return self._binary("less", other)

    def __le__(self, other: Operand) -> Tensor:
        return self._binary("less_equal", other)


def _kind(other: Any, dtype: str) -> tuple[bool, str]:
    """Whether an operand is a float, and its dtype. Numbers and arrays have that of the tensor, where both
    are floats or none is."""
    own = getattr(other, "dtype", None)
    if isinstance(other, np.ndarray):
        floats = other.dtype.kind == "f"
        return floats, dtype if floats == (dtype in FLOATS) or not floats else "float32"
    if own is None:
        floats = isinstance(other, float)
        return (floats, "float32") if floats and dtype not in FLOATS else (dtype in FLOATS, dtype)
    name = str(own)
    if isinstance(other, np.generic):
        return (name in FLOATS, name) if name in FLOATS and dtype not in FLOATS else (dtype in FLOATS, dtype)
    return name in FLOATS, name


def _whole_part(x: Tensor, y: Tensor) -> Tensor:
    """x / y towards -infinity, in their type."""
    if x.dtype in FLOATS:
        return emit("floor", [x / y])
    ratio = emit("cast", [x], dtype="float64") / emit("cast", [y], dtype="float64")
    return emit("cast", [emit("floor", [ratio])], dtype=x.dtype)


def _graph(operands: Sequence[Any]) -> Graph:
    """The graph of operands. Tensors of eager graphs are values in any other, and in later eager ones."""
    found: Graph | None = None
    for x in operands:
        if isinstance(x, Tensor) and x.graph is not found:
            if found is not None and (found.region or x.graph.region):
                raise TypeError("operands must belong to one graph: give a loop what it reads")
            if found is None or (found.eager and not 0 < x.graph.eager < found.eager):
                found = x.graph
            elif not x.graph.eager:
                raise TypeError("operands must belong to one graph")
    if found is None:
        raise TypeError("operands must include a symbolic tensor, and belong to one graph")
    return found


def by_operator(x: Any, name: str, operands: Sequence[Any]) -> Any:
    """What x's operator of a name in UFUNCS gives for two operands, one of which it is."""
    if operands[0] is x:
        return getattr(x, f"__{name}__")(operands[1])
    return getattr(x, f"__{REFLECTED.get(name, f'r{name}')}__")(operands[0])


def _as_array(x: Any) -> Any:
    """The value of a tensor, and of those in a list; anything else as it is."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(_as_array, x))
    return np.asarray(x) if isinstance(x, Tensor) else x


def _refuse_numpy(name: str) -> NoReturn:
    raise TypeError(
        f"numpy.{name} was called on a symbolic tensor, and {NO_DATA}. Use "
        f"keras.backend's function (K.{RENAMED.get(name, name)}) or Python's operators"
    )


def as_tensor(graph: Graph, x: Any, dtype: str | None = None) -> Tensor:
    """x in `graph`: a tensor as it is, an object with `__tensor__(graph)` (a variable of the front
    end) as it says, a batch size as a scalar, numbers and arrays as constants of `dtype` (default:
    their own, float32)."""
    if isinstance(x, Tensor):
        same = x.graph is graph or not x.graph.eager or graph.region
        return x if same else constant(graph, np.asarray(x), x.dtype)
    if isinstance(x, Batch):
        return emit_source(graph, "extent", dim=x, dtype=dtype or "int32")
    if hasattr(x, "__tensor__"):
        converted: Tensor = x.__tensor__(graph)
        return converted
    return constant(graph, x, dtype)


def emit(op: str | Op, inputs: Sequence[Any], **attrs: Any) -> Tensor:
    """Add a node with one output to the graph that its inputs belong to."""
    graph = _graph(inputs)
    values = [(x if type(x) is Tensor and x.graph is graph else as_tensor(graph, x)).value for x in inputs]
    return Tensor(graph, Value(graph.add(op, values, **attrs).id))


def emit_source(graph: Graph, op: str, **attrs: Any) -> Tensor:
    """Add a node without operands."""
    return Tensor(graph, Value(graph.add(op, **attrs).id))


def constant(graph: Graph, value: Any, dtype: str | None = None) -> Tensor:
    """A constant of `graph`; float64 values become float32 unless a dtype is given. Raises TypeError
    for what is no number, and where an integer dtype would lose a fraction."""
    if graph.eager and isinstance(value, np.ndarray) and (known := graph.of_array(value)) is not None:
        found = Tensor(graph, known)
        return found if dtype in (None, found.dtype) else emit("cast", [found], dtype=dtype)
    if not isinstance(value, (np.ndarray, np.generic, int, float)):
        value = as_array(value, "an operand")
    array = np.asarray(value, dtype)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"expected numbers, or tensors. Received: {value!r}")
    if array.dtype.kind in "iu" and isinstance(value, float) and value != int(value):
        raise TypeError(
            f"a tensor of {dtype} meets the number {value}, which is no integer. Use "
            "K.cast(x, 'float32') first"
        )
    if dtype is None and array.dtype == np.float64:
        array = array.astype(np.float32)
    return Tensor(graph, graph.constant(array))


def promote(*operands: Operand) -> list[Tensor]:
    """Operands as tensors of one graph; numbers and arrays take the tensors' dtype."""
    graph = _graph(operands)
    dtype = next(x.dtype for x in operands if isinstance(x, Tensor))
    return [as_tensor(graph, x, dtype) for x in operands]


# ---------------------------------------------------------------- indexing


def _indexed(x: Tensor, key: Any) -> Tensor:
    """x[key]: one slice, which may be turned round, and a reshape that drops the axes of integers and adds
    those of None."""
    start: list[int] = []
    stop: list[Dim] = []
    step: list[int] = []
    kept: list[int | None] = []  # axes of the result: an axis of x, or None for a new one
    for part in _expanded(x, tuple(map(_place, key if isinstance(key, tuple) else (key,)))):
        axis = len(start)
        if part is None:
            kept.append(None)
        elif isinstance(part, slice):
            low, high, by = _bounds(x, axis, part)
            start, stop, step = [*start, low], [*stop, high], [*step, by]
            kept.append(axis)
        else:
            place = _position(x, axis, part)
            start, stop, step = [*start, place], [*stop, place + 1], [*step, 1]
    part_of_x = {"start": tuple(start), "stop": tuple(stop), "step": tuple(map(abs, step))}
    whole = not any(start) and tuple(stop) == x.shape and set(step) <= {1, -1}
    cut = x if whole else emit("slice", [x], **part_of_x)
    backwards = tuple(axis for axis, by in enumerate(step) if by < 0 and cut.shape[axis] != 1)
    cut = emit("reverse", [cut], axes=backwards) if backwards else cut
    shape = tuple(1 if axis is None else cut.shape[axis] for axis in kept)
    return cut if shape == cut.shape else emit("reshape", [cut], shape=shape)


def _place(part: Any) -> Any:
    """A part of a key, with numbers for what holds one: arrays, and tensors that have values."""
    if isinstance(part, slice):
        return slice(_place(part.start), _place(part.stop), _place(part.step))
    if isinstance(part, Tensor):
        return int(part) if part.graph.eager and not part.rank else part
    number = isinstance(part, np.ndarray) and part.ndim == 0 and part.dtype.kind in "iu"
    return int(part) if number else part


def _expanded(x: Tensor, key: tuple[Any, ...]) -> list[Any]:
    """The key with a part for every axis of x."""
    for part in key:
        integer = isinstance(part, (int, np.integer)) and not isinstance(part, bool)
        if not (integer or part is None or part is Ellipsis or isinstance(part, slice)):
            raise IndexError(
                f"a symbolic tensor is indexed by integers, slices, `...` and None. "
                f"Received: {part!r}. For rows by number use K.gather"
            )
    used = sum(part is not None and part is not Ellipsis for part in key)
    if used > x.rank or sum(part is Ellipsis for part in key) > 1:
        raise IndexError(f"too many indices for {x.type}. Received: {key}")
    whole = [slice(None)] * (x.rank - used)
    if not any(part is Ellipsis for part in key):
        return [*key, *whole]
    at = next(i for i, part in enumerate(key) if part is Ellipsis)
    return [*key[:at], *whole, *key[at + 1 :]]


def _bounds(x: Tensor, axis: int, part: slice) -> tuple[int, Dim, int]:
    """The first place, the one after the last, and the step, which is negative where they go backwards."""
    size = x.shape[axis]
    for bound in (part.start, part.stop, part.step):
        if bound is not None and not isinstance(bound, (int, np.integer, Batch)):
            raise IndexError(
                f"bounds of a slice must be known when the model is compiled. Received: {bound!r}"
            )
    if isinstance(size, Batch):
        if part.start in (None, 0) and part.stop in (None, size) and part.step in (None, 1):
            return 0, size, 1
        raise IndexError(
            f"the batch (axis {axis} of {x.type}) can only be taken whole: `:`. Received: {part}"
        )
    low, high, by = part.indices(size)
    count = len(range(low, high, by))
    if not count:
        raise IndexError(f"axis {axis} of {x.type}: the slice {low}:{high} is empty")
    return (low, high, by) if by > 0 else (low + (count - 1) * by, low + 1, by)


def _position(x: Tensor, axis: int, place: int) -> int:
    size = x.shape[axis]
    if isinstance(size, Batch):
        raise IndexError(f"one sample cannot be taken out of the batch (axis {axis} of {x.type})")
    if not -size <= place < size:
        raise IndexError(f"index {place} is outside axis {axis} of {x.type}")
    return int(place) % size

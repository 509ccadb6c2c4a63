"""What models are made of besides layers: variables, tensors without data, and calls of layers.

Shapes as Keras writes them (None for the batch) meet the IR's types here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np

from kcompile.ir.described import StaticShape, dtype_of
from kcompile.ir.graph import Graph
from kcompile.ir.ops import broadcast_to, cast, constant
from kcompile.ir.tensor import UFUNCS, Tensor, as_tensor, by_operator
from kcompile.ir.types import Batch, TensorType
from kcompile.keras.copying import restore, state_of
from kcompile.keras.eager import CalledArray
from kcompile.keras.editions import edition
from kcompile.keras.listeners import Listeners
from kcompile.keras.operands import evaluate, here, record
from kcompile.keras.operators import Operators, getitem
from kcompile.keras.phases import uses_phase
from kcompile.keras.settings import floatx, new_seed, vintage_running
from kcompile.keras.tracing import Trace, current, emit, find_trace, trace_of
from kcompile_runtime.arrays import aligned_copy, as_array
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe
from kcompile_runtime.texts import printable

if TYPE_CHECKING:
    from kcompile.keras.engine import Layer

KerasShape = tuple[Any, ...]

# What an axis of unknown size is tried as while a model is put together (see `lengths`): large, and
# divisible, so that pooling, strides and the way back up fit.
PROBE_SIZES = (960, 1920)

# ---------------------------------------------------------------- variables


class _CalledTensor(Tensor):
    """A tensor that a call gives once more: what `variable.value()` is in a trace."""

    __slots__ = ()

    def __call__(self) -> Tensor:
        return self


class Variable(Operators):
    """A named array that outlives calls: a weight, a moving statistic, an optimizer's slot.

    path: its name with those of the layers around it. vintage: in which Keras' words `name` says it.
    array: its numbers. It is written in place and never replaced: compiled code holds its address.
    listeners: told after every `assign`, and by whatever writes the array otherwise. held: the copy on a
    device, which may be newer and is brought back before `array` is read. shared: it belongs to no layer
    (made by K.variable), and any model may read it. behind: of a moving average, see `moving`.
    """

    shared = False
    sparse = False  # whether it was made of a sparse matrix, see `K.is_sparse`
    elsewhere = False  # whether any variable is held on a device

    def __init__(
        self,
        value: Any,
        path: str,
        trainable: bool = True,
        dtype: str | None = None,
        regularizer: Callable[[Tensor], Tensor] | None = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._value = aligned_copy(np.asarray(as_array(value, f"variable {path!r}"), dtype or floatx()))
        self.path, self.vintage = path, vintage_running()
        self.trainable = trainable
        self.regularizer = regularizer
        self.constraint = constraint
        self.listeners = Listeners()
        self.held: Any = None
        self.behind: dict[Any, tuple[Variable, Variable]] = {}

    @property
    def name(self) -> str:
        """dense/kernel:0 in Keras 2 and tf.keras, kernel in Keras 3."""
        return (
            self.path.rpartition("/")[2]
            if edition(self.vintage).variables == "last part"
            else f"{self.path}:0"
        )

    @property
    def array(self) -> np.ndarray:
        """The numbers as they are now, in a trace too: what our own code reads."""
        if self.held is not None:
            self.held.to_host()
        return self._value

    @property
    def value(self) -> Any:
        """The variable's value as scripts read it: the array, and in code that is being traced the tensor.
        Before Keras 3 it is a method, so what is given may be called."""
        graph = current()
        called = edition(self.vintage).variables == "tensors"
        if graph is None:
            return self.array.view(CalledArray) if called else self.array
        found = self.__tensor__(graph)
        return _CalledTensor(found.graph, found.value) if called else found

    @property
    def shape(self) -> tuple[int, ...]:
        return StaticShape(self._value.shape)

    _keras_shape = shape
    _uses_learning_phase = False

    def get_shape(self) -> StaticShape:
        """TensorFlow's name of `shape`."""
        return StaticShape(self.shape)

    @property
    def dtype(self) -> str:
        return dtype_of(self._value.dtype.name)

    @property
    def ndim(self) -> int:
        return self._value.ndim

    def assign(self, array: Any) -> Any:
        """Write new values, and give the variable; of a tensor of a graph, and where a metric counts a batch
        in, after the graph's call. Raises InputError for another shape, InputTypeError for no numbers."""
        array = here(array)
        graph = array.graph if isinstance(array, Tensor) else current()
        trace = None if graph is None else find_trace(graph)
        if (
            trace is not None
            and graph is not None
            and (trace.measures or graph.eager or isinstance(array, Tensor))
        ):
            return self._assign_in(trace, array)
        new = as_array(array, f"variable {self.path!r}")
        if new.shape != self.shape:
            raise InputError(describe(f"variable {self.path!r}", f"shape {self.shape}", f"shape {new.shape}"))
        with np.errstate(over="ignore"):
            np.copyto(self.array, new, casting="unsafe")
        if (
            new.dtype.kind == "f"
            and new.itemsize > self._value.itemsize
            and (np.isfinite(new).all() and not np.isfinite(self._value).all())
        ):
            warnings.warn(f"variable {self.path!r}: values beyond {self.dtype} became infinite", stacklevel=3)
        self.listeners.tell()
        return self

    def _assign_in(self, trace: Trace, value: Any) -> Any:
        new = cast(
            as_tensor(trace.graph, value, None if hasattr(value, "__tensor__") else self.dtype), self.dtype
        )
        if new.shape != self.shape:
            raise InputError(describe(f"variable {self.path!r}", f"shape {self.shape}", str(new.type)))
        if not trace.frozen:
            trace.update(self, new)
        return self

    def assign_add(self, increment: Any) -> Any:
        """Add to the values, as `assign` writes them."""
        return self.assign(self + increment)

    def assign_sub(self, decrement: Any) -> Any:
        """Subtract from the values, as `assign` writes them."""
        return self.assign(self - decrement)

    def numpy(self) -> np.ndarray:
        return self.array.copy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        graph = current()
        if graph is not None and not graph.eager:
            raise TypeError(
                f"numpy cannot read variable {self.path!r} while a model is traced: what it gives would stay "
                "as it is now. Use keras.ops, or functions of K"
            )
        return np.array(self.array, dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """A function of numpy's: the operator of Python's that it stands for, which a trace records; any
        other on the numbers, outside of traces."""
        name = UFUNCS.get(ufunc.__name__)
        if method == "__call__" and name not in (None, "eq", "ne") and not options:
            return by_operator(self, str(name), inputs)
        arrays = [np.asarray(x) if isinstance(x, Variable) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def __float__(self) -> float:
        return float(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __len__(self) -> int:
        return len(self.array)

    def __getstate__(self) -> dict[str, Any]:
        return {**state_of(self, "listeners", "held"), "_value": self.array}

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state, listeners=Listeners(), held=None, _value=aligned_copy(state["_value"]))

    def __iter__(self) -> Any:
        raise TypeError(f"variable {self.path!r} cannot be iterated over. K.get_value gives its array")

    def __tensor__(self, graph: Graph) -> Tensor:
        return trace_of(graph).read(self)

    def __repr__(self) -> str:
        return f"<Variable {printable(self.path)} {self.dtype}{list(self.shape)}>"


class RandomState(NamedTuple):
    """The state of random numbers in a model: a seed, and a number for each batch.

    step counts the batches of training, and draws those of everything else, from 2^31 on: so predictions
    in between do not change what training draws, and no two batches draw the same.
    """

    seed: Variable
    step: Variable
    draws: Variable


FIRST_DRAW = 2**31


def new_random_state() -> RandomState:
    """A state whose seed is drawn."""
    return RandomState(
        Variable(new_seed(32, np.uint32), "seed", False, "uint32"),
        Variable(0, "step", False, "uint32"),
        Variable(FIRST_DRAW, "draws", False, "uint32"),
    )


# ---------------------------------------------------------------- tensors and nodes


class KerasTensor(Operators):
    """The symbolic result of Input and of layers while a model is put together: a type, and its origin.

    layer, node_index, tensor_index: output `tensor_index` of that node of the layer.
    batch_size: the number of samples where the Input fixed it. sparse: see `K.is_sparse`. mask: the type of
    its mask, if it has one. second_type, second_mask: these types with the second probe for every size that
    is not known. texts: it stands for texts, of which its type has the shape alone.
    """

    sparse = False
    texts = False

    def __init__(
        self,
        type: TensorType,
        layer: Layer,
        node_index: int,
        tensor_index: int,
        batch_size: int | None = None,
        second_type: TensorType | None = None,
    ) -> None:
        self.type = type
        self.second_type = type if second_type is None else second_type
        self.layer = layer
        self.node_index = node_index
        self.tensor_index = tensor_index
        self.batch_size = batch_size
        self.mask: TensorType | None = None
        self.second_mask: TensorType | None = None

    @property
    def history(self) -> tuple[Layer, int, int]:
        return self.layer, self.node_index, self.tensor_index

    @property
    def node(self) -> Node:
        return self.layer.nodes_made[self.node_index]

    @property
    def shape(self) -> KerasShape:
        return StaticShape(keras_shape(self.type, self.batch_size, self.second_type))

    _keras_shape = shape

    @property
    def _keras_history(self) -> tuple[Layer, int, int]:
        """Of what Input and layers gave, their layer, its call and the place among the results."""
        if not self.layer.consumes:
            raise AttributeError(f"{self!r} came out of no layer, and so has no _keras_history")
        return self.history

    @property
    def _uses_learning_phase(self) -> bool:
        return uses_phase(self)

    def get_shape(self) -> StaticShape:
        """TensorFlow's name of `shape`."""
        return StaticShape(self.shape)

    def set_shape(self, shape: Any) -> None:
        """Nothing: its sizes are known, or only the data say them. Raises ValueError for other sizes."""
        StaticShape(self.shape).assert_is_compatible_with(shape)

    @property
    def unknown_axes(self) -> tuple[int, ...]:
        """Axes, besides the batch, whose size only the data say."""
        return tuple(i for i, (a, b) in enumerate(zip(self.type.shape, self.second_type.shape)) if a != b)

    def at(self, sizes: Sequence[int]) -> TensorType:
        """The type with these sizes of the unknown axes."""
        known = dict(zip(self.unknown_axes, sizes))
        return self.type.with_shape([known.get(i, d) for i, d in enumerate(self.type.shape)])

    @property
    def batch_type(self) -> TensorType:
        """The type where a batch of any size runs: what comes of a given tensor (Input(tensor=...)) has the
        number of samples that it was built for."""
        return as_batch(self.type, self.batch_size)

    @property
    def dtype(self) -> str:
        return dtype_of("string" if self.texts else self.type.dtype)

    @property
    def ndim(self) -> int:
        return self.type.rank

    @property
    def name(self) -> str:
        return self.layer.name

    def __tensor__(self, graph: Graph) -> Tensor:
        """Its value in a graph, where it depends on no input, or the graph is that of its model.
        Raises ModelError."""
        trace = find_trace(graph)
        return emit(graph, [self], {} if trace is None else trace.known)[0]

    def __getitem__(self, key: Any) -> Any:
        """A part, as of an array; of a batch whose size is fixed, samples by number too."""
        return getitem(self, _of_samples(key, self.batch_size) if self.type.shape[:1] == (Batch(),) else key)

    def numpy(self) -> np.ndarray:
        """Its value now. Raises ModelError where it depends on an input."""
        return evaluate(self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype)

    def __float__(self) -> float:
        return float(self.numpy())

    def __bool__(self) -> bool:
        raise TypeError("a tensor of a model has no truth value: there is no data yet")

    def __iter__(self) -> Any:
        raise TypeError("a tensor of a model cannot be iterated over")

    def __repr__(self) -> str:
        return f"<KerasTensor {printable(self.name)} {self.dtype}{self.shape}>"


def _of_samples(key: Any, count: int | None) -> Any:
    """The key, with samples of so many counted from the front."""
    first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
    if count is None or first is Ellipsis or first is None:
        return key
    if isinstance(first, slice) and first != slice(None):
        start, stop, step = first.indices(count)
        return (slice(start, stop, step) if (start, stop, step) != (0, count, 1) else slice(None), *rest)
    if is_integer(first) and not -count <= first < count:
        raise IndexError(f"index {first} is outside a batch of {count}")
    return (first % count, *rest) if is_integer(first) else key


def keras_shape(
    type: TensorType, batch_size: int | None = None, second_type: TensorType | None = None
) -> KerasShape:
    """A type's shape as Keras writes it: None (or the fixed size) for the batch, and None for what
    `second_type`, the type at the second probe, has otherwise."""

    def dim(d: Any, other: Any) -> int | None:
        if d != other:
            return None
        if not isinstance(d, Batch):
            return int(d)
        return None if batch_size is None else d.multiple * batch_size

    return tuple(map(dim, type.shape, (second_type or type).shape))


def as_batch(type: TensorType, samples: int | None) -> TensorType:
    """The type, with the batch for a first dim of so many samples."""
    fixed = samples is not None and type.shape[:1] == (samples,)
    return type.with_shape((Batch(), *type.shape[1:])) if fixed else type


def type_of_shape(shape: Sequence[Any], dtype: str | None = None, probe: int = 0) -> TensorType:
    """The type of a Keras shape, whose first dim is the batch, at one of the probes. Raises
    UnsupportedError."""
    if not shape or any(d is not None and not is_integer(d) for d in shape[1:]):
        raise UnsupportedError(describe("shape", "the batch, then sizes or None", str(tuple(shape))))
    sizes = (PROBE_SIZES[probe] if d is None else int(d) for d in shape[1:])
    return TensorType((Batch(), *sizes), dtype or floatx())


def types_of_shapes(shapes: Sequence[KerasShape]) -> tuple[list[TensorType], list[TensorType]]:
    """The types of Keras shapes at both probes."""
    return [type_of_shape(s) for s in shapes], [type_of_shape(s, probe=1) for s in shapes]


def is_integer(value: Any) -> TypeGuard[int]:
    """An integer in earnest: numpy's too, True and 2.0 not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A real number that is neither NaN nor infinite: numpy's too, True not."""
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and value == value
        and value not in (float("inf"), -float("inf"))
    )


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def one_or_list(values: Sequence[Any]) -> Any:
    """Keras' way with results: the thing itself where there is one."""
    return values[0] if len(values) == 1 else list(values)


def refuse_texts(layer: Any, inputs: Sequence[KerasTensor]) -> None:
    """Raises ModelError where a layer of numbers is called on texts."""
    found = [x for x in inputs if x.texts]
    if found and not layer.takes_texts:
        raise ModelError(
            describe(
                layer.label,
                "numbers",
                f"texts, of {found[0].layer.label}",
                "Put StringLookup, TextVectorization or Hashing before it",
            )
        )


@dataclass(frozen=True, eq=False)
class Node:
    """One call of `layer`: its `index`-th. single: it was called on a tensor, not on a list.
    arguments: the call's other arguments. Outputs are filled in when the node is made. fed: inputs are
    those of the graphs of a model that begins with texts (`prelude`). counted: it is traced for one
    number of samples at a time (`counted.py`)."""

    layer: Layer
    index: int
    inputs: tuple[KerasTensor, ...]
    single: bool
    arguments: dict[str, Any]
    outputs: list[KerasTensor] = field(default_factory=list)
    fed: bool = False
    counted: bool = False

    def made_on(self, tensors: Sequence[Any], layer: Any = None) -> Any:
        """The results of the same call on other tensors (masks that it is given among them), of this layer
        or another."""
        alone = self.single and len(tensors) == 1
        return (layer or self.layer)(tensors[0] if alone else list(tensors), **self.arguments)

    # ---- as Keras 2 shows it; an Input is its own input there

    @property
    def outbound_layer(self) -> Layer:
        return self.layer

    @property
    def inbound_layers(self) -> list[Layer]:
        return [x.layer for x in self.inputs]

    @property
    def node_indices(self) -> list[int]:
        return [x.node_index for x in self.inputs]

    @property
    def tensor_indices(self) -> list[int]:
        return [x.tensor_index for x in self.inputs]

    @property
    def input_tensors(self) -> list[KerasTensor]:
        return list(self.inputs or self.outputs)

    @property
    def output_tensors(self) -> list[KerasTensor]:
        return self.outputs

    @property
    def input_masks(self) -> list[Any]:
        return list(map(mask_of, self.input_tensors))

    @property
    def output_masks(self) -> list[Any]:
        return list(map(mask_of, self.outputs))

    @property
    def input_shapes(self) -> list[KerasShape]:
        return [x.shape for x in self.input_tensors]

    @property
    def output_shapes(self) -> list[KerasShape]:
        return [x.shape for x in self.outputs]

    def get_config(self) -> dict[str, Any]:
        return {
            "outbound_layer": self.layer.name,
            "inbound_layers": [layer.name for layer in self.inbound_layers],
            "node_indices": self.node_indices,
            "tensor_indices": self.tensor_indices,
        }


def mask_of(x: KerasTensor) -> Any:
    """The mask of a tensor of a model, as a tensor of K; None where it has none."""
    return None if x.mask is None else record(_mask, (x, x.mask.rank), {})


def _mask(x: Tensor, rank: int) -> Tensor:
    """The mask that a tensor has in its trace: where types alone are asked for, one without gaps."""
    found = trace_of(x).masks.get(x.value)
    return broadcast_to(constant(x.graph, True, "bool"), x.shape[:rank]) if found is None else found


@dataclass(frozen=True)
class InputSpec:
    """The rank and the sizes of some axes that a layer accepts in an input (Keras' InputSpec)."""

    dtype: str | None = None
    shape: KerasShape | None = None
    ndim: int | None = None
    max_ndim: int | None = None
    min_ndim: int | None = None
    axes: dict[int, int | None] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.shape, (list, tuple)):
            object.__setattr__(self, "ndim", len(self.shape))

    def check(self, shape: KerasShape) -> None:
        """Raises ModelError, which says no layer name yet."""
        rank = len(shape)
        ndim = self.ndim
        low = self.min_ndim if ndim is None else ndim
        high = self.max_ndim if ndim is None else ndim
        axes = dict(enumerate(self.shape)) if self.shape else self.axes or {}
        if (low is not None and rank < low) or (high is not None and rank > high):
            wanted = (
                f"an input of rank {low}"
                if low == high
                else f"an input of rank >= {low}"
                if high is None
                else f"an input of rank <= {high}"
            )
            raise ModelError(describe("call", wanted, f"shape {shape}, of rank {rank}"))
        for axis, size in axes.items():
            if size is not None and shape[axis] not in (size, None):
                raise ModelError(
                    describe("call", f"size {size} on axis {axis} of the input", f"shape {shape}")
                )

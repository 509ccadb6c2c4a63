"""The steps of recurrent layers: x [batch, inputs] and the states before, to output and new states.

Formulas and the order of gates are Keras': kernel [inputs, gates * units], recurrent_kernel
[units, gates * units]; LSTM has the gates i, f, c, o, GRU z, r, h. Source: `keras/layers/recurrent.py`
of Keras 2.2, and the cells of Keras 3 for layers of that vintage.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.keras.called_cells import CalledCell
from kcompile.keras.eager import as_eager
from kcompile.keras.engine import KerasShape, Layer, as_list, one_or_list
from kcompile.keras.initializers import Identity
from kcompile.keras.layers.held import Holder, as_layer
from kcompile.keras.layers.kernel import Weighted, known_channels
from kcompile.keras.tracing import Trace, current, trace_of
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

__all__ = ["AbstractRNNCell", "GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"]

Result = tuple[Tensor, list[Tensor]]


class Cell(CalledCell, Weighted):
    """What the cells share: weights, and masks of dropout.

    gates: how many products stand side by side in the kernels. fixed: arguments that the layer over this
    cell does not have, with their values.
    """

    gates = 1
    fixed: Mapping[str, Any] = {}
    units: int
    recurrent_initializer: Any
    dropout: float
    recurrent_dropout: float
    implementation: int = 1
    seed: int | None = None
    sample: tuple[Any, ...] = ()  # the shape of a step's input without the batch, where states depend on it

    def choose_dropout(self, dropout: float, recurrent_dropout: float, seed: int | None) -> None:
        """Of the input and of the state before, with masks that are the same at all steps. seed: of this
        layer alone; default the model's."""
        self.seed = self.random_seed(seed)
        self.dropout = self.number("dropout", dropout, 0, 1)
        self.recurrent_dropout = self.number("recurrent_dropout", recurrent_dropout, 0, 1)

    @property
    def state_size(self) -> Any:
        """Sizes of the states: one, or a list."""
        return self.units

    @property
    def output_size(self) -> int:
        return self.units

    def state_shapes(self, sample: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The shape of each state, without the batch, where the input of a step has this shape without it."""
        return [dims(size) for size in state_sizes(self)]

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        """The states to begin with, zeros, for as many samples as the inputs have, or batch_size: a list, and
        in tf.keras a single one alone. Inside a layer they are tensors, else arrays."""
        rows = batch_size if inputs is None else inputs.shape[0]
        shapes = self.state_shapes(self.sample if inputs is None else inputs.shape[1:])
        states = [zeros((rows, *shape), dtype or self.dtype, self.vintage) for shape in shapes]
        return states if self.semantics.initial_states == "of a size" else one_or_list(states)

    def get_config(self) -> dict[str, Any]:
        """The arguments; a seed only where there is one, as only Keras 3 knows it."""
        return without_seed(super().get_config())

    def add_weights(self, kernel: tuple[int, ...], recurrent_kernel: tuple[int, ...]) -> None:
        """Create the weights, kernels of these shapes."""
        self.kernel = self.add("kernel", kernel)
        self.recurrent_kernel = self.add("recurrent_kernel", recurrent_kernel, self.fill_recurrent)
        self.add_bias_weight(self.bias_shape(), self.fill_bias)

    def fill_recurrent(self, shape: Sequence[int]) -> Any:
        fill = self.recurrent_initializer
        if isinstance(fill, Identity) and self.semantics.identity == "gates tiled":
            return fill.gain * fill.tiled(tuple(shape))
        return fill(shape)

    def bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def fill_bias(self, shape: Sequence[int]) -> np.ndarray:
        return np.asarray(self.bias_initializer(shape))

    def call(self, inputs: Tensor, states: Sequence[Tensor]) -> Result:
        return self.step(inputs, list(states), self.dropout_masks(inputs, states[0]))

    def step(self, x: Tensor, states: list[Tensor], masks: Sequence[Tensor]) -> Result:
        """One step, with the masks that `dropout_masks` made for all of them."""
        raise NotImplementedError

    # ---- dropout

    def dropout_masks(self, x: Tensor, state: Tensor) -> list[Tensor]:
        """Factors for the input, then for the state, in training; none otherwise."""
        trace = trace_of(x)
        if not trace.training:
            return []
        count = self.gates if self.implementation == 1 else 1
        return [
            _mask(trace, self.seed, like, rate)
            for like, rate in ((x, self.dropout), (state, self.recurrent_dropout))
            if rate
            for _ in range(count)
        ]

    def split_masks(self, masks: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The masks of the input and those of the state; [] where there is no such dropout."""
        count = len(masks) // (bool(self.dropout) + bool(self.recurrent_dropout) or 1)
        first = count if self.dropout else 0
        return list(masks[:first]), list(masks[first:])

    # ---- products

    def weight(self, name: str, x: Tensor) -> Tensor:
        return as_tensor(x.graph, getattr(self, name))

    def gate(self, x: Tensor, number: int, count: int = 1) -> Tensor:
        """Columns of gates number, number + 1, ... of x [..., gates * units]."""
        start, stop = number * self.units, (number + count) * self.units
        lead = x.rank - 1
        return ops.slice_(x, [0] * lead + [start], [*x.shape[:lead], stop])

    def project(
        self,
        x: Tensor,
        kernel: Tensor,
        masks: Sequence[Tensor],
        product: Callable[[Tensor, Tensor], Tensor] = ops.matmul,
    ) -> Tensor:
        """product(x, kernel), where each gate may have its own mask of x."""
        if len(masks) < 2:
            return product(x * masks[0] if masks else x, kernel)
        return ops.concatenate([product(x * mask, self.gate(kernel, k)) for k, mask in enumerate(masks)], -1)


def _mask(trace: Trace, seed: int | None, like: Tensor, rate: float) -> Tensor:
    kept = ops.dropout_mask(trace.seed(seed), trace.step, trace.stream(), like.shape, rate)
    return ops.cast(kept, like.dtype) * (1 / (1 - rate))


class AbstractRNNCell(Layer):
    """The base of cells that users write (tf.keras): `call(inputs, states)` gives an output and the new
    states, `state_size` says their sizes, and `output_size`, where there is one, that of the output."""

    sample: tuple[Any, ...] = ()
    state_shapes = Cell.state_shapes
    get_initial_state = Cell.get_initial_state

    @property
    def state_size(self) -> Any:
        raise NotImplementedError(f"{self.label} must define state_size")

    def call(self, inputs: Any, states: Any) -> Any:
        raise NotImplementedError(f"{self.label} must define call(inputs, states)")


class UnitsCell(Cell):
    """A cell whose state is a vector of `units`.

    implementation: 1 has masks of dropout for each gate, 2 one for all; the values are the same otherwise.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        implementation: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = self.positive("units", units)
        self.choose(
            activation=activation,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )
        self.use_bias = self.flag("use_bias", use_bias)
        self.choose_dropout(dropout, recurrent_dropout, seed)
        self.implementation = self.one_of("implementation", implementation, (0, 1, 2))

    def build(self, input_shape: KerasShape) -> None:
        width = self.gates * self.units
        self.add_weights((known_channels(input_shape, -1), width), (self.units, width))


class SimpleRNNCell(UnitsCell):
    """h' = activation(x @ kernel + h @ recurrent_kernel + bias)."""

    def step(self, x: Tensor, states: list[Tensor], masks: Sequence[Tensor]) -> Result:
        (h,) = states
        of_input, of_state = self.split_masks(masks)
        z = self.project(x, self.weight("kernel", x), of_input)
        if self.bias is not None:
            z = z + self.bias
        z = z + self.project(h, self.weight("recurrent_kernel", x), of_state)
        h = self.activation(z)
        return h, [h]


class LongShortTerm(Cell):
    """What an LSTM does, whatever its products are: c' = f c + i activation(c gate), h' = o activation(c'),
    with gates i, f, o by recurrent_activation. unit_forget_bias: the bias of f begins at 1."""

    gates = 4
    recurrent_activation: Callable[[Tensor], Tensor]
    unit_forget_bias: bool

    def choose_gates(self, recurrent_activation: Any, unit_forget_bias: bool) -> None:
        self.choose(recurrent_activation=recurrent_activation)
        self.unit_forget_bias = self.flag("unit_forget_bias", unit_forget_bias)

    @property
    def state_size(self) -> Any:
        return [self.units, self.units]

    def fill_bias(self, shape: Sequence[int]) -> np.ndarray:
        if not self.unit_forget_bias:
            return super().fill_bias(shape)
        u = self.units
        return np.concatenate([super().fill_bias((u,)), np.ones(u), super().fill_bias((2 * u,))])

    def of_input(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """The products of the input for all gates."""
        return self.project(x, self.weight("kernel", x), masks)

    def of_state(self, h: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """The products of the state for all gates."""
        return self.project(h, self.weight("recurrent_kernel", h), masks)

    def step(self, x: Tensor, states: list[Tensor], masks: Sequence[Tensor]) -> Result:
        h, c = states
        input_masks, state_masks = self.split_masks(masks)
        z = self.of_input(x, input_masks)
        if self.bias is not None:
            z = z + self.weight("bias", x)
        z = z + self.of_state(h, state_masks)
        i, f, o = (self.activated(self.recurrent_activation, self.gate(z, k)) for k in (0, 1, 3))
        c = f * c + i * self.activated(self.activation, self.gate(z, 2))
        h = o * self.activated(self.activation, c)
        return h, [h, c]

    def activated(self, activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """An activation of x, whose axes are those of a step's products."""
        return activation(x)


class LSTMCell(LongShortTerm, UnitsCell):
    """A step of long short-term memory (Hochreiter and Schmidhuber 1997): see `LongShortTerm`."""

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "hard_sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer, **kwargs
        )
        self.choose_gates(recurrent_activation, unit_forget_bias)


class GRUCell(UnitsCell):
    """h' = z h + (1 - z) activation(h gate), with gates z, r by recurrent_activation.

    reset_after: r multiplies the product h @ recurrent_kernel (which then has a bias of its own: bias
    is [2, 3 units]) instead of h before it.
    """

    gates = 3
    recurrent_activation: Callable[[Tensor], Tensor]

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "hard_sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        reset_after: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer, **kwargs
        )
        self.choose(recurrent_activation=recurrent_activation)
        self.reset_after = self.flag("reset_after", reset_after)

    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def biases(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The bias of the input's product, and that of the state's."""
        if self.bias is None:
            return None, None
        bias, width = self.weight("bias", x), 3 * self.units
        if not self.reset_after:
            return bias, None
        first, second = (ops.reshape(ops.slice_(bias, (k, 0), (k + 1, width)), (width,)) for k in (0, 1))
        return first, second

    def step(self, x: Tensor, states: list[Tensor], masks: Sequence[Tensor]) -> Result:
        (h,) = states
        of_input, of_state = self.split_masks(masks)
        kernel, recurrent = self.weight("kernel", x), self.weight("recurrent_kernel", x)
        input_bias, state_bias = self.biases(x)
        xz = self.project(x, kernel, of_input)
        if input_bias is not None:
            xz = xz + input_bias
        if len(of_state) == 1:  # as Keras has it, the masked state is also what z keeps of it
            h, of_state = h * of_state[0], []
        if self.reset_after:
            hz = self.project(h, recurrent, of_state)
            if state_bias is not None:
                hz = hz + state_bias
            z, r = (self.recurrent_activation(self.gate(xz, k) + self.gate(hz, k)) for k in (0, 1))
            inner = r * self.gate(hz, 2)
        else:
            zr = self.recurrent_activation(
                self.gate(xz, 0, 2) + self.project(h, self.gate(recurrent, 0, 2), of_state[:2])
            )
            z, r = self.gate(zr, 0), self.gate(zr, 1)
            inner = self.project(r * h, self.gate(recurrent, 2), of_state[2:])
        h = z * h + (1.0 - z) * self.activation(self.gate(xz, 2) + inner)
        return h, [h]


class CuDNN(Cell):
    """Base of the cells of cuDNN's layers: the kernel of each gate is stored as its transpose, read row
    by row, and there is a bias for the input's product and one for the state's, one after the other.
    Source: `keras/layers/cudnn_recurrent.py` of Keras 2.2."""

    fixed: Mapping[str, Any] = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "implementation": 2,
        "seed": None,
    }

    def bias_shape(self) -> tuple[int, ...]:
        return (2 * self.gates * self.units,)

    def weight(self, name: str, x: Tensor) -> Tensor:
        stored = super().weight(name, x)
        if name == "bias":
            return ops.reshape(stored, (2, self.gates * self.units))
        rows = (self.units, stored.shape[0])
        return ops.concatenate(
            [ops.transpose(ops.reshape(self.gate(stored, k), rows), (1, 0)) for k in range(self.gates)], -1
        )


class CuDNNLSTMCell(CuDNN, LSTMCell):
    """An LSTM with sigmoid gates, and weights as cuDNN has them."""

    def weight(self, name: str, x: Tensor) -> Tensor:
        found = super().weight(name, x)
        return ops.reduce_sum(found, 0) if name == "bias" else found

    def fill_bias(self, shape: Sequence[int]) -> np.ndarray:
        half = (4 * self.units,)
        return np.concatenate([np.asarray(self.bias_initializer(half)), super().fill_bias(half)])


class CuDNNGRUCell(CuDNN, GRUCell):
    """A GRU with sigmoid gates and reset_after, and weights as cuDNN has them."""

    fixed: Mapping[str, Any] = {**CuDNN.fixed, "reset_after": True}


class ForeignCell(Layer):
    """A cell of the user's own that is no layer: an object with `state_size` and `call(inputs, states)`. Its
    variables are read, and not trained."""

    def __init__(self, cell: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = cell
        vars(self)["call"] = cell.call  # with the arguments that it takes
        if hasattr(cell, "get_initial_state"):
            vars(self)["get_initial_state"] = cell.get_initial_state

    @property
    def state_size(self) -> Any:
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        return getattr(self.cell, "output_size", None)

    def build(self, input_shape: Any) -> None:
        if hasattr(self.cell, "build"):
            self.cell.build(input_shape)

    def get_config(self) -> dict[str, Any]:
        raise UnsupportedError(
            f"{self.label}: {type(self.cell).__name__} is no layer, so that no configuration can hold it. "
            "Make it a subclass of keras.layers.Layer"
        )


def as_cell(owner: Layer, argument: str, value: Any) -> Layer:
    """A cell as a layer. Raises ModelError naming the owner."""
    if not isinstance(value, (Layer, Mapping, type)) and hasattr(value, "state_size"):
        value = ForeignCell(value)
    return as_layer(owner, argument, value)


class StackedRNNCells(CalledCell, Holder):
    """Cells one after the other, as one cell. States are those of the first cell first (as of Keras 2.2.3),
    in one flat list."""

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(cells, (list, tuple)):
            raise ModelError(describe(f"{self.label}: cells", "a list of cells", repr(cells)))
        self.cells: list[Any] = [as_cell(self, "cells", cell) for cell in cells]
        for cell in self.cells:
            check_cell(self, cell)
        if not self.cells:
            raise ModelError(describe(f"{self.label}: cells", "at least one cell", "none"))

    @property
    def parts(self) -> list[Layer]:
        return list(self.cells)

    @property
    def state_size(self) -> list[Any]:
        return [size for cell in self.cells for size in state_sizes(cell)]

    @property
    def output_size(self) -> Any:
        return output_size(self.cells[-1])

    def get_initial_state(self, **given: Any) -> list[Any]:
        """The states to begin with: those that the cells say, or zeros."""
        rows, dtype = given["batch_size"], given.get("dtype") or self.dtype
        return [
            state
            for cell in self.cells
            for state in (
                as_list(cell.get_initial_state(**given))
                if hasattr(cell, "get_initial_state")
                else [zeros((rows, *dims(size)), dtype, self.vintage) for size in state_sizes(cell)]
            )
        ]

    def build(self, input_shape: Any) -> None:
        shape, *constants = input_shape if isinstance(input_shape, list) else [input_shape]
        for cell in self.cells:
            cell.build_for((None, *shape[1:]), *(constants if takes(cell, "constants") else ()))
            shape = (None, *dims(output_size(cell)))

    def call(self, inputs: Tensor, states: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> Result:
        left = list(states)
        given: dict[int, list[Tensor]] = {}
        for cell in self.cells:
            count = len(state_sizes(cell))
            given[id(cell)], left = left[:count], left[count:]
        x, after = inputs, {}
        for cell in self.cells:
            x, after[id(cell)] = run_cell(cell, x, given[id(cell)], constants)
        return x, [s for cell in self.cells for s in after[id(cell)]]


def without_seed(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without a seed that is None."""
    return {k: v for k, v in config.items() if k != "seed" or v is not None}


def takes(cell: Any, argument: str) -> bool:
    """Whether the `call` of a cell has an argument; stacked cells, whether that of any of them does."""
    if isinstance(cell, StackedRNNCells):
        return any(takes(inner, argument) for inner in cell.cells)
    return argument in inspect.signature(cell.call).parameters


def has_step(cell: Any) -> bool:
    """Whether a cell is one of ours, and not a subclass with a `call` of its own: `step` is then run,
    with masks of dropout that are made before the loop."""
    return isinstance(cell, Cell) and type(cell).call is Cell.call


def run_cell(cell: Any, x: Tensor, states: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> Result:
    """A step of any cell, which is given `training` and `constants` where it takes them."""
    trace = trace_of(x)
    options: dict[str, Any] = {}
    if constants and takes(cell, "constants"):
        options["constants"] = list(constants)
    if "training" in inspect.signature(cell.call).parameters:
        options["training"] = trace.training
    y, new = cell.call(x, states, **options)
    return y, as_list(new)


def zeros(shape: tuple[Any, ...], dtype: str, vintage: str) -> Any:
    """Zeros: a tensor while a model is traced, else an array, as this Keras has them."""
    graph = current()
    if graph is None:
        return as_eager(np.zeros(shape, dtype), vintage)
    return ops.broadcast_to(ops.constant(graph, 0, dtype), shape)


def dims(size: Any) -> tuple[int, ...]:
    """The size of a state as a shape."""
    return tuple(size) if isinstance(size, (list, tuple)) else (int(size),)


def says_states(cell: Any) -> bool:
    """Whether a cell has a `get_initial_state` of the user's own."""
    own = getattr(type(cell), "get_initial_state", None) is not Cell.get_initial_state
    return own and hasattr(cell, "get_initial_state")


def check_cell(owner: Layer, cell: Layer) -> None:
    """Raises ModelError unless the layer is a cell."""
    if not hasattr(cell, "state_size"):
        raise ModelError(
            describe(f"{owner.label}: cell", "a layer with state_size and call(inputs, states)", cell.label)
        )


def state_sizes(cell: Any) -> list[Any]:
    """The size of each state of a cell."""
    size = cell.state_size
    return list(size) if isinstance(size, (list, tuple)) else [size]


def state_shapes(cell: Any, sample: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The shape of each state of any cell, without the batch, where a step's input has this one."""
    if isinstance(cell, Cell):
        return cell.state_shapes(sample)
    return [dims(size) for size in state_sizes(cell)]


def output_shape(cell: Any, sample: Sequence[Any]) -> tuple[Any, ...]:
    """The shape of the output of any cell, without the batch: as it says, or its first state's."""
    if isinstance(cell, Cell) or getattr(cell, "output_size", None) is None:
        return state_shapes(cell, sample)[0]
    return dims(cell.output_size)


def output_size(cell: Any) -> Any:
    """The size of a cell's output: its own word for it, or the size of its first state."""
    size = getattr(cell, "output_size", None)
    return state_sizes(cell)[0] if size is None else size

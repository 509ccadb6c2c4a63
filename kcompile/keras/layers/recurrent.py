"""Recurrent layers: a cell run over the time axis of [batch, time, ...] as one `scan`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.keras.backend.recurrence import choose, time_first
from kcompile.keras.engine import InputSpec, KerasTensor, Layer, Variable, as_list, is_integer
from kcompile.keras.evaluation import computed
from kcompile.keras.layer_arguments import show_parameters
from kcompile.keras.layers.cells import (
    Cell,
    CuDNNGRUCell,
    CuDNNLSTMCell,
    GRUCell,
    LSTMCell,
    SimpleRNNCell,
    StackedRNNCells,
    as_cell,
    check_cell,
    has_step,
    output_shape,
    output_size,
    run_cell,
    says_states,
    state_shapes,
    state_sizes,
    takes,
    without_seed,
    zeros,
)
from kcompile.keras.layers.held import Holder
from kcompile.keras.tracing import Trace, trace_of
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe

__all__ = ["GRU", "LSTM", "RNN", "CuDNNGRU", "CuDNNLSTM", "SimpleRNN"]


class Recurrence(Holder):
    """Base of layers that are called on a sequence, initial states and constants, [x, *states, *constants]:
    the recurrent layers and Bidirectional.

    num_constants: how many of the tensors are constants, which a call with constants= fixes.
    """

    num_constants = 0
    wants_floats = True

    @property
    def _num_constants(self) -> int | None:
        """Keras 2's name for it."""
        return self.num_constants or None

    def fix_constants(self, count: int) -> None:
        """Calls have this many constants. Raises ModelError where an earlier one had others."""
        if not is_integer(count) or count < 0:
            raise ModelError(describe(f"{self.label}: num_constants", "a number of tensors", repr(count)))
        if self.built and count != self.num_constants:
            raise ModelError(
                describe(
                    f"{self.label}: constants",
                    f"{self.num_constants} of them, as when it was called before",
                    str(count),
                )
            )
        self.num_constants = count

    def __call__(
        self, inputs: Any, initial_state: Any = None, constants: Any = None, **arguments: Any
    ) -> Any:
        tensors = as_list(inputs)
        states = [] if initial_state is None else as_list(initial_state)
        fixed = [] if constants is None else as_list(constants)
        if len(tensors) > 1 and states + fixed:
            raise ModelError(
                describe(
                    f"{self.label}: inputs",
                    "states and constants either in the list of inputs or as initial_state= and constants=",
                    "both",
                )
            )
        if not all(isinstance(x, (Tensor, KerasTensor, Variable)) for x in states + fixed):
            raise UnsupportedError(
                describe(
                    f"{self.label}: initial_state and constants",
                    "tensors of the model",
                    f"{initial_state!r} and {constants!r}",
                    "Make them an Input. A stateful layer takes arrays in reset_states(states)",
                )
            )
        if fixed:
            self.fix_constants(len(fixed))
        tensors += states + fixed
        return super().__call__(tensors if len(tensors) > 1 else tensors[0], **arguments)

    def split(self, inputs: Any) -> tuple[Any, list[Any], list[Any]]:
        """The sequence, the states, and the constants, of inputs or of their shapes."""
        several = isinstance(inputs, list) or (
            isinstance(inputs, tuple) and inputs and isinstance(inputs[0], (list, tuple))
        )
        x, *more = inputs if several else [inputs]
        at = len(more) - self.num_constants
        if at < 0:
            raise ModelError(
                describe("call", f"{self.num_constants} constants behind the input", f"{len(more)} tensors")
            )
        return x, more[:at], more[at:]

    def get_config(self) -> dict[str, Any]:
        """The arguments; num_constants only where there are constants, as in Keras 2."""
        config = super().get_config()
        if not self.num_constants:
            config.pop("num_constants", None)
        return config


class RNN(Recurrence):
    """A cell (or a list of them) over time: [batch, time, ...] to the last output [batch, units].

    return_sequences: all outputs [batch, time, units]. return_state: also the last states.
    go_backwards: from the last step to the first; outputs are in that order. stateful: each batch
    begins with the states where the one before ended, until `reset_states`; needs a fixed batch
    size. unroll: no other values, and no other code here. Where a mask is False, the output and the
    states before stay; zero_output_for_mask: the output is 0 there.

    Call arguments: initial_state, the states to begin with; constants, tensors that `cell.call` is given
    as `constants` at every step; or a list [x, *states, *constants] as the input.
    """

    supports_masking = True

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        num_constants: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell, vintage=self.vintage)
        self.cell: Any = as_cell(self, "cell", cell)
        check_cell(self, self.cell)
        self.return_sequences = self.flag("return_sequences", return_sequences)
        self.return_state = self.flag("return_state", return_state)
        self.go_backwards = self.flag("go_backwards", go_backwards)
        self.stateful = self.flag("stateful", stateful)
        self.unroll = self.flag("unroll", unroll)
        self.zero_output_for_mask = self.flag("zero_output_for_mask", zero_output_for_mask)
        self.states: list[Variable] = []
        self._sample: tuple[Any, ...] = ()  # the shape of a step's input, without the batch
        self.fix_constants(0 if num_constants is None else num_constants)

    def fix_constants(self, count: int) -> None:
        super().fix_constants(count)
        if count and not takes(self.cell, "constants"):
            raise ModelError(
                describe(
                    f"{self.label}: constants",
                    "a cell whose call has an argument `constants`",
                    self.cell.label,
                )
            )

    @property
    def meets_samples(self) -> bool:
        return self.stateful

    @property
    def parts(self) -> list[Layer]:
        return [self.cell]

    @property
    def state_variables(self) -> list[Variable]:
        return list(self.states)

    def build(self, input_shape: Any) -> None:
        shape, _, constants = self.split(input_shape)
        InputSpec(min_ndim=3).check(shape)
        wanted = constants if self.semantics.constants_in_build else []
        self.cell.build_for((None, *shape[2:]), *((None, *c[1:]) for c in wanted))
        if self.stateful:
            if shape[0] is None:
                raise ModelError(
                    "a stateful layer needs a fixed batch size. Give the first layer "
                    "batch_input_shape=(batch, time, ...), or Input a batch_shape"
                )
            self._sample = tuple(shape[2:])
            first = computed(lambda graph: as_list(self.get_initial_state(batch_size=shape[0])))
            self.states = [Variable(value, f"{self.name}/state_{i}", False) for i, value in enumerate(first)]
        self.input_spec = InputSpec(min_ndim=3, axes={-1: shape[-1]})

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, initial, constants = self.split(inputs)
        there = as_list(mask)[0]
        if initial and not self.semantics.mask_with_initial_state and not trace_of(x).was_told(there):
            there = None
        outputs, last, states = self.run(x, initial, there, constants)
        if self.return_sequences:
            assert outputs is not None
            if self.go_backwards:
                outputs = ops.reverse(outputs, (0,))
            result = time_first(outputs)
        else:
            result = last
        return [result, *states] if self.return_state else result

    def run(
        self, x: Tensor, initial: Sequence[Tensor], mask: Tensor | None, constants: Sequence[Tensor] = ()
    ) -> tuple[Tensor | None, Tensor, list[Tensor]]:
        """All outputs [time, batch, ...] in the order of time (None where nobody wants them), the last
        output, the last states."""
        trace = trace_of(x)
        sequences = [time_first(s) for s in ([x] if mask is None else [x, mask])]
        states = self._initial(x, initial)
        first = sequences[0].type.with_shape(sequences[0].shape[1:])
        masks = self._dropout_masks(trace, first, states)
        body = trace.inside(f"{self.name}.step")
        count, place = len(states), self._output_state
        if mask is not None and self._carries_output(initial):
            shape = (x.shape[0], *output_shape(self.cell, x.shape[2:]))
            states, place = [*states, zeros(shape, x.dtype, self.vintage)], count
        shared = []  # whether the output is a state

        def step(
            states: list[Tensor], elements: list[Tensor], fixed: list[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            element, *rest = elements
            y, new = (
                self.cell.step(element, states[:count], fixed[: len(masks)])
                if has_step(self.cell)
                else run_cell(self.cell, element, states[:count], fixed[len(masks) :])
            )
            new = [*new, y] if len(states) > count else new
            shared.append(y.value == new[place].value and not (rest and self.zero_output_for_mask))
            if rest:
                y, new = self._repeat_masked(rest[0], y, new, states, place)
            return new, [] if shared[-1] and not self.return_sequences else [y]

        finals, outs = scan(
            step, states, sequences, [*masks, *constants], reverse=self.go_backwards, body=body.graph
        )
        if body.graph.updates or body.losses:
            raise UnsupportedError("a cell that adds losses or updates variables at every step")
        if self.stateful:
            self._store_states(trace, finals, x.shape[0])
        if shared[0]:
            return outs[0] if outs else None, finals[place], finals[:count]
        (outputs,) = outs
        return outputs, outputs[0 if self.go_backwards else -1], finals[:count]

    def _carries_output(self, initial: Sequence[Tensor]) -> bool:
        """Whether the previous output, which is repeated at masked steps, is not among the states, or not
        among the initial ones."""
        return (
            self.semantics.masked_output == "previous output"
            and not self.zero_output_for_mask
            and (bool(initial) or self.stateful or not has_step(self.cell))
        )

    @property
    def _output_state(self) -> int:
        """The number of the state that equals the previous output, which masked steps repeat."""
        if isinstance(self.cell, StackedRNNCells):
            first, last = (output_size(self.cell.cells[i]) for i in (0, -1))
            if self.semantics.masked_output == "first state" and first == last:
                return 0
            return len(self.cell.state_size) - len(state_sizes(self.cell.cells[-1]))
        return 0

    def _repeat_masked(
        self, mask: Tensor, y: Tensor, new: list[Tensor], states: Sequence[Tensor], place: int
    ) -> tuple[Tensor, list[Tensor]]:
        """The output and the states after a step; where the step is masked, those before it, or the output 0
        as zero_output_for_mask says. place: the state that equals the output before."""
        zero = self.zero_output_for_mask
        before = ops.broadcast_to(ops.constant(y.graph, 0.0, y.dtype), y.shape) if zero else states[place]
        return self._keep(mask, y, before), [self._keep(mask, a, b) for a, b in zip(new, states)]

    def _store_states(self, trace: Trace, finals: Sequence[Tensor], samples: Any) -> None:
        """Update the variables of the states with the last ones; a batch may have fewer rows than they."""
        rows = ops.iota(trace.graph, (samples,), 0)
        for variable, state in zip(self.states, finals):
            trace.update(variable, ops.scatter_rows(state, rows, variable.shape[0]))

    def _keep(self, mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
        if new.type != old.type:
            raise UnsupportedError(
                describe(
                    "call",
                    "a cell whose output is like its first state, as the input has a mask",
                    f"{new.type} and {old.type}",
                )
            )
        return choose(mask, new, old)

    def _initial(self, x: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        if given:
            rows = ops.iota(x.graph, (x.shape[0],), 0)  # a variable has a fixed number of them
            given = [
                s
                if not s.rank or s.shape[0] == x.shape[0] or not isinstance(s.shape[0], int)
                else ops.gather(s, rows)
                for s in given
            ]
            sizes = [(x.shape[0], *state) for state in state_shapes(self.cell, x.shape[2:])]
            if [s.shape for s in given] != sizes:
                raise ModelError(
                    describe(
                        "initial_state", f"states of shape {sizes}", ", ".join(str(s.type) for s in given)
                    )
                )
            return list(given)
        if self.stateful:
            trace = trace_of(x)
            rows = ops.iota(x.graph, (x.shape[0],), 0)
            return [ops.gather(trace.read(v), rows) for v in self.states]
        self._sample = x.shape[2:]
        if self.semantics.initial_states == "of a size":
            return as_list(self.get_initial_state(batch_size=x.shape[0]))
        return as_list(self.get_initial_state(x))

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None) -> list[Any]:
        """The states to begin with where none are given, for inputs [batch, time, ...] or a batch size: what
        `get_initial_state` of the cell says, where this Keras asks it, or zeros."""
        asked, dtype = self.semantics.initial_states, self.dtype
        if inputs is not None:
            batch_size, dtype, self._sample = inputs.shape[0], inputs.dtype, inputs.shape[2:]
        if asked != "zeros" and says_states(self.cell):
            more = {} if asked == "of a size" else {"inputs": None, "dtype": dtype}
            return as_list(self.cell.get_initial_state(batch_size=batch_size, **more))
        shapes = state_shapes(self.cell, self._sample)
        return [zeros((batch_size, *shape), dtype, self.vintage) for shape in shapes]

    def _dropout_masks(self, trace: Trace, first: Any, states: list[Tensor]) -> list[Tensor]:
        if not has_step(self.cell) or not trace.training:
            return []
        # Only its shape and dtype are read
        like = ops.broadcast_to(ops.constant(trace.graph, 0.0, first.dtype), first.shape)
        masks: list[Tensor] = self.cell.dropout_masks(like, states[0])
        return masks

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        found = as_list(mask)[0] if self.return_sequences else None
        return [found, *(None for _ in state_sizes(self.cell))] if self.return_state else found

    def get_config(self) -> dict[str, Any]:
        """Keras 2 does not know zero_output_for_mask."""
        config = super().get_config()
        if not self.zero_output_for_mask:
            del config["zero_output_for_mask"]
        return config

    def reset_state(self, states: Any = None) -> None:
        """`reset_states`, as Keras 3 calls it."""
        self.reset_states(states)

    def reset_states(self, states: Any = None) -> None:
        """Set the states of a stateful layer: to zeros, or to these arrays [batch, size]. Raises
        ModelError, InputError."""
        if not self.states:
            raise ModelError(f"{self.label}: reset_states: the layer is not stateful, or was not called yet")
        values = (
            [np.zeros(v.shape) for v in self.states]
            if states is None
            else [as_array(s, f"{self.label}: reset_states") for s in as_list(states)]
        )
        if [v.shape for v in values] != [v.shape for v in self.states]:
            raise InputError(
                describe(
                    f"{self.label}: reset_states",
                    f"arrays of shape {[v.shape for v in self.states]}",
                    f"{[v.shape for v in values]}",
                )
            )
        for variable, value in zip(self.states, values):
            variable.assign(value)


class OverCells(RNN):
    """An RNN over the cell of its own kind, whose arguments it takes too. The weights are named
    after the layer."""

    cell_class: type[Cell]
    freezes_cell = True  # whether the constructor's `trainable` is the cell's too

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = [p.name for p in _cell_parameters(self.cell_class)]
        given = {**dict(zip(names, args)), **kwargs}
        if len(args) > len(names) or any(n in kwargs for n in names[: len(args)]):
            raise TypeError(f"{type(self).__name__}: too many arguments, or one given twice")
        missing = [
            p.name for p in _cell_parameters(self.cell_class) if p.default is p.empty and p.name not in given
        ]
        if missing:
            raise TypeError(f"{type(self).__name__}: missing the argument {missing[0]}")
        options = {name: given.pop(name) for name in names if name in given}
        Layer.__init__(self, **{k: v for k, v in given.items() if k in ("name", "vintage")})
        cell = self.cell_class(
            **options,
            **self.cell_class.fixed,
            name=self.name,
            vintage=self.vintage,
            trainable=given.get("trainable", True) if self.freezes_cell else True,
            dtype=given.get("dtype"),
        )
        super().__init__(cell, **{**given, "name": self.name})
        vars(self).update((name, getattr(cell, name)) for name in names)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cell"]
        return without_seed(config)


def _cell_parameters(cell: type[Cell]) -> list[inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for base in cell.__mro__:
        if base is Layer:
            break
        if "__init__" in vars(base):
            for p in inspect.signature(vars(base)["__init__"]).parameters.values():
                if p.kind == p.POSITIONAL_OR_KEYWORD and p.name not in ("self", *cell.fixed):
                    found.setdefault(p.name, p)
    return list(found.values())


def constructor(cell: type[Cell]) -> Callable[..., None]:
    """The constructor of a layer over such cells. Its arguments are the cell's, then those of RNN by name."""

    def __init__(self: OverCells, *args: Any, **kwargs: Any) -> None:
        OverCells.__init__(self, *args, **kwargs)

    own = inspect.signature(RNN.__init__).parameters
    rest = [
        p.replace(kind=p.KEYWORD_ONLY) for name, p in own.items() if name not in ("self", "cell", "kwargs")
    ]
    show_parameters(__init__, [own["self"], *_cell_parameters(cell), *rest, own["kwargs"]])
    return __init__


class SimpleRNN(OverCells):
    """Fully connected: see `SimpleRNNCell` for the formula, `RNN` for the rest."""

    cell_class = SimpleRNNCell
    __init__ = constructor(SimpleRNNCell)


class LSTM(OverCells):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): see `LSTMCell`, `RNN`."""

    cell_class = LSTMCell
    __init__ = constructor(LSTMCell)


class GRU(OverCells):
    """Gated recurrent unit (Cho et al. 2014): see `GRUCell`, `RNN`."""

    cell_class = GRUCell
    __init__ = constructor(GRUCell)


class CuDNNLSTM(OverCells):
    """LSTM with the weights of cuDNN, and without the options that it has not: `CuDNNLSTMCell`."""

    cell_class = CuDNNLSTMCell
    __init__ = constructor(CuDNNLSTMCell)


class CuDNNGRU(OverCells):
    """GRU with the weights of cuDNN, and without the options that it has not: `CuDNNGRUCell`."""

    cell_class = CuDNNGRUCell
    __init__ = constructor(CuDNNGRUCell)

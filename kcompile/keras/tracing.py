"""From a model to a graph: run every node's layer over symbolic tensors.

Enters: a model and a tensor for each of its inputs, in a `Trace`. Leaves: a tensor for each output,
and in the trace the losses of layers, the updates of variables, and which variables were read.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Source, Value
from kcompile.ir.tensor import Tensor, as_tensor, promote
from kcompile.ir.types import TensorType
from kcompile.keras.editions import edition
from kcompile.keras.explain import explained
from kcompile.keras.lazy import lazily
from kcompile.keras.settings import floatx, samples_of, vintage_running
from kcompile.keras.topology import back_from
from kcompile.keras.written_masks import WrittenMasks
from kcompile_runtime.errors import UnsupportedError, describe

if TYPE_CHECKING:
    from kcompile.keras.semantics import Semantics
    from kcompile.keras.tensors import KerasTensor, RandomState, Variable


_late, _ = lazily("kcompile.keras", "keras3_ops.calls")

# The types of the outputs of a layer, and of their masks.
Inferred = tuple[list[TensorType], list["TensorType | None"]]

# The graph that user code is being traced into: functions of K that are given no tensor (a weight, a
# constant, a random number) build their result there.
_current: ContextVar[Graph | None] = ContextVar("current", default=None)


def current() -> Graph | None:
    """The graph being traced now, None outside."""
    return _current.get()


@contextmanager
def tracing(graph: Graph | None) -> Iterator[None]:
    """Inside the `with`, this graph is the current one; None: no graph is."""
    token = _current.set(graph)
    try:
        yield
    finally:
        _current.reset(token)


@dataclass(frozen=True)
class Traced:
    """A graph that was traced, and the front end's variable behind each variable of it, by its name there."""

    graph: Graph
    captured: Mapping[str, Variable]

    @property
    def names(self) -> dict[Variable, str]:
        return {variable: name for name, variable in self.captured.items()}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The arrays of the variables as they are now, by name: not copies."""
        return {name: variable.array for name, variable in self.captured.items()}


class Trace:
    """Layers being traced into a graph.

    added_metrics: what layers report by name, and which layer it was; None outside of `call`. training:
    layers behave as in training. frozen: updates of variables are left out, because the layer or a model
    around it is not trainable. losses: scalars to be added to the loss. captured: the front end's variable
    behind each variable of the graph, by its name there; names: the other way round. masks: of values that
    have one, bool tensors of their first axes. known: the values of the traced model's tensors, which
    losses may speak of. alone: this is one layer, for the types of its outputs, and how its inputs come
    about is unknown. inferring: only types are asked for. random_state, counter: what random numbers come
    from, and which of its counters numbers the calls of this graph. loop: this is the body of one.
    measures: a metric counts a batch in. measured: the names of the variables of such states. assigned:
    trained weights whose values are given by a layer, before gradients to them are taken. stepping: this is
    a step of a model's own. added: in one, what the latest call of each layer added to losses. untold: nobody
    says whether this is training, as where a model is called on arrays. top: the model that is traced, and
    not one inside of it. fed: models that begin with texts, whose calls are given what their graphs take.
    once: what is traced is code of a script that does not run again (`tf.function`).
    """

    def __init__(self, name: str = "trace", training: bool = False) -> None:
        self.graph = Graph(name)
        self.graph.tracer = weakref.ref(self)
        self.training = training
        self.frozen = False
        self.losses: list[Tensor] = []
        self.added_metrics: list[tuple[Any, str, Tensor]] = []
        self.captured: dict[str, Variable] = {}
        self.names: dict[Variable, str] = {}
        self.masks: dict[Value, Tensor] = {}
        self.told: set[Value] = set()  # the masks that calls were given by the caller
        self.known: dict[KerasTensor, Tensor] = {}
        self.alone = False
        self.inferring = self.graph.types_only = name == "shape inference"
        self.penalizes = name != "predict"  # whether penalties on outputs count
        self.random_state: RandomState | None = None
        self.counter: Variable | None = None
        self.loop = False
        self.measures = False
        self.measured: set[str] = set()
        self.assigned: set[Variable] = set()
        self.stepping = False
        self.untold = False
        self.once = False
        self._told_inside = False  # of a call inside, somebody said whether this is training
        self.top: Any = None
        self.fed: set[int] = set()
        self.added: dict[Any, list[Tensor]] = {}
        self._streams = itertools.count()

    def alike(self, x: Any, y: Any) -> list[Tensor]:
        """The operands of an operator that have two dtypes: in Keras 3 in the one that both have in common.
        Raises InputTypeError elsewhere, where dtypes do not meet."""
        if edition(vintage_running()).operations:
            found: list[Tensor] = _late("keras3_ops.calls").alike(x, y)
            return found
        return promote(x, y)

    @property
    def quotient_dtype(self) -> str:
        """The dtype of a quotient of integers."""
        return floatx() if edition(vintage_running()).operations else "float64"

    @property
    def traced(self) -> Traced:
        return Traced(self.graph, self.captured)

    def input(self, name: str, type: TensorType) -> Tensor:
        """A new input of the graph."""
        return Tensor(self.graph, self.graph.input(name, type))

    @contextmanager
    def source(self, *sources: Source) -> Iterator[None]:
        """`Graph.source`, and inside the graph is the current one."""
        with self.graph.source(*sources), tracing(self.graph):
            yield

    def was_told(self, mask: Tensor | None) -> bool:
        """Whether the caller of a layer gave this mask, as `layer(x, mask=mask)`."""
        return mask is not None and mask.value in self.told

    def stream(self) -> int:
        """A number of its own for each random op, in the order of tracing."""
        return next(self._streams)

    def inside(self, name: str) -> Trace:
        """An empty trace for the body of a loop in this one: of the same mode, with the same
        variables, and random streams that go on."""
        body = Trace(name, self.training)
        body.frozen, body.captured, body.names = self.frozen, self.captured, self.names
        body.random_state, body.counter = self.random_state, self.counter
        body._streams, body.loop, body.graph.region = self._streams, True, True
        return body

    def draws_from(self, state: RandomState, training: bool) -> None:
        """Random numbers come from this state: those of a training step, or of any other call."""
        self.random_state, self.counter = state, state.step if training else state.draws

    def seed(self, given: int | None = None) -> Tensor:
        """The seed that a layer was given, or the model's: a uint32 scalar."""
        if given is not None:
            return ops.constant(self.graph, given % 2**32, "uint32")
        return self._random("seed", self.random_state and self.random_state.seed)

    @property
    def step(self) -> Tensor:
        """The number of this call, a uint32 scalar."""
        return self._random("step", self.counter)

    def _random(self, name: str, variable: Variable | None) -> Tensor:
        if variable is not None:
            return self.read(variable)
        return Tensor(
            self.graph, self.graph.variable(name, TensorType((), "uint32"))
        )  # only types matter here

    def count_draws(self) -> None:
        """The next call draws other numbers, where this one draws any."""
        counter = self.counter
        if counter is not None and counter in self.names:
            step = self.read(counter)
            self.update(counter, step + ops.constant(self.graph, 1, step.dtype))

    def read(self, variable: Variable) -> Tensor:
        """The variable's value at this point of the trace: its update, if it has one already."""
        name = self.names.get(variable)
        if name is None:  # two models that share a layer may each have given it another name
            name = variable.path
            while name in self.captured:
                name += "'"
            self.names[variable], self.captured[name] = name, variable
        start = self.graph.variable(name, TensorType(variable.shape, variable.dtype))
        return Tensor(self.graph, self.graph.updates.get(name, start))

    def update(self, variable: Variable, tensor: Tensor) -> None:
        """The variable's value after the call is `tensor`."""
        self.read(variable)
        self.graph.updates[self.names[variable]] = tensor.value

    @contextmanager
    def mode(
        self, training: bool | None = None, frozen: bool = False, inherited: bool = True
    ) -> Iterator[None]:
        """Inside the `with`, another training flag (None: the same), and updates left out where `frozen`,
        or also where they are outside (inherited)."""
        outer = self.training, self.frozen, self._told_inside
        self.training = self.training if training is None else bool(training)
        self._told_inside = self._told_inside or training is not None
        self.frozen = frozen or (inherited and self.frozen)
        try:
            with tracing(self.graph):
                yield
        finally:
            self.training, self.frozen, self._told_inside = outer

    def told_or_default(self, given: bool | None, call: Callable[..., Any]) -> bool | None:
        """What a call is told of training: as it is given, else what `call` has for a default, where nobody
        around it says either; else None."""
        if given is not None or self._told_inside or not (self.stepping or self.untold):
            return given
        default = getattr(inspect.signature(call).parameters.get("training"), "default", None)
        return default if isinstance(default, bool) else None

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Inside the `with`, a metric counts a batch in: what updates a variable does so at once, and in
        every graph."""
        outer, before = self.measures, dict(self.graph.updates)
        self.measures = True
        try:
            with tracing(self.graph):
                yield
        finally:
            self.measures = outer
            after = self.graph.updates
            self.measured |= {name for name, value in after.items() if before.get(name) != value}


def check_repeats(what: str) -> None:
    """Raises UnsupportedError where a `tf.function` is traced, whose code does not run again: it then runs as
    Python has it, each time."""
    trace = None if (graph := current()) is None else find_trace(graph)
    if trace is not None and trace.once:
        raise UnsupportedError(f"{what} in a function that is traced")


def find_trace(graph: Graph) -> Trace | None:
    """The trace that writes into a graph; None for a graph that was made otherwise."""
    found: Trace | None = None if graph.tracer is None else graph.tracer()
    return found


def trace_of(x: Tensor | Graph) -> Trace:
    """The trace that writes into a graph, or into the graph of a tensor."""
    found = find_trace(x.graph if isinstance(x, Tensor) else x)
    assert found is not None, "a graph that layers are traced into"
    return found


def branched(condition: Tensor, then: Callable[[], Any], otherwise: Callable[[], Any]) -> tuple[Any, Any]:
    """What two functions give, both of them. The updates of variables that one makes count where the
    condition, a scalar, chooses it."""
    graph = condition.graph
    before, made, after = dict(graph.updates), [], []
    for function in (then, otherwise):
        graph.updates = dict(before)
        made.append(function())
        after.append(graph.updates)
    graph.updates = before
    for name in {**after[0], **after[1]}:
        one, other = (u.get(name, before.get(name, graph.variables[name])) for u in after)
        if one != other:
            one = ops.select(condition, Tensor(graph, one), Tensor(graph, other)).value
        graph.updates[name] = one
    return made[0], made[1]


def trace_model(model: Any, trace: Trace, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of `model` for `inputs`; regularisation goes to `trace.losses`."""
    trace.top = model
    with trace.mode(frozen=not model.trainable):
        outputs = trace_nodes(model, trace, inputs, trace.known)
    # That of a frozen weight moves the loss and no gradient.
    penalised = model.weights if model.semantics.penalty_of_frozen else model.trainable_weights
    penalised = [variable for variable in penalised if variable.regularizer]
    layers = reversed(model.owned_layers) if penalised else ()  # the first that has a weight counts
    owners = {id(v): layer.name for layer in layers for v in layer.weights}
    for variable in penalised:
        label = f"Regularizer of {variable.path!r}"
        with trace.source(Source(owners.get(id(variable), ""))), explained(label):
            weight = trace.read(variable)
            trace.losses.append(as_tensor(trace.graph, variable.regularizer(weight), weight.dtype))
    behind = [v for weight in model.weights for pair in weight.behind.values() for v in pair]
    states = [*model.state_variables, *model.random_state, *behind]
    known = {id(v) for v in (*model.weights, *states, *_read_by_losses(model))}
    meaning = edition(model.vintage)
    for name, variable in trace.captured.items():
        if id(variable) in known or variable.shared:
            continue
        if (
            meaning.operations
        ):  # read, and what would be assigned to it is lost, as it is no part of the model
            trace.graph.updates.pop(name, None)
        elif not meaning.eager:
            raise UnsupportedError(
                describe(
                    f"model {model.name!r}",
                    "layers that use their own weights alone",
                    f"{name!r}, which belongs to no layer of the model",
                    "Make layers and variables attributes of the layer that uses them (not in Keras 2.2)",
                )
            )
    return outputs


def _read_by_losses(model: Any) -> list[Variable]:
    """The weights of layers that only an added loss needs, where they are read and not trained."""
    if not model.added_losses or model.semantics.losses_bring_layers:
        return []
    return [v for layer in back_from(model.added_losses)[1] for v in layer.weights]


def trace_nodes(
    model: Any, trace: Trace, inputs: Sequence[Tensor], values: dict[KerasTensor, Tensor] | None = None
) -> list[Tensor]:
    """Run the nodes of a model (or of a model inside one) in their order. values: is given the value
    of every tensor of the model."""
    values = {} if values is None else values
    values.update(zip(model.fed, inputs))
    masks = WrittenMasks(trace.masks) if model.semantics.attention_takes_masks else None
    for node in model.compiled_nodes:
        if not node.inputs:  # an input, or a function of variables and constants
            values.update((y, y.__tensor__(trace.graph)) for y in node.outputs if y not in values)
            continue
        operands = [values[x] for x in node.inputs]
        if node.fed:
            trace.fed.add(id(node.layer))
        with trace.source(Source(node.layer.name, node.index)):
            seen = operands if masks is None else masks.operands(node, operands)
            with samples_of(node.inputs):
                results = node.layer.trace(seen, node.single, _arguments(model, trace, node))
            if masks is not None:
                masks.note(node, operands, results)
        values.update(zip(node.outputs, results))
    if model.added_losses:
        added = emit(trace.graph, model.added_losses, values)
        trace.losses += [in_one(x, model.semantics) for x in added]
    trace_given([*model.owned_layers, model], trace, values)
    return [values[y] for y in model.outputs]


def _arguments(model: Any, trace: Trace, node: Any) -> dict[str, Any]:
    """The arguments of a call in a model: in Keras 3 what the model is told of training is what all of its
    calls are told. A class of Model is told of it where its `call` takes it."""
    if node.layer is trace.top and not model.told_of_training:
        return {**node.arguments, "training": False}
    if model.semantics.training_of_calls == "their own" or trace.untold or model.calls_as_written:
        return node.arguments
    return {key: value for key, value in node.arguments.items() if key != "training"}


def in_one(loss: Tensor, semantics: Semantics) -> Tensor:
    """A loss that was added, as a scalar: the sum or the mean of a tensor's elements, or in tf.keras a number
    that is the mean and has the gradient of the sum."""
    if not loss.rank:
        return loss
    if semantics.added_losses == "means":
        return ops.reduce_mean(loss)
    total = ops.reduce_sum(loss)
    if semantics.added_losses == "sums":
        return total
    return total - ops.stop_gradient(total - ops.reduce_mean(loss))


def trace_given(layers: Sequence[Any], trace: Trace, values: Mapping[KerasTensor, Tensor]) -> None:
    """Put what was added to layers outside of `call` into the trace of a model. values: of the model's
    tensors; what follows from others belongs to other models."""

    def mine(behind: Sequence[Any] | None) -> bool:
        return behind is None or all(x in values for x in behind)

    for layer in layers:
        losses = [loss for loss, behind in layer.given_losses if mine(behind)]
        trace.losses += [in_one(x, layer.semantics) for x in emit(trace.graph, losses, values)]
        for name, value in layer.given_metrics:
            (found,) = emit(trace.graph, [value], values)
            if hasattr(found, "counted_by"):
                layer.add_metric(found)
            else:
                trace.added_metrics.append((None, name, found))
        for (variable, value), behind in layer.given_updates if trace.training and not trace.frozen else ():
            if mine(behind):
                made = emit(trace.graph, [value], values)[0] if hasattr(value, "node") else value
                trace.update(variable, as_tensor(trace.graph, made, variable.dtype))


def emit(graph: Graph, outputs: Sequence[KerasTensor], known: Mapping[KerasTensor, Tensor]) -> list[Tensor]:
    """The outputs in `graph`, where `known` tensors have values already. Raises ModelError for an
    input among what they need that is not known."""
    values = dict(known)
    for node in back_from(outputs, values)[0]:
        with samples_of(node.inputs):
            results = node.layer.emit(graph, node, [values[x] for x in node.inputs])
        for y, result in zip(node.outputs, results):
            values.setdefault(y, result)
    return [values[y] for y in outputs]


def infer_nodes(
    model: Any, inputs: Sequence[tuple[TensorType, TensorType | None]], training: bool | None
) -> Inferred:
    """The types of the outputs and of their masks, for those of the inputs. Each layer gives its own."""
    values = dict(zip(model.inputs, inputs))
    for node in model.nodes:
        if not node.inputs:
            values.update((y, (y.type, None)) for y in node.outputs if y not in values)
            continue
        types, masks = zip(*(values[x] for x in node.inputs))
        arguments = node.arguments if training is None else {"training": training, **node.arguments}
        with samples_of(node.inputs):
            values.update(zip(node.outputs, zip(*node.layer._infer(types, node.single, arguments, masks))))
    types, masks = zip(*(values[y] for y in model.outputs))
    return list(types), list(masks)

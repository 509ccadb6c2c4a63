"""What layers add to the loss of a model and to the updates of its variables.

Enters: in `call`, tensors of the graph that is traced; outside, tensors of a model. Leaves: the former in
the trace, the latter with the layer, until a model that has their inputs is traced. `losses` and `updates`
show both as tensors of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir.tensor import Tensor, as_tensor, constant
from kcompile.keras import updates
from kcompile.keras.editions import edition
from kcompile.keras.layer_arguments import Arguments
from kcompile.keras.moving import each_update
from kcompile.keras.newer_members import held, is_metric
from kcompile.keras.operators import identity
from kcompile.keras.settings import floatx
from kcompile.keras.tensors import KerasTensor, Node, Variable, as_list, is_number
from kcompile.keras.tracing import current, find_trace, in_one, trace_of
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

Given = list[tuple[Any, "list[Any] | None"]]  # what was added outside `call`, each with its inputs


class Additions(Arguments):
    """The part of `Layer` that is about its losses and updates."""

    nodes_made: list[Node]
    _now: Any
    vintage: str
    given_losses: Given | tuple[()] = ()
    called_losses: list[Any] | None = None  # what the latest call on arrays added
    called_on: Any = None  # the arguments of a model's latest call on arrays, until its losses are asked for
    given_updates: Given | tuple[()] = ()
    given_metrics: Sequence[tuple[str, Any]] = ()
    adds_metrics = False  # whether add_metric was called
    told_metrics: Sequence[Any] = ()  # those of which add_metric was given a result

    def add_loss(self, losses: Any = None, inputs: Any = None, *, loss: Any = None) -> None:
        """Add scalars (or tensors, see `in_one`) to the loss of the model. Outside `call` they are
        functions of K over tensors of the model. inputs: the tensors there that they follow from; None: they
        follow from weights alone. loss: Keras 3's name of the first argument."""
        graph, losses = current(), loss if losses is None else losses
        for loss in [] if losses is None else as_list(losses):
            if graph is None and (is_number(loss) or isinstance(loss, (KerasTensor, Variable))):
                loss = loss if isinstance(loss, KerasTensor) else identity(loss)
                self.given_losses = [*self.given_losses, (loss, None if inputs is None else as_list(inputs))]
                continue
            if is_number(loss) and graph is not None:
                loss = constant(graph, float(loss), floatx())
            if not isinstance(loss, Tensor):
                wanted = "a tensor computed in call, or by K from tensors of the model"
                raise UnsupportedError(describe(f"{self.label}: add_loss", wanted, repr(loss)))
            trace_of(loss).losses.append(in_one(loss, self.semantics))

    def add_metric(self, value: Any, name: str | None = None, aggregation: str | None = "mean") -> None:
        """Report the mean of a tensor over its elements and over all batches, by this name, beside the
        metrics of `compile`: in `call`, or outside of it of a tensor of the model. What a metric gave when it
        was called is reported as that metric, by its own name, and has counted already; of the name of a
        metric that the layer holds, this one counts the value. Raises UnsupportedError for other tensors in
        steps of a model's own and in loops; ModelError for values that are no tensors."""
        metric = getattr(value, "counted_by", None)
        name = name if metric is None else metric.name
        if not isinstance(name, str) or not name or aggregation not in ("mean", None):
            wanted, found = "a name, and aggregation='mean'", f"name={name!r}, aggregation={aggregation!r}"
            raise ModelError(describe(f"{self.label}: add_metric", wanted, found))
        graph = current()
        if metric is not None:
            if not any(metric is other for other in self.told_metrics):
                self.told_metrics = [*self.told_metrics, metric]
        elif graph is None and isinstance(value, KerasTensor):
            self.given_metrics = [*self.given_metrics, (name, value)]
        elif graph is not None and isinstance(value, Tensor):
            trace = trace_of(value)
            if trace.loop or trace.stepping:
                where = "a loop" if trace.loop else "a step of the model's own"
                remedy = "Return the value, and give it to a metric there"
                raise UnsupportedError(describe(f"{self.label}: add_metric", "a call", where, remedy))
            same = [m for m in held(self, is_metric) if m.name == name]
            if not same:
                trace.added_metrics.append((self, name, value))
            elif edition(self.vintage).eager:
                same[0].update_state(value)
        else:
            wanted = "a tensor computed in call, or of the model"
            raise ModelError(describe(f"{self.label}: add_metric", wanted, repr(value)))
        self.adds_metrics = True

    def add_update(self, updates: Any, tensor: Any = None, inputs: Any = None) -> None:
        """Add, in `call`, a pair (variable, its value after this call), which counts unless the layer is
        frozen; or, as in Keras 2, results of K.update and the like, one or a list, which count in training
        alone. Outside `call` those are over tensors of the model, of which `inputs` are the ones that they
        follow from (`tensor` then: by position)."""
        if isinstance(updates, Variable):
            trace = trace_of(tensor)
            if not trace.frozen:
                trace.update(updates, tensor)
            return
        pairs = [updates] if isinstance(updates, tuple) else list(each_update(updates or []))
        for update in pairs:
            if not (
                isinstance(update, (list, tuple)) and len(update) == 2 and isinstance(update[0], Variable)
            ):
                wanted = "a pair (variable, new value), as K.update gives, or a list of them"
                raise ModelError(describe(f"{self.label}: add_update", wanted, repr(update)))
        graph = current()
        found = None if graph is None else find_trace(graph)
        if found is None:
            behind = tensor if inputs is None else inputs
            given = None if behind is None else as_list(behind)
            self.given_updates = [*self.given_updates, *((update, given) for update in pairs)]
            return
        for variable, value in pairs if (found.training or found.measures) and not found.frozen else ():
            found.update(variable, as_tensor(found.graph, value, variable.dtype))

    # ---- for K.function

    @property
    def losses(self) -> list[Any]:
        """Penalties on weights, and what the calls add to the loss: tensors. In a step of a model's own, what
        the latest calls added; after a call on arrays, their values."""
        graph = current()
        trace = None if graph is None else find_trace(graph)
        if trace is not None and trace.stepping:
            return updates.losses_in_step(self, trace)
        if self.called_on is not None:
            arrays, single, training = self.called_on
            self.called_on = None
            self._now(arrays, single, {"training": training})
        if self.called_losses is not None:
            return [*updates.losses_of_weights(self), *self.called_losses]
        calls = updates.losses_of_calls(self._own_calls())
        return [*updates.losses_of_weights(self), *calls, *(loss for loss, _ in self.given_losses)]

    @property
    def updates(self) -> list[Any]:
        """(variable, new value) of moving statistics after the calls, as in training."""
        return [*updates.updates_of_calls(self._own_calls()), *(update for update, _ in self.given_updates)]

    def get_losses_for(self, inputs: Any) -> list[Any]:
        """None: the losses that follow from weights alone; else those of the call on these tensors."""
        given = _for(self.given_losses, inputs)
        if inputs is None:
            return [*updates.losses_of_weights(self), *given]
        return [*updates.losses_of_calls(self._calls_on(inputs)), *given]

    def get_updates_for(self, inputs: Any) -> list[Any]:
        """None: the updates that follow from no input; else those of the call on these tensors."""
        given = _for(self.given_updates, inputs)
        return given if inputs is None else [*updates.updates_of_calls(self._calls_on(inputs)), *given]

    def _own_calls(self) -> list[Node]:
        """The calls whose losses and updates are the layer's."""
        return [node for node in self.nodes_made if node.inputs]

    def _calls_on(self, inputs: Any) -> list[Node]:
        wanted = set(as_list(inputs))
        return [node for node in self.nodes_made if node.inputs and set(node.inputs) == wanted]


def _for(given: Sequence[tuple[Any, Any]], inputs: Any) -> list[Any]:
    """What was added for these inputs."""
    wanted = None if inputs is None else set(as_list(inputs))
    return [x for x, behind in given if (None if behind is None else set(behind)) == wanted]

"""Layers around a layer: at every step of a sequence, or in both directions of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel
from kcompile.keras.engine import InputSpec, Layer, as_list
from kcompile.keras.layer_weights import distinguish
from kcompile.keras.layers.held import Holder, as_layer
from kcompile.keras.layers.recurrent import RNN, Recurrence
from kcompile.keras.regularizers import L1L2
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

__all__ = ["Bidirectional", "TimeDistributed", "Wrapper"]

MERGE_MODES = ("sum", "mul", "concat", "ave", None)


class Wrapper(Holder):
    """A layer around `layer`."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer: Any = as_layer(self, "layer", layer)

    def call(self, inputs: Any) -> Any:
        raise ModelError(
            "a Wrapper does not say what it does with its layer: use TimeDistributed, "
            "Bidirectional, or a subclass that defines call"
        )

    @property
    def parts(self) -> list[Layer]:
        return [self.layer]


class TimeDistributed(Wrapper):
    """The layer at every step of [batch, time, ...], with the same weights: batch and time are one
    axis for it."""

    supports_masking = True
    takes_mask = True

    def build(self, input_shape: Any) -> None:
        InputSpec(min_ndim=3).check(tuple(input_shape))
        self.layer.build_for((None, *input_shape[2:]))

    def call(self, x: Tensor) -> Tensor:
        trace = trace_of(x)
        self._inner: Tensor | None = None
        apart = (trace.training and _meets_samples(self.layer)) or not _sums_penalties(self.layer)
        return self._steps(x) if self._by_step and apart else self._rows(x)

    @property
    def _by_step(self) -> bool:
        return self.semantics.time_distributed == "steps"

    def _steps(self, x: Tensor) -> Tensor:
        """A call for each step, in their order."""
        trace = trace_of(x)
        mask, length = trace.masks.get(x.value), x.shape[1]
        if not isinstance(length, int):
            raise UnsupportedError(f"{self.label}: steps whose number is the batch's")
        outputs = []
        for t in range(length):
            step = _step(x, t)
            if mask is not None:
                trace.masks[step.value] = _step(mask, t)
            y = self._one(step)
            outputs.append(ops.reshape(y, (y.shape[0], 1, *y.shape[1:])))
        return ops.concatenate(outputs, 1)

    def _one(self, x: Tensor) -> Tensor:
        outputs = self.layer.trace([x], True, {}, regularized=not self._by_step)
        if len(outputs) > 1:
            raise UnsupportedError(describe("layer", "a layer with one output", self.layer.label))
        return outputs[0]

    def _rows(self, x: Tensor) -> Tensor:
        """One call, for which all steps are samples."""
        trace = trace_of(x)
        rows, penalties = self._as_samples(x), len(trace.losses)
        y = self._one(rows)
        self._inner = trace.masks.get(y.value)
        if self._by_step:  # each step's is divided by the samples, not by all rows
            trace.losses[penalties:] = [p * ops.count(x, [1]) for p in trace.losses[penalties:]]
        if self.semantics.mask_runs_models:
            self._ask_for_mask(rows)
        return ops.reshape(y, (x.shape[0], x.shape[1], *y.shape[1:]))

    def _as_samples(self, x: Tensor) -> Tensor:
        trace = trace_of(x)
        count = numel(x.shape[:2])
        rows, mask = ops.reshape(x, (count, *x.shape[2:])), trace.masks.get(x.value)
        wanted = hasattr(self.layer, "nodes") if self._by_step else _meets_samples(self.layer)
        if mask is not None and (wanted or mask.rank > 2):  # the second: it is one within a step
            trace.masks[rows.value] = ops.reshape(mask, (count, *mask.shape[2:]))
        return rows

    def _ask_for_mask(self, rows: Tensor) -> None:
        """Run a model inside once more, as it is done to ask it for its mask."""
        if isinstance(self.layer, TimeDistributed):
            self.layer._ask_for_mask(self.layer._as_samples(rows))
        elif hasattr(self.layer, "nodes"):
            self.layer.trace([rows], True, {})

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        """The mask that the layer gives for each step; else the input's mask of whole steps."""
        if self._by_step:
            return mask
        inner, shape = self._inner, inputs.shape
        if inner is not None:
            return ops.reshape(inner, (shape[0], shape[1], *inner.shape[1:]))
        while mask is not None and mask.rank > 2:
            mask = ops.reduce_max(ops.cast(mask, "float32"), -1) > 0.5
        return mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        inner = self.layer.compute_output_shape((input_shape[0], *input_shape[2:]))
        return (input_shape[0], input_shape[1], *inner[1:])


def _step(x: Tensor, t: int) -> Tensor:
    rest = x.shape[2:]
    at = ops.slice_(x, (0, t, *(0 for _ in rest)), (x.shape[0], t + 1, *rest))
    return ops.reshape(at, (x.shape[0], *rest))


def _meets_samples(layer: Any) -> bool:
    return layer.meets_samples or any(map(_meets_samples, layer.inside))


def _sums_penalties(layer: Any) -> bool:
    """Whether the penalties of the layers inside are sums over elements: of all steps as of each."""
    return not getattr(layer, "added_losses", None) and all(
        isinstance(part.activity_regularizer, (L1L2, type(None))) and _sums_penalties(part)
        for part in layer.inside
    )


class Bidirectional(Recurrence, Wrapper):
    """A recurrent layer and a copy of it that goes the other way, merged.

    merge_mode: "sum", "mul", "concat", "ave", or None for both outputs. initial_state: the states
    of the layer, then those of the copy, which is also the order in which `return_state` gives them.
    constants: the same ones for both. backward_layer: another layer than the copy.
    """

    supports_masking = True
    takes_mask = True

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        backward_layer: Any = None,
        num_constants: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        if not isinstance(self.layer, RNN):
            raise ModelError(describe(f"{self.label}: layer", "a recurrent layer", self.layer.label))
        self.merge_mode = None if merge_mode is None else self.one_of("merge_mode", merge_mode, MERGE_MODES)
        self.forward_layer = self._copy("forward", self.layer.go_backwards)
        self._copied = backward_layer is None
        self.backward_layer: Any = (
            self._copy("backward", not self.layer.go_backwards)
            if backward_layer is None
            else as_layer(self, "backward_layer", backward_layer)
        )
        self._check_backward()
        self.fix_constants(self.layer.num_constants if num_constants is None else num_constants)

    def fix_constants(self, count: int) -> None:
        super().fix_constants(count)
        for layer in (self.forward_layer, self.backward_layer):
            layer.fix_constants(count)

    def _check_backward(self) -> None:
        """The two layers must fit together."""

        def shape(layer: Any) -> list[Any]:
            return [getattr(layer, k, None) for k in ("return_sequences", "return_state", "stateful")]

        other = self.backward_layer
        if (
            not isinstance(other, RNN)
            or other.go_backwards == self.layer.go_backwards
            or (shape(other) != shape(self.layer))
        ):
            raise ModelError(
                describe(
                    f"{self.label}: backward_layer",
                    "a recurrent layer like the other one, with the other go_backwards",
                    f"{other.label} with go_backwards={self.layer.go_backwards}",
                )
            )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self._copied:  # Keras 2 does not know it
            del config["backward_layer"]
        return config

    def _copy(self, prefix: str, go_backwards: bool) -> RNN:
        stem = self.layer.name.removeprefix("forward_")  # Keras 3 has renamed it already
        made = self.layer.twin(name=f"{prefix}_{stem}", go_backwards=go_backwards)
        assert isinstance(made, RNN)
        return made

    @property
    def parts(self) -> list[Layer]:
        return [self.forward_layer, self.backward_layer]

    def build(self, input_shape: Any) -> None:
        shape, _, constants = self.split(input_shape)
        for layer in (self.forward_layer, self.backward_layer):
            layer.build_for(shape, *constants)
            if self.semantics.bidirectional_zeros_masked:
                layer.zero_output_for_mask = layer.return_sequences
        distinguish(self.weights)  # cells and their copies have the same names
        self.input_spec = self.forward_layer.input_spec

    def call(self, inputs: Any) -> Any:
        x, states, constants = self.split(inputs)
        if len(states) % 2:
            raise ModelError(
                describe(
                    "initial_state",
                    "an even number of states, half of them for each direction",
                    str(len(states)),
                )
            )
        half = len(states) // 2
        first, *first_states = self._one(self.forward_layer, x, [*states[:half], *constants])
        second, *second_states = self._one(self.backward_layer, x, [*states[half:], *constants])
        if self.layer.return_sequences:
            second = ops.reverse(second, (1,))
        merged = [first, second] if self.merge_mode is None else [self._merge(first, second)]
        result = [*merged, *first_states, *second_states]
        return result if len(result) > 1 else result[0]

    def _one(self, layer: RNN, x: Tensor, more: Sequence[Tensor]) -> list[Tensor]:
        return layer.trace([x, *more], not more, {})

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        if self.merge_mode == "concat":
            return ops.concatenate([a, b], -1)
        if self.merge_mode == "mul":
            return a * b
        return a + b if self.merge_mode == "sum" else (a + b) * 0.5

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        found = as_list(mask)[0] if self.layer.return_sequences else None
        masks = [found] * (2 if self.merge_mode is None else 1)
        if self.layer.return_state:
            masks += [None] * (2 * len(self.forward_layer.compute_mask(inputs, None)) - 2)
        return masks if len(masks) > 1 else masks[0]

    def reset_state(self) -> None:
        """`reset_states`, as Keras 3 calls it."""
        self.reset_states()

    def reset_states(self) -> None:
        """Set the states of both directions to zeros."""
        self.forward_layer.reset_states()
        self.backward_layer.reset_states()

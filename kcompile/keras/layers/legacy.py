"""Layers of Keras 1 that Keras 2 keeps in `keras.legacy.layers`, with their arguments of Keras 1."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import activations, constraints, initializers, regularizers
from kcompile.keras.backend.recurrence import rnn
from kcompile.keras.engine import InputSpec, KerasShape, Layer
from kcompile.keras.layers.convolutional import Conv1D, Conv2D
from kcompile.keras.settings import running
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

__all__ = ["AtrousConvolution1D", "AtrousConvolution2D", "Highway", "MaxoutDense", "Recurrent"]


def _warn(name: str, instead: str) -> None:
    warnings.warn(f"{name} is a layer of Keras 1, and deprecated: {instead}", stacklevel=3)


def AtrousConvolution1D(*args: Any, atrous_rate: Any = 1, **kwargs: Any) -> Conv1D:
    """Conv1D with the dilation_rate atrous_rate."""
    _warn("AtrousConvolution1D", "use Conv1D with dilation_rate")
    return Conv1D(*args, **{**kwargs, "dilation_rate": atrous_rate})


def AtrousConvolution2D(*args: Any, atrous_rate: Any = 1, **kwargs: Any) -> Conv2D:
    """Conv2D with the dilation_rate atrous_rate."""
    _warn("AtrousConvolution2D", "use Conv2D with dilation_rate")
    return Conv2D(*args, **{**kwargs, "dilation_rate": atrous_rate})


class _Product(Layer):
    """A layer with a product x W + b, configured as in Keras 1. carries: with a second one, the gate's."""

    carries = False

    def __init__(
        self,
        init: Any = "glorot_uniform",
        W_regularizer: Any = None,
        b_regularizer: Any = None,
        activity_regularizer: Any = None,
        W_constraint: Any = None,
        b_constraint: Any = None,
        bias: bool = True,
        input_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        if input_dim is not None:
            kwargs.setdefault("input_shape", (input_dim,))
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.input_dim = input_dim
        self.bias = self.flag("bias", bias)
        with self.named_errors(), running(self.vintage):
            self.init = initializers.get(init)
            self.W_regularizer = regularizers.get(W_regularizer)
            self.b_regularizer = regularizers.get(b_regularizer)
            self.W_constraint = constraints.get(W_constraint)
            self.b_constraint = constraints.get(b_constraint)

    def add_product(self, kernel: Sequence[int], bias: Sequence[int]) -> None:
        """Create `W`, what else has its shape, and the biases if there are any."""
        self.W = self.add_weight("W", kernel, None, self.init, self.W_regularizer, True, self.W_constraint)
        if self.carries:
            self.W_carry = self.add_weight("W_carry", kernel, None, self.init)
        self.b = self.b_carry = None
        if self.bias:
            self.b = self.add_weight("b", bias, None, "zeros", self.b_regularizer, True, self.b_constraint)
            if self.carries:
                self.b_carry = self.add_weight("b_carry", bias, None, "ones")


class Highway(_Product):
    """t * activation(x W + b) + (1 - t) * x, with t = sigmoid(x W_carry + b_carry) (Srivastava 2015)."""

    carries = True

    def __init__(self, init: Any = "glorot_uniform", activation: Any = None, **kwargs: Any) -> None:
        _warn("Highway", "write it over Dense and Multiply")
        super().__init__(init, **kwargs)
        with self.named_errors():
            self.activation = activations.get(activation, self.semantics)

    def build(self, input_shape: KerasShape) -> None:
        InputSpec(ndim=2).check(input_shape)
        size = input_shape[-1]
        self.add_product((size, size), (size,))
        self.input_spec = InputSpec(ndim=2, axes={-1: size})

    def call(self, x: Tensor) -> Tensor:
        def product(kernel: Any, bias: Any) -> Tensor:
            y = ops.matmul(x, kernel)
            return y if bias is None else y + bias

        gate = ops.sigmoid(product(self.W_carry, self.b_carry))
        return self.activation(product(self.W, self.b)) * gate + (1 - gate) * x


class MaxoutDense(_Product):
    """The largest of nb_feature products x W[i] + b[i], element by element (Goodfellow 2013)."""

    def __init__(
        self, output_dim: int, nb_feature: int = 4, init: Any = "glorot_uniform", **kwargs: Any
    ) -> None:
        _warn("MaxoutDense", "write it over Dense, Reshape and a maximum")
        super().__init__(init, **kwargs)
        self.output_dim = self.positive("output_dim", output_dim)
        self.nb_feature = self.positive("nb_feature", nb_feature)

    def build(self, input_shape: KerasShape) -> None:
        InputSpec(ndim=2).check(input_shape)
        inputs = input_shape[-1]
        self.add_product((self.nb_feature, inputs, self.output_dim), (self.nb_feature, self.output_dim))
        self.input_spec = InputSpec(ndim=2, axes={-1: inputs})

    def call(self, x: Tensor) -> Tensor:
        kernel = ops.transpose(self.W.__tensor__(x.graph), (1, 0, 2))
        count, units = self.nb_feature, self.output_dim
        product = ops.matmul(x, ops.reshape(kernel, (kernel.shape[0], count * units)))
        y = ops.reshape(product, (x.shape[0], count, units))
        return ops.reduce_max(y if self.b is None else y + self.b, (1,))


class Recurrent(Layer):
    """Base of recurrent layers of one's own, as Keras 1 has it, over [batch, time, inputs].

    A subclass creates its weights in `build`, says `units` (or output_dim), `states` (a list of None, one for
    each state of that size; default one), and `step(inputs, states)`, which gives the output and the new
    states; states hold what `get_constants` gives behind the others. The layers of Keras 2 are no subclasses.
    """

    supports_masking = True
    units: int
    states: Sequence[Any] = (None,)

    def __init__(
        self,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        implementation: int = 0,
        **kwargs: Any,
    ) -> None:
        _warn("Recurrent", "use RNN, with a cell")
        super().__init__(**kwargs)
        self.return_sequences = self.flag("return_sequences", return_sequences)
        self.return_state = self.flag("return_state", return_state)
        self.go_backwards = self.flag("go_backwards", go_backwards)
        self.stateful = self.flag("stateful", stateful)
        self.unroll = self.flag("unroll", unroll)
        self.implementation = self.one_of("implementation", implementation, (0, 1, 2))
        if self.stateful:
            raise UnsupportedError(
                describe(f"{self.label}: stateful", "False, or an RNN with a cell", "True")
            )

    def step(self, inputs: Any, states: Any) -> Any:
        """One step: the output and the new states. Subclasses have it."""
        raise ModelError(f"{self.label}: expected a subclass with step(inputs, states)")

    def get_constants(self, inputs: Any, training: Any = None) -> list[Any]:
        """What every step sees behind the states."""
        return []

    def preprocess_input(self, inputs: Any, training: Any = None) -> Any:
        """What runs once over all steps, before them."""
        return inputs

    def get_initial_state(self, inputs: Tensor) -> list[Tensor]:
        """Zeros [batch, units] for each state."""
        size = getattr(self, "units", None) or getattr(self, "output_dim", None)
        if size is None:
            raise ModelError(f"{self.label}: expected a subclass that sets units")
        zero = ops.constant(inputs.graph, 0.0, inputs.dtype)
        return [ops.broadcast_to(zero, (inputs.shape[0], size)) for _ in self.states]

    def call(self, x: Tensor, mask: Any = None) -> Any:
        last, outputs, states = rnn(
            self.step,
            self.preprocess_input(x),
            self.get_initial_state(x),
            self.go_backwards,
            mask,
            self.get_constants(x),
        )
        output = outputs if self.return_sequences else last
        return [output, *states] if self.return_state else output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        found = mask if self.return_sequences else None
        return [found, *(None for _ in self.states)] if self.return_state else found

"""What layers with weights share: the choices for each weight, and a kernel with a bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kcompile.ir.tensor import Tensor
from kcompile.keras import activations, constraints, initializers, regularizers
from kcompile.keras.engine import KerasShape, Layer, Variable
from kcompile.keras.settings import running
from kcompile_runtime.errors import ModelError, describe

CHOICES: dict[str, Callable[[Any], Any]] = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}


class Weighted(Layer):
    """A layer whose weights have an initializer, a regularizer and a constraint each, which arguments
    of the constructor choose: `kernel_initializer`, `kernel_regularizer`, ..."""

    wants_floats = True

    activation: Callable[[Tensor], Tensor]
    use_bias: bool
    bias: Variable | None
    bias_initializer: Any

    def choose(self, **choices: Any) -> None:
        """Keep activations and the choices for weights, each as an attribute of its name; the end of the name
        says what kind it is."""
        with self.named_errors(), running(self.vintage):
            for name, value in choices.items():
                kind = name.rpartition("_")[2]
                made = (
                    activations.get(value, self.semantics) if kind == "activation" else CHOICES[kind](value)
                )
                setattr(self, name, made)

    def add(self, name: str, shape: Sequence[Any], initializer: Any = None) -> Variable:
        """A weight by the choices for its name, as far as there are any; those for `recurrent_kernel` are
        recurrent_initializer, and so on. initializer: instead of the one that was chosen."""
        choice = name.removesuffix("_kernel")
        return self.add_weight(
            name,
            shape,
            initializer=getattr(self, f"{choice}_initializer") if initializer is None else initializer,
            regularizer=getattr(self, f"{choice}_regularizer", None),
            constraint=getattr(self, f"{choice}_constraint", None),
        )

    def add_bias_weight(self, shape: tuple[int, ...], initializer: Any = None) -> None:
        """Create `bias`, if there is one."""
        self.bias = self.add("bias", shape, initializer) if self.use_bias else None

    def add_bias(self, x: Tensor) -> Tensor:
        """x [..., units] with the bias added, if there is one."""
        return x if self.bias is None else x + self.bias


class KernelLayer(Weighted):
    """activation(product with a kernel + bias). `build` calls `add_kernel`, `call` calls `add_bias`."""

    def __init__(
        self,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.choose(
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        self.use_bias = self.flag("use_bias", use_bias)

    def add_kernel(self, shape: tuple[int, ...], bias: tuple[int, ...] | None = None) -> None:
        """Create `kernel`, and `bias` of a shape, by default the kernel's last axis."""
        self.kernel = self.add("kernel", shape)
        self.add_bias_weight(shape[-1:] if bias is None else bias)


def known_channels(input_shape: KerasShape, axis: int) -> int:
    """The size of an axis on which the shape of a weight depends. Raises ModelError where it is not known."""
    channels = input_shape[axis]
    if channels is None:
        raise ModelError(
            describe(
                "input",
                f"a known size of axis {axis % len(input_shape)}",
                f"shape {input_shape}",
                "Give the Input this size",
            )
        )
    return channels

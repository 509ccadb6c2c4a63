"""What layers with a kernel and a bias share."""

from __future__ import annotations

from typing import Any

from kcompile.ir.tensor import Tensor
from kcompile.keras import activations, constraints, initializers, regularizers
from kcompile.keras.engine import Layer


class KernelLayer(Layer):
    """activation(product with a kernel + bias). `build` calls `add_kernel`, `call` calls `finish`."""

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
        with self.named_errors():
            self.activation = activations.get(activation, self.semantics)
            self.use_bias = self.flag("use_bias", use_bias)
            self.kernel_initializer = initializers.get(kernel_initializer)
            self.bias_initializer = initializers.get(bias_initializer)
            self.kernel_regularizer = regularizers.get(kernel_regularizer)
            self.bias_regularizer = regularizers.get(bias_regularizer)
            self.kernel_constraint = constraints.get(kernel_constraint)
            self.bias_constraint = constraints.get(bias_constraint)

    def add_kernel(self, shape: tuple[int, ...]) -> None:
        """Create `kernel`, and `bias` for its last axis."""
        self.kernel = self.add_weight(
            "kernel",
            shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                "bias",
                shape[-1:],
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def add_bias(self, x: Tensor) -> Tensor:
        """x [..., units] with the bias added, if there is one."""
        return x if self.bias is None else x + self.bias

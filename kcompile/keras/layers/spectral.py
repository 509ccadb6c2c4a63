"""A layer whose kernel is divided by its largest singular value in each step of training."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel
from kcompile.keras.engine import InputSpec, Variable
from kcompile.keras.initializers import TruncatedNormal
from kcompile.keras.layers.wrappers import Wrapper
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, describe

__all__ = ["SpectralNormalization"]


class SpectralNormalization(Wrapper):
    """`layer` with its kernel (or embeddings) over an estimate of their largest singular value, in training
    (Miyato et al. 2018); in prediction the layer as it is.

    power_iterations: how often the estimate, which goes on from step to step, is made better. The kernel of a
    step is the quotient, through which gradients go to the weights, as Keras 3 on JAX has it. tf.keras
    assigns the quotient to the weights before gradients are taken, and all do it to weights that are not
    trained.
    """

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.power_iterations = self.positive("power_iterations", power_iterations)

    def build(self, input_shape: Any) -> None:
        shape = tuple(input_shape)
        self.layer.build_for(shape)
        kernel = next(
            (getattr(self.layer, k) for k in ("kernel", "embeddings") if hasattr(self.layer, k)), None
        )
        if not isinstance(kernel, Variable):
            raise ModelError(describe("layer", "a layer with a kernel or embeddings", self.layer.label))
        self.kernel = kernel
        self.vector_u = self.add_weight(
            "vector_u", (1, kernel.shape[-1]), kernel.dtype, TruncatedNormal(stddev=0.02), trainable=False
        )
        self.input_spec = InputSpec(min_ndim=1, axes={-1: shape[-1]})

    @property
    def repeated(self) -> list[Variable]:
        """The weights of the layer inside that Keras 3 counts among its own."""
        return [self.kernel] if self.built else []

    @property
    def weights(self) -> list[Variable]:
        """In Keras 3 the kernel, the vector, and what else the layer has."""
        found = super().weights
        if self.semantics.trained_weights != "own flag" or not self.built:
            return found
        first = [self.kernel, self.vector_u]
        return [*first, *(v for v in found if all(v is not one for one in first))]

    def call(self, x: Tensor, training: bool | None = None) -> Any:
        trace = trace_of(x)
        if not trace.training:
            return self._inside(x)
        kernel = trace.read(self.kernel)
        normalized = self._normalized(kernel)
        around = trace.frozen and self.semantics.trained_weights == "all flags"
        if around or not self.layer.trainable or self.semantics.spectral_kernel == "assigned":
            trace.update(self.kernel, ops.stop_gradient(normalized))
            trace.assigned.add(self.kernel)
            return self._inside(x)
        name, updates = trace.names[self.kernel], trace.graph.updates
        known = {name: updates[name]} if name in updates else {}
        trace.update(self.kernel, normalized)  # of this call alone
        y = self._inside(x)
        del updates[name]
        updates.update(known)
        return y

    def _inside(self, x: Tensor) -> Any:
        outputs = self.layer.trace([x], True, {})
        return outputs[0] if len(outputs) == 1 else outputs

    def _normalized(self, kernel: Tensor) -> Tensor:
        """The kernel of this step, and the next vector of the estimate. A kernel of zeros stays as it is."""
        trace = trace_of(kernel)
        matrix = ops.reshape(kernel, (numel(kernel.shape[:-1]), kernel.shape[-1]))
        fixed, u = ops.stop_gradient(matrix), trace.read(self.vector_u)
        start = u
        for _ in range(self.power_iterations):
            v = _unit(ops.matmul(u, fixed, transpose_b=True))
            u = _unit(ops.matmul(v, fixed))
        sigma = ops.matmul(ops.matmul(v, matrix), u, transpose_b=True)
        zero = ops.equal(ops.reduce_max(ops.abs(fixed)), 0.0)
        trace.update(self.vector_u, ops.select(zero, start, u))
        divisor = ops.select(zero, ops.ones_like(ops.reshape(sigma, ())), ops.reshape(sigma, ()))
        return kernel / divisor


def _unit(x: Tensor) -> Tensor:
    return x * ops.rsqrt(ops.maximum(ops.reduce_sum(ops.square(x)), 1e-24))

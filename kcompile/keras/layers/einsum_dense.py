"""A dense layer along any axes, which an equation names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import InputSpec, KerasShape, is_integer
from kcompile.keras.initializers import VarianceScaling
from kcompile.keras.layers.kernel import known_channels
from kcompile.keras.layers.low_rank import _LowRank
from kcompile.keras.operands import sizes
from kcompile.keras.utils.serialization import serialize
from kcompile_runtime.errors import ModelError, describe

__all__ = ["EinsumDense"]

_FORM = re.compile(r"(\.{3})?([a-zA-Z]+)(\.{3})?,([a-zA-Z]+)->(\.{3})?([a-zA-Z]+)(\.{3})?")


class EinsumDense(_LowRank):
    """activation(einsum(equation, x, kernel) + bias).

    equation: "ab,bc->ac", also with `...` before or behind the letters of x and of the result. output_shape:
    of a result without the batch (and without what `...` stands for); None for sizes that are x's. bias_axes:
    the letters of the result along which there is a bias of its own.
    """

    kernel_initializer: Any

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
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
        self._penalty = self.activity_regularizer
        if not self.semantics.projections_penalised:
            self.activity_regularizer = None
        self.equation, self.bias_axes = equation, bias_axes
        found = _FORM.fullmatch(equation.replace(" ", "")) if isinstance(equation, str) else None
        if found is None or (found[1], found[3]) != (found[5], found[7]) or (found[1] and found[3]):
            raise ModelError(
                describe(
                    f"{self.label}: equation",
                    '"x,kernel->result" in letters, as "ab,bc->ac", "...a,ab->...b" or "ab...,bc->ac..."',
                    repr(equation),
                )
            )
        self._left, self._right = bool(found[1]), bool(found[3])
        self._letters = found[2], found[4], found[6]
        given = sizes(output_shape)
        self.partial_output_shape = list(given) if isinstance(given, (list, tuple)) else [given]
        if not all(d is None or (is_integer(d) and d > 0) for d in self.partial_output_shape):
            raise ModelError(
                describe(f"{self.label}: output_shape", "positive sizes or None", repr(output_shape))
            )
        if bias_axes is not None and not (
            isinstance(bias_axes, str) and bias_axes and set(bias_axes) <= set(found[6])
        ):
            raise ModelError(
                describe(f"{self.label}: bias_axes", f"some of the letters {found[6]!r}", repr(bias_axes))
            )
        self.choose(
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

    def get_config(self) -> dict[str, Any]:
        penalty = {} if self._penalty is None else {"activity_regularizer": serialize(self._penalty)}
        return {**super().get_config(), **penalty, "output_shape": self.partial_output_shape}

    def build(self, input_shape: KerasShape) -> None:
        x, kernel, result = self._letters
        elided = len(input_shape) - len(x)
        if elided < 0 or (elided and not (self._left or self._right)) or (self._left and not elided):
            raise ModelError(describe("input", f"the axes of {self.equation!r}", f"shape {input_shape}"))
        before = elided if self._left else 0
        places = {name: before + i for i, name in enumerate(x)}
        known = self._known(input_shape, places, before)
        shape, outward = [], []
        for name in kernel:
            if name not in places and name not in known:
                raise ModelError(f"equation: {name!r} of the kernel is no axis of the input or the result")
            size = known.get(name)
            shape.append(known_channels(input_shape, places[name]) if size is None else size)
            outward.append(name in result)
        self.kernel = self.add("kernel", shape, self._by_fans(shape, outward))
        self.bias = None
        if self.bias_axes is not None:
            first = min(map(result.index, self.bias_axes))
            bias = [known[name] if name in self.bias_axes else 1 for name in result[first:]]
            self.bias = self.add("bias", [*bias, *(1 for _ in range(elided if self._right else 0))])
        self.add_adapters()
        self.input_spec = InputSpec(ndim=len(input_shape))

    def _known(self, input_shape: KerasShape, places: dict[str, int], before: int) -> dict[str, Any]:
        """The size of each letter of the result, where it is known. Raises ModelError where it is another
        than the input's."""
        result = self._letters[2]
        full = [*input_shape[: max(before, 1)], *self.partial_output_shape]
        if len(full) - before != len(result):
            raise ModelError(
                describe(
                    "output_shape", f"sizes of {result!r}, without the batch", str(self.partial_output_shape)
                )
            )
        known = dict(zip(result, full[before:]))
        for name, size in known.items():
            if name in places:
                given = input_shape[places[name]]
                if size is not None and given is not None and size != given:
                    raise ModelError(
                        describe("output_shape", f"{given} for {name!r}, as the input", str(size))
                    )
                known[name] = given if size is None else size
        return known

    def _by_fans(self, shape: Sequence[int], outward: Sequence[bool]) -> Any:
        """The initializer, of a kernel whose axes are summed over or are axes of the result: one that scales
        counts those."""
        chosen = self.kernel_initializer
        if not isinstance(chosen, VarianceScaling) or self.semantics.einsum_fans == "of the shape":
            return chosen
        order = sorted(range(len(shape)), key=lambda i: outward[i])
        summed = [shape[i] for i in order if not outward[i]]
        made = [shape[i] for i in order if outward[i]]

        def fill(_: Any) -> np.ndarray:
            matrix = np.asarray(chosen((int(np.prod(summed)), int(np.prod(made)))))
            return matrix.reshape(summed + made).transpose(np.argsort(order))

        return fill

    def call(self, x: Tensor) -> Tensor:
        y = ops.einsum(self.equation, x, self.kernel_in(x.graph))
        return self.activation(y if self.bias is None else y + self.bias)

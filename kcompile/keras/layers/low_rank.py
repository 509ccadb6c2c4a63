"""Adapters of low rank: what of a trained kernel goes on training is a product of two small matrices.

Enters: the rank, and a layer with its kernel. Leaves: W + alpha / rank * A B in the place of the kernel W,
which stays as it is (Hu et al. 2021, arXiv 2106.09685; `enable_lora` of Keras 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel
from kcompile.keras import initializers
from kcompile.keras.engine import Variable
from kcompile.keras.layers.kernel import Weighted
from kcompile.keras.topology import tell_models
from kcompile_runtime.errors import KeywordError, ModelError, NotBuiltError, UnsupportedError


class _LowRank(Weighted):
    """A layer whose kernel [..., inputs, outputs] may be adapted.

    lora_rank: of the adapters, which it has from the beginning; or `enable_lora` adds them later. lora_alpha:
    the share of their product, over the rank; by default the rank. Archives hold the sum in the place of the
    kernel, as those of Keras 3 do, and adapters that are read from one are zeros; `.h5` holds all three.
    """

    adapted = "kernel"  # which of its weights
    alpha_is_of_calls = False  # whether Keras takes a lora_alpha from enable_lora alone: core/dense.py, build

    def __init__(
        self, *args: Any, lora_rank: int | None = None, lora_alpha: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if lora_rank is not None and not self._takes_adapters:
            raise KeywordError(f"{self.label}: unknown keyword: lora_rank, which Keras has since Keras 3")
        self.lora_rank = None if lora_rank is None else self.positive("lora_rank", lora_rank)
        self.lora_alpha = self.lora_rank if lora_alpha is None else self.number("lora_alpha", lora_alpha)
        self.adapters: tuple[Variable, ...] = ()

    @property
    def _takes_adapters(self) -> bool:
        return self.semantics.trained_weights == "own flag"  # of variables, as that of the kernel is set

    @property
    def lora_enabled(self) -> bool:
        """Whether it has adapters."""
        return bool(self.adapters)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.lora_rank is None:
            del config["lora_rank"], config["lora_alpha"]
        return config

    def add_adapters(self) -> None:
        """Those of the constructor's rank, at the end of `build`."""
        if self.lora_rank is not None:
            self._adapt(self.lora_rank, None if self.alpha_is_of_calls else self.lora_alpha)

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Let adapters [..., inputs, rank] and [rank, outputs] train instead of the kernel. A model that
        holds the layer is to be compiled anew. Raises NotBuiltError for a layer without weights, and
        ModelError for one that has adapters, or a constraint."""
        if not self._takes_adapters:
            raise UnsupportedError(f"{self.label}: enable_lora: Keras has it since Keras 3")
        if not self.built:
            raise NotBuiltError(f"{self.label}: enable_lora: the layer has no weights yet. Call it first")
        self._adapt(self.positive("rank", rank), lora_alpha, a_initializer, b_initializer)
        tell_models(self)

    def _adapt(self, rank: int, alpha: float | None, a: Any = "he_uniform", b: Any = "zeros") -> None:
        if self.adapters:
            raise ModelError(f"{self.label}: enable_lora: it has adapters. A layer takes them once")
        name, kernel = self.adapted, self._adapted()
        if getattr(self, f"{name}_constraint") is not None:
            raise ModelError(
                f"{self.label}: enable_lora: {name} has a constraint, which adapters would not keep. Leave "
                f"{name}_constraint out"
            )
        shapes = (*kernel.shape[:-1], rank), (rank, kernel.shape[-1])
        self.adapters = tuple(
            self.add_weight(
                f"lora_{name}_{letter}",
                shape,
                "float32",
                initializers.get(fill),
                regularizer=getattr(self, f"{name}_regularizer"),
            )
            for letter, shape, fill in zip("ab", shapes, (a, b))
        )
        for letter, adapter in zip("ab", self.adapters):
            setattr(self, f"lora_{name}_{letter}", adapter)
        kernel.trainable = False
        self.lora_rank, self.lora_alpha = rank, rank if alpha is None else self.number("lora_alpha", alpha)

    def _adapted(self) -> Variable:
        found: Variable = getattr(self, self.adapted)
        return found

    @property
    def share(self) -> float:
        """What the adapters' product is multiplied by."""
        assert self.lora_alpha is not None and self.lora_rank is not None
        return self.lora_alpha / self.lora_rank

    def kernel_in(self, graph: Graph) -> Tensor:
        """The kernel, with what the adapters add."""
        kernel = self._adapted().__tensor__(graph)
        return self.plus_adapters(kernel, self.adapters[0].__tensor__(graph)) if self.adapters else kernel

    def plus_adapters(self, kernel: Tensor, rows: Tensor) -> Tensor:
        """The kernel, or some of it, and the product of as much of the first adapter with the second."""
        flat = ops.reshape(rows, (numel(rows.shape[:-1]), rows.shape[-1]))
        added = ops.reshape(ops.matmul(flat, self.adapters[1].__tensor__(rows.graph)), kernel.shape)
        return kernel + ops.cast(added * self.share, kernel.dtype)

    def merged(self) -> np.ndarray:
        """The sum of a kernel that is adapted, as an array in its dtype."""
        kernel, a, b = (v.array for v in (self._adapted(), *self.adapters))
        return (kernel + self.share * (a @ b)).astype(kernel.dtype)

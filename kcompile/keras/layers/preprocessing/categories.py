"""CategoryEncoding and Discretization: numbers of categories as vectors, and numbers as those of bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.editions import edition
from kcompile.keras.layers.preprocessing.data import as_plain_array, batches
from kcompile.keras.layers.preprocessing.encoding import Encoding, place_in, whole
from kcompile_runtime.checks import finite
from kcompile_runtime.errors import InputError, ModelError, describe

__all__ = ["CategoryEncoding", "Discretization"]


class CategoryEncoding(Encoding):
    """Numbers from 0 to num_tokens - 1 as "one_hot", "multi_hot" or "count" (see `Encoding`).

    A call takes count_weights, numbers of the input's shape, for "count". A number that is out of range is an
    error of the run in tf.keras, and in no category in Keras 3.
    """

    modes = ("multi_hot", "one_hot", "count")

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_tokens = self.positive("num_tokens", num_tokens)
        self.output_mode = self.mode(output_mode)
        self.sparse = self.dense(sparse)

    def __call__(self, inputs: Any, count_weights: Any = None, **arguments: Any) -> Any:
        if count_weights is None:
            return super().__call__(inputs, **arguments)
        if self.output_mode != "count":
            raise ModelError(f"{self.label}: count_weights are for output_mode='count'")
        both = [as_plain_array(x) for x in (inputs, count_weights)]
        return super().__call__(both, **arguments)

    def call(self, inputs: Any) -> Tensor:
        x, *rest = inputs if isinstance(inputs, list) else [inputs]
        if rest and tuple(rest[0].shape) != tuple(x.shape):
            raise ModelError(describe("count_weights", f"shape {x.shape}", f"shape {rest[0].shape}"))
        places = whole(x)
        if self.semantics.categories_out_of_range == "an error":
            places = ops.checked_places(ops.cast(places, "int32"), self.num_tokens)
        return self.encoded(places, self.output_mode, self.num_tokens, rest[0] if rest else None)


class Discretization(Encoding):
    """The number of the bin that a number falls in: how many boundaries are not above it.

    bin_boundaries: given; or num_bins, of as many numbers each, which `adapt` finds, up to epsilon. See
    `Encoding` for output_mode.
    """

    modes = ("int", "one_hot", "multi_hot", "count")

    @property
    def whole(self) -> str:  # type: ignore[override]
        """The type of the numbers of bins: in tf.keras, and in Keras 3."""
        return "int32" if edition(self.vintage).operations else "int64"

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = None if num_bins is None else self.positive("num_bins", num_bins)
        self.epsilon = self.number("epsilon", epsilon, 1e-9, 1.0)
        self.output_mode = self.mode(output_mode)
        self.sparse = self.dense(sparse)
        if self.num_bins is None and bin_boundaries is None:
            raise ModelError(describe(self.label, "bin_boundaries or num_bins", "neither"))
        self.bin_boundaries = None if bin_boundaries is None else self._checked(bin_boundaries)

    def _checked(self, given: Any) -> list[float]:
        listed = given.ravel().tolist() if isinstance(given, np.ndarray) else given
        numbers = [finite(v) for v in listed] if isinstance(listed, (list, tuple)) else [None]
        known = [n for n in numbers if n is not None]
        if len(known) != len(numbers) or not known or sorted(known) != known:
            raise ModelError(describe(f"{self.label}: bin_boundaries", "numbers in order", repr(given)))
        return known

    def call(self, x: Tensor) -> Tensor:
        if self.bin_boundaries is None:
            raise ModelError("the boundaries of its bins are not known: give bin_boundaries, or call adapt")
        x = self.floats(x)
        found = place_in(x, np.asarray(self.bin_boundaries))
        count = len(self.bin_boundaries)
        odd = ops.broadcast_to(ops.constant(x.graph, count, "int32"), x.shape)
        return self.encoded(ops.select(ops.not_equal(x, x), odd, found), self.output_mode, count + 1)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Find the boundaries of num_bins bins, each with as many of the data's numbers as the others, up to
        epsilon. batch_size, steps: those of tf.keras, how much of the data counts."""
        if self.num_bins is None:
            raise InputError(f"{self.label}: adapt: bin_boundaries were given. Give num_bins to find them")
        summary = np.zeros((2, 0), np.float32)
        cut = self.semantics.quantiles == "first"
        for batch in batches(data, f"{self.label}: adapt", batch_size, steps, cut):
            new = self._summarized(np.asarray(batch, np.float32))
            both = np.concatenate([new, summary], 1)
            summary = _compressed(both[:, np.argsort(both[0], kind="stable")], self.epsilon)
        self.bin_boundaries = boundaries(summary, self.num_bins)

    def _summarized(self, values: np.ndarray) -> np.ndarray:
        """Some of the values, in order, and for how many each stands: [2, about 1 / epsilon]."""
        ordered = np.sort(values.ravel())
        share = len(ordered) * self.epsilon
        if self.semantics.quantiles == "last":
            step = max(share, 1.0)
            kept = ordered[int(step - 1) :: int(step)]
        else:
            step = float(max(int(share), 1))
            kept = ordered[int(share) :: int(step)]
        return np.stack([kept, np.full_like(kept, step)])


def boundaries(summary: np.ndarray, bins: int) -> list[float]:
    """The boundaries of bins, each with as many of the numbers as the others, of a summary [2, n]: some of
    the numbers, in order, and for how many each stands."""
    found: list[float] = _compressed(summary, 1.0 / bins)[0, :-1].tolist()
    return found


def _compressed(summary: np.ndarray, epsilon: float) -> np.ndarray:
    """A summary by quantiles that are epsilon apart."""
    if summary.shape[1] * epsilon < 1:
        return summary
    wanted = epsilon + np.arange(0.0, 1.0, epsilon)
    sums = summary[1].cumsum()
    share = sums / sums[-1]
    values, below = np.interp(wanted, share, summary[0]), np.interp(wanted, share, sums)
    return np.stack([values, np.diff(below, prepend=0.0)]).astype(np.float32)

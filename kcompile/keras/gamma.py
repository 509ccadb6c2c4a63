"""Numbers of the gamma and beta distributions, of uniform and normal ones.

Enters: functions that draw tensors of a shape. Leaves: tensors. Source: Marsaglia and Tsang, "A simple method
for generating gamma variables", 2000. A number is tried `TRIES` times, each of which is accepted with a
probability above 0.95; the last is taken in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim

TRIES = 8
SMALLEST = 1e-30  # for logarithms of uniform numbers
Draw = Callable[[Sequence[Dim]], Tensor]


def log_gamma(uniform: Draw, normal: Draw, shape: Sequence[Dim], alpha: Any) -> Tensor:
    """The logarithms of numbers of the gamma distribution with this alpha, a number or a tensor that
    broadcasts to the shape."""
    high = alpha + 1.0  # of which they are, times u^(1 / alpha)
    d = high - 1.0 / 3.0
    c = 1.0 / (ops.sqrt(d) * 3.0 if isinstance(d, Tensor) else 3.0 * d**0.5)
    log_d = ops.log(d) if isinstance(d, Tensor) else None
    found: Tensor | None = None
    accepted: Tensor | None = None
    for _ in range(TRIES):
        z, u = normal(shape), uniform(shape)
        root = z * c + 1.0
        positive = root > 0.0
        v = ops.select(positive, root, ops.ones_like(root))
        log_v = ops.log(v) * 3.0
        fits = ops.log(ops.maximum(u, SMALLEST)) < ops.square(z) * 0.5 + d - v * v * v * d + log_v * d
        fits = ops.logical_and(fits, positive)
        found = log_v if found is None or accepted is None else ops.select(accepted, found, log_v)
        accepted = fits if accepted is None else ops.logical_or(accepted, fits)
    assert found is not None
    if log_d is None:
        log_d = ops.log(ops.constant(found.graph, d, found.dtype))
    return found + log_d + ops.log(ops.maximum(uniform(shape), SMALLEST)) / alpha


def beta(uniform: Draw, normal: Draw, shape: Sequence[Dim], alpha: Any, other: Any) -> Tensor:
    """Numbers of the beta distribution."""
    first, second = (log_gamma(uniform, normal, shape, a) for a in (alpha, other))
    return ops.sigmoid(first - second)


def dirichlet(uniform: Draw, normal: Draw, count: int, alpha: float) -> Tensor:
    """Shares that sum to 1, of the Dirichlet distribution with one alpha: [count]."""
    return ops.softmax(log_gamma(uniform, normal, (count,), alpha), -1)

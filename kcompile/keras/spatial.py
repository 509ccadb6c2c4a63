"""What functions over spatial axes share: where channels stand, and what padding means.

Enters: tensors in a data format, names of paddings. Leaves: tensors with channels last, as the ops take them,
and zeros before and after each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor


def channels_to_last(x: Tensor, data_format: str) -> Tensor:
    """[batch, channels, ...] as [batch, ..., channels] for channels_first."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, *range(2, x.rank), 1))


def channels_back(x: Tensor, data_format: str) -> Tensor:
    """The inverse of `channels_to_last`."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)))


def pads(
    padding: str,
    sizes: Sequence[Any],
    windows: Sequence[Any],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> tuple[tuple[int, int], ...]:
    """The padding of each axis, before and behind. "causal", of one axis: so that a window ends at its own
    place. Raises ValueError for an unknown name."""
    dilation = (1,) * len(windows) if dilation is None else dilation
    if padding == "same":
        return tuple(ops.same_padding(*args) for args in zip(sizes, windows, strides, dilation))
    if padding == "causal" and len(windows) == 1:
        return ((dilation[0] * (windows[0] - 1), 0),)
    if padding != "valid":
        raise ValueError(f"expected padding 'valid' or 'same'. Received: {padding!r}")
    return ((0, 0),) * len(windows)

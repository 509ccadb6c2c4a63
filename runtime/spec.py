"""What a model's inputs and outputs look like: name, shape in terms of the batch, dtype.

A dim is an int, or a text like "n" or "3n": the batch, or a multiple of it. None is any size, for
specs that data are checked against; a program's have none of these. Enters: such shapes.
Leaves: concrete shapes for a batch, and the batch that a concrete shape belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from kcompile_runtime.layout import ELEMENTS

Dim = Union[int, str, None]

ANY = -1  # in place of a fixed size

DTYPES = {name: np.dtype(name) for name in ELEMENTS}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    name: of the input or output. shape: dims, each an int, "n", "2n", ... or None. dtype: numpy's name of it.
    Raises ValueError for a dim or dtype of another form.
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"
    _dims: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "_dims", tuple(_parse(d) for d in self.shape))
        if self.dtype not in DTYPES:
            raise ValueError(
                f"{self.name}: unknown dtype. Expected one of {', '.join(DTYPES)}. Received: {self.dtype!r}"
            )

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The dtype, as numpy's object."""
        return DTYPES[self.dtype]

    @property
    def rows(self) -> int:
        """How many rows of the first axis belong to one sample; 0 when the batch is not the first
        axis, so that slices are not smaller batches."""
        return self._dims[0][1] if self._dims else 0

    @property
    def leading(self) -> bool:
        """Whether there is a first axis, and the batch, if anywhere, is in that one alone."""
        return bool(self._dims) and not any(per_sample for _, per_sample in self._dims[1:])

    def bind(self, n: int) -> tuple[int, ...]:
        """The shape for a batch of n samples, where no size is None (see `fitted`)."""
        return tuple([fixed + n * per_sample for fixed, per_sample in self._dims])

    def nbytes(self, n: int) -> int:
        """Bytes of the array for a batch of n samples, where no size is None."""
        size = self.numpy_dtype.itemsize
        for d in self.bind(n):
            size *= d
        return size

    def samples(self, shape: Sequence[int]) -> int | None:
        """The batch for which this spec has the given shape: -1 when it fits every batch, None when
        it fits none."""
        if len(shape) != len(self._dims):
            return None
        n = -1
        for size, (fixed, per_sample) in zip(shape, self._dims):
            if per_sample:
                here, rest = divmod(size, per_sample)
                if rest or n not in (-1, here):
                    return None
                n = here
            elif size != fixed and fixed != ANY:
                return None
        return n

    def fitted(self, shape: Sequence[int]) -> TensorSpec:
        """This spec with the sizes of an array's shape where it has None."""
        if None not in self.shape:
            return self
        dims = tuple(size if d is None else d for d, size in zip(self.shape, shape))
        return TensorSpec(self.name, dims, self.dtype)

    def __str__(self) -> str:
        comma = "," if len(self.shape) == 1 else ""
        return f"{self.dtype} of shape ({', '.join(map(str, self.shape))}{comma})"


def _parse(dim: Dim) -> tuple[int, int]:
    """A dim as (fixed, per sample)."""
    if isinstance(dim, int) and not isinstance(dim, bool) and dim >= 0:
        return dim, 0
    if dim is None:
        return ANY, 0
    if isinstance(dim, str) and dim.endswith("n") and (dim == "n" or dim[:-1].isdecimal()):
        multiple = int(dim[:-1] or 1)
        if multiple > 0:
            return 0, multiple
    raise ValueError(f"a dim is an int, or the batch as 'n', '2n', ... Received: {dim!r}")


def specs_of(items: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """The specs of inputs or outputs as metadata have them."""
    return tuple(TensorSpec(i["name"], tuple(i["shape"]), i["dtype"]) for i in items)

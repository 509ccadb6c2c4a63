"""What stands for keys of JAX's random numbers, which are no numbers here: see `draws`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor


@dataclass(frozen=True)
class Key:
    """path: how the key was derived. value: JAX's key, where that is known."""

    path: tuple[Any, ...]
    value: Any = None


@dataclass(frozen=True)
class State:
    """The state of a seed generator after so many draws."""

    path: tuple[Any, ...]
    draws: int = 0


@dataclass(frozen=True)
class Bits:
    """Random bits as uniform numbers in [0, 1), on their way to become floats: `stage` of the three steps are
    done that JAX takes."""

    uniform: Tensor
    stage: int = 0


def boxed(value: Any) -> Any:
    """What is no number as an array of one, so that it moves as arrays do."""
    array = np.empty((), object)
    array[()] = value
    return array


def known_key(value: Any) -> Any:
    return boxed(Key(("known", str(value)), value))

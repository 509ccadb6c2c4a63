"""The primitives of JAX that are supported: what registers their rules, and their names."""

from __future__ import annotations

from kcompile.jaxpr import complex_numbers as complex_numbers
from kcompile.jaxpr import contraction as contraction
from kcompile.jaxpr import control as control
from kcompile.jaxpr import draws as draws
from kcompile.jaxpr import elementwise as elementwise
from kcompile.jaxpr import indexing as indexing
from kcompile.jaxpr import linalg as linalg
from kcompile.jaxpr import movement as movement
from kcompile.jaxpr import windows as windows
from kcompile.jaxpr.replay import COMPLEX, OPAQUE, RULES, Replay

__all__ = ["Replay", "supported"]


def supported() -> list[str]:
    """Names of all primitives with a rule."""
    return sorted({*RULES, *OPAQUE, *COMPLEX})

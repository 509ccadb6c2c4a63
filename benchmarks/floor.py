"""What the machine can do at most (`kcompile.machine`), and what several threads can do just now."""

from __future__ import annotations

from kcompile.machine import fma_peak

__all__ = ["fma_peak", "scaling"]


def scaling(threads: int) -> float:
    """How many times the arithmetic of one thread so many threads do just now. Two processors of a
    virtual machine may be one core: then it is 1."""
    return fma_peak(threads, 0.02, 3) / fma_peak(1, 0.02, 3)

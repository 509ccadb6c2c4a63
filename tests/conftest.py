"""What all tests share: a private cache for compiled code, and fixed seeds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# Set before anything of ours is imported, and inherited by the processes that tests start. Tests
# must neither use the code that an earlier version left in the user's cache nor fill it.
_cache = tempfile.TemporaryDirectory(prefix="kcompile-tests-")
os.environ["XDG_CACHE_HOME"] = _cache.name
os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", f"{_cache.name}/zig")  # of the first process, for all of a run
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # Keras is a reference here, and compiles sooner
# What one process of a run compiles for Keras, the others need not
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{_cache.name}/jax")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("KC_VERIFY", "1")  # every graph is verified after every pass

# The first example compiles code, so a deadline for each example would be a timed test.
settings.register_profile("kcompile", deadline=None, derandomize=True)
settings.load_profile("kcompile")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Models draw their seeds from numpy's global generator: the same in every run and order."""
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """Classes that a test registers are known in that test alone."""
    from kcompile.keras.utils import serialization

    known = serialization.get_custom_objects()
    before = dict(known)
    yield
    known.clear()
    known.update(before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT

"""Keras 2.2.4 and 2.3.1 on the TensorFlow of today, to execute what they do.

No wheel of theirs is installed: unpack keras==2.2.4 or 2.3.1 (pip download --no-deps), Keras-Applications and
Keras-Preprocessing into a folder. `load(folder)` changes its process for good, which should do nothing else.
"""

from __future__ import annotations

import collections
import collections.abc
import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def folder_of(version: str) -> str:
    """The folder of an unpacked Keras 2 of this version, of those in KERAS2. Skips the test where there is
    none."""
    import pytest

    for folder in filter(None, os.environ.get("KERAS2", "").split(os.pathsep)):
        if f'__version__ = "{version}"' in (Path(folder) / "keras/__init__.py").read_text().replace("'", '"'):
            return folder
    pytest.skip(f"KERAS2 names no folder of Keras {version}")


def load(folder: str) -> Any:
    """The package keras of the folder, with what its time's Python, numpy and TensorFlow had."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    sys.path.insert(0, folder)
    _restore_python()
    _restore_h5py()
    sys.modules["tensorflow"] = _tensorflow()
    for name in [n for n in sys.modules if n.partition(".")[0] == "keras"]:
        del sys.modules[name]
    return importlib.import_module("keras")


def _restore_python() -> None:
    for name in ("Callable", "Iterable", "Mapping", "MutableMapping", "Sequence"):
        setattr(collections, name, getattr(collections.abc, name))
    for kind in (bool, int, float, object, str):
        if not hasattr(np, kind.__name__):
            setattr(np, kind.__name__, kind)
    if not hasattr(np, "string_"):
        np.string_ = np.bytes_  # type: ignore[attr-defined]
    found = collections.namedtuple("found", "args varargs keywords defaults")

    def getargspec(function: Any) -> Any:
        s = inspect.getfullargspec(function)
        return found(s.args, s.varargs, s.varkw, s.defaults)

    inspect.getargspec = getargspec  # type: ignore[attr-defined]


def _restore_h5py() -> None:
    """Texts in attributes were bytes, which Keras 2 decodes."""
    from h5py import AttributeManager

    read = AttributeManager.__getitem__

    def getitem(self: Any, name: str) -> Any:
        value = read(self, name)
        return value.encode() if isinstance(value, str) else value

    AttributeManager.__getitem__ = getitem


def _tensorflow() -> Any:
    """TensorFlow 1's interface, with the names inside that Keras 2 reaches for."""
    import tensorflow
    from tensorflow.python.framework import ops
    from tensorflow.python.ops import cond, control_flow_ops, while_loop

    if not hasattr(ops, "_TensorLike"):
        ops._TensorLike = type("_TensorLike", (), {})
    control_flow_ops.while_loop, control_flow_ops.cond = while_loop.while_loop, cond.cond
    old = tensorflow.compat.v1
    old.disable_v2_behavior()
    old.enable_resource_variables()  # numbers that do not race
    old.__version__ = "1.13.1"
    return old

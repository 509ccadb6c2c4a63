"""The runtime of kcompile: compiled models on numpy arrays. Needs numpy alone.

import kcompile_runtime as rt
model = rt.load("model.so")
y = model.predict(x)
"""

from __future__ import annotations

from kcompile_runtime.artifact import Artifact, load
from kcompile_runtime.contents import Contents, read_contents
from kcompile_runtime.errors import (
    ArtifactError,
    DeviceError,
    InputError,
    InputTypeError,
    KcompileError,
    NativeError,
)
from kcompile_runtime.program import EntrySpec, Prepared, Program
from kcompile_runtime.spec import TensorSpec
from kcompile_runtime.threads import default_threads

__all__ = [
    "Artifact",
    "ArtifactError",
    "Contents",
    "DeviceError",
    "EntrySpec",
    "InputError",
    "InputTypeError",
    "KcompileError",
    "NativeError",
    "Prepared",
    "Program",
    "TensorSpec",
    "default_threads",
    "load",
    "read_contents",
]

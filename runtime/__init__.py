"""The runtime of kcompile: compiled models on numpy arrays. Needs numpy alone.

import kcompile_runtime as rt
model = rt.load("model.so")
y = model.predict(x)

What is heavy, numpy too, is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kcompile_runtime.version import __version__

if TYPE_CHECKING:
    from kcompile_runtime.artifact import Artifact as Artifact
    from kcompile_runtime.contents import Contents as Contents
    from kcompile_runtime.contents import read_contents as read_contents
    from kcompile_runtime.errors import ArtifactError as ArtifactError
    from kcompile_runtime.errors import DeviceError as DeviceError
    from kcompile_runtime.errors import InputError as InputError
    from kcompile_runtime.errors import InputTypeError as InputTypeError
    from kcompile_runtime.errors import KcompileError as KcompileError
    from kcompile_runtime.errors import NativeError as NativeError
    from kcompile_runtime.errors import WorkerError as WorkerError
    from kcompile_runtime.loading import load as load
    from kcompile_runtime.pools import in_processes as in_processes
    from kcompile_runtime.predicting import Predictor as Predictor
    from kcompile_runtime.predicting import predictor as predictor
    from kcompile_runtime.program import EntrySpec as EntrySpec
    from kcompile_runtime.program import Prepared as Prepared
    from kcompile_runtime.program import Program as Program
    from kcompile_runtime.spec import TensorSpec as TensorSpec
    from kcompile_runtime.streams import Stream as Stream
    from kcompile_runtime.tables import read_parquet as read_parquet
    from kcompile_runtime.tables import write_parquet as write_parquet
    from kcompile_runtime.threads import default_threads as default_threads
    from kcompile_runtime.trainer import Trainer as Trainer

_HOMES = {
    "Artifact": "kcompile_runtime.artifact",
    "ArtifactError": "kcompile_runtime.errors",
    "Contents": "kcompile_runtime.contents",
    "DeviceError": "kcompile_runtime.errors",
    "EntrySpec": "kcompile_runtime.program",
    "InputError": "kcompile_runtime.errors",
    "InputTypeError": "kcompile_runtime.errors",
    "KcompileError": "kcompile_runtime.errors",
    "NativeError": "kcompile_runtime.errors",
    "Predictor": "kcompile_runtime.predicting",
    "Prepared": "kcompile_runtime.program",
    "Program": "kcompile_runtime.program",
    "Stream": "kcompile_runtime.streams",
    "TensorSpec": "kcompile_runtime.spec",
    "Trainer": "kcompile_runtime.trainer",
    "WorkerError": "kcompile_runtime.errors",
    "default_threads": "kcompile_runtime.threads",
    "in_processes": "kcompile_runtime.pools",
    "load": "kcompile_runtime.loading",
    "predictor": "kcompile_runtime.predicting",
    "read_contents": "kcompile_runtime.contents",
    "read_parquet": "kcompile_runtime.tables",
    "write_parquet": "kcompile_runtime.tables",
}

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
    "Predictor",
    "Prepared",
    "Program",
    "Stream",
    "TensorSpec",
    "Trainer",
    "WorkerError",
    "__version__",
    "default_threads",
    "in_processes",
    "load",
    "predictor",
    "read_contents",
    "read_parquet",
    "write_parquet",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'kcompile_runtime' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found

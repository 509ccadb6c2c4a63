"""kcompile: an ahead-of-time graph compiler for Keras models.

    import kcompile
    from kcompile import keras
    cm = kcompile.compile(model)

What is heavy is imported when it is first used.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

try:
    import kcompile_runtime
except ModuleNotFoundError:  # a wheel has it in itself; its .pth counts in site-packages alone
    sys.path.append(os.path.join(os.path.dirname(__file__), "_bundled"))
    import kcompile_runtime

from kcompile.version import __version__

if kcompile_runtime.__version__ != __version__:
    raise ImportError(
        f"kcompile {__version__} needs kcompile-runtime {__version__}. Found: {kcompile_runtime.__version__} "
        f"in {os.path.dirname(kcompile_runtime.__file__)}. `pip install kcompile-runtime=={__version__}`, or "
        f"`pip uninstall kcompile-runtime`: kcompile brings its own"
    )

if TYPE_CHECKING:
    from kcompile.exporting import export as export
    from kcompile.files import load as load
    from kcompile.function_code import compile_jax as compile_jax
    from kcompile.function_code import compile_trace as compile_trace
    from kcompile.model import CompiledModel as CompiledModel
    from kcompile.model import compile as compile
    from kcompile.packages.npm import export_npm as export_npm
    from kcompile.packages.wheel import export_wheel as export_wheel
    from kcompile.parallel.distributing import distribute as distribute
    from kcompile.quantization import QuantizedModel as QuantizedModel
    from kcompile.quantization import quantize as quantize
    from kcompile_runtime.predicting import predictor as predictor


_HOMES = {
    "attach_engine": "kcompile.model",
    "compile": "kcompile.model",
    "compile_jax": "kcompile.function_code",
    "compile_trace": "kcompile.function_code",
    "distribute": "kcompile.parallel.distributing",
    "export": "kcompile.exporting",
    "export_npm": "kcompile.packages.npm",
    "export_wheel": "kcompile.packages.wheel",
    "predictor": "kcompile_runtime.predicting",
    "quantize": "kcompile.quantization",
    "CompiledModel": "kcompile.model",
    "QuantizedModel": "kcompile.quantization",
    "load": "kcompile.files",
}

backend_name = "kcompile"  # K.backend() says what scripts of Keras 2 look for

__all__ = [
    "CompiledModel",
    "QuantizedModel",
    "__version__",
    "backend_name",
    "compile",
    "compile_jax",
    "export",
    "export_npm",
    "export_wheel",
    "load",
    "predictor",
    "quantize",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("files", "keras", "keras3", "tf_keras"):
        return import_module(f"kcompile.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'kcompile' has no attribute {name!r}")

"""Run a Keras script unchanged, with `keras` meaning ours.

Enters: the path of a script and its arguments. While it runs, `keras`, `tensorflow.keras` and all that
is below them are the modules of `kcompile.keras`; of `tensorflow` there is nothing else. The rest is as
`python script.py` has it: sys.argv, sys.path, __main__, tracebacks, the exit status.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

HOME = "kcompile.keras"
PREFIXES = ("tensorflow.python.keras", "tensorflow.keras", "keras")
FRAMEWORKS = ("keras", "tensorflow")

# Modules that Keras 2 cuts otherwise, below `keras`
LAYERS = ("advanced_activations", "convolutional", "convolutional_recurrent", "core",
          "cudnn_recurrent", "embeddings", "local", "merge", "noise", "normalization", "pooling",
          "recurrent", "wrappers")
RENAMED = {
    **{f"layers.{name}": "layers" for name in LAYERS}, "utils.np_utils": "utils", "utils.vis_utils": "utils",
    "utils.layer_utils": "utils", "utils.data_utils": "utils", "utils.io_utils": "utils",
    "utils.generic_utils": "utils", "engine.topology": "engine", "engine.base_layer": "engine",
    "engine.input_layer": "engine", "engine.network": "models", "engine.training": "models",
    "engine.sequential": "models", "legacy.layers": "layers"}


class TensorFlow(types.ModuleType):
    """What `import tensorflow` gives: `keras`, and an error for anything else."""

    __version__ = "2.0.0"
    __path__ = []  # noqa: RUF012 (a package's)

    def __getattr__(self, name: str) -> Any:
        if name == "keras":
            return importlib.import_module(HOME)
        raise AttributeError(
            f"tensorflow.{name}: under `kcompile run` tensorflow is its keras alone. Write tensors over "
            "keras.backend (K), and models over keras.layers")


class _Alias(Loader):
    """Loads a module by making its name stand for another one."""

    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        return TensorFlow(spec.name) if self.target == "tensorflow" else None

    def exec_module(self, module: types.ModuleType) -> None:
        if self.target == "tensorflow":
            return
        name = module.__name__
        found = importlib.import_module(self.target)
        sys.modules[name] = found
        if not hasattr(found, "__path__"):  # Keras has a folder where we have a file
            relative = _relative(name) or ""
            sys.modules.update((f"{name}{old[len(relative):]}", importlib.import_module(f"{HOME}.{new}"))
                               for old, new in RENAMED.items() if old.startswith(f"{relative}."))


def _relative(name: str) -> str | None:
    """The part below `keras` of a module's name, "" for keras itself, None for other modules."""
    for prefix in (*PREFIXES, HOME):
        if name == prefix or name.startswith(f"{prefix}."):
            return name[len(prefix) + 1:]
    return None


class Finder(MetaPathFinder):
    """Finds our modules under the names of Keras and TensorFlow."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name in ("tensorflow", "tensorflow.python"):
            return ModuleSpec(name, _Alias("tensorflow"), is_package=True)
        relative = _relative(name)
        if relative is None:
            if name.split(".")[0] == "tensorflow":
                raise ModuleNotFoundError(f"No module named {name!r}: under `kcompile run` tensorflow "
                                          "is its keras alone", name=name)
            return None
        meant = RENAMED.get(relative, relative)
        if name.startswith(HOME) and (meant == relative or PathFinder.find_spec(name, path)):
            return None  # really ours
        home = f"{HOME}.{meant}".rstrip(".")
        if importlib.util.find_spec(home) is None:
            raise ModuleNotFoundError(f"No module named {name!r}: kcompile does not have this part of "
                                      "Keras", name=name)
        return ModuleSpec(name, _Alias(home))


def _ours(name: str) -> bool:
    return name.split(".")[0] in FRAMEWORKS


@contextmanager
def as_keras() -> Iterator[None]:
    """Inside the `with`, `import keras` and `import tensorflow` mean ours, for this process."""
    finder = Finder()
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _ours(name)}
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def _as_main(path: Path, arguments: Sequence[str]) -> Iterator[types.ModuleType]:
    """Inside the `with`, sys.argv, sys.path and __main__ are those of the script."""
    main = types.ModuleType("__main__")
    main.__file__ = str(path)
    main.__dict__["__builtins__"] = __builtins__
    before = sys.argv, sys.path[:], sys.modules.get("__main__")
    sys.argv = [str(path), *arguments]
    sys.path[0:1] = [str(path.resolve().parent)]
    sys.modules["__main__"] = main
    try:
        yield main
    finally:
        sys.argv, sys.path[:] = before[:2]
        if before[2] is not None:
            sys.modules["__main__"] = before[2]


def run_script(path: str | Path, arguments: Sequence[str] = ()) -> int:
    """Run a script; gives 1 after printing the traceback of an exception, else 0. SystemExit passes,
    as the script raised it. Raises OSError when there is no such file."""
    script = Path(path)
    source = script.read_bytes()
    with as_keras(), _as_main(script, arguments) as main:
        try:
            exec(compile(source, str(script), "exec"), main.__dict__)
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next
            sys.excepthook(type(error), error.with_traceback(trace), trace)
            return 1
    return 0

"""Run a Keras script unchanged, with `keras` meaning ours.

Enters: the path of a script, its arguments, and which Keras `keras` means in it: 2 (2.3.1, or 2.2.4), or
3. While it runs, `keras` and all that is below it are the modules of `kcompile.keras` (or of
`kcompile.keras3`), and those of `tensorflow.keras` and `tf_keras` are the modules of `kcompile.tf_keras`; of
`tensorflow` there is what scripts write around Keras, and nothing else. The rest is as `python script.py`
has it: sys.argv, sys.path, __main__, tracebacks, the exit status.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from kcompile_runtime.errors import InputError, describe

# What `keras` may mean: the package, and its version where it has several; and what the names of tf.keras do
KERAS: dict[str, tuple[str, str | None]] = {
    "2": ("kcompile.keras", "2.3.1"),
    "2.2.4": ("kcompile.keras", "2.2.4"),
    "2.3.1": ("kcompile.keras", "2.3.1"),
    "3": ("kcompile.keras3", None),
}
HOME = "kcompile.keras"  # of Keras 2, whose functions on values give tensors for later
TF_KERAS = "kcompile.tf_keras"
TF_NAMES = ("tensorflow.python.keras", "tensorflow.keras", "tf_keras")
FRAMEWORKS = ("keras", "tensorflow", "tf_keras")
TENSORFLOW = ("", "python", "compat", "compat.v1", "compat.v2")  # its modules without names of their own
KERAS_PARTS = ("initializers", "losses", "metrics", "optimizers")  # of tf.keras, at tensorflow itself too
CALLED = {"kcompile.keras": "Keras 2", "kcompile.keras3": "Keras 3", "kcompile.tf_keras": "tf.keras"}
# How a script gets each of them
SWITCHES = {
    "kcompile.keras": "without --keras 3",
    "kcompile.keras3": "with `kcompile run --keras 3`",
    "kcompile.tf_keras": "with `from tensorflow import keras`",
}
# Parts of Keras 3 that no Keras 2 has
ONLY_KERAS3 = frozenset(
    {
        "ops",
        "random",
        "saving",
        "tree",
        "distribution",
        "dtype_policies",
        "quantizers",
        "config",
        "export",
        "KerasTensor",
        "Variable",
        "Operation",
        "Function",
    }
)


class TensorFlow(types.ModuleType):
    """What `import tensorflow` gives, and the modules below it: `keras`, what scripts write around it
    (`kcompile.tensorflow`, and of TensorFlow 1 `kcompile.keras.sessions`), and an error for anything else."""

    __version__ = "2.15.0"
    __path__ = []  # noqa: RUF012 (a package's)

    def __getattr__(self, name: str) -> Any:
        path = f"{below_tensorflow(self.__name__)}.{name}".lstrip(".")
        if path in ("keras", "python.keras"):
            return _tf_keras()
        if path in KERAS_PARTS and not self.__name__.endswith(".v1"):
            return _tf_keras(f".{path}")
        thin = importlib.import_module("kcompile.tensorflow")
        if path in TENSORFLOW or path in thin.MODULES:
            return importlib.import_module(f"{self.__name__}.{name}")
        place = path.rpartition(".")[0]
        sessions = importlib.import_module("kcompile.keras.sessions").NAMES
        old = sessions if not place else vars(sessions.get(place, types.SimpleNamespace()))
        first, second = (
            (old, thin.names(place)) if self.__name__.endswith(".v1") else (thin.names(place), old)
        )
        for names in (first, second):
            if name in names:
                return names[name]
        same = hasattr(importlib.import_module("kcompile.keras.backend"), name)
        raise AttributeError(thin.why_absent(path, same), name=name, obj=self)


def _tf_keras(part: str = "") -> types.ModuleType:
    """A module of tf.keras, in whose scripts calls on values give values."""
    importlib.import_module(f"{HOME}.settings").compute_at_once()
    return importlib.import_module(f"{TF_KERAS}{part}")


def below_tensorflow(module: str) -> str:
    """The path of a module below tensorflow, "" for itself and for the older names of it."""
    path = module.partition(".")[2]
    for older in ("compat.v1", "compat.v2"):
        if path == older or path.startswith(f"{older}."):
            return path[len(older) + 1 :]
    return path


class _Alias(Loader):
    """Loads a module by making its name stand for another one."""

    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        return TensorFlow(spec.name) if self.target == "tensorflow" else None

    def exec_module(self, module: types.ModuleType) -> None:
        if self.target != "tensorflow":
            sys.modules[module.__name__] = importlib.import_module(self.target)


class Finder(MetaPathFinder):
    """Finds our modules under the names of Keras and TensorFlow. keras: the package that `keras` means."""

    def __init__(self, keras: str) -> None:
        self.roots = {**dict.fromkeys(TF_NAMES, TF_KERAS), "keras": keras}

    def place(self, name: str) -> tuple[str, str] | None:
        """The package of ours that a module belongs to and its name below it, "" for the package itself; None
        for other modules."""
        for prefix, root in self.roots.items():
            if name == prefix or name.startswith(f"{prefix}."):
                return root, name[len(prefix) + 1 :]
        return None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """How a module of Keras or TensorFlow is found: as one of ours; None for other modules."""
        found = self.place(name)
        if found is None:
            return _of_tensorflow(name) if name.split(".")[0] == "tensorflow" else None
        root, relative = found
        if root != HOME:
            settings = importlib.import_module(f"{HOME}.settings")
            settings.compute_at_once("tensors" if root == TF_KERAS else "arrays")
        home = f"{root}.{relative}".rstrip(".")
        missing = _missing(home)
        if missing is not None:
            reason = missing or elsewhere(root, relative)
            raise ModuleNotFoundError(f"No module named {name!r}: {reason}", name=name)
        return ModuleSpec(name, _Alias(home))


def _of_tensorflow(name: str) -> ModuleSpec:
    """Where a module of TensorFlow beside its keras is."""
    path = below_tensorflow(name)
    if name.partition(".")[2] not in TENSORFLOW:
        thin = importlib.import_module("kcompile.tensorflow")
        if path not in thin.MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}: {thin.why_absent(path, False)}", name=name)
    return ModuleSpec(name, _Alias("tensorflow"), is_package=True)


def _missing(module: str) -> str | None:
    """None when there is a module of ours of this name; else why there is none, "" where nobody says."""
    try:
        found = module in sys.modules or importlib.util.find_spec(module)
    except ModuleNotFoundError as error:
        return str(error).partition(": ")[2]
    return None if found else ""


def elsewhere(root: str, name: str) -> str:
    """Where the part of Keras of this name (below the package root) is, when it is not there."""
    first = name.split(".")[0]
    others = [home for home in CALLED if home != root and _has(home, name)]
    if first in ONLY_KERAS3 and root != "kcompile.keras3" and not others:
        others = ["kcompile.keras3"]
    if not others:
        return f"kcompile does not have this part of {CALLED[root]}"
    return "; ".join(f"{CALLED[home]} has it: run the script {SWITCHES[home]}" for home in others)


def _has(root: str, name: str) -> bool:
    """Whether a package of ours has a module, or a name in a module."""
    module, _, last = name.rpartition(".")
    home = f"{root}.{module}".rstrip(".")
    return _missing(f"{root}.{name}") is None or (
        _missing(home) is None and hasattr(importlib.import_module(home), last)
    )


def explained(error: BaseException) -> BaseException:
    """The error; where it says that a name of Keras is missing, it also says which Keras has it."""
    module, name = None, getattr(error, "name", None)
    if isinstance(error, AttributeError):
        module = getattr(getattr(error, "obj", None), "__name__", None)
    elif isinstance(error, ImportError):
        missing = re.search(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
        name, module = missing.groups() if missing else (None, None)
    root = next((home for home in CALLED if f"{module}.".startswith(f"{home}.")), None)
    if root is None or not isinstance(name, str) or not isinstance(module, str) or ": " in str(error):
        return error
    text = f"{error}: {elsewhere(root, f'{module[len(root) + 1 :]}.{name}'.lstrip('.'))}"
    error.args = (text,)
    if isinstance(error, ImportError):
        error.msg = text
    return error


def chosen(keras: str | None) -> tuple[str, str | None]:
    """The package that `keras` means, and its version, None for the one that it is: for a key of KERAS, by
    default for what KC_KERAS says, else 2. Raises InputError."""
    given = keras or os.environ.get("KC_KERAS")
    if given is None or given == "":
        return KERAS["2"][0], None
    if given not in KERAS:
        known = f"{', '.join(list(KERAS)[:-1])} or {list(KERAS)[-1]}"
        raise InputError(describe("KC_KERAS" if keras is None else "keras", known, repr(given)))
    return KERAS[given]


def _ours(name: str) -> bool:
    return name.split(".")[0] in FRAMEWORKS


@contextmanager
def as_keras(keras: str | None = None) -> Iterator[None]:
    """Inside the `with`, `import keras` and `import tensorflow` mean ours, for this process. keras: "2",
    "2.2.4", "2.3.1" or "3", see `chosen`."""
    package, version = chosen(keras)
    finder = Finder(package)
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _ours(name)}
    sys.meta_path.insert(0, finder)
    settings = importlib.import_module(f"{HOME}.settings")
    try:
        with settings.at_version(version), settings.script_of_its_own():
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


def run_script(path: str | Path, arguments: Sequence[str] = (), keras: str | None = None) -> int:
    """Run a script; gives 1 after printing the traceback of an exception, else 0. SystemExit passes,
    as the script raised it. keras: which Keras `keras` is (see `chosen`). Raises OSError when
    there is no such file."""
    script = Path(path)
    source = script.read_bytes()
    with as_keras(keras), _as_main(script, arguments) as main:
        try:
            exec(compile(source, str(script), "exec"), main.__dict__)
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next
            sys.excepthook(type(error), explained(error).with_traceback(trace), trace)
            return 1
    return 0

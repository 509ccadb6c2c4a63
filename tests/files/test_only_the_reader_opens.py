"""One package opens model files; a test reads the source for calls that would do it elsewhere."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READER, WRITER = "kcompile/files/reader", "kcompile/files/writer.py"
DATA_SETS = "kcompile/keras/datasets/stored.py"  # with an unpickler that knows arrays alone
# What opens or interprets files, and who may use it for something that is no model file.
MODULES = {
    "h5py": {
        READER,
        WRITER,
        "kcompile/keras/utils/io_utils.py",  # arrays of scripts: HDF5Matrix
        "kcompile/keras/utils/hdf5_dict.py",  # what scripts write themselves
        "kcompile/keras/saving.py",  # groups of scripts, copied as they are into a file for the reader
    },
    "yaml": {READER, WRITER},
    "zipfile": {
        READER,
        WRITER,
        "kcompile/keras/utils/archives.py",
        DATA_SETS,
        "kcompile/packages/wheel.py",  # written, never read
    },
    "pickle": {
        DATA_SETS,
        "kcompile/keras/utils/workers.py",  # an error of its own, on its way back
        "kcompile/keras/callbacks/checkpoint.py",  # callbacks of scripts that ask for it by an argument
        "kcompile/parallel/communicator.py",  # between the processes of one training
    },
    "marshal": {"kcompile/keras/utils/functions.py"},  # func_dump and func_load, which scripts call
    "shelve": set(),
    "dill": set(),
    "tarfile": {"kcompile/keras/utils/archives.py"},
}
CALLS = {
    ("json", "load"): {
        "kcompile/keras/datasets/texts.py",
        "kcompile/keras/applications/imagenet_utils.py",  # names of classes, whose digest is checked
    },
    ("json", "loads"): {
        READER,
        WRITER,
        "kcompile/keras/settings.py",  # ~/.keras/keras.json
        "kcompile/keras/preprocessing/configuration.py",  # tokenizers
        "runtime/contents.py",
        "runtime/serving_tensors.py",  # requests
        "kcompile/codegen/binary/cache.py",
    },  # what our own libraries hold
    ("np", "load"): set(),
    ("numpy", "load"): set(),
    ("np", "loadtxt"): {"kcompile/keras/datasets/digits.py"},
    ("np", "fromfile"): set(),
    ("importlib", "import_module"): {
        "kcompile/__init__.py",
        "kcompile/keras/namespaces.py",  # modules of ours
        "kcompile/keras/lazy.py",
        "kcompile/keras/places.py",
        "runtime/extras.py",  # libraries of extras
        "kcompile/keras/copying.py",
    },  # a function's module, in a pickle: those run code anyway
    ("yaml", "load"): set(),
    ("pd", "read_pickle"): set(),
}
BUILTINS = {"eval", "exec", "compile", "__import__"}
SCRIPTS = {"kcompile/run.py"}  # runs the user's own script


def sources() -> list[Path]:
    return [path for folder in ("kcompile", "runtime") for path in (ROOT / folder).rglob("*.py")]


def found(tree: ast.AST) -> list[str]:
    """Modules imported and functions called: "h5py", "json.loads", "eval()"."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Name):
                names.append(f"{node.func.value.id}.{node.func.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names.append(f"{node.func.id}()")
    return names


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_reader_opens_model_files(path: Path) -> None:
    here = str(path.relative_to(ROOT))
    here = READER if here.startswith(f"{READER}/") else here
    allowed = {
        **MODULES,
        **{f"{m}.{f}": where for (m, f), where in CALLS.items()},
        **{f"{name}()": set() for name in BUILTINS},
    }
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    wrong = [
        name
        for name in found(tree)
        if name in allowed and here not in allowed[name] | SCRIPTS and name.rstrip("()") not in own
    ]
    assert wrong == []


def test_such_calls_are_seen() -> None:
    text = "import h5py\nfrom yaml import x\njson.loads(y)\neval(z)\ndef f():\n    import pickle\n"
    assert set(found(ast.parse(text))) == {"h5py", "yaml", "json.loads", "eval()", "pickle"}


@pytest.mark.parametrize("module", ["h5py", "yaml", "llvmlite"])
def test_importing_files_stays_light(module: str) -> None:
    code = f"import sys, kcompile.files; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

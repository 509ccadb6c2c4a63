"""Snippets, and what Keras 2.2.4 and 2.3.1 answer: `answers/*.txt` and `answers/*.json` beside it.

A snippet is a block of lines; its answer is the value of its last expression, or the kind of its error. Under
a line that begins with `@each` every line is a snippet of its own, behind what that line says; a block that
begins with `@all` is before all that follow. To record answers: `python answers_of_keras2.py FOLDER NAME`,
with the folder of an unpacked Keras (`old_keras.load`).
"""

from __future__ import annotations

import ast
import json
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent / "answers"
NAMES = sorted(path.stem for path in HERE.glob("*.txt"))
SHOWN = 24  # elements of an array that are kept; of more, their sums too

PREAMBLE = """
import copy, itertools, json, os, pickle, tempfile, warnings
import numpy as np
import keras
from keras import backend as K
from keras import activations, callbacks, constraints, engine, initializers, layers, losses, metrics, models
from keras import optimizers, regularizers, utils
from keras.layers import *
from keras.models import Sequential, Model, load_model, model_from_json, clone_model
E = K.eval
def A(*shape, lo=-1.0, hi=1.0, seed=0):
    return np.random.RandomState(seed).uniform(lo, hi, shape).astype("float32")
def V(*shape, lo=-1.0, hi=1.0, seed=0, dtype="float32"):
    return K.variable(np.random.RandomState(seed).uniform(lo, hi, shape), dtype=dtype)
def W(function, *args, **kwargs):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    return result, [x.category.__name__ for x in found if x.category is UserWarning]
"""


def snippets(name: str) -> Iterator[str]:
    common = ""
    for block in (HERE / f"{name}.txt").read_text().split("\n\n"):
        lines = [line for line in block.split("\n") if line.strip() and not line.startswith("##")]
        if lines and lines[0] == "@all":
            common = "\n".join([*lines[1:], ""])
        elif lines and lines[0].startswith("@each"):
            yield from (common + f"{lines[0][5:].strip()}\n{line}".strip() for line in lines[1:])
        elif lines:
            yield common + "\n".join(lines)


def kinds(error: BaseException) -> str:
    """Python's kinds of errors that it is one of."""
    known = [c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"]
    mine = "tensorflow" if type(error).__module__.startswith("tensorflow") else ""
    return "raises " + (
        mine or "|".join(n for n in known if n not in ("Exception", "BaseException", "object"))
    )


def _attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return kinds(error)


def answer(snippet: str, keras: types.ModuleType) -> Any:
    """What `keras` answers, of what JSON can hold."""
    known: dict[str, Any] = {"__name__": "snippet", "X": _attempt}
    exec(PREAMBLE, known)
    keras.backend.clear_session()
    np.random.seed(0)
    tree = ast.parse(snippet)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(tree, "snippet", "exec"), known)
            value = last and eval(compile(ast.Expression(last.value), "snippet", "eval"), known)
        except Exception as error:
            return kinds(error)
    return plain(value, keras.backend)


def plain(value: Any, K: Any) -> Any:
    if isinstance(value, (np.bool_, bool)) or value is None or isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else None if value is None else _exact(value)
    if isinstance(value, (int, float, np.number)):
        return float(value) if isinstance(value, (float, np.floating)) else int(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        flat = value.astype("float64").ravel()
        sums = [flat.sum(), np.abs(flat).sum()] if flat.size > SHOWN else []
        kept = [float(f"{x:.6g}") for x in (*flat[:SHOWN], *sums)]
        return {"array": list(value.shape), "dtype": str(value.dtype), "values": kept}
    if isinstance(value, Mapping):
        return {"dict": {str(k): plain(v, K) for k, v in value.items()}}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(map(str, value))}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(x, K) for x in value]
    if isinstance(value, type):
        return {"class": value.__name__}
    if K.is_tensor(value):
        return {"tensor": plain(K.int_shape(value), K), "dtype": K.dtype(value)}
    name = getattr(value, "__name__", None)
    return {"function": name} if callable(value) and name else {"object": type(value).__name__}


def _exact(value: Any) -> Any:
    return bool(value) if isinstance(value, np.bool_) else value


def same(ours: Any, theirs: Any) -> bool:
    """Whether two answers agree: numbers nearly, and an error is of Keras' kind too."""
    if isinstance(theirs, str) and theirs.startswith("raises "):
        given = ours[7:].split("|") if isinstance(ours, str) and ours.startswith("raises ") else []
        wanted = theirs[7:].split("|")[0]
        return bool(given) and wanted in (*given, "tensorflow", "")
    if isinstance(ours, float) and isinstance(theirs, float):
        return bool(np.isclose(ours, theirs, 1e-4, 1e-4, equal_nan=True))
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    return bool(ours == theirs)


def recorded(name: str) -> dict[str, list[Any]]:
    """The answers by snippet: one, or one of each version where they differ."""
    found: dict[str, list[Any]] = json.loads((HERE / f"{name}.json").read_text())
    return found


def record(folder: str, name: str) -> None:
    """Add the answers of the Keras in a folder to those of a file of snippets."""
    sys.path.insert(0, str(HERE.parents[1] / "keras_tier"))
    keras = __import__("old_keras").load(folder)
    path = HERE / f"{name}.json"
    known = recorded(name) if path.exists() else {}
    found = {}
    for snippet in snippets(name):
        given, now = known.get(snippet, []), answer(snippet, keras)
        found[snippet] = given if any(same(now, old) for old in given) else [*given, now]
    path.write_text(
        "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n"
    )


if __name__ == "__main__":
    record(*sys.argv[1:])

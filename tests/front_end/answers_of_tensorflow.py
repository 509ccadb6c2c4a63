"""Expressions of scripts of tf.keras, and what TensorFlow answers: `answers_of_tensorflow/*.txt` and `.json`.

A line is an expression, of which the kind, dtype, shape and values are the answer, or the word that it
raises; a line that begins with `!` is done before. To record answers, where TensorFlow and tf_keras are:
`TF_USE_LEGACY_KERAS=1 python answers_of_tensorflow.py values functions data`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent / "answers_of_tensorflow"
NAMES = sorted(path.stem for path in HERE.glob("*.txt"))


def told(x: Any) -> Any:
    """The kind and the numbers of an answer, as JSON holds them."""
    if isinstance(x, dict):
        return {str(key): told(value) for key, value in x.items()}
    if type(x).__name__ == "TensorShape":
        return ["shape", str(x)]
    if isinstance(x, (list, tuple)):
        return [told(value) for value in x]
    if isinstance(x, (str, bytes, bool, int, float, type(None))):
        return [type(x).__name__, repr(x)]
    kind = "array" if isinstance(x, (np.ndarray, np.generic)) and not hasattr(x, "numpy") else "tensor"
    if kind == "array" or (hasattr(x, "numpy") and hasattr(x, "dtype")):
        values = np.asarray(x if kind == "array" else x.numpy())
        dtype = "string" if values.dtype.kind in "OSU" else values.dtype.name
        if values.dtype.kind == "f":
            return [kind, dtype, list(values.shape), np.round(values.astype("float64"), 4).tolist()]
        text = values.dtype.kind in "OSU"
        return [
            kind,
            dtype,
            list(values.shape),
            list(map(repr, values.ravel().tolist())) if text else values.tolist(),
        ]
    return [type(x).__name__]


def answers(name: str, tf: Any) -> dict[str, Any]:
    """The answer of each expression of a file."""
    known = {"tf": tf, "np": np, "keras": tf.keras, "K": tf.keras.backend}
    found: dict[str, Any] = {}
    for line in (HERE / f"{name}.txt").read_text().splitlines():
        if line.startswith("!"):
            exec(line[1:], known)
        elif line:
            try:
                found[line] = told(eval(line, known))
            except Exception:
                found[line] = ["raises"]
    return found


if __name__ == "__main__":
    import tensorflow

    for chosen in sys.argv[1:]:
        lines = [
            f"{json.dumps(key)}: {json.dumps(value)}" for key, value in answers(chosen, tensorflow).items()
        ]
        (HERE / f"{chosen}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")

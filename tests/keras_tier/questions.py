"""A small model for each question of `kcompile.keras.semantics`, in which the Kerases differ.

A case is a function of a `Kit`, a Keras of whatever kind, and gives numbers or names; `@case` says which ones
belong to each answer. They stand in the modules `questions_of_...`. The same code runs in
the real libraries and in ours. By itself, one library as JSON: python questions.py keras|tf_keras, and
python questions.py FOLDER for an unpacked Keras 2.2 or 2.3 (see `old_keras`), from where the numbers of the
first two columns come.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import questions_of_data  # noqa: F401
import questions_of_layers  # noqa: F401
import questions_of_preprocessing  # noqa: F401
import questions_of_training  # noqa: F401
from asking import CASES, FAULTS, Kit


def observe(kit: Kit, names: Any = None) -> dict[str, Any]:
    """What the Keras does, by question."""
    found = {}
    cases = {**CASES, **FAULTS}
    for name in names or cases:
        kit.keras.backend.clear_session()
        try:
            found[name] = cases[name].observe(kit)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"[:300]
    return found


def opened(name: str) -> Kit:
    """A real Keras, by its package or the folder of an old one."""
    if os.path.isdir(name):
        from old_keras import load

        return Kit(load(name), old=True)
    return Kit(importlib.import_module(name))


if __name__ == "__main__":
    print(json.dumps(observe(opened(sys.argv[1]), sys.argv[2:])))

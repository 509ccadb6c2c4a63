"""Execute Keras 2.3.1 and 2.2.4 on the cases of the table of options, and write what they do.

python tests/record_keras2.py FOLDER FOLDER: of the unpacked 2.3.1 and 2.2.4, see keras_tier/old_keras.py.
Of 2.2.4 the file holds what it does otherwise.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "keras_tier"))
from option_cases import Case, model_of
from options import TABLE
from references import RECORD, asked, observe, written

Record = dict[str, dict[str, Any]]
MODULES = ("backend", "constraints", "initializers", "layers", "models", "optimizers", "regularizers")


def execute(folder: str, names: Iterable[str] = TABLE) -> Record:
    """What the Keras of a folder does, by row and case; of configurations, what the row's first has not."""
    from old_keras import load

    keras = load(folder)
    for module in (
        "backend",
        "constraints",
        "initializers",
        "layers",
        "models",
        "optimizers",
        "regularizers",
    ):
        importlib.import_module(f"keras.{module}")
    record: Record = {}
    for name in names:
        found = {repr(case): _did(case, keras) for case in asked(name)}
        base = found[repr(Case(name, ()))]
        for did in found.values():
            if did is not base and isinstance(did, dict) and isinstance(base, dict):
                did["config"] = {k: v for k, v in did["config"].items() if base["config"].get(k, did) != v}
        record[name] = found
        print(name, file=sys.stderr, flush=True)
    return record


def _did(case: Case, keras: Any) -> dict[str, Any] | str:
    tf = sys.modules["tensorflow"]  # as `old_keras` has it
    keras.backend.clear_session()
    options = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    options.graph_options.rewrite_options.disable_meta_optimizer = True  # which is slow for small graphs
    keras.backend.set_session(tf.Session(config=options))
    try:
        return written(case, observe(case, keras, model_of(case, keras)))
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:100]


def _otherwise(old: Record, new: Record) -> Record:
    """What differs by more than rounding, of two Kerases."""
    found = {name: {c: did for c, did in old[name].items() if not _same(did, new[name][c])} for name in new}
    return {name: cases for name, cases in found.items() if cases}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-4 * max(1e-2, abs(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def main(folders: list[str]) -> None:
    if len(folders) == 1:
        json.dump(execute(folders[0]), sys.stdout)
        return
    found = []
    for folder in folders:
        with tempfile.TemporaryFile("w+") as out:
            command = [sys.executable, __file__, folder]
            subprocess.run(command, stdout=out, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
            out.seek(0)
            found.append(json.loads(out.read().splitlines()[-1]))
    new, old = found
    rows = {"2.3.1": new, "2.2.4": _otherwise(old, new)}
    RECORD.write_text(_text(rows, 3) + "\n")


def _text(value: Any, lines: int) -> str:
    """JSON with a line for each entry of the outer dicts."""
    if not lines:
        return json.dumps(value, separators=(",", ":"))
    inside = ",\n".join(f"{json.dumps(key)}: {_text(inner, lines - 1)}" for key, inner in value.items())
    return f"{{\n{inside}\n}}"


if __name__ == "__main__":
    main(sys.argv[1:])

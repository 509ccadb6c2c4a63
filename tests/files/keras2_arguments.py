"""Write what the constructors of Keras 2 take, by class: the facts behind test_files_for_keras2.py.

    python tests/files/keras2_arguments.py FOLDER > tests/files/keras2_arguments.json

FOLDER: of an unpacked Keras 2.2.4 or 2.3.1 (see tests/keras_tier/old_keras.py).
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any


def arguments(cls: type, stop: type) -> list[str]:
    """The names that a class and its bases below `stop` take."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base in (stop, object):
            break
        function = vars(base).get("__init__")
        if function is not None:
            names |= set(inspect.signature(getattr(function, "_original_function", function)).parameters)
    return sorted(names - {"self", "kwargs", "args"})


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "keras_tier"))
    from old_keras import load

    keras = load(sys.argv[1])
    from keras.engine.base_layer import Layer  # type: ignore[import-not-found]

    def of(module: Any, stop: type) -> dict[str, list[str]]:
        found = {n: v for n, v in vars(module).items() if inspect.isclass(v) and not n.startswith("_")}
        return {name: arguments(cls, stop) for name, cls in sorted(found.items())}

    parts = {
        "layers": of(keras.layers, Layer),
        "initializers": of(keras.initializers, object),
        "regularizers": of(keras.regularizers, object),
        "constraints": of(keras.constraints, object),
        "optimizers": of(keras.optimizers, object),
    }
    lines = [
        f"{json.dumps(part)}: {{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(names)}" for name, names in classes.items())
        + "\n}"
        for part, classes in parts.items()
    ]
    print("{" + ",\n".join(lines) + "}")


if __name__ == "__main__":
    main()

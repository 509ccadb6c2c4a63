"""A package of one model for JavaScript and TypeScript: a folder that `npm pack` and bundlers take.

Enters: a model, and what `kcompile.export` takes for wasm32. Leaves: a folder with the WebAssembly module,
what loads it in browsers, in Node and in workers of either (the files of `javascript/`), types for this
model, and package.json. It depends on nothing. The same arguments give the same bytes.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from kcompile.exporting import export
from kcompile.model import CompiledModel
from kcompile.model import compile as compile_model
from kcompile.packages.names import npm_name, table, version_number
from kcompile.version import __version__
from kcompile_runtime import read_contents
from kcompile_runtime.checks import check_path
from kcompile_runtime.layout import ELEMENTS
from kcompile_runtime.replacing import replace_files
from kcompile_runtime.texts import printable

_SOURCES = Path(__file__).parent / "javascript"
_ARRAYS = {"f": "Float", "i": "Int", "u": "Uint", "b": "Uint"}  # typed arrays, by the kind of element
# What who imports the package gets: types first, as TypeScript asks for it
_EXPORTS = {
    ".": {"types": "./index.d.ts", "node": "./node.js", "default": "./index.js"},
    "./worker": {"types": "./worker.d.ts", "node": "./worker-node.js", "default": "./worker.js"},
    "./model.wasm": "./model.wasm",
    "./package.json": "./package.json",
}


def export_npm(
    model: Any,
    folder: str | os.PathLike[str],
    name: str | None = None,
    version: str = "1.0.0",
    batch: int | None = None,
    lengths: Any = None,
    train: bool = False,
) -> Path:
    """Write a package of one model for JavaScript into `folder`, made where there is none: a module of
    WebAssembly with what loads it, types, and package.json. Gives the folder; files of these names are
    replaced, others stay.

    name: of the package, default the model's. version: likewise. model, batch, lengths, train: as `export`
    takes them. Raises InputError for arguments that make no sense, and what `export` raises.
    """
    folder = Path(check_path("export_npm: folder", folder))
    version = version_number(version, semantic=True)
    compiled = model if isinstance(model, CompiledModel) else compile_model(model)
    package = npm_name(name, compiled.model.name)
    with tempfile.TemporaryDirectory() as work:
        library = export(compiled, Path(work) / "model.wasm", "wasm32", None, batch, lengths, train)
        files = dict(_files(package, version, read_contents(library).metadata, library.read_bytes()))
    replace_files(folder, files)
    return folder


def _files(package: str, version: str, about: dict[str, Any], module: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of what is in the package."""
    yield "model.wasm", module
    types = {
        "NAME": about["name"],
        "INPUTS": _arrays(about, "inputs"),
        "OUTPUTS": _arrays(about, "outputs"),
        "OWN_INPUTS": _arrays(about, "inputs", about.get("states", 0)),
        "OWN_OUTPUTS": _arrays(about, "outputs", about.get("states", 0)),
        "INPUT_NAMES": _names(about, "inputs"),
        "OUTPUT_NAMES": _names(about, "outputs"),
        **_of_training(about),
    }
    for source in sorted(_SOURCES.iterdir()):
        text = source.read_text(encoding="utf-8")
        if source.suffix == ".js":
            yield source.name, text.encode()
        elif source.suffix == ".txt":
            yield source.stem, Template(text).substitute(types).encode()
    yield "README.md", _readme(package, about).encode()
    names = sorted(
        path.name.removesuffix(".txt") for path in _SOURCES.iterdir() if path.suffix in (".js", ".txt")
    )
    yield "package.json", (json.dumps(_package(package, version, about, names), indent=2) + "\n").encode()


def _package(package: str, version: str, about: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {
        "name": package,
        "version": version,
        "description": f"The model {about['name']}, compiled by kcompile {__version__}",
        "type": "module",
        "exports": _EXPORTS,
        "main": "./node.js",
        "browser": "./index.js",
        "types": "./index.d.ts",
        "files": [*names, "model.wasm"],
        "sideEffects": [name for name in names if name.endswith("-thread.js")],
        "engines": {"node": ">=18"},
    }


def _arrays(about: Mapping[str, Any], what: str, states: int = 0) -> str:
    """The typed arrays of inputs or outputs, but for the last, as the elements of a type of TypeScript."""

    def array(dtype: str) -> str:
        element = ELEMENTS[dtype]
        big = "Big" if element.kind in "iu" and element.bytes == 8 else ""
        return f"{big}{_ARRAYS[element.kind]}{8 * element.bytes}Array"

    return ", ".join(array(spec["dtype"]) for spec in about[what][: len(about[what]) - states])


def _of_training(about: Mapping[str, Any]) -> dict[str, str]:
    """The types of a training step: nothing can be given to one that is not there."""
    step = about.get("step")
    if step is None:
        return {"TRAIN_NAMES": "none", "TRAIN_INPUTS": "never", "VALUES": "never"}
    arrays = _arrays(step, "inputs").split(", ")
    needed, given = len(arrays) - step["weights"], iter(arrays)
    types = [next(given) for _ in range(needed)] + [f"({array} | null)?" for array in given]
    return {
        "TRAIN_NAMES": _names(step, "inputs"),
        "TRAIN_INPUTS": f"[{', '.join(types)}]",
        "VALUES": " | ".join(json.dumps(name) for name in step["report"]["names"]),
    }


def _names(about: Mapping[str, Any], what: str) -> str:
    """Of inputs or outputs, as they may stand in a comment."""
    texts = (f"{spec['name']} ({', '.join(map(str, spec['shape']))})" for spec in about[what])
    return printable(", ".join(texts)).replace("*/", "* /")


def _readme(package: str, about: dict[str, Any]) -> str:
    arrays = _arrays(about, "inputs").split(", ")
    given = ", ".join(f"new {array}({_elements(spec)})" for array, spec in zip(arrays, about["inputs"]))
    return "\n".join(
        [
            f"# {package}",
            "",
            f"The model `{about['name']}`, compiled by kcompile {__version__} to WebAssembly (with simd128).",
            "",
            "```js",
            f'import {{ load }} from "{package}";',
            "",
            "const model = await load();",
            f"const [y] = model.predict(1, [{given}]);",
            "```",
            "",
            *table(about),
            "",
            *(_training_readme(about["step"]) if "step" in about else ()),
            f"`{package}/worker` has the same `load`, of a model that runs in a worker: its methods give",
            "promises, and `close()` ends the worker.",
            "",
        ]
    )


def _training_readme(step: Mapping[str, Any]) -> list[str]:
    arrays = _arrays(step, "inputs", step["weights"]).split(", ")
    given = ", ".join(f"new {array}({_elements(spec)})" for array, spec in zip(arrays, step["inputs"]))
    return [
        "It is trained where it runs, in memory of its own:",
        "",
        "```js",
        "const trainer = model.trainer();",
        f"const {{ loss }} = trainer.train(1, [{given}]);",
        "const [now] = trainer.predict(1, inputs);",
        "```",
        "",
    ]


def _elements(spec: Mapping[str, Any]) -> int:
    """How many numbers one sample has."""
    count = 1
    for d in spec["shape"]:
        count *= d if isinstance(d, int) else int(d.removesuffix("n") or 1)
    return count

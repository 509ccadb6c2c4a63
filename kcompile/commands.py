"""What each command does: enters its arguments, leaves an exit status, and text or JSON on stdout.

Everything is one call of the public interface. The compiler is imported by the command that needs it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kcompile_runtime.texts import printable

OK, CHECK_FAILED = 0, 1
ONNX = ".onnx"
SUFFIXES = {".wasm": ("wasm32",), ".o": ("cortex-m4", "cortex-m7", "thumbv7em")}  # of files for these alone
ARTIFACT_SUFFIXES = (".so", ".wasm", ".dylib", ".dll", ".o")


def answer(arguments: argparse.Namespace, text: Callable[[], str], value: Callable[[], Any]) -> None:
    """Print what came of a command: as text, or with --json as JSON."""
    print(json.dumps(plain(value()), indent=1, allow_nan=False) if arguments.json else text())


def plain(value: Any) -> Any:
    """What JSON holds, of dicts, lists, tuples, paths and numbers; numbers that are not finite are null."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def demo(arguments: argparse.Namespace) -> int:
    from kcompile.demo import run

    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        checks = run(epochs=arguments.epochs, keep=arguments.keep, images=arguments.images)
    ok = all(check.holds for check in checks)
    if arguments.json:
        answer(arguments, str, lambda: {"ok": ok, "checks": [check._asdict() for check in checks]})
    return OK if ok else CHECK_FAILED


def run(arguments: argparse.Namespace) -> int:
    from kcompile.run import run_script

    if not arguments.mpi:
        return run_script(arguments.script, arguments.arguments, arguments.keras)
    import kcompile

    with kcompile.distribute() as team, team.ending_all():
        return run_script(arguments.script, arguments.arguments, arguments.keras)


def build(arguments: argparse.Namespace) -> int:
    import kcompile

    named = {"name": arguments.name, "version": arguments.package_version}
    given = {key: value for key, value in named.items() if value is not None}
    chosen = {"lengths": arguments.lengths, "train": arguments.train}
    if arguments.wheel is not None:
        options = {
            "target": arguments.target,
            "lengths": arguments.lengths,
            "train": arguments.train,
            **given,
        }
        path = kcompile.export_wheel(compile_model(arguments), arguments.wheel, **options)
        about = {"package": path, "bytes": path.stat().st_size, "target": arguments.target}
        answer(arguments, lambda: f"wrote {path} ({about['bytes']:,} bytes)", lambda: about)
        return OK
    if arguments.npm is not None:
        if arguments.target != "wasm32":
            raise ValueError(f"--npm goes with --target wasm32. Received: --target {arguments.target}")
        options = {**chosen, **given}
        folder = kcompile.export_npm(compile_model(arguments), arguments.npm, **options)
        size = (folder / "model.wasm").stat().st_size
        found = {"package": folder, "bytes": size, "target": arguments.target}
        answer(arguments, lambda: f"wrote {folder} (its module: {size:,} bytes)", lambda: found)
        return OK
    if given:
        raise ValueError("--name and --package-version are of a package: give --wheel or --npm, not -o")
    check_suffix(arguments)
    compiled = compile_model(arguments)
    kcompile.export(compiled, str(arguments.output), target=arguments.target, **chosen)
    answer(arguments, lambda: text_of_library(arguments), lambda: about_library(arguments))
    return OK


def check_suffix(arguments: argparse.Namespace) -> None:
    for suffix, names in SUFFIXES.items():
        if (arguments.output.suffix == suffix) != (arguments.target in names):
            raise ValueError(
                f"a name that ends in {suffix} goes with --target {' or '.join(names)}. Received: "
                f"{arguments.output}, --target {arguments.target}"
            )


def about_library(arguments: argparse.Namespace) -> dict[str, Any]:
    library = arguments.output
    if library.suffix == ONNX:
        return {"library": library, "header": None, "bytes": library.stat().st_size, "target": "onnx"}
    if library.is_dir():
        size = sum(file.stat().st_size for file in library.iterdir() if file.is_file())
        return {"library": library, "header": library / "model.h", "bytes": size, "target": arguments.target}
    about = {"library": library, "header": library.with_suffix(".h"), "bytes": library.stat().st_size}
    return {**about, "target": arguments.target}


def text_of_library(arguments: argparse.Namespace) -> str:
    about = about_library(arguments)
    beside = f" and {about['header']}" if about["header"] else ""
    return f"wrote {about['library']} ({about['bytes']:,} bytes){beside}"


def serve(arguments: argparse.Namespace) -> int:
    from kcompile_runtime.serving import run

    return run(arguments)


def quantize(arguments: argparse.Namespace) -> int:
    import kcompile

    if arguments.output is not None:
        check_suffix(arguments)
    elif arguments.target != "native":
        raise ValueError("--target is that of -o, which is not given")
    made = kcompile.quantize(
        load_model(arguments),
        read_arrays(arguments.samples),
        read_arrays(arguments.labels),
        skip=arguments.skip,
        percentile=arguments.percentile,
        verbose=0,
    )
    if not arguments.json:
        print(made.report.text())
    if arguments.output is not None:
        kcompile.export(made, str(arguments.output), target=arguments.target)
    if arguments.json or arguments.output is not None:
        answer(arguments, lambda: text_of_library(arguments), lambda: about_quantized(arguments, made.report))
    return OK


def about_quantized(arguments: argparse.Namespace, report: Any) -> dict[str, Any]:
    """What became of each layer, how far predictions are from float32, and the library, null without one."""
    layers = [
        {**asdict(layer), "computes_in": "int8" if layer.quantized else "float32"} for layer in report.layers
    ]
    library = None if arguments.output is None else about_library(arguments)
    return {"layers": layers, "accuracy": asdict(report.accuracy), "library": library}


def predict(arguments: argparse.Namespace) -> int:
    import numpy as np

    x = read_arrays(arguments.input)
    if is_artifact(arguments):
        import kcompile_runtime

        if arguments.precision != "float32":
            raise ValueError(f"{arguments.model} was built in its precision: leave out --precision")
        result = kcompile_runtime.load(str(arguments.model)).predict(x)
    else:
        result = compile_model(arguments).predict(x)
    outputs = result if isinstance(result, (list, tuple)) else [result]
    arrays = [np.asarray(output) for output in outputs]
    about: list[dict[str, Any]] = [{"dtype": array.dtype.name, "shape": array.shape} for array in arrays]
    if arguments.output is None:
        texts = [np.array2string(array, precision=6, suppress_small=True) for array in arrays]
        values = [{**each, "values": array} for each, array in zip(about, arrays)]
        answer(arguments, lambda: "\n".join(texts), lambda: {"outputs": values})
        return OK
    if len(arguments.output) != len(outputs):
        raise ValueError(
            f"the model has {len(outputs)} output(s): give --output that many times. "
            f"Received: {len(arguments.output)}"
        )
    for path, array in zip(arguments.output, arrays):
        with path.open("wb") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)
    written = [{**each, "file": path} for each, path in zip(about, arguments.output)]
    lines = [f"wrote {each['file']}: {each['dtype']} {each['shape']}" for each in written]
    answer(arguments, lambda: "\n".join(lines), lambda: {"outputs": written})
    return OK


def verify(arguments: argparse.Namespace) -> int:
    x = read_arrays(arguments.input)
    compiled = compile_model(arguments)
    report = compiled.verify(x)
    tables = [report]
    if arguments.precision != "float32":
        tables.append(compiled.accuracy(x))
    answer(
        arguments,
        lambda: "\n".join(table.text() for table in tables),
        lambda: {"ok": report.ok, **asdict(report), "accuracy": asdict(tables[1]) if tables[1:] else None},
    )
    return OK if report.ok else CHECK_FAILED


def show(arguments: argparse.Namespace) -> int:
    stage = arguments.stage or ("passes" if arguments.after else "graph")
    compiled = compile_model(arguments)
    print(compiled.show(stage, arguments.entry, arguments.lengths, arguments.target, arguments.after))
    return OK


def bench(arguments: argparse.Namespace) -> int:
    from kcompile.profile_page import html

    compiled = compile_model(arguments, threads=arguments.threads)
    profile = compiled.profile(
        entry=arguments.entry, batch=arguments.batch, rounds=arguments.rounds, lengths=arguments.lengths
    )
    tables = []
    if arguments.precision != "float32" and not compiled.model.varies:
        tables.append(compiled.accuracy())
    answer(
        arguments,
        lambda: "\n".join([profile.text(arguments.top, arguments.layers), *(t.text() for t in tables)]),
        lambda: {**profile.as_dict(), "accuracy": asdict(tables[0]) if tables else None},
    )
    for path, text in (
        (arguments.trace, lambda: json.dumps(profile.trace())),
        (arguments.html, lambda: html(profile)),
    ):
        if path is not None:
            path.write_text(text(), encoding="utf-8")
    return OK


def report(arguments: argparse.Namespace) -> int:
    from kcompile import report_page

    compiled, picture = compile_model(arguments, threads=arguments.threads), arguments.output.suffix == ".svg"
    if arguments.target is not None and not picture:
        raise ValueError("--target is that of a picture, a name that ends in .svg; a page times this machine")
    made = (
        report_page.picture(compiled, arguments.target, arguments.lengths)
        if picture
        else report_page.html(compiled, arguments.batch, arguments.rounds, arguments.lengths)
    )
    arguments.output.write_text(made, encoding="utf-8")
    size = arguments.output.stat().st_size
    answer(
        arguments,
        lambda: f"wrote {arguments.output} ({size:,} bytes)",
        lambda: {"report": arguments.output, "bytes": size},
    )
    return OK


def inspect(arguments: argparse.Namespace) -> int:
    if not is_artifact(arguments):
        model = load_model(arguments)
        if arguments.json:
            answer(arguments, str, lambda: about_model(model))
        else:
            model.summary()
        return OK
    import kcompile_runtime

    contents = kcompile_runtime.read_contents(arguments.model)
    about = contents.metadata
    if arguments.json:
        answer(arguments, str, lambda: about_contents(contents))
        return OK
    rows = [
        ("model", f"{about['name']}, built by kcompile {about.get('version') or '?'}"),
        ("target", f"{about.get('target', contents.machine)} ({about['triple']})"),
        *([("levels", f"the best of {', '.join(about['levels'])}")] if "levels" in about else ()),
        ("needs", ", ".join(map(str, about["cpu_flags"])) or "nothing special"),
        ("runs here", "yes" if (why := why_not_here(contents)) is None else f"no: {why}"),
        ("precision", str(about.get("precision", "float32"))),
        ("batch", "any" if about["batch"] is None else str(about["batch"])),
        *((what, tensor(spec)) for what in ("inputs", "outputs") for spec in about[what]),
        *([("training", ", ".join(about["step"]["report"]["names"]))] if "step" in about else ()),
        ("bytes", f"{contents.size:,}: {contents.code:,} of code, {contents.data:,} of weights and tables"),
        ("checksum", f"{about['checksum']}, which is right"),
    ]
    for key, value in rows:
        print(printable(f"{key:<10} {value}"))
    return OK


def about_model(model: Any) -> dict[str, Any]:
    """What `summary` says, as data. Of layers that have no output shape it is null."""
    layers = [
        {
            "name": layer.name,
            "class": type(layer).__name__,
            "output_shape": getattr(layer, "output_shape", None),
            "parameters": size_of(layer.weights),
            "trainable": layer.trainable,
        }
        for layer in model.layers
    ]
    counts = {"parameters": size_of(model.weights), "trainable": size_of(model.trainable_weights)}
    return {"kind": "model", "name": model.name, "vintage": model.vintage, "layers": layers, **counts}


def size_of(weights: Sequence[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def about_contents(contents: Any) -> dict[str, Any]:
    """What a built library says of itself, as data."""
    about, why = contents.metadata, why_not_here(contents)
    for spec in (*about["inputs"], *about["outputs"]):
        tensor(spec)
    names = ("name", "version", "triple", "cpu_flags", "batch", "inputs", "outputs", "checksum")
    sizes = {"bytes": contents.size, "code": contents.code, "data": contents.data}
    return {
        "kind": "library",
        **{name: about.get(name) for name in names},
        "target": about.get("target", contents.machine),
        "precision": about.get("precision", "float32"),
        "levels": about.get("levels"),
        "trains": "step" in about,
        "runs_here": why is None,
        "why_not": why,
        **sizes,
    }


def why_not_here(contents: Any) -> str | None:
    """Why this machine cannot run a library; None where it can."""
    from kcompile_runtime.artifact import check_machine
    from kcompile_runtime.cuda_driver import connect

    try:
        if contents.machine == "cuda":
            connect()
        else:
            check_machine(contents)
    except (ValueError, RuntimeError) as error:
        return str(error)
    return None


def tensor(spec) -> str:
    """A line about an input or output as an artifact describes it. Raises ValueError for nonsense."""
    if not (isinstance(spec, dict) and isinstance(spec.get("shape"), list)):
        raise ValueError("the artifact is damaged: an input or output is not described")
    return f"{spec.get('name')}: {spec.get('dtype')} ({', '.join(map(str, spec['shape']))})"


# ---------------------------------------------------------------- files and text


def is_artifact(arguments: argparse.Namespace) -> bool:
    """Whether MODEL is a built library, which carries its weights."""
    artifact = looks_built(arguments.model)
    if artifact and (arguments.weights is not None or arguments.isolated):
        raise ValueError(
            f"{arguments.model} holds its own weights and no HDF5: leave out --weights and --isolated"
        )
    return artifact


def completion(top: argparse.ArgumentParser, shell: str) -> int:
    """Print a script for a shell: `eval "$(kcompile completion bash)"`."""
    try:
        import shtab
    except ImportError:
        raise ImportError("completion needs shtab: pip install 'kcompile[completion]'") from None
    for parser in (top, *subparsers(top).values()):
        for action in parser._actions:
            if action.type is Path:
                kind = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
                setattr(action, "complete", kind)  # noqa: B010 (argparse knows of none)
    print(shtab.complete(top, shell=shell))
    return OK


def subparsers(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    return dict(commands.choices)


def looks_built(path: Path) -> bool:
    """By its name, or by its first bytes: a shared object or a WebAssembly module; a folder for graphics
    processors."""
    if path.is_dir():
        from kcompile_runtime.contents import is_folder_of_model

        return is_folder_of_model(path)
    if path.suffix in ARTIFACT_SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"\x7fELF", b"\0asm")


def load_model(arguments: argparse.Namespace):
    import kcompile

    path = arguments.model
    if looks_built(path):
        raise ValueError(
            f"{path}: expected a model file. Received: a built library (commands for those: predict, inspect)"
        )
    if not path.is_file():
        raise FileNotFoundError(f"no such model file: {path}")
    weights = None if arguments.weights is None else str(arguments.weights)
    return kcompile.load(str(path), weights, isolated=arguments.isolated)


def compile_model(arguments: argparse.Namespace, **options):
    import kcompile

    return kcompile.compile(load_model(arguments), precision=arguments.precision, **options)


def read_arrays(paths: Sequence[Path] | None):
    """The array in a file, or a list of those in several; None without files."""
    arrays = [read_array(path) for path in paths or ()]
    return arrays[0] if len(arrays) == 1 else arrays or None


def read_array(path: Path):
    """The array in a .npy file. Raises ValueError for anything else; never unpickles objects."""
    import numpy as np

    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: expected a .npy file of numbers. Received: {error}") from error

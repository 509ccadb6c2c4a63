"""The command line: enters arguments, leaves an exit status and text.

Everything it does is one call of the public interface, so this module holds arguments, printing and
errors only. The compiler is imported by the command that needs it; `--help` and a wrong argument
answer at once.

Exit status: 0 done; 1 a check failed (`verify`, `demo`); 2 wrong arguments or input, told in one
message on stderr; 3 an internal error (a bug of ours). KC_DEBUG=1 or more shows the traceback of either.
`run` ends as the script does: with its status, or 1 and its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kcompile.stages import ENTRIES, PRECISIONS, STAGES
from kcompile_runtime.debug import debug_level
from kcompile_runtime.texts import printable, printable_lines

ARTIFACT_SUFFIXES = (".so", ".wasm", ".dylib", ".dll")

OK, CHECK_FAILED, BAD_INPUT, INTERNAL = 0, 1, 2, 3
EXPECTED = (OSError, ValueError, TypeError, ImportError, NotImplementedError)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. argv: the arguments without the program's name, `sys.argv[1:]` if None."""
    arguments, debug = parser().parse_args(argv), 0
    try:
        debug = debug_level()
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `kcompile show ... | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("kcompile: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        expected = isinstance(error, EXPECTED)
        kind = "error" if expected else f"internal error, {type(error).__name__}"
        print(f"kcompile: {kind}: {printable_lines(error)}", file=sys.stderr)
        return BAD_INPUT if expected else INTERNAL


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    from kcompile import __version__

    top = argparse.ArgumentParser(
        prog="kcompile", description="Compile Keras models to native code: predict, train, export."
    )
    top.add_argument("--version", action="version", version=f"kcompile {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="train, export, reload and verify a small network")
    command.add_argument("--epochs", type=positive, default=20, help="default: %(default)s")
    command.add_argument("--images", type=positive, help="to train on (default: all)")
    command.add_argument("--keep", type=Path, metavar="DIR", help="leave model.so and model.h in this folder")
    command.set_defaults(run=demo)

    command = commands.add_parser("run", help="run a Keras script unchanged, with `keras` meaning kcompile's")
    command.add_argument(
        "--keras",
        choices=("2", "2.2.4", "2.3.1", "3"),
        help="which Keras `keras` is (default: what KC_KERAS "
        "says, else 2, which is 2.3.1); tensorflow.keras is always tf.keras 2",
    )
    command.add_argument("script", type=Path, metavar="SCRIPT.py")
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    command.set_defaults(run=run)

    command = commands.add_parser("build", help="compile a model into a shared library")
    add_model(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.so")
    command.add_argument("--target", default="native", help="default: %(default)s")
    add_precision(command)
    add_lengths(command)
    command.set_defaults(run=build)

    command = commands.add_parser(
        "quantize", help="compile a model into a shared library that computes with numbers of 8 bits"
    )
    add_model(command)
    command.add_argument(
        "--samples",
        action="append",
        type=Path,
        metavar="X.npy",
        required=True,
        help="representative data, a row for each sample; once for each model input",
    )
    command.add_argument(
        "--labels",
        action="append",
        type=Path,
        metavar="Y.npy",
        help="of the samples, for the accuracy; once for each output",
    )
    command.add_argument("--skip", nargs="+", default=(), metavar="LAYER", help="layers that stay float32")
    command.add_argument(
        "--percentile",
        type=float,
        default=100.0,
        metavar="P",
        help="how much of what a layer reads its range has (default: %(default)s)",
    )
    command.add_argument(
        "-o", "--output", type=Path, metavar="FILE.so", help="default: print the accuracy, write nothing"
    )
    command.add_argument("--target", default="native", help="of FILE.so (default: %(default)s)")
    command.set_defaults(run=quantize)

    command = commands.add_parser("predict", help="predictions of a model or a built library")
    add_model(command, "a model file, or what `kcompile build` wrote")
    add_input(command, required=True)
    command.add_argument(
        "--output",
        action="append",
        type=Path,
        metavar="Y.npy",
        help="write predictions here, do not print them; once for each output",
    )
    add_precision(command)
    command.set_defaults(run=predict)

    command = commands.add_parser(
        "verify", help="compare the compiled code with the interpreter, layer by layer"
    )
    add_model(command)
    add_input(command, required=False)
    add_precision(command)
    command.set_defaults(run=verify)

    command = commands.add_parser("show", help="print the model as a stage of the compiler sees it")
    add_model(command)
    command.add_argument(
        "--stage", choices=STAGES, help="default: graph, as traced; passes, after all of them, with --after"
    )
    command.add_argument("--entry", choices=ENTRIES, default="predict", help="default: %(default)s")
    command.add_argument("--target", metavar="NAME", help="default: this machine (sm_80 for ptx)")
    command.add_argument(
        "--after", metavar="PASS", help="the graph after this pass (a wrong name lists the passes)"
    )
    add_precision(command)
    add_lengths(command)
    command.set_defaults(run=show)

    command = commands.add_parser("bench", help="where the time of a model goes, kernel by kernel")
    add_model(command)
    command.add_argument(
        "--entry",
        choices=("predict", "train"),
        default="predict",
        help="default: %(default)s; train is a step of a model that was saved compiled, on random labels",
    )
    command.add_argument("--batch", type=positive, default=32, help="samples (default: %(default)s)")
    command.add_argument("--threads", type=positive, help="default: KC_THREADS, or all processors")
    command.add_argument("--rounds", type=positive, default=30, help="measured calls (default: %(default)s)")
    command.add_argument("--top", type=positive, metavar="N", help="rows to print (default: all)")
    command.add_argument("--layers", action="store_true", help="a row for each layer, not for each kernel")
    command.add_argument("--json", action="store_true", help="print all that was measured as JSON")
    command.add_argument("--trace", type=Path, metavar="FILE", help="write a trace for Chrome or Perfetto")
    command.add_argument("--html", type=Path, metavar="FILE", help="write a page with a roofline picture")
    add_precision(command)
    add_lengths(command)
    command.set_defaults(run=bench)

    command = commands.add_parser("inspect", help="what a model file or a built library holds")
    add_model(command, "a model file, or what `kcompile build` wrote")
    command.set_defaults(run=inspect)
    return top


def add_model(command: argparse.ArgumentParser, text: str = "a model file") -> None:
    command.add_argument("model", type=Path, metavar="MODEL", help=text)
    command.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="weights of a MODEL that is an architecture alone (.json)",
    )
    command.add_argument(
        "--isolated",
        action="store_true",
        help="read HDF5 in a process of its own, with limits of time and memory: for "
        "files that you have no reason to trust",
    )


def add_precision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="in which matrix products and convolutions multiply (default: %(default)s)",
    )


def add_lengths(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--lengths",
        type=positive,
        nargs="+",
        metavar="SIZE",
        help="sizes that the shapes of the model's inputs leave unknown (None)",
    )


def add_input(command: argparse.ArgumentParser, required: bool) -> None:
    command.add_argument(
        "--input",
        action="append",
        type=Path,
        metavar="X.npy",
        required=required,
        help="an array with one row for each sample; once for each model input",
    )


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number. Received: {text}")
    return number


# ---------------------------------------------------------------- commands


def demo(arguments: argparse.Namespace) -> int:
    from kcompile.demo import run

    held = run(epochs=arguments.epochs, keep=arguments.keep, images=arguments.images)
    return OK if held else CHECK_FAILED


def run(arguments: argparse.Namespace) -> int:
    from kcompile.run import run_script

    return run_script(arguments.script, arguments.arguments, arguments.keras)


def build(arguments: argparse.Namespace) -> int:
    import kcompile

    check_suffix(arguments)
    compiled = compile_model(arguments)
    kcompile.export(compiled, str(arguments.output), target=arguments.target, lengths=arguments.lengths)
    tell_of_library(arguments)
    return OK


def check_suffix(arguments: argparse.Namespace) -> None:
    if (arguments.output.suffix == ".wasm") != (arguments.target == "wasm32"):
        raise ValueError(
            f"a name that ends in .wasm goes with --target wasm32. Received: "
            f"{arguments.output}, --target {arguments.target}"
        )


def tell_of_library(arguments: argparse.Namespace) -> None:
    size = arguments.output.stat().st_size
    print(f"wrote {arguments.output} ({size:,} bytes) and {arguments.output.with_suffix('.h')}")


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
    )
    if arguments.output is not None:
        kcompile.export(made, str(arguments.output), target=arguments.target)
        tell_of_library(arguments)
    return OK


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
    if arguments.output is None:
        for output in outputs:
            print(np.array2string(np.asarray(output), precision=6, suppress_small=True))
        return OK
    if len(arguments.output) != len(outputs):
        raise ValueError(
            f"the model has {len(outputs)} output(s): give --output that many times. "
            f"Received: {len(arguments.output)}"
        )
    for path, output in zip(arguments.output, outputs):
        with path.open("wb") as file:
            np.lib.format.write_array(file, np.asarray(output), allow_pickle=False)
        print(f"wrote {path}: {output.dtype} {output.shape}")
    return OK


def verify(arguments: argparse.Namespace) -> int:
    x = read_arrays(arguments.input)
    compiled = compile_model(arguments)
    report = compiled.verify(x)
    print(report.text())
    if arguments.precision != "float32":
        print(compiled.accuracy(x).text())
    return OK if report.ok else CHECK_FAILED


def show(arguments: argparse.Namespace) -> int:
    stage = arguments.stage or ("passes" if arguments.after else "graph")
    compiled = compile_model(arguments)
    print(compiled.show(stage, arguments.entry, arguments.lengths, arguments.target, arguments.after))
    return OK


def bench(arguments: argparse.Namespace) -> int:
    import json

    from kcompile.profile_page import html

    compiled = compile_model(arguments, threads=arguments.threads)
    profile = compiled.profile(
        entry=arguments.entry, batch=arguments.batch, rounds=arguments.rounds, lengths=arguments.lengths
    )
    if arguments.json:
        print(json.dumps(profile.as_dict(), indent=1))
    else:
        print(profile.text(arguments.top, arguments.layers))
        if arguments.precision != "float32" and not compiled.model.varies:
            print(compiled.accuracy().text())
    for path, text in (
        (arguments.trace, lambda: json.dumps(profile.trace())),
        (arguments.html, lambda: html(profile)),
    ):
        if path is not None:
            path.write_text(text(), encoding="utf-8")
    return OK


def inspect(arguments: argparse.Namespace) -> int:
    if not is_artifact(arguments):
        load_model(arguments).summary()
        return OK
    import kcompile_runtime

    contents = kcompile_runtime.read_contents(arguments.model)
    about = contents.metadata
    rows = [
        ("model", f"{about['name']}, built by kcompile {about.get('version') or '?'}"),
        ("target", f"{about.get('target', contents.machine)} ({about['triple']})"),
        ("needs", ", ".join(map(str, about["cpu_flags"])) or "nothing special"),
        ("runs here", runs_here(contents)),
        ("precision", str(about.get("precision", "float32"))),
        ("batch", "any" if about["batch"] is None else str(about["batch"])),
        *((what, tensor(spec)) for what in ("inputs", "outputs") for spec in about[what]),
        ("bytes", f"{contents.size:,}: {contents.code:,} of code, {contents.data:,} of weights and tables"),
        ("checksum", f"{about['checksum']}, which is right"),
    ]
    for key, value in rows:
        print(printable(f"{key:<10} {value}"))
    return OK


def runs_here(contents) -> str:
    from kcompile_runtime.artifact import check_machine

    try:
        check_machine(contents)
    except ValueError as error:
        return f"no: {error}"
    return "yes"


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


def looks_built(path: Path) -> bool:
    """By its name, or by its first bytes: a shared object or a WebAssembly module."""
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

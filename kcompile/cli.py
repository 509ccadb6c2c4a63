"""The command line: enters arguments, leaves an exit status (`STATUSES`) and text.

What commands do is in `kcompile.commands`; this module holds arguments and errors. The compiler is imported
by the command that needs it; `--help` and a wrong argument answer at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kcompile import commands
from kcompile.commands import CHECK_FAILED, OK
from kcompile.stages import ENTRIES, PRECISIONS, STAGES
from kcompile_runtime.debug import debug_level
from kcompile_runtime.serving_limits import add_arguments as add_serving
from kcompile_runtime.texts import printable_lines

BAD_INPUT, INTERNAL, INTERRUPTED = 2, 3, 130
STATUSES = {
    OK: "done",
    CHECK_FAILED: "a check failed: of verify, or of the demo",
    BAD_INPUT: "wrong arguments or input, told in one message on stderr",
    INTERNAL: "an internal error, a bug of ours; KC_DEBUG=1 shows the traceback, of this and of wrong input",
    INTERRUPTED: "interrupted (Ctrl-C)",
}
OF_RUN = "`run` ends as the script does: with its status, or 1 and its traceback."
SHELLS = ("bash", "zsh", "tcsh")  # those of shtab
EXPECTED = (OSError, ValueError, TypeError, ImportError, NotImplementedError)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; without one, prints what there are. argv: the arguments without the program's name,
    `sys.argv[1:]` if None."""
    given = sys.argv[1:] if argv is None else argv
    if not given:
        parser().print_help(sys.stderr)
        return BAD_INPUT
    arguments, debug = parser().parse_args(given), 0
    try:
        debug = debug_level()
        with told(arguments.verbose):
            status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `kcompile show ... | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("kcompile: interrupted", file=sys.stderr)
        return INTERRUPTED
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

    statuses = "\n".join(f"  {status:3}  {meaning}" for status, meaning in STATUSES.items())
    top = argparse.ArgumentParser(
        prog="kcompile",
        description="Compile Keras models to native code: predict, train, export.",
        epilog=f"exit status:\n{statuses}\n{OF_RUN}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"kcompile {__version__}")
    top.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="before the command: tell on stderr what is compiled; -vv: also the times of all stages",
    )
    subcommands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = subcommands.add_parser("demo", help="train, export, reload and verify a small network")
    command.add_argument("--epochs", type=positive, default=20, help="default: %(default)s")
    command.add_argument("--images", type=positive, help="to train on (default: all)")
    command.add_argument("--keep", type=Path, metavar="DIR", help="leave model.so and model.h in this folder")
    command.add_argument(
        "--json", action="store_true", help="print what was checked as JSON, all else on stderr"
    )
    command.set_defaults(run=commands.demo)

    command = subcommands.add_parser(
        "run", help="run a Keras script unchanged, with `keras` meaning kcompile's"
    )
    command.add_argument(
        "--keras",
        choices=("2", "2.2.4", "2.3.1", "3"),
        help="which Keras `keras` is (default: what KC_KERAS "
        "says, else 2, which is 2.3.1); tensorflow.keras is always tf.keras 2",
    )
    command.add_argument(
        "--mpi",
        action="store_true",
        help="train with the other processes of `mpiexec -n N kcompile run --mpi SCRIPT.py` (extra `mpi`)",
    )
    command.add_argument("script", type=Path, metavar="SCRIPT.py")
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    command.set_defaults(run=commands.run)

    command = subcommands.add_parser(
        "build", help="compile a model into a shared library, or write it as ONNX"
    )
    add_model(command)
    form = command.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.so",
        help="a name that ends in .onnx makes a file of ONNX (extra `onnx`)",
    )
    form.add_argument(
        "--wheel",
        type=Path,
        nargs="?",
        const=Path("."),
        metavar="DIR",
        help="write a wheel into this folder (default: the current one), which installs as a package that "
        "predicts, with numpy and kcompile-runtime alone",
    )
    form.add_argument(
        "--npm",
        type=Path,
        metavar="DIR",
        help="write a package for JavaScript into this folder (with --target wasm32)",
    )
    command.add_argument("--name", help="of the package (default: the model's)")
    command.add_argument(
        "--package-version", metavar="VERSION", help="of the package (default: 1.0, or 1.0.0)"
    )
    command.add_argument(
        "--target",
        default="native",
        help="a processor: x86-64, x86-64-v2, -v3, -v4, aarch64, riscv64, wasm32 (FILE.wasm), cortex-m4, "
        "cortex-m7, thumbv7em (FILE.o), cuda (a folder); default: %(default)s",
    )
    command.add_argument(
        "--train",
        action="store_true",
        help="with a function of one training step, as the MODEL, which was saved compiled, says how",
    )
    add_precision(command)
    add_lengths(command)
    add_json(command)
    command.set_defaults(run=commands.build)

    command = subcommands.add_parser(
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
    add_json(command)
    command.set_defaults(run=commands.quantize)

    command = subcommands.add_parser("predict", help="predictions of a model or a built library")
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
    add_json(command)
    command.set_defaults(run=commands.predict)

    command = subcommands.add_parser(
        "verify", help="compare the compiled code with the interpreter, layer by layer"
    )
    add_model(command)
    add_input(command, required=False)
    add_precision(command)
    add_json(command)
    command.set_defaults(run=commands.verify)

    command = subcommands.add_parser("show", help="print the model as a stage of the compiler sees it")
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
    command.set_defaults(run=commands.show)

    command = subcommands.add_parser("bench", help="where the time of a model goes, kernel by kernel")
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
    add_json(command)
    command.add_argument("--trace", type=Path, metavar="FILE", help="write a trace for Chrome or Perfetto")
    command.add_argument("--html", type=Path, metavar="FILE", help="write a page with a roofline picture")
    add_precision(command)
    add_lengths(command)
    command.set_defaults(run=commands.bench)

    command = subcommands.add_parser(
        "serve", help="answer requests for predictions over HTTP (extra `serve`)"
    )
    command.set_defaults(run=commands.serve)
    add_serving(command)

    command = subcommands.add_parser(
        "report", help="a page on what a model is compiled to: graphs, kernels, times, memory, accuracy"
    )
    add_model(command)
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE.html",
        help="a name that ends in .svg makes a picture of the graph before and after fusion alone",
    )
    command.add_argument("--batch", type=positive, default=32, help="samples (default: %(default)s)")
    command.add_argument("--threads", type=positive, help="default: KC_THREADS, or all processors")
    command.add_argument("--rounds", type=positive, default=30, help="measured calls (default: %(default)s)")
    command.add_argument("--target", metavar="NAME", help="of a picture's kernels (default: this machine)")
    add_json(command)
    add_precision(command)
    add_lengths(command)
    command.set_defaults(run=commands.report)

    command = subcommands.add_parser("inspect", help="what a model file or a built library holds")
    add_model(command, "a model file, or what `kcompile build` wrote")
    add_json(command)
    command.set_defaults(run=commands.inspect)

    command = subcommands.add_parser(
        "completion",
        help="print what makes a shell complete commands, arguments and files (extra `completion`)",
    )
    command.add_argument("shell", choices=SHELLS)
    command.set_defaults(run=lambda arguments: commands.completion(top, arguments.shell))
    return top


@contextmanager
def told(verbose: int) -> Iterator[None]:
    """Show what is logged: 1 what is compiled, 2 also times; 0 warnings, as Python does by itself."""
    if not verbose:
        yield
        return
    log, handler = logging.getLogger("kcompile"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("kcompile: %(message)s"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


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


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print all of it as JSON, and nothing else")


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

"""Twenty networks on every target of libraries: the differences, the sizes, the start-up times.

    python -m benchmarks.exported [--only NAME ...] [--targets NAME ...] [--report docs/exported.md]

Each network of the benchmarks is exported for each target and run where it belongs: here, emulated by QEMU,
or in Node. Its outputs are compared with those of the interpreter in float64. Start-up times are those of a
program in C that loads the library and predicts one sample, and for wasm32 from the bytes to the first
prediction within Node. Emulated ones are not timed. What a machine cannot run says why.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from benchmarks.models import BENCHMARKS, Benchmark, inputs
from benchmarks.networks import random_weights
from benchmarks.report import processor
from benchmarks.session import clock
from kcompile import keras3
from kcompile.interpreted import InterpreterEngine
from kcompile_runtime import KcompileError, read_contents
from kcompile_runtime.working import followed

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests" / "runtime"))  # what the tests run libraries elsewhere with

import elsewhere  # noqa: E402

SOURCE = Path(__file__).with_name("start.c")
NODE = Path(__file__).with_name("start.mjs")
SAMPLES = 2
LARGE = ("conv-3x3", "unet", "volumes", "mobile", "mobilenet_v2", "resnet50")  # take minutes to emulate
STARTS = 5


@dataclass(frozen=True)
class Found:
    """Of a network on a target. difference: the largest of an output, over its largest number. code, data:
    bytes of code, and of weights and tables. start, call: seconds until the first prediction of one sample is
    there, and of a later one; None where they were not measured."""

    difference: float
    code: int
    data: int
    start: float | None = None
    call: float | None = None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [b.name for b in BENCHMARKS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--targets", nargs="+", default=list(elsewhere.TARGETS), metavar="NAME")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the table as a page")
    arguments = parser.parse_args(argv)
    table: dict[str, dict[str, Found | str]] = {}
    for benchmark in followed([b for b in BENCHMARKS if b.name in arguments.only], "networks"):
        table[benchmark.name] = measured(benchmark, arguments.targets)
        for target, found in table[benchmark.name].items():
            print(f"{benchmark.name:16}{target:12}{found}", flush=True)
    if arguments.report is not None:
        arguments.report.write_text(page(table, arguments.targets), encoding="utf-8")
    return 0


def measured(benchmark: Benchmark, targets: Sequence[str]) -> dict[str, Found | str]:
    """By target, what was found, or why nothing was."""
    model = benchmark.model(keras3)
    model.set_weights(random_weights(model))
    small = benchmark.name not in LARGE
    x, _ = inputs(benchmark, SAMPLES)
    arrays = list(x) if isinstance(x, list) else [x]
    right = InterpreterEngine(model, "float64").run("predict", SAMPLES, arrays)
    found: dict[str, Found | str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in targets:
            if not small and (target in elsewhere.EMULATED or target in elsewhere.BARE):
                found[target] = "too large to emulate"
                continue
            try:
                path = Path(folder) / f"model{elsewhere.suffix(target)}"
                kcompile.export(model, path, target=target)
                found[target] = _found(path, elsewhere.run(path, SAMPLES, arrays), right)
            except pytest.skip.Exception as reason:
                found[target] = str(reason)
            except subprocess.CalledProcessError:
                found[target] = "does not fit the board"
            except (AssertionError, KcompileError) as error:
                found[target] = f"FAILED: {str(error).splitlines()[0]}"
    return found


def _found(path: Path, got: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> Found:
    about = elsewhere.metadata(path)
    difference = max(float(np.abs(g - r).max() / np.abs(r).max()) for g, r in zip(got, right, strict=True))
    command: list[Any] = []
    if about["triple"].startswith("wasm32"):
        command = ["node", NODE, path]
    elif about["triple"].startswith(platform.machine()):
        command = [elsewhere.driver("x86_64-linux-gnu.2.28", source=SOURCE), path, about["name"]]
    contents = read_contents(path)
    sizes = contents.code, contents.data
    if not command:
        return Found(difference, *sizes)
    runs = []
    for _ in range(STARTS):
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        runs.append([float(word) / 1e6 for word in said])
    return Found(difference, *sizes, *map(min, zip(*runs)))


def page(table: dict[str, dict[str, Found | str]], targets: Sequence[str]) -> str:
    lines = [
        "# Exported",
        "",
        f"By `python -m benchmarks.exported --report FILE` on {datetime.date.today()}: {processor()}. Twenty "
        "networks, with random weights, on each target that libraries are exported for; QEMU emulates "
        "processors that are not there. ResNet50's softmax is one at a single class with such weights: its "
        "row of differences says little.",
        "",
        "## Outputs beside the interpreter",
        "",
        "The largest difference from float64, over the largest number of an output.",
        "",
        *_rows(table, targets, lambda f: f"{f.difference:.0e}"),
        "",
        "## Thousands of bytes, of code and of weights",
        "",
        *_rows(table, targets, lambda f: f"{f.code / 1000:.0f} + {f.data / 1000:.0f}"),
        "",
        "## The first prediction, and a later one",
        "",
        "One sample, one thread. For processors: from the start of a C program's `main`, which loads the "
        "library, to the end of its first prediction; for wasm32: in Node, from the bytes of the module. The "
        f"best of {STARTS} processes.",
        "",
        *_rows(
            table,
            [t for t in targets if any(getattr(found[t], "start", None) for found in table.values())],
            lambda f: f"{clock(f.start)}, {clock(f.call)}" if f.start and f.call else "",
        ),
        "",
    ]
    return "\n".join(lines)


def _rows(
    table: dict[str, dict[str, Found | str]], targets: Sequence[str], text: Callable[[Found], str]
) -> list[str]:
    lines = [f"| network | {' | '.join(targets)} |", "|---" * (len(targets) + 1) + "|"]
    for name, found in table.items():
        cells = [text(f) if isinstance(f := found[t], Found) else f for t in targets]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())

"""Measure us and every installed peer on the same models, in turn, and print ratios.

    python -m benchmarks [--only NAME ...] [--peers NAME ...] [--rounds N] [--threads N] [--busy K ...]
        [--avx2] [--report FILE.md]

Every engine gets the same weights and inputs; its predictions, or its first losses in training, are
compared with ours before anything is timed. Then the engines are timed one after the other, round
after round, so that what disturbs the machine disturbs all of them. Printed: median and spread
(quartiles) of the rounds, the median over the rounds of each peer's time over ours (above 1: we are
faster), and where arithmetic dominates, the share of the machine's measured peak. Before each row it
is said what several threads can do at that moment: on a virtual machine they may be given one core.
With --busy, see `benchmarks.busy`. With --avx2, code is made for processors that have no more, and peers are
held to it, those that can be: OpenVINO, XLA and OpenBLAS by their variables; ONNX Runtime has none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import busy
from benchmarks.engines import ENGINES, OURS
from benchmarks.floor import fma_peak, scaling
from benchmarks.models import BENCHMARKS, Benchmark, flops
from benchmarks.report import Measured, processor, write
from benchmarks.session import clock, prepared, start
from benchmarks.start import COMPILED, IMPORTS, compile_seconds, import_seconds
from benchmarks.worker import Row, Worker
from kcompile_runtime.working import followed

ROUND_SECONDS = 0.05  # one engine's share of one round
START = "start"
HELD = " (code held to AVX2; ONNX Runtime has no switch for it and uses what the processor has)"
AVX2 = {  # what holds code to it, for the processes that are started
    "KC_TARGET": "x86-64-v3",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


def rows(names: Sequence[str]) -> list[tuple[Benchmark, Row]]:
    """Everything to measure, in order."""
    chosen = [b for b in BENCHMARKS if not names or b.name in names]
    return [
        (b, row)
        for b in chosen
        for row in (
            *(Row(b.name, "predict", batch) for batch in b.predict),
            *(Row(b.name, "train", batch) for batch in b.train),
            *(Row(b.name, "fit", b.train[0], steps) for steps in b.fit),
        )
    ]


def measure(workers: Sequence[Worker], rounds: int, steps: int = 1) -> dict[str, np.ndarray]:
    """Seconds a call (of fit: a step), [rounds], for each engine. The first round warms up and is not
    kept."""
    repeats = {}
    for worker in workers:
        worker.timed("seconds", 3)
        repeats[worker.name] = max(1, int(ROUND_SECONDS / (steps * worker.timed("seconds", 3))))
    times: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for number in followed(range(rounds + 1), "rounds"):
        turn = number % len(workers)
        for worker in (*workers[turn:], *workers[:turn]):
            seconds = worker.timed("seconds", repeats[worker.name])
            if number:
                times[worker.name].append(seconds)
    return {name: np.array(t) for name, t in times.items()}


def show_row(benchmark: Benchmark, row: Row, times: dict[str, np.ndarray], peak: float) -> None:
    ours = times.get(OURS)
    work = flops(benchmark, row.mode) * row.batch if benchmark.bound else 0
    for name, seconds in times.items():
        low, middle, high = np.percentile(seconds, (25, 50, 75))
        line = f"  {name:18}{clock(middle):>10}  [{clock(low)} .. {clock(high)}]"
        line += f"  best {clock(seconds.min())}"
        if name != OURS and ours is not None:
            line += f"  ratio {np.median(seconds / ours):.2f}"  # within a round all met the same
        if work:
            line += f"  {work / seconds.min() / peak:.0%} of peak at best"
        print(line)
    if work:
        print(f"  {'floor':18}{clock(work / peak):>10}  at {peak / 1e9:.0f} GFLOP/s")


def show_start(threads: int, rounds: int) -> None:
    """Import times, and those to compile."""
    print(f"\n{START}: imports, in fresh processes")
    for module in IMPORTS:
        seconds = import_seconds(module, rounds)
        print(f"  {module:18}{clock(seconds) if seconds is not None else 'not installed':>10}")
    for name, batch, training, times in COMPILED:
        print(f"\n{START}: compile {name} until its first {'training step' if training else 'prediction'}")
        taken = compile_seconds(name, batch, training, threads, times)
        for kind, seconds in zip(("cold", "disk cache"), taken):
            print(f"  {kind:18}{clock(seconds) if seconds is not None else 'failed':>10}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=[*(b.name for b in BENCHMARKS), START],
        help="benchmarks to run: %(choices)s",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        default=list(ENGINES),
        metavar="NAME",
        choices=list(ENGINES),
        help="engines besides us: %(choices)s",
    )
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument(
        "--busy",
        nargs="+",
        type=int,
        default=[],
        metavar="K",
        help="measure beside K busy programs instead, for each K (0: beside none)",
    )
    parser.add_argument("--avx2", action="store_true", help="as on a processor with AVX2 and no more")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.md", help="write a page of all rows, and a chart beside it"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    if arguments.avx2:
        os.environ.update(AVX2)
    if arguments.busy:
        busy.run(
            arguments.busy,
            [b for b in BENCHMARKS if b.name in arguments.only or not arguments.only],
            arguments.peers,
            arguments.threads,
            arguments.rounds,
        )
        return 0
    if not arguments.only or START in arguments.only:
        show_start(arguments.threads, rounds=5)
    chosen = rows([name for name in arguments.only if name != START])
    if arguments.only == [START]:
        return 0
    print(f"\nengines, {arguments.threads} threads")
    workers = start([OURS, *(p for p in arguments.peers if p != OURS)], arguments.threads)
    measured: list[Measured] = []
    peak = 0.0  # the best seen in this run: a busy moment must not make the floor look low
    for benchmark, row in chosen:
        print(
            f"\n{row}  ({arguments.threads} threads do {scaling(arguments.threads):.2f} times the work "
            "of one)"
        )
        ready = prepared(workers, row)
        if ready:
            times = measure(ready, arguments.rounds, row.steps)
            peak = max(peak, fma_peak(arguments.threads)) if benchmark.bound else peak
            show_row(benchmark, row, times, peak)
            measured.append(Measured(row, times))
    versions = [worker.ask("version") for worker in workers]
    for worker in workers:
        worker.close()
    if arguments.report is not None:
        write(
            arguments.report,
            measured,
            versions,
            arguments.threads,
            processor() + (HELD if arguments.avx2 else ""),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

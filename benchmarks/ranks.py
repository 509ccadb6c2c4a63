"""Data-parallel training, measured on this machine and beside its cost model: `python -m benchmarks.ranks`.

Enters: nothing but the machine (extra `mpi`). Leaves: tables of steps on 1, 2 and 4 ranks, measured and
predicted from one rank and the network's two numbers; the same bits over ten runs; losses beside one process;
what a rank that fails or differs leads to, with seconds; and what the model says of 64 machines. `--page
docs/scaling.md` writes them into the page, `--quick` measures little, to see that it works.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling import NETWORKS, Model, Network, fitted, strong, weak
from benchmarks.session import clock

RANKS = (1, 2, 4)
FAR = (1, 2, 4, 8, 16, 32, 64)
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
FAILURES = {
    "raise": "an exception while rank 1 makes its batch",
    "kill": "SIGKILL of rank 1",
    "end": "a generator that ends on rank 1",
    "length": "data of another length on rank 1",
    "nan": "a NaN in a row of rank 1",
}


def mpiexec() -> str:
    """The program that starts ranks: that of this environment, or of the system."""
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise SystemExit("benchmarks.ranks: mpiexec is not there: pip install 'kcompile[mpi]'")
    return found


def work(folder: Path, ranks: int, job: str, *given: str) -> tuple[Any, float, str]:
    """What a job left (None where it failed), its seconds, and the last line that says why."""
    start = [mpiexec(), "-n", str(ranks)] if ranks else []
    python = [sys.executable, *(["-m", "mpi4py"] if ranks else []), "-m", "benchmarks.rank_worker"]
    environment = {k: v for k, v in os.environ.items() if k != "KC_THREADS"}
    if ranks:
        environment["KC_THREADS"] = "1"
    file, begin = folder / f"{job}.json", time.perf_counter()
    file.unlink(missing_ok=True)
    done = subprocess.run(
        [*start, *python, job, str(folder), *given], capture_output=True, text=True, env=environment
    )
    took = time.perf_counter() - begin
    printed = (done.stderr + done.stdout).splitlines()
    said = [line for key in ("failed in", "Error: ", "signal") for line in printed if key in line]
    return (json.loads(file.read_text()) if file.exists() else None), took, said[0] if said else ""


def measured(folder: Path, rounds: int, runs: int) -> dict[str, Any]:
    """All figures."""
    figures: dict[str, Any] = {
        "date": str(datetime.date.today()),
        "processors": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
    }
    print("one process ...", flush=True)
    figures["alone"], _, said = work(folder, 0, "alone", str(rounds))
    if figures["alone"] is None:
        raise SystemExit(f"benchmarks.ranks: one process failed: {said}")
    figures["ranks"] = {}
    for ranks in RANKS:
        print(f"{ranks} ranks ...", flush=True)
        figures["ranks"][ranks], _, said = work(folder, ranks, "ranks", str(rounds))
        if figures["ranks"][ranks] is None:
            raise SystemExit(f"benchmarks.ranks: {ranks} ranks failed: {said}")
    print("bits and losses ...", flush=True)
    one = work(folder, 0, "curves", "alone")[0]
    figures["runs"], figures["same bits"], figures["losses differ"] = runs, {}, {}
    for ranks in RANKS[1:]:
        found = [work(folder, ranks, "curves")[0] for _ in range(runs)]
        figures["same bits"][ranks] = all(each == found[0] for each in found) and found[0] is not None
        figures["losses differ"][ranks] = {
            name: max(abs(a / b - 1) for a, b in zip(found[0][name]["losses"], one[name]["losses"]))
            for name in one
        }
    print("failures ...", flush=True)
    _, usual, _ = work(folder, 2, "fails", "none")
    figures["failures"] = {"none": [usual, ""]}
    for how in FAILURES:
        result, took, said = work(folder, 2, "fails", how)
        figures["failures"][how] = [took, said or (f"losses {result['losses']}" if result else "")]
    return figures


# ---------------------------------------------------------------- beside the model


def models(figures: dict[str, Any]) -> list[Model]:
    """The models as one rank measures them."""
    found = []
    for name, of in figures["alone"].items():
        stages = {int(n): s for n, s in of["stages"].items()}
        points = sorted((n, sum(s["parts"][:-1])) for n, s in stages.items())
        whole = stages[of["batch"]]
        found.append(Model(name, tuple(points), whole["parts"][-1], tuple(whole["sums"])))
    return found


def network(figures: dict[str, Any], ranks: int) -> Network:
    """This machine's, for so many ranks."""
    exchanges = figures["ranks"][ranks]["exchanges"]
    sizes = sorted(map(int, exchanges))
    return fitted(sizes, [exchanges[str(n)] if str(n) in exchanges else exchanges[n] for n in sizes], ranks)


def lines(figures: dict[str, Any]) -> list[str]:
    """The tables, as Markdown."""
    figures = json.loads(json.dumps(figures))
    figures["ranks"] = {int(k): v for k, v in figures["ranks"].items()}
    processors = figures["processors"]
    out = [
        f"By `python -m benchmarks.ranks` on {figures['date']}, {processors} processors "
        f"({figures['machine']}); "
        "ranks are processes on this one machine, with a thread each. Medians.",
        "",
        "### A step, measured and predicted",
        "",
        "| network | batch | ranks | of them a processor | step | of it in sums | predicted | off "
        "| samples/s | efficiency |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    known = models(figures)
    for model in known:
        of = figures["alone"][model.name]
        batch, base = of["batch"], figures["ranks"][1]["models"][model.name]["None"]["step"]
        for ranks in RANKS:
            row = figures["ranks"][ranks]["models"][model.name]["None"]
            share = max(1.0, ranks / processors)
            said = model.step(ranks, batch / ranks, network(figures, ranks), share)
            cells = (
                model.name,
                str(batch),
                str(ranks),
                f"{share:g}",
                clock(row["step"]),
                clock(row["in sums"]),
                clock(said),
                f"{said / row['step'] - 1:+.0%}",
                f"{batch / row['step']:,.0f}",
                f"{base / row['step'] / ranks:.0%}",
            )
            out.append(f"| {' | '.join(cells)} |")
    out += [
        "",
        "Efficiency is the speed over that of one rank, over the number of ranks: on so many "
        "processors it cannot be more "
        f'than {processors} over the number of ranks. "In sums" has the wait for the slowest rank in it.',
        "",
        "### What else one machine can do",
        "",
        "| network | one process, one thread | one process, all threads | one rank, in stages | 2 "
        "ranks | 2 ranks, buckets of 1 MiB | of 256 KiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in known:
        of, two = figures["alone"][model.name], figures["ranks"][2]["models"][model.name]
        row = (
            of["one thread"],
            of["all threads"],
            of["stages"][str(of["batch"])]["step"],
            two["None"]["step"],
        )
        buckets = [clock(two[str(size)]["step"]) for size in (1 << 20, 1 << 18)]
        out.append(f"| {model.name} | {' | '.join([*map(clock, row), *buckets])} |")
    two = figures["ranks"][2]["models"]["convolutions"]
    found = {ranks: network(figures, ranks) for ranks in RANKS[1:]}
    told = "; ".join(
        f"{n} ranks: alpha {clock(net.alpha)}, beta {clock(net.beta * 1e6)} a MB" for n, net in found.items()
    )
    out += [
        "",
        f"Statistics of batch normalisation on 2 ranks: {clock(two['global'])} a step where they are "
        "of whole batches, "
        f"{clock(two['local'])} where they are each rank's own (convolutions).",
        "",
        f"Sums alone: {told}.",
        "",
        "### The same numbers",
        "",
        "| ranks | same bits in "
        f"{figures['runs']} runs | losses of three epochs differ from one process by at most |",
        "|---|---|---|",
    ]
    for ranks, same in figures["same bits"].items():
        off = max(figures["losses differ"][ranks].values())
        out.append(f"| {ranks} | {'yes' if same else 'NO'} | {off:.1e} of the loss |")
    usual = figures["failures"]["none"][0]
    out += [
        "",
        "### What goes wrong",
        "",
        f"On 2 ranks, in the fourth batch of 50; the whole program takes {usual:.1f} s where nothing "
        "does, from its start.",
        "",
        "| what | until all ended | what was said |",
        "|---|---|---|",
    ]
    for how, about in FAILURES.items():
        took, said = figures["failures"][how]
        out.append(f"| {about} | {took:.1f} s | {said[:150].replace('|', '/')} |")
    out += ["", *predictions(figures, known)]
    return out


def predictions(figures: dict[str, Any], known: Sequence[Model]) -> list[str]:
    """What the cost model says of machines like this one, of which each is a rank on one processor."""
    out = [
        "### To 64 machines, on paper",
        "",
        "Efficiency where each machine has the batch above (weak scaling), and how many times as "
        "fast as one machine where all "
        "share it (strong scaling).",
        "",
        "| network | joined by | " + " | ".join(f"{p}" for p in FAR[1:]) + " | share it: 4 | 16 | 64 |",
        "|---|---|" + "---|" * (len(FAR) - 1 + 3),
    ]
    for model in known:
        batch = figures["alone"][model.name]["batch"]
        for net in NETWORKS:
            far = weak(model, net, FAR[1:], batch)
            near = strong(model, net, (4, 16, 64), batch)
            cells = [f"{e:.0%}" for e in far] + [f"{s:.1f}" for s in near]
            out.append(f"| {model.name} | {net.name} | " + " | ".join(cells) + " |")
    return out


def write(page: Path, text: str) -> None:
    """Put the tables between the marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, two runs: to see that it works")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="write the figures here")
    parser.add_argument("--figures", type=Path, metavar="FILE.json", help="measure nothing: those of -o")
    parser.add_argument("--page", type=Path, metavar="FILE.md", help="put the tables into this page")
    given = parser.parse_args(argv)
    if given.figures:
        figures = json.loads(given.figures.read_text())
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measured(Path(folder), 3 if given.quick else 30, 2 if given.quick else 10)
    if given.output:
        given.output.write_text(json.dumps(figures, indent=1))
    text = "\n".join(lines(figures))
    if given.page:
        write(given.page, text)
    print(text)


if __name__ == "__main__":
    assert np
    main()

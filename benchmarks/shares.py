"""The share of this machine's multiply-adds that each layer of a network reaches, forward and in gradients.

    python -m benchmarks.shares [--networks NAME ...] [--batch N] [--threads N] [--rounds N]
        [--report FILE.md]

NAME is a class of keras.applications; "recurrent" is LSTM and GRU layers of many sizes, each by itself. A
share is of the multiply-adds of the direct algorithm, so Winograd's may be above 1. The worst of each network
are named, with what bounds them: bytes, where memory would take longer than the arithmetic, at the measured
rates.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kcompile
from benchmarks.report import processor
from kcompile import keras
from kcompile.profiling import KernelTime, Profile, spelt_time

NETWORKS = ("ResNet50", "VGG16", "MobileNetV2")
RECURRENT = "recurrent"
UNITS, BATCHES, STEPS = (32, 64, 128, 256, 512, 1024), (1, 8, 32, 128), 16
KINDS = ("forward", "gradient of the input", "gradient of the kernel")
WORST = 5


@dataclass(frozen=True)
class Share:
    """One contraction of a layer. share: of the multiply-adds a second that the machine does."""

    layer: str
    kind: str
    time: KernelTime
    share: float
    by_memory: bool

    def text(self, bandwidth: float) -> str:
        speed, rate = self.time.rates
        bound = f"bytes: {rate:.0f} of {bandwidth / 1e9:.0f} GB/s" if self.by_memory else "arithmetic"
        what = self.time.label.split(",")[0].removeprefix("contract ")
        return (
            f"| {self.layer} | {self.kind} | {what} | {spelt_time(self.time.seconds)} | {speed:.0f} | "
            f"{self.share:.0%} | {bound} |"
        )


def shares(profile: Profile) -> list[Share]:
    """The contractions of a profile; the first of a layer is forward."""
    seen: set[str] = set()
    made = []
    for k in profile.kernels:
        if not k.flops or not k.layers:
            continue
        layer = k.layers[0]
        sums_batch = "n" in k.label.split(",")[0].split("x")[-1]
        kind = KINDS[2] if sums_batch else KINDS[layer in seen]
        seen.add(layer)
        share = k.flops / max(k.seconds, 1e-12) / profile.flops
        by_memory = k.bytes / profile.bandwidth > k.flops / profile.flops
        made.append(Share(layer, kind, k, share, by_memory))
    return made


def of_network(name: str, batch: int, threads: int, rounds: int) -> Iterator[str]:
    """Lines of a page about one network: predict, and a training step."""
    model: Any = getattr(keras.applications, name)(weights=None)
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    compiled = kcompile.compile(model, threads=threads)
    yield f"## {name}, batch {batch}"
    yield ""
    for entry in ("predict", "train"):
        profile = compiled.profile(entry=entry, batch=batch, rounds=rounds)
        found = shares(profile)
        yield (
            f"{entry}: {spelt_time(profile.seconds)}; limits {profile.flops / 1e9:.0f} GFLOP/s, "
            f"{profile.bandwidth / 1e9:.0f} GB/s. Of the multiply-adds, all contractions together: "
            + ", ".join(
                _whole(found, kind, profile.flops) for kind in KINDS[: 1 if entry == "predict" else 3]
            )
            + "."
        )
        yield ""
        yield "| layer | what | rows x columns x summed | time | GFLOP/s | share | bound |"
        yield "|---|---|---|---|---|---|---|"
        lost = sorted(found, key=lambda s: s.time.floor - s.time.seconds)
        yield from (s.text(profile.bandwidth) for s in lost[:WORST])
        yield ""


def _whole(found: Sequence[Share], kind: str, flops: float) -> str:
    rows = [s.time for s in found if s.kind == kind]
    seconds = sum(k.seconds for k in rows)
    share = sum(k.flops for k in rows) / max(seconds, 1e-12) / flops
    return f"{kind} {share:.0%}"


def recurrent(threads: int, rounds: int) -> Iterator[str]:
    """Lines of a page about LSTM and GRU layers: the share of a whole call."""
    yield f"## LSTM and GRU, {STEPS} steps, as many features as units"
    yield ""
    for entry in ("predict", "train"):
        yield "| " + " | ".join([entry, *(f"batch {n}" for n in BATCHES)]) + " |"
        yield "|---" * (len(BATCHES) + 1) + "|"
        for name in ("LSTM", "GRU"):
            for units in UNITS:
                cells = [_cell(name, units, batch, entry, threads, rounds) for batch in BATCHES]
                yield f"| {name} {units} | " + " | ".join(cells) + " |"
        yield ""


def _cell(name: str, units: int, batch: int, entry: str, threads: int, rounds: int) -> str:
    layer = getattr(keras.layers, name)(units)
    model = keras.models.Sequential([keras.layers.Input(shape=(STEPS, units)), layer])
    model.compile(optimizer="sgd", loss="mse")
    compiled = kcompile.compile(model, threads=threads)
    x = np.random.default_rng(0).normal(size=(batch, STEPS, units)).astype(np.float32)
    y = np.zeros((batch, units), np.float32) if entry == "train" else None
    profile = compiled.profile(x, y, rounds=rounds)
    flops = sum(k.flops for k in profile.kernels)
    return f"{flops / profile.seconds / profile.flops:.0%}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shares",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS, RECURRENT], metavar="NAME")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the page here too")
    given = parser.parse_args(argv)
    lines = [
        "# Shares of the machine's multiply-adds",
        "",
        f"By `python -m benchmarks.shares --report FILE` on {datetime.date.today()}: {processor()}, "
        f"{given.threads} threads.",
        "",
    ]
    print("\n".join(lines))
    for name in given.networks:
        part = (
            recurrent(given.threads, given.rounds)
            if name == RECURRENT
            else of_network(name, given.batch, given.threads, given.rounds)
        )
        for line in part:
            print(line, flush=True)
            lines.append(line)
    if given.report is not None:
        given.report.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

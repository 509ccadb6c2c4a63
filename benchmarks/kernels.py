"""Where the time of a benchmark's model goes: `kcompile bench` for models that are no files.

    python -m benchmarks.kernels MODEL [--entry predict|train] [--batch N] [--threads N] [--top N]

MODEL is a benchmark's name or a model file. See `kcompile.profiling` for what is measured.
"""

from __future__ import annotations

import argparse
from typing import Any

import kcompile
from benchmarks.models import BENCHMARKS
from kcompile import keras


def model_of(name: str) -> Any:
    """A benchmark's model, compiled for training, or one from a file (compiled if it was saved so)."""
    found = [b for b in BENCHMARKS if b.name == name]
    if not found:
        return kcompile.load(name)
    model = found[0].model(keras)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model")
    parser.add_argument("--entry", choices=("predict", "train"), default="predict")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--top", type=int, default=20, help="kernels to show, the largest loss first")
    given = parser.parse_args()
    compiled = kcompile.compile(model_of(given.model), threads=given.threads)
    profile = compiled.profile(entry=given.entry, batch=given.batch, rounds=given.rounds)
    print(profile.text(given.top))


if __name__ == "__main__":
    main()

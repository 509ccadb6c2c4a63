"""What `benchmarks.ranks` runs on each rank: `python -m benchmarks.rank_worker JOB FOLDER [ARGUMENTS]`.

Enters: a job. Leaves: JSON in the folder, of rank 0.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import kcompile
from kcompile import keras
from kcompile.keras import layers as L
from kcompile.parallel import engine as parallel
from kcompile.parallel.communicator import Alone, MpiCommunicator
from kcompile_runtime.arrays import Array

SIZES = [64, 4096, 16384, 65536, 1 << 18, 1 << 20, 1 << 22, 1 << 24]  # bytes of exchanges
BUCKETS = [1 << 20, 1 << 18]


class Timed:
    """A communicator that counts the seconds of sums."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.rank, self.size = inner, inner.rank, inner.size
        self.seconds, self.sizes = 0.0, list[int]()

    def allreduce(self, array: Array) -> None:
        begin = time.perf_counter()
        self.inner.allreduce(array)
        self.seconds += time.perf_counter() - begin
        self.sizes.append(array.nbytes)

    def broadcast(self, array: Array) -> None:
        self.inner.broadcast(array)

    def abort(self, message: str) -> None:
        self.inner.abort(message)


def perceptron() -> tuple[Any, Array, Array]:
    model = keras.models.Sequential(
        [
            L.Dense(1024, activation="relu", input_shape=(784,)),
            L.Dense(1024, activation="relu"),
            L.Dense(10, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(0)
    return model, rng.random((256, 784), dtype=np.float32), rng.integers(0, 10, 256)


def convolutions() -> tuple[Any, Array, Array]:
    layers = [L.InputLayer((32, 32, 3))]
    for channels in (32, 64):
        for _ in range(2):
            layers += [L.Conv2D(channels, 3, padding="same"), L.BatchNormalization(), L.Activation("relu")]
        layers.append(L.MaxPooling2D())
    layers += [L.Flatten(), L.Dense(128, activation="relu"), L.Dense(10, activation="softmax")]
    rng = np.random.default_rng(0)
    x = rng.random((64, 32, 32, 3), dtype=np.float32)
    return keras.models.Sequential(layers), x, rng.integers(0, 10, 64)


def words() -> tuple[Any, Array, Array]:
    model = keras.models.Sequential(
        [L.Embedding(5000, 64, input_length=50), L.LSTM(128), L.Dense(2, activation="softmax")]
    )
    rng = np.random.default_rng(0)
    return model, rng.integers(0, 5000, (64, 50)), rng.integers(0, 2, 64)


MODELS: dict[str, Callable[[], tuple[Any, Array, Array]]] = {
    "perceptron": perceptron,
    "convolutions": convolutions,
    "words": words,
}


def made(name: str) -> tuple[Any, Array, Array]:
    """A compiled model with weights that do not depend on what was made before, and a batch."""
    model, x, y = MODELS[name]()
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) > 1:
            scale = np.sqrt(2.0 / np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(0, scale, weight.shape).astype(weight.dtype))
    model.random_state.seed.assign(np.uint32(1))
    return model, x, y


def seconds_of(call: Callable[[], Any], rounds: int) -> float:
    """The median of so many calls, after two that are not counted."""
    found = []
    for number in range(rounds + 2):
        begin = time.perf_counter()
        call()
        if number > 1:
            found.append(time.perf_counter() - begin)
    return float(np.median(found))


def parts_of(model: Any, arrays: list[Array], rounds: int) -> tuple[float, list[float]]:
    """Seconds of a step on one rank: of all, and of each stage (medians)."""
    times: list[float] = []
    run = parallel._Part.run

    def timed(self: Any, *args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = run(self, *args, **options)
        times.append(time.perf_counter() - begin)
        return result

    step = seconds_of(lambda: model.engine.run("train", len(arrays[0]), arrays), rounds)
    parallel._Part.run = timed  # type: ignore[method-assign]
    try:
        for _ in range(rounds):
            model.engine.run("train", len(arrays[0]), arrays)
    finally:
        parallel._Part.run = run  # type: ignore[method-assign]
    table = np.array(times).reshape(rounds, -1)
    return step, [float(t) for t in np.median(table, 0)]


def alone(rounds: int) -> dict[str, Any]:
    """One process: a step as it is without ranks, on one thread and on all; and in stages, by samples."""
    found: dict[str, Any] = {}
    for name in MODELS:
        model, x, y = made(name)
        of: dict[str, Any] = {"batch": len(x)}
        for label, threads in (("one thread", 1), ("all threads", None)):
            compiled = kcompile.compile(model, threads=threads)
            arrays, n, _ = model.trainer.one_batch("train", x, y)
            of[label] = seconds_of(lambda c=compiled, a=arrays, k=n: c.engine.run("train", k, a), rounds)
        of["stages"] = {}
        for part in (1, 2, 4):
            model, x, y = made(name)
            kcompile.compile(model, threads=1)
            timed = Timed(Alone())
            with kcompile.distribute(timed):
                arrays, n, _ = model.trainer.one_batch("train", x[: len(x) // part], y[: len(x) // part])
                step, stages = parts_of(model, arrays, rounds)
                timed.sizes.clear()
                model.engine.run("train", n, arrays)
            of["stages"][n] = {"step": step, "parts": stages, "sums": list(timed.sizes)}
        found[name] = of
    return found


def ranks(rounds: int) -> dict[str, Any]:
    """On ranks: seconds of a step, how many of these in sums, in parts too; and of sums alone."""
    comm = MpiCommunicator()
    found: dict[str, Any] = {"exchanges": {}, "models": {}}
    for size in SIZES:
        array = np.ones(size // 4, np.float32)

        def call(array: Array = array) -> None:
            array[...] = 1
            comm.allreduce(array)

        found["exchanges"][size] = seconds_of(call, rounds * 3)
    for name in MODELS:
        of: dict[str, Any] = {}
        for bucket in (None, *BUCKETS):
            model, x, y = made(name)
            kcompile.compile(model, threads=1)
            timed = Timed(comm)
            with kcompile.distribute(timed, bucket=bucket):
                arrays, n, _ = model.trainer.one_batch("train", x, y)
                model.engine.run("train", n, arrays)
                timed.seconds, begin = 0.0, time.perf_counter()
                step = seconds_of(lambda m=model, a=arrays, k=n: m.engine.run("train", k, a), rounds)
                of[str(bucket)] = {"step": step, "in sums": timed.seconds / (rounds + 2)}
                of["all"] = time.perf_counter() - begin
        for mode in ("global", "local"):
            if name == "convolutions":
                model, x, y = made(name)
                kcompile.compile(model, threads=1)
                with kcompile.distribute(comm, batch_norm=mode):
                    arrays, n, _ = model.trainer.one_batch("train", x, y)
                    of[mode] = seconds_of(lambda m=model, a=arrays, k=n: m.engine.run("train", k, a), rounds)
        found["models"][name] = of
    return found


def curves(communicator: Any = "mpi") -> dict[str, Any]:
    """Losses and a checksum of the weights after some steps."""
    found: dict[str, Any] = {}
    with kcompile.distribute(communicator):
        for name in MODELS:
            model, x, y = made(name)
            np.random.seed(1)
            losses = model.fit(x, y, batch_size=len(x) // 4 + 1, epochs=3, verbose=0).history["loss"]
            check = 0
            for weight in model.get_weights():
                check = zlib.crc32(weight.tobytes(), check)
            found[name] = {"losses": losses, "weights": f"{check:08x}"}
    return found


def fails(how: str) -> dict[str, Any]:
    """Something that goes wrong on rank 1 in the third step."""
    team = kcompile.distribute(patience=60)
    model = keras.models.Sequential([L.Dense(8, input_shape=(4,)), L.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(64 + (how == "length") * team.rank, 4)).astype("f")

    def batches() -> Iterator[tuple[Array, Array]]:
        for number in range(50):
            bad = number == 3 and team.rank == 1
            if bad and how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if bad and how == "raise":
                raise OSError("no such file")
            if bad and how == "end":
                return
            yield x[:32], x[:32, :1]

    if how == "nan":
        x[40] = np.nan  # a row of rank 1
    if how in ("length", "nan"):
        losses = model.fit(x, x[:, :1], batch_size=len(x), epochs=2, verbose=0).history["loss"]
    else:
        losses = model.fit(batches(), steps_per_epoch=50, verbose=0).history["loss"]
    return {"losses": losses}


def main() -> None:
    job, folder, *given = sys.argv[1:]
    if job == "alone":
        result = alone(int(given[0]))
    elif job == "ranks":
        result = ranks(int(given[0]))
    elif job == "curves":
        result = curves(Alone() if given else "mpi")
    else:
        result = fails(given[0])
    rank = 0 if job == "alone" or (job == "curves" and given) else MpiCommunicator().rank
    if rank == 0:
        (Path(folder) / f"{job}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()

"""Kills processes that train and processes that save, and looks at what they leave.

    python tests/kills.py [--kills 1000] [--saves 300] [--jobs 2] [--seed 0]

Trainings with a `Checkpoint`: a process trains a small network, gets SIGKILL at a random time, and another
one goes on with `fit(resume=...)`, until one comes to its end. They are forks of a process that has imported
kcompile and done nothing. That must have the bits of a training that nobody killed: weights, the optimizer's
state, the History, the table of a CSVLogger, what callbacks keep. The kinds of data are arrays, sequences
with workers, generators, a stateful network and a dataset of Keras 3.

Saves of every kind: a process saves one and another content under one name again and again, and gets SIGKILL;
what is there must be one of the two, whole. On a file system that is full (one in memory, where the user may
mount it, else a limit of the size of files) each save must fail, and leave the file as it was.

Prints what happened; exit status 1 at the first thing that is not so.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import errno
import hashlib
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

READY, RESUMED, DAMAGED = "ready", "goes on with", "damaged"
LONGEST = 120  # seconds of a training that nobody kills


class Failed(Exception):
    """What was promised does not hold."""


# ---------------------------------------------------------------- the processes that train


def rows(count: int = 96) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    x = generator.normal(size=(count, 6)).astype("f")
    return x, (x[:, :1] - x[:, 1:2] > 0.1).astype("f")


def network(keras: Any, stateful: bool = False) -> Any:
    layers = keras.layers
    if stateful:
        first: list[Any] = [layers.GRU(4, stateful=True, batch_input_shape=(8, 3, 2))]
    else:
        first = [layers.Dense(8, activation="relu", input_shape=(6,)), layers.BatchNormalization()]
    model = keras.models.Sequential([*first, layers.Dropout(0.3), layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    return model


def sequence(base: type) -> Any:
    x, y = rows()

    class Noisy(base):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.order = np.arange(len(x))

        def __len__(self) -> int:
            return len(x) // 8

        def __getitem__(self, number: int) -> Any:
            taken = self.order[number * 8 : number * 8 + 8]
            return x[taken] + np.random.normal(0, 0.1, (8, 6)).astype("f"), y[taken]

        def on_epoch_end(self) -> None:
            np.random.shuffle(self.order)

    return Noisy


def endless() -> Iterator[Any]:
    x, y = rows()
    while True:
        for taken in np.random.permutation(len(x)).reshape(-1, 8):
            yield x[taken] + np.random.normal(0, 0.1, (8, 6)).astype("f"), y[taken]


def training(kind: str) -> tuple[Any, dict[str, Any], Any]:
    """The package, the arguments of `fit`, and how often a state is written."""
    from kcompile import keras, keras3

    x, y = rows()
    if kind == "arrays":
        return keras, {"x": x, "y": y, "batch_size": 8, "validation_split": 0.25}, "3 batches"
    if kind == "stateful":
        data = {"x": x.reshape(96, 3, 2), "y": y, "batch_size": 8, "shuffle": False}
        return keras, data, "0.02 seconds"
    if kind == "sequence":
        made = sequence(keras.utils.Sequence)()
        held = {"validation_data": (x, y), "workers": 2, "use_multiprocessing": True}
        return keras, {"x": made, **held}, "4 batches"
    if kind == "generator":
        weights = {0: 1.0, 1: 2.0}
        return keras, {"x": endless(), "steps_per_epoch": 12, "class_weight": weights}, "epoch"
    return keras3, {"x": sequence(keras3.utils.PyDataset)(), "validation_data": (x, y)}, 1


KINDS = ("arrays", "sequence", "generator", "stateful", "dataset")


def train(kind: str, folder: Path) -> None:
    """A training that goes on where the one before was killed; prints the digest of all that it leaves."""
    import kcompile
    from kcompile import files

    keras, data, every = training(kind)
    resumable = bool(files.states_in(folder / "states"))
    seed = os.getpid() if resumable else 1  # which counts at the beginning alone
    np.random.seed(seed)
    random.seed(seed)
    model = network(keras, kind == "stateful")
    model.use_engine(kcompile.attach_engine(model, threads=2))
    callbacks = keras.callbacks
    monitor = "loss" if kind in ("generator", "stateful") else "val_loss"
    kept = [
        callbacks.EarlyStopping(monitor, patience=9, restore_best_weights=True),
        callbacks.ReduceLROnPlateau(monitor, patience=1, factor=0.7),
        callbacks.CSVLogger(str(folder / "log.csv")),
        callbacks.ModelCheckpoint(str(folder / "best.weights.h5"), monitor, 0, True, True),
        kcompile.keras.callbacks.Checkpoint(folder / "states", every),
        callbacks.LambdaCallback(on_train_begin=lambda logs: print(READY, flush=True)),
    ]
    if resumable:
        print(RESUMED, files.states_in(folder / "states")[0].name, flush=True)
    history = model.fit(**data, epochs=12, verbose=0, callbacks=kept, resume=folder / "states")
    digest = hashlib.sha256()
    for array in (*model.get_weights(), *model.optimizer.get_weights()):
        digest.update(np.ascontiguousarray(array).tobytes())
    said = repr((history.epoch, history.history, [c.state() for c in kept[:2]]))
    digest.update(said.encode() + (folder / "log.csv").read_bytes())
    print("ended", digest.hexdigest(), flush=True)


# ---------------------------------------------------------------- who kills them


def started(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, **pipes, **options)


class Child:
    """A process that trains: a fork of one that has imported all and has made nothing. lines: what it
    prints."""

    def __init__(self, kind: str, folder: Path) -> None:
        read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.setsid()
                os.dup2(write, 1)
                os.dup2(write, 2)
                sys.stdout = os.fdopen(1, "w")
                train(kind, folder)
                status = 0
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(status)
        os.close(write)
        self._read = read
        self.text = ""

    def wait(self, seconds: float, word: str = "no such word") -> None:
        """Until it prints the word, or ends; not longer than so many seconds."""
        stop = time.monotonic() + seconds
        while word not in self.text and (left := stop - time.monotonic()) > 0:
            if select.select([self._read], [], [], left)[0]:
                piece = os.read(self._read, 65536)
                self.text += piece.decode()
                if not piece:
                    return

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def status(self) -> int:
        """Its exit status, when it has ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        # what it printed before; processes that made batches for it may still have its output open
        while select.select([self._read], [], [], 0)[0] and (piece := os.read(self._read, 65536)):
            self.text += piece.decode()
        os.close(self._read)
        return code


class Killer:
    """Trains one kind again and again, with kills. counts: of what happened."""

    def __init__(self, kind: str, folder: Path, seed: int) -> None:
        self.kind, self.folder, self.random = kind, folder / kind, random.Random(f"{kind} {seed}")
        self.counts: collections.Counter[str] = collections.Counter()
        self.start = self.seconds = 0.0  # until it trains, and while it does
        for place in (self.folder / "warm", self.folder / "whole"):  # the first one compiles
            place.mkdir(parents=True)
            child, begin = Child(kind, place), time.monotonic()
            child.wait(LONGEST, READY)
            self.start = time.monotonic() - begin
            child.wait(LONGEST, "ended")
            self.seconds = time.monotonic() - begin - self.start
            if child.status():
                raise Failed(f"{kind}: {child.text}")
        self.digest = child.text.split("ended ")[1].strip()

    def kill(self, kills: int) -> None:
        """Until so many processes were killed, and the training after the last one has come to its end."""
        number = 0
        while self.counts["kills"] < kills:
            number += 1
            place = self.folder / str(number)
            place.mkdir()
            while not self._one(place, self.counts["kills"] < kills):
                pass
            shutil.rmtree(place)

    def _one(self, place: Path, kills: bool) -> bool:
        """One process of a training; whether it came to its end."""
        child = Child(self.kind, place)
        if kills and self.random.random() < 0.1:
            child.wait(self.random.uniform(0, self.start))
            child.kill()
        elif kills:
            child.wait(LONGEST, READY)
            child.wait(self.random.uniform(0, 0.7 * self.seconds), "ended")
            child.kill()
        else:
            child.wait(LONGEST, "ended")
        status = child.status()
        self.counts["resumed"] += RESUMED in child.text and READY in child.text
        if DAMAGED in child.text:
            raise Failed(f"{self.kind}: a state was damaged: {child.text}")
        if status == -signal.SIGKILL and "ended" not in child.text:
            self.counts["kills"] += 1
            self.counts["in training"] += READY in child.text
            return False
        if "ended" not in child.text:
            raise Failed(f"{self.kind}: {child.text}")
        self.counts["trainings"] += 1
        if child.text.split("ended ")[1].strip() != self.digest:
            shutil.copytree(place, f"{self.kind}-failed", dirs_exist_ok=True)
            raise Failed(f"{self.kind}: other bits, see {self.kind}-failed")
        self.counts["unfinished files left"] += len(list((place / "states").glob(".*.part")))
        return True


def kill_one_kind(kind: str, kills: int, seed: int, folder: Path) -> None:
    """In a process of its own, which has one thread, so that it may fork."""
    from kcompile import keras, keras3

    for package in (keras, keras3):  # which import what they are asked for
        _ = package.layers.Dense, package.models.Sequential, package.callbacks.CSVLogger
    killer = Killer(kind, folder, seed)
    killer.kill(kills)
    print(json.dumps(killer.counts))


def trainings(kills: int, jobs: int, seed: int, folder: Path) -> None:
    total: collections.Counter[str] = collections.Counter()

    def run(number: int) -> None:
        share = kills // len(KINDS) + (number < kills % len(KINDS))
        process = started("--killer", KINDS[number], str(share), str(seed), str(folder))
        out, error = process.communicate()
        if process.returncode:
            raise Failed(f"{out}{error}")
        total.update(json.loads(out))
        print(f"  {KINDS[number]:10} {out.strip()}", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, range(len(KINDS))))
    print(f"trainings: {dict(total)}; every end has the bits of a training that nobody killed", flush=True)


# ---------------------------------------------------------------- saves


class Save:
    """A kind of save: what writes content 0 or 1 to a folder, and what reads it from there as a number."""

    def __init__(self, write: Callable[[Path, int], Any], read: Callable[[Path], int]) -> None:
        self.write, self.read = write, read


def saves() -> dict[str, Save]:
    import kcompile
    import kcompile_runtime as rt
    from kcompile import files, keras
    from kcompile.keras import callbacks, layers

    def model(which: int) -> Any:
        made = keras.models.Sequential([layers.Dense(64, input_shape=(200,)), layers.Dense(3)], name="kept")
        made.compile("sgd", "mse")
        for weight in made.weights:
            weight.assign(np.full(weight.shape, which))
        return made

    made = [model(0), model(1)]
    compiled = [kcompile.compile(m) for m in made]

    def of(arrays: Any) -> int:
        """The number that all weights are."""
        (value,) = {float(v) for array in arrays for v in np.unique(array)}
        return int(value)

    def weights_in(path: Path) -> int:
        found = model(7)
        found.load_weights(path)
        return of(found.get_weights())

    def tree(which: int) -> Any:
        return {"which": which, "array": np.full(50_000, which, "f")}

    def logged(folder: Path, which: int) -> None:
        logger = callbacks.CSVLogger(folder / "log.csv", append=True)
        logger.model = made[0]
        logger.on_train_begin()
        logger.on_epoch_end(which, {"loss": "x" * 3000})
        logger.on_train_end()

    def table(folder: Path) -> int:
        lines = (folder / "log.csv").read_text().splitlines()
        if lines[0] != "epoch,loss" or any(line[1:] != "," + "x" * 3000 for line in lines[1:]):
            raise Failed("a line of the table is not whole")
        return int(lines[-1][0])

    def backed_up(folder: Path, which: int) -> None:
        backup = kcompile.keras3.callbacks.BackupAndRestore(folder)
        backup.set_model(made[which])
        backup.on_epoch_end(0)

    def predicted(path: Path) -> int:
        loaded = rt.load(path)
        loaded.selftest()
        return int(bool(loaded.predict(np.zeros((1, 200), "f"))[0, 0]))

    def member(path: Path) -> int:
        import zipfile

        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise Failed("a member of the wheel is damaged")
            (name,) = [n for n in archive.namelist() if n.endswith(".so")]
            with tempfile.TemporaryDirectory() as folder:
                return predicted(Path(archive.extract(name, folder)))

    kinds = {
        name: Save(
            lambda f, w, name=name: made[w].save(f / name),
            lambda f, name=name: of(kcompile.load(f / name).get_weights()),
        )
        for name in ("m.keras", "m.h5")
    }
    kinds |= {
        name: Save(
            lambda f, w, name=name: made[w].save_weights(f / name), lambda f, name=name: weights_in(f / name)
        )
        for name in ("m.weights.h5", "w.h5", "w.npz")
    }
    return kinds | {
        "state": Save(
            lambda f, w: files.write_state(f, tree(w), 2), lambda f: int(files.read_newest(f)[1]["which"])
        ),
        "log.csv": Save(logged, table),
        "backup": Save(backed_up, lambda f: weights_in(f / "latest.weights.h5")),
        "library": Save(
            lambda f, w: kcompile.export(compiled[w], f / "m.so"), lambda f: predicted(f / "m.so")
        ),
        "wheel": Save(
            lambda f, w: kcompile.export_wheel(compiled[w], f), lambda f: member(next(f.glob("*.whl")))
        ),
    }


def save_again(kind: str, folder: Path) -> None:
    save, which = saves()[kind], 0
    save.write(folder, 1)
    begin = time.monotonic()
    save.write(folder, 0)
    print(READY, time.monotonic() - begin, flush=True)
    while True:
        which = 1 - which
        save.write(folder, which)


def kill_saves(kills: int, seed: int, folder: Path) -> None:
    made, draw = saves(), random.Random(seed)
    for number, kind in enumerate(made):
        share = kills // len(made) + (number < kills % len(made))
        place = folder / f"save {number}"
        place.mkdir()
        made[kind].write(place, 0)
        found: collections.Counter[int] = collections.Counter()
        for _ in range(share):
            process = started("--save", kind, str(place))
            assert process.stdout is not None
            _, seconds = process.stdout.readline().split()
            time.sleep(draw.uniform(0, 3 * float(seconds)))
            process.kill()
            _, error = process.communicate()
            if process.returncode != -signal.SIGKILL:
                raise Failed(f"{kind}: {error}")
            which = made[kind].read(place)
            if which not in (0, 1):
                raise Failed(f"{kind}: {which} is neither content")
            found[which] += 1
        print(f"  {kind:13} {share} kills, each left a whole file: old or new {dict(found)}")


# ---------------------------------------------------------------- full disks


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system of so many bytes at the folder; gives whether there is one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        there = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        there = False
    try:
        yield there
    finally:
        if there:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def short_files(size: int) -> Iterator[None]:
    """Inside, no file gets longer than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def fill_disks(folder: Path) -> None:
    for number, (kind, save) in enumerate(saves().items()):
        said = []
        place = folder / f"limit {number}"
        place.mkdir()
        save.write(place, 0)
        with short_files(1000 if kind != "log.csv" else (place / "log.csv").stat().st_size + 100):
            said.append(_fails(kind, save, place, "a limit of the size of files"))
        with small_disk(folder / f"disk {number}", 2**21) as there:
            if there:
                place = folder / f"disk {number}"
                save.write(place, 0)
                filler = place / "filler"
                with open(filler, "wb", 0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * 1000)
                said.append(_fails(kind, save, place, "a full disk"))
                filler.unlink()
                save.write(place, 1)
                if save.read(place) != 1:
                    raise Failed(f"{kind}: the next save is not read")
        print(f"  {kind:13} {'; '.join(said)}")


def _fails(kind: str, save: Save, place: Path, how: str) -> str:
    """A save that must fail and change nothing."""
    before = {p.relative_to(place): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    try:
        save.write(place, 1)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error))
    except Exception as error:  # of the HDF5 library, of the linker
        name = f"{type(error).__name__}: {str(error)[:80]}"
    else:
        raise Failed(f"{kind}: {how} was not noticed")
    after = {p.relative_to(place): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    changed = {str(p) for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
    if changed:
        raise Failed(f"{kind}: {how} changed {sorted(changed)}")
    return f"{how}: {name}, nothing changed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--saves", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--killer", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--save", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.killer:
        kind, kills, seed, folder = given.killer
        kill_one_kind(kind, int(kills), int(seed), Path(folder))
        return 0
    if given.save:
        save_again(given.save[0], Path(given.save[1]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            if given.kills:
                trainings(given.kills, given.jobs, given.seed, Path(folder))
            if given.saves:
                kill_saves(given.saves, given.seed, Path(folder))
                fill_disks(Path(folder))
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

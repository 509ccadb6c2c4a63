"""Model files with something wrong in them, by the thousand: `python tests/files/fuzz.py --cases 5000`.

Enters: a seed; files that we write, and those of the folder of wild files where it exists. Leaves: exit
status 0 when each changed file gave a model, or one of our errors that names the file and says what is
wrong; else what went wrong, with the number that repeats it (`--only NUMBER`). Loading happens in another
process, so that a crash, a file that never comes to an end, and devoured memory are seen too. A file whose
bytes are protected by checksums may give a model only with the numbers it had.

The HDF5 library may crash on damaged files, or take a gigabyte. That counts as wrong when `isolated=True`
does not turn it into an error.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import crafted
import newer_sources

import kcompile
from kcompile.keras import layers, models
from kcompile_runtime.errors import KcompileError
from kcompile_runtime.working import followed

WILD = Path(__file__).resolve().parents[3] / "shared" / "wild"
SECONDS, MEMORY = 60, 1 << 30  # that one file may take
Random = np.random.Generator
STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2.5,
    1e300,
    -1e-300,
    10**17,
    2**31,
    2**63,
    "",
    "x",
    "relu",
    "no",
    "\0",
    "../x",
    "a" * 5000,
    [],
    [[]],
    {},
    [None],
    [1, 2],
    [-1, None],
    [10**9] * 4,
    {"class_name": "Dense"},
    {"class_name": "Dense", "config": {}},
    {"class_name": "os.system", "config": ["true"]},
    {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None},
)


@dataclass(frozen=True)
class Source:
    """A file before it is changed. weights: loaded into the model of an architecture, and changed."""

    path: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> Path:
        return Path(self.options.get("weights", self.path))


# ---------------------------------------------------------------- files


def sources(folder: Path) -> list[Source]:
    """Files of every kind that is read, written into a folder; and the wild ones."""
    np.random.seed(0)
    dense = crafted.dense(kernel_regularizer="l2", activation="hard_sigmoid", kernel_constraint="max_norm")
    dense.compile("adam", "mse", metrics=["mae"])
    x = layers.Input((6, 6, 2), name="a")
    inner = models.Sequential(
        [layers.Conv2D(3, 3, padding="same", input_shape=(6, 6, 2)), layers.BatchNormalization()],
        name="inner",
    )
    y = layers.Flatten()(layers.Add()([layers.Conv2D(3, 1)(x), inner(x)]))
    images = models.Model(x, layers.Dense(4, activation="softmax")(layers.Dropout(0.1)(y)))
    words = models.Sequential(
        [
            layers.Embedding(20, 6, mask_zero=True, input_length=7),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(3)),
            layers.GRU(4),
            layers.Dense(2),
        ]
    )
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in (("dense", dense), ("images", images), ("words", words)):
            for suffix in ("h5", "keras"):
                model.save(folder / f"{name}.{suffix}")
                found.append(Source(folder / f"{name}.{suffix}"))
            (folder / f"{name}.json").write_text(model.to_json())
            (folder / f"{name}.yaml").write_text(model.to_yaml())
            found += [Source(folder / f"{name}.json"), Source(folder / f"{name}.yaml")]
            for suffix in ("weights.h5", "w.h5", "npz"):
                model.save_weights(folder / f"{name}.{suffix}")
                found.append(Source(folder / f"{name}.json", {"weights": folder / f"{name}.{suffix}"}))
        found += [Source(path) for path in newer_sources.written(folder)]
    for path in sorted(WILD.glob("*")) if WILD.is_dir() else ():
        if path.suffix in (".h5", ".keras", ".json") and path.stat().st_size < 5_000_000:
            architecture = Path(str(path).replace("_weights.h5", "_arch.json"))
            found.append(Source(architecture, {"weights": path} if architecture != path else {}))
    return found


# ---------------------------------------------------------------- changes


def flipped(data: bytes, random: Random) -> bytes:
    made = bytearray(data)
    for at in random.integers(0, len(made), random.integers(1, 5)):
        made[at] ^= 1 << int(random.integers(8))
    return bytes(made)


def flipped_structure(data: bytes, random: Random) -> bytes:
    """Bits close to each other, where HDF5 and zip have their signatures: B-trees, heaps, headers."""
    marks = [
        at
        for mark in (
            b"TREE",
            b"HEAP",
            b"SNOD",
            b"GCOL",
            b"OHDR",
            b"FRHP",
            b"\x89HDF",
            b"PK\1\2",
            b"PK\3\4",
            b"PK\5\6",
        )
        for at in _places(data, mark)
    ]
    if not marks:
        return flipped(data, random)
    made, start = bytearray(data), marks[int(random.integers(len(marks)))]
    for at in random.integers(start, min(start + 64, len(made)), random.integers(1, 4)):
        made[at] = (0, 255, made[at] ^ 1, made[at] ^ 128, int(random.integers(256)))[random.integers(5)]
    return bytes(made)


def _places(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def truncated(data: bytes, random: Random) -> bytes:
    return data[: int(random.integers(len(data)))]


def overwritten(data: bytes, random: Random) -> bytes:
    """A stretch replaced by zeros, noise, or another stretch."""
    start, source = (int(k) for k in random.integers(0, len(data), 2))
    size = int(random.integers(1, 600))
    piece = (bytes(size), random.bytes(size), data[source : source + size])[random.integers(3)]
    return data[:start] + piece + data[start + len(piece) :]


def mutated(value: Any, random: Random) -> Any:
    """A configuration with something replaced, deleted, doubled, moved, or added."""
    value = copy.deepcopy(value)
    for _ in range(int(random.integers(1, 3))):
        holders = list(_holders(value))
        if not holders:
            break
        holder = holders[int(random.integers(len(holders)))]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = keys[int(random.integers(len(keys)))]
        what = int(random.integers(6))
        strange = copy.deepcopy(STRANGE[int(random.integers(len(STRANGE)))])
        if what < 2:
            holder[key] = strange
        elif what == 2:
            del holder[key]
        elif what == 3 and isinstance(holder, dict):
            holder[f"unknown_{key}"] = strange
        elif what == 3:
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            other = holders[int(random.integers(len(holders)))]
            spots = list(other) if isinstance(other, dict) else list(range(len(other)))
            holder[key] = copy.deepcopy(other[spots[int(random.integers(len(spots)))]])
    return value


def _holders(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)) and value:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


def other_json(data: bytes, random: Random) -> bytes:
    return json.dumps(mutated(json.loads(data), random)).encode()


def other_yaml(data: bytes, random: Random) -> bytes:
    import yaml

    text = yaml.safe_dump(mutated(json.loads(json.dumps(yaml.safe_load(data))), random))
    return text.encode() if random.integers(2) else flipped(text.encode(), random)


def other_hdf5(data: bytes, random: Random) -> bytes:
    """Attributes and datasets swapped, deleted, replaced; the configuration mutated."""
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file, contextlib.suppress(OSError, ValueError, RuntimeError, TypeError):
        groups: list[Any] = [file]
        arrays: list[str] = []
        file.visititems(
            lambda name, it: arrays.append(name) if isinstance(it, h5py.Dataset) else groups.append(it)
        )
        places = [(group, key) for group in groups for key in group.attrs]
        texts = [
            (group, key) for group, key in places if key in ("model_config", "training_config", "kcompile")
        ]
        what = int(random.integers(5))
        if what < 2 and texts:
            group, key = texts[int(random.integers(len(texts)))]
            group.attrs[key] = other_json(np.array(group.attrs[key]).item(), random).decode()
        elif what < 4 and places:
            _other_attribute(*(places[int(k)] for k in random.integers(0, len(places), 2)), random)
        elif arrays:
            name = arrays[int(random.integers(len(arrays)))]
            values = file[name][()]
            del file[name]
            if random.integers(4):
                file[name] = (values.astype("i4"), values.T, values[None], 3.0)[random.integers(4)]
    return stream.getvalue()


def _other_attribute(one: tuple[Any, str], two: tuple[Any, str], random: Random) -> None:
    """Two attributes swapped, or one deleted or replaced."""
    (group, key), (other, name) = one, two
    what, value = int(random.integers(5)), other.attrs[name]
    if what < 3:
        other.attrs[name] = group.attrs[key]
        group.attrs[key] = value
    elif what == 3:
        del group.attrs[key]
    else:
        strange = (3, 2.5, "x", ["x", "y"], h5py.Empty("f"), -1)
        group.attrs[key] = strange[int(random.integers(len(strange)))]


def other_zip(data: bytes, random: Random) -> bytes:
    """A member mutated, dropped, doubled or renamed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = int(random.integers(len(members)))
    name, body = members[at]
    what = int(random.integers(6))
    if what < 3:
        change = other_json if name.endswith(".json") else other_hdf5 if name.endswith(".h5") else flipped
        members[at] = (name, change(body, random))
    elif what == 3:
        members[at] = (name, (flipped, truncated, overwritten)[random.integers(3)](body, random))
    elif what == 4:
        del members[at]
    else:
        members.append((f"../{name}" if random.integers(2) else name, body))
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", (0, 8)[random.integers(2)]) as archive:
        warnings.simplefilter("ignore")
        for name, body in members:
            archive.writestr(name, body)
    return stream.getvalue()


BYTES = (flipped, flipped_structure, truncated, overwritten)
CONTENTS: dict[str, Callable[[bytes, Random], bytes]] = {
    ".json": other_json,
    ".yaml": other_yaml,
    ".h5": other_hdf5,
    ".keras": other_zip,
    ".npz": other_zip,
}


# ---------------------------------------------------------------- one case


def case(number: int, seed: int, known: list[Source]) -> tuple[Source, str, bytes]:
    """A source, the name of a change, and the changed file."""
    random = np.random.default_rng([seed, number])
    source = known[int(random.integers(len(known)))]
    path = source.changed
    changes = (*BYTES, *[CONTENTS[path.suffix]] * 6)
    change = changes[int(random.integers(len(changes)))]
    return source, change.__name__, change(path.read_bytes(), random)


def load(source: Source, folder: Path, content: bytes, isolated: bool = False) -> Any:
    """The model of a changed file."""
    place = folder / f"changed{''.join(source.changed.suffixes[-2:])}"
    place.write_bytes(content)
    given = {key: place for key in source.options}
    path = source.path if given else place
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kcompile.load(path, **given, custom_objects=GIVEN, isolated=isolated)


GIVEN = {
    name: lambda x: x
    for name in (
        "Preprocess",
        "cat_embed_2d_genure_mean",
        "embed_1d_mean",
        "sum_of_tensors",
        "square_of_tensors",
        "lambda_1",
    )
} | newer_sources.CUSTOM


def wrong(source: Source, change: str, folder: Path, content: bytes) -> str | None:
    """What is wrong with what loading a changed file does; None when nothing is."""
    try:
        model = load(source, folder, content)
    except KcompileError as error:
        text = str(error)
        helps = "changed." in text or source.path.name in text
        return None if helps and 40 < len(text) < 60_000 else f"a text that does not help: {text[:500]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    protected = source.changed.suffix in (".keras", ".npz") and change in {f.__name__ for f in BYTES}
    if protected:
        before = load(source, folder, source.changed.read_bytes())
        if not all(
            np.array_equal(a, b) for a, b in zip(model.get_weights(), before.get_weights(), strict=True)
        ):
            return "other numbers, and the file has checksums"
        if model.to_json() != before.to_json():
            return "another model, and the file has checksums"
    return None


def work(seed: int) -> None:
    """In the other process: numbers come in, and what is wrong goes out, a line for each."""
    with tempfile.TemporaryDirectory() as name:
        known = sources(Path(name))
        print("ready", flush=True)
        for line in sys.stdin:
            source, change, content = case(int(line), seed, known)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            found = wrong(source, change, Path(name), content)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            if grown > MEMORY:
                sys.exit(1)
            print(json.dumps([source.changed.name, change, found]), flush=True)


# ---------------------------------------------------------------- all of them


class Worker:
    """The other process; started again after it died."""

    def __init__(self, seed: int) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--work", "--seed", str(seed)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        )
        if self.answer(300) != "ready":
            raise RuntimeError("the process that loads files does not start")

    def answer(self, seconds: float) -> str | None:
        """A line; None when the process died or kept silent too long, and is ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(seconds) else ""
        if not line:
            self.process.kill()
            self.process.wait()
        return line.strip() or None

    def ask(self, number: int) -> str | None:
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return self.answer(SECONDS)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def survives_apart(number: int, seed: int) -> str | None:
    """Whether a file that ended the process is an error when the reader is isolated."""
    with tempfile.TemporaryDirectory() as name:
        source, _, content = case(number, seed, sources(Path(name)))
        try:
            load(source, Path(name), content, isolated=True)
        except KcompileError as error:
            return None if "damaged" in str(error) else f"isolated: {error}"
        except Exception as error:
            return f"isolated: {type(error).__name__}: {error}"
    return "isolated: it gives a model"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one case, to be loaded right here")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.seed)
        return 0
    if given.only is not None:
        with tempfile.TemporaryDirectory() as name:
            source, change, content = case(given.only, given.seed, sources(Path(name)))
            print(source.changed.name, change, len(content), "bytes", flush=True)
            load(source, Path(name), content)
        return 0
    return _run(range(given.start, given.start + given.cases), given.seed)


def _run(numbers: range, seed: int) -> int:
    worker, failures, crashes, began = Worker(seed), 0, 0, time.monotonic()
    for number in followed(numbers, "files"):
        line = worker.ask(number)
        if line is None:
            crashes += 1
            found = survives_apart(number, seed)
            if found:
                print(f"case {number}: ended the process. {found}", flush=True)
            failures += bool(found)
            worker = Worker(seed)
            continue
        name, change, found = json.loads(line)
        if found:
            failures += 1
            print(f"case {number}: {name}, {change}: {found}", flush=True)
        if (number - numbers.start) % 5000 == 4999:
            print(f"up to case {number}: {failures} failures, {crashes} crashes", flush=True)
    worker.close()
    print(
        f"{len(numbers)} files, {failures} failures, {crashes} times the HDF5 library crashed, did not "
        f"end, or took a gigabyte (seed {seed}, {time.monotonic() - began:.0f} s)"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

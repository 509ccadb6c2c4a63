"""The ranks that train one model: what they agree on before `fit` begins, and what they do as one.

Enters: a communicator, and how batches are spread. Leaves: a `Team` (`kcompile.keras.teams`), which the
training loop asks. Before the first step all ranks compare what they were given, and a rank that failed says
so there; each error is then raised on all. From then on a rank that fails ends them all.
"""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from kcompile.keras.feeding import Batches, Rows
from kcompile.keras.layers import BatchNormalization
from kcompile.keras.stored import StoredRows
from kcompile.keras.teams import Together
from kcompile.parallel.communicator import Communicator, share_objects
from kcompile.parallel.engine import ParallelEngine
from kcompile.parallel.events import RankEvents, RankKeeper, chance, set_chance
from kcompile.version import __version__
from kcompile_runtime.arrays import Array
from kcompile_runtime.errors import RankError, UnsupportedError, describe
from kcompile_runtime.loop import Runner, joined

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in what Python prints of objects
LISTED = 100_000  # epochs whose validation is compared
HASHED = 1 << 28  # bytes of an array that are compared between ranks; of a larger one rows spread over it


class SharedError(RankError):
    """An error that all ranks raise."""


class ParallelTeam:
    """Ranks that train together. comm: what they say to each other. shards: each has a part of the data of
    its own; else all have all of the data. local_norms: statistics of batch normalisation are each rank's
    own. bucket: bytes of gradients that are summed while others are computed; None: all at once."""

    def __init__(
        self, comm: Communicator, shards: bool = False, local_norms: bool = False, bucket: int | None = None
    ) -> None:
        self.comm, self.shards, self.local_norms, self.bucket = comm, shards, local_norms, bucket
        self.rank, self.size = comm.rank, comm.size
        self._engines: WeakKeyDictionary[Any, ParallelEngine] = WeakKeyDictionary()
        self._sizes: list[int] | None = None  # of the current batch on each rank, where they say it

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size}"

    # ---- for the engine

    def engine(self, inner: Any) -> ParallelEngine:
        """See `Team`."""
        if isinstance(inner, ParallelEngine):
            return inner
        if inner not in self._engines:
            self._engines[inner] = ParallelEngine(inner, self)
        return self._engines[inner]

    def own_layers(self, model: Any) -> frozenset[str]:
        """See `Group`."""
        found = _all_layers(model) if self.local_norms else ()
        return frozenset(layer.name for layer in found if isinstance(layer, BatchNormalization))

    def part(self, n: int) -> tuple[int, int]:
        """See `Group`."""
        if self._sizes is not None and self.shards:
            return 0, self._sizes[self.rank]
        each, more = divmod(n, self.size)
        start = self.rank * each + min(self.rank, more)
        return start, start + each + (self.rank < more)

    def first(self, n: int) -> int:
        """See `Group`."""
        if self._sizes is not None and self.shards:
            return sum(self._sizes[: self.rank])
        return self.part(n)[0]

    def told_model(self, name: str, digest: str, variables: Sequence[Any]) -> None:
        """See `Group`."""
        told = {f"variable {i} of {name!r}": f"{v.dtype}{list(v.shape)}" for i, v in enumerate(variables)}
        self.compare("the model", {**told, f"what {name!r} computes": digest})
        for variable in variables:
            array = variable.array
            self.comm.broadcast(array)
            if self.rank:
                variable.assign(array.copy())

    # ---- agreement

    def share(self, value: Any) -> list[Any]:
        """What each rank gave. Raises SharedError where one failed instead."""
        found = share_objects(self.comm, ("given", value))
        failures = [f"rank {rank}: {text}" for rank, (kind, text) in enumerate(found) if kind == "failed"]
        if failures:
            raise SharedError("; ".join(failures))
        return [value for _, value in found]

    def compare(self, what: str, told: Mapping[str, Any]) -> None:
        """Raises SharedError, which names the first thing of `told` that is not the same on all ranks."""
        every = self.share(dict(told))
        for key in dict.fromkeys(key for one in every for key in one):
            values = [one.get(key) for one in every]
            wrong = next((r for r, value in enumerate(values) if value != values[0]), None)
            if wrong is not None:
                raise SharedError(
                    describe(
                        f"{what}: {key}",
                        "the same on all ranks",
                        f"{_short(values[0])} on rank 0, {_short(values[wrong])} on rank {wrong}",
                    )
                )

    @contextmanager
    def together(self, trainer: Any, what: str) -> Iterator[Together]:
        """See `Team`."""
        call = _Call(self, trainer, what)
        try:
            yield call
        except BaseException as error:
            self._failed(call, error)
            raise
        finally:
            self._sizes = None

    def take_chance(self) -> None:
        """Everybody's generators of chance are those of rank 0 from now on."""
        given = self.share(chance() if self.rank == 0 else None)[0]
        if self.rank:
            set_chance(given)

    def _failed(self, call: _Call, error: BaseException) -> None:
        if isinstance(error, SharedError):
            return
        said = f"{type(error).__name__}: {error}"
        if not call.agreed:
            share_objects(self.comm, ("failed", said))
            return
        text = "".join(traceback.format_exception(error))
        self.comm.abort(f"{text}kcompile: {self} failed in {call.what}: {said}")

    def rows(self, trainer: Any, arrays: Sequence[Array]) -> tuple[list[Array], int] | None:
        """See `Team`."""
        if not self.shards:
            return None
        lengths = self.share(len(arrays[0]))
        return [np.empty((sum(lengths), 0), np.float32)], sum(lengths)

    def runner(self, engine: ParallelEngine, entry: str, arrays: Sequence[Array]) -> Runner:
        """What runs an entry over the rows of all shards, of which this rank has these arrays. A batch has of
        each shard as many rows as it has of all."""
        lengths = self.share(len(arrays[0]))
        owners = spread(lengths)
        begin = sum(lengths[: self.rank])
        counts = [np.concatenate([[0], np.cumsum(owners == rank)]) for rank in range(self.size)]
        held: Any = None
        own: Any = None

        def run(_: Any, order: Any, size: int, start: int, stop: int) -> list[Array]:
            nonlocal held, own
            if order is not held:
                held = order
                own = (
                    None
                    if order is None
                    else order[(order >= begin) & (order < begin + len(arrays[0]))] - begin
                )
            results = []
            for first in range(start, stop, size):
                end = min(first + size, stop)
                self._sizes = [int(c[end] - c[first]) for c in counts]
                low, high = (int(counts[self.rank][at]) for at in (first, end))
                rows = slice(low, high) if own is None else own[low:high]
                results.append(
                    engine.run(entry, end - first, [np.ascontiguousarray(x[rows]) for x in arrays])
                )
            self._sizes = None
            return joined(results)

        return run


class _Call(Together):
    """A call of `fit` or `evaluate` on this rank."""

    def __init__(self, team: ParallelTeam, trainer: Any, what: str) -> None:
        self.team, self.trainer, self.what = team, trainer, what
        self.keeps, self.agreed = team.rank == 0, False
        self._batches: dict[str, Batches] = {}
        self._follows = True  # whether chance is rank 0's: of data of their own it is not

    def callbacks(self, given: Sequence[Any]) -> list[Any]:
        return list(given) if self.team.rank == 0 else []

    def verbose(self, verbose: int) -> int:
        return verbose if self.team.rank == 0 else 0

    def begun(self) -> None:
        if not self.team.shards:
            self.team.take_chance()

    def agree(self, options: Mapping[str, Any], feed: Any, held: Any, lengths: Any) -> None:
        team, engine = self.team, self.trainer.engines.needed()
        feeds = {"the data": feed, "the validation data": held} if feed else {"the data": held}
        feeds = {name: given for name, given in feeds.items() if given is not None}
        options = dict(options)
        after = options.pop("validates", None)
        if after is not None and held is not None:
            options["epochs of validation"] = [e for e in options["epochs"][:LISTED] if after(e)]
        told: dict[str, Any] = {
            "the version of kcompile": __version__,
            "shards": team.shards,
            "batch_norm": team.local_norms,
            "bucket": team.bucket,
            "precision": engine.precision,
            **{key: repr(value) for key, value in options.items()},
            **_told_of_model(self.trainer),
        }
        for name, feed in feeds.items():
            told |= self._told_of(name, feed)
        team.compare(self.what, told)
        for entry, given in (("train", feed), ("test", held)):
            if given is not None:
                own = self.trainer.owns(entry)
                sizes = self.trainer.model.signature(entry) if own else lengths
                engine.prepare(entry, sizes)
                self._same_state(engine.step(entry, sizes or None))
        named = {"train": feed, "test": held}
        self._batches = {name: given for name, given in named.items() if type(given) is Batches}
        self._follows = not (team.shards and self._batches)

    def settled(self, keeper: Any) -> Any:
        team = self.team
        if self._follows:
            team.take_chance()
        told = keeper is not None, getattr(keeper, "start", None), getattr(keeper, "data", None)
        kept, start, data = team.share(told if team.rank == 0 else None)[0]
        if kept and team.shards and self._batches:
            raise SharedError(
                describe("Checkpoint and resume", "arrays, or data without shards", "batches in shards")
            )
        for name, feed in self._batches.items() if data and team.rank else ():
            feed.keep()
            feed.load_state(data[name])
        team.share(None)
        self.agreed = True
        if not kept:
            return None
        return RankKeeper(keeper, start, team.comm, self.trainer, self.trainer.engines.needed())

    def _same_state(self, step: Any) -> None:
        for variable in step.variables:
            array = variable.array
            self.team.comm.broadcast(array)
            if self.team.rank:
                variable.assign(array.copy())

    def _told_of(self, name: str, feed: Any) -> dict[str, Any]:
        """What is compared of a feed."""
        told: dict[str, Any] = {f"the kind of {name}": type(feed).__name__}
        told |= {f"{key} of {name}": value for key, value in feed.params.items()}
        if type(feed) is Rows:
            for number, array in enumerate(feed.arrays):
                of = f"array {number} of {name}"
                told[f"dtype of {of}"] = str(array.dtype)
                told[f"shape of {of}"] = array.shape[1:] if self.team.shards else array.shape
                if not self.team.shards:
                    told[f"numbers of {of}"] = checksum(array)
        elif isinstance(feed, StoredRows) and not self.team.shards:
            told[f"the first batch of {name}"] = checksum(feed.first("test", feed.params["batch_size"]))
        elif isinstance(feed, Rows) and self.team.shards:
            raise UnsupportedError(
                describe(
                    f"{name} in shards",
                    "arrays in memory, or an object of batches",
                    "stored data",
                    "Give all ranks the whole file, without shards",
                )
            )
        return told

    def events(self, listed: Any) -> Any:
        engine = self.trainer.engines.needed()
        return RankEvents(listed, self.team.comm, self.trainer, engine, self._follows)

    def sized(self, batches: Iterator[tuple[int, list[Array]]]) -> Iterator[tuple[int, list[Array]]]:
        team, number = self.team, 0
        while True:
            found = next(batches, None)
            n = -1 if found is None else found[0]
            check = 0 if found is None or team.shards else checksum([x[:1] for x in found[1]])
            table = np.zeros((team.size, 2), np.int64)
            table[team.rank] = n, check
            team.comm.allreduce(table)
            sizes = [int(size) for size in table[:, 0]]
            if max(sizes) < 0:
                return
            if team.shards:
                team._sizes = [max(size, 0) for size in sizes]
                yield sum(team._sizes), [] if found is None else found[1]
            else:
                self._check_same(number, table)
                assert found is not None
                yield found
            number += 1

    def _check_same(self, number: int, table: Array) -> None:
        """Raises RankError where ranks were not given the same batch."""
        wrong = next((r for r, row in enumerate(table) if (row != table[0]).any()), None)
        if wrong is None:
            return
        sizes = ["no more batch" if n < 0 else f"{n} samples" for n in table[:, 0]]
        same = table[wrong, 0] == table[0, 0]
        raise RankError(
            describe(
                f"{self.what}: batch {number + 1} of the data",
                "the same on all ranks",
                "other numbers" if same else f"{sizes[0]} on rank 0, {sizes[wrong]} on rank {wrong}",
                "Let each rank give its own part by kcompile.distribute(shards=True)",
            )
        )


def spread(lengths: Sequence[int]) -> Array:
    """Which shard each row of all is taken of, int32 [sum of lengths]: evenly, as long as each lasts."""
    places = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in lengths])
    owners = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    return owners[np.argsort(places, kind="stable")]


def checksum(arrays: Array | Sequence[Array]) -> int:
    """Of the bytes of arrays; of a large one of rows that are spread over it."""
    total = 0
    for array in [arrays] if isinstance(arrays, np.ndarray) else arrays:
        if array.nbytes > HASHED:
            array = array[:: -(-array.nbytes // HASHED)]
        total = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data, total)
    return total


def _told_of_model(trainer: Any) -> dict[str, Any]:
    """What is compared of a model before its graphs are: names may differ, as they are counted."""
    told = {
        f"layer {number}": f"{type(layer).__name__} with weights {[list(w.shape) for w in layer.weights]}"
        for number, layer in enumerate(trainer.model.owned_layers)
    }
    given = trainer.arguments or {}
    told["the optimizer"] = type(given.get("optimizer")).__name__
    with contextlib.suppress(Exception):  # of a class of the script's own
        config = {**given["optimizer"].get_config(), "name": ""}
        told["the options of the optimizer"] = str(config)
    for key in ("loss", "metrics", "loss_weights", "weighted_metrics"):
        told[key] = _ADDRESS.sub("", str(given.get(key)))
    return told


def _all_layers(model: Any) -> Iterator[Any]:
    for layer in model.owned_layers:
        yield layer
        yield from _inside(layer)


def _inside(layer: Any) -> Iterator[Any]:
    for inner in layer.inside:
        yield inner
        yield from _inside(inner)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def ends_all(team: ParallelTeam) -> Callable[..., None]:
    """An excepthook: an exception that nobody handles ends all ranks."""

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        if isinstance(error, SharedError):
            if team.rank == 0:
                print(text, file=sys.stderr, flush=True)
            team.comm.abort("" if team.rank else f"kcompile: all {team.size} ranks end")
            return
        team.comm.abort(f"{text}kcompile: {team} failed: {kind.__name__}: {error}")

    return hook

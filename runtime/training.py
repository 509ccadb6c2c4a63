"""The training loop: epochs, order, batches, averages, validation. Knows arrays and step functions only.

Enters: whole arrays whose first axis is the sample, and a `Runner` that runs batches of them, each of which
leaves a vector of `Results`. Leaves: events for callbacks, and averages over samples. Where no callback
listens to batches, a call of the runner takes many of them.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar, Union

import numpy as np

from kcompile_runtime.arrays import Array
from kcompile_runtime.checks import check_count, check_number
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.loop import Runner, joined
from kcompile_runtime.positions import Keeper, Position

TIME_SLICE = 0.05  # seconds of native code between two looks at signals and progress bars
Shuffle = Union[bool, Literal["batch"]]
T = TypeVar("T")

_ALIASES = {"acc": "accuracy", "accuracy": "acc", "val_acc": "val_accuracy", "val_accuracy": "val_acc"}


class Logs(dict[str, T]):
    """Values by name, where accuracy is found under either of the names that Keras 2 gave it: "acc"
    until 2.2, "accuracy" from 2.3 on."""

    def __missing__(self, key: str) -> T:
        other = _ALIASES.get(key)
        if other is None or not dict.__contains__(self, other):
            raise KeyError(key)
        return dict.__getitem__(self, other)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or dict.__contains__(self, _ALIASES.get(str(key)))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a name, in any of its spellings; default where there is none."""
        try:
            return self[key]
        except KeyError:
            return default


class Events(Protocol):
    """The callbacks of a loop over batches. `values` gives the averages so far, to those who ask."""

    @property
    def wants_batches(self) -> bool:
        """Whether any of them listens to single batches."""

    def batch_begin(self, batch: int, logs: dict[str, Any]) -> None:
        """The batch of this number begins."""

    def batch_end(self, batch: int, logs: dict[str, Any], values: Callable[[], list[Any]]) -> None:
        """It is done. logs: its values by name."""

    def progress(self, samples: int, values: Callable[[], list[Any]]) -> None:
        """So many samples are done."""


class FitEvents(Events, Protocol):
    """The callbacks of the training loop."""

    @property
    def stopped(self) -> bool:
        """Whether one of them asked for the end."""

    def epoch_begin(self, epoch: int) -> None:
        """The epoch of this number begins."""

    def epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """It is done. logs: its averages by name, those of the validation too."""


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class Results:
    """What a vector of results holds, in order: the loss, then what is reported beside it.

    names: of the values, the loss first. kept: by name, the shapes of those that stand for all batches so
    far, as a metric with a state of its own gives them; a vector holds their elements. Of every other value
    but the loss it holds a total and a count, whose ratio is reported. averages_loss: whether the first value
    is the loss of a batch, which is averaged by samples; else every value is kept. by_name: values by name
    are in the order of the names, and not as here. ends: of values that are others at the end of all batches
    the shapes, by name; a vector holds their elements last.
    """

    names: Sequence[str]
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    averages_loss: bool = True
    by_name: bool = False
    ends: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def named(self, values: Iterable[Any]) -> dict[str, Any]:
        """Values by name, as callbacks and histories have them."""
        found = dict(zip(self.names, values))
        return {name: found[name] for name in sorted(found)} if self.by_name else found

    def values(self, vector: Array) -> list[Any]:
        """The values that a vector of results stands for: numbers, and arrays where shapes say so."""
        numbers: list[float] = vector.tolist()
        if not self.kept and self.averages_loss:
            return [numbers[0], *(_ratio(t, c) for t, c in zip(numbers[1::2], numbers[2::2]))]
        found: list[Any] = [numbers[0]] if self.averages_loss else []
        for place, shape in self._places:
            if shape is None:
                found.append(_ratio(*numbers[place : place + 2]))
            else:
                part = vector[place : place + math.prod(shape)].reshape(shape)
                found.append(part.copy() if shape else part.item())
        return found

    def values_at_end(self, vector: Array) -> list[Any]:
        """The same as they are at the end of all batches."""
        found = dict(zip(self.names, self.values(vector)))
        place = len(vector) - sum(map(math.prod, self.ends.values()))
        for name, shape in self.ends.items():
            part = vector[place : place + math.prod(shape)].reshape(shape)
            found[name] = part.copy() if shape else part.item()
            place += math.prod(shape)
        return [found[name] for name in self.names]

    @cached_property
    def _places(self) -> list[tuple[int, tuple[int, ...] | None]]:
        """Where each value but an averaged loss begins in a vector, and its shape if it is kept."""
        found, place = [], int(self.averages_loss)
        for name in self.names[place:]:
            shape = self.kept.get(name)
            found.append((place, shape))
            place += 2 if shape is None else math.prod(shape)
        return found

    @cached_property
    def kept_places(self) -> list[int]:
        """The places of a vector that stand for all batches so far."""
        spans = ((place, math.prod(shape)) for place, shape in self._places if shape is not None)
        return [
            *(place + number for place, size in spans for number in range(size)),
            *range(-sum(map(math.prod, self.ends.values())), 0),
        ]

    @cached_property
    def loss_place(self) -> int | None:
        """Where the loss stands in a vector; None where nothing of this name is reported."""
        if self.averages_loss:
            return 0
        return dict(zip(self.names, (place for place, _ in self._places))).get("loss")


def _ratio(total: float, count: float) -> float:
    return total / count if count else 0.0


class Averages:
    """Averages over the batches so far: the loss by samples, metrics by their own counts; and the latest of
    the values that stand for all batches so far."""

    def __init__(self, results: Results, start: Position | None = None) -> None:
        """start: of a pass that goes on there."""
        self.samples = 0 if start is None else start.samples
        self._results = results
        # [results]: of losses times samples, then of the other results
        self._sums: Array | None = None if start is None else start.sums

    def add(self, size: int, samples: int, vectors: Array) -> None:
        """Count batches of `size` samples in, the last one maybe smaller, with their vectors of results
        [batches, results]. Sums grow in double precision, batch after batch, however many come at once."""
        parts = np.empty((len(vectors) + 1, vectors.shape[1]))
        parts[0] = 0.0 if self._sums is None else self._sums
        parts[1:] = vectors
        if self._results.averages_loss:
            parts[1:-1, 0] *= size
            parts[-1, 0] *= samples - size * (len(vectors) - 1)
        self.samples += samples
        self._sums = np.add.accumulate(parts)[-1]
        if self._results.kept:
            places = self._results.kept_places
            self._sums[places] = vectors[-1, places]

    def values(self) -> list[Any]:
        """The averages so far; none before the first batch."""
        if self._sums is None:
            return []
        values = self._results.values(self._sums)
        return [values[0] / self.samples, *values[1:]] if self._results.averages_loss else values

    def at_end(self) -> list[Any]:
        """The same of a pass that has ended."""
        if self._sums is None or not self._results.ends:
            return self.values()
        return self._results.values_at_end(self._sums)

    def position(self, epoch: int, batches: int, warned: bool) -> Position:
        """Where a training is that has these averages."""
        return Position(epoch, batches, self.samples, self._sums, warned)

    def logged(self) -> list[Any]:
        """The values in the order of logs."""
        return list(self._results.named(self.values()).values())


# ---------------------------------------------------------------- batches


class TimeSlicer:
    """Cuts passes over samples into slices of whole batches, each of which takes about `TIME_SLICE` seconds
    and is one call of native code: between two slices Python handles signals and draws progress bars. The
    first slice is one batch; from then on the pace is known, in later passes too."""

    def __init__(self) -> None:
        self._pace = TIME_SLICE  # seconds for a sample

    def slices(
        self,
        stop: int,
        size: int,
        single: bool,
        start: int = 0,
        most: Callable[[], int | None] = lambda: None,
    ) -> Iterator[tuple[int, int]]:
        """The slices (start, end) of the samples from `start` up to `stop`. A slice must be run before the
        next one is asked for. single: each slice is one batch. most: how many batches the next one has at
        most."""
        while start < stop:
            batches = 1 if single else max(1, int(TIME_SLICE / (self._pace * size)))
            limit = most()
            end = min(start + size * (batches if limit is None else min(batches, limit)), stop)
            begin = time.perf_counter()
            yield start, end
            self._pace = max(time.perf_counter() - begin, 1e-9) / (end - start)
            start = end


def shuffled(samples: int, batch_size: int, shuffle: Shuffle) -> Array | None:
    """The order of an epoch, drawn from numpy's global generator as Keras 2 draws it. "batch" keeps
    the samples of a batch together, and an incomplete last one where it is."""
    if not shuffle:
        return None
    order = np.arange(samples, dtype=np.int64)
    if shuffle == "batch":
        whole = samples // batch_size * batch_size
        batches = order[:whole].reshape(-1, batch_size)
        np.random.shuffle(batches)
    else:
        np.random.shuffle(order)
    return order


def check_steps(name: str, steps: Any, batches: int) -> int | None:
    """Steps of a pass. Raises InputError when the data have fewer batches."""
    if steps is None:
        return None
    count = check_count(name, steps)
    if count > batches:
        raise InputError(
            describe(
                name,
                f"at most {batches}, the batches that the data hold",
                str(count),
                "Give more data, or a smaller batch_size.",
            )
        )
    return count


# ---------------------------------------------------------------- loops


def fit_loop(
    run: Runner,
    arrays: Sequence[Array],
    report: Results,
    events: FitEvents,
    *,
    slicer: TimeSlicer,
    batch_size: int,
    shuffle: Shuffle = True,
    steps: int | None = None,
    keeper: Keeper | None = None,
    **epochs: Any,
) -> None:
    """Train on rows of arrays. report: what the results are. slicer: knows the pace of earlier calls.
    keeper, epochs: the arguments of `_epochs`. Raises InputError when steps exceed the batches."""
    samples, size, stop = _sizes(arrays, batch_size, steps)

    def train(averages: Averages, done: int) -> Iterator[tuple[int, Array]]:
        order = shuffled(samples, size, shuffle)
        start, most = done * size, (lambda: None) if keeper is None else keeper.most
        return _results(run, arrays, order, report, events, slicer, averages, size, stop, start, most)

    _epochs(train, report, events, keeper=keeper, **epochs)


def _epochs(
    train: Callable[[Averages, int], Iterator[tuple[int, Array]]],
    report: Results,
    events: FitEvents,
    *,
    epochs: int,
    initial_epoch: int = 0,
    begin: Callable[[], None] = lambda: None,
    validate: Callable[[], Mapping[str, Any]] | None = None,
    validates: Callable[[int], bool] = lambda epoch: True,
    ended: Callable[[], bool] = lambda: False,
    keeper: Keeper | None = None,
) -> None:
    """The epochs from initial_epoch to epochs. train: one pass, which counts its results in, and passes over
    the batches that were done before. begin: called before each epoch. validate: gives the values of a
    validation pass by name after each epoch that `validates`, which are reported as "val_" + name. ended:
    whether there are no more data. keeper: writes down where the training is, and knows where it goes on,
    which initial_epoch says too. Warns once when the loss of a batch is NaN."""
    start = None if keeper is None else keeper.start
    warned = start is not None and start.warned
    if keeper is not None and start is not None and not start.batches:
        keeper.restore()
        if events.stopped or start.ended:
            return
        start = None
    for epoch in range(initial_epoch, epochs):
        begin()
        events.epoch_begin(epoch)
        averages = Averages(report, start)
        done = 0 if start is None else start.batches
        if keeper is not None:
            if start is not None:
                keeper.restore()
                start = None
            keeper.order()
        passes = train(averages, done)
        if keeper is not None:
            keeper.ordered()
        for first, results in passes:
            bad = () if report.loss_place is None else np.isnan(results[:, report.loss_place])
            if not warned and np.any(bad):
                warned = True
                warnings.warn(
                    f"loss is nan in epoch {epoch + 1}, batch {first + np.argmax(bad) + 1}. Look for "
                    "NaN in the data, or lower the learning rate",
                    stacklevel=5,
                )
            if events.stopped:
                break
            if keeper is not None:
                keeper.after(averages.position(epoch, first + len(results), warned), len(results))
        if ended() and not averages.samples:
            break
        logs = Logs(report.named(averages.at_end()))
        if validate is not None and not events.stopped and validates(epoch):
            logs.update({f"val_{name}": value for name, value in validate().items()})
        events.epoch_end(epoch, logs)
        if keeper is not None:
            keeper.after(Position(epoch + 1, warned=warned, ended=ended()), 0)
        if events.stopped or ended():
            break


def evaluate_loop(
    run: Runner,
    arrays: Sequence[Array],
    report: Results,
    events: Events,
    *,
    slicer: TimeSlicer,
    batch_size: int,
    steps: int | None = None,
) -> list[Any]:
    """The averages of all results over the samples, the loss first."""
    _, size, stop = _sizes(arrays, batch_size, steps)
    averages = Averages(report)
    for _ in _results(run, arrays, None, report, events, slicer, averages, size, stop):
        pass
    return averages.at_end()


def predict_loop(
    run: Runner,
    arrays: Sequence[Array],
    events: Events,
    *,
    slicer: TimeSlicer,
    batch_size: int,
    steps: int | None = None,
) -> list[Array]:
    """The outputs of all samples, one array for each output, batch by batch along axis 0."""
    _, size, stop = _sizes(arrays, batch_size, steps)
    listening = events.wants_batches
    outputs: list[list[Array]] = []
    for start, end in slicer.slices(stop, size, listening):
        logs = {"batch": start // size, "size": end - start}
        if listening:
            events.batch_begin(start // size, logs)
        outputs.append(run(arrays, None, size, start, end))
        if listening:
            events.batch_end(start // size, {**logs, "outputs": outputs[-1]}, list)
        events.progress(end, list)
    return joined(outputs)


def _sizes(arrays: Sequence[Array], batch_size: int, steps: int | None) -> tuple[int, int, int]:
    """The number of samples, the size of a batch, and how many samples a pass takes."""
    samples = len(arrays[0])
    size = min(batch_size, samples)
    return samples, size, samples if steps is None else min(steps * size, samples)


def _results(
    run: Runner,
    arrays: Sequence[Array],
    order: Array | None,
    report: Results,
    events: Events,
    slicer: TimeSlicer,
    averages: Averages,
    size: int,
    stop: int,
    begin: int = 0,
    most: Callable[[], int | None] = lambda: None,
) -> Iterator[tuple[int, Array]]:
    """One pass from the sample `begin` on: for each slice the number of its first batch and its results
    [batches, results], after the averages and the callbacks have them. most: see `TimeSlicer.slices`."""
    listening = events.wants_batches
    for start, end in slicer.slices(stop, size, listening, begin, most):
        number = start // size
        if listening:
            events.batch_begin(number, {"batch": number, "size": end - start})
        batches = -(-(end - start) // size)
        results = run(arrays, order, size, start, end)[0].reshape(batches, -1)
        averages.add(size, end - start, results)
        if listening:
            logs = Logs(report.named(report.values(results[0])), batch=number, size=end - start)
            events.batch_end(number, logs, averages.logged)
        events.progress(end, averages.logged)
        yield number, results


# ---------------------------------------------------------------- batches that are given one by one


def fit_batches(
    run: Callable[[int, T], Array],
    passes: Callable[[int], tuple[Iterator[tuple[int, T]], int | None]],
    report: Results,
    events: FitEvents,
    **epochs: Any,
) -> None:
    """Train on batches as they are given. run: a step on so many samples, which gives the results. passes:
    gives the batches of an epoch with their numbers of samples, but for so many at its beginning that were
    done before, and how many there should be, None where nobody knows. When there are fewer (then: none),
    training ends with a warning, as in Keras. epochs: the arguments of `_epochs`."""
    short = False

    def train(averages: Averages, done: int) -> Iterator[tuple[int, Array]]:
        return counted(averages, done, *passes(done))

    def counted(
        averages: Averages, done: int, batches: Iterator[tuple[int, T]], steps: int | None
    ) -> Iterator[tuple[int, Array]]:
        nonlocal short
        count = done
        for found in _given(run, batches, report, events, averages, done):
            count += 1
            yield found
        short = count < (1 if steps is None else steps)
        if short:
            warnings.warn(
                f"the data ended after {count} of {steps or 'all'} batches of an epoch; training ends here. "
                "Give steps_per_epoch * epochs batches",
                stacklevel=6,
            )

    _epochs(train, report, events, ended=lambda: short, **epochs)


def evaluate_batches(
    run: Callable[[int, T], Array],
    batches: Iterator[tuple[int, T]],
    report: Results,
    events: Events,
    *,
    steps: int | None,
) -> list[Any]:
    """The averages of all results over the samples of `steps` batches, None for all. Raises InputError for
    fewer."""
    averages, count = Averages(report), 0
    for _ in _given(run, batches, report, events, averages):
        count += 1
    _check_complete(count, steps or 1)
    return averages.at_end()


def predict_batches(
    run: Callable[[int, T], list[Array]],
    batches: Iterator[tuple[int, T]],
    events: Events,
    *,
    steps: int | None,
) -> list[Array]:
    """The outputs of `steps` batches, None for all, joined along axis 0. Raises InputError for fewer."""
    outputs: list[list[Array]] = []
    for number, (n, batch) in enumerate(batches):
        if events.wants_batches:
            events.batch_begin(number, {"batch": number, "size": n})
        outputs.append(run(n, batch))
        if events.wants_batches:
            events.batch_end(number, {"batch": number, "size": n, "outputs": outputs[-1]}, list)
        events.progress(number + 1, list)
    _check_complete(len(outputs), steps or 1)
    return joined(outputs)


def _given(
    run: Callable[[int, T], Array],
    batches: Iterator[tuple[int, T]],
    report: Results,
    events: Events,
    averages: Averages,
    done: int = 0,
) -> Iterator[tuple[int, Array]]:
    """The number and the results [1, results] of each batch, after the averages and the callbacks have them.
    Progress is counted in batches, of which so many were done before."""
    for number, (n, batch) in enumerate(batches, done):
        if events.wants_batches:
            events.batch_begin(number, {"batch": number, "size": n})
        results = run(n, batch).reshape(1, -1)
        averages.add(n, n, results)
        if events.wants_batches:
            logs = Logs(report.named(report.values(results[0])), batch=number, size=n)
            events.batch_end(number, logs, averages.logged)
        events.progress(number + 1, averages.logged)
        yield number, results


def _check_complete(count: int, steps: int) -> None:
    if count < steps:
        raise InputError(describe("data", f"{steps} batches", f"{count} batches"))


def split_at(samples: int, fraction: float) -> int:
    """Where the validation part begins: the last `fraction` of the samples. Raises InputError when
    either part would be empty."""
    fraction = check_number("validation_split", fraction, 0, 1)
    at = math.floor(samples * (1.0 - fraction))
    if not 0 < at < samples:
        raise InputError(
            describe(
                "validation_split",
                "a split that leaves samples in both parts",
                f"{fraction} of {samples} samples",
            )
        )
    return at

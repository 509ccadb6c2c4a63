"""The training loop: epochs, order, batches, averages, validation. Knows arrays and step functions only.

Enters: whole arrays whose first axis is the sample, and a step function that runs one batch and leaves
its vector of results: the loss, then total and count of every metric. Leaves: events for callbacks, and
averages over samples. Steps are called with arrays that are valid during the call only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar, Union

import numpy as np

from kcompile_runtime.arrays import Array, aligned
from kcompile_runtime.errors import InputError, describe

Step = Callable[[int, list[Array]], Array]
Shuffle = Union[bool, Literal["batch"]]
T = TypeVar("T")

_ALIASES = {"acc": "accuracy", "accuracy": "acc", "val_acc": "val_accuracy",
            "val_accuracy": "val_acc"}


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
        try:
            return self[key]
        except KeyError:
            return default


class Events(Protocol):
    """What the loops tell. wants_batches: whether anybody listens to batches."""

    @property
    def wants_batches(self) -> bool: ...
    def batch_begin(self, batch: int, logs: dict[str, Any]) -> None: ...
    def batch_end(self, batch: int, logs: dict[str, Any]) -> None: ...


class FitEvents(Events, Protocol):
    """What the training loop tells besides. stopped: whether a callback asked for the end."""

    @property
    def stopped(self) -> bool: ...
    def epoch_begin(self, epoch: int) -> None: ...
    def epoch_end(self, epoch: int, logs: dict[str, Any]) -> None: ...


# ---------------------------------------------------------------- averages


def batch_values(results: Array) -> list[float]:
    """A batch's results as they are reported: the loss, and total / count of every metric."""
    values: list[float] = results.tolist()
    return [values[0], *(_ratio(t, c) for t, c in zip(values[1::2], values[2::2]))]


def _ratio(total: float, count: float) -> float:
    return total / count if count else 0.0


class Averages:
    """Averages over the batches so far: the loss by samples, metrics by their own counts."""

    def __init__(self) -> None:
        self.samples = 0
        self._loss = 0.0
        self._sums: Array | None = None

    def add(self, n: int, results: Array) -> float:
        """Count a batch of n samples in; gives back its loss."""
        loss = float(results[0])
        self.samples += n
        self._loss += loss * n
        if self._sums is None:
            self._sums = results.astype(np.float64)
        else:
            self._sums += results
        return loss

    def values(self) -> list[float]:
        if self._sums is None:
            return []
        return [self._loss / self.samples, *batch_values(self._sums)[1:]]


# ---------------------------------------------------------------- batches


class Batches:
    """Arrays cut in batches: views in their own order, else rows gathered into buffers used again."""

    def __init__(self, arrays: Sequence[Array], batch_size: int) -> None:
        self.arrays = list(arrays)
        self.samples = len(self.arrays[0])
        self.batch_size = min(batch_size, self.samples)
        self._buffers: list[Array] = []

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def cut(self, order: Array | None, steps: int | None = None) -> Iterator[tuple[int, list[Array]]]:
        """(size, arrays) of each batch, or of the first `steps` of them."""
        stop = self.samples if steps is None else min(steps * self.batch_size, self.samples)
        for start in range(0, stop, self.batch_size):
            end = min(start + self.batch_size, self.samples)
            if order is None:
                yield end - start, [a[start:end] for a in self.arrays]
            else:
                yield end - start, self._gather(order[start:end])

    def _gather(self, rows: Array) -> list[Array]:
        if not self._buffers:
            self._buffers = [aligned((self.batch_size, *a.shape[1:]), a.dtype) for a in self.arrays]
        # mode="clip" writes to `out` directly; rows are never out of range
        return [a.take(rows, 0, buffer[:len(rows)], "clip")
                for a, buffer in zip(self.arrays, self._buffers)]


def shuffled(samples: int, batch_size: int, shuffle: Shuffle) -> Array | None:
    """The order of an epoch, drawn from numpy's global generator as Keras 2 draws it. "batch" keeps
    the samples of a batch together, and an incomplete last one where it is."""
    if not shuffle:
        return None
    order = np.arange(samples)
    if shuffle == "batch":
        whole = samples // batch_size * batch_size
        batches = order[:whole].reshape(-1, batch_size)
        np.random.shuffle(batches)
    else:
        np.random.shuffle(order)
    return order


def check_count(name: str, value: Any, low: int = 1) -> int:
    """An integer option. Raises InputError below `low` or for no integer."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= low:
        return int(value)
    raise InputError(describe(name, f"an integer of at least {low}", repr(value)))


def check_steps(name: str, steps: Any, batches: int) -> int | None:
    """Steps of a pass. Raises InputError when the data have fewer batches."""
    if steps is None:
        return None
    count = check_count(name, steps)
    if count > batches:
        raise InputError(describe(name, f"at most {batches}, the batches that the data hold",
                                  str(count), "Give more data, or a smaller batch_size."))
    return count


# ---------------------------------------------------------------- loops


def fit_loop(step: Step, arrays: Sequence[Array], names: Sequence[str], events: FitEvents, *,
             batch_size: int, epochs: int, initial_epoch: int = 0, shuffle: Shuffle = True,
             steps: int | None = None, validate: Callable[[], Sequence[float]] | None = None) -> None:
    """Train. names: of the results, the loss first. validate: gives the values of a validation pass
    after each epoch, which are reported as "val_" + name.

    Warns once when the loss of a batch is NaN. Raises InputError when steps exceed the batches.
    """
    batches = Batches(arrays, batch_size)
    warned = False
    for epoch in range(initial_epoch, epochs):
        events.epoch_begin(epoch)
        listening = events.wants_batches
        averages = Averages()
        order = shuffled(batches.samples, batches.batch_size, shuffle)
        for number, (n, parts) in enumerate(batches.cut(order, steps)):
            if listening:
                events.batch_begin(number, {"batch": number, "size": n})
            results = step(n, parts)
            loss = averages.add(n, results)
            if loss != loss and not warned:
                warned = True
                warnings.warn(f"loss is nan in epoch {epoch + 1}, batch {number + 1}. Look for NaN in "
                              "the data, or lower the learning rate", stacklevel=4)
            if listening:
                logs = Logs(zip(names, batch_values(results)), batch=number, size=n)
                events.batch_end(number, logs)
                if events.stopped:
                    break
        logs = Logs(zip(names, averages.values()))
        if validate is not None and not events.stopped:
            logs.update(zip((f"val_{name}" for name in names), validate()))
        events.epoch_end(epoch, logs)
        if events.stopped:
            break


def evaluate_loop(step: Step, arrays: Sequence[Array], names: Sequence[str], events: Events, *,
                  batch_size: int, steps: int | None = None) -> list[float]:
    """The averages of all results over the samples, the loss first."""
    batches = Batches(arrays, batch_size)
    averages = Averages()
    listening = events.wants_batches
    for number, (n, parts) in enumerate(batches.cut(None, steps)):
        if listening:
            events.batch_begin(number, {"batch": number, "size": n})
        results = step(n, parts)
        averages.add(n, results)
        if listening:
            events.batch_end(number, Logs(zip(names, batch_values(results)), batch=number, size=n))
    return averages.values()


def predict_loop(run: Callable[[int, list[Array]], list[Array]], arrays: Sequence[Array],
                 events: Events, *, batch_size: int, steps: int | None = None) -> list[Array]:
    """The outputs of all samples, one array for each output, batch by batch along axis 0."""
    batches = Batches(arrays, batch_size)
    listening = events.wants_batches
    parts_of: list[list[Array]] = []
    for number, (n, parts) in enumerate(batches.cut(None, steps)):
        if listening:
            events.batch_begin(number, {"batch": number, "size": n})
        parts_of.append(run(n, parts))
        if listening:
            events.batch_end(number, {"batch": number, "size": n})
    if len(parts_of) == 1:
        return parts_of[0]
    return [np.concatenate(output) for output in zip(*parts_of)]


def split_at(samples: int, share: float) -> int:
    """Where the validation part begins: the last `share` of the samples. Raises InputError when
    either part would be empty."""
    if not (isinstance(share, (int, float)) and 0 < share < 1):
        raise InputError(describe("validation_split", "a number between 0 and 1", repr(share)))
    at = math.floor(samples * (1.0 - share))
    if not 0 < at < samples:
        raise InputError(describe("validation_split", "a split that leaves samples in both parts",
                                  f"{share} of {samples} samples"))
    return at

"""The data of a training, an evaluation or a prediction, as feeds of batches.

Enters: data and validation data as `fit`, `evaluate` and `predict` were given them. Leaves: rows of arrays or
of stored data, or batches of an object, and their lengths. Data are checked whole before the first step
(`adapter`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from kcompile.keras import teams
from kcompile.keras.adapter import Adapter
from kcompile.keras.editions import edition
from kcompile.keras.feeding import AHEAD, HERE, Batches, Queue, Rows
from kcompile.keras.lengths import Lengths, lengths_of
from kcompile.keras.operands import map_leaves
from kcompile.keras.step_choice import needs_steps
from kcompile.keras.step_data import packed, weighted
from kcompile.keras.stored import READ_AHEAD, StoredRows, holds_stored, whole
from kcompile_runtime import training as loops
from kcompile_runtime.arrays import Array, gives_batches
from kcompile_runtime.errors import InputError, describe

Feed = Rows | Batches


@dataclass(frozen=True)
class Data:
    """The data of training or evaluation, as a user gave them. steps: batches in a pass, None for all. queue:
    how an object of batches is asked ahead."""

    x: Any
    y: Any = None
    sample_weight: Any = None
    class_weight: Any = None
    batch_size: int | None = None
    steps: Any = None
    queue: Queue = AHEAD


@dataclass(frozen=True)
class Validation:
    """The data that `fit` validates on, given or the share at the end of the training data, and the epochs
    after which it does."""

    data: Any
    share: float
    batch_size: int | None
    steps: Any
    after: Callable[[int], bool]


class OfData:
    """The part of `Trainer` that is about data."""

    model: Any
    adapter: Adapter

    def owns(self, entry: str) -> bool:
        """Whether the model's class has a step of its own for an entry."""
        raise NotImplementedError

    def owns_for(self, entry: str, x: Any) -> bool:
        """`owns`, of a model that may have to be built for the data x: its call says it then."""
        if not self.owns(entry) and not self.model.built:
            self.model.build_for_data(whole(x))
        return self.owns(entry)

    def _lengths(self, entry: str, arrays: Sequence[Array]) -> Any:
        """The lengths of the arrays of an entry, or the signature of data that its step was traced for."""
        return self.model.signature(entry) if self.owns(entry) else lengths_of(self.model, arrays)

    def _arrays(self, entry: str, data: Data) -> tuple[list[Array], int]:
        """All arrays that a graph of training or testing takes, and the number of samples."""
        if not self.owns_for(entry, data.x):
            weights = data.class_weight if entry == "train" else None
            found = self.adapter.batch(data.x, data.y, data.sample_weight, weights)
            rows = tuple(map(whole, (data.x, data.y, data.sample_weight)))
            return needs_steps(self, entry, rows, weights, found, data.batch_size or 32)
        x, y, weight = map(whole, (data.x, data.y, data.sample_weight))
        nested = (dict, list, tuple)
        if self.model.counts_losses and isinstance(y, nested) and weight is not None:
            # Keras 3: array_data_adapter.py, __init__
            weight = weight if isinstance(weight, nested) else map_leaves(lambda _: weight, y)
        given = packed(x, y, weight)
        given = weighted(given, data.class_weight) if entry == "train" else given
        return self.model.see(entry, given, data.batch_size or 32)

    def one_batch(
        self, entry: str, x: Any, y: Any = None, sample_weight: Any = None
    ) -> tuple[list[Array], int, Any]:
        """The arrays that the graph of an entry takes for a batch, the number of samples, and the lengths or
        the signature (None where all sizes are known) that the graph is for."""
        if entry == "predict":
            arrays, n = self.adapter.inputs(x)
        else:
            arrays, n = self._arrays(entry, Data(x, y, sample_weight))
        return arrays, n, self._lengths(entry, arrays) or None

    def _of_tensors(self, data: Data, name: str, shuffle: bool = False) -> Data:
        """The data, as batches where inputs are tensors of K. name: of the argument `steps`."""
        given = self.adapter.given if self.model.built else None
        if given is None or gives_batches(data.x):
            return data
        rows = data.x, data.y, data.sample_weight
        x, steps = given.batches(*rows, data.batch_size, data.steps, name, shuffle)
        return replace(data, x=x, y=None, sample_weight=None, batch_size=None, steps=steps, queue=HERE)

    def _by_rows(self, entry: str, x: Any, *rest: Any) -> bool:
        """Whether data become arrays batch by batch: they are stored, or texts whose batches are as long as
        their longest text."""
        model = self.model
        if self.owns(entry):
            return holds_stored(x, *rest)
        if not model.built and any(layer.takes_texts for layer in model.owned_layers[:1]):
            model.build_for_data(x)
        return holds_stored(x, *rest) or (model.prelude is not None and model.varies)

    def _over(
        self,
        arrays: Sequence[Array],
        n: int,
        batch_size: int | None,
        steps: Any,
        name: str,
        shared: bool = True,
    ) -> Rows:
        """Rows of arrays, with the default batch size where none is given. shared: where other processes have
        shards of the data, rows are those of all."""
        team = teams.team() if shared else None
        every = None if team is None else team.rows(self, arrays)
        n = n if every is None else every[1]
        size = self.adapter.size(batch_size, n)
        return Rows(self, arrays, size, loops.check_steps(name, steps, -(-n // size)), every and every[0])

    def _stored(
        self, data: Data, entry: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[StoredRows, Lengths]:
        """Rows of stored data, from start to stop, and the lengths. name: of the argument `steps`."""
        ahead = min(READ_AHEAD, data.queue.size) if data.queue.workers else 0
        rows = StoredRows(self, (data.x, data.y, data.sample_weight), data.class_weight, start, stop, ahead)
        lengths = self._lengths(entry, rows.first(entry, data.batch_size or 32))
        size = self.adapter.size(data.batch_size, rows.count)
        return rows.of_size(size, loops.check_steps(name, data.steps, -(-rows.count // size))), lengths

    def _training_feed(
        self, data: Data, validation: Validation, shuffle: Any, passes: int, opened: ExitStack
    ) -> tuple[Feed, list[Array] | StoredRows | None, Lengths]:
        """The data that `fit` trains on, the rest that validation_split leaves, and the lengths. opened:
        closes what has to end with the training."""
        share = validation.share
        data = self._of_tensors(data, "steps_per_epoch", bool(shuffle))
        if gives_batches(data.x):
            refuse(
                self.model.vintage,
                "fit",
                y=data.y,
                sample_weight=data.sample_weight,
                batch_size=data.batch_size,
                validation_split=share or None,
            )
            batches = Batches(
                self,
                data.x,
                data.steps,
                "steps_per_epoch",
                data.class_weight,
                passes=passes,
                queue=data.queue,
                shuffle=shuffle,
            )
            opened.callback(batches.close)
            return batches, None, self._lengths("train", batches.first("train"))
        if self._by_rows("train", data.x, data.y, data.sample_weight):
            return self._stored_feed(data, validation, opened)
        arrays, n = self._arrays("train", data)
        lengths, rest = self._lengths("train", arrays), None
        if share and validation.data is None:
            n = loops.split_at(n, share)
            # class weights count in training only
            plain = data.class_weight is None and not self.owns("test")
            full = arrays if plain else self._arrays("test", data)[0]
            arrays, rest = [a[:n] for a in arrays], [a[n:] for a in full]
        return self._over(arrays, n, data.batch_size, data.steps, "steps_per_epoch"), rest, lengths

    def _stored_feed(
        self, data: Data, validation: Validation, opened: ExitStack
    ) -> tuple[StoredRows, StoredRows | None, Lengths]:
        """The same as `_training_feed`, of stored data."""
        at, rest = None, None
        if validation.share and validation.data is None:
            count = StoredRows(self, (data.x, data.y, data.sample_weight)).count
            at = loops.split_at(count, validation.share)
            size, steps = validation.batch_size, validation.steps
            held = replace(data, class_weight=None, batch_size=size, steps=steps)
            rest, _ = self._stored(held, "test", "validation_steps", at)
            opened.callback(rest.close)
        found, lengths = self._stored(data, "train", "steps_per_epoch", stop=at)
        opened.callback(found.close)
        return found, rest, lengths

    def _held(
        self,
        validation: Validation,
        rest: list[Array] | StoredRows | None,
        queue: Queue,
        passes: int,
        opened: ExitStack,
    ) -> Feed | None:
        """The validation data: those that were given, or the rest that was split off."""
        data, steps = validation.data, validation.steps
        if isinstance(rest, StoredRows):
            return rest
        if data is None and rest is None:
            if steps is not None:
                raise InputError("fit: validation_steps needs validation_data or validation_split")
            return None
        if isinstance(data, (list, tuple)) and len(data) in (2, 3):
            x, y, *weight = data
            given = Data(x, y, weight[0] if weight else None, None, validation.batch_size, steps, queue)
            given = self._of_tensors(given, "validation_steps")
            if gives_batches(given.x):
                data, steps, queue = given.x, given.steps, given.queue
        if gives_batches(data):
            held = Batches(self, data, steps, "validation_steps", passes=passes, queue=queue)
            opened.callback(held.close)
            held.first("test")
            return held
        if data is not None:
            if not isinstance(data, (list, tuple)) or len(data) not in (2, 3):
                raise InputError(
                    describe(
                        "validation_data",
                        "(x, y) or (x, y, sample_weight), or an object of batches",
                        type(data).__name__,
                    )
                )
            if self._by_rows("test", *data):
                x, y, *weight = data
                size = validation.batch_size
                given = Data(x, y, weight[0] if weight else None, None, size, steps, queue)
                held_rows, _ = self._stored(given, "test", "validation_steps")
                opened.callback(held_rows.close)
                return held_rows
            x, y, *weight = data
            given = Data(x, y, weight[0] if weight else None, batch_size=validation.batch_size)
            rest = self._arrays("test", given)[0]
        assert rest is not None
        return self._over(rest, len(rest[0]), validation.batch_size, steps, "validation_steps")


def refuse(vintage: str, method: str, **given: Any) -> None:
    """Raises InputError for arguments that say nothing beside an object of batches. Since tf.keras scripts
    give a batch_size there, of which the Kerases make nothing."""
    if edition(vintage).eager:
        given.pop("batch_size", None)
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise InputError(
            describe(
                f"{method} on an object of batches",
                "no " + ", no ".join(given),
                ", ".join(wrong),
                "The batches themselves say it.",
            )
        )

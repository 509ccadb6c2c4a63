"""Where the batches of a pass come from: rows of whole arrays, or an object that gives batch after batch.

Enters: arrays that `standardize` made, or a generator, an iterable, a sequence of batches
(keras.utils.Sequence, or what looks like it). Leaves: `Rows` or `Batches`, over which a model is trained,
evaluated and predicts with the runtime's loops. Batches are made when they are needed, by the thread that
calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from kcompile_runtime import training as loops
from kcompile_runtime.arrays import Array, is_array
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, describe


def gives_batches(data: Any) -> bool:
    """Whether data are an object of batches, and not arrays."""
    if data is None or is_array(data) or isinstance(data, (list, tuple, Mapping, str, bytes, type)):
        return False
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    return indexed or hasattr(data, "__iter__") or hasattr(data, "__next__")


class Rows:
    """The rows of arrays, `size` at a time; of the first `steps` batches, None for all."""

    def __init__(self, trainer: Any, arrays: Sequence[Array], size: int, steps: int | None) -> None:
        self._trainer = trainer
        self.arrays = list(arrays)
        self.samples = len(arrays[0])
        self._options: dict[str, Any] = {"batch_size": size, "steps": steps}
        self.params = {
            **self._options,
            "samples": self.samples if steps is None else min(steps * size, self.samples),
        }

    def fit(self, names: Sequence[str], callbacks: Any, shuffle: Any, **epochs: Any) -> None:
        loops.fit_loop(
            self._runner("train"),
            self.arrays,
            names,
            callbacks,
            slicer=self._trainer.slicer("train"),
            shuffle=shuffle,
            **self._options,
            **epochs,
        )

    def evaluate(self, names: Sequence[str], callbacks: Any) -> list[float]:
        return loops.evaluate_loop(
            self._runner("test"),
            self.arrays,
            names,
            callbacks,
            slicer=self._trainer.slicer("test"),
            **self._options,
        )

    def predict(self, callbacks: Any) -> list[Array]:
        return loops.predict_loop(
            self._runner("predict"),
            self.arrays,
            callbacks,
            slicer=self._trainer.slicer("predict"),
            **self._options,
        )

    def _runner(self, entry: str) -> Any:
        return self._trainer.engines.needed().batches(entry)


class Batches:
    """An object of batches: each an array x (or several), or a tuple (x, y) or (x, y, sample_weight).

    steps: batches in a pass, by default as many as the object says that it has. A pass over what can only
    be iterated goes on where the last one ended, and begins anew at the end where that is possible. Raises
    InputError for an object of unknown length without steps, or of none.
    """

    def __init__(self, trainer: Any, data: Any, steps: Any, name: str, class_weight: Any = None) -> None:
        self._trainer = trainer
        self._data = data
        self._class_weight = class_weight
        length = _length(data)
        if length == 0:
            raise InputError(describe(f"data ({type(data).__name__})", "at least one batch", "none"))
        if steps is None and length is None:
            raise InputError(
                describe(
                    name,
                    f"the number of batches of a pass, as a {type(data).__name__} "
                    "does not say how many it has",
                    "None",
                )
            )
        self.steps = check_count(name, length if steps is None else steps)
        self._indexed = hasattr(data, "__getitem__")
        self._anew = self.steps == length  # a pass is all there is
        self._going: Iterator[Any] | None = None
        self.params = {"batch_size": None, "steps": self.steps, "samples": None}

    def first(self, entry: str) -> list[Array]:
        """The arrays of the first batch, which is looked at before anything begins, and given again."""
        if self._indexed:
            return self._arrays(entry, self._data[0])[0]
        iterator = iter(self._data)
        for batch in iterator:
            self._going = chain([batch], iterator)
            return self._arrays(entry, batch)[0]
        raise InputError(describe(f"data ({type(self._data).__name__})", "at least one batch", "none"))

    def _pass(self, shuffle: Any = False) -> Iterator[Any]:
        """The batches of the next pass."""
        if self._indexed:
            length = _length(self._data) or self.steps
            order = np.arange(length)
            if shuffle:
                np.random.shuffle(order)
            for i in range(self.steps):
                yield self._data[int(order[i % length])]
            tell = getattr(self._data, "on_epoch_end", None)
            if tell is not None:
                tell()
            return
        going = iter(self._data) if self._going is None else self._going
        batches = list(islice(going, 1))
        if not batches and iter(self._data) is not self._data:  # all were given: begin anew
            going = iter(self._data)
        self._going = None if self._anew and going is not self._data else going
        yield from islice(chain(batches, going), self.steps)

    def fit(self, names: Sequence[str], callbacks: Any, shuffle: Any, **epochs: Any) -> None:
        loops.fit_batches(
            self._step("train"), lambda: self._pass(shuffle), names, callbacks, steps=self.steps, **epochs
        )

    def evaluate(self, names: Sequence[str], callbacks: Any) -> list[float]:
        return loops.evaluate_batches(self._step("test"), self._pass(), names, callbacks, steps=self.steps)

    def predict(self, callbacks: Any) -> list[Array]:
        def run(item: Any) -> tuple[int, list[Array]]:
            arrays, n = self._arrays("predict", item)
            return n, self._trainer.engines.needed().run("predict", n, arrays)

        return loops.predict_batches(run, self._pass(), callbacks, steps=self.steps)

    def _step(self, entry: str) -> Any:
        def run(item: Any) -> tuple[int, Array]:
            arrays, n = self._arrays(entry, item)
            return n, self._trainer.engines.needed().run(entry, n, arrays)[0]

        return run

    def _arrays(self, entry: str, item: Any) -> tuple[list[Array], int]:
        """The arrays of a batch that the graph of an entry takes, and its number of samples."""
        if entry == "predict":
            found: tuple[list[Array], int] = self._trainer.adapter.inputs(
                item[0] if isinstance(item, tuple) and item else item
            )
            return found
        given = labelled(item)
        found = self._trainer.adapter.batch(*given, self._class_weight if entry == "train" else None)
        return found


def labelled(item: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of a batch to train on. Raises InputError."""
    if isinstance(item, (tuple, list)) and len(item) in (2, 3):
        x, y, *weight = item
        return x, y, weight[0] if weight else None
    if isinstance(item, tuple) and len(item) == 1:
        return item[0], None, None
    got = f"{type(item).__name__} of {len(item)}" if hasattr(item, "__len__") else type(item).__name__
    raise InputError(describe("a batch", "a tuple (x, y) or (x, y, sample_weight)", got))


def _length(data: Any) -> int | None:
    """How many batches an object says that it has; None where it does not."""
    try:
        return len(data)
    except (TypeError, ValueError, NotImplementedError, OverflowError):
        return None

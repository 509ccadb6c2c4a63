"""The callback that has the whole state of a training written down, and what callbacks add to that state.

Enters: how often. Leaves: answers to `kcompile.keras.training_state`, which writes; the states of callbacks
as plain values, and back.
"""

from __future__ import annotations

import os
import pickle
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from kcompile.keras.callbacks.base import Callback, LambdaCallback
from kcompile.keras.copying import restore
from kcompile.keras.names_of_scripts import is_ours
from kcompile_runtime.checks import check_count, check_flag, check_number, check_path
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe

_UNITS = {
    "batch": ("batches", 1),
    "epoch": ("epochs", 1),
    "second": ("seconds", 1),
    "minute": ("seconds", 60),
    "hour": ("seconds", 3600),
}


class Checkpoint(Callback):
    """Writes the whole state of the training to a folder, from which `fit(resume=path)` goes on with the same
    bits: weights, the optimizer's state, moving statistics, counters of random numbers, the place in the
    epoch and the order of its batches, averages so far, the History, what callbacks keep.

    path: the folder, which belongs to this training alone, one call of `fit`. every: "epoch", "5 epochs",
    "100 batches", "30 seconds", minutes or hours too, or a number of batches. keep: how many of the states
    stay. pickle_callbacks: whether callbacks of a script's own classes that define no `state` are kept by
    pickle; reading a pickle runs what it says, so that only folders of one's own should be resumed with it.
    overwrite: whether a training that begins anew deletes the states that are there; else it raises
    InputError.

    Each state is a file that appears whole or not at all, under a digest. A state that cannot be written
    raises OSError, and ends the training; those before it stay.
    """

    def __init__(
        self,
        path: Any,
        every: Any = "epoch",
        keep: int = 3,
        pickle_callbacks: bool = False,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        self.path = os.fspath(check_path("Checkpoint: path", path))
        if not self.path:
            raise InputError(describe("Checkpoint: path", "a folder", repr(path)))
        self.every = every
        self.unit, self.count = _interval(every)
        self.keep = check_count("Checkpoint: keep", keep)
        self.pickle_callbacks = check_flag("Checkpoint: pickle_callbacks", pickle_callbacks)
        self.overwrite = check_flag("Checkpoint: overwrite", overwrite)
        self.begin()

    def wants_batches(self, mode: str) -> bool:
        return type(self) is not Checkpoint and super().wants_batches(mode)

    def begin(self) -> None:
        """Count from here."""
        self._batches = self._epochs = 0
        self._latest = time.monotonic()

    def most(self) -> int | None:
        """How many batches may go by until `due` is asked."""
        return int(self.count) - self._batches if self.unit == "batches" else None

    def due(self, batches: int, epochs: int) -> bool:
        """Whether a state is to be written now, so many batches and epochs after the last question."""
        self._batches += batches
        self._epochs += epochs
        now = time.monotonic()
        passed = {"batches": self._batches, "epochs": self._epochs, "seconds": now - self._latest}
        return passed[self.unit] >= self.count


def _interval(every: Any) -> tuple[str, float]:
    """The unit, and how many of it."""
    wanted = "'epoch', '5 epochs', '100 batches', '30 seconds', or a number of batches"
    if not isinstance(every, str):
        try:
            return "batches", check_count("every", every)
        except InputError:
            raise InputError(describe("Checkpoint: every", wanted, repr(every))) from None
    number, _, word = every.strip().rpartition(" ")
    known = _UNITS.get(word.removesuffix("es") if word == "batches" else word.removesuffix("s"))
    try:
        count = float(number) if number else 1.0
        if known is None or (known[0] != "seconds" and count != int(count)):
            raise ValueError
        found = check_number("every", count, 0) * known[1]
    except (ValueError, OverflowError):
        raise InputError(describe("Checkpoint: every", wanted, repr(every))) from None
    if not found:
        raise InputError(describe("Checkpoint: every", wanted, repr(every)))
    return known[0], found if known[0] == "seconds" else int(found)


# ---------------------------------------------------------------- states of callbacks


def states_of(callbacks: Sequence[Callback], pickles: bool) -> list[dict[str, Any]]:
    """What callbacks keep, an entry for each that keeps something. pickles: whether those of a script's that
    have no `state` are pickled. Raises UnsupportedError for one that cannot be."""
    found = []
    for (kind, number), callback in _numbered(callbacks):
        entry = {"kind": kind, "number": number}
        if pickles and _keeps_silently(callback):
            try:
                attributes = getattr(callback, "attributes", callback.__getstate__)
                entry["pickle"] = pickle.dumps(attributes())
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise UnsupportedError(f"Checkpoint: callback {kind} cannot be pickled: {error}") from error
            found.append(entry)
        elif _has_state(callback) and (state := callback.state()):
            found.append({**entry, "state": state})
    return found


def check_states(callbacks: Sequence[Callback], entries: Sequence[Any], pickles: bool) -> list[str]:
    """What is wrong with callbacks that are to go on with these states."""
    known, wrong = dict(_numbered(callbacks)), []
    for entry in entries:
        callback = known.get((entry["kind"], entry["number"]))
        if callback is None:
            wrong.append(f"the state is of a callback {entry['kind']} too, which fit was not given")
        elif "pickle" in entry and not pickles:
            wrong.append(
                f"the state of callback {entry['kind']} is a pickle, which runs what it says: give fit a "
                "Checkpoint with pickle_callbacks=True, if you trust it"
            )
    return wrong


def load_states(callbacks: Sequence[Callback], entries: Sequence[Any]) -> None:
    """Give callbacks their states back."""
    known = dict(_numbered(callbacks))
    for entry in entries:
        callback = known[entry["kind"], entry["number"]]
        if "pickle" in entry:
            try:
                kept = pickle.loads(entry["pickle"])
            except Exception as error:
                raise ModelError(f"the state of callback {entry['kind']} cannot be read: {error}") from error
            lasting = ("model", "params", "validation_data", "_resumes")
            put = getattr(callback, "restore", None) if is_ours(type(callback)) else None
            kept = {k: v for k, v in kept.items() if k not in lasting}
            if put is None:
                restore(callback, kept)
            else:
                put(kept)
        else:
            callback.load_state(entry["state"])


def warn_of_silent(callbacks: Iterable[Callback], pickles: bool) -> None:
    """Tell of callbacks of a script's that keep something no state has."""
    silent = sorted({kind for (kind, _), c in _numbered(callbacks) if not pickles and _keeps_silently(c)})
    if silent:
        warnings.warn(
            f"Checkpoint: what {', '.join(silent)} keeps is not in the states, as the class defines no "
            "state() and load_state(state). Define both, or give Checkpoint pickle_callbacks=True",
            stacklevel=5,
        )


def _numbered(callbacks: Iterable[Callback]) -> list[tuple[tuple[str, int], Callback]]:
    """Callbacks with their kind and the number among those of the kind."""
    seen: Counter[str] = Counter()
    found = []
    for callback in callbacks:
        kind = getattr(callback, "kind", None) if is_ours(type(callback)) else None
        kind = kind if isinstance(kind, str) else type(callback).__name__
        found.append(((kind, seen[kind]), callback))
        seen[kind] += 1
    return found


def _has_state(callback: Any) -> bool:
    """Whether its `state` and `load_state` are methods: a script may have other things of these names."""
    return all(callable(getattr(callback, name, None)) for name in ("state", "load_state"))


def _keeps_silently(callback: Callback) -> bool:
    """Whether it is of a script's class that has attributes and no `state` of its own."""
    kind = type(callback)
    if is_ours(kind) and hasattr(callback, "keeps_silently"):  # which stands for one of another Keras
        return bool(callback.keeps_silently)
    if is_ours(kind) or isinstance(callback, LambdaCallback):
        return False
    maker = next((k for k in kind.__mro__ if "state" in vars(k)), Callback)
    if not is_ours(maker) and _has_state(callback):
        return False
    ours = next(k for k in kind.__mro__ if is_ours(k))
    own = set(vars(callback)) - {"model", "params", "validation_data", "_resumes"}
    return bool(own) if ours is Callback else bool(own - _attributes(ours))


def _attributes(kind: type) -> set[str]:
    """The names that the methods of a class and those below it speak of."""
    methods = (m for k in kind.__mro__ for m in vars(k).values())
    return {name for m in methods if hasattr(m, "__code__") for name in m.__code__.co_names}

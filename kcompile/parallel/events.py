"""Callbacks on rank 0, whose effects all ranks have.

Enters: the events of a training loop on every rank. Leaves: on rank 0 the callbacks are told of them; then
all ranks have what these changed: whether to stop, where to begin, the values of variables (the learning
rate, weights that were put back), what they added to the logs, and the state of the generators of chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.keras.teams import alone
from kcompile.parallel.communicator import Communicator, broadcast_object
from kcompile_runtime.errors import UnsupportedError, describe


def chance() -> tuple[Any, Any]:
    """The states of everybody's generators, of numpy and of Python."""
    return np.random.get_state(), random.getstate()


def set_chance(states: tuple[Any, Any]) -> None:
    """Go on from these states."""
    np.random.set_state(states[0])
    random.setstate(states[1])


class _Watch:
    """Notes that a variable was written by somebody else than a step."""

    def __init__(self, variable: Any, seen: dict[int, Any], number: int) -> None:
        self._variable, self._seen, self._number = variable, seen, number
        variable.listeners.add(self.wrote)

    def wrote(self) -> None:
        """The variable has another value."""
        self._seen[self._number] = self._variable


class RankEvents:
    """Events of a loop on one rank, over those of this process (`callbacks.Events`). follows: whether chance
    is rank 0's on all."""

    def __init__(
        self, inner: Any, comm: Communicator, trainer: Any, engine: Any, follows: bool, mode: str = "train"
    ) -> None:
        self.inner, self.comm, self.trainer, self.engine = inner, comm, trainer, engine
        self.follows, self.mode = follows, mode
        self.model = trainer.model
        self._wants = broadcast_object(comm, inner.wants_batches)
        self._written: dict[int, Any] = {}
        self._variables = engine.variables()
        self._watches = (
            [_Watch(v, self._written, i) for i, v in enumerate(self._variables)] if comm.rank == 0 else []
        )

    @property
    def callbacks(self) -> list[Any]:
        """Those that are told here."""
        found: list[Any] = self.inner.callbacks
        return found

    @property
    def wants_batches(self) -> bool:
        """Whether any callback of rank 0 listens to batches."""
        return bool(self._wants)

    @property
    def stopped(self) -> bool:
        """See `FitEvents`."""
        return bool(self.inner.stopped)

    def within(self, mode: str) -> RankEvents:
        """See `Events`."""
        return RankEvents(self.inner.within(mode), self.comm, self.trainer, self.engine, self.follows, mode)

    def change_params(self, **changed: Any) -> None:
        """See `Events`."""
        self.inner.change_params(**changed)

    def begin(self) -> None:
        """See `Events`."""
        self._tell(lambda: self.inner.begin())

    def end(self, logs: Any = None) -> None:
        """See `Events`."""
        self._tell(lambda: self.inner.end(logs))

    def epoch_begin(self, epoch: int) -> None:
        """See `FitEvents`."""
        self._tell(lambda: self.inner.epoch_begin(epoch))

    def epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """See `FitEvents`."""
        self._tell(lambda: self.inner.epoch_end(epoch, logs), epoch)

    def batch_begin(self, batch: int, logs: dict[str, Any]) -> None:
        """See `Events`."""
        self._tell(lambda: self.inner.batch_begin(batch, logs))

    def batch_end(self, batch: int, logs: dict[str, Any], values: Callable[[], list[Any]]) -> None:
        """See `Events`."""
        self._tell(lambda: self.inner.batch_end(batch, logs, values))

    def progress(self, samples: int, values: Callable[[], list[Any]]) -> None:
        """See `Events`."""
        if self.comm.rank == 0:
            self.inner.progress(samples, values)

    # ---- effects

    def _tell(self, call: Callable[[], None], epoch: int | None = None) -> None:
        if self.comm.rank:
            self._take(broadcast_object(self.comm, None), epoch)
            return
        before = self.engine.resets
        self._written.clear()
        with alone():
            call()
        if self.engine.resets != before:
            raise UnsupportedError(
                describe(
                    "callbacks in data-parallel training",
                    "the learning rate, weights and stop_training to be set",
                    "a change of the model or of options that the step is compiled for",
                )
            )
        broadcast_object(self.comm, self._effects(epoch))

    def _effects(self, epoch: int | None) -> dict[str, Any]:
        history = self.model.history.history if epoch is not None else {}
        return {
            "stop": getattr(self.model, "stop_training", False),
            "first": getattr(self.trainer, "_first_epoch", None),
            "written": {number: v.array.copy() for number, v in self._written.items()},
            "logs": {name: values[-1] for name, values in history.items()},
            "chance": chance() if self.follows else None,
        }

    def _take(self, effects: dict[str, Any], epoch: int | None) -> None:
        if self.mode == "train":
            self.model.stop_training = effects["stop"]
            self.trainer._first_epoch = effects["first"]
        for number, array in effects["written"].items():
            self._variables[number].assign(array)
        if epoch is not None:
            self.model.history.on_epoch_end(epoch, effects["logs"])
        if effects["chance"] is not None:
            set_chance(effects["chance"])


class RankKeeper:
    """A `Keeper` of the training loop on each rank, over that of rank 0, which reads and writes. start: where
    the training goes on, None for one that begins."""

    def __init__(self, inner: Any, start: Any, comm: Communicator, trainer: Any, engine: Any) -> None:
        self.inner, self.start = inner, start
        self._comm, self._trainer, self._engine = comm, trainer, engine

    def restore(self) -> None:
        """See `Keeper`. All have the state of rank 0."""
        model = self._trainer.model
        if self.inner is not None:
            with alone():
                self.inner.restore()
        for variable in self._engine.variables():
            array = variable.array
            self._comm.broadcast(array)
            if self._comm.rank:
                variable.assign(array.copy())
        told = model.stop_training, model.history.epoch, model.history.history, chance()
        model.stop_training, model.history.epoch, model.history.history, states = broadcast_object(
            self._comm, told
        )
        set_chance(states)

    def order(self) -> None:
        """See `Keeper`."""
        if self.inner is not None:
            self.inner.order()
        set_chance(broadcast_object(self._comm, chance()))

    def ordered(self) -> None:
        """See `Keeper`."""
        if self.inner is not None:
            self.inner.ordered()
        set_chance(broadcast_object(self._comm, chance()))

    def most(self) -> int | None:
        """See `Keeper`."""
        return None if self.inner is None else self.inner.most()

    def after(self, position: Any, batches: int) -> None:
        """See `Keeper`."""
        if self.inner is not None:
            with alone():
                self.inner.after(position, batches)

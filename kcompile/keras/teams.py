"""What training asks of the processes ("ranks") that train one model together, where there are any.

Enters: a `Team`, which `kcompile.distribute` makes. Leaves: for each `fit` and `evaluate` a `Together`,
through which ranks agree before the first step, and by which callbacks are told on rank 0 alone. Without a
team, and in callbacks, a process trains alone: `ALONE` does nothing. The front end knows no more of it than
this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol

from kcompile_runtime.arrays import Array


class Team(Protocol):
    """Processes that train together. rank: of this one; size: how many. shards: whether each has a part of
    the data of its own, and not all of them."""

    rank: int
    size: int
    shards: bool

    def engine(self, inner: Any) -> Any:
        """The engine that trains and evaluates with the others, over an engine of this process."""

    def together(self, trainer: Any, what: str) -> AbstractContextManager[Together]:
        """Around a call of `fit` or `evaluate`. An error in it, on any rank, ends it on all."""

    def part(self, n: int) -> tuple[int, int]:
        """Which of the n samples of a batch are this process's: from, to."""

    def runner(self, engine: Any, entry: str, arrays: Sequence[Array]) -> Any:
        """What runs an entry over the rows of all shards, of which this process has these arrays."""

    def rows(self, trainer: Any, arrays: Sequence[Array]) -> tuple[list[Array], int] | None:
        """Of a shard's arrays, what stands for the rows of all shards, and how many they are; None where
        ranks have all of the data."""


class Together:
    """A call of `fit` or `evaluate` of one process."""

    keeps = True  # whether this process reads and writes the state of a training

    def callbacks(self, given: Sequence[Any]) -> list[Any]:
        """The callbacks to tell here."""
        return list(given)

    def verbose(self, verbose: int) -> int:
        """What to print here."""
        return verbose

    def begun(self) -> None:
        """The call begins, and data are looked at next: all have rank 0's generators of chance."""

    def agree(self, options: Mapping[str, Any], feed: Any, held: Any, lengths: Any) -> None:
        """Raises, on all ranks, where options, models or data differ; then all have rank 0's weights. feed,
        held: to train and to test on, None for none. lengths: of their arrays."""

    def settled(self, keeper: Any) -> Any:
        """All are ready: what keeps the state of the training of all, from what does here."""
        return keeper

    def events(self, listed: Any) -> Any:
        """The events of a loop, told where callbacks are."""
        return listed

    def sized(self, batches: Iterator[tuple[int, list[Array]]]) -> Iterator[tuple[int, list[Array]]]:
        """Batches of an object, with the numbers of samples that all ranks have of them."""
        return batches


ALONE = Together()
TEAMS: list[Team] = []  # the one that this process trains with, if any
_alone: ContextVar[bool] = ContextVar("alone", default=False)


def set_team(team: Team | None) -> None:
    """Train with this team from now on, or alone."""
    TEAMS[:] = [] if team is None else [team]


def team() -> Team | None:
    """The team that this process trains with now."""
    return TEAMS[0] if TEAMS and not _alone.get() else None


def writes() -> bool:
    """Whether this process writes files that all would write: rank 0 does."""
    return not TEAMS or TEAMS[0].rank == 0


@contextmanager
def alone() -> Iterator[None]:
    """Inside the `with`, this process trains and evaluates by itself."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def together(trainer: Any, what: str) -> AbstractContextManager[Together]:
    """Around a call of `fit` or `evaluate`."""
    found = team()
    return nullcontext(ALONE) if found is None else found.together(trainer, what)


def of_team(engine: Any, attach: Callable[[Any], None]) -> Any:
    """The engine of the team over an engine of this process; the engine itself without a team. attach: is
    told of a new one."""
    found = team()
    if found is None or engine is None:
        return engine
    made = found.engine(engine)
    attach(made)
    return made

"""`kcompile.distribute`: this process is one of several that train a model together.

Enters: a communicator, by default over MPI, and how data are spread. Leaves: a team, with which all `fit`s
and `evaluate`s of this process are done until it is closed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kcompile.keras.teams import TEAMS, set_team
from kcompile.parallel.communicator import PATIENCE, Communicator, MpiCommunicator
from kcompile.parallel.team import ParallelTeam, ends_all
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.processors import usable_processors

CALLS = ("rank", "size", "allreduce", "broadcast", "abort")


class Distribution:
    """This process among those that train together. rank: its number, from 0. size: how many there are.
    `close`, or the end of a `with`, makes it train alone again."""

    def __init__(self, team: ParallelTeam) -> None:
        self._team, self._hook = team, sys.excepthook
        self.rank, self.size = team.rank, team.size
        set_team(team)
        if team.size > 1:
            sys.excepthook = ends_all(team)

    def __enter__(self) -> Distribution:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        hook = sys.excepthook
        self.close()
        if isinstance(error, Exception):
            sys.excepthook = hook  # if nobody handles it, all ranks end

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}>"

    @contextmanager
    def ending_all(self) -> Iterator[None]:
        """Inside the `with`, a process that ends with a status other than 0 ends all."""
        try:
            yield
        except SystemExit as error:
            if error.code and self.size > 1:
                self._team.comm.abort(f"kcompile: {self._team} ended with status {error.code}")
            raise

    def close(self) -> None:
        """Train alone from now on."""
        if TEAMS and TEAMS[0] is self._team:
            set_team(None)
            sys.excepthook = self._hook


def distribute(
    communicator: Any = "mpi",
    *,
    shards: bool = False,
    batch_norm: str = "global",
    bucket: int | None = None,
    patience: float = PATIENCE,
) -> Distribution:
    """Train with the other processes that `mpiexec -n` started: from now on `fit`, `evaluate`,
    `train_on_batch` and `test_on_batch` of every model spread each batch over them ("ranks"), sum gradients
    in the order of ranks, and leave the same weights on all. A batch_size is that of all ranks together, and
    so is what is reported; learning rates stay as they are. Callbacks are called, and files written, on rank
    0.

    communicator: "mpi" (extra `mpi`); "nccl", for models compiled for "cuda", with a device for each rank
    (extra `nccl`); or an object of the five calls of `kcompile.parallel.communicator.Communicator`. shards:
    False where every rank is given all of the data, as a script does that does not know of ranks; True where
    each gives its own part: other arrays, or batches that are parts of a batch. batch_norm: "global" for
    statistics of whole batches, as one process has them, or "local" for each rank's own, without their
    exchange; moving statistics are then the mean of those of all ranks. bucket: bytes of gradients that are
    summed while the rest of the backward pass is computed, None for all of them after it. patience: seconds
    that a rank waits for others before it fails. Raises InputError, ExtraError where a library is missing,
    DeviceError.

    Gives a `Distribution`, with rank and size. Before the first step models, options and data are compared,
    and a RankError names what differs. A rank that fails later ends all, and says which it was.
    """
    shards = check_flag("distribute: shards", shards)
    if batch_norm not in ("global", "local"):
        raise InputError(describe("distribute: batch_norm", "'global' or 'local'", repr(batch_norm)))
    size = None if bucket is None else check_count("distribute: bucket", bucket)
    patience = check_number("distribute: patience", patience, 0)
    if TEAMS:
        raise InputError(describe("distribute", "one call, or a `close` before the next", "a second call"))
    comm = _communicator(communicator, patience)
    return Distribution(ParallelTeam(comm, shards, batch_norm == "local", size))


def _communicator(given: Any, patience: float) -> Communicator:
    if not isinstance(given, str):
        missing = [name for name in CALLS if not hasattr(given, name)]
        if missing:
            raise InputError(
                describe(
                    "distribute: communicator",
                    f"'mpi', 'nccl', or an object with {', '.join(CALLS)}",
                    f"{type(given).__name__}, without {', '.join(missing)}",
                )
            )
        found: Communicator = given
        return found
    if given not in ("mpi", "nccl"):
        raise InputError(describe("distribute: communicator", "'mpi' or 'nccl'", repr(given)))
    first = MpiCommunicator(patience=patience)
    _share_processors(first.neighbours)
    if given == "mpi":
        return first
    from kcompile.parallel.nccl import NcclCommunicator
    from kcompile_runtime.cuda_driver import connect

    return NcclCommunicator(first, connect())


def _share_processors(ranks: int) -> None:
    """Each rank of a machine takes its share of the processors, unless somebody said how many."""
    bound = usable_processors() < (os.cpu_count() or 1)
    if ranks > 1 and not bound and not os.environ.get("KC_THREADS"):
        os.environ["KC_THREADS"] = str(max(1, usable_processors() // ranks))

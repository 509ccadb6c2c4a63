"""What a server takes, and the arguments of the command that starts it. Loads nothing heavy.

Enters: numbers of users. Leaves: `Limits`, checked.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    body_bytes: of a request's body. rows: samples of a request. batch_rows: samples that are computed
    together. delay: seconds that a request waits at most for others, while nothing is computed. waiting:
    requests to a model that wait; more are refused. body_seconds: in which a body must be there. Raises
    InputError for numbers that make no sense.
    """

    body_bytes: int = 16 << 20
    rows: int = 1024
    batch_rows: int = 64
    delay: float = 0.0
    waiting: int = 256
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        from kcompile_runtime.checks import check_count, check_number  # they load numpy

        for name in ("body_bytes", "rows", "batch_rows", "waiting"):
            check_count(name, getattr(self, name))
        for name in ("delay", "body_seconds"):
            check_number(name, getattr(self, name), 0, 3600)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `kcompile serve`, for a parser."""
    limits = Limits  # the numbers that it has by itself
    command.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]MODEL.so",
        help="libraries that `kcompile build` wrote (default of NAME: the file's, without its ending)",
    )
    command.add_argument("--host", default="127.0.0.1", help="default: %(default)s, this machine alone")
    command.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0: one that is free")
    command.add_argument("--threads", type=int, help="of a model (default: KC_THREADS, or all processors)")
    command.add_argument(
        "--batch", type=int, default=limits.batch_rows, help="samples of a batch (default: %(default)s)"
    )
    command.add_argument(
        "--delay",
        type=float,
        default=limits.delay * 1000,
        metavar="MS",
        help="milliseconds that a request waits at most for others (default: %(default)s)",
    )
    command.add_argument(
        "--waiting", type=int, default=limits.waiting, help="requests in the queue (default: %(default)s)"
    )
    command.add_argument(
        "--rows", type=int, default=limits.rows, help="samples of a request at most (default: %(default)s)"
    )
    command.add_argument(
        "--bytes", type=int, default=limits.body_bytes, help="of a request at most (default: %(default)s)"
    )

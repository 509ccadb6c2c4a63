"""What a file may cost, and the two ways in which reading it fails.

The caps are generous to every real model and hold before anything is allocated. They are read as
`limits.MAX_...` when they are needed.
"""

from __future__ import annotations

import os
import re

from kcompile_runtime.errors import ModelError, describe

PathLike = str | os.PathLike[str]

MAX_TEXT = 64 * 1024 * 1024  # bytes of a configuration
MAX_DEPTH = 100
MAX_NODES = 2_000_000  # values in a text
MAX_ESCAPES = 2_000_000  # backslashes in a text
MAX_DIGITS = 18
MAX_OBJECTS = 200_000  # groups and datasets of HDF5 files
MAX_SHARDS = 256  # files that the weights of a model are cut into
MAX_ARRAYS = 4 * 1024**3  # bytes of all weights of a model
CHUNK = 1024 * 1024
DTYPE = re.compile(r"[<>|][fiub][1248]")  # of arrays: numbers of at most 64 bits, as numpy writes it

# Of the process that reads for `isolated=True`. Memory is that beyond the file and what is read.
MAX_PROCESSOR_SECONDS = 120
MAX_WAIT_SECONDS = 300
MAX_WORKING_MEMORY = 1024**3


def bad(name: PathLike, expected: str, received: str, remedy: str = "") -> ModelError:
    """The error for a file that is not what is expected."""
    return ModelError(describe(str(name), expected, received, remedy))


def damaged(name: PathLike, why: object) -> ModelError:
    """The error for a file that cannot be read to its end."""
    text = " ".join(str(why).split())[:300] or type(why).__name__
    return ModelError(f"{name}: the file is damaged: {text}")

"""HDF5 files, opened by this process or by another one.

Enters: a path or an open file. Leaves: an `Hdf5`, whoever made it (`hdf5`, `isolated`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from kcompile.files.reader.hdf5 import Hdf5, open_here
from kcompile.files.reader.kinds import check_kind
from kcompile.files.reader.limits import PathLike


@contextmanager
def open_hdf5(path: PathLike, isolated: bool = False) -> Iterator[Hdf5]:
    """An HDF5 file, checked whole. isolated: by another process. Raises ModelError, OSError."""
    check_kind(path, "hdf5")
    with Path(path).open("rb") as stream, open_stream(stream, str(path), isolated) as file:
        yield file


def open_stream(stream: IO[bytes], name: str, isolated: bool = False) -> AbstractContextManager[Hdf5]:
    """An HDF5 file that is open already; the name is for messages."""
    if isolated:
        # What starts processes is imported by those alone who ask for one
        from kcompile.files.reader.isolated import open_elsewhere

        return open_elsewhere(stream, name)
    return open_here(stream, name)

"""`load` gives an exported model, for whatever it was exported.

Enters: the path of a file or folder. Leaves: an `Artifact`, after all that can be checked before code is
loaded.
"""

from __future__ import annotations

import os

from kcompile_runtime.artifact import Artifact, check_machine
from kcompile_runtime.contents import read_contents
from kcompile_runtime.errors import ArtifactError
from kcompile_runtime.threads import check_threads


def load(path: str | os.PathLike[str], threads: int | None = None, seed: int | None = None) -> Artifact:
    """Load an exported model: a file that `kcompile.export` or `kcompile build` wrote.

    path: of the shared object, or of the folder that was written for target "cuda". threads: default, see
    `default_threads`. seed: of a model that draws random numbers, new ones in every call and batch; the same
    calls after another load with this seed (from 0 to 2^32 - 1) give the same; default drawn from numpy's
    global generator. Raises FileNotFoundError; ArtifactError for a file that is no artifact, is damaged, or
    needs another system, processor or version of the runtime; InputError for a seed that is no such number,
    or of a model that draws no numbers; DeviceError where a model for a graphics processor finds none.
    """
    threads = check_threads("threads", threads)
    contents, name = read_contents(path), os.fspath(path)
    if contents.machine == "cuda":
        from kcompile_runtime.cuda_package import CudaArtifact  # few models are for a graphics processor

        return CudaArtifact(path, contents.metadata, seed)
    try:
        check_machine(contents)
        return Artifact(name, contents.metadata, threads, seed)
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error}") from error.__cause__

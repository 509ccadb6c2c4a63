"""Folders of checkpoints, as scripts of TensorFlow name them: a path without an ending, and a text file
`checkpoint` beside it that says which is the latest.

Enters: paths. Leaves: the path of the file that holds the arrays (numpy's archive, .npz), the folder's state.
Checkpoints of TensorFlow itself are other files, which are not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcompile_runtime.replacing import replacing

STATE = "checkpoint"  # the file of a folder that says which checkpoint is the latest
ENDING = ".npz"


class Status:
    """What reading a checkpoint gives: all was read, or it raised."""

    def assert_consumed(self) -> Status:
        return self

    assert_existing_objects_matched = assert_nontrivial_match = expect_partial = assert_consumed

    def initialize_or_restore(self, session: Any = None) -> None:
        """Nothing: all is restored."""


def as_text(path: Any) -> str:
    """A path as text: arrays of texts hold one."""
    found = np.asarray(path).item() if isinstance(path, np.ndarray) else path
    return found.decode() if isinstance(found, bytes) else str(found)


def file_of(path: Any) -> Path:
    """The file that holds the arrays of a checkpoint."""
    return Path(f"{as_text(path)}{ENDING}")


def note_latest(paths: Sequence[str], folder: Any) -> None:
    """Say in a folder's state which checkpoints there are, the latest last."""
    names = [Path(path).name for path in paths]
    lines = [f'model_checkpoint_path: "{names[-1]}"'] if names else []
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with replacing(Path(folder) / STATE) as part:
        Path(part).write_text("\n".join(lines) + "\n", encoding="utf-8")


def noted(folder: Any) -> list[str]:
    """The checkpoints that a folder's state lists, the latest last, and that are there."""
    try:
        text = (Path(as_text(folder)) / STATE).read_text(encoding="utf-8")
    except OSError:
        return []
    names = re.findall(r'^all_model_checkpoint_paths: "(.*)"$', text, re.M)
    found = [str(Path(as_text(folder)) / name) for name in names]
    return [path for path in found if file_of(path).exists()]


def latest_checkpoint(checkpoint_dir: Any, latest_filename: Any = None) -> str | None:
    """The path of the latest checkpoint of a folder, None where there is none."""
    found = noted(checkpoint_dir)
    return found[-1] if found else None

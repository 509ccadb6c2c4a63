"""Files of states: what is written comes back, and what is damaged is seen."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import same_arrays

from kcompile import files
from kcompile.files.reader.states import MAGIC
from kcompile_runtime.errors import InputTypeError, ModelError

TREE = {
    "numbers": [1, -(10**40), 2.5, -0.0, float("inf"), 1e-310, None, True],
    "a tuple": ("x\n", ("é", b"\0\xff")),
    3: np.arange(6, dtype="f").reshape(2, 3),
    "empty": np.zeros((0, 3)),
    "scalar": np.float16(0.1),
    "others": [np.array(1 + 2j), np.array(["a", "bc"]), np.array([True]), np.arange(3, dtype=">i2")],
}


def test_values_come_back(tmp_path: Path) -> None:
    path = files.write_state(tmp_path / "new", TREE, 3)
    found = files.read_newest(tmp_path / "new")
    assert found is not None and found[0] == path
    expected = {**TREE, "others": [*TREE["others"][:3], np.arange(3, dtype="<i2")]}
    assert same_arrays(found[1], expected) and list(map(type, found[1]["numbers"])) == list(
        map(type, TREE["numbers"])
    )
    assert np.isnan(files.read_newest(files.write_state(tmp_path, float("nan"), 1))[1])


def test_the_last_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "state-00000041.kcs").write_bytes(b"")
    (tmp_path / "notes").write_text("mine")
    for number in range(5):
        files.write_state(tmp_path, number, 2)
    assert sorted(os.listdir(tmp_path)) == ["notes", "state-00000045.kcs", "state-00000046.kcs"]
    assert files.read_newest(tmp_path)[1] == 4
    assert files.read_newest(tmp_path / "state-00000045.kcs")[1] == 3
    assert files.read_newest(tmp_path / "nothing") is None
    with pytest.raises(FileNotFoundError):
        files.read_newest(tmp_path / "state-00000001.kcs")


def test_every_changed_byte_is_seen(tmp_path: Path) -> None:
    path = files.write_state(tmp_path, {"a": np.arange(3)}, 1)
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 64
        path.write_bytes(changed)
        with pytest.raises(ModelError):
            files.read_newest(path)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            files.read_newest(path)


def sealed(text: Any, arrays: bytes = b"") -> bytes:
    encoded = json.dumps(text).encode()
    content = MAGIC + len(encoded).to_bytes(8, "little") + encoded + arrays
    return content + hashlib.sha256(content).digest()


@pytest.mark.parametrize(
    "text",
    [
        [],
        {"tree": 1},
        {"arrays": [], "tree": {"array": 0}},
        {"arrays": [], "tree": {"code": "x"}},
        {"arrays": [], "tree": {}},
        {"arrays": [], "tree": {"dict": [[{"list": []}, 1]]}},
        {"arrays": [["|O", [1]]], "tree": 0},
        {"arrays": [["<f4", [2**40, 2**40]]], "tree": 0},
        {"arrays": [["<f4", [-1]]], "tree": 0},
        {"arrays": [["<f4", [1.5]]], "tree": 0},
        {"arrays": [["<f4", [1]], ["<f4", [1]]], "tree": 0},
        {"arrays": [], "tree": 0},
    ],
)
def test_texts_that_nobody_writes(text: Any, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(sealed(text, b"1234"))
    with pytest.raises(ModelError):
        files.read_newest(tmp_path / "s")


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, np.array([object()]), lambda: 0, np.datetime64("2020-01-01")]
)
def test_values_that_are_no_state(value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputTypeError, match="the state of a training"):
        files.write_state(tmp_path, {"a": [value]}, 1)
    assert not list(tmp_path.iterdir())

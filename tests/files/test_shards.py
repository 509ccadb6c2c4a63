"""Weights in several files: an index, and shards beside it that must agree with it in everything."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crafted
import h5py
import numpy as np
import pytest

import kcompile
from kcompile.files.reader import limits
from kcompile_runtime.errors import ModelError


def cut(folder: Path, model: Any) -> Path:
    """The weights of crafted.dense() as Keras 3 shards them: an array in each shard."""
    model.save_weights(folder / "all.weights.h5")
    placed: dict[str, Any] = {}
    with h5py.File(folder / "all.weights.h5") as whole:
        paths: list[str] = []
        whole.visititems(lambda name, it: paths.append(name) if isinstance(it, h5py.Dataset) else None)
        for number, path in enumerate(paths):
            shard = f"w_{number:05}.weights.h5"
            with h5py.File(folder / shard, "w") as file:
                file[path] = whole[path][()]
            placed.setdefault("/" + path.rpartition("/")[0], []).append(shard)
    (folder / "all.weights.h5").unlink()
    index = {"metadata": {"total_size": 100}, "weight_map": placed}
    return crafted.write_json(folder / "w.weights.json", index)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return cut(tmp_path, crafted.dense())


@pytest.mark.parametrize("isolated", [False, True])
def test_shards_are_read_as_one(tmp_path: Path, isolated: bool) -> None:
    model = crafted.dense()
    path = cut(tmp_path, model)
    (tmp_path / "m.json").write_text(crafted.dense().to_json())
    found = kcompile.load(tmp_path / "m.json", weights=path, isolated=isolated)
    for a, b in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = crafted.dense()
    other.load_weights(path)
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])


FIRST = "/layers/dense/vars"


def _rename(name: Any) -> Callable[[dict[str, Any]], None]:
    def change(index: dict[str, Any]) -> None:
        index["weight_map"][FIRST] = name

    return change


def _forget(index: dict[str, Any]) -> None:
    del index["weight_map"][FIRST]


def _more(index: dict[str, Any]) -> None:
    index["weight_map"]["/layers/ghost/vars"] = "w_00000.weights.h5"


def _without_map(index: dict[str, Any]) -> None:
    del index["weight_map"]


def _again(index: dict[str, Any]) -> None:
    index["weight_map"][FIRST.strip("/")] = index["weight_map"][FIRST]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename("../w_00000.weights.h5"), "'../w_00000.weights.h5'"),
        (_rename("/etc/w_00000.weights.h5"), "beside the index"),
        (_rename("a\\w_00000.weights.h5"), "beside the index"),
        (_rename("w.h5"), "'w.h5'"),
        (_rename(["w_00000.weights.h5", 3]), "3"),
        (_rename([]), "[]"),
        (_rename({}), "{}"),
        (_rename(["w_00000.weights.h5"] * 2), "of a name of their own"),
        (_rename("w_00077.weights.h5"), "none called 'w_00077.weights.h5'"),
        (_rename("w_00000.weights.h5"), "shapes [(4, 3), (3,)]. Found: [(4, 3)]"),
        (_forget, "2 groups 'dense' in the file. Found: 1"),
        (_more, "arrays of 'layers/ghost/vars' in w_00000.weights.h5"),
        (_without_map, "a weight_map"),
        (_again, "each group once"),
    ],
)
def test_an_index_that_shards_contradict(index: Path, change: Any, said: str) -> None:
    found = json.loads(index.read_text())
    change(found)
    crafted.write_json(index, found)
    model = crafted.dense()
    before = model.get_weights()
    with pytest.raises(ModelError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.load_weights(index)
    assert said in str(caught.value)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_a_missing_shard_is_named(index: Path) -> None:
    (index.parent / "w_00001.weights.h5").unlink()
    with pytest.raises(ModelError, match=r"4 shards.*none called 'w_00001\.weights\.h5'"):
        crafted.dense().load_weights(index)


def test_an_array_in_two_shards(index: Path) -> None:
    with h5py.File(index.parent / "w_00001.weights.h5", "r+") as file:
        file[f"{FIRST}/0"] = np.zeros((4, 3), "f4")
    with pytest.raises(ModelError, match="each array in one shard"):
        crafted.dense().load_weights(index)


def test_an_array_that_the_index_does_not_know(index: Path) -> None:
    with h5py.File(index.parent / "w_00001.weights.h5", "r+") as file:
        file["layers/ghost/vars/0"] = np.zeros((4, 3), "f4")
    with pytest.raises(ModelError, match="the shard of 'layers/ghost/vars/0' in the index"):
        crafted.dense().load_weights(index)


def test_a_shard_that_is_none(index: Path) -> None:
    (index.parent / "w_00001.weights.h5").write_bytes(b"")
    with pytest.raises(ModelError, match="an empty file"):
        crafted.dense().load_weights(index)


def test_other_shards_are_not_read_and_named(index: Path) -> None:
    (index.parent / "w_00009.weights.h5").write_bytes(b"")
    (index.parent / "v_00009.weights.h5").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"not read: 'w_00009\.weights\.h5'$"):
        crafted.dense().load_weights(index)


def test_shards_keep_to_the_budgets(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ARRAYS", 91)
    with pytest.raises(ModelError, match=r"at most 91 bytes of arrays\. Received: 92 bytes"):
        crafted.dense().load_weights(index)
    monkeypatch.undo()
    monkeypatch.setattr(limits, "MAX_SHARDS", 3)
    with pytest.raises(ModelError, match="at most 3 shards"):
        crafted.dense().load_weights(index)


def test_an_index_is_no_model(index: Path) -> None:
    with pytest.raises(ModelError, match=r"an index of weights alone.*weights="):
        kcompile.load(index)

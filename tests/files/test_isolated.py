"""HDF5 read by another process: the same results, and no file can take this process down."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import crafted
import h5py
import numpy as np
import pytest

import kcompile
from kcompile.files.reader import isolated, limits
from kcompile_runtime.errors import ModelError, UnsupportedError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs process limits")


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_the_same_model(tmp_path: Path, name: str) -> None:
    model = crafted.dense(units=300)
    model.compile("adam", "mse")
    model.save(tmp_path / name)
    found = kcompile.load(tmp_path / name, isolated=True)
    for a, b in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(found.optimizer.get_weights(), model.optimizer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_this_process_does_not_open_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("m.h5", "m.keras"):
        crafted.dense().save(tmp_path / name)
    monkeypatch.setattr(h5py, "File", lambda *_: pytest.fail("opened here"))
    for name in ("m.h5", "m.keras"):
        assert kcompile.load(tmp_path / name, isolated=True).count_params() == 23


@pytest.mark.parametrize("dtype", [">f4", "<f8", "f2", "<i8", "u1", "?"])
def test_arrays_of_every_kind(tmp_path: Path, dtype: str) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/y"] = values
        file["empty"], file["scalar"] = np.zeros((0, 3), dtype), values[1, 1]
        file.attrs["names"] = ["a", "ü"]
    with kcompile.files.reader.open_hdf5(tmp_path / "a.h5", isolated=True) as found:
        np.testing.assert_array_equal(found.read("x/y"), values)
        assert found.read("x/y").dtype == dtype
        assert found.read("empty").shape == (0, 3) and found.read("scalar").shape == ()
        assert found.names("", "names") == ["a", "ü"]


def test_what_is_refused_says_the_same(tmp_path: Path) -> None:
    crafted.dense().save(tmp_path / "m.h5")

    def change(file: h5py.File) -> None:
        file["more"] = h5py.SoftLink("/model_weights")

    crafted.edit_h5(tmp_path / "m.h5", change)
    said = []
    for apart in (False, True):
        with pytest.raises(ModelError) as caught:
            kcompile.load(tmp_path / "m.h5", isolated=apart)
        said.append(str(caught.value))
    assert said[0] == said[1] and "link, which is not followed" in said[0]


# What the other process does instead of opening the file, and what is said of it.
ENDS = {
    "os.kill(os.getpid(), signal.SIGSEGV)": r"crashes on it \(SIGSEGV\)",
    "os.abort()": r"crashes on it \(SIGABRT\)",
    "[None for _ in iter(int, 1)]": "1 s of processor time",
    "time.sleep(60)": "no answer within 2 s",
    "bytearray(1 << 34)": "MemoryError",
    "open('written', 'wb', 0).write(b'x')": "File too large",
    "sys.exit(3)": "status 3",
    "print(end='garbage!' * 20)": "bytes of names and texts",
}


@pytest.mark.parametrize("what", ENDS)
def test_what_the_library_may_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The other process misbehaves where it would open the file, and this one tells of it."""
    monkeypatch.setattr(limits, "MAX_PROCESSOR_SECONDS", 1 if "iter" in what else 20)
    monkeypatch.setattr(limits, "MAX_WAIT_SECONDS", 2 if "sleep" in what else 60)
    monkeypatch.chdir(tmp_path)
    code = isolated._CODE.replace(
        "; serve", f"; import h5py, os, signal, time\nh5py.File = lambda *_: {what}\nserve", 1
    )
    assert code != isolated._CODE
    monkeypatch.setattr(isolated, "_CODE", code)
    crafted.dense().save(tmp_path / "m.h5")
    with pytest.raises(ModelError, match=f"(?s)m.h5: the file is damaged.*{ENDS[what]}"):
        kcompile.load(tmp_path / "m.h5", isolated=True)
    assert not (tmp_path / "written").exists() or not (tmp_path / "written").stat().st_size


def test_a_file_that_the_library_never_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heap whose objects have no size, which is looked at before: here it is not."""
    crafted.dense().save(tmp_path / "m.h5")
    crafted.endless(tmp_path / "m.h5")
    code = isolated._CODE.replace(
        "; serve", "; from kcompile.files.reader import hdf5; hdf5.check_heaps = lambda *_: None; serve", 1
    )
    assert code != isolated._CODE
    with pytest.raises(ModelError, match="an object without size"):
        kcompile.load(tmp_path / "m.h5", isolated=True)
    monkeypatch.setattr(isolated, "_CODE", code)
    monkeypatch.setattr(limits, "MAX_PROCESSOR_SECONDS", 2)
    with pytest.raises(ModelError, match="2 s of processor time"):
        kcompile.load(tmp_path / "m.h5", isolated=True)


@pytest.mark.parametrize("shape", [[2.5], [-1], ["3"], [True], 3])
@pytest.mark.parametrize("dtype", ["<f4", "O", "<f4,<f4", "<U8", "|V8"])
def test_what_the_other_process_says_is_checked(shape: Any, dtype: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        isolated._stored(shape, dtype)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crafted.dense().save(tmp_path / "m.h5")
    started = []
    real = isolated.subprocess.Popen
    monkeypatch.setattr(
        isolated.subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[0]
    )
    with pytest.raises(KeyError), kcompile.files.reader.open_hdf5(tmp_path / "m.h5", isolated=True) as file:
        file.read("none")
    (process,) = started
    assert process.returncode is not None and process.stdin.closed and process.stdout.closed


def test_systems_without_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crafted.dense().save(tmp_path / "m.h5")
    monkeypatch.setattr(isolated.os, "name", "nt")
    with (
        pytest.raises(UnsupportedError, match="process limits"),
        open(tmp_path / "m.h5", "rb") as file,
        isolated.open_elsewhere(file, "m.h5"),
    ):
        pass

"""The cache of object code: it returns what was stored, or nothing, and never breaks a compile."""

from __future__ import annotations

import dataclasses
import os

import pytest

from kcompile.codegen import cache, image, jit, targets
from kcompile.codegen.image import EntryImage, Image

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "cache"
    monkeypatch.setenv("KCOMPILE_CACHE", str(path))
    return path


def test_put_then_get(folder):
    assert cache.get("a") is None
    cache.put("a", b"code")
    assert cache.get("a") == b"code"
    cache.put("a", b"newer")
    assert cache.get("a") == b"newer"
    assert [p.name for p in folder.iterdir()] == ["a.o"]


def test_key_depends_on_texts_and_target():
    target = targets.named("x86-64-v3")
    keys = {cache.key(parts, t) for parts in (["ab", "c"], ["a", "bc"], ["abc"])
            for t in (target, dataclasses.replace(target, features="+x"), targets.named("aarch64"))}
    assert len(keys) == 9
    assert cache.key(["a"], target) == cache.key(["a"], target)


@pytest.mark.parametrize("damage", [b"", b"short", lambda x: x[:-1] + b"?", lambda x: x[:-1]])
def test_damaged_file_is_a_miss(folder, damage):
    cache.put("a", b"code")
    file = folder / "a.o"
    file.write_bytes(damage(file.read_bytes()) if callable(damage) else damage)
    assert cache.get("a") is None
    cache.put("a", b"code")
    assert cache.get("a") == b"code"


def test_entry_under_another_name_is_a_miss(folder):
    cache.put("a", b"code")
    (folder / "a.o").rename(folder / "b.o")
    assert cache.get("b") is None


def test_size_is_bounded_and_the_oldest_go_first(folder):
    for i, name in enumerate("abc"):
        cache.put(name, bytes(100))
        os.utime(folder / f"{name}.o", (i, i))
    assert cache.get("a") is not None  # reading makes it the newest
    cache.put("d", bytes(100), limit=3 * 132)
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]
    cache.put("large", bytes(1000), limit=100)
    assert cache.get("large") is None


def test_abandoned_temporary_files_are_removed(folder):
    cache.put("a", b"code")
    old, new = folder / "old.tmp", folder / "new.tmp"
    for file in (old, new):
        file.write_bytes(b"x")
    os.utime(old, (0, 0))
    cache.put("b", b"code")
    assert (old.exists(), new.exists()) == (False, True)


@posix
def test_directory_is_private(folder):
    cache.put("a", b"code")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "a.o").stat().st_mode & 0o077 == 0


@posix
def test_directory_open_to_readers_is_closed(folder):
    folder.mkdir(mode=0o755)
    cache.put("a", b"code")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache.get("a") == b"code"


@posix
def test_directory_that_others_can_write_is_refused(folder, caplog):
    folder.mkdir()
    folder.chmod(0o777)
    with caplog.at_level("DEBUG", "kcompile.cache"):
        cache.put("a", b"code")
    assert "other users" in caplog.text
    assert not list(folder.iterdir())
    assert cache.get("a") is None


@posix
def test_symbolic_links_are_refused(folder, tmp_path):
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    folder.symlink_to(real)
    cache.put("a", b"code")
    assert not list(real.iterdir())
    folder.unlink()
    cache.put("a", b"code")
    (folder / "a.o").rename(tmp_path / "a.o")
    (folder / "a.o").symlink_to(tmp_path / "a.o")
    assert cache.get("a") is None


@posix
def test_foreign_owner_is_refused(folder, monkeypatch):
    cache.put("a", b"code")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert cache.get("a") is None


def test_disk_errors_are_survived(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cache.put("a", b"code")
    assert not list(folder.iterdir())
    assert cache.get("a") is None


def test_impossible_directory_and_off(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"")
    for setting in (str(file), str(file / "below"), "off"):
        monkeypatch.setenv("KCOMPILE_CACHE", setting)
        cache.put("a", b"code")
        assert cache.get("a") is None


def test_default_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("KCOMPILE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    cache.put("a", b"code")
    found = cache.directory()
    assert found is not None
    assert tmp_path in found.parents
    assert cache.get("a") == b"code"


def test_what_all_programs_need_is_kept(folder, monkeypatch):
    target = targets.native()
    code = image.support.__wrapped__(target)
    monkeypatch.setattr(jit, "optimise_and_compile", None)
    assert image.support.__wrapped__(target) == code
    assert jit.load(code).address("kc_parallel")


def test_an_image_is_what_it_was():
    made = Image((b"code", b"", b"more"), (EntryImage("run", (64, 8), 128),), 192, b"\0\1")
    assert Image.from_bytes(made.to_bytes()) == made

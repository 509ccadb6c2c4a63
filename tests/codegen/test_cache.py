"""The cache of object code: it returns what was stored, or nothing, and never breaks a compile."""

from __future__ import annotations

import dataclasses
import os

import llvmlite.binding
import numpy as np
import pytest

import kcompile.ir.ops  # noqa: F401  (ops by name)
from kcompile import compiler
from kcompile.codegen import targets
from kcompile.codegen.binary import bundle, cache, jit
from kcompile.codegen.binary.bundle import Bundle, EntryInfo
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile_runtime.layout import Memory

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in which entries are, inside the one that the user names."""
    monkeypatch.setenv("KC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kcompile"


def place(folder, key):
    return folder / f"code-{key}.o"


def test_put_then_get(folder):
    assert cache.get("a") is None
    cache.put("a", b"code")
    assert cache.get("a") == b"code"
    cache.put("a", b"newer")
    assert cache.get("a") == b"newer"
    assert list(folder.iterdir()) == [place(folder, "a")]


def test_key_depends_on_texts_and_target():
    target = targets.named("x86-64-v3")
    keys = {
        cache.key(parts, t)
        for parts in (["ab", "c"], ["a", "bc"], ["abc"])
        for t in (target, dataclasses.replace(target, features="+x"), targets.named("aarch64"))
    }
    assert len(keys) == 9
    assert cache.key(["a"], target) == cache.key(["a"], target)


@pytest.mark.parametrize("damage", [b"", b"short", lambda x: x[:-1] + b"?", lambda x: x[:-1]])
def test_damaged_file_is_a_miss(folder, damage):
    cache.put("a", b"code")
    file = place(folder, "a")
    file.write_bytes(damage(file.read_bytes()) if callable(damage) else damage)
    assert cache.get("a") is None
    cache.put("a", b"code")
    assert cache.get("a") == b"code"


def test_entry_under_another_name_is_a_miss(folder):
    cache.put("a", b"code")
    place(folder, "a").rename(place(folder, "b"))
    assert cache.get("b") is None


def test_size_is_bounded_and_the_oldest_go_first(folder):
    for i, name in enumerate("abc"):
        cache.put(name, bytes(100))
        os.utime(place(folder, name), (i, i))
    assert cache.get("a") is not None  # reading makes it the newest
    cache.put("d", bytes(100), limit=3 * 132)
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]
    cache.put("large", bytes(1000), limit=100)
    assert cache.get("large") is None


def test_abandoned_temporary_files_are_removed(folder):
    cache.put("a", b"code")
    old, new = folder / "code-old.tmp", folder / "code-new.tmp"
    for file in (old, new):
        file.write_bytes(b"x")
    os.utime(old, (0, 0))
    cache.put("b", b"code")
    assert (old.exists(), new.exists()) == (False, True)


@posix
def test_directory_is_private(folder):
    cache.put("a", b"code")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert place(folder, "a").stat().st_mode & 0o077 == 0


@posix
def test_what_is_not_ours_is_left_alone(folder):
    """The user's folder, and files of other names in ours: neither rights nor files change."""
    folder.mkdir(mode=0o755, parents=True)
    kept = [path / name for path in (folder, folder.parent) for name in ("results.tmp", "main.o", "a.o")]
    kept.append(folder / "code-link.o")
    kept[-1].symlink_to(kept[0])
    for file in kept[:-1]:
        file.write_bytes(bytes(1000))
        os.utime(file, (0, 0))
    for path in (folder, folder.parent):
        path.chmod(0o755)
    cache.put("a", b"code")
    cache.put("b", b"code", limit=40)
    assert [cache.get(name) for name in "ab"] == [None, b"code"]
    assert all(file.lstat() for file in kept)
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o755, 0o755]


@posix
def test_directory_that_others_can_write_is_refused(folder, caplog):
    folder.mkdir(parents=True)
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
    folder.parent.mkdir()
    folder.symlink_to(real)
    cache.put("a", b"code")
    assert not list(real.iterdir())
    folder.unlink()
    cache.put("a", b"code")
    place(folder, "a").rename(tmp_path / "a.o")
    place(folder, "a").symlink_to(tmp_path / "a.o")
    assert cache.get("a") is None


@posix
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_a_miss(folder, make):
    """A pipe without a writer would be waited for."""
    cache.put("b", b"code")
    make(place(folder, "a"))
    assert cache.get("a") is None
    cache.put("a", b"code")
    assert cache.get("b") == b"code"


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
        monkeypatch.setenv("KC_CACHE", setting)
        cache.put("a", b"code")
        assert cache.get("a") is None


def test_default_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("KC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    cache.put("a", b"code")
    found = cache.directory()
    assert found is not None
    assert tmp_path in found.parents and found.name == "kcompile"
    assert cache.get("a") == b"code"


def test_what_all_programs_need_is_kept(folder, monkeypatch):
    target = targets.native()
    code = bundle.support.__wrapped__(target)
    monkeypatch.setattr(jit, "optimise_and_compile", None)
    assert bundle.support.__wrapped__(target) == code
    assert jit.load(code).address("kc_parallel")


def test_a_bundle_is_what_it_was():
    memory = Memory((64, 8), (((128, 128, 0), (96, 0, 4)),), 16)
    made = Bundle((b"code", b"", b"more"), (EntryInfo("run", memory),), 192, b"\0\1")
    assert Bundle.from_bytes(made.to_bytes()) == made


def simple():
    graph = Graph("simple")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 3))))
    graph.outputs = {"y": (x * 2.5 + 1.25).value}
    return graph


def load(graph):
    made = compiler.compile_graph(graph, "predict", targets.native(), frozen=True)
    return made, compiler.load(made, {})


def test_only_what_was_loaded_is_stored(folder, monkeypatch):
    """Code that cannot be linked must not wait for the next model of the same graph."""
    bundle.support.__wrapped__(targets.native())
    before = list(folder.iterdir())
    with monkeypatch.context() as broken:
        broken.setattr(jit, "compile_apart", lambda texts, target, threads: [b"not an object"])
        with pytest.raises(RuntimeError):
            load(simple())
    assert list(folder.iterdir()) == before
    made, program = load(simple())
    np.testing.assert_array_equal(program.run("predict", 1, [np.ones((1, 3), "float32")])[0], 3.75)
    assert made.stored is None and len(list(folder.iterdir())) == len(before) + 1
    again, program = load(simple())
    assert again.stored == made.bundle.to_bytes() and again.bundle == made.bundle
    np.testing.assert_array_equal(program.run("predict", 2, [np.ones((2, 3), "float32")])[0], 3.75)


@pytest.mark.parametrize("at", [0, 40, -1])
def test_damaged_code_is_made_anew(folder, at):
    bundle.support.__wrapped__(targets.native())
    before = set(folder.iterdir())
    made, _ = load(simple())
    [file] = set(folder.iterdir()) - before
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    again, program = load(simple())
    assert again.stored is None and again.bundle == made.bundle
    np.testing.assert_array_equal(program.run("predict", 1, [np.ones((1, 3), "float32")])[0], 3.75)
    assert load(simple())[0].stored == made.bundle.to_bytes()


def test_the_compilers_every_file_is_in_its_stamp(tmp_path, monkeypatch):
    package = tmp_path / "package"
    for name in ("codegen/binary/bundle.py", "ir/deep/er/op.py", "data.json", "__pycache__/op.pyc"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("a")
    monkeypatch.setattr(bundle, "__file__", str(package / "codegen/binary/bundle.py"))
    stamps = [bundle.compiler_stamp.__wrapped__()]
    for name in ("codegen/binary/bundle.py", "ir/deep/er/op.py", "data.json"):
        file = package / name
        status = file.stat()
        file.write_text("b")  # of the same size, and as old
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        stamps.append(bundle.compiler_stamp.__wrapped__())
    (package / "ir/deep/er/op.py").rename(package / "ir/deep/er/po.py")
    stamps.append(bundle.compiler_stamp.__wrapped__())
    assert len(set(stamps)) == len(stamps)
    (package / "__pycache__/op.pyc").write_text("c")
    assert bundle.compiler_stamp.__wrapped__() == stamps[-1]
    for module, name, other in (
        (np, "__version__", "0.1"),
        (llvmlite, "__version__", "0.2"),
        (llvmlite.binding, "llvm_version_info", (1, 2, 3)),
    ):
        monkeypatch.setattr(module, name, other)
        stamps.append(bundle.compiler_stamp.__wrapped__())
    assert len(set(stamps)) == len(stamps)

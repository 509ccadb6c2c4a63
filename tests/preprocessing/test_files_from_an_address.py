"""`get_file` and what it is made of: the cache, digests, archives, and what must never be left behind."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import tarfile
import threading
import warnings
import zipfile
from pathlib import Path

import pytest

from kcompile import keras3
from kcompile.keras.utils import get_file
from kcompile.keras.utils.archives import extract_archive
from kcompile.keras.utils.data_utils import _hash_file, validate_file
from kcompile_runtime.errors import FetchError, InputError

TEXT = b"something worth keeping\n"
SHA256 = hashlib.sha256(TEXT).hexdigest()
MD5 = hashlib.md5(TEXT).hexdigest()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A Keras cache of its own, and a source file with its address."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source" / "text file.txt"
    path.parent.mkdir()
    path.write_bytes(TEXT)
    return path


def left(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def tar(path: Path, members: dict[str, bytes | tuple[bytes, str]], mode: str = "w:gz") -> Path:
    """A tar file; a member is its text, or (kind, target) for a link."""
    with tarfile.open(path, mode) as archive:
        for name, held in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(held, tuple):
                info.type, info.linkname = held
                archive.addfile(info)
            else:
                info.size = len(held)
                archive.addfile(info, io.BytesIO(held))
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, held in members.items():
            archive.writestr(name, held)
    return path


# ---------------------------------------------------------------- digests


def test_digests_of_files(source):
    assert _hash_file(source) == _hash_file(source, "sha256", chunk_size=5) == SHA256
    assert _hash_file(source, "md5") == MD5
    for digest, algorithm in ((SHA256, "auto"), (MD5, "auto"), (SHA256.upper(), "sha256"), (MD5, "md5")):
        assert validate_file(source, digest, algorithm)
    assert not validate_file(source, MD5, "sha256") and not validate_file(source, "0" * 64)
    with pytest.raises(InputError, match="hash_algorithm"):
        _hash_file(source, "sha1")


# ---------------------------------------------------------------- the cache


def test_a_file_is_kept_where_keras_keeps_it(home, source, capsys):
    path = get_file("a.txt", source.as_uri(), file_hash=SHA256)
    assert path == str(home / "datasets" / "a.txt") and Path(path).read_bytes() == TEXT
    assert capsys.readouterr().out == f"Downloading data from {source.as_uri()}\n"
    source.unlink()
    assert get_file("a.txt", source.as_uri(), md5_hash=MD5) == path and capsys.readouterr().out == ""
    assert left(home) == ["datasets/a.txt"]


def test_places_and_names(home, source, tmp_path, monkeypatch):
    origin = source.as_uri()
    assert get_file(origin=origin) == str(home / "datasets" / "text file.txt")
    assert get_file("b", origin, cache_subdir="x/y") == str(home / "x" / "y" / "b")
    assert get_file("b", origin, cache_dir=tmp_path / "other") == str(tmp_path / "other" / "datasets" / "b")
    assert get_file(str(tmp_path / "c"), origin) == str(tmp_path / "c")
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    assert get_file("d", origin) == str(tmp_path / "user" / ".keras" / "datasets" / "d")
    assert get_file("d", origin, cache_dir="~/e") == str(tmp_path / "user" / "e" / "datasets" / "d")


def test_a_file_with_another_digest_is_loaded_again(home, source):
    (home / "datasets").mkdir(parents=True)
    kept = home / "datasets" / "a.txt"
    kept.write_bytes(b"half")
    with pytest.warns(UserWarning, match=f"another auto digest than {SHA256}") as told:
        get_file("a.txt", source.as_uri(), file_hash=SHA256)
    assert len(told) == 1 and kept.read_bytes() == TEXT
    source.write_bytes(b"changed")
    kept.write_bytes(b"half")
    with pytest.warns(UserWarning), pytest.raises(FetchError, match=SHA256):
        get_file("a.txt", source.as_uri(), file_hash=SHA256)
    assert kept.read_bytes() == b"half" and left(home) == ["datasets/a.txt"]


def test_what_cannot_be_loaded_says_where_to_put_it(home, tmp_path):
    origin = (tmp_path / "nowhere.npz").as_uri()
    with pytest.raises(FetchError) as told:
        get_file("a.npz", origin, file_hash=SHA256)
    for part in (origin, str(home / "datasets" / "a.npz"), SHA256, "put it at"):
        assert part in str(told.value)
    assert isinstance(told.value, OSError) and left(home) == []
    with pytest.raises(FetchError, match="gopher"):
        get_file("a", "gopher://example.org/a")


def test_wrong_arguments(home, source):
    for arguments, told in (
        ({"fname": "a"}, "origin"),
        ({"origin": "https://example.org/"}, "fname"),
        ({"origin": "https://example.org/a/%2e%2e"}, "fname"),
        ({"origin": "https://example.org/a/..%5c.."}, "fname"),
        ({"fname": "a", "origin": source.as_uri(), "hash_algorithm": "crc"}, "hash_algorithm"),
        (
            {"fname": "a", "origin": source.as_uri(), "extract": True, "archive_format": "rar"},
            "archive_format",
        ),
    ):
        with pytest.raises(InputError, match=told):
            get_file(**arguments)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(home, source, tmp_path, monkeypatch):
    home.mkdir()
    home.chmod(0o500)
    _falls_back(home, source, tmp_path, monkeypatch)


def test_a_cache_whose_place_is_a_file(home, source, tmp_path, monkeypatch):
    home.write_text("no folder")
    _falls_back(home, source, tmp_path, monkeypatch)


def _falls_back(home, source, tmp_path, monkeypatch):
    import tempfile

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    path = get_file("a", source.as_uri(), cache_subdir="sub")
    assert path == str(tmp_path / "temporary" / ".keras" / "sub" / "a")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_file_from_the_network(home, source, monkeypatch, capsys):
    pytest.importorskip("pooch")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Quiet(*args, directory=str(source.parent))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        try:
            assert Path(get_file("a", f"{base}/text%20file.txt", file_hash=MD5)).read_bytes() == TEXT
            told = capsys.readouterr().out.splitlines()
            assert len(told) == 2 and told[1].startswith("24/24 [==============================]")
            with pytest.raises(FetchError, match="404"):
                get_file("b", f"{base}/nothing")
        finally:
            server.shutdown()
    assert left(home) == ["datasets/a"]


def test_without_pooch_the_extra_is_named(home, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pooch.downloaders", None)
    with pytest.raises(FetchError, match=r'pip install "kcompile\[data\]".*put it at'):
        get_file("a", "http://127.0.0.1:9/a")


# ---------------------------------------------------------------- archives


def test_an_archive_of_a_folder(home, tmp_path):
    source = tar(tmp_path / "s.tar.gz", {"set/a": b"1", "set/in/b": b"2"})
    path = get_file("set", source.as_uri(), untar=True)
    assert path == str(home / "datasets" / "set")
    assert left(home) == ["datasets/set.tar.gz", "datasets/set/a", "datasets/set/in/b"]
    source.unlink()
    assert get_file("set", source.as_uri(), untar=True) == path
    (home / "datasets" / "set.tar.gz").unlink()
    assert get_file("set", source.as_uri(), untar=True, file_hash=SHA256) == path


@pytest.mark.parametrize(
    "given, opens", [("auto", True), ("zip", True), (["tar", "zip"], True), ("tar", False)]
)
def test_an_archive_is_unpacked_beside_itself(home, tmp_path, given, opens):
    source = zipped(tmp_path / "s.zip", {"a": b"1", "in/b": b"2"})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        path = get_file("s.zip", source.as_uri(), extract=True, archive_format=given)
    assert path == str(home / "datasets" / "s.zip")
    assert left(home / "datasets") == (["a", "in/b", "s.zip"] if opens else ["s.zip"])
    assert ["is no archive" in str(w.message) for w in told] == ([] if opens else [True])


def test_formats_may_be_none(home, tmp_path):
    source = tar(tmp_path / "s.tar", {"a": b"1"}, "w")
    for given in (None, []):
        get_file("s.tar", source.as_uri(), extract=True, archive_format=given)
    assert left(home) == ["datasets/s.tar"]
    assert extract_archive(source, home / "x") and left(home / "x") == ["a"]


def test_the_end_of_an_archive_is_no_part_of_its_folder(home, tmp_path):
    source = tar(tmp_path / "set.tar.gz", {"set/a": b"1"})
    assert get_file(origin=source.as_uri(), untar=True) == str(home / "datasets" / "set")
    assert left(home) == ["datasets/set.tar.gz", "datasets/set/a"]


@pytest.mark.parametrize(
    "arguments, folder, file",
    [
        ({"fname": "x.zip"}, "x_extracted", "x.zip"),
        ({"fname": "x"}, "x", "x_archive"),
        ({}, "set.zip", "set.zip_archive"),
    ],
)
def test_keras_3_unpacks_to_a_folder_of_its_own(home, tmp_path, arguments, folder, file):
    source = zipped(tmp_path / "set.zip", {"a": b"1"})
    for _ in range(2):
        path = keras3.utils.get_file(origin=source.as_uri(), extract=True, **arguments)
        assert path == str(home / "datasets" / folder)
    assert left(home) == sorted([f"datasets/{folder}/a", f"datasets/{file}"])


def test_a_file_is_loaded_again_when_that_is_asked_for(home, source):
    path = get_file("a", source.as_uri())
    source.write_bytes(b"new")
    assert Path(get_file("a", source.as_uri())).read_bytes() == TEXT
    assert get_file("a", source.as_uri(), force_download=True) == path and Path(path).read_bytes() == b"new"


BAD = {
    "above": {"../a": b"x"},
    "above later": {"in/../../a": b"x"},
    "absolute": {"/a": b"x"},
    "a link out": {"ok": b"1", "a": (tarfile.SYMTYPE, "../../outside")},
    "an absolute link": {"a": (tarfile.SYMTYPE, "/etc/passwd")},
    "a hard link out": {"a": (tarfile.LNKTYPE, "../outside")},
    "through a link": {"a": (tarfile.SYMTYPE, ".."), "a/b": b"x"},
    "a device": {"a": (tarfile.CHRTYPE, "")},
}


@pytest.mark.parametrize("without_filter", [False, True])
@pytest.mark.parametrize("kind", BAD)
def test_nothing_is_written_outside(tmp_path, kind, without_filter, monkeypatch):
    if without_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    archive = tar(tmp_path / "bad.tar", BAD[kind], "w")
    with pytest.raises(InputError):
        extract_archive(archive, tmp_path / "folder" / "in")
    assert left(tmp_path) == ["bad.tar"]


def test_nothing_of_a_zip_is_written_outside(tmp_path):
    for i, name in enumerate(("../a", "/a", "in\\..\\..\\a")):
        archive = zipped(tmp_path / f"{i}.zip", {"first": b"1", name: b"x"})
        with pytest.raises(InputError, match="a path inside the folder"):
            extract_archive(archive, tmp_path / "folder")
        archive.unlink()
    assert left(tmp_path) == []


def test_links_inside_are_kept(tmp_path):
    if not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python cannot check links")
    archive = tar(tmp_path / "s.tar", {"set/a": b"1", "set/b": (tarfile.SYMTYPE, "a")}, "w")
    assert extract_archive(archive, tmp_path / "x")
    assert (tmp_path / "x" / "set" / "b").read_bytes() == b"1"


def test_a_damaged_archive_leaves_what_was_there(tmp_path):
    whole = tar(tmp_path / "s.tar.gz", {"set/a": b"new" * 40000, "set/b": os.urandom(90000)}).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    folder = tmp_path / "x"
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "a").write_bytes(b"old")
    with pytest.raises(InputError, match="cannot be unpacked"):
        extract_archive(tmp_path / "cut.tar.gz", folder)
    assert left(folder) == ["set/a"] and (folder / "set" / "a").read_bytes() == b"old"
    (folder / "set" / "c").write_bytes(b"mine")
    assert extract_archive(tmp_path / "s.tar.gz", folder)
    assert left(folder) == ["set/a", "set/b", "set/c"] and (folder / "set" / "a").read_bytes()[:3] == b"new"


def test_an_archive_without_the_folder_is_unpacked_too(home, tmp_path):
    source = tar(tmp_path / "s.tar.gz", {"other/a": b"1"})
    with pytest.warns(UserWarning, match="has no folder 'set'"):
        assert get_file("set", source.as_uri(), untar=True) == str(home / "datasets" / "set")
    assert left(home) == ["datasets/other/a", "datasets/set.tar.gz"]

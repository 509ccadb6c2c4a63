"""What a built file says about itself: read for any machine, and out of damaged files only errors."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

import kcompile
from kcompile import keras
from kcompile_runtime import ArtifactError, read_contents
from kcompile_runtime.wasm import read_section

TARGETS = ("x86-64-v2", "aarch64", "riscv64", "wasm32", "cortex-m4")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("built")
    model = keras.Sequential([keras.layers.Dense(300, input_shape=(20,), name="wide")])
    return {target: kcompile.export(model, folder / f"{target}.bin", target=target) for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_contents(paths: dict[str, Path], target: str) -> None:
    found = read_contents(paths[target])
    assert found.metadata["target"] == target
    assert found.machine == {"x86-64-v2": "x86_64", "cortex-m4": "arm"}.get(target, target)
    assert found.metadata["inputs"][0]["shape"] == ["n", 20]
    assert found.size == paths[target].stat().st_size
    assert 4 * 20 * 300 <= found.data < found.size and 500 < found.code < found.size - found.data


@pytest.mark.parametrize("target", TARGETS)
def test_damage_is_found(paths: dict[str, Path], target: str, tmp_path: Path) -> None:
    """Truncated anywhere, or with any bits changed: the checksum covers the whole file."""
    data, copy = paths[target].read_bytes(), tmp_path / "copy"
    generator = np.random.default_rng(0)
    for at in (*generator.integers(0, len(data), 60), *range(0, 200, 3)):
        broken = bytearray(data)
        broken[at] ^= 1 << int(generator.integers(8))
        for content in (bytes(broken), data[:at]):
            copy.write_bytes(content)
            with pytest.raises(ArtifactError, match="copy: "):
                read_contents(copy)


def test_modules_that_are_none_of_ours() -> None:
    def number(value: int) -> bytes:
        return bytes([value & 127 | 128, value >> 7 & 127])

    head = b"\0asm\1\0\0\0"
    other = head + b"\0" + number(9) + b"\5.debug"[:6] + b"abc"
    for module, said in (
        (head, "not one of kcompile's"),
        (other, "not one of kcompile's"),
        (b"\0asm\2\0\0\0", "another version"),
        (head + b"\0\xff\xff\xff\xff\xff", "no end"),
        (head + b"\0\xff", "truncated"),
        (head + b"\0" + number(100), "truncated"),
        (head + b"\0" + number(1) + b"\x80", "truncated"),
    ):
        with pytest.raises(ArtifactError, match=said):
            read_section(memoryview(module), ".kcompile")


def test_a_million_bytes_of_headers(paths: dict[str, Path], tmp_path: Path) -> None:
    """65535 section headers that all claim the whole file are looked at, and nothing is copied."""
    data = bytearray(paths["x86-64-v2"].read_bytes())
    data += bytes(4 << 20)
    table = len(data)
    data += struct.pack("<IIQQQQIIQQ", 0, 1, 2, 0, 0, table, 0, 0, 1, 0) * 65535
    data[40:48] = struct.pack("<Q", table)
    data[60:64] = struct.pack("<HH", 65535, 0)
    (tmp_path / "m.so").write_bytes(data)
    with pytest.raises(ArtifactError, match="no section"):
        read_contents(tmp_path / "m.so")


def forged(path: Path, change: dict[str, object]) -> Path:
    """A copy with other metadata (no longer than they were) under a right checksum."""
    good = path.read_bytes()
    start = good.find(b'{"abi"')
    metadata, length = json.JSONDecoder().raw_decode(good[start : start + 9000].decode("latin-1"))
    text = json.dumps({**metadata, **change, "version": ""}, sort_keys=True, separators=(",", ":"))
    text = text.replace('"checksum":', '"checksum": ')
    assert len(text) <= length
    data = bytearray(good[:start] + text[:-1].encode().ljust(length - 1) + b"}" + good[start + length :])
    at = data.find(b'"checksum": "') + 13
    if "checksum" not in change:
        data[at : at + 8] = b"????????"
        data[at : at + 8] = b"%08x" % zlib.crc32(bytes(data))
    made = path.with_name("forged")
    made.write_bytes(data)
    return made


TENSOR = {"name": "x", "dtype": "float32", "shape": ["n", 20]}


def test_the_forger_forges(paths: dict[str, Path]) -> None:
    assert read_contents(forged(paths["x86-64-v2"], {"name": "other"})).metadata["name"] == "other"


@pytest.mark.parametrize(
    "change",
    [
        {"batch": -1},
        {"batch": 0},
        {"batch": True},
        {"batch": 1.5},
        {"batch": 2**70},
        {"batch": "2"},
        {"cpu_flags": [1]},
        {"cpu_flags": [[]]},
        {"cpu_flags": [None]},
        {"cpu_flags": {}},
        {"pool_abi": True},
        {"pool_abi": 0},
        {"pool_abi": -3},
        {"name": ""},
        {"name": "ä"},
        {"name": "a b"},
        {"name": 1},
        {"triple": None},
        {"target": 3},
        {"inputs": {}},
        {"inputs": [1]},
        {"inputs": [{}]},
        {"inputs": ["x"]},
        {"outputs": []},
        {"draws": 1},
        {"draws": None},
        {"levels": [1]},
        {"levels": "x86-64-v2"},
        {"levels": None},
        {"states": -1},
        {"states": 2},
        {"states": True},
        {"states": None},
        {"checksum": "????????"},
        {"checksum": 12345678},
        *(
            {"inputs": [{**TENSOR, **wrong}]}
            for wrong in (
                {"name": 1},
                {"dtype": "float"},
                {"dtype": []},
                {"dtype": None},
                {"shape": "n"},
                {"shape": None},
                {"shape": [None]},
                {"shape": [-1]},
                {"shape": [1.0]},
                {"shape": [True]},
                {"shape": ["0n"]},
                {"shape": ["n", "x"]},
                {"shape": [[]]},
                {"shape": [{}]},
                {"shape": [2**40, 2**40]},
                {"shape": ["9999999999999999999999n"]},
            )
        ),
    ],
    ids=repr,
)
def test_metadata_are_checked_in_all_they_say(paths: dict[str, Path], change: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match=r"forged: damaged: "):
        read_contents(forged(paths["x86-64-v2"], change))

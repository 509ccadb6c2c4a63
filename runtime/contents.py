"""What an exported model says about itself, read without loading any of its code.

Enters: a file for whatever machine: a shared object or a WebAssembly module. Leaves: its metadata,
checked against the checksum of the whole file, or an `ArtifactError`.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kcompile_runtime import elf, wasm
from kcompile_runtime.elf import Section
from kcompile_runtime.errors import ArtifactError

ABI = 1
_SECTION = ".kcompile"


@dataclass(frozen=True)
class Contents:
    """machine: the processor it is for, "wasm32" for a WebAssembly module. metadata: the model's name,
    inputs and outputs, target, and what it needs. size, code, data: bytes of the file, of its code, and
    of weights and tables in it."""

    machine: str
    metadata: dict[str, Any]
    size: int
    code: int
    data: int


def read_contents(path: str | os.PathLike[str]) -> Contents:
    """What a file says about itself. Raises FileNotFoundError; ArtifactError for a file that is no
    artifact, is damaged, or is of another version."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ArtifactError("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                data = memoryview(mapped)
                try:
                    section = _read(data)
                    metadata = _parse(section)
                    _check_sum(data, section, metadata)
                    size = len(data)
                finally:
                    data.release()
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error}") from error.__cause__
    return Contents(section.machine, metadata, size, section.code, section.constants)


def _read(data: memoryview) -> Section:
    if bytes(data[:4]) == wasm.MAGIC:
        return wasm.read_section(data, _SECTION)
    return elf.read_section(data, _SECTION)


def _parse(section: Section) -> dict[str, Any]:
    try:
        metadata = json.loads(section.data)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"damaged: its metadata are not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise ArtifactError("damaged: its metadata are not a JSON object")
    if metadata.get("abi") != ABI:
        raise ArtifactError(
            f"made for version {metadata.get('abi')} of the interface, and this runtime has {ABI}. "
            "Export the model again, or install the runtime of kcompile "
            f"{metadata.get('version')}"
        )
    kinds: dict[str, tuple[type, ...]] = {
        "pool_abi": (int,), "name": (str,), "triple": (str,), "cpu_flags": (list,),
        "batch": (int, type(None)), "inputs": (list,), "outputs": (list,), "checksum": (str,)}
    for key, kind in kinds.items():
        if not isinstance(metadata.get(key), kind) or key not in metadata:
            raise ArtifactError(f"damaged: its metadata have no valid {key!r}")
    if not metadata["name"].isidentifier() and not f"_{metadata['name']}".isidentifier():
        raise ArtifactError(f"damaged: its name is {metadata['name']!r}")
    return metadata


def _check_sum(data: memoryview, section: Section, metadata: Mapping[str, Any]) -> None:
    """The CRC-32 of the file, in which the digits of the checksum itself count as '?'."""
    key = b'"checksum": "'
    at = section.data.find(key)
    start = section.offset + at + len(key)
    if at < 0 or len(metadata["checksum"]) != 8:
        raise ArtifactError("damaged: its metadata have no valid 'checksum'")
    value = zlib.crc32(data[start + 8:], zlib.crc32(b"????????", zlib.crc32(data[:start])))
    if f"{value:08x}" != metadata["checksum"]:
        raise ArtifactError("damaged: its checksum is not the one it was written with")

"""What an exported model says about itself, read without loading any of its code.

Enters: a file for whatever machine: a shared object, an object file or a WebAssembly module. Leaves: its
metadata, checked against the checksum of the whole file, or an `ArtifactError`.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompile_runtime import elf, wasm
from kcompile_runtime.checks import check_path
from kcompile_runtime.elf import Section
from kcompile_runtime.errors import ArtifactError
from kcompile_runtime.spec import TensorSpec
from kcompile_runtime.training import Results

ABI = 1
_SECTION = ".kcompile"
TABLE, PTX, WEIGHTS, HEADER = "model.json", "kernels.ptx", "weights.bin", "model.h"  # files of a folder
_MOST = 2**62


@dataclass(frozen=True)
class Contents:
    """What `read_contents` found. machine: the processor it is for, "wasm32" for a WebAssembly module, "arm"
    for an object file for microcontrollers.
    metadata: the model's name, inputs and outputs, target, and what it needs. size, code, data: bytes of
    the file, of its code, and of weights and tables in it."""

    machine: str
    metadata: dict[str, Any]
    size: int
    code: int
    data: int


def read_contents(path: str | os.PathLike[str]) -> Contents:
    """What a file says about itself. path: of an exported model, for whatever machine; of a folder for a
    graphics processor. None of its code is loaded, nor run. Raises FileNotFoundError; ArtifactError for a
    file that is no artifact, is damaged, or is of another version."""
    name = os.fspath(check_path("path", path))
    try:
        if is_folder_of_model(name):
            return _of_folder(Path(name))
        with open(name, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ArtifactError("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                data = memoryview(mapped)
                try:
                    section = _read(data)
                    metadata = parsed(section.data)
                    _check_sum(data, section, metadata)
                    size = len(data)
                finally:
                    data.release()
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error}") from error.__cause__
    return Contents(section.machine, metadata, size, section.code, section.constants)


def is_folder_of_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path is of a folder that holds a model for graphics processors."""
    return os.path.isfile(os.path.join(path, TABLE))


def _of_folder(folder: Path) -> Contents:
    """What a folder says, once all of its files have the checksums that it says."""
    text = (folder / TABLE).read_bytes()
    metadata = parsed(text)
    try:
        rest = {key: value for key, value in metadata.items() if key != "checksum"}
        sums, right = metadata["files"], json.dumps(rest, sort_keys=True).encode()
        own = f"{zlib.crc32(right):08x}"
        if own != metadata["checksum"] or sorted(sums) != sorted((PTX, WEIGHTS, HEADER)):
            raise ArtifactError(f"damaged: the checksum of {TABLE} is not the one it was written with")
        sizes = {TABLE: len(text)}
        for name, digits in sums.items():
            data = (folder / name).read_bytes()
            sizes[name] = len(data)
            if f"{zlib.crc32(data):08x}" != digits:
                raise ArtifactError(f"damaged: the checksum of {name} is not the one it was written with")
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"damaged: {TABLE} is not what it should be ({error})") from error
    except FileNotFoundError as error:
        raise ArtifactError(f"damaged: it has no file {Path(error.filename).name}") from error
    return Contents("cuda", metadata, sum(sizes.values()), sizes[PTX], sizes[WEIGHTS])


def _read(data: memoryview) -> Section:
    if bytes(data[:4]) == wasm.MAGIC:
        return wasm.read_section(data, _SECTION)
    return elf.read_section(data, _SECTION)


def parsed(data: bytes) -> dict[str, Any]:
    """Metadata, checked. Raises ArtifactError for what is none."""
    try:
        metadata = json.loads(data)
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
    for key, right in _RIGHT.items():
        if key not in metadata or not right(metadata[key]):
            raise ArtifactError(f"damaged: its metadata have no valid {key!r}")
    if metadata.get("draws", True) is not True:
        raise ArtifactError("damaged: its metadata have no valid 'draws'")
    if not (_is_list(metadata.get("levels", [])) and all(map(_is_text, metadata.get("levels", [])))):
        raise ArtifactError("damaged: its metadata have no valid 'levels'")
    most = min(len(metadata["inputs"]), len(metadata["outputs"]))
    if type(metadata.get("states", 0)) is not int or not 0 <= metadata.get("states", 0) <= most:
        raise ArtifactError("damaged: its metadata have no valid 'states'")
    for item in (*metadata["inputs"], *metadata["outputs"]):
        _check_tensor(item, metadata["batch"] or 1)
    if "step" in metadata:
        _check_step(metadata["step"], metadata["batch"] or 1)
    return metadata


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


# What the values of the metadata may be.
_RIGHT: dict[str, Callable[[Any], bool]] = {
    "pool_abi": _is_count,
    "version": _is_text,
    "triple": _is_text,
    "target": _is_text,
    "name": lambda value: _is_text(value) and re.fullmatch("[A-Za-z0-9_]+", value) is not None,
    "cpu_flags": lambda value: _is_list(value) and all(map(_is_text, value)),
    "batch": lambda value: value is None or _is_count(value),
    "inputs": _is_list,
    "outputs": lambda value: _is_list(value) and len(value) > 0,
    "checksum": lambda value: _is_text(value) and re.fullmatch("[0-9a-f]{8}", value) is not None,
}


def _check_tensor(item: Any, batch: int) -> None:
    """Raises ArtifactError for what is no description of an input or output, or one of more bytes than
    there are addresses."""
    try:
        if not _is_text(item["name"]) or not _is_list(item["shape"]) or None in item["shape"]:
            raise ValueError("its name or shape")
        if TensorSpec(item["name"], tuple(item["shape"]), item["dtype"]).nbytes(batch) > _MOST:
            raise ValueError("its size")
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"damaged: an input or output is not described ({error})") from error


def _check_step(step: Any, batch: int) -> None:
    """Raises ArtifactError for what is no description of a training step."""
    try:
        inputs, outputs, state, weights = (step[key] for key in ("inputs", "outputs", "state", "weights"))
        if not all(map(_is_list, (inputs, outputs, state, step["checks"]))) or len(outputs) != 1:
            raise ValueError("its lists")
        if type(weights) is not int or not 0 <= weights <= len(inputs):
            raise ValueError("its weights of samples")
        if not all(type(item["offset"]) is int and 0 <= item["offset"] <= _MOST for item in state):
            raise ValueError("its state")
        if not all(map(_is_text, (*step["report"]["names"], *step["checks"], step["report"]["resets"]))):
            raise ValueError("its names")
        results_of(step["report"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"damaged: its training step is not described ({error})") from error
    for item in (*inputs, *outputs, *state):
        _check_tensor(item, batch)


def results_of(report: Mapping[str, Any]) -> Results:
    """What a vector of results holds, as metadata have it."""
    shapes = {key: {k: tuple(map(int, v)) for k, v in report[key].items()} for key in ("kept", "ends")}
    return Results(
        tuple(report["names"]), shapes["kept"], report["averages_loss"], report["by_name"], shapes["ends"]
    )


def _check_sum(data: memoryview, section: Section, metadata: Mapping[str, Any]) -> None:
    """The CRC-32 of the file, in which the digits of the checksum itself count as '?'."""
    key = b'"checksum": "'
    at = section.data.find(key)
    start = section.offset + at + len(key)
    if at < 0:
        raise ArtifactError("damaged: its metadata have no valid 'checksum'")
    value = zlib.crc32(data[start + 8 :], zlib.crc32(b"????????", zlib.crc32(data[:start])))
    if f"{value:08x}" != metadata["checksum"]:
        raise ArtifactError("damaged: its checksum is not the one it was written with")

"""Models and files for the tests of reading: small, and made wrong in one way."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import layers
from kcompile.keras.models import Sequential
from kcompile_runtime.errors import ModelError


def dense(units: int = 3, **options: Any) -> Sequential:
    """Dense(4 -> units), then Dense(2)."""
    return Sequential(
        [layers.Dense(units, input_shape=(4,), name="first", **options), layers.Dense(2, name="second")],
        name="small",
    )


def predict(model: Any, *x: np.ndarray) -> Any:
    model.use_engine(InterpreterEngine(model))
    return model.predict_on_batch(list(x) if len(x) > 1 else x[0])


def config_of(*entries: dict[str, Any], kind: str = "Sequential", **more: Any) -> dict[str, Any]:
    return {
        "class_name": kind,
        "keras_version": "2.3.1",
        "backend": "tensorflow",
        "config": {"name": "m", "layers": list(entries), **more},
    }


def layer(kind: str, name: str, calls: list[Any] | None = None, **config: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"class_name": kind, "config": {"name": name, **config}}
    if calls is not None:
        made.update(name=name, inbound_nodes=calls)
    return made


def first_dense(**config: Any) -> dict[str, Any]:
    return layer("Dense", "d", **{"batch_input_shape": [None, 4], "units": 2, **config})


def functional(*entries: dict[str, Any], output: str = "d") -> dict[str, Any]:
    x = layer("InputLayer", "x", [], batch_input_shape=[None, 4], dtype="float32")
    return config_of(x, *entries, kind="Model", input_layers=[["x", 0, 0]], output_layers=[[output, 0, 0]])


def write_json(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def edit_h5(path: Path, change: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def endless(path: Path) -> Path:
    """An .h5 file with a text in a heap in which an object has no size: HDF5 never gets past it."""
    with h5py.File(path, "r+") as file:
        file.attrs["text"] = "of variable length"
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    while int.from_bytes(data[at : at + 2], "little"):  # 0 is the room that is free
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
    data[at + 8 : at + 16] = bytes(8)
    path.write_bytes(data)
    return path


def edit_keras(path: Path, change: Callable[[dict[str, bytes]], Any]) -> Path:
    """Members of a .keras file, changed and written again."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def weights_inside(change: Callable[[h5py.File], Any]) -> Callable[[dict[str, bytes]], None]:
    """A change of the HDF5 file inside a .keras file."""

    def apply(members: dict[str, bytes]) -> None:
        stream = io.BytesIO(members["model.weights.h5"])
        with h5py.File(stream, "r+") as file:
            change(file)
        members["model.weights.h5"] = stream.getvalue()

    return apply


def write_keras1(
    path: Path,
    entries: list[dict[str, Any]],
    weights: dict[str, list[np.ndarray]],
    suffix: str = "",
    version: str = "1.2.2",
) -> Path:
    """A whole model as Keras 1 wrote it. suffix: of the names of weights, ":0" under TensorFlow."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": entries})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            names = [f"{name}_{i}{suffix}" for i in range(len(arrays))]
            below = group.create_group(name)
            below.attrs["weight_names"] = [n.encode() for n in names]
            for n, array in zip(names, arrays):
                below[n] = array
    return path


def refused(path: Path, *parts: str, error: type[Exception] = ModelError, **options: Any) -> str:
    """The message of `load`, which holds these parts."""
    with pytest.raises(error) as caught:
        kcompile.load(path, **options)
    for part in parts:
        assert part in str(caught.value)
    return str(caught.value)

"""Requests and answers of the Open Inference Protocol, version 2: JSON, and arrays in it or behind it.

Enters: bodies of requests, from anyone. Leaves: arrays that fit the model's inputs, or a `Refused` that says
what does not fit; and bodies of answers. The protocol: kserve.github.io, "Open Inference Protocol (V2)", and
its "Binary Tensor Data Extension".
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from kcompile_runtime.arrays import Array
from kcompile_runtime.spec import TensorSpec
from kcompile_runtime.texts import printable

LETTERS = {"f": "FP", "i": "INT", "u": "UINT", "b": "BOOL"}
TAKEN: dict[str, set[type]] = {
    "f": {int, float},
    "i": {int},
    "u": {int},
    "b": {bool},
}  # types of JSON, by the kind of the input


class Refused(Exception):
    """A request that is not answered. status: of HTTP; the message is for whoever sent it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(printable(message))
        self.status = status


@dataclass(frozen=True)
class Request:
    """arrays: one for each input of the model, in its order. rows: how many samples. outputs: those that are
    asked for: the number of the output, and whether in bytes. id: what the answer repeats, or None."""

    arrays: list[Array]
    rows: int
    outputs: list[tuple[int, bool]]
    id: str | None


def datatype(spec: TensorSpec) -> str:
    """The protocol's name of a dtype: FP32, INT64, BOOL, ..."""
    kind = spec.numpy_dtype.kind
    return LETTERS[kind] + ("" if kind == "b" else str(8 * spec.numpy_dtype.itemsize))


def about(spec: TensorSpec) -> dict[str, Any]:
    """An input or output in the model's metadata; -1 is any number of samples."""
    return {"name": spec.name, "datatype": datatype(spec), "shape": _sizes(spec)}


def _sizes(spec: TensorSpec) -> list[int]:
    return [d if isinstance(d, int) else -1 for d in spec.shape]


def read_request(
    body: bytes,
    header: str | None,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    max_rows: int,
) -> Request:
    """What a body asks for. header: of HTTP, how many of its bytes are JSON; None: all. Raises Refused."""
    length = _header_length(header, len(body))
    asked = _object(_parsed(body[:length]), "the request")
    given = _by_name(asked, "inputs", [spec.name for spec in inputs])
    missing = [spec.name for spec in inputs if spec.name not in given]
    if missing:
        raise Refused(400, f"inputs: expected {[s.name for s in inputs]}. Missing: {missing}")
    rows = _rows({s.name: _shape(given[s.name]) for s in inputs}, inputs, max_rows)
    binary = body[length:]
    pieces = _pieces(given, len(binary))  # in the order of the request
    arrays = []
    for spec in inputs:
        tensor, piece = given[spec.name], pieces.get(spec.name)
        _check_datatype(tensor, spec)
        if piece is None:
            arrays.append(_from_json(tensor, spec))
        else:
            arrays.append(_from_bytes(binary[piece], tensor, spec))
    identity = asked.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Refused(400, f"id: expected a string. Received: {_kind(identity)}")
    return Request(arrays, rows, _outputs(asked, outputs), identity)


def answer(
    request: Request, arrays: Sequence[Array], outputs: Sequence[TensorSpec], model: Mapping[str, Any]
) -> tuple[bytes, int | None]:
    """The body of an answer, and how many bytes of it are JSON where arrays follow in bytes, else None.
    model: what the answer says first. Raises Refused for numbers that JSON has not, NaN and infinities."""
    said, behind = [], []
    for number, in_bytes in request.outputs:
        spec, array = outputs[number], np.ascontiguousarray(arrays[number])
        tensor: dict[str, Any] = {"name": spec.name, "datatype": datatype(spec), "shape": list(array.shape)}
        if in_bytes:
            behind.append(_little(array).tobytes())
            tensor["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise Refused(
                    422, f"output {spec.name}: NaN or infinite, which JSON has not: ask for binary_data"
                )
            tensor["data"] = array.ravel().tolist()
        said.append(tensor)
    identity = {} if request.id is None else {"id": request.id}
    head = json.dumps({**model, **identity, "outputs": said}, separators=(",", ":")).encode()
    return head + b"".join(behind), len(head) if behind else None


# ---------------------------------------------------------------- JSON


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except (
        ValueError,
        RecursionError,
    ) as error:  # not UTF-8, not JSON, a number of too many digits, too deep
        raise Refused(400, f"the request is no JSON: {error}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object, each name once: readers differ in which of two they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(400, f"{what}: expected an object. Received: {_kind(value)}")
    return value


def _parameters(of: dict[str, Any], what: str) -> dict[str, Any]:
    return _object(of.get("parameters", {}), f"parameters of {what}")


def _by_name(asked: dict[str, Any], key: str, known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The members of a list of tensors, by their names, in the list's order."""
    tensors = asked.get(key, [])
    if not isinstance(tensors, list):
        raise Refused(400, f"{key}: expected an array. Received: {_kind(tensors)}")
    found: dict[str, dict[str, Any]] = {}
    for tensor in tensors:
        name = _object(tensor, f"each of {key}").get("name")
        if not isinstance(name, str) or name not in known:
            raise Refused(400, f"{key}: expected names of {list(known)}. Received: {_short(name)}")
        if name in found:
            raise Refused(400, f"{key}: {name} is there twice")
        found[name] = tensor
    return found


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, int, float)) else _kind(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _shape(tensor: dict[str, Any]) -> list[int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(d) is int and 0 <= d < 2**40 for d in shape):
        raise Refused(400, f"input {tensor['name']}: shape: expected an array of sizes")
    return shape


def _rows(shapes: dict[str, list[int]], inputs: Sequence[TensorSpec], max_rows: int) -> int:
    """How many samples arrays of these shapes have."""
    rows = -1
    for spec in inputs:
        found = spec.samples(shapes[spec.name])
        if found is None or (found != -1 and rows not in (-1, found)):
            also = "" if found is None else f", for {rows} samples as of the inputs before"
            raise Refused(
                400, f"input {spec.name}: expected shape {_sizes(spec)}{also}. Received: {shapes[spec.name]}"
            )
        rows = max(rows, found)
    rows = 1 if rows == -1 else rows
    if rows < 1:
        raise Refused(400, "inputs: expected at least one sample. Received: none")
    if rows > max_rows:
        raise Refused(413, f"inputs: expected at most {max_rows} samples in a request. Received: {rows}")
    return rows


def _check_datatype(tensor: dict[str, Any], spec: TensorSpec) -> None:
    if tensor.get("datatype") != datatype(spec):
        raise Refused(
            400,
            f"input {spec.name}: expected datatype {datatype(spec)}. Received: "
            f"{_short(tensor.get('datatype'))}",
        )


def _from_json(tensor: dict[str, Any], spec: TensorSpec) -> Array:
    """The array that JSON says, nested or flat. Nothing is rounded but to the precision of floats."""
    shape, dtype = tensor["shape"], spec.numpy_dtype
    where = f"input {spec.name}: data: expected"
    data = tensor.get("data")
    if not isinstance(data, list):
        raise Refused(400, f"{where} an array. Received: {_kind(data)}")
    numbers, found = _flat(data, where)
    if found not in (shape, [math.prod(shape)]):
        count = math.prod(shape)
        raise Refused(400, f"{where} {count} numbers, flat or nested as {shape}. Received: shape {found}")
    if not set(map(type, numbers)) <= TAKEN[dtype.kind]:  # before numpy sees them: it makes texts of all
        raise Refused(400, f"{where} numbers of {datatype(spec)}")
    if dtype.kind in "iu":
        limits = np.iinfo(spec.dtype)
        if numbers and not limits.min <= min(numbers) <= max(numbers) <= limits.max:
            raise Refused(400, f"{where} numbers from {limits.min} to {limits.max}")
    try:
        with np.errstate(over="ignore"):
            wide = np.array(numbers, np.float64 if dtype.kind == "f" else dtype)
            array: Array = wide.astype(dtype).reshape(shape)
    except OverflowError:  # whole numbers that no float holds
        array = np.array([np.inf], dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise Refused(400, f"{where} numbers within the range of {datatype(spec)}")
    return array


def _flat(data: list[Any], where: str) -> tuple[list[Any], list[int]]:
    """The members of nested arrays in one list, and the shape. Raises Refused where lengths differ."""
    shape = [len(data)]
    while data and isinstance(data[0], list):
        sizes = set(map(len, data)) if set(map(type, data)) == {list} else set()
        if len(sizes) != 1:
            raise Refused(400, f"{where} numbers in arrays of equal lengths")
        data, shape = list(chain.from_iterable(data)), [*shape, *sizes]
    return data, shape


def _outputs(asked: dict[str, Any], outputs: Sequence[TensorSpec]) -> list[tuple[int, bool]]:
    everything = _flag(_parameters(asked, "the request"), "binary_data_output", False)
    names = [spec.name for spec in outputs]
    if not asked.get("outputs"):
        return [(number, everything) for number in range(len(outputs))]
    wanted = _by_name(asked, "outputs", names)
    return [
        (names.index(name), _flag(_parameters(tensor, f"output {name}"), "binary_data", everything))
        for name, tensor in wanted.items()
    ]


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refused(400, f"{name}: expected true or false. Received: {_kind(value)}")
    return value


# ---------------------------------------------------------------- bytes


def _header_length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not (header.isascii() and header.isdigit() and len(header) < 20 and int(header) <= size):
        raise Refused(
            400,
            f"Inference-Header-Content-Length: expected a number up to {size}. Received: {_short(header)}",
        )
    return int(header)


def _pieces(given: dict[str, dict[str, Any]], size: int) -> dict[str, slice]:
    """Which of the bytes behind the JSON belong to which input."""
    found, start = {}, 0
    for name, tensor in given.items():
        length = _parameters(tensor, f"input {name}").get("binary_data_size")
        if length is None:
            continue
        if type(length) is not int or length < 0 or "data" in tensor:
            raise Refused(400, f"input {name}: expected data, or binary_data_size as a number of bytes")
        found[name] = slice(start, start + length)
        start += length
    if start != size:
        raise Refused(400, f"expected {start} bytes behind the JSON. Received: {size}")
    return found


def _from_bytes(piece: bytes, tensor: dict[str, Any], spec: TensorSpec) -> Array:
    dtype, shape = spec.numpy_dtype, tensor["shape"]
    expected = math.prod(shape) * dtype.itemsize
    if len(piece) != expected:
        raise Refused(
            400, f"input {spec.name}: expected {expected} bytes for {shape}. Received: {len(piece)}"
        )
    if dtype.kind == "b":
        found: Array = np.frombuffer(piece, np.uint8).reshape(shape)
        if found.size and found.max() > 1:
            raise Refused(400, f"input {spec.name}: expected bytes of 0 and 1")
        return found.astype(bool)
    return np.frombuffer(piece, dtype.newbyteorder("<")).reshape(shape).astype(dtype)


def _little(array: Array) -> Array:
    return array if sys.byteorder == "little" else array.astype(array.dtype.newbyteorder("<"))

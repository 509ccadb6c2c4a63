"""`tf.train.Example` and the files of records that hold them: `tf.io.TFRecordWriter`,
`tf.data.TFRecordDataset`, `tf.io.parse_single_example` and its kin. Files are those of TensorFlow."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.pipelines import Dataset
from kcompile.tensorflow import protos
from kcompile.tensorflow.files import bytes_of, of_bytes, path_of
from kcompile_runtime.errors import InputError, UnsupportedError, describe


class _List:
    """A list of values of one kind."""

    kind = ""

    def __init__(self, value: Any = ()) -> None:
        given = value.numpy() if isinstance(value, EagerTensor) else value
        self.value = [self.checked(x) for x in (given.tolist() if isinstance(given, np.ndarray) else given)]

    def checked(self, x: Any) -> Any:
        raise NotImplementedError


class BytesList(_List):
    """tf.train.BytesList."""

    kind = "bytes"

    def checked(self, x: Any) -> bytes:
        found = x.numpy() if isinstance(x, EagerTensor) else x
        if not isinstance(found, bytes):
            raise TypeError(f"{found!r} has type {type(found).__name__}, but expected one of: bytes")
        return found


class FloatList(_List):
    """tf.train.FloatList."""

    kind = "float"

    def checked(self, x: Any) -> float:
        return float(x)


class Int64List(_List):
    """tf.train.Int64List."""

    kind = "int64"

    def checked(self, x: Any) -> int:
        if isinstance(x, (float, np.floating)):
            raise TypeError(f"{x!r} has type float, but expected one of: int")
        return int(x)


class Feature:
    """tf.train.Feature: one of three lists."""

    def __init__(self, bytes_list: Any = None, float_list: Any = None, int64_list: Any = None) -> None:
        self.bytes_list, self.float_list, self.int64_list = (
            BytesList() if bytes_list is None else bytes_list,
            FloatList() if float_list is None else float_list,
            Int64List() if int64_list is None else int64_list,
        )
        self._given = next((x for x in (bytes_list, float_list, int64_list) if x is not None), None)

    def SerializeToString(self) -> bytes:
        """Its bytes."""
        return b"" if self._given is None else protos.feature_bytes(self._given.kind, self._given.value)


class Features:
    """tf.train.Features: features by name."""

    def __init__(self, feature: Any = None) -> None:
        self.feature = dict(feature or {})


class Example:
    """tf.train.Example."""

    def __init__(self, features: Any = None) -> None:
        self.features = Features() if features is None else features

    def SerializeToString(self) -> bytes:
        """Its bytes."""
        made = {key: value.SerializeToString() for key, value in self.features.feature.items()}
        return protos.example_bytes(made)

    def ParseFromString(self, serialized: Any) -> int:
        """Read it from bytes. Raises InputError."""
        held = bytes_of("train.Example.ParseFromString", serialized)
        kinds = {"bytes": BytesList, "float": FloatList, "int64": Int64List}
        self.features = Features(
            {
                key: Feature(**({f"{kind}_list": kinds[kind](values)} if kind else {}))
                for key, (kind, values) in protos.example_of(held).items()
            }
        )
        return len(held)

    @classmethod
    def FromString(cls, serialized: Any) -> Example:
        """One of bytes."""
        made = cls()
        made.ParseFromString(serialized)
        return made


class TFRecordWriter:
    """Writes records to a file; options: "GZIP" or "ZLIB"."""

    def __init__(self, path: Any, options: Any = None) -> None:
        kind = getattr(options, "compression_type", options)
        self._file: Any = (gzip.open if kind == "GZIP" else open)(path_of(path), "wb")
        self._packed = zlib.compressobj() if kind == "ZLIB" else None

    def write(self, record: Any) -> None:
        """Add a record."""
        made = protos.record_bytes(bytes_of("io.TFRecordWriter.write", record))
        self._file.write(made if self._packed is None else self._packed.compress(made))

    def flush(self) -> None:
        """Write what was added so far."""
        self._file.flush()

    def close(self) -> None:
        """Write all, and no more."""
        if self._packed is not None:
            self._file.write(self._packed.flush())
        self._file.close()

    def __enter__(self) -> TFRecordWriter:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.close()


class TFRecordOptions:
    """tf.io.TFRecordOptions: how a file is packed."""

    def __init__(self, compression_type: Any = None, **others: Any) -> None:
        self.compression_type = compression_type


def record_data(
    filenames: Any,
    compression_type: Any = None,
    buffer_size: Any = None,
    num_parallel_reads: Any = None,
    name: Any = None,
) -> Dataset:
    """tf.data.TFRecordDataset: the records of files, as bytes."""

    def make() -> Iterator[Any]:
        several = filenames if isinstance(filenames, Dataset) else np.ravel(np.asarray(filenames)).tolist()
        for path in map(path_of, several):
            with open(path, "rb") as file:
                held = file.read()
            if compression_type:
                held = gzip.decompress(held) if compression_type == "GZIP" else zlib.decompress(held)
            for record in protos.records_of(held, path):
                yield of_bytes(record)

    return Dataset(make)


class FixedLenFeature:
    """tf.io.FixedLenFeature: values of a shape; default_value: of those that are not there."""

    def __init__(self, shape: Any, dtype: Any, default_value: Any = None) -> None:
        self.shape, self.dtype, self.default_value = tuple(int(d) for d in shape), str(dtype), default_value

    def of(self, name: str, values: list[Any] | None) -> Any:
        """The values as an array. Raises InputError."""
        if values is None:
            if self.default_value is None:
                raise InputError(describe(f"parse_example: feature {name!r}", "values", "none"))
            given = _array(np.ravel(self.default_value).tolist(), self.dtype)
            return given.reshape(self.shape) if given.size > 1 else np.full(self.shape, given[0], given.dtype)
        array = _array(values, self.dtype)
        if array.size != int(np.prod(self.shape)):
            got = f"{array.size} of them"
            raise InputError(describe(f"parse_example: feature {name!r}", f"values of {self.shape}", got))
        return array.reshape(self.shape)


class FixedLenSequenceFeature:
    """tf.io.FixedLenSequenceFeature: as many values of a shape as there are (allow_missing=True)."""

    def __init__(
        self, shape: Any, dtype: Any, allow_missing: bool = False, default_value: Any = None
    ) -> None:
        if not allow_missing or default_value is not None:
            raise UnsupportedError("tf.io.FixedLenSequenceFeature: allow_missing=False, and default_value")
        self.shape, self.dtype = tuple(int(d) for d in shape), str(dtype)

    def of(self, name: str, values: list[Any] | None) -> Any:
        """The values as an array."""
        return _array(values or [], self.dtype).reshape(-1, *self.shape)


def _array(values: list[Any], dtype: str) -> np.ndarray:
    if dtype != "string":
        return np.array(values, dtype)
    made = np.empty(len(values), object)
    made[:] = [x.encode() if isinstance(x, str) else x for x in values]
    return made


def parse_single_example(
    serialized: Any, features: Any, example_names: Any = None, name: Any = None
) -> dict[str, Any]:
    """The features of an Example by name, as arrays. Raises InputError."""
    known = protos.example_of(bytes_of("io.parse_single_example", serialized))
    found = {}
    for key, wanted in features.items():
        if not hasattr(wanted, "of"):
            raise UnsupportedError(
                f"tf.io.parse_single_example: {type(wanted).__name__}. Use FixedLenFeature, or "
                "FixedLenSequenceFeature with allow_missing=True"
            )
        kind, values = known.get(key, ("", []))
        fits = {"bytes": ("string",), "float": ("float32",), "int64": ("int64",), "": (wanted.dtype,)}[kind]
        if wanted.dtype not in fits:
            raise InputError(describe(f"parse_example: feature {key!r}", wanted.dtype, kind))
        found[key] = wanted.of(key, values if kind else None).view(EagerTensor)
    return found


def parse_example(
    serialized: Any, features: Any, example_names: Any = None, name: Any = None
) -> dict[str, Any]:
    """`parse_single_example` of each of several."""
    several = [parse_single_example(x, features) for x in np.asarray(serialized).ravel().tolist()]
    return {key: np.stack([np.asarray(one[key]) for one in several]).view(EagerTensor) for key in features}


class VarLenFeature:
    """tf.io.VarLenFeature, which gives sparse tensors, and so is refused where it is parsed."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = str(dtype)


NAMES: dict[str, Any] = {
    "train.BytesList": BytesList,
    "train.Example": Example,
    "train.Feature": Feature,
    "train.Features": Features,
    "train.FloatList": FloatList,
    "train.Int64List": Int64List,
    "io.FixedLenFeature": FixedLenFeature,
    "io.FixedLenSequenceFeature": FixedLenSequenceFeature,
    "io.TFRecordOptions": TFRecordOptions,
    "io.TFRecordWriter": TFRecordWriter,
    "io.VarLenFeature": VarLenFeature,
    "io.parse_example": parse_example,
    "io.parse_single_example": parse_single_example,
    "data.TFRecordDataset": record_data,
}

"""`tf.io`, and what else of tf reads and writes files: on values, by Python, numpy and Pillow.

Enters: paths and contents as texts, bytes or arrays of one of them. Leaves: arrays with the method `numpy`;
contents are arrays of bytes of rank 0. Images are decoded by Pillow (extra `image`); those of JPEG may differ
from TensorFlow's by a step or two of 255, as libraries round them otherwise.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import glob
import io
import os
import shutil
import wave
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor, as_tensors
from kcompile.keras.pipelines import sounds
from kcompile.keras.preprocessing.image.files import pillow
from kcompile.tensorflow.functions import of_values
from kcompile.tensorflow.images import convert_image_dtype
from kcompile.tensorflow.protos import tensor_bytes, tensor_of
from kcompile_runtime.errors import InputError, UnsupportedError, describe

DecodedWav = namedtuple("DecodedWav", ("audio", "sample_rate"))
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def path_of(filename: Any) -> str:
    """A path as text."""
    found = np.asarray(filename).item() if isinstance(filename, np.ndarray) else filename
    return os.fsdecode(found)


def bytes_of(function: str, contents: Any) -> bytes:
    of_values(function, "Do it in Dataset.map, before the model", contents)
    found = contents.item() if isinstance(contents, (np.ndarray, np.generic)) else contents
    if not isinstance(found, (str, bytes)):
        raise InputError(describe(f"tf.{function}: contents", "bytes of rank 0", type(found).__name__))
    return found.encode() if isinstance(found, str) else found


def of_bytes(contents: bytes) -> Any:
    """Bytes as a tensor of rank 0."""
    made = np.empty((), object)
    made[()] = contents
    return made.view(EagerTensor)


def read_file(filename: Any, name: Any = None) -> Any:
    """The contents of a file. Raises OSError."""
    with open(path_of(filename), "rb") as file:
        return of_bytes(file.read())


def write_file(filename: Any, contents: Any, name: Any = None) -> None:
    """Write a file, in folders that are made where there are none. Raises OSError."""
    path = path_of(filename)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(bytes_of("io.write_file", contents))


def matching_files(pattern: Any, name: Any = None) -> Any:
    """The paths that match one of the patterns, in order."""
    patterns = [path_of(one) for one in np.ravel(np.asarray(pattern)).tolist()]
    return np.array(sorted({path for one in patterns for path in glob.glob(one)}), dtype=object)


# ---------------------------------------------------------------- images


def decode_jpeg(
    contents: Any,
    channels: int = 0,
    ratio: int = 1,
    fancy_upscaling: bool = True,
    try_recover_truncated: bool = False,
    acceptable_fraction: float = 1,
    dct_method: str = "",
    name: Any = None,
) -> Any:
    """An image [rows, columns, channels] of bytes; ratio: one of so many pixels. The arguments behind say how
    TensorFlow's decoder works."""
    if ratio != 1:
        raise UnsupportedError("tensorflow.io.decode_jpeg: ratio. Use tf.image.resize")
    return _decoded("decode_jpeg", contents, channels, "uint8")


def decode_png(contents: Any, channels: int = 0, dtype: Any = "uint8", name: Any = None) -> Any:
    """An image [rows, columns, channels]."""
    return _decoded("decode_png", contents, channels, dtype)


def decode_bmp(contents: Any, channels: int = 0, name: Any = None) -> Any:
    """An image [rows, columns, channels] of bytes."""
    return _decoded("decode_bmp", contents, channels, "uint8")


def decode_image(
    contents: Any,
    channels: Any = None,
    dtype: Any = "uint8",
    name: Any = None,
    expand_animations: bool = True,
) -> Any:
    """An image of any of these kinds; expand_animations: of a GIF all frames, and not the first alone."""
    held = bytes_of("io.decode_image", contents)
    if held.startswith(b"GIF"):
        frames = decode_gif(contents)
        found = frames if expand_animations else frames[0]
        return found if str(dtype) == "uint8" else np.asarray(convert_image_dtype(found, str(dtype)))
    return _decoded("decode_image", contents, channels or 0, dtype)


def _decoded(function: str, contents: Any, channels: int, dtype: Any) -> Any:
    image = pillow().open(io.BytesIO(bytes_of(f"io.{function}", contents)))
    return _pixels(image, int(channels), np.dtype(str(dtype)), function)


def _pixels(image: Any, channels: int, dtype: Any, function: str) -> Any:
    if channels not in (0, 1, 3, 4):
        raise InputError(describe(f"tf.io.{function}: channels", "0, 1, 3 or 4", str(channels)))
    if image.mode in ("P", "CMYK", "YCbCr", "1", "LA"):
        clear = "transparency" in image.info or image.mode == "LA"
        image = image.convert("L" if image.mode == "1" else "RGBA" if clear else "RGB")
    if channels and image.mode != _MODES[channels]:
        image = image.convert(_MODES[channels])
    found = np.asarray(image)
    found = found[..., None] if found.ndim == 2 else found
    if function == "decode_image" and dtype.kind == "f":
        return np.asarray(convert_image_dtype(found, dtype.name))
    return found.astype(dtype) * (257 if dtype == np.uint16 and found.dtype == np.uint8 else 1)


def decode_gif(contents: Any, name: Any = None) -> Any:
    """The images [frames, rows, columns, 3] of a GIF."""
    image = pillow().open(io.BytesIO(bytes_of("io.decode_gif", contents)))
    frames = []
    for k in range(getattr(image, "n_frames", 1)):
        image.seek(k)
        frames.append(np.asarray(image.convert("RGB")))
    return np.stack(frames)


def encode_jpeg(
    image: Any,
    format: str = "",
    quality: int = 95,
    progressive: bool = False,
    optimize_size: bool = False,
    chroma_downsampling: bool = True,
    density_unit: str = "in",
    x_density: int = 300,
    y_density: int = 300,
    xmp_metadata: str = "",
    name: Any = None,
) -> Any:
    """The bytes of an image [rows, columns, channels]; densities are written beside it."""
    if format or xmp_metadata or density_unit != "in":
        raise UnsupportedError("tensorflow.io.encode_jpeg: format, xmp_metadata and density_unit")
    return _encoded(
        "jpeg",
        image,
        quality=int(quality),
        progressive=bool(progressive),
        optimize=bool(optimize_size),
        subsampling=2 if chroma_downsampling else 0,
        dpi=(int(x_density), int(y_density)),
    )


def encode_png(image: Any, compression: int = -1, name: Any = None) -> Any:
    """The bytes of an image [rows, columns, channels]."""
    return _encoded("png", image, **({} if compression < 0 else {"compress_level": int(compression)}))


def _encoded(kind: str, image: Any, **options: Any) -> Any:
    of_values(f"io.encode_{kind}", "Do it on what predict gives", image)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3:
        got = f"{array.dtype}{list(array.shape)}"
        raise InputError(describe(f"tf.io.encode_{kind}", "uint8 [rows, columns, channels]", got))
    held = io.BytesIO()
    pillow().fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(held, kind, **options)
    return of_bytes(held.getvalue())


# ---------------------------------------------------------------- numbers


def decode_raw(
    input_bytes: Any, out_type: Any, little_endian: bool = True, fixed_length: Any = None, name: Any = None
) -> Any:
    """The numbers that bytes are."""
    order = np.dtype(str(out_type)).newbyteorder("<" if little_endian else ">")
    array = np.asarray(input_bytes, dtype=object)
    rows = [bytes_of("io.decode_raw", x) for x in array.ravel().tolist()]
    if fixed_length is not None:
        rows = [row[: int(fixed_length)].ljust(int(fixed_length), b"\0") for row in rows]
    made = np.stack([np.frombuffer(row, order) for row in rows]).astype(str(out_type))
    return made.reshape(*array.shape, -1)


def fields(lines: Any, delimiter: str, quoted: bool) -> list[list[str]]:
    """The fields of each line of a table."""
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return [next(csv.reader([line], delimiter=delimiter, quoting=quoting)) for line in lines]


def decode_csv(
    records: Any,
    record_defaults: Any,
    field_delim: str = ",",
    use_quote_delim: bool = True,
    na_value: str = "",
    select_cols: Any = None,
    name: Any = None,
) -> Any:
    """The columns of lines, in the dtypes of their defaults; an empty default: that there must be a value."""
    lines = np.asarray(records)
    texts = [x.decode() if isinstance(x, bytes) else str(x) for x in lines.ravel().tolist()]
    rows = fields(texts, field_delim, use_quote_delim)
    places = range(len(record_defaults)) if select_cols is None else [int(k) for k in select_cols]
    columns = []
    for place, default in zip(places, record_defaults):
        kind, value = _default(default)
        words = [row[place] for row in rows]
        if value is None and any(word in ("", na_value) for word in words):
            raise InputError(describe("tf.io.decode_csv", f"a value in column {place}", "none"))
        found = [value if word in ("", na_value) else _number(kind, word) for word in words]
        columns.append(np.array(found, kind).reshape(lines.shape))
    return columns


def _default(default: Any) -> tuple[Any, Any]:
    """The dtype of a column, and what stands for no value (None: an error)."""
    if isinstance(default, str) and type(default) is not str:  # a dtype: there must be a value
        return object if str(default) == "string" else np.dtype(str(default)), None
    array = np.asarray(default)
    if array.dtype.kind in "USO":
        return object, None if array.size == 0 else str(array.ravel()[0])
    kind = (
        array.dtype
        if hasattr(default, "dtype")
        else np.dtype(np.int32 if array.dtype.kind == "i" else np.float32)
    )
    return kind, None if array.size == 0 else array.ravel()[0]


def _number(kind: Any, word: str) -> Any:
    try:
        return word if kind is object else int(word) if np.dtype(kind).kind in "iu" else float(word)
    except ValueError as error:
        raise InputError(describe("tf.io.decode_csv", f"numbers ({kind})", repr(word))) from error


def serialize_tensor(tensor: Any, name: Any = None) -> Any:
    """A tensor as bytes, which TensorFlow reads."""
    of_values("io.serialize_tensor", "Do it on what predict gives", tensor)
    return of_bytes(tensor_bytes(np.asarray(tensor)))


def parse_tensor(serialized: Any, out_type: Any, name: Any = None) -> Any:
    """The tensor of what `serialize_tensor` gave. Raises InputError."""
    found = tensor_of(bytes_of("io.parse_tensor", serialized))
    kind = "string" if found.dtype == object else found.dtype.name
    if kind != str(out_type):
        raise InputError(describe("tf.io.parse_tensor: out_type", kind, str(out_type)))
    return found


def decode_wav(contents: Any, desired_channels: int = -1, desired_samples: int = -1, name: Any = None) -> Any:
    """Sounds [samples, channels] of 16 bits as numbers from -1 to 1, and how many there are in a second."""
    found, rate = sounds.decoded(bytes_of("audio.decode_wav", contents))
    channels = found.shape[1] if desired_channels < 1 else int(desired_channels)
    if channels != found.shape[1]:
        found = found[:, :channels] if channels < found.shape[1] else np.repeat(found[:, :1], channels, 1)
    if desired_samples >= 0:
        found = sounds.of_length(found, int(desired_samples))
    return DecodedWav(found, np.int32(rate))


def encode_wav(audio: Any, sample_rate: Any, name: Any = None) -> Any:
    """Sounds [samples, channels] from -1 to 1 as bytes."""
    array, held = np.asarray(audio), io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(array.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(np.asarray(sample_rate)))
        file.writeframes(np.clip(np.rint(array * 32767), -32768, 32767).astype("<i2").tobytes())
    return of_bytes(held.getvalue())


# ---------------------------------------------------------------- folders


class GFile:
    """A file as TensorFlow opens it. Raises OSError."""

    def __init__(self, name: Any, mode: str = "r") -> None:
        self.name, self.mode = path_of(name), mode
        self._file: Any = open(self.name, mode, encoding=None if "b" in mode else "utf-8")  # noqa: SIM115

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def size(self) -> int:
        """Its bytes."""
        return os.path.getsize(self.name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __enter__(self) -> GFile:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._file.close()


def _copy(src: Any, dst: Any, overwrite: bool = False) -> None:
    source, target = path_of(src), path_of(dst)
    if os.path.exists(target) and not overwrite:
        raise FileExistsError(f"{target} is there. Give overwrite=True")
    shutil.copyfile(source, target)


def _rename(src: Any, dst: Any, overwrite: bool = False) -> None:
    source, target = path_of(src), path_of(dst)
    if os.path.exists(target) and not overwrite:
        raise FileExistsError(f"{target} is there. Give overwrite=True")
    os.replace(source, target)


def _found(pattern: Any) -> list[str]:
    patterns = pattern if isinstance(pattern, (list, tuple)) else [pattern]
    return [path for one in patterns for path in sorted(glob.glob(path_of(one)))]


def _walk(top: Any, topdown: bool = True, onerror: Any = None) -> Iterator[Any]:
    return os.walk(path_of(top), topdown, onerror)


def _made(path: Any) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path_of(path))


_GFILE: dict[str, Any] = {
    "GFile": GFile,
    "copy": _copy,
    "exists": lambda path: os.path.exists(path_of(path)),
    "glob": _found,
    "isdir": lambda path: os.path.isdir(path_of(path)),
    "join": lambda path, *paths: os.path.join(path_of(path), *map(path_of, paths)),
    "listdir": lambda path: sorted(os.listdir(path_of(path))),
    "makedirs": lambda path: os.makedirs(path_of(path), exist_ok=True),
    "mkdir": _made,
    "remove": lambda path: os.remove(path_of(path)),
    "rename": _rename,
    "rmtree": lambda path: shutil.rmtree(path_of(path)),
    "stat": lambda path: os.stat(path_of(path)),
    "walk": _walk,
}
_IMAGES: dict[str, Any] = {
    "decode_bmp": decode_bmp,
    "decode_gif": decode_gif,
    "decode_image": decode_image,
    "decode_jpeg": decode_jpeg,
    "decode_png": decode_png,
    "encode_jpeg": encode_jpeg,
    "encode_png": encode_png,
}


def _tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return as_tensors(function(*args, **kwargs))

    return call


def decode_and_crop_jpeg(contents: Any, crop_window: Any, channels: int = 0) -> Any:
    """The part of an image from a row and a column on, of so many rows and columns."""
    top, left, rows, columns = (int(d) for d in np.asarray(crop_window))
    return decode_jpeg(contents, channels)[top : top + rows, left : left + columns]


NAMES: dict[str, Any] = {
    **{f"io.gfile.{name}": value for name, value in _GFILE.items()},
    **{f"io.{name}": _tensors(value) for name, value in _IMAGES.items()},
    **{f"image.{name}": _tensors(value) for name, value in _IMAGES.items()},
    "audio.decode_wav": _tensors(decode_wav),
    "audio.encode_wav": encode_wav,
    "io.decode_and_crop_jpeg": _tensors(decode_and_crop_jpeg),
    "io.decode_csv": _tensors(decode_csv),
    "io.decode_raw": _tensors(decode_raw),
    "io.is_jpeg": lambda contents, name=None: bytes_of("io.is_jpeg", contents).startswith(b"\xff\xd8\xff"),
    "io.matching_files": _tensors(matching_files),
    "io.parse_tensor": _tensors(parse_tensor),
    "io.read_file": read_file,
    "io.serialize_tensor": serialize_tensor,
    "io.write_file": write_file,
}

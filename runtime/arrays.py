"""Arrays as native code wants them: C order, aligned, of the machine's byte order and right dtype.

Enters: whatever a user passes. Leaves: a conforming array, the user's own wherever it conforms, or
an `InputError`/`InputTypeError` that names the input. Also here: aligned memory, and the quickest
way to an array's data pointer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from kcompile_runtime.errors import InputError, InputTypeError, RowError, describe
from kcompile_runtime.layout import ALIGNMENT
from kcompile_runtime.spec import TensorSpec

Array = NDArray[Any]


def aligned(shape: tuple[int, ...] | int, dtype: Any = np.uint8) -> Array:
    """An array of undefined contents whose data start at a multiple of 64 bytes."""
    kind = np.dtype(dtype)
    dims = (shape,) if isinstance(shape, int) else shape
    size = kind.itemsize
    for d in dims:
        size *= d
    memory: Array = np.empty(size + ALIGNMENT, np.uint8)
    start = -address(memory) % ALIGNMENT
    result: Array = memory[start : start + size].view(kind).reshape(dims)
    return result


def aligned_copy(array: Array) -> Array:
    """A C-ordered copy of an array in aligned memory."""
    copy = aligned(array.shape, array.dtype.newbyteorder("="))
    copy[...] = array
    return copy


def in_place(array: Array) -> Array:
    """The array itself when native code can use it (contiguous, aligned, writable), else a copy."""
    usable = (
        type(array) is np.ndarray
        and array.flags.carray
        and address(array) % ALIGNMENT == 0
        and array.dtype.isnative
    )
    return array if usable else aligned_copy(np.asarray(array))


def _data_offset() -> int:
    """Where in numpy's array object its data pointer lies, or -1 if this is not the layout we know.

    numpy's C interface has the pointer right after the object header (`PyArrayObject_fields.data`).
    An array object is thus itself an array of one pointer, and native code that takes `void **` can
    be given the object: that is several times cheaper than asking for `array.ctypes.data`.
    """
    offset = object.__basicsize__
    for probe in (np.zeros(3, np.float32), np.zeros((2, 5))[1:]):
        if type(probe).__basicsize__ < offset + ctypes.sizeof(ctypes.c_size_t):
            return -1
        found = ctypes.c_size_t.from_address(id(probe) + offset).value
        if found != probe.__array_interface__["data"][0]:
            return -1
    return offset


DATA_OFFSET = _data_offset()


def address(array: Array) -> int:
    """The address of an array's first element."""
    if DATA_OFFSET >= 0:
        return ctypes.c_size_t.from_address(id(array) + DATA_OFFSET).value
    return int(array.__array_interface__["data"][0])


def check_rows(name: str, numbers: Array, rows: int) -> None:
    """Raises RowError unless all numbers [samples, ...] are those of rows, counted from 0."""
    outside = ~((numbers > -1) & (numbers < rows))
    if outside.any():
        sample, place = divmod(int(outside.argmax()), outside[0].size)
        raise RowError(name, rows, str(numbers[sample].flat[place]), place, sample)


def conforms(array: object, spec: TensorSpec, n: int) -> TypeGuard[Array]:
    """Whether native code can read the value in place, for a batch of n."""
    return (
        type(array) is np.ndarray
        and array.dtype == spec.numpy_dtype
        and array.shape == spec.bind(n)
        and array.flags.c_contiguous
        and array.flags.aligned
    )


_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__", "__dlpack__")
_SCALARS = (bool, int, float, complex, np.generic, str, bytes, type(None))


def is_array(value: Any) -> bool:
    """Whether a value, which is no list, is an array or converts itself to one."""
    if (
        isinstance(value, (np.ndarray, np.generic, bool, int, float, complex))
        or is_sparse(value)
        or any(hasattr(type(value), name) for name in _PROTOCOLS)
    ):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse matrix, of scipy or what looks like it."""
    return hasattr(type(value), "tocsr") and hasattr(type(value), "toarray")


def _check_convertible(value: Any, name: str) -> None:
    """Refuse what numpy would ask for items without end. Raises InputTypeError."""
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        if not all(issubclass(kind, _SCALARS) for kind in kinds):
            for item in value:
                if not isinstance(item, _SCALARS):
                    _check_convertible(item, name)
        return
    if is_sparse(value):
        raise InputTypeError(
            describe(
                name, "a dense array", f"a sparse {type(value).__name__}", "Call .toarray() on it first."
            )
        )
    if not is_array(value) and not isinstance(value, (range, *_SCALARS)):
        raise InputTypeError(
            describe(
                name,
                "an array, a list or tuple of numbers, or what converts itself to an array",
                f"{type(value).__module__}.{type(value).__qualname__}",
            )
        )


def as_array(value: Any, name: str) -> Array:
    """A numpy array of numbers from an array, a list, a scalar, or an object that converts itself (pandas,
    tensors of other libraries, buffers).

    Raises InputTypeError for masked, object, text, date, complex and sparse values and for objects that
    are no arrays, and InputError for nested lists of unequal lengths.
    """
    if type(value) is np.ndarray and value.dtype.kind in "buif":
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise InputTypeError(
            describe(name, "an array without a mask", "a masked array", "Call .filled(value) on it first.")
        )
    _check_convertible(value, name)
    try:
        only_dlpack = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
        array = np.from_dlpack(value) if only_dlpack else np.asarray(value)
    except ValueError as error:
        raise InputError(
            describe(name, "an array of one shape", f"ragged values ({error})", "Pad the rows to one length.")
        ) from error
    except Exception as error:  # what another library raises while it converts its own object
        raise InputTypeError(
            describe(
                name, "what converts itself to an array", f"{type(value).__name__}, which does not: {error}"
            )
        ) from error
    if array.dtype.name == "bfloat16":  # of a library's own, which numpy counts as no number
        return array.astype(np.float32)
    if array.dtype.kind not in "buif":
        raise InputTypeError(
            describe(name, "numbers (float, int or bool)", f"{type(value).__name__} of dtype {array.dtype}")
        )
    return array


def as_shape(value: Any, spec: TensorSpec) -> tuple[Array, int]:
    """The value as an array of the spec's rank and sizes, of any numeric dtype, and its batch (-1
    when the spec has none).

    As Keras does, a last axis of size 1 is added or dropped where only that is missing. Raises
    InputError when sizes differ.
    """
    array = as_array(value, spec.name)
    n = spec.samples(array.shape)
    if n is None and array.ndim == len(spec.shape) - 1 and spec.shape[-1] == 1:
        array = array[..., None]
        n = spec.samples(array.shape)
    elif n is None and array.ndim == len(spec.shape) + 1 and array.shape[-1] == 1:
        array = array[..., 0]
        n = spec.samples(array.shape)
    if n is None:
        raise InputError(describe(spec.name, str(spec), f"shape {array.shape}", _remedy(array, spec)))
    return array, n


def _remedy(array: Array, spec: TensorSpec) -> str:
    if array.ndim == len(spec.shape) - 1 and spec.samples((1, *array.shape)) == 1:
        return "For one sample, pass x[None]."
    if None in spec.shape:
        return "The first axis is the batch; None is any size."
    return "The first axis is the batch; all other sizes are fixed when the model is built."


def as_input(value: Any, spec: TensorSpec, n: int) -> Array:
    """A conforming array for a batch of n; the value itself when it conforms.

    float64, ints and bools become float32 where a float is wanted, as in Keras. Where an integer is
    wanted, floats must hold whole numbers, and values must fit. Raises InputError, InputTypeError.
    """
    if conforms(value, spec, n):
        return value
    array, samples = as_shape(value, spec)
    if samples not in (-1, n):
        raise InputError(
            describe(
                spec.name,
                f"{n} samples",
                f"{samples} (shape {array.shape})",
                "All inputs of a call have the same number of samples.",
            )
        )
    return convert(array, spec)


def convert(array: Array, spec: TensorSpec) -> Array:
    """An array of numbers in the spec's dtype, C order and native byte order."""
    want = spec.numpy_dtype
    have = array.dtype
    if have != want and want.kind in "ui":
        _check_whole(array, spec)
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.require(array, want, ["C", "A"])
    return result if type(result) is np.ndarray else result.view(np.ndarray)


def _check_whole(array: Array, spec: TensorSpec) -> None:
    """Refuse a conversion to integers that would change a value."""
    if array.size == 0 or np.can_cast(array.dtype, spec.numpy_dtype):
        return
    low, high = array.min(), array.max()
    info = np.iinfo(spec.dtype)
    if not (info.min <= low and high <= info.max):  # also catches NaN
        raise InputError(
            describe(
                spec.name, f"values of {spec.dtype}, {info.min} to {info.max}", f"values from {low} to {high}"
            )
        )
    if array.dtype.kind == "f" and not bool((np.trunc(array) == array).all()):
        raise InputError(
            describe(
                spec.name,
                f"whole numbers ({spec.dtype})",
                f"{array.dtype} with fractions",
                "Round them, or give the Input a float dtype.",
            )
        )


def check_output(array: Any, spec: TensorSpec, n: int) -> None:
    """Raise InputError unless native code can write the array in place."""
    if not conforms(array, spec, n) or not array.flags.writeable:
        shape = getattr(array, "shape", None)
        raise InputError(
            describe(
                spec.name,
                f"a writable C-contiguous {spec.dtype} array of shape {spec.bind(n)}",
                f"{type(array).__name__} of dtype {getattr(array, 'dtype', None)}, shape {shape}",
            )
        )


def gives_batches(data: Any) -> bool:
    """Whether data are an object of batches, and not arrays."""
    if (
        data is None
        or is_array(data)
        or hasattr(data, "shape")
        or isinstance(data, (list, tuple, Mapping, str, bytes, type))
    ):
        return False
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    return indexed or hasattr(data, "__iter__") or hasattr(data, "__next__")

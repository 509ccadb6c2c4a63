"""What becomes an array: arrays, buffers, lists, scalars, what converts itself; all else is told at once."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, InputTypeError, KcompileError

A = np.arange(6, dtype="float32").reshape(2, 3)


class Converts:
    def __init__(self, found: Any) -> None:
        self.found = found

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class OverDlpack:
    def __dlpack__(self, **options: Any) -> Any:
        return A.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return A.__dlpack_device__()


class Batches:
    """Gives items for ever."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, i: int) -> Any:
        return A


@pytest.mark.parametrize(
    "value",
    [
        A,
        A.astype("float64"),
        A.tolist(),
        tuple(map(tuple, A)),
        list(A),
        [list(map(np.float32, row)) for row in A],
        memoryview(A),
        Converts(A),
        OverDlpack(),
        [Converts(A[0]), A[1]],
        A.astype("uint16"),
        A.astype(">i2"),
    ],
)
def test_what_is_an_array(value: Any) -> None:
    found = as_array(value, "x")
    np.testing.assert_array_equal(found, A)


def test_scalars_and_one_axis() -> None:
    assert as_array(3, "x") == 3 and as_array(np.float32(2), "x") == 2 and as_array(True, "x") == 1
    for value in (range(3), array.array("i", [0, 1, 2]), bytearray([0, 1, 2]), (0, 1, 2)):
        np.testing.assert_array_equal(as_array(value, "x"), [0, 1, 2])


@pytest.mark.parametrize(
    "value",
    [
        Batches(),
        [Batches()],
        [1, Batches()],
        [[1], [Batches()]],
        iter([1]),
        (i for i in [1]),
        {1},
        {"a": 1},
        object(),
        [object()],
        "abc",
        b"abc",
        ["a"],
        None,
        [None],
        1j,
        [1j],
        np.ma.array([1]),
        int,
        slice(2),
        np.array(["2020"], "datetime64"),
        Converts(OSError("no")),
        Converts(RuntimeError("on a device")),
        Converts(np.array("a")),
    ],
)
def test_what_is_none(value: Any) -> None:
    with pytest.raises(InputTypeError, match=r"^x: "):
        as_array(value, "x")


def test_ragged_lists_are_told_as_such() -> None:
    with pytest.raises(InputError, match="ragged"):
        as_array([[1.0], [1.0, 2.0]], "x")


def test_frames_of_pandas_and_sparse_matrices() -> None:
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(as_array(pandas.DataFrame(A), "x"), A)
    np.testing.assert_array_equal(as_array(pandas.Series([1, 2]), "x"), [1, 2])
    with pytest.raises(KcompileError):
        as_array(pandas.DataFrame({"a": ["b"]}), "x")
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(InputTypeError, match="toarray"):
        as_array(sparse.csr_matrix(A), "x")

"""Programs on numpy arrays: hand-written loop programs, through the emitter, against numpy."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
from native import AFFINE, affine, compiled, spec

from kcompile.codegen.program import Entry
from kcompile_runtime import EntrySpec, InputError, InputTypeError, Program, TensorSpec, batching

RNG = np.random.default_rng(1)
WEIGHTS = RNG.normal(size=(5, 3)).astype(np.float32)
BIAS = RNG.normal(size=3).astype(np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    return (2 * x @ WEIGHTS + BIAS).astype(np.float32)


@pytest.fixture(params=[1, 2, 3])
def program(request: pytest.FixtureRequest) -> Program:
    return compiled(AFFINE, affine(), [WEIGHTS.copy(), BIAS.copy()], request.param)


def close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def in_batches(program: Program, x: object, batch_size: int) -> np.ndarray:
    entry = program.entries["predict"]
    run = partial(program.run, "predict")
    return batching.predict(run, entry.inputs, entry.outputs, [x], batch_size)[0]


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_one_sample_array_and_a_run_agree(program: Program, n: int) -> None:
    x = RNG.normal(size=(n, 5)).astype(np.float32)
    first = program.single("predict")(x)
    again = program.single("predict")(x)
    close(first, expected(x))
    assert first is not again and np.array_equal(first, again)
    close(program.run("predict", n, [x])[0], expected(x))


def test_batches_may_grow_and_shrink(program: Program) -> None:
    for n in (3, 50, 1, 50, 4000, 2):
        x = RNG.normal(size=(n, 5)).astype(np.float32)
        close(program.single("predict")(x), expected(x))


def test_arrays_of_every_make(program: Program) -> None:
    x = RNG.normal(size=(6, 5)).astype(np.float32)
    read_only = x.copy()
    read_only.flags.writeable = False
    raw = np.zeros(x.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(np.float32).reshape(6, 5)
    misaligned[...] = x
    wide = np.zeros((6, 10), np.float32)
    wide[:, ::2] = x
    made = [
        read_only,
        misaligned,
        np.asfortranarray(x),
        x.astype(">f4"),
        wide[:, ::2],
        x.astype(np.float64),
        x.tolist(),
        np.ascontiguousarray(x[::-1])[::-1],
        memoryview(x),
    ]
    for value in made:
        close(program.single("predict")(value), expected(x))
        close(program.run("predict", 6, [value])[0], expected(x))
        close(in_batches(program, value, 4), expected(x))


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool", "float16"])
def test_numbers_become_float32(program: Program, dtype: str) -> None:
    x = RNG.integers(0, 2, size=(4, 5)).astype(dtype)
    close(program.single("predict")(x), expected(x.astype(np.float32)))


@pytest.mark.parametrize("batch_size", [1, 3, 32, 100, 1000])
def test_predict_in_batches(program: Program, batch_size: int) -> None:
    x = RNG.normal(size=(100, 5)).astype(np.float32)
    close(in_batches(program, x, batch_size), expected(x))


def test_predict_of_nothing(program: Program) -> None:
    assert in_batches(program, np.zeros((0, 5)), 32).shape == (0, 3)


def test_outputs_are_written_in_place(program: Program) -> None:
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    whole = np.zeros((10, 3), np.float32)
    result = program.run("predict", 4, [x], [whole[3:7]])[0]
    assert np.shares_memory(result, whole)
    close(whole[3:7], expected(x))
    assert not whole[:3].any() and not whole[7:].any()


def test_variables_and_the_prepared_block(program: Program) -> None:
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    program.single("predict")(x)
    program.variables[1][...] = 0
    program.changed()
    close(program.single("predict")(x), expected(x) - BIAS)
    program.variables[0][...] = 0
    program.changed()
    assert not program.single("predict")(x).any()
    program.variables[0][...] = WEIGHTS
    program.changed()
    program.run("train", 1, [np.ones((1, 5), np.float32)])  # adds 1 to every bias
    close(program.variables[1], np.ones(3, np.float32))
    close(program.single("predict")(x), (2 * x @ WEIGHTS + 1).astype(np.float32))
    assert len(program.prepared_block()) == 64


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((4, 6)), "x: expected float32 of shape (n, 5). Received: shape (4, 6)."),
        (np.zeros(5), "For one sample, pass x[None]."),
        ([[1.0, 2.0], [3.0]], "ragged"),
    ],
)
def test_wrong_shapes(program: Program, value: object, text: str) -> None:
    with pytest.raises(InputError) as error:
        program.single("predict")(value)
    assert text in str(error.value)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize(
    "value",
    [
        np.array([["a"] * 5]),
        np.zeros((1, 5), object),
        np.zeros((1, 5), complex),
        np.ma.zeros((1, 5)),
        None,
        np.zeros((1, 5), "datetime64[s]"),
    ],
)
def test_wrong_kinds(program: Program, value: object) -> None:
    with pytest.raises(InputTypeError):
        program.single("predict")(value)


def test_wrong_outputs_and_counts(program: Program) -> None:
    x = np.zeros((4, 5), np.float32)
    for out in (np.zeros((4, 4), np.float32), np.zeros((4, 3)), np.zeros((3, 4), np.float32).T):
        with pytest.raises(InputError, match="writable C-contiguous"):
            program.run("predict", 4, [x], [out])
    for arguments in ([x, x], []):
        with pytest.raises(InputError, match="1 inputs"):
            program.run("predict", 4, arguments)
    with pytest.raises(InputError, match="batch_size"):
        in_batches(program, x, 0)
    with pytest.raises(InputError, match="3 samples"):
        program.run("predict", 3, [x])


def test_python_threads_at_once(program: Program) -> None:
    inputs = [RNG.normal(size=(n, 5)).astype(np.float32) for n in (1, 17, 64)]
    failures = []

    def work(x: np.ndarray) -> None:
        want = expected(x)
        for _ in range(300):
            if not np.allclose(program.single("predict")(x), want, 1e-5, 1e-5):
                failures.append(len(x))

    workers = [threading.Thread(target=work, args=(x,)) for x in inputs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


def test_integers_are_kept_whole() -> None:
    from kcompile_runtime.arrays import as_input

    ids = spec("ids", ("n", 2), "int32")
    assert as_input([[1, 2]], ids, 1).dtype == np.int32
    assert as_input(np.array([[1.0, 2.0]]), ids, 1).tolist() == [[1, 2]]
    for bad in ([[1, 2**40]], [[0.5, 1.0]], [[np.nan, 1.0]]):
        with pytest.raises(InputError, match="ids"):
            as_input(np.array(bad), ids, 1)


def test_last_axis_of_one_is_optional() -> None:
    from kcompile_runtime.arrays import as_input

    assert as_input(np.zeros(4), spec("y", ("n", 1)), 4).shape == (4, 1)
    assert as_input(np.zeros((4, 1)), spec("y", ("n",)), 4).shape == (4,)


def test_specs() -> None:
    shape = TensorSpec("x", ("3n", 2), "float32")
    assert shape.bind(4) == (12, 2) and shape.samples((12, 2)) == 4 and shape.nbytes(4) == 96
    assert shape.samples((13, 2)) is None and shape.samples((12, 3)) is None
    for dims, dtype in (((-1,), "float32"), (("m",), "bool"), ((1,), "float8"), (("0n",), "bool")):
        with pytest.raises(ValueError, match="Received"):
            TensorSpec("x", dims, dtype)


def test_entries_are_what_the_emitter_needs() -> None:
    """`compiled` fills the runtime's EntrySpec from the code generator's Entry."""
    names = [entry.name for entry in affine().entries]
    assert all(isinstance(e, Entry) for e in affine().entries)
    assert names == [e.name for e in AFFINE] and isinstance(AFFINE[0], EntrySpec)

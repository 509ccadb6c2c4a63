"""Data in files and sparse data, against the same data as arrays; only batches of them are read."""

from __future__ import annotations

import threading

import h5py
import numpy as np
import pytest

from kcompile import keras3
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.callbacks import Callback
from kcompile.keras.layers import Dense, Input
from kcompile.keras.models import Model, Sequential
from kcompile.keras.utils import HDF5Matrix
from kcompile_runtime.errors import KcompileError

rng = np.random.default_rng(2)
X = rng.normal(size=(30, 4)).astype("float32") * (rng.random((30, 4)) < 0.5)
X = X.astype("float32")
Y = rng.normal(size=(30, 2)).astype("float32")
W = np.linspace(0.5, 2, 30).astype("float32")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    name = str(tmp_path_factory.mktemp("data") / "data.h5")
    with h5py.File(name, "w") as file:
        file.update({"x": X, "y": Y, "w": W, "bytes": (X > 0).astype("uint8")})
    return name


class Watched(HDF5Matrix):
    """Tells how many rows were read at once, at most."""

    most = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        self.most = max(self.most, len(found))
        return found


def made(built=True):
    np.random.seed(0)
    model = Sequential([Dense(2, **({"input_dim": 4} if built else {}))])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def sparse(kind):
    return getattr(pytest.importorskip("scipy.sparse"), kind)(X)


def on_disk(tmp_path):
    found = np.memmap(tmp_path / "x.bin", "float32", "w+", shape=X.shape)
    found[:] = X
    return found


KINDS = {
    "HDF5Matrix": lambda path, tmp: HDF5Matrix(path, "x"),
    "h5py": lambda path, tmp: h5py.File(path, "r")["x"],
    "csr": lambda path, tmp: sparse("csr_matrix"),
    "coo": lambda path, tmp: sparse("coo_matrix"),
    "csc array": lambda path, tmp: sparse("csc_array"),
    "memmap": lambda path, tmp: on_disk(tmp),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_training_is_that_of_arrays(path, tmp_path, kind, shuffle):
    def trained(x, y, w):
        model = made()
        np.random.seed(7)
        options = {"batch_size": 8, "epochs": 2, "verbose": 0, "validation_split": 0.2}
        history = model.fit(x, y, sample_weight=w, shuffle=shuffle, **options)
        return history.history, model.get_weights()

    expected = trained(X, Y, W)
    found = trained(KINDS[kind](path, tmp_path), HDF5Matrix(path, "y"), HDF5Matrix(path, "w"))
    assert found[0] == expected[0]
    for a, b in zip(found[1], expected[1]):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_prediction_and_single_batches_are_those_of_arrays(path, tmp_path, kind):
    x, y, model = KINDS[kind](path, tmp_path), HDF5Matrix(path, "y"), made()
    assert model.evaluate(x, y, verbose=0) == model.evaluate(X, Y, verbose=0)
    np.testing.assert_array_equal(model.predict(x, batch_size=7), model.predict(X, batch_size=7))
    np.testing.assert_array_equal(model.predict_on_batch(x), model.predict_on_batch(X))
    assert model.test_on_batch(x, y) == model.test_on_batch(X, Y)
    assert made(False).train_on_batch(x, y) == made().train_on_batch(X, Y)


def test_no_more_than_a_batch_is_read(path):
    x, y = Watched(path, "x"), Watched(path, "y")
    model = made(False)
    for shuffle in (True, "batch"):
        model.fit(x, y, batch_size=4, verbose=0, shuffle=shuffle, validation_data=(x, y))
    model.evaluate(x, y, batch_size=4, verbose=0)
    model.predict(x, batch_size=4)
    assert x.most == y.most == 4


def test_a_thread_reads_ahead_in_order_and_ends_whatever_happens(path):
    read = []

    class Told(HDF5Matrix):
        def __getitem__(self, key):
            read.append((threading.current_thread() is threading.main_thread(), key))
            if read[-1] == (False, slice(20, 24)):
                raise OSError("the disk is gone")
            return super().__getitem__(key)

    x, threads = Told(path, "x"), threading.active_count()
    with pytest.raises(OSError, match="the disk is gone"):
        made().fit(x, Y, batch_size=4, verbose=0, shuffle=False)
    order = [key for main, key in read if not main]
    assert order[:6] == [slice(k, k + 4) for k in range(0, 24, 4)] and len(order) <= 8
    assert threading.active_count() == threads
    read.clear()
    with pytest.raises(OSError, match="the disk is gone"):
        made().predict(x, batch_size=4)
    assert threading.active_count() == threads
    read.clear()

    class Stops(Callback):
        def on_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    made().fit(x, Y, batch_size=4, epochs=2, verbose=0, shuffle=False, callbacks=[Stops()])
    assert len([key for main, key in read if not main]) <= 4 and threading.active_count() == threads
    read.clear()
    made().evaluate(HDF5Matrix(path, "x"), Told(path, "y"), batch_size=10, verbose=0, workers=0)
    assert read and all(main for main, _ in read)


@pytest.mark.parametrize("step", ["train_step", "test_step"])
def test_models_with_steps_of_their_own_read_batches_too(path, step):
    def results(x, y, w):
        np.random.seed(3)
        kind = type(
            "Own", (keras3.Model,), {step: lambda self, data: getattr(keras3.Model, step)(self, data)}
        )
        inputs = keras3.Input((4,))
        model = kind(inputs, keras3.layers.Dense(2)(inputs))
        model.use_engine(InterpreterEngine(model))
        model.compile("sgd", "mse")
        options = {"batch_size": 8, "verbose": 0, "validation_split": 0.2, "shuffle": "batch"}
        history = model.fit(x, y, sample_weight=w, **options).history
        return history, model.evaluate(x, y, batch_size=8, verbose=0)

    stored = Watched(path, "x"), Watched(path, "y"), Watched(path, "w")
    assert results(*stored) == results(X, Y, W)
    assert max(part.most for part in stored) == 8


def test_validation_data_and_steps(path):
    x, y = HDF5Matrix(path, "x"), HDF5Matrix(path, "y")
    options = {"batch_size": 8, "verbose": 0, "shuffle": False, "steps_per_epoch": 2, "validation_steps": 1}
    found = made().fit(x, y, validation_data=(x, y), **options).history
    expected = made().fit(X, Y, validation_data=(X, Y), **options).history
    assert found == expected


def test_several_inputs_of_which_some_are_stored(path):
    one, two = Input((4,), name="one"), Input((4,), name="two")
    from kcompile.keras.layers import add

    model = Model([one, two], Dense(2)(add([one, two])))
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse")
    stored, expected = HDF5Matrix(path, "x"), model.evaluate([X, X[::-1].copy()], Y, verbose=0)
    assert model.evaluate([stored, X[::-1].copy()], Y, verbose=0) == expected
    assert model.evaluate({"one": stored, "two": X[::-1].copy(), "more": W}, Y, verbose=0) == expected


def test_class_weights_do_not_count_in_the_part_for_validation(path):
    def history(x, y):
        model = made()
        options = {"batch_size": 8, "verbose": 0, "shuffle": False, "validation_split": 0.3}
        return model.fit(x, y, class_weight={0: 1.0, 1: 4.0}, **options).history

    assert history(HDF5Matrix(path, "x"), HDF5Matrix(path, "y")) == history(X, Y)


def test_rows_from_start_to_end_go_through_the_normalizer(path):
    x = HDF5Matrix(path, "x", 5, 20, normalizer=lambda rows: rows * 2)
    assert x.shape == (15, 4) and x.dtype == "float32" and len(x) == 15 and x.ndim == 2 and x.size == 60
    np.testing.assert_array_equal(x[3], X[8] * 2)
    np.testing.assert_array_equal(x[2:4], X[7:9] * 2)
    np.testing.assert_array_equal(x[[1, 3]], X[[6, 8]] * 2)
    np.testing.assert_array_equal(x[np.array([0, 14])], X[[5, 19]] * 2)
    np.testing.assert_array_equal(made().predict(x), made().predict(X[5:20] * 2))
    for wrong in (15, [3, 15], slice(0, 16), -16):
        with pytest.raises(IndexError):
            x[wrong]


WRONG = {
    "no such set": lambda path: HDF5Matrix(path, "z"),
    "end before start": lambda path: HDF5Matrix(path, "x", 5, 3),
    "end beyond": lambda path: HDF5Matrix(path, "x", 0, 31),
    "normalizer": lambda path: HDF5Matrix(path, "x", normalizer=2),
    "other lengths": lambda path: made().fit(HDF5Matrix(path, "x", 0, 20), Y, verbose=0),
    "another shape": lambda path: made().fit(HDF5Matrix(path, "y"), Y, verbose=0),
    "validation of another length": lambda path: made().fit(
        X, Y, validation_data=(HDF5Matrix(path, "x"), Y[:3]), verbose=0
    ),
    "no rows": lambda path: made().fit(HDF5Matrix(path, "x", 3, 3), Y[:0], verbose=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_told(path, name):
    with pytest.raises(KcompileError):
        WRONG[name](path)


def test_a_table_of_pandas_is_an_array():
    pandas = pytest.importorskip("pandas")
    table, labels = pandas.DataFrame(X).sample(frac=1, random_state=1), pandas.DataFrame(Y)
    labels = labels.loc[table.index]
    weight, order = pandas.Series(W)[table.index], table.index.to_numpy()
    found = made().fit(table, labels, sample_weight=weight, verbose=0, shuffle=False).history
    assert found == made().fit(X[order], Y[order], sample_weight=W[order], verbose=0, shuffle=False).history
    np.testing.assert_array_equal(made().predict(table.astype("float64")), made().predict(X[order]))

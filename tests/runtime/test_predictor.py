"""Predictions that can be sent to other processes: batches in and out, pools whose processes die, Parquet."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import kcompile
import kcompile_runtime as rt
from kcompile.keras.layers import Dense, Input, concatenate
from kcompile.keras.models import Model, Sequential

X = np.random.default_rng(4).random((50, 3), dtype=np.float32)
ID = np.arange(50)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    np.random.seed(1)
    model = Sequential([Dense(4, "tanh", input_shape=(3,), name="hidden"), Dense(2, name="out")])
    return str(kcompile.export(model, tmp_path_factory.mktemp("predictor") / "scores.so"))


@pytest.fixture(scope="module")
def expected(path):
    return rt.load(path, threads=1).predict(X)


def made(path, **options):
    return kcompile.predictor(path, columns={"hidden_input": "x"}, outputs={"out": "y"}, **options)


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not multiprocessing.active_children()


def test_a_batch_of_columns_becomes_one_of_columns(path, expected):
    predict = made(path, keep=["id"])
    found = predict({"x": X, "id": ID, "more": ID})
    assert list(found) == ["id", "y"]
    np.testing.assert_array_equal(found["y"], expected)
    assert found["id"] is ID
    assert list(made(path, keep=True)({"x": X, "more": ID})) == ["x", "more", "y"]
    np.testing.assert_array_equal(predict(X), expected)
    np.testing.assert_array_equal(predict([X]), expected)


def test_columns_of_numbers_are_stacked_and_rows_that_are_objects_too(path, expected):
    predict = kcompile.predictor(path, columns={"hidden_input": ["a", "b", "c"]})
    found = predict({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2].astype("float64")})
    np.testing.assert_array_equal(found["out"], expected)
    rows = np.empty(50, object)
    rows[:] = [list(row) if k % 2 else row for k, row in enumerate(X)]
    np.testing.assert_allclose(made(path)({"x": rows})["y"], expected, atol=1e-6)


def test_no_rows_give_no_rows(path):
    predict = made(path, keep=True)
    for x in (X[:0], np.empty(0, object), []):
        found = predict({"x": x})
        assert found["y"].shape == (0, 2) and found["y"].dtype == np.float32


def test_several_inputs_and_outputs(tmp_path):
    one, two = Input((2,), name="one"), Input((1,), name="two")
    both = concatenate([one, two])
    model = Model([one, two], [Dense(2, name="left")(both), Dense(1, name="right")(both)])
    predict = kcompile.predictor(kcompile.export(model, tmp_path / "both.so"))
    found = predict({"one": X[:, :2], "two": X[:, 2]})
    left, right = model.predict([X[:, :2], X[:, 2:]])
    np.testing.assert_allclose(found["left"], left, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["right"], right, rtol=1e-5, atol=1e-6)


def test_a_table_of_pandas_becomes_one(path, expected):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b", "c"], index=ID + 7).assign(id=ID)
    columns = {"hidden_input": ["a", "b", "c"]}
    found = kcompile.predictor(path, columns=columns, keep=["id"], outputs={"out": "y"})(table)
    assert list(found.columns) == ["id", "y_0", "y_1"] and list(found.index) == list(table.index)
    np.testing.assert_array_equal(found[["y_0", "y_1"]].to_numpy(), expected)


def test_what_is_sent_is_small_and_a_process_opens_the_file_once(path):
    predict = made(path, keep=["id"], threads=1)
    sent = pickle.dumps(predict)
    assert len(sent) < 1500 and b"x" * 100 not in sent
    again = pickle.loads(sent)
    assert again.artifact is predict.artifact and again.digest == predict.digest
    assert "scores.so" in repr(again)


def test_another_file_than_it_was_made_of_is_refused(path, tmp_path):
    other = tmp_path / "model.so"
    shutil.copy(path, other)
    predict = pickle.dumps(made(other))
    model = Sequential([Dense(2, input_shape=(3,))])
    other.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(predict)(X)
    kcompile.export(model, other)
    with pytest.raises(rt.ArtifactError, match="another file"):
        pickle.loads(predict)(X)


WRONG = {
    "no such input": lambda path: kcompile.predictor(path, columns={"x": "x"}),
    "no columns": lambda path: kcompile.predictor(path, columns={"hidden_input": []}),
    "columns that are no names": lambda path: kcompile.predictor(path, columns={"hidden_input": 3}),
    "columns that are no dict": lambda path: kcompile.predictor(path, columns="x"),
    "no such output": lambda path: kcompile.predictor(path, outputs={"other": "y"}),
    "an output that is no name": lambda path: kcompile.predictor(path, outputs={"out": 1}),
    "keep is a text": lambda path: kcompile.predictor(path, keep="id"),
    "kept and computed": lambda path: made(path, keep=["y"]),
    "kept and computed, of a batch": lambda path: made(path, keep=True)({"x": X, "y": ID}),
    "batch_size": lambda path: kcompile.predictor(path, batch_size=0),
    "threads": lambda path: kcompile.predictor(path, threads=0),
    "no such column": lambda path: made(path)({"z": X}),
    "no such column to keep": lambda path: made(path, keep=["id"])({"x": X}),
    "rows of unequal lengths": lambda path: made(path)({"x": np.array([[1, 2, 3], [1]], object)}),
    "another size": lambda path: made(path)({"x": X[:, :2]}),
    "texts": lambda path: made(path)({"x": np.array(["a", "b"], object)}),
    "no workers": lambda path: rt.in_processes(made(path), [X], workers=0),
    "nothing ahead": lambda path: rt.in_processes(made(path), [X], ahead=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_told(path, name):
    with pytest.raises((rt.InputError, rt.InputTypeError)):
        WRONG[name](path)


# ---------------------------------------------------------------- processes


def batches(count=10):
    for k in range(count):
        yield {"x": X[5 * k : 5 * k + 5], "id": ID[5 * k : 5 * k + 5]}


def joined(found, name):
    return np.concatenate([batch[name] for batch in found])


def test_a_pool_of_processes_gives_all_rows_in_order_and_takes_few_ahead(path, expected):
    taken = []

    def counted():
        for batch in batches():
            taken.append(1)
            yield batch

    found = []
    for done, batch in enumerate(rt.in_processes(made(path, keep=["id"]), counted(), workers=2, ahead=2)):
        assert len(taken) <= done + 4
        found.append(batch)
    np.testing.assert_array_equal(joined(found, "id"), ID)
    np.testing.assert_allclose(joined(found, "y"), expected, rtol=1e-5, atol=1e-6)


class Dies:
    """Predicts, but where a file is not there yet: then it makes the file, and its process is killed."""

    def __init__(self, predict, folder: Path, always: bool = False) -> None:
        self.predict, self.folder, self.always = predict, folder, always

    def __call__(self, batch):
        first = int(batch["id"][0])
        if first == 15:
            mark = self.folder / "killed"
            if self.always or not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.predict(batch)


def test_rows_of_a_process_that_was_killed_are_done_again(path, tmp_path):
    predict = made(path, keep=["id"])
    found = list(rt.in_processes(Dies(predict, tmp_path), batches(), workers=2))
    assert (tmp_path / "killed").exists()
    np.testing.assert_array_equal(joined(found, "id"), ID)
    np.testing.assert_array_equal(joined(found, "y"), joined(map(predict, batches()), "y"))


def test_batches_that_kill_every_process_are_told(path, tmp_path):
    results = rt.in_processes(Dies(made(path, keep=["id"]), tmp_path, always=True), batches(), workers=1)
    with pytest.raises(rt.WorkerError, match="3 pools of processes"):
        list(results)


def test_an_error_is_raised_in_its_turn_and_a_loop_that_is_left_ends_the_processes(path):
    data = [*batches(2), {"x": X[:, :2], "id": ID}, *batches(2)]
    results = rt.in_processes(made(path, keep=["id"]), data, workers=2)
    assert [len(next(results)["id"]) for _ in range(2)] == [5, 5]
    with pytest.raises(rt.InputError, match="hidden_input"):
        next(results)
    results = rt.in_processes(made(path), batches(), workers=1)
    next(results)
    results.close()


# ---------------------------------------------------------------- Parquet


@pytest.fixture
def arrow():
    found = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    return found


def test_parquet_in_and_out(arrow, path, tmp_path, expected):
    images = np.arange(50 * 6, dtype="uint8").reshape(50, 2, 3)
    texts = np.array([f"row {k}" for k in range(50)], object)
    given = [
        {"id": ID[a:b], "x": X[a:b], "image": images[a:b], "text": texts[a:b]}
        for a, b in ((0, 20), (20, 20), (20, 50))
    ]
    table, scores = tmp_path / "rows.parquet", tmp_path / "scores.parquet"
    assert rt.write_parquet(table, given) == 50
    back = list(rt.read_parquet(table, rows=16))
    assert all(len(batch["id"]) <= 16 for batch in back)
    for name, array in (("id", ID), ("x", X), ("image", images), ("text", texts)):
        found = joined(back, name)
        assert found.dtype == array.dtype and found.shape == array.shape
        np.testing.assert_array_equal(found, array)
    predict = made(path, keep=["id"])
    rt.write_parquet(scores, map(predict, rt.read_parquet(table, columns=["x", "id"], rows=16)))
    assert rt.write_parquet(tmp_path / "none.parquet", given[1:2]) == 0
    assert list(rt.read_parquet(tmp_path / "none.parquet")) == []
    (tmp_path / "none.parquet").unlink()
    (found,) = rt.read_parquet(scores)
    np.testing.assert_array_equal(found["id"], ID)
    np.testing.assert_allclose(found["y"], expected, rtol=1e-5, atol=1e-6)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["rows.parquet", "scores.parquet"]


def test_a_folder_of_files_and_lists_that_others_wrote(arrow, tmp_path):
    for name, rows in (("b", X[20:]), ("a", X[:20])):
        column = arrow.array(rows.tolist(), arrow.list_(arrow.float32()))
        kind = arrow.array(["one", "two"] * (len(rows) // 2)).dictionary_encode()
        arrow.parquet.write_table(arrow.table({"x": column, "kind": kind}), tmp_path / f"{name}.parquet")
    found = list(rt.read_parquet(tmp_path))
    np.testing.assert_array_equal(joined(found, "x"), X)
    assert set(joined(found, "kind")) == {"one", "two"}
    tensors = arrow.FixedShapeTensorArray.from_numpy_ndarray(X.reshape(25, 2, 3))
    arrow.parquet.write_table(arrow.table({"x": tensors}), tmp_path / "t.parquet")
    (found,) = rt.read_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(found["x"], X.reshape(25, 2, 3))


def test_what_no_array_can_hold_is_told(arrow, tmp_path):
    columns = {
        "lists": arrow.array([[1], [1, 2]]),
        "missing": arrow.array([1, None]),
        "missing_lists": arrow.array([[1], None]),
        "fine": arrow.array([1.5, None]),
    }
    arrow.parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    for name in ("lists", "missing", "missing_lists", "nowhere"):
        with pytest.raises(rt.InputError, match=name):
            list(rt.read_parquet(tmp_path / "t.parquet", [name]))
    (found,) = rt.read_parquet(tmp_path / "t.parquet", ["fine"])
    np.testing.assert_array_equal(found["fine"], [1.5, np.nan])
    with pytest.raises(FileNotFoundError):
        rt.read_parquet(tmp_path / "nowhere")
    out = tmp_path / "out.parquet"
    for wrong in ([], [{"a": ID, "b": ID[:3]}], [{"a": ID}, {"a": X}], [{"a": np.float32(1)}], [{}]):
        with pytest.raises(rt.InputError):
            rt.write_parquet(out, wrong)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["t.parquet"]


def test_without_pyarrow_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r'pip install "kcompile-runtime\[parquet\]"'):
        rt.read_parquet(tmp_path)

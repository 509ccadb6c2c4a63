"""The files and messages of callbacks: checkpoints, tables of values, logs of TensorBoard, requests."""

from __future__ import annotations

import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import callbacks
from kcompile.keras.layers import Dense, Embedding, Flatten
from kcompile.keras.models import Sequential, load_model
from kcompile.keras.optimizers import SGD
from kcompile.keras.semantics import semantics

rng = np.random.default_rng(0)
X = rng.normal(size=(10, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


@pytest.fixture
def model():
    np.random.seed(0)
    made = Sequential([Dense(1, input_shape=(3,), name="only")])
    made.use_engine(InterpreterEngine(made))
    made.compile(SGD(lr=0.1), "mse", metrics=["mae"])
    return made


class Stand:
    """What callbacks ask of a model; it remembers what it was saved as."""

    stop_training = False

    def __init__(self, vintage: str = "keras2") -> None:
        self.semantics, self.vintage, self.saved = semantics(vintage), vintage, []

    def save(self, path, overwrite):
        self.saved.append(path)

    def save_weights(self, path, overwrite):
        self.saved.append(f"weights {path}")


def told(callback, epochs, model=None, batches=0):
    """Tell a callback of epochs with these logs; gives the model."""
    model = model or Stand()
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, logs in enumerate(epochs):
        callback.on_epoch_begin(epoch, {})
        for batch in range(batches):
            callback.on_train_batch_end(batch, {"loss": batch})
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end({})
    return model


VALUES = [{"val_loss": v, "val_acc": -v} for v in (3.0, 2.0, 2.5, 1.0)]


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({}, ["m1", "m2", "m3", "m4"]),
        ({"period": 2}, ["m2", "m4"]),
        ({"save_weights_only": True, "period": 3}, ["weights m3"]),
        ({"save_best_only": True}, ["m1", "m2", "m4"]),
        ({"save_best_only": True, "mode": "max"}, ["m1"]),
        ({"save_best_only": True, "monitor": "val_acc"}, ["m1", "m2", "m4"]),
        ({"save_best_only": True, "monitor": "val_acc", "mode": "min"}, ["m1"]),
        ({"save_best_only": True, "period": 3}, ["m3"]),
        ({"save_best_only": True, "initial_value_threshold": 2.0}, ["m4"]),
    ],
)
def test_when_a_checkpoint_is_written(options, saved):
    assert told(callbacks.ModelCheckpoint("m{epoch}", **options), VALUES).saved == saved


def test_a_checkpoint_after_so_many_batches():
    callback = callbacks.ModelCheckpoint("{epoch}-{batch}-{loss}", save_freq=3)
    assert callback.wants_batches("train") and not callbacks.ModelCheckpoint("m").wants_batches("train")
    assert told(callback, [{}, {}], batches=4).saved == ["1-3-2", "2-2-1"]


def test_names_of_checkpoints_hold_values():
    callback = callbacks.ModelCheckpoint("w.{epoch:02d}-{val_loss:.2f}-{val_accuracy:.1f}.h5")
    assert told(callback, VALUES[:1]).saved == ["w.01-3.00--3.0.h5"]  # acc and accuracy are one
    with pytest.raises(KeyError, match="val_mae"):
        told(callbacks.ModelCheckpoint("{val_mae}"), VALUES)
    with pytest.raises(ValueError, match="braces"):
        told(callbacks.ModelCheckpoint("{epoch:.2q}"), VALUES)


def test_what_a_checkpoint_says(capsys):
    told(callbacks.ModelCheckpoint("m", save_best_only=True, verbose=1), VALUES[1:3])
    told(callbacks.ModelCheckpoint("m", verbose=1), VALUES[:1])
    assert [line for line in capsys.readouterr().out.splitlines() if line] == [
        "Epoch 00001: val_loss improved from inf to 2.00000, saving model to m",
        "Epoch 00002: val_loss did not improve from 2.00000",
        "Epoch 00001: saving model to m",
    ]


@pytest.mark.parametrize(("vintage", "saved"), [("keras2", []), ("tf_keras", []), ("keras3", ["m.h5"])])
def test_without_a_value_the_best_is_not_known(vintage, saved):
    with pytest.warns(RuntimeWarning, match="only with val_loss available"):
        callback = callbacks.ModelCheckpoint("m.h5", save_best_only=True)
        assert told(callback, [{"loss": 1.0}], Stand(vintage)).saved == saved


def test_checkpoints_can_be_loaded(model, tmp_path):
    path, weights = tmp_path / "new" / "m{epoch}.h5", tmp_path / "w{epoch}.weights.h5"
    calls = [
        callbacks.ModelCheckpoint(path, monitor="loss"),
        callbacks.ModelCheckpoint(str(weights), save_weights_only=True),
    ]
    model.fit(X, Y, epochs=2, verbose=0, callbacks=calls)
    assert sorted(p.name for p in tmp_path.rglob("*.h5")) == [
        "m1.h5",
        "m2.h5",
        "w1.weights.h5",
        "w2.weights.h5",
    ]
    for a, b in zip(load_model(tmp_path / "new" / "m2.h5").get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_arguments_come_in_the_order_of_each_keras():
    assert callbacks.ModelCheckpoint("m", "loss", 0, False, False, "auto", 2).period == 2
    for keras in (tf_keras, keras3):
        assert keras.callbacks.ModelCheckpoint("m.h5", "loss", 0, False, False, "auto", 2).save_freq == 2


# ---------------------------------------------------------------- tables


def lines(path):
    with open(path, newline="") as file:
        return file.read().split("\r\n")


def test_a_table_has_a_line_for_each_epoch(tmp_path):
    path = tmp_path / "log.csv"
    told(callbacks.CSVLogger(path, ";"), [{"b": 1.5, "a": "text"}, {"a": [1, 2]}])
    assert lines(path) == ["epoch;a;b", "0;text;1.5", '1;"""[1, 2]""";NA', ""]


def test_a_table_is_begun_anew_or_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    for append in (True, True, False):
        callback = callbacks.CSVLogger(path, append=append)
        told(callback, [{"a": 1}])
        told(callback, [{"a": 2}])
        expected = {True: ["epoch,a", "0,1", "0,2"], False: ["epoch,a", "0,2"]}[append]
        if append:
            assert lines(path)[:3] == expected and lines(path).count("epoch,a") == 1
        else:
            assert lines(path) == [*expected, ""]


def test_columns_of_a_validation_that_comes_later(tmp_path):
    path = tmp_path / "log.csv"
    values = [{"a": 1}, {"a": 2, "val_a": 3}]
    told(callbacks.CSVLogger(path), values, Stand("tf_keras"))
    assert lines(path) == ["epoch,a,val_a", "0,1,NA", "1,2,3", ""]
    told(callbacks.CSVLogger(path), values)
    assert lines(path) == ["epoch,a", "0,1", "1,2", ""]


def test_a_learning_rate_reads_as_it_was_given(model, tmp_path):
    path = tmp_path / "log.csv"
    schedule = callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[schedule, callbacks.CSVLogger(path)])
    assert [line.split(",")[2] for line in lines(path)[:3]] == ["lr", "0.1", "0.05"]


# ---------------------------------------------------------------- a server


@pytest.fixture
def server():
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.path, self.headers, body))
            self.send_response(404 if "wrong" in self.path else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}", requests
    made.shutdown()
    thread.join()
    made.server_close()


def test_values_are_sent_to_a_server(server):
    root, requests = server
    logs = {"loss": np.float32(0.5), "other": np.array(2)}
    told(callbacks.RemoteMonitor(root, field="values"), [logs])
    told(callbacks.RemoteMonitor(root, "/wrong", headers={"X-Name": "n"}, send_as_json=True), [logs])
    (path, headers, form), (other, named, text) = requests
    expected = {"epoch": 0, "loss": 0.5, "other": 2}
    assert path == "/publish/epoch/end/" and json.loads(parse_qs(form)["values"][0]) == expected
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert other == "/wrong" and json.loads(text) == expected
    assert named["X-Name"] == "n" and named["Content-Type"] == "application/json"


def test_a_server_that_is_not_there_is_warned_of(model):
    with pytest.warns(UserWarning, match="could not reach"):
        model.fit(X, Y, verbose=0, callbacks=callbacks.RemoteMonitor("http://127.0.0.1:1"))


# ---------------------------------------------------------------- TensorBoard


def records(folder):
    """The events of the logs of a folder."""
    event = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(event.Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def written(folder):
    """(tag, step) -> what was written of it."""
    values = [(v, e.step) for e in records(folder) for v in e.summary.value]
    return {(v.tag, step): v for v, step in values}


def scalars(folder):
    return {
        key: v.simple_value for key, v in written(folder).items() if v.WhichOneof("value") == "simple_value"
    }


def test_values_of_epochs_in_one_folder(model, tmp_path):
    pytest.importorskip("tensorboardX")
    board = callbacks.TensorBoard(str(tmp_path), write_graph=False)
    history = model.fit(X, Y, epochs=2, verbose=0, validation_split=0.2, callbacks=[board]).history
    found = scalars(tmp_path)
    assert found.keys() == {(name, epoch) for name in history for epoch in (0, 1)}
    for (name, epoch), value in found.items():
        assert value == pytest.approx(history[name][epoch])


@pytest.mark.parametrize("keras", [tf_keras, keras3])
def test_values_of_epochs_in_two_folders(keras, tmp_path):
    pytest.importorskip("tensorboardX")
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    made.use_engine(InterpreterEngine(made))
    made.compile("sgd", "mse")
    board = keras.callbacks.TensorBoard(
        tmp_path, write_steps_per_second=True, histogram_freq=2, update_freq=2
    )
    made.fit(X, Y, epochs=3, batch_size=4, verbose=0, validation_data=(X, Y), callbacks=[board])
    assert scalars(tmp_path / "validation").keys() == {("epoch_loss", epoch) for epoch in range(3)}
    steps = {("epoch_steps_per_second", epoch) for epoch in range(3)}
    batches = {("batch_loss", 2 * k) for k in range(1, 5)}
    assert scalars(tmp_path / "train").keys() == {("epoch_loss", e) for e in range(3)} | steps | batches
    histograms = {tag for tag, _ in written(tmp_path / "train") if tag.endswith("histogram")}
    assert len(histograms) == 2


def test_values_of_batches_by_samples(model, tmp_path):
    pytest.importorskip("tensorboardX")
    for number, (freq, steps) in enumerate([("batch", {4, 8, 10}), (8, {8, 10})]):
        folder = tmp_path / str(number)
        board = callbacks.TensorBoard(str(folder), update_freq=freq)
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=[board])
        assert {step for tag, step in scalars(folder) if tag == "loss"} == steps
        assert not any(tag in ("batch", "size") for tag, _ in scalars(folder))


def test_histograms_images_and_the_graph(model, tmp_path):
    pytest.importorskip("tensorboardX")
    board = callbacks.TensorBoard(str(tmp_path), histogram_freq=1, write_images=True)
    np.random.seed(1)
    model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[board])
    after = np.random.rand()
    found = written(tmp_path)
    outputs = found["only_out", 0].histo
    assert outputs.num == 10 and outputs.sum == pytest.approx(float(model.predict(X).sum()), rel=1e-5)
    kinds = {tag: v.WhichOneof("value") for (tag, _), v in found.items() if tag.startswith("only/")}
    assert sorted(kinds.values()) == ["histo", "histo", "image"]  # one number is no image
    graph = pytest.importorskip("tensorboardX.proto.graph_pb2").GraphDef
    (made,) = [graph.FromString(e.graph_def) for e in records(tmp_path) if e.graph_def]
    assert [(n.name, n.op, list(n.input)) for n in made.node] == [
        (model.inputs[0].name, "InputLayer", []),
        ("only", "Dense", [model.inputs[0].name]),
    ]
    np.random.seed(1)
    model.fit(X, Y, verbose=0, validation_data=(X, Y))
    assert np.random.rand() == after  # it draws no random numbers


def test_histograms_need_validation_data(model, tmp_path):
    pytest.importorskip("tensorboardX")
    with pytest.raises(ValueError, match="validation data"):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.TensorBoard(str(tmp_path), histogram_freq=1)])


def test_points_of_embeddings_with_their_labels(tmp_path):
    pytest.importorskip("tensorboardX")
    made = Sequential([Embedding(5, 2, input_length=3, name="words"), Flatten(), Dense(1, name="top")])
    made.use_engine(InterpreterEngine(made))
    made.compile("sgd", "mse")
    words = rng.integers(0, 5, (10, 3))
    (tmp_path / "labels.tsv").write_text("".join(f"label{k}\n" for k in range(10)))
    board = callbacks.TensorBoard(
        str(tmp_path),
        embeddings_freq=1,
        embeddings_layer_names=["words"],
        embeddings_metadata={"words": "labels.tsv"},
        embeddings_data=words,
    )
    made.fit(words, Y, verbose=0, callbacks=[board])
    (points,) = tmp_path.rglob("tensors.tsv")
    found = np.loadtxt(points, delimiter="\t")
    np.testing.assert_allclose(found, made.get_weights()[0][words].reshape(10, 6), rtol=1e-4)
    assert (points.parent / "metadata.tsv").read_text().split() == [f"label{k}" for k in range(10)]
    for wrong in (
        {"embeddings_data": None},
        {"embeddings_layer_names": ["no"]},
        {"embeddings_metadata": "no"},
    ):
        options = {"embeddings_freq": 1, "embeddings_data": words, **wrong}
        with pytest.raises(ValueError, match=next(iter(wrong))):
            made.fit(words, Y, verbose=0, callbacks=[callbacks.TensorBoard(str(tmp_path), **options)])


@pytest.mark.parametrize("option", [{"write_grads": True}, {"profile_batch": 2}])
def test_what_is_not_written_is_warned_of_by_name(option, tmp_path):
    pytest.importorskip("tensorboardX")
    with pytest.warns(UserWarning, match=next(iter(option))):
        callbacks.TensorBoard(str(tmp_path), **option)


# ---------------------------------------------------------------- several as one


def test_a_list_of_callbacks_tells_all_of_them():
    seen = []

    class Seen(callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            seen.append(("batch", batch, logs))

        def on_epoch_end(self, epoch, logs=None):
            logs["more"] = epoch

    history = callbacks.History()
    listed = callbacks.CallbackList([Seen()])
    listed.append(history)
    listed.set_model("model")
    listed.set_params({"epochs": 3})
    assert all(c.model == "model" and c.params == {"epochs": 3} for c in listed)
    listed.on_train_begin()
    listed.on_epoch_begin(0)
    listed.on_batch_begin(4)
    listed.on_batch_end(4, {"loss": 1.0})
    listed.on_epoch_end(0, {"loss": 2.0})
    listed.on_train_end()
    assert seen == [("batch", 4, {"loss": 1.0})] and history.history == {"loss": [2.0], "more": [0]}
    kinds = [type(c) for c in callbacks.CallbackList(add_history=True, add_progbar=True, model="m", epochs=2)]
    assert kinds == [callbacks.History, callbacks.ProgbarLogger]


def test_a_loop_of_ones_own_with_averages_and_a_bar(capsys):
    history, stateful = callbacks.History(), ["acc"]
    listed = callbacks.CallbackList([callbacks.BaseLogger(stateful), history], add_progbar=True)
    listed.set_model(Stand())
    listed.set_params({"epochs": 1, "steps": 2, "metrics": ["loss", "acc"]})
    listed.on_train_begin()
    listed.on_epoch_begin(0)
    for batch, (size, loss, acc) in enumerate([(6, 1.0, 0.5), (2, 3.0, 0.25)]):
        listed.on_batch_begin(batch, {"batch": batch, "size": size})
        listed.on_batch_end(batch, {"batch": batch, "size": size, "loss": loss, "acc": acc})
    listed.on_epoch_end(0)
    listed.on_train_end()
    assert history.history == {"loss": [1.5], "acc": [0.25]}
    assert capsys.readouterr().out.startswith("Epoch 1/1\n2/2 [")


def test_averages_of_fit_stay_as_they_are(model):
    expected = model.evaluate(X, Y, verbose=0)[0]
    model.optimizer.lr = 0.0
    history = model.fit(X, Y, batch_size=3, verbose=0, callbacks=[callbacks.BaseLogger()]).history
    assert history["loss"][0] == pytest.approx(expected)

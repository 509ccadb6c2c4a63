"""Callbacks: when they are told what, and what they do about it."""

import numpy as np
import pytest

from kcompile import keras3
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import callbacks
from kcompile.keras.layers import Dense
from kcompile.keras.models import Sequential
from kcompile.keras.optimizers import SGD
from kcompile_runtime.errors import ModelError


@pytest.fixture
def model():
    made = Sequential([Dense(1, input_shape=(3,))])
    made.compile(SGD(lr=0.1), "mse", metrics=["mae"])
    made.use_engine(InterpreterEngine(made))
    return made


@pytest.fixture
def data():
    x = np.random.default_rng(0).normal(size=(10, 3)).astype("f")
    return x, x.sum(1)


class Recorder(callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.said = []


EVENTS = [name for name in vars(callbacks.Callback) if name.startswith("on_")]
for _name in EVENTS:

    def _tell(self, *arguments, _name=_name):
        self.said.append((_name, *arguments))
        getattr(callbacks.Callback, _name)(self, *arguments)

    setattr(Recorder, _name, _tell)


def test_events_come_in_keras_order(model, data):
    recorder = Recorder()
    model.fit(*data, epochs=1, batch_size=5, verbose=0, callbacks=[recorder], validation_split=0.5)
    names = [s[0] for s in recorder.said]
    batch = ["on_train_batch_begin", "on_batch_begin", "on_train_batch_end", "on_batch_end"]
    assert names == [
        "on_train_begin",
        "on_epoch_begin",
        *batch,
        "on_test_begin",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_end",
        "on_epoch_end",
        "on_train_end",
    ]
    assert recorder.params == {
        "batch_size": 5,
        "epochs": 1,
        "steps": None,
        "samples": 5,
        "verbose": 0,
        "do_validation": True,
        "metrics": ["loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error"],
    }
    assert recorder.model is model
    end = recorder.said[-2]
    assert end[1] == 0 and set(end[2]) == set(recorder.params["metrics"])


def test_evaluate_and_predict_have_events_too(model, data):
    recorder = Recorder()
    model.evaluate(*data, verbose=0, callbacks=[recorder])
    model.predict(data[0], callbacks=[recorder])
    assert [s[0] for s in recorder.said] == [
        "on_test_begin",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_end",
        "on_predict_begin",
        "on_predict_batch_begin",
        "on_predict_batch_end",
        "on_predict_end",
    ]


def test_batches_are_told_only_to_who_listens():
    assert not callbacks.EarlyStopping().wants_batches("train")
    assert not callbacks.LambdaCallback(on_epoch_end=print).wants_batches("train")
    assert callbacks.LambdaCallback(on_batch_end=print).wants_batches("train")
    assert callbacks.TerminateOnNaN().wants_batches("train")
    assert not callbacks.TerminateOnNaN().wants_batches("test")
    assert not callbacks.ProgbarLogger().wants_batches("train")


def test_history(model, data):
    history = model.fit(*data, epochs=5, initial_epoch=2, verbose=0)
    assert history.epoch == [2, 3, 4]
    assert list(history.history) == ["loss", "mean_absolute_error"]
    assert history.history["loss"][2] < history.history["loss"][0]
    assert model.history is history


def drive(callback, values, model, monitor="val_loss"):
    """Tell a callback of epochs with these values; gives the number of epochs until it stopped."""
    model.stop_training = False
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch, {})
        callback.on_epoch_end(epoch, {monitor: value})
        if model.stop_training:
            break
    callback.on_train_end({})
    return epoch + 1


def test_early_stopping(model):
    make = callbacks.EarlyStopping
    assert drive(make(), [3, 2, 2.5, 1], model) == 3
    assert drive(make(patience=2), [3, 2, 2.5, 1.9, 2, 2.1, 2], model) == 6
    assert drive(make(min_delta=0.5, patience=1), [3, 2.8, 2.6], model) == 2
    assert drive(make("val_acc"), [0.1, 0.2, 0.2, 0.3], model, "val_acc") == 3
    assert drive(make("score", mode="max"), [0.1, 0.2, 0.1], model, "score") == 3
    assert drive(make(baseline=1.0, patience=2), [3, 2, 0.5], model) == 2
    with pytest.warns(RuntimeWarning, match="mode"):
        assert make(mode="up").mode == "auto"


def test_early_stopping_goes_back_to_the_best_weights(model, capsys):
    callback = callbacks.EarlyStopping(restore_best_weights=True, verbose=1)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"val_loss": 1.0})
    best = model.get_weights()
    model.set_weights([w + 1 for w in best])
    callback.on_epoch_end(1, {"val_loss": 2.0})
    callback.on_train_end()
    np.testing.assert_array_equal(model.get_weights()[0], best[0])
    assert "Epoch 00002: early stopping" in capsys.readouterr().out


def test_early_stopping_says_when_there_is_nothing_to_monitor(model, data):
    with pytest.warns(RuntimeWarning, match=r"`val_loss` which is not available.*loss"):
        model.fit(*data, verbose=0, callbacks=[callbacks.EarlyStopping()])


def test_early_stopping_ends_fit(model, data):
    model.optimizer.lr = 0.0
    history = model.fit(
        *data, epochs=9, verbose=0, callbacks=[callbacks.EarlyStopping(monitor="loss", min_delta=1e-4)]
    )
    assert len(history.epoch) == 2


def test_learning_rate_scheduler(model, data):
    history = model.fit(
        *data, epochs=3, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda epoch: 0.1 / 2**epoch)]
    )
    assert history.history["lr"] == pytest.approx([0.1, 0.05, 0.025])
    model.fit(
        *data, epochs=2, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda epoch, rate: rate / 5)]
    )
    assert float(model.optimizer.lr.value) == pytest.approx(0.001)
    with pytest.raises(ValueError, match=r"a float. Received: 'fast'"):
        model.fit(*data, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda epoch: "fast")])


def test_reduce_lr_on_plateau(model):
    callback = callbacks.ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.02)
    drive(callback, [1, 1, 1], model)
    assert float(model.optimizer.lr.value) == pytest.approx(0.05)
    drive(callback, [1] * 20, model)
    assert float(model.optimizer.lr.value) == pytest.approx(0.02)


def test_terminate_on_nan(model, data):
    x = data[0].copy()
    x[3] = np.nan
    with pytest.warns(UserWarning, match="loss is nan"):
        history = model.fit(
            x,
            data[1],
            epochs=5,
            batch_size=2,
            shuffle=False,
            verbose=0,
            callbacks=[callbacks.TerminateOnNaN()],
        )
    assert len(history.epoch) == 1


def test_lambda_callback(model, data):
    said = []
    model.fit(
        *data,
        epochs=2,
        batch_size=5,
        verbose=0,
        callbacks=[
            callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: said.append(epoch),
                on_batch_end=lambda batch, logs: said.append((batch, logs["size"])),
                on_train_end=lambda logs: said.append("end"),
            )
        ],
    )
    assert said == [0, (0, 5), (1, 5), 1, (0, 5), (1, 5), "end"]
    with pytest.raises(TypeError, match="on_mistake"):
        callbacks.LambdaCallback(on_mistake=print)


def test_what_is_no_callback_is_refused(model, data):
    with pytest.raises(ValueError, match="callbacks: expected Callback objects"):
        model.fit(*data, callbacks=[print])


def test_the_bar_of_fit(model, data, capsys):
    model.fit(*data, epochs=2, batch_size=4, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Train on 8 samples, validate on 2 samples"
    assert lines[1] == "Epoch 1/2" and lines[3] == "Epoch 2/2" and len(lines) == 5
    assert lines[2].startswith("8/8 [" + "=" * 30 + "] - 0s ")
    for name in ("loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error"):
        assert f" - {name}: " in lines[2]


def test_verbose_2_and_0(model, data, capsys):
    model.fit(*data, epochs=1, verbose=2)
    assert capsys.readouterr().out.splitlines()[1].startswith(" - 0s - loss: ")
    model.fit(*data, epochs=1, verbose=0)
    model.predict(data[0])
    assert capsys.readouterr().out == ""
    model.evaluate(*data)
    assert capsys.readouterr().out.startswith("10/10 [" + "=" * 30 + "]")


def test_spellings_of_older_keras():
    with pytest.warns(UserWarning, match="min_delta"):
        reduce = callbacks.ReduceLROnPlateau("loss", 0.5, 1, epsilon=0.25, cooldown=2)
    assert reduce.min_delta == 0.25 and reduce.cooldown_counter == 0 and not reduce.in_cooldown()
    assert callbacks.ProgbarLogger("steps", stateful_metrics=["acc"]).count_mode == "steps"
    callbacks.BaseLogger(stateful_metrics=["acc"])


def test_what_a_batch_is_told_with(model, data):
    said = []
    listener = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: said.append(dict(logs)),
        on_train_batch_end=lambda batch, logs: said.append(dict(logs)),
        on_predict_batch_end=lambda batch, logs: said.append(logs["outputs"][0].shape),
    )
    history = model.fit(*data, batch_size=6, verbose=0, callbacks=[listener]).history
    model.predict(data[0], batch_size=6, callbacks=listener)
    begin, first, second, last, *shapes = said
    assert begin == {"batch": 0, "size": 6} and second == {"batch": 1, "size": 4}
    mean = (6 * first["loss"] + 4 * last["loss"]) / 10
    assert mean == pytest.approx(history["loss"][0]) and shapes == [(6, 1), (4, 1)]


# ---------------------------------------------------------------- those of tf.keras and Keras 3


def of_one_weight(**options):
    model = keras3.Sequential([keras3.layers.Dense(1, kernel_initializer="ones", input_shape=(2,))])
    model.compile(keras3.optimizers.SGD(0.1, **options), "mse")
    return model


ONES, NONES = np.ones((8, 2), np.float32), np.zeros((8, 1), np.float32)


def test_a_training_goes_on_where_it_was_interrupted(tmp_path):
    class Interrupted(keras3.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def fit(callbacks):
        model = of_one_weight(momentum=0.9)
        fitted = model.fit(ONES, NONES, 4, 4, verbose=0, shuffle=False, callbacks=callbacks)
        return fitted.history["loss"], fitted.epoch

    whole, _ = fit([])
    folder = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        fit([keras3.callbacks.BackupAndRestore(folder), Interrupted()])
    assert {path.name for path in folder.iterdir()} == {"latest.weights.h5", "training_metadata.json"}
    rest, epochs = fit([keras3.callbacks.BackupAndRestore(folder)])
    assert epochs == [2, 3] and rest == pytest.approx(whole[2:]) and not folder.exists()


def test_averages_of_weights_stand_in_for_them_in_tests():
    model = of_one_weight(use_ema=True, ema_momentum=0.5)
    history = model.fit(
        ONES,
        NONES,
        4,
        2,
        verbose=0,
        validation_data=(ONES, NONES),
        callbacks=[keras3.callbacks.SwapEMAWeights()],
    ).history
    plain = of_one_weight().fit(ONES, NONES, 4, 2, verbose=0, validation_data=(ONES, NONES)).history
    assert history["loss"] == pytest.approx(plain["loss"])
    assert history["val_loss"][0] > plain["val_loss"][0]
    with pytest.raises(ModelError, match="use_ema=True"):
        of_one_weight().evaluate(ONES, NONES, callbacks=[keras3.callbacks.SwapEMAWeights()], verbose=0)


def test_a_loss_that_is_no_number_may_raise():
    terminate = keras3.callbacks.TerminateOnNaN(raise_error=True)
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch 0"):
        of_one_weight().fit(ONES * np.inf, NONES, verbose=0, callbacks=[terminate])


def test_events_of_keras3_come_in_its_order():
    told = []
    callback = keras3.callbacks.LambdaCallback(None, None, lambda logs: told.append("begin"))
    of_one_weight().fit(ONES, NONES, verbose=0, callbacks=[callback])
    assert told == ["begin"]

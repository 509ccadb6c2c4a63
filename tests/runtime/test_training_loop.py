"""The training loop alone, with step functions made of numpy."""

import numpy as np
import pytest

from kcompile_runtime import training
from kcompile_runtime.errors import InputError
from kcompile_runtime.loop import one_by_one
from kcompile_runtime.progress import Progbar, format_seconds, format_value


def fit_loop(run, arrays, names, *arguments, **options):
    training.fit_loop(
        run, arrays, training.Results(names), *arguments, slicer=training.TimeSlicer(), **options
    )


def evaluate_loop(run, arrays, names, *arguments, **options):
    return training.evaluate_loop(
        run, arrays, training.Results(names), *arguments, slicer=training.TimeSlicer(), **options
    )


def predict_loop(*arguments, **options):
    return training.predict_loop(*arguments, slicer=training.TimeSlicer(), **options)


class Events:
    """Writes down what it is told."""

    def __init__(self, wants_batches=True, stop_at=None):
        self.wants_batches = wants_batches
        self.stop_at = stop_at
        self.said, self.done = [], []

    @property
    def stopped(self):
        return self.stop_at is not None and len(self.said) >= self.stop_at

    def epoch_begin(self, epoch):
        self.said.append(("epoch", epoch))

    def epoch_end(self, epoch, logs):
        self.said.append(("end", epoch, dict(logs)))

    def batch_begin(self, batch, logs):
        pass

    def batch_end(self, batch, logs, values):
        self.said.append(("batch", batch, dict(logs)))

    def progress(self, samples, values):
        self.done.append((samples, values()))


def stepwise(step):
    """A runner of a step (n, arrays) -> results."""
    return one_by_one(lambda n, arrays: [step(n, arrays)])


def mean_step(seen=None):
    """Loss: the batch's mean. One metric: the share of values above 4."""

    def step(n, arrays):
        x = arrays[0]
        assert len(x) == n and x.flags.c_contiguous
        if seen is not None:
            seen.append(x.copy())
        return np.array([x.mean(), (x > 4).sum(), n], np.float32)

    return stepwise(step)


def test_an_epoch_sees_every_sample_once_and_averages_over_samples():
    x, seen, events = np.arange(10, dtype=np.float32), [], Events(False)
    fit_loop(mean_step(seen), [x], ["loss", "high"], events, batch_size=4, epochs=2)
    assert [len(s) for s in seen] == [4, 4, 2] * 2
    assert sorted(np.concatenate(seen[:3])) == sorted(np.concatenate(seen[3:])) == list(x)
    assert list(np.concatenate(seen[:3])) != list(np.concatenate(seen[3:]))
    ends = [s for s in events.said if s[0] == "end"]
    assert [e[1] for e in ends] == [0, 1]
    for _, _, logs in ends:
        assert logs == pytest.approx({"loss": 4.5, "high": 0.5})


def test_order_follows_numpys_seed():
    def orders(seed):
        seen = []
        np.random.seed(seed)
        fit_loop(
            mean_step(seen), [np.arange(9.0, dtype="f")], ["loss", "m"], Events(False), batch_size=3, epochs=1
        )
        return np.concatenate(seen).tolist()

    assert orders(1) == orders(1) != orders(2)


def test_without_shuffling_batches_are_views():
    x, seen = np.arange(7, dtype=np.float32), []

    def step(n, arrays):
        assert np.shares_memory(arrays[0], x)
        seen.append(arrays[0][0])
        return np.zeros(1, np.float32)

    fit_loop(stepwise(step), [x], ["loss"], Events(False), batch_size=3, epochs=1, shuffle=False)
    assert seen == [0, 3, 6]


def test_batch_shuffle_keeps_batches_together():
    seen = []
    fit_loop(
        mean_step(seen),
        [np.arange(11, dtype="f")],
        ["loss", "m"],
        Events(False),
        batch_size=2,
        epochs=1,
        shuffle="batch",
    )
    assert all(b[1] == b[0] + 1 and b[0] % 2 == 0 for b in seen[:5]) and seen[5].tolist() == [10]


def test_rows_of_all_arrays_move_together():
    x, y = np.arange(50, dtype="f").reshape(10, 5), np.arange(10, dtype=np.int32) * 5

    def step(n, arrays):
        np.testing.assert_array_equal(arrays[0][:, 0], arrays[1])
        return np.zeros(1, np.float32)

    fit_loop(stepwise(step), [x, y], ["loss"], Events(False), batch_size=4, epochs=3)


def test_batch_events_carry_this_batchs_values():
    events = Events()
    fit_loop(
        mean_step(),
        [np.arange(6, dtype="f")],
        ["loss", "high"],
        events,
        batch_size=4,
        epochs=1,
        shuffle=False,
    )
    assert [s for s in events.said if s[0] == "batch"] == [
        ("batch", 0, {"loss": 1.5, "high": 0.0, "batch": 0, "size": 4}),
        ("batch", 1, {"loss": 4.5, "high": 0.5, "batch": 1, "size": 2}),
    ]


def test_stopping_within_an_epoch_and_initial_epoch():
    events = Events(stop_at=3)
    fit_loop(mean_step(), [np.zeros(8, "f")], ["loss", "m"], events, batch_size=2, epochs=9, initial_epoch=5)
    assert [s[:2] for s in events.said] == [("epoch", 5), ("batch", 0), ("batch", 1), ("end", 5)]


def test_validation_values_come_with_the_epoch():
    events = Events(False)
    fit_loop(
        mean_step(),
        [np.zeros(4, "f")],
        ["loss", "m"],
        events,
        batch_size=2,
        epochs=1,
        validate=lambda: {"loss": 7.0, "m": 8.0},
    )
    assert events.said[-1][2] == {"loss": 0, "m": 0, "val_loss": 7, "val_m": 8}


def test_nan_is_told_once_with_its_place():
    x = np.array([0, 0, 0, np.nan, 0, 0], "f")
    events = Events(False)
    with pytest.warns(UserWarning, match="loss is nan in epoch 1, batch 2") as caught:
        fit_loop(mean_step(), [x], ["loss", "m"], events, batch_size=2, epochs=3, shuffle=False)
    assert len(caught) == 1
    assert np.isnan(events.said[-1][2]["loss"])


def test_steps_limit_an_epoch():
    seen = []
    fit_loop(
        mean_step(seen), [np.zeros(10, "f")], ["loss", "m"], Events(False), batch_size=2, epochs=2, steps=3
    )
    assert len(seen) == 6
    with pytest.raises(InputError, match="at most 5"):
        training.check_steps("steps_per_epoch", 6, 5)


def test_evaluate_and_predict():
    x = np.arange(5, dtype="f")
    assert evaluate_loop(mean_step(), [x], ["loss", "m"], Events(False), batch_size=2) == pytest.approx(
        [2.0, 0.0]
    )
    outputs = predict_loop(
        one_by_one(lambda n, a: [a[0] * 2, a[0][:, None]]), [x], Events(False), batch_size=2
    )
    np.testing.assert_array_equal(outputs[0], x * 2)
    assert outputs[1].shape == (5, 1)


def test_spans_take_a_turn_each(monkeypatch):
    """A first batch, then as many as fit in the time that one took; single batches for listeners."""
    now = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])

    def lengths(slicer, stop, each, single=False):
        found = []
        for start, end in slicer.slices(stop, 4, single):
            assert start % 4 == 0
            now[0] += each * -(-(end - start) // 4)
            found.append(end - start)
        return found

    monkeypatch.setattr(training, "TIME_SLICE", 1.0)
    slicer = training.TimeSlicer()
    assert lengths(slicer, 90, 0.125) == [4, 32, 32, 22]
    assert lengths(slicer, 90, 0.125) == [28, 32, 30]  # a partial batch took as long as a whole one
    assert lengths(slicer, 10, 3.0, True) == [4, 4, 2]
    assert lengths(slicer, 10, 3.0) == [4, 4, 2]
    assert lengths(training.TimeSlicer(), 11, 0.0) == [4, 7]


def test_progress_is_told_after_each_span():
    events = Events()
    fit_loop(
        mean_step(),
        [np.arange(6, dtype="f")],
        ["loss", "high"],
        events,
        batch_size=4,
        epochs=1,
        shuffle=False,
    )
    assert events.done == [(4, [1.5, 0.0]), (6, [2.5, 1 / 6])]


def test_accuracy_is_found_under_both_names():
    logs = training.Logs({"acc": 1.0, "val_accuracy": 2.0})
    assert logs["accuracy"] == 1.0 and logs["val_acc"] == 2.0 and "accuracy" in logs
    assert logs.get("val_acc") == 2.0 and logs.get("mse") is None and "mse" not in logs
    with pytest.raises(KeyError, match="mse"):
        logs["mse"]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, "half", 0.99])
def test_a_split_leaves_samples_on_both_sides(share):
    with pytest.raises(InputError, match="validation_split"):
        training.split_at(10, share)
    assert training.split_at(10, 0.25) == 7


# ---------------------------------------------------------------- the bar


class Terminal:
    def __init__(self, interactive):
        self.interactive, self.text = interactive, ""

    def isatty(self):
        return self.interactive

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_the_bar_away_from_a_terminal_is_one_line():
    stream = Terminal(False)
    bar = Progbar(1437, 1, stream)
    for done in (0, 700, 1437):
        bar.update(done, [("loss", 0.1), ("acc", 0.98), ("small", 1e-5)])
    assert stream.text.startswith("1437/1437 [" + "=" * 30 + "] - 0s ")
    assert stream.text.endswith("/step - loss: 0.1000 - acc: 0.9800 - small: 1.0000e-05\n")
    assert stream.text.count("\n") == 1


def test_the_bar_on_a_terminal_is_rewritten():
    stream = Terminal(True)
    bar = Progbar(100, 1, stream)
    bar.update(50)
    assert stream.text.startswith("\r 50/100 [" + "=" * 14 + ">" + "." * 15 + "] - ETA: 0s")
    bar.update(51)  # too soon after the last
    assert "51/100" not in stream.text
    bar.update(100)
    assert stream.text.endswith("\n") and stream.text.count("\r") == 2


def test_verbose_2_has_no_bar():
    stream = Terminal(True)
    Progbar(10, 2, stream).update(10, [("loss", 1.0)])
    assert stream.text == " - 0s - loss: 1.0000\n"


def test_numbers_in_the_bar():
    assert [format_seconds(s) for s in (7.6, 90, 7500)] == ["7s", "1:30", "2:05:00"]
    assert [format_value(v) for v in (1.5, 1e-3, -2.0, float("nan"))] == [
        "1.5000",
        "1.0000e-03",
        "-2.0000",
        "nan",
    ]

"""Batches from objects that give them one after the other, against the same batches from arrays."""

import itertools
import warnings

import numpy as np
import pytest

from kcompile.interpreted import InterpreterEngine
from kcompile.keras.callbacks import LambdaCallback
from kcompile.keras.layers import Dense, Input
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.arrays import gives_batches
from kcompile_runtime.errors import InputError, KcompileError

rng = np.random.default_rng(5)
X = rng.normal(size=(20, 4)).astype("float32")
Y = rng.normal(size=(20, 2)).astype("float32")
W = np.linspace(0.5, 2, 20).astype("float32")
CUTS = [slice(0, 8), slice(8, 16), slice(16, 20)]


class Indexed:
    """What looks like a keras.utils.Sequence; slices never end."""

    def __init__(self, weights=False):
        self.weights, self.epochs, self.order = weights, 0, []

    def __len__(self):
        return 3

    def __getitem__(self, i):
        self.order.append(i)
        rows = slice(8 * i, 8 * i + 8)
        return (X[rows], Y[rows], W[rows])[: 3 if self.weights else 2]

    def on_epoch_end(self):
        self.epochs += 1


class Iterable:
    def __init__(self, length=None):
        self.length = length

    def __len__(self):
        if self.length is None:
            raise TypeError("unknown length")
        return self.length

    def __iter__(self):
        return ((X[rows], Y[rows]) for rows in CUTS)


def endless():
    return ((X[rows], Y[rows]) for rows in itertools.cycle(CUTS))


def made():
    np.random.seed(0)
    x = Input((4,))
    model = Model(x, Dense(2)(x))
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def from_arrays(**options):
    model = made()
    history = model.fit(X, Y, batch_size=8, shuffle=False, verbose=0, epochs=3, **options).history
    return model, history


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (Indexed, {}),
        (lambda: Iterable(3), {}),
        (Iterable, {"steps_per_epoch": 3}),
        (endless, {"steps_per_epoch": 3}),
        (lambda: itertools.cycle([(X[r], Y[r]) for r in CUTS]), {"steps_per_epoch": 3}),
        (lambda: ([X[r], Y[r]] for r in itertools.cycle(CUTS)), {"steps_per_epoch": 3}),
    ],
)
def test_training_is_that_of_the_same_batches(data, options):
    expected, history = from_arrays(validation_data=(X, Y))
    model, held = made(), Indexed()
    found = model.fit(data(), verbose=0, epochs=3, shuffle=False, validation_data=held, **options).history
    for name in history:
        np.testing.assert_allclose(found[name], history[name], rtol=1e-5)
    for a, b in zip(model.get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_weights_of_samples_and_of_classes_count():
    expected, history = from_arrays(sample_weight=W)
    model = made()
    found = model.fit(Indexed(weights=True), verbose=0, epochs=3, shuffle=False).history
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-5)
    np.testing.assert_array_equal(model.get_weights()[0], expected.get_weights()[0])


def test_a_sequence_is_shuffled_and_told_of_epochs():
    data, model = Indexed(), made()
    model.fit(data, verbose=0, epochs=8)
    passes = [data.order[3 * i : 3 * i + 3] for i in range(8)]
    assert data.epochs == 8 and all(sorted(p) == [0, 1, 2] for p in passes)
    assert len(set(map(tuple, passes))) > 1


def test_evaluation_and_prediction():
    model = made()
    expected = model.evaluate(X, Y, batch_size=8, verbose=0)
    for data, steps in ((Indexed(), None), (endless(), 3), (Iterable(), 3), (Iterable(3), None)):
        np.testing.assert_allclose(model.evaluate(data, verbose=0, steps=steps), expected, rtol=1e-6)
    whole = model.predict(X)
    for data, steps in (
        (Indexed(), None),
        (endless(), 3),
        (iter([X[:8], X[8:]]), 2),
        ((x[None] for x in X), 20),
    ):
        np.testing.assert_allclose(model.predict(data, steps=steps), whole, rtol=1e-5, atol=1e-6)
    assert model.evaluate(Indexed(), verbose=0, return_dict=True).keys() == {"loss", "mean_absolute_error"}


def test_bars_and_events_count_batches(capsys):
    seen = []
    made().fit(
        endless(),
        steps_per_epoch=3,
        verbose=1,
        epochs=2,
        callbacks=[LambdaCallback(on_batch_end=lambda batch, logs: seen.append((batch, logs["size"])))],
    )
    assert seen == [(0, 8), (1, 8), (2, 4)] * 2
    assert capsys.readouterr().out.count("3/3") == 2


def test_data_that_end_early_end_training_with_a_warning():
    model = made()
    with pytest.warns(UserWarning, match="ended after 1 of 2 batches"):
        history = model.fit(iter([(X, Y)] * 5), steps_per_epoch=2, epochs=9, verbose=0)
    assert history.epoch == [0, 1, 2]
    with warnings.catch_warnings():  # at the end of an epoch too
        warnings.simplefilter("ignore")
        assert model.fit(iter([(X, Y)] * 4), steps_per_epoch=2, epochs=9, verbose=0).epoch == [0, 1]
    with pytest.raises(InputError, match="3 batches"):
        model.evaluate(iter([(X, Y)]), steps=3, verbose=0)


def test_a_sequential_is_built_from_the_first_batch():
    model = Sequential([Dense(2)])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse")
    model.fit(endless(), steps_per_epoch=3, verbose=0)
    assert model.get_weights()[0].shape == (4, 2)


def test_errors_of_a_generator_are_its_own():
    def broken():
        yield X, Y
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        made().fit(broken(), steps_per_epoch=2, verbose=0)


WRONG = {
    "no steps": lambda m: m.fit(endless()),
    "no steps of an iterable": lambda m: m.fit(Iterable()),
    "no steps of validation": lambda m: m.fit(X, Y, validation_data=endless()),
    "no steps to evaluate": lambda m: m.evaluate(endless()),
    "to predict": lambda m: m.predict(endless()),
    "y beside batches": lambda m: m.fit(Indexed(), Y),
    "batch_size": lambda m: m.fit(Indexed(), batch_size=8),
    "weights": lambda m: m.evaluate(Indexed(), sample_weight=W),
    "split": lambda m: m.fit(Indexed(), validation_split=0.5),
    "steps of text": lambda m: m.fit(endless(), steps_per_epoch="3"),
    "x alone": lambda m: m.fit((X[r] for r in CUTS), steps_per_epoch=1),
    "four parts": lambda m: m.fit(((X, Y, W, W) for _ in CUTS), steps_per_epoch=1),
    "another shape": lambda m: m.fit(((X[:, :3], Y) for _ in CUTS), steps_per_epoch=1),
    "no batch": lambda m: m.fit(iter(()), steps_per_epoch=1),
    "a set": lambda m: m.fit({1, 2}),
    "batches on one batch": lambda m: m.train_on_batch(Indexed()),
    "batches as labels": lambda m: m.fit(X, Indexed()),
    "batches in a list": lambda m: m.predict([Indexed()]),
    "batches as weights": lambda m: m.fit(X, Y, sample_weight=Indexed()),
    "batches as validation labels": lambda m: m.fit(X, Y, validation_data=(X, Indexed())),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_told_at_once(name):
    model = made()
    before = model.get_weights()[0].copy()
    with pytest.raises(KcompileError):
        WRONG[name](model)
    np.testing.assert_array_equal(model.get_weights()[0], before)


def test_arrays_are_no_objects_of_batches():
    assert not any(
        map(
            gives_batches,
            (X, X[0, 0], 3, [1], (1,), {"a": 1}, None, "a", b"a", memoryview(X), np.ma.array([1])),
        )
    )
    assert all(map(gives_batches, (Indexed(), Iterable(), endless(), iter([]), {1}, map(len, []))))

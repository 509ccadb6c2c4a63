"""fit_generator, evaluate_generator and predict_generator: the training of the same batches, bit for bit."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import warnings

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.callbacks import Callback
from kcompile.keras.layers import Dense, Input
from kcompile.keras.models import Model, Sequential
from kcompile.keras.utils import PyDataset, Sequence

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="an iterator is copied by fork")
rng = np.random.default_rng(8)
X = rng.normal(size=(20, 4)).astype("float32")
Y = rng.normal(size=(20, 2)).astype("float32")
W = np.linspace(0.5, 2, 20).astype("float32")
CUTS = [slice(0, 8), slice(8, 16), slice(16, 20)]
WAYS = [(0, False), (1, False), (3, False), pytest.param(1, True, marks=forks)]


@pytest.fixture(autouse=True)
def nothing_is_left():
    threads = threading.active_count()
    yield
    assert threading.active_count() == threads
    assert not multiprocessing.active_children()


class Cut(Sequence):
    def __init__(self, cuts=CUTS):
        self.cuts, self.epochs, self.order = list(cuts), 0, []

    def __len__(self):
        return len(self.cuts)

    def __getitem__(self, index):
        self.order.append(index)
        rows = self.cuts[index]
        return X[rows], Y[rows], W[rows]

    def on_epoch_end(self):
        self.epochs += 1


def endless():
    return ((X[rows], Y[rows], W[rows]) for rows in itertools.cycle(CUTS))


def made(native=False):
    np.random.seed(0)
    x = Input((4,))
    model = Model(x, Dense(2)(x))
    if not native:
        model.use_engine(InterpreterEngine(model))
    model.compile("adam", "mse", metrics=["mae"])
    return model


def trained_by_batches(epochs=3, native=False):
    model = made(native)
    for rows in CUTS * epochs:
        model.train_on_batch(X[rows], Y[rows], W[rows])
    return model


def assert_same(model, expected):
    for a, b in zip(model.get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("data", [endless, Cut])
@pytest.mark.parametrize(("workers", "processes"), WAYS)
def test_training_is_that_of_train_on_batch(data, workers, processes):
    expected, model = trained_by_batches(native=True), made(native=True)
    history = model.fit_generator(
        data(),
        steps_per_epoch=3,
        epochs=3,
        verbose=0,
        workers=workers,
        use_multiprocessing=processes,
        max_queue_size=2,
        shuffle=False,
        validation_data=data(),
        validation_steps=3,
    )
    assert_same(model, expected)
    np.testing.assert_allclose(
        [history.history["val_loss"][-1], history.history["val_mean_absolute_error"][-1]],
        expected.evaluate(X, Y, sample_weight=W, verbose=0),
        rtol=1e-5,
    )


@pytest.mark.parametrize(("workers", "processes"), WAYS)
def test_evaluation_and_prediction_are_those_of_arrays(workers, processes):
    model = made()
    options = {"workers": workers, "use_multiprocessing": processes}
    expected = model.evaluate(X, Y, sample_weight=W, verbose=0)
    np.testing.assert_allclose(model.evaluate_generator(endless(), 3, **options), expected, rtol=1e-6)
    np.testing.assert_allclose(model.evaluate_generator(Cut(), **options), expected, rtol=1e-6)
    whole = model.predict(X)
    for data, steps in ((endless(), 3), (Cut(), None), (iter([X[:8], X[8:]]), 2)):
        found = model.predict_generator(data, steps, **options)
        np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-6)


def test_keras_1_names_are_taken_with_one_warning():
    expected, model = trained_by_batches(2), made()
    with pytest.warns(UserWarning, match="names of Keras 1") as found:
        model.fit_generator(
            endless(),
            samples_per_epoch=3,
            nb_epoch=2,
            verbose=0,
            validation_data=endless(),
            nb_val_samples=3,
            max_q_size=4,
            nb_worker=1,
            pickle_safe=False,
        )
    assert len(found) == 1
    assert_same(model, expected)
    with pytest.warns(UserWarning, match="val_samples is steps"):
        values = model.evaluate_generator(endless(), val_samples=3, max_q_size=10)
    assert values == model.evaluate_generator(endless(), 3)
    with pytest.raises(TypeError, match="samples"):
        model.fit_generator(endless(), samples=3)
    with pytest.raises(TypeError, match="nb_epoch"):
        model.predict_generator(endless(), 3, nb_epoch=3)


def test_samples_of_an_epoch_are_counted_where_a_generator_says_its_batch_size():
    class Sized:
        batch_size = 8

        def __init__(self):
            self.count, self.data = 0, endless()

        def __iter__(self):
            return self

        def __next__(self):
            self.count += 1
            return next(self.data)

    data = Sized()
    with pytest.warns(UserWarning, match="Keras 1"):
        made().fit_generator(data, samples_per_epoch=16, nb_epoch=2, verbose=0)
    assert data.count == 4


def test_no_more_batches_are_taken_than_epochs_need():
    data = endless()
    made().fit_generator(data, 2, epochs=2, verbose=0, workers=2)
    np.testing.assert_array_equal(next(data)[0], X[CUTS[1]])  # the fifth


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sequence_goes_on_in_the_next_epoch_and_is_told_of_its_ends(workers):
    data = Cut()
    made().fit_generator(data, 2, epochs=3, verbose=0, shuffle=False, workers=workers)
    assert [sorted(data.order[:3]), sorted(data.order[3:])] == [[0, 1, 2]] * 2 and data.epochs == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sequence_may_change_its_length(workers):
    class Grows(Cut):
        def on_epoch_end(self):
            self.cuts.append(CUTS[0])

    seen, steps = [], []

    class Watch(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            steps.append(self.params["steps"])

        def on_batch_end(self, batch, logs=None):
            seen.append(batch)

    made().fit_generator(Grows(), epochs=3, verbose=0, workers=workers, callbacks=[Watch()])
    assert seen == [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert steps == [3, 4, 5]


def test_a_data_set_of_keras_3_says_itself_how_it_is_asked():
    class Data(Cut, PyDataset):
        def __init__(self, **options):
            Cut.__init__(self)
            PyDataset.__init__(self, **options)
            self.threads = set()

        def __getitem__(self, index):
            self.threads.add(threading.current_thread() is threading.main_thread())
            return super().__getitem__(index)

    for options, here in (({}, {True}), ({"workers": 2}, {False})):
        data, model = Data(**options), made()
        model.fit(data, epochs=3, shuffle=False, verbose=0)
        assert data.threads == here
        assert_same(model, trained_by_batches())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_data_set_of_keras_3_may_say_num_batches_instead_of_a_length(workers):
    class Three(PyDataset):
        num_batches = 3

        def __getitem__(self, index):
            rows = CUTS[index % 3]
            return X[rows], Y[rows], W[rows]

    class Endless(Three):
        num_batches = None

    for kind, steps in ((Three, None), (Endless, 3)):
        data, model = kind(workers=workers), made()
        model.fit(data, steps_per_epoch=steps, epochs=3, shuffle=False, verbose=0)
        assert_same(model, trained_by_batches())
        assert len(model.predict(data, steps=steps)) == 20
    assert len(list(Three())) == 3 and len(list(itertools.islice(Endless(), 7))) == 7

    class Says(PyDataset):
        def __init__(self):
            """Without the constructor of PyDataset."""

    data = Says()
    assert (data.workers, data.use_multiprocessing, data.max_queue_size) == (1, False, 10)
    for asks in (lambda: data.num_batches, lambda: made().fit(data, verbose=0)):
        with pytest.raises(NotImplementedError, match="num_batches"):
            asks()


def test_evaluations_since_tf_keras_begin_anew_and_end_with_the_data():
    def results(keras):
        np.random.seed(0)
        model = keras.models.Sequential([keras.layers.Dense(2, input_shape=(4,))])
        model.use_engine(InterpreterEngine(model))
        model.compile("sgd", "mse")
        held, loader = Cut(), [(X[rows], Y[rows]) for rows in CUTS]
        history = model.fit(X, Y, epochs=2, verbose=0, validation_data=held, validation_steps=1).history
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count = len(model.predict(Cut(), steps=5))
        listed = type("Listed", (), {"__iter__": lambda self: iter(loader), "__len__": lambda self: 3})()
        model.fit(X, Y, epochs=2, verbose=0, validation_data=listed, validation_steps=2)
        return held.order, held.epochs, count, len(history["val_loss"])

    assert results(tf_keras) == ([0, 0], 2, 20, 2)
    assert results(keras3)[0] == [0, 0]
    assert results(keras)[0] == [0, 1]  # Keras 2 goes on


class Tensor:
    """An array of another library, which converts itself."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._array, dtype)


class DataLoader:
    """As torch has it: batches are lists of tensors, and each iteration begins anew."""

    def __len__(self):
        return len(CUTS)

    def __iter__(self):
        return ([Tensor(X[rows]), Tensor(Y[rows]), Tensor(W[rows])] for rows in CUTS)


@pytest.mark.parametrize("library", [keras, tf_keras, keras3])
def test_loaders_of_other_libraries_are_iterated(library):
    def results(data):
        np.random.seed(0)
        model = library.models.Sequential([library.layers.Dense(2, input_shape=(4,))])
        model.use_engine(InterpreterEngine(model))
        model.compile("sgd", "mse")
        history = model.fit(data, epochs=2, shuffle=False, verbose=0, validation_data=data).history
        return history, model.evaluate(data, verbose=0), model.predict(data).tolist()

    assert results(DataLoader()) == results(Cut())


@pytest.mark.parametrize(("workers", "processes"), WAYS)
def test_an_error_in_the_data_ends_all_workers(workers, processes):
    def broken():
        yield X, Y
        yield X, Y
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        made().fit_generator(broken(), 5, verbose=0, workers=workers, use_multiprocessing=processes)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_of_a_callback_or_ctrl_c_ends_all_workers(error):
    class Raises(Callback):
        def on_batch_end(self, batch, logs=None):
            raise error

    with pytest.raises(error):
        made().fit_generator(
            endless(),
            5,
            verbose=0,
            workers=3,
            callbacks=[Raises()],
            validation_data=Cut(),
            validation_steps=2,
        )


def test_validation_after_some_epochs_takes_its_batches_then():
    held = Cut()
    history = (
        made()
        .fit_generator(endless(), 3, epochs=5, verbose=0, validation_data=held, validation_freq=2)
        .history
    )
    assert len(history["val_loss"]) == 2 and len(history["loss"]) == 5
    assert held.order == [0, 1, 2] * 2


def test_several_processes_with_a_generator_are_warned_of():
    if not hasattr(os, "fork"):
        pytest.skip("an iterator is copied by fork")
    with pytest.warns(UserWarning, match="own copy"):
        made().fit_generator(endless(), 2, verbose=0, workers=2, use_multiprocessing=True)


def test_class_weights_count_for_labels_of_a_generator():
    def one_hot():
        labels = np.eye(2, dtype="float32")[np.arange(20) % 2]
        return ((X[rows], labels[rows]) for rows in itertools.cycle(CUTS))

    def model():
        np.random.seed(0)
        found = Sequential([Dense(2, activation="softmax", input_dim=4)])
        found.use_engine(InterpreterEngine(found))
        found.compile("sgd", "categorical_crossentropy")
        return found

    trained, expected = model(), model()
    trained.fit_generator(one_hot(), 3, verbose=0, class_weight={0: 1.0, 1: 3.0})
    for x, y in itertools.islice(one_hot(), 3):
        expected.train_on_batch(x, y, class_weight={0: 1.0, 1: 3.0})
    assert_same(trained, expected)


WRONG = {
    "arrays": lambda m: m.fit_generator(X, 3),
    "arrays to evaluate": lambda m: m.evaluate_generator((X, Y), 3),
    "no steps": lambda m: m.fit_generator(endless()),
    "no validation steps": lambda m: m.fit_generator(endless(), 3, validation_data=endless()),
    "no steps to predict": lambda m: m.predict_generator(endless()),
    "workers below 0": lambda m: m.fit_generator(endless(), 3, workers=-1),
    "an empty queue": lambda m: m.fit_generator(endless(), 3, max_queue_size=0),
    "a sequence without batches": lambda m: m.fit_generator(Cut([]), epochs=2),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_a_value_error(name):
    model = made()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError):
            WRONG[name](model)


@pytest.mark.parametrize(("workers", "processes"), [(2, False), pytest.param(2, True, marks=forks)])
def test_batches_may_be_computed_by_a_model_of_the_worker(workers, processes):
    features = Sequential([Dense(64, activation="tanh", input_dim=4), Dense(4)])
    features.predict(X)  # with threads of its own, here and in the processes

    class Computed(Cut):
        def __getitem__(self, index):
            x, y, weight = super().__getitem__(index)
            return features.predict(x), y, weight

    def trained(**options):
        model = made(native=True)
        model.fit_generator(Computed(), epochs=2, verbose=0, shuffle=False, **options)
        return model

    assert_same(trained(workers=workers, use_multiprocessing=processes), trained(workers=0))

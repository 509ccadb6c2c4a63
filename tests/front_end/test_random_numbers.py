"""Random numbers are new in every call and batch, outside training too, and a seed repeats all of them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras.layers import GRU, LSTM, BatchNormalization, Dense, Dropout, Input, Lambda, SimpleRNN
from kcompile.keras.models import Model, Sequential
from kcompile.keras.utils import set_random_seed

X = np.ones((40, 50), np.float32)
STEPS = np.ones((40, 5, 4), np.float32)


def dropped():
    i = Input((50,))
    return Model(i, Dropout(0.5)(i, training=True))


def seeded():
    i = Input((50,))
    return Model(i, Dropout(0.5, seed=3)(i, training=True))


def noisy():
    i = Input((50,))
    return Model(i, Lambda(lambda t: t + K.random_normal(K.shape(t)))(i))


def sampled():
    """The sampling of a variational autoencoder."""
    i = Input((50,))
    mean, spread = Dense(30)(i), Dense(30)(i)

    def sampling(args):
        z = K.random_normal(shape=(K.shape(args[0])[0], 30), seed=11)
        return args[0] + K.exp(args[1] / 2) * z

    return Model(i, Lambda(sampling)([mean, spread]))


def normalised():
    i = Input((50,))
    return Model(i, Dense(30)(BatchNormalization()(Dense(20)(Dropout(0.5)(i, training=True)))))


def nested():
    i = Input((50,))
    return Model(i, dropped()(i))


def several():
    """Two outputs: no quick way to call it."""
    i = Input((50,))
    y = Dropout(0.5)(i, training=True)
    return Model(i, [y, Dense(30)(y)])


def recurrent(layer):
    def make():
        i = Input((5, 4))
        return Model(i, layer(20, dropout=0.5, recurrent_dropout=0.5)(i, training=True))

    return make


MODELS = {
    "dropped": dropped,
    "seeded": seeded,
    "noisy": noisy,
    "sampled": sampled,
    "nested": nested,
    "normalised": normalised,
    "several": several,
    **{c.__name__: recurrent(c) for c in (LSTM, GRU, SimpleRNN)},
}


def calls(model, x):
    """The results of one batch each, of every way to predict."""
    y = [
        model.predict(x),
        model.predict(x),
        model.predict_on_batch(x),
        model.predict_on_batch(x),
        model(x),
        model.predict(np.concatenate([x, x, x]), batch_size=40),
    ]
    first = [part[0] if isinstance(part, list) else part for part in y]
    return [*first[:-1], *np.split(first[-1], 3)]


def differ(results):
    return all((a != b).mean() > 0.25 for k, a in enumerate(results) for b in results[:k])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_call_and_batch_draws_anew_and_a_seed_repeats_all(name):
    x = STEPS if name in ("LSTM", "GRU", "SimpleRNN") else X
    runs = []
    for threads in (1, 1, 3):
        set_random_seed(5)
        model = MODELS[name]()
        kcompile.compile(model, threads=threads)
        runs.append(calls(model, x))
    assert differ(runs[0])
    for other in runs[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(runs[0], other))
    set_random_seed(5)
    model = MODELS[name]()
    model.use_engine(InterpreterEngine(model))
    for a, b in zip(runs[0], calls(model, x)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_evaluations_draw_anew():
    model = normalised()
    model.compile("sgd", "mse")
    y = np.zeros((120, 30), np.float32)
    x = np.tile(X, (3, 1))
    values = [
        model.evaluate(x, y, verbose=0),
        model.evaluate(x, y, verbose=0),
        model.evaluate(x[:40], y[:40], batch_size=40, verbose=0),
        *(model.test_on_batch(x[:40], y[:40]) for _ in range(2)),
    ]
    assert len(set(values)) == len(values)


def test_the_learning_phase_of_a_script():
    model = Sequential([Dropout(0.5, input_shape=(50,)), Dense(30)])
    K.set_learning_phase(1)
    try:
        assert differ(calls(model, X))
    finally:
        K.clear_session()


def test_predictions_in_between_do_not_change_training():
    ends = []
    for often in (0, 3):
        set_random_seed(2)
        model = normalised()
        model.compile("sgd", "mse")
        for _ in range(2):
            for _ in range(often):
                model.predict(X)
                model.evaluate(X, np.zeros((40, 30)), verbose=0)
            model.fit(X, np.zeros((40, 30)), epochs=2, verbose=0)
        ends.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*ends))


def test_training_and_prediction_draw_different_numbers():
    model = dropped()
    state = model.random_state
    model.compile("sgd", "mse")
    assert state.draws.value >= 2**31 > state.step.value
    model.predict(X[:1])
    assert (state.step.value, state.draws.value) == (0, 2**31 + 1)


def test_models_without_random_numbers_stay_pure():
    model = Sequential([Dense(8, input_shape=(50,)), Dropout(0.5), BatchNormalization(), Dense(3)])
    model.compile("sgd", "mse")
    compiled = kcompile.compile(model)
    assert not compiled.graph("predict").updates and not compiled.graph("test").updates
    assert not compiled.engine.program("predict").entries["predict"].writes_variables


def test_what_depends_on_weights_is_prepared_once():
    compiled = kcompile.compile(normalised())
    compiled.predict(X)
    program = compiled.engine.program("predict")
    assert "prepare" in program.entries and program.entries["predict"].writes_variables
    assert "draws" not in compiled.engine.compiled("predict").prepare.variables
    for _ in range(2):
        compiled.predict(X)
        assert not program.stale
    before = compiled.predict_on_batch(X)
    compiled.set_weights([np.zeros_like(w) for w in compiled.get_weights()])
    assert program.stale and before.any() and not compiled.predict_on_batch(X).any()


@pytest.mark.parametrize("name", ["normalised", "sampled", "LSTM"])
def test_verification_uses_the_numbers_of_the_call(name):
    x = STEPS if name == "LSTM" else X
    compiled = kcompile.compile(MODELS[name](), verify=True)
    first = compiled.predict(x)
    assert (first != compiled.predict(x)).any()
    assert compiled.verify(x).ok


def test_python_threads_draw_different_numbers():
    model = dropped()
    model.predict(X)
    found = []

    def work():
        found.extend(model.predict_on_batch(X) for _ in range(20))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({y.tobytes() for y in found}) == 80


# ---------------------------------------------------------------- outside models


def test_an_expression_draws_anew_and_its_seed_repeats_it():
    r = K.random_normal((100,), seed=1)
    first, second, third = K.eval(r), K.eval(r), K.eval(r + 0.0)
    assert differ([first, second, third])
    again = K.random_normal((100,), seed=1)
    assert np.array_equal(K.eval(again), first) and np.array_equal(K.eval(again), second)
    np.random.seed(4)
    free = [K.eval(x) for x in [K.random_uniform((100,))] * 2]
    assert differ(free)
    np.random.seed(4)
    assert np.array_equal(K.eval(K.random_uniform((100,))), free[0])


def test_whoever_reads_an_expression_reads_the_same_numbers():
    r = K.random_uniform((100,))
    assert not K.eval(r - r).any()
    y, more = K.function([], [r, r + 1.0])([])
    np.testing.assert_allclose(more, y + 1, rtol=1e-6)
    i = Input((100,))
    first, second = K.function([i], [i + r, i - r])([np.zeros((2, 100))])
    np.testing.assert_array_equal(first, -second)


def test_functions_draw_anew():
    model = dropped()
    f = K.function([model.input], [model.output])
    free = K.function([], [K.random_normal((100,)), K.random_normal((100,), seed=3)])
    assert differ([f([X])[0] for _ in range(3)])
    assert differ([y for _ in range(3) for y in free([])])

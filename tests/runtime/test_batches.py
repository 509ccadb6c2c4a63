"""Many batches in one native call: the same bits as one by one, through the whole front end."""

import _thread
import ctypes
import functools
import signal
import threading

import numpy as np
import pytest
from native import AFFINE, affine, compiled, pair, spec

import kcompile
from kcompile import keras
from kcompile.keras import callbacks
from kcompile_runtime import EntrySpec, InputError, NativeError, loop
from kcompile_runtime.execute import Executor

layers = keras.layers
RNG = np.random.default_rng(3)


# ---------------------------------------------------------------- the native loop alone


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 32, 64, 1000])
def test_batches_of_a_program_are_those_of_its_runs(size, threads):
    weights = RNG.normal(size=(5, 3)).astype("f"), np.ones(3, "f")
    program = compiled(AFFINE, affine(), weights, threads)
    x = RNG.normal(size=(65, 5)).astype("f")
    slow = loop.one_by_one(lambda n, parts: program.run("predict", n, parts))
    fast = program.batches("predict")
    for order in (None, RNG.permutation(65)):
        for start, stop in ((0, 65), (13, 14), (min(size, 60), 65)):
            for _ in range(2):  # buffers are used again
                got, want = (run([x], order, size, start, stop)[0] for run in (fast, slow))
                np.testing.assert_array_equal(got, want)
    program.variables[1][...] = 0
    program.changed()
    np.testing.assert_array_equal(fast([x], None, size, 0, 65)[0], slow([x], None, size, 0, 65)[0])


def test_rows_of_every_width_are_gathered():
    """Widths around the pieces that rows are copied in, and sources that are aligned to nothing."""
    for shape, dtype in [
        *(((k,), "uint8") for k in (1, 2, 3, 5, 7, 8, 9, 15, 17, 31, 33, 63, 64, 65, 200)),
        ((), "int32"),
        ((2, 3), "float64"),
        ((50_000,), "float32"),
    ]:
        wanted = [spec("x", ("n", *shape), dtype), spec("id", ("n",), "int64")]
        seen: list[list[np.ndarray]] = []
        fake = _Gathers(wanted, seen)
        data = RNG.integers(0, 100, (12, *shape)).astype(dtype)
        raw = np.zeros(data.nbytes + 8, np.uint8)
        x = raw[data.itemsize : data.itemsize + data.nbytes].view(dtype).reshape(data.shape)
        x[...] = data
        order = RNG.permutation(12)
        fake.run([x, np.arange(12)], order, 5, 0, 12)
        np.testing.assert_array_equal(np.concatenate([s[0] for s in seen]), data[order])
        np.testing.assert_array_equal(np.concatenate([s[1] for s in seen]), order)


@functools.cache
def zeros():
    return compiled(AFFINE, affine(), (np.zeros((5, 3), "f"), np.zeros(3, "f")), 2)


class _Gathers:
    """An entry written in Python: it keeps copies of what it is given, and fails at `fails`."""

    def __init__(self, inputs, seen, fails=None):
        table = ctypes.POINTER(ctypes.c_size_t)

        def entry(n, pointers, outputs, *rest):
            seen.append(
                [
                    np.frombuffer(ctypes.string_at(pointers[k], s.nbytes(n)), s.dtype).reshape(s.bind(n))
                    for k, s in enumerate(inputs)
                ]
            )
            return 9 if len(seen) == fails else 0

        self._callback = ctypes.CFUNCTYPE(
            ctypes.c_int32, ctypes.c_int64, table, table, *[ctypes.c_void_p] * 5
        )(entry)
        address = ctypes.cast(self._callback, ctypes.c_void_p).value
        program = zeros()
        pool = program._pointer
        executor = Executor(
            "python", address, inputs, (), lambda n: 64, lambda memory: (ctypes.c_void_p(0),) * 4 + (pool,)
        )
        self.run = loop.BatchLoop(program.symbol("kc_batches"), executor)


def test_a_batch_that_fails_ends_the_call():
    seen = []
    fake = _Gathers([spec("x", ("n",))], seen, fails=2)
    with pytest.raises(NativeError, match="status 9"):
        fake.run([np.zeros(10, "f")], None, 2, 0, 10)
    assert len(seen) == 2


def test_arrays_that_do_not_conform_are_converted_or_refused():
    program = compiled(AFFINE, affine(), (np.ones((5, 3), "f"), np.zeros(3, "f")), 1)
    run = program.batches("predict")
    x = RNG.normal(size=(5, 8))
    want = run([np.ascontiguousarray(x.T, "f")], None, 3, 0, 8)[0]
    np.testing.assert_array_equal(run([x.T], None, 3, 0, 8)[0], want)
    with pytest.raises(InputError, match="x"):
        run([np.zeros((8, 4), "f")], None, 3, 0, 8)


def test_an_input_without_a_batch_axis_goes_one_by_one():
    specs = (
        EntrySpec(
            "predict",
            (spec("a", ("n", 2), "int32"), spec("k", (), "float64")),
            (spec("b", ("n", 2), "int32"), spec("c", ("n", 2), "float64")),
            reads_prepared=False,
        ),
    )
    program = compiled(specs, pair(), (), 1)
    assert not loop.can_join(specs[0].inputs, specs[0].outputs)
    assert loop.can_join(specs[0].inputs[:1], specs[0].outputs)
    assert not loop.can_join((spec("a", ("n", "n")),), ())
    assert not loop.can_join((spec("a", ("n", 0)),), ())
    assert callable(program.batches("predict"))


# ---------------------------------------------------------------- through the front end


def dropout_mlp():
    return keras.Sequential(
        [
            layers.Dense(9, activation="relu", input_shape=(7,)),
            layers.Dropout(0.4),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def stateful():
    return keras.Sequential(
        [layers.LSTM(5, stateful=True, batch_input_shape=(4, 3, 2)), layers.Dense(3, activation="softmax")]
    )


def any_length():
    return keras.Sequential(
        [
            layers.Conv1D(4, 2, input_shape=(None, 2)),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def embedding():
    return keras.Sequential(
        [layers.Embedding(11, 4, input_length=6), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )


MODELS = {
    "dropout": (dropout_mlp, (7,)),
    "stateful": (stateful, (3, 2)),
    "any length": (any_length, (9, 2)),
    "embedding": (embedding, (6,)),
}


def twins(name, threads=2):
    """The same model twice, the second one stepping from Python, and data."""
    make, shape = MODELS[name]
    engines = []
    for _ in range(2):
        keras.backend.clear_session()
        np.random.seed(5)
        model = make()
        model.compile(
            "adam",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            weighted_metrics=["mae"] if name == "dropout" else None,
        )
        engines.append(kcompile.compile(model, threads=threads))
    engines[1].set_weights(engines[0].get_weights())
    engine = engines[1].engine
    engine.batches = lambda entry: loop.one_by_one(lambda n, parts: engine.run(entry, n, parts))
    n = 24 if name == "stateful" else 29
    x = RNG.integers(0, 11, (n, *shape)) if name == "embedding" else RNG.normal(size=(n, *shape))
    return engines, x, RNG.integers(0, 3, n)


def same(pair, act):
    """Both do the same, from the same state of numpy's generator, and have the same weights after."""
    results = []
    for compiled_model in pair:
        np.random.seed(11)
        results.append(act(compiled_model))
    for weights in zip(*(c.get_weights() for c in pair)):
        np.testing.assert_array_equal(weights[0], weights[-1])
    return results


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_fit_evaluate_and_predict_have_the_bits_of_single_steps(name, shuffle):
    pair, x, y = twins(name)
    many, single = same(
        pair,
        lambda c: (
            c.fit(
                x,
                y,
                batch_size=4,
                epochs=4,
                initial_epoch=1,
                shuffle=shuffle,
                verbose=0,
                validation_data=(x[:8], y[:8]),
            ).history
        ),
    )
    assert many == single and len(many["loss"]) == 3
    many, single = same(pair, lambda c: c.evaluate(x, y, batch_size=4, verbose=0))
    assert many == single
    for one, other in zip(*same(pair, lambda c: [c.predict(x, batch_size=4)])):
        np.testing.assert_array_equal(one, other)


def test_weights_rates_and_steps(name="dropout"):
    pair, x, y = twins(name)
    rate = callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))
    many, single = same(
        pair,
        lambda c: (
            c.fit(
                x.astype("float64"),
                y.astype("uint8"),
                batch_size=3,
                epochs=3,
                verbose=0,
                sample_weight=np.arange(29) % 3,
                class_weight={0: 1, 1: 2, 2: 0.5},
                steps_per_epoch=7,
                validation_split=0.2,
                callbacks=[rate],
            ).history
        ),
    )
    assert many == single and many["lr"] == pytest.approx([0.01, 0.005, 0.01 / 3])


def test_listening_to_batches_changes_no_bits():
    pair, x, y = twins("dropout")
    seen = []
    many = same(pair[:1], lambda c: c.fit(x, y, batch_size=4, epochs=2, verbose=0).history)[0]
    listener = callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(logs["size"]))
    np.random.seed(11)
    told = pair[1].fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[listener]).history
    assert told == many and seen == [4, 4, 4, 4, 4, 4, 4, 1] * 2


def test_terminate_on_nan_stops_at_the_batch():
    pair, x, y = twins("dropout")
    x[9] = np.nan
    for c in pair:
        with pytest.warns(UserWarning, match="epoch 1, batch 3"):
            c.fit(
                x, y, batch_size=4, epochs=5, shuffle=False, verbose=0, callbacks=[callbacks.TerminateOnNaN()]
            )
        assert c.model.optimizer.iterations.value == 3
    fresh = twins("dropout")[0][0]
    with pytest.warns(UserWarning, match="epoch 1, batch 3"):
        fresh.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0)


def test_a_model_that_a_callback_changes_goes_on():
    """Programs are made anew, and weights set between epochs are seen."""
    pair, x, y = twins("dropout")
    seen = []

    def change(epoch, logs):
        c.set_weights([w * 0 for w in c.get_weights()])
        c.model.layers[1].trainable = False
        c.model.compile(
            "sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["mae"]
        )
        seen.append(logs["loss"])

    for c in pair:
        np.random.seed(11)
        c.fit(
            x, y, batch_size=4, epochs=3, verbose=0, callbacks=[callbacks.LambdaCallback(on_epoch_end=change)]
        )
    assert seen[:3] == seen[3:] and len(set(seen[:3])) == 3


def test_python_has_its_turn_within_an_epoch():
    """Ctrl-C ends a pass of millions of steps in the middle, and training can go on."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    pair, x, y = twins("dropout")
    c, steps = pair[0], 2_000_000
    c.fit(x, y, batch_size=4, verbose=0)
    before = int(c.model.optimizer.iterations.value)
    big, labels = np.resize(x, (steps, 7)).astype("f"), np.resize(y, steps)
    start = callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: threading.Timer(0.1, _thread.interrupt_main).start()
    )
    try:
        with pytest.raises(KeyboardInterrupt):
            c.fit(big, labels, batch_size=1, epochs=1, shuffle=False, verbose=0, callbacks=[start])
    finally:
        signal.signal(signal.SIGINT, usual)
    assert 0 < c.model.optimizer.iterations.value - before < steps
    c.fit(x, y, batch_size=4, verbose=0)


# ---------------------------------------------------------------- one array, at the least cost


def quick_model():
    model = keras.Sequential([layers.Dense(4, activation="tanh", input_shape=(3,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    return kcompile.compile(model, threads=1)


def test_predictions_of_one_array_stay_right():
    """The way that is kept after the first call sees new weights, other sizes, types and layouts."""
    c = quick_model()
    x = RNG.normal(size=(40, 3))
    for _ in range(2):
        for rows in (1, 3, 40):
            want = np.concatenate([c.predict_on_batch(x[i : i + 1].tolist()) for i in range(rows)])
            for given in (
                x[:rows],
                x[:rows].astype("f"),
                np.asfortranarray(x[:rows], "f"),
                x[:rows].astype("f")[::-1][::-1],
                [x[:rows]],
            ):
                for call in (c, c.predict, c.predict_on_batch, c.model.predict):
                    np.testing.assert_allclose(call(given), want, rtol=1e-5, atol=1e-6)
        c.train_on_batch(x, np.ones((40, 2)))
        c.set_weights([w + 0.1 for w in c.get_weights()])


def test_errors_of_predictions_are_the_same_the_first_time_and_later():
    for bad, message in (
        (np.zeros((2, 4)), "expected float32"),
        (np.zeros(3), "pass x"),
        (np.array("a"), "expected numbers"),
        (np.zeros((2, 3), complex), "expected numbers"),
    ):
        c = quick_model()
        for _ in range(2):
            for call in (c, c.predict, c.predict_on_batch):
                with pytest.raises((ValueError, TypeError), match=message):
                    call(bad)
            c(np.zeros((1, 3), "f"))
            c.predict(np.zeros((2, 3), "f"))


def test_a_model_that_grows_predicts_anew():
    c = quick_model()
    x = np.ones((2, 3), "f")
    assert c(x).shape == c(x).shape == (2, 2)
    c.model.add(layers.Dense(5))
    assert c(x).shape == c.predict(x).shape == (2, 5)
    again = kcompile.compile(c.model, threads=1, verify=True)
    np.testing.assert_array_equal(again(x), again(x))


def test_wrong_options_of_predict_are_told_on_the_quick_way_too():
    c = quick_model()
    x = np.ones((2, 3), "f")
    for _ in range(2):
        for options in ({"batch_size": 0}, {"verbose": 7}, {"steps": 0}, {"callbacks": [3]}):
            with pytest.raises(ValueError, match=next(iter(options))):
                c.predict(x, **options)
        c.predict(x)

"""Models whose inputs are tensors of K are trained, tested and run without x. Values are Keras 2.2.4's."""

from __future__ import annotations

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import keras
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras.models import Model, load_model

X = np.sin(np.arange(12.0)).reshape(4, 3)
Y = np.cos(np.arange(8.0)).reshape(4, 2)
Z = np.sin(np.arange(20.0)).reshape(4, 5)


def dense(inputs, y, **options):
    start = keras.initializers.Constant(0.1)
    m = Model(inputs, L.Dense(2, kernel_initializer=start, name="out")(y))
    m.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"], **options)
    return m


def one(expression=False, **options):
    v = K.variable(X)
    x = L.Input(tensor=v * 2.0 if expression else v, name="given")
    return dense(x, x, **options), v


def mixed():
    given, fed = L.Input(tensor=K.variable(X)), L.Input(batch_shape=(4, 5), name="fed")
    return dense([given, fed], L.concatenate([given, fed]))


def close(found, right):
    np.testing.assert_allclose(found, right, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("expression, losses", [(False, [0.500526, 0.468175]), (True, [0.469637, 0.407493])])
def test_fit_takes_steps(expression, losses):
    history = one(expression)[0].fit(None, Y, steps_per_epoch=3, epochs=2, verbose=0)
    close(history.history["loss"], losses)


def test_labels_alone_are_an_epoch_of_one_step():
    close(one()[0].fit(y=Y, steps_per_epoch=1, verbose=0).history["loss"], [0.515512])
    close(one()[0].fit(y=Y, verbose=0).history["loss"], [0.515512])
    close(one()[0].fit([], Y, steps_per_epoch=1, verbose=0).history["loss"], [0.515512])
    weighted = one()[0].fit(None, Y, steps_per_epoch=2, sample_weight=np.array([1.0, 2, 0, 1]), verbose=0)
    close(weighted.history["loss"], [0.681484])


def test_validation_takes_steps():
    history = one()[0].fit(
        None, Y, steps_per_epoch=2, validation_data=(None, Y * 2), validation_steps=3, verbose=0
    )
    close([*history.history["loss"], *history.history["val_loss"]], [0.507484, 2.060621])


def test_batches_and_evaluation():
    for method in ("train_on_batch", "test_on_batch"):
        close(getattr(one()[0], method)(None, Y), [0.515512, 0.644890])
    close(one()[0].evaluate(None, Y, steps=2, verbose=0), [0.515512, 0.644890])
    m = one()[0]
    close(m.predict_on_batch(None)[:, 0], [0.175077, -0.157461, 0.136693, -0.113189])
    assert m.predict(None, steps=2).shape == (8, 2)


def test_a_variable_is_read_at_each_call():
    m, v = one()
    m.predict(None, steps=1)
    K.set_value(v, X * 3)
    close(m.predict(None, steps=1)[:, 0], [0.525230, -0.472382, 0.410079, -0.339568])


def test_a_random_tensor_is_drawn_for_each_batch():
    x = L.Input(tensor=K.random_normal((4, 3)))
    found = dense(x, x).predict(None, steps=2)
    assert found.shape == (8, 2) and not np.allclose(found[:4], found[4:])


@pytest.mark.parametrize("several", [False, True])
def test_labels_are_tensors_too(several):
    held = K.variable(Y)
    options = {"target_tensors": [held] if several else held}
    close(one(**options)[0].fit(None, None, steps_per_epoch=3, verbose=0).history["loss"], [0.500526])
    close(one(**options)[0].fit(steps_per_epoch=3, verbose=0).history["loss"], [0.500526])
    close(one(**options)[0].train_on_batch(None, None), [0.515512, 0.644890])
    close(one(**options)[0].evaluate(None, None, steps=2, verbose=0), [0.515512, 0.644890])
    with pytest.raises(ValueError, match="number of steps"):
        one(**options)[0].fit(verbose=0)


def test_one_input_is_fed_and_one_given():
    close(mixed().train_on_batch(Z, Y)[0], 0.561183)
    both, labels = np.concatenate([Z, Z[::-1]]), np.concatenate([Y, Y * 2])
    close(mixed().evaluate(both, labels, batch_size=4, verbose=0)[0], 1.324036)
    m = mixed()
    found = m.predict(both, batch_size=4)
    close(found[:4], m.predict_on_batch(Z))
    close(found[4:], m.predict_on_batch({"fed": Z[::-1]}))
    fitted = mixed().fit(both, labels, shuffle=False, epochs=1, verbose=0).history["loss"]
    m = mixed()
    close(fitted, [np.mean([m.train_on_batch(both[k : k + 4], labels[k : k + 4])[0] for k in (0, 4)])])
    with pytest.raises(ValueError, match=r"batch_size.*4"):
        mixed().fit(Z, Y, batch_size=2, verbose=0)
    with pytest.raises(ValueError, match="divide"):
        mixed().fit(both[:6], labels[:6], verbose=0)


def test_data_for_a_given_input_are_refused():
    m = one()[0]
    for call in (
        lambda: m.fit(X, Y, verbose=0),
        lambda: m.predict_on_batch(X),
        lambda: m.predict(X, steps=1),
    ):
        with pytest.raises(ValueError, match="expected no data"):
            call()
    with pytest.raises(ValueError, match="number of steps"):
        m.predict(None)
    with pytest.raises(ValueError, match="same number of samples"):
        m.fit(None, Y[:2], steps_per_epoch=1, verbose=0)
    assert not K.is_placeholder(m.input)


def test_files_and_libraries_have_inputs_that_take_data(tmp_path):
    m = one()[0]
    right = m.predict(None, steps=1)
    m.save(tmp_path / "m.h5")
    np.testing.assert_array_equal(load_model(tmp_path / "m.h5").predict(X), right)
    library = kcompile_runtime.load(kcompile.export(kcompile.compile(m), tmp_path / "m.so"))
    np.testing.assert_array_equal(library.predict(X.astype(np.float32)), right)

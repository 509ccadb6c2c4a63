"""compile(target_tensors=...): placeholders are fed, variables hold the labels."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras.layers import Dense, Input
from kcompile.keras.models import Model, Sequential

rng = np.random.default_rng(1)
X = rng.normal(size=(8, 4)).astype("float32")
Y, Z = (rng.normal(size=(8, n)).astype("float32") for n in (2, 3))


def made(**options):
    np.random.seed(0)
    model = Sequential([Dense(2, input_dim=4, name="y")])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", **options)
    return model


def made_of_two(**options):
    np.random.seed(0)
    x = Input((4,))
    model = Model(x, [Dense(2, name="y")(x), Dense(3, name="z")(x)])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", **options)
    return model


FORMS = [lambda t: t, lambda t: [t], lambda t: {"y": t}]


@pytest.mark.parametrize("form", FORMS)
def test_a_variable_holds_the_labels(form):
    variable, expected = K.variable(Y), made()
    model = made(target_tensors=form(variable))
    assert model.train_on_batch(X, None) == expected.train_on_batch(X, Y)
    assert model.test_on_batch(X) == expected.test_on_batch(X, Y)
    assert model.evaluate(X, verbose=0) == expected.evaluate(X, Y, verbose=0)
    assert (
        model.fit(X, verbose=0, shuffle=False).history == expected.fit(X, Y, verbose=0, shuffle=False).history
    )
    K.set_value(variable, 2 * Y)
    assert model.test_on_batch(X, None) == expected.test_on_batch(X, 2 * Y)
    with pytest.raises(ValueError, match="target_tensors"):
        model.train_on_batch(X, Y)


@pytest.mark.parametrize("form", FORMS)
def test_a_placeholder_is_fed(form):
    model = made(target_tensors=form(K.placeholder((None, 2))))
    assert model.train_on_batch(X, Y) == made().train_on_batch(X, Y)


def test_some_outputs_have_labels_of_their_own():
    expected = made_of_two().train_on_batch(X, [Y, Z])
    held = K.variable(Y)
    for targets, y in (
        ([held, K.variable(Z)], None),
        ({"y": held, "z": None}, Z),
        ({"y": held}, [Z]),
        ([held, K.placeholder((None, 3))], {"z": Z}),
    ):
        assert made_of_two(target_tensors=targets).train_on_batch(X, y) == expected
    weight = np.linspace(0, 1, 8)
    model = made_of_two(target_tensors=[held, K.variable(Z)])
    weighted = made_of_two().train_on_batch(X, [Y, Z], sample_weight={"y": weight})
    assert model.train_on_batch(X, None, sample_weight={"y": weight}) == weighted


def test_a_model_that_is_built_later():
    np.random.seed(0)
    model = Sequential([Dense(2, name="y")])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", target_tensors=K.variable(Y))
    assert model.train_on_batch(X) == made().train_on_batch(X, Y)


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (lambda: set(), TypeError),
        (lambda: [Y], TypeError),
        (lambda: [K.variable(Y), K.variable(Y)], ValueError),
        (lambda: {"other": K.variable(Y)}, ValueError),
        (lambda: [K.placeholder((None, 2)) * 2], ValueError),
    ],
)
def test_what_cannot_be_labels_is_refused(targets, kind):
    with pytest.raises(kind, match="target_tensors"):
        made(target_tensors=targets())


def test_labels_of_another_number_are_refused():
    with pytest.raises(ValueError, match="samples"):
        made(target_tensors=K.variable(Y[:3])).train_on_batch(X)

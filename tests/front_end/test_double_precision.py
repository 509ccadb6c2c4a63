"""`set_floatx("float64")`: models that are made then compute in double precision, as in Keras 2."""

from __future__ import annotations

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import keras, keras3, tf_keras
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential, load_model
from kcompile_runtime.errors import InputTypeError, ModelError

# The losses of four steps, by Keras 2.2.4
LOSSES = {
    "SGD": [0.7878314788415225, 0.7396943903292923, 0.6782479390837958, 0.6595382671915478],
    "RMSprop": [0.7878314788415225, 0.7210713849135312, 0.6497331743932592, 0.6045626925904767],
    "Adam": [0.7878314788415225, 0.7298668432802257, 0.6864213197906746, 0.6647584894012085],
    "Adamax": [0.7878314788415225, 0.7757036547932086, 0.7636258109022037, 0.7531359928508723],
    "Nadam": [0.7878314788415225, 0.7750361570386833, 0.7648192959196031, 0.7530682098651058],
    "Adagrad": [0.7878314788415225, 0.7298616641635651, 0.6850022189432643, 0.6594533163283453],
    "Adadelta": [0.7878314788415225, 0.7792474774790101, 0.7702892428974101, 0.7579091847457605],
}
OPTIONS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "decay": 0.01},
    "RMSprop": {"lr": 0.01},
    "Adam": {"lr": 0.01, "amsgrad": True},
}


@pytest.fixture
def double():
    K.set_floatx("float64")
    yield
    K.set_floatx("float32")


def mixed_model():
    """Convolution, pooling, embedding, recurrence and a softmax, with weights that are written down."""
    i, w = L.Input((6, 6, 2)), L.Input((4,))
    p = L.Flatten()(L.MaxPooling2D(2)(L.Conv2D(3, 3, activation="tanh")(i)))
    r = L.LSTM(3)(L.Embedding(5, 3)(w))
    y = L.Dense(2, activation="softmax", kernel_regularizer=keras.regularizers.l2(0.01))(
        L.concatenate([p, r])
    )
    m = Model([i, w], y)
    starts = [np.sin(np.arange(v.size) + 1.0 + k).reshape(v.shape) for k, v in enumerate(m.get_weights())]
    m.set_weights([start**2 for start in starts])
    return m


DATA = [np.cos(np.arange(5 * 72.0)).reshape(5, 6, 6, 2), np.arange(20).reshape(5, 4) % 5]
LABELS = np.eye(2)[[0, 1, 1, 0, 1]]
WEIGHTS = np.array([1.0, 0.5, 2.0, 1.0, 0.25])


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_optimizers_train_to_the_last_digits_of_keras_2(double, name):
    m = mixed_model()
    m.compile(getattr(keras.optimizers, name)(**OPTIONS.get(name, {})), "categorical_crossentropy")
    found = [m.train_on_batch(DATA, LABELS, sample_weight=WEIGHTS) for _ in range(4)]
    np.testing.assert_allclose(found, LOSSES[name], rtol=1e-13)
    assert {w.dtype for w in m.optimizer.weights} == {"int64", "float64"}


def test_fit_predict_and_evaluate_give_float64(double):
    m = mixed_model()
    m.compile("adam", "categorical_crossentropy", metrics=["acc", "mae"])
    history = m.fit(DATA, LABELS, batch_size=2, verbose=0, shuffle=False, class_weight={0: 1.0, 1: 3.0})
    y = m.predict(DATA, batch_size=2)
    assert y.dtype == np.float64 and {w.dtype for w in m.get_weights()} == {np.dtype("float64")}
    exact = -np.log(y[np.arange(5), LABELS.argmax(1)]).mean()
    penalty = 0.01 * (m.layers[-1].get_weights()[0] ** 2).sum()
    loss, accuracy, error = m.evaluate(DATA, LABELS, verbose=0)
    np.testing.assert_allclose([loss, error], [exact + penalty, np.abs(y - LABELS).mean()], rtol=1e-14)
    assert accuracy == (y.argmax(1) == LABELS.argmax(1)).mean() and np.isfinite(history.history["loss"][0])


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_files_and_libraries_keep_double_precision(double, tmp_path, suffix):
    m = mixed_model()
    right = m.predict(DATA)
    m.save(tmp_path / f"m.{suffix}")
    library = kcompile_runtime.load(kcompile.export(kcompile.compile(m), tmp_path / "m.so"))
    K.set_floatx("float32")
    loaded = load_model(tmp_path / f"m.{suffix}")
    for found in (loaded.predict(DATA), library.predict([a.astype(float) for a in DATA])):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, right)
    assert {layer.dtype for layer in loaded.layers} == {"float64"}


def test_what_is_made_without_a_dtype_is_of_floatx(double):
    x = L.Input((3,))
    made = (K.zeros((2,)), K.variable(1), K.constant(1), K.placeholder((2,)), K.eye(2), x)
    made += (K.random_normal((2,)), K.random_uniform((2,)), K.cast_to_floatx(np.ones(2, np.float32)))
    made += (L.Dense(2)(x), K.cast_to_floatx(K.variable(1, dtype="float32")), K.ones_like(x))
    assert {str(t.dtype) for t in made} == {"float64"}
    assert L.Embedding(3, 2)(x).dtype == "float64" and L.Dense(2).dtype == "float64"
    assert K.eval(K.variable(0.1)) == 0.1 and float(K.eval(K.constant(0.1) * 3)) == 0.1 * 3
    assert K.eval(K.exp(K.variable(0.1))).dtype == np.float64
    m = Sequential([L.Dense(1, input_dim=2, kernel_initializer=keras.initializers.Constant(0.1))])
    assert m.get_weights()[0][0] == 0.1
    f = K.function([x], [K.sum(K.exp(x)), *K.gradients(K.sum(K.exp(x)), [x])])
    total, slope = f([np.array([[0.1, 0.2, 0.3]])])
    np.testing.assert_allclose(total, np.exp([0.1, 0.2, 0.3]).sum(), rtol=1e-15)
    np.testing.assert_allclose(slope[0], np.exp([0.1, 0.2, 0.3]), rtol=1e-15)


def test_models_keep_the_dtype_that_they_were_made_in():
    single = Sequential([L.Dense(2, input_dim=3)])
    K.set_floatx("float64")
    try:
        assert single.predict(np.ones((1, 3))).dtype == np.float32
        double = Sequential([L.Dense(2, input_dim=3)])
    finally:
        K.set_floatx("float32")
    assert double.predict(np.ones((1, 3))).dtype == np.float64
    double.compile("sgd", "mse")  # whose learning rate is a float32
    double.train_on_batch(np.ones((1, 3)), np.ones((1, 2)))
    assert double.get_weights()[0].dtype == np.float64


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_a_name_for_float32(dtype):
    try:
        K.set_floatx(dtype)
        assert K.floatx() == dtype
        half = Sequential([L.Dense(2, input_shape=(3,))])
        numbers = [
            K.zeros((2,)),
            K.variable([1.0], dtype),
            K.placeholder((2,), dtype=dtype),
            K.cast(half.output, dtype),
        ]
    finally:
        K.set_floatx("float32")
    assert {x.dtype for x in numbers} == {half.get_weights()[0].dtype.name} == {"float32"}
    assert half.layers[0].get_config()["dtype"] == dtype
    assert half.predict(np.ones((1, 3), "float16")).dtype == np.float32


@pytest.mark.parametrize("dtype", ["int32", "double", None])
def test_what_is_no_float_type_is_refused_as_in_keras(dtype):
    with pytest.raises(ValueError, match="set_floatx"):
        K.set_floatx(dtype)
    with pytest.raises(ModelError):
        keras3.config.set_floatx(dtype)


def test_a_layer_has_weights_of_its_own_dtype():
    m = Sequential([L.Dense(2, dtype="float64", input_shape=(3,)), L.Dense(1, dtype=np.dtype("float64"))])
    assert (m.input.dtype, m.output.dtype) == ("float64", "float64")
    m.compile("sgd", "mse")
    m.train_on_batch(np.ones((1, 3)), np.ones((1, 1)))
    assert {w.dtype for w in m.get_weights()} == {np.dtype("float64")}
    assert m.layers[0].get_config()["dtype"] == "float64"
    assert {w.dtype for w in Sequential.from_config(m.get_config()).get_weights()} == {np.dtype("float64")}


def test_keras_2_multiplies_no_float32_by_float64():
    with pytest.raises(InputTypeError, match=r"dense.*one floating point dtype.*float32.*float64"):
        L.Dense(2, dtype="float64")(L.Input((3,)))
    with pytest.raises(TypeError, match=r"float64.*float32"):
        L.Dense(2)(L.Input((3,), dtype="float64"))


@pytest.mark.parametrize("edition", [keras3, tf_keras])
def test_layers_of_later_kerases_compute_in_their_own_dtype(edition):
    x = edition.layers.Input((2, 3))
    y = edition.layers.LSTM(2, dtype="float64")(x)
    m = edition.models.Model(x, edition.layers.Dense(1)(y))
    assert (y.dtype, m.output.dtype) == ("float64", "float32")
    assert [w.dtype.name for w in m.get_weights()] == ["float64"] * 3 + ["float32"] * 2
    m.compile("sgd", "mse")
    m.train_on_batch(np.ones((1, 2, 3)), np.ones((1, 1)))

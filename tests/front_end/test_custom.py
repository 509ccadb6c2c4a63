"""Code of the user's own, traced into models: layers, Lambda, losses, metrics, activations,
regularizers, initializers, constraints; and what is said of code that cannot be traced."""

from __future__ import annotations

import json

import numpy as np
import pytest

import kcompile
from kcompile import keras
from kcompile.keras import Input, Model, Sequential, layers
from kcompile.keras import backend as K
from kcompile.keras.layers import Dense, Dropout, Lambda, Layer
from kcompile_runtime.errors import InputTypeError, KcompileError, ModelError, UnsupportedError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = RNG.normal(size=(8, 3)).astype("float32")


def close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def one_layer(function, shape=(4,), **options):
    return Sequential([Lambda(function, input_shape=shape, **options)])


# ---------------------------------------------------------------- Lambda


def antirectifier(x):
    x -= K.mean(x, axis=1, keepdims=True)
    x = K.l2_normalize(x, axis=1)
    pos = K.relu(x)
    neg = K.relu(-x)
    return K.concatenate([pos, neg], axis=1)


def antirectifier_output_shape(input_shape):
    shape = list(input_shape)
    assert len(shape) == 2  # only valid for 2D tensors
    shape[-1] *= 2
    return tuple(shape)


def test_lambda_of_the_manual():
    model = Sequential()
    model.add(Lambda(lambda x: x**2, input_shape=(4,)))
    close(model.predict(X), X**2)
    model.add(Lambda(antirectifier, output_shape=antirectifier_output_shape))
    assert model.output_shape == (None, 8)
    z = X**2 - (X**2).mean(1, keepdims=True)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    close(model.predict(X), np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], 1))


def test_lambda_arguments_several_inputs_and_outputs():
    a, b = Input((4,)), Input((4,))
    scaled = Lambda(lambda x, factor: x * factor, arguments={"factor": 3.0})(a)
    total, difference = Lambda(lambda xs: [xs[0] + xs[1], xs[0] - xs[1]])([scaled, b])
    found = Model([a, b], [total, difference]).predict([X, 2 * X])
    close(found[0], 5 * X)
    close(found[1], X)


def test_lambda_knows_the_phase_and_gives_constants():
    noisy = one_layer(lambda x, training=None: K.in_train_phase(x * 0, x, training=training))
    assert (noisy.predict(X) == X).all()
    close(one_layer(lambda x: K.ones_like(x) * K.constant([1, 2, 3, 4])).predict(X), [[1, 2, 3, 4]] * 8)
    table = K.variable([1, 1, 2, 2])
    model = one_layer(lambda x: x * table)
    close(model.predict(X), X * [1, 1, 2, 2])
    K.set_value(table, [0, 0, 0, 0])
    assert (model.predict(X) == 0).all()


def test_lambda_shape_is_checked():
    with pytest.raises(ModelError, match=r"output_shape.*\(None, 4\).*\(None, 5\)"):
        one_layer(lambda x: x, output_shape=(5,))


def test_lambda_in_configurations():
    model = Sequential([Lambda(antirectifier, input_shape=(4,), name="anti"), Dense(2)])
    text = model.to_json()
    entries = {e["class_name"]: e["config"] for e in json.loads(text)["config"]["layers"]}
    assert entries["Lambda"]["function"] == "antirectifier"
    again = keras.models.model_from_json(text, {"antirectifier": antirectifier})
    again.set_weights(model.get_weights())
    close(again.predict(X), model.predict(X))
    with pytest.raises(UnsupportedError, match="custom_objects"):
        keras.models.model_from_json(text)


def test_lambda_masks_are_dropped_or_given():
    x = Input((3, 2))
    masked = layers.Masking()(x)
    assert Lambda(lambda x: x)(masked).mask is None
    assert Lambda(lambda x: x, mask=lambda inputs, mask: mask)(masked).mask is not None
    counted = Lambda(lambda x, mask: x * K.cast(mask, "float32")[:, :, None] + 1)(masked)
    data = np.ones((1, 3, 2), "float32")
    data[0, 1] = 0
    assert Model(x, counted).predict(data)[0, :, 0].tolist() == [2, 1, 2]


# ---------------------------------------------------------------- layers


class MyLayer(Layer):
    """As the manual of Keras 2 writes it."""

    def __init__(self, output_dim, **kwargs):
        self.output_dim = output_dim
        super(MyLayer, self).__init__(**kwargs)  # noqa: UP008

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[1], self.output_dim), initializer="uniform", trainable=True
        )
        super(MyLayer, self).build(input_shape)  # noqa: UP008

    def call(self, x):
        return K.dot(x, self.kernel)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.output_dim)


class Everything(Layer):
    """Weights in expressions alone, a loss, an update, another behaviour in training."""

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), initializer="ones")
        self.seen = self.add_weight("seen", (), initializer="zeros", trainable=False)
        self.mean = self.add_weight("mean", (input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, inputs, training=None):
        self.add_loss(0.01 * K.sum(K.square(self.scale)))
        self.add_update(
            [K.update_add(self.seen, 1.0), K.moving_average_update(self.mean, K.mean(inputs, axis=0), 0.9)],
            inputs,
        )
        gain = 1.0 / (1.0 + K.exp(-self.scale))
        return K.in_train_phase(lambda: inputs * gain, lambda: inputs * gain + 100.0, training=training)


def test_custom_layer_of_the_manual():
    model = Sequential([MyLayer(3, input_shape=(4,))])
    (kernel,) = model.get_weights()
    assert kernel.shape == (4, 3) and model.layers[0].kernel.path.endswith("/kernel")
    close(model.predict(X), X @ kernel)
    model.compile("sgd", "mse")
    before = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, epochs=20, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < before
    config = model.get_config()
    again = Sequential.from_config(config, custom_objects={"MyLayer": MyLayer})
    assert again.layers[0].output_dim == 3


def test_custom_layer_with_losses_updates_and_phases():
    model = Sequential([Everything(input_shape=(4,))])
    model.compile(keras.optimizers.SGD(lr=0.0), "mse")
    gain = 1 / (1 + np.exp(-1.0))
    close(model.predict(X), X * gain + 100)
    close(model.evaluate(X, X, verbose=0), np.square(X - X * gain - 100).mean() + 0.04, 1e-4)
    close(model.train_on_batch(X, X), np.square(X - X * gain).mean() + 0.04)
    model.train_on_batch(X, X)
    scale, seen, mean = model.get_weights()
    assert seen == 2 and (scale == 1).all()
    close(mean, 0.1 * X.mean(0) + 0.09 * X.mean(0))


def test_custom_layer_trains_as_the_built_in_one():
    class Own(MyLayer):
        def call(self, x):
            return K.tanh(super().call(x))

    own = Sequential([Own(3, input_shape=(4,))])
    known = Sequential([Dense(3, activation="tanh", use_bias=False, input_shape=(4,))])
    known.set_weights(own.get_weights())
    for model in (own, known):
        model.compile("adam", "mse")
        model.fit(X, Y, epochs=5, batch_size=4, shuffle=False, verbose=0)
    close(own.get_weights()[0], known.get_weights()[0])
    close(own.predict(X), known.predict(X))


def test_custom_layer_of_keras_1_sets_trainable_weights():
    class Old(Layer):
        def build(self, input_shape):
            self.W = K.variable(np.ones((4, 2)))
            self.trainable_weights = [self.W]

        def call(self, x, mask=None):
            return K.dot(x, self.W)

    model = Sequential([Old(input_shape=(4,))])
    close(model.predict(X), X @ np.ones((4, 2)))
    model.compile("sgd", "mse")
    model.train_on_batch(X, X[:, :2])
    assert (model.get_weights()[0] != 1).any()


def test_weights_without_names_and_layers_inside_expressions():
    class Unnamed(Layer):
        def build(self, input_shape):
            self.a = self.add_weight(shape=(input_shape[1], 2), initializer="uniform", trainable=True)
            self.b = self.add_weight(shape=(2,), initializer=lambda shape: np.ones(shape))

        def call(self, x):
            doubled = 2 * self.a - self.a[0] * 0
            return K.dot(x, doubled) + K.expand_dims(self.b**2, 0)

    model = Sequential([Unnamed(input_shape=(4,))])
    a, b = model.get_weights()
    assert len({v.path for v in model.weights}) == 2
    close(model.predict(X), X @ (2 * a) + b)


def test_custom_layer_of_two_inputs():
    class Bilinear(Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", (input_shape[0][-1], input_shape[1][-1]))

        def call(self, inputs):
            a, b = inputs
            return K.batch_dot(K.dot(a, self.w), b, axes=1)

    a, b = Input((4,)), Input((3,))
    layer = Bilinear()
    model = Model([a, b], layer([a, b]))
    close(model.predict([X, Y]), np.einsum("ni,ij,nj->n", X, layer.get_weights()[0], Y)[:, None], 1e-4)


# ---------------------------------------------------------------- functions of training


def test_loss_metric_activation_regularizer_initializer_constraint():
    def init(shape, dtype=None):
        return K.random_normal(shape, dtype=dtype)

    def swish(x):
        return x * K.sigmoid(x)

    def l1_reg(weight_matrix):
        return 0.01 * K.sum(K.abs(weight_matrix))

    def small(w):
        return K.clip(w, -0.5, 0.5)

    def huberish(y_true, y_pred):
        error = K.abs(y_true - y_pred)
        return K.mean(K.switch(error < 1, 0.5 * K.square(error), error - 0.5), axis=-1)

    def mean_pred(y_true, y_pred):
        return K.mean(y_pred)

    model = Sequential(
        [
            Dense(16, activation=swish, kernel_initializer=init, input_shape=(4,)),
            Dense(3, kernel_regularizer=l1_reg, kernel_constraint=small),
        ]
    )
    assert abs(model.get_weights()[0].std() - 1) < 0.3
    model.compile("sgd", huberish, metrics=[mean_pred, "mae"])
    k1, b1, k2, b2 = model.get_weights()
    hidden = X @ k1 + b1
    hidden = hidden / (1 + np.exp(-hidden))
    out = hidden @ k2 + b2
    close(model.predict(X), out)
    error = np.abs(out - Y)
    loss = np.where(error < 1, error**2 / 2, error - 0.5).mean() + 0.01 * np.abs(k2).sum()
    close(model.evaluate(X, Y, verbose=0), [loss, out.mean(), error.mean()])
    assert model.metrics_names == ["loss", "mean_pred", "mean_absolute_error"]
    model.fit(X, Y, epochs=10, verbose=0)
    assert model.evaluate(X, Y, verbose=0)[0] < loss
    assert np.abs(model.get_weights()[2]).max() <= 0.5


def test_loss_that_speaks_of_tensors_of_the_model():
    """The variational autoencoder of Keras 2's examples."""
    x = Input((6,))
    h = Dense(16, activation="relu")(x)
    z_mean, z_log_var = Dense(2)(h), Dense(2)(h)

    def sampling(args):
        mean, log_var = args
        epsilon = K.random_normal(shape=(K.shape(mean)[0], 2), mean=0.0, stddev=1.0)
        return mean + K.exp(log_var / 2) * epsilon

    z = Lambda(sampling, output_shape=(2,))([z_mean, z_log_var])
    decoded = Dense(6, activation="sigmoid")(Dense(16, activation="relu")(z))
    vae = Model(x, decoded)

    def vae_loss(x, decoded):
        xent = 6 * keras.losses.binary_crossentropy(x, decoded)
        kl = -0.5 * K.sum(1 + z_log_var - K.square(z_mean) - K.exp(z_log_var), axis=-1)
        return xent + kl

    vae.compile(optimizer=keras.optimizers.Adam(lr=0.01), loss=vae_loss)
    data = (RNG.random((120, 1)) > 0.5).astype("float32") * np.ones((1, 6), "float32")
    losses = vae.fit(data, data, epochs=20, batch_size=20, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_model_add_loss():
    x = Input((4,))
    h = Dense(2)(x)
    model = Model(x, Dense(4)(h))
    model.add_loss(K.mean(K.square(model.output - x)) + 0.1 * K.mean(K.abs(h)))
    model.compile("sgd", loss=None)
    expected = np.square(model.predict(X) - X).mean() + 0.1 * np.abs(Model(x, h).predict(X)).mean()
    close(model.train_on_batch(X), expected)
    losses = model.fit(X, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# ---------------------------------------------------------------- what cannot be traced


def branches(x):
    if K.sum(x) > 0:
        return x
    return -x


def to_numpy(x):
    return np.exp(x)


def array_of(x):
    return np.asarray(x)


def numpy_function(x):
    return np.concatenate([x, x])


def iterates(x):
    return sum(row for row in x)


def loops_over_the_batch(x):
    return K.stack([x[i] for i in range(x.shape[0])])


def takes_a_sample(x):
    return x[0]


def reads_values(x):
    return x.numpy()


def evaluates(x):
    return x * K.eval(x)


def counts(x):
    return x * len(x)


def returns_nothing(x):
    x * 2


UNTRACEABLE = {
    branches: "K.switch",
    to_numpy: r"numpy\.exp.*K\.exp",
    array_of: "keras.backend",
    numpy_function: r"K\.concatenate",
    iterates: "range",
    loops_over_the_batch: "samples",
    takes_a_sample: "batch",
    reads_values: "'numpy'",
    evaluates: "K.function",
    counts: "x.shape",
}


@pytest.mark.parametrize("function", UNTRACEABLE, ids=lambda f: f.__name__)
def test_untraceable_code_is_explained(function):
    with pytest.raises(KcompileError, match=UNTRACEABLE[function]) as caught:
        Lambda(function, name="odd")(Input((4,)))
    text = str(caught.value)
    line = function.__code__.co_firstlineno + 1
    assert text.startswith("Layer 'odd' (Lambda): ")
    assert f"{__file__}, line {line}, in " in text


def test_a_function_that_returns_nothing():
    with pytest.raises(InputTypeError, match="to return a tensor"):
        Lambda(returns_nothing)(Input((4,)))


def test_numpy_arrays_on_the_left_of_operators():
    two = np.full((4,), 2, "float32")
    close(
        one_layer(lambda x: two * x + np.float32(1) - two / (x * x + 1)).predict(X),
        2 * X + 1 - 2 / (X * X + 1),
    )


def test_a_tensor_of_the_model_inside_a_layer_is_refused():
    x = Input((4,), name="here")
    with pytest.raises(ModelError, match="input 'here' is needed"):
        Lambda(lambda y: y * x)(Input((4,)))


def test_untraceable_loss_is_explained():
    model = Sequential([Dense(3, input_shape=(4,))])
    model.compile("sgd", lambda y_true, y_pred: np.mean(y_true - y_pred))
    with pytest.raises(InputTypeError, match=r"Loss '<lambda>' of output 'dense_.*numpy\.mean.*line") as e:
        model.train_on_batch(X, Y)
    assert __file__ in str(e.value)
    model = Sequential([Dense(3, kernel_regularizer=lambda w: float(K.sum(w)), input_shape=(4,))])
    with pytest.raises(InputTypeError, match=r"Regularizer of 'dense_.*float\(x\) is not possible"):
        model.predict(X)


def test_stochastic_custom_layer():
    class Noise(Layer):
        def call(self, x, training=None):
            return K.in_train_phase(x + K.random_normal(K.shape(x), 0.0, 2.0), x, training)

    model = Sequential([Noise(input_shape=(4,)), Dropout(0.0), Dense(1, trainable=True)])
    assert (model.predict(X) == model.predict(X)).all()
    noisy = K.function([model.input, K.learning_phase()], [model.layers[0].output])
    many = np.zeros((500, 4), "float32")
    first, second = noisy([many, 1])[0], noisy([many, 1])[0]
    assert (first != second).any() and abs(first.std() - 2) < 0.2


def test_custom_code_is_exported(tmp_path):
    pytest.importorskip("ziglang")  # has the linker
    import kcompile_runtime

    model = Sequential(
        [
            MyLayer(5, input_shape=(4,)),
            Lambda(lambda x: K.concatenate([K.relu(x), K.reverse(x, 1) ** 2, K.cumsum(x, axis=1)])),
            layers.PReLU("random_uniform"),
            Dense(2, activation=lambda x: x * K.sigmoid(x)),
        ]
    )
    compiled = kcompile.compile(model)
    assert compiled.verify(X).ok
    kcompile.export(compiled, tmp_path / "model.so")
    close(kcompile_runtime.load(tmp_path / "model.so").predict(X), model.predict(X))


def test_the_learning_phase_can_be_fixed():
    try:
        K.set_learning_phase(1)
        fixed = Sequential([Dropout(0.5, input_shape=(100,))]).predict(np.ones((2, 100)))
    finally:
        K.clear_session()
    free = Sequential([Dropout(0.5, input_shape=(100,))]).predict(np.ones((2, 100)))
    assert 0.3 < (fixed == 0).mean() < 0.7 and (free == 1).all()


# ---------------------------------------------------------------- merge and advanced activations


A, B, C = (RNG.normal(size=(5, 3, 4)).astype("float32") for _ in range(3))
MERGES = {
    "Subtract": ({}, [A, B], lambda a, b: a - b),
    "Average": ({}, [A, B, C], lambda a, b, c: (a + b + c) / 3),
    "Maximum": ({}, [A, B, C], lambda *xs: np.maximum.reduce(xs)),
    "Minimum": ({}, [A, B], np.minimum),
    "Dot": ({"axes": 1}, [A, B], lambda a, b: np.einsum("nki,nkj->nij", a, b)),
    "Dot_cosine": (
        {"axes": -1, "normalize": True},
        [A[:, 0], B[:, 0]],
        lambda a, b: ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))[:, None],
    ),
    "Dot_axes": (
        {"axes": (2, 1)},
        [A, C[:, :1].transpose(0, 2, 1)],
        lambda a, c: np.einsum("nik,nkj->nij", a, c),
    ),
}
ACTIVATIONS = {
    "LeakyReLU": ({}, lambda x: np.where(x > 0, x, 0.3 * x)),
    "ELU": ({"alpha": 0.5}, lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    "ThresholdedReLU": ({"theta": 0.7}, lambda x: x * (x > 0.7)),
    "Softmax": ({"axis": 1}, lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "ReLU": (
        {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2},
        lambda x: np.where(x > 0.2, np.minimum(x, 1), 0.1 * (x - 0.2)),
    ),
}


@pytest.mark.parametrize("name", MERGES)
def test_merges(name):
    arguments, arrays, expected = MERGES[name]
    kind = name.split("_")[0]
    inputs = [Input(a.shape[1:]) for a in arrays]
    layer = getattr(layers, kind)(**arguments)
    model = Model(inputs, layer(inputs))
    close(model.predict(arrays), expected(*arrays))
    again = Model.from_config(json.loads(json.dumps(model.get_config())))
    close(again.predict(arrays), expected(*arrays))
    short = getattr(layers, kind.lower())(inputs, **arguments)
    close(Model(inputs, short).predict(arrays), expected(*arrays))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_advanced_activations(name):
    arguments, expected = ACTIVATIONS[name]
    model = Sequential([getattr(layers, name)(input_shape=A.shape[1:], **arguments)])
    close(model.predict(A), expected(A))
    close(Sequential.from_config(model.get_config()).predict(A), expected(A))


@pytest.mark.parametrize("shared", [None, [1], [1, 2]])
def test_prelu(shared):
    model = Sequential([layers.PReLU("random_uniform", shared_axes=shared, input_shape=(3, 4))])
    (alpha,) = model.get_weights()
    assert alpha.shape == tuple(1 if i in (shared or []) else d for i, d in ((1, 3), (2, 4)))
    close(model.predict(A), np.where(A > 0, A, alpha * A))
    model.compile("sgd", "mse")
    model.train_on_batch(A, B)
    assert (model.get_weights()[0] != alpha).any()


@pytest.mark.keras
@pytest.mark.parametrize("name", [*MERGES, *ACTIVATIONS, "PReLU"])
def test_layers_against_keras(name):
    live = pytest.importorskip("keras")
    kind = name.split("_")[0]
    if kind == "ThresholdedReLU" or not hasattr(live.layers, kind):
        pytest.skip("Keras 3 has no such layer")
    arguments, arrays = MERGES[name][:2] if name in MERGES else (ACTIVATIONS.get(name, ({},))[0], [A])
    inputs = [Input(a.shape[1:]) for a in arrays]
    ours = Model(inputs, getattr(layers, kind)(**arguments)(inputs if name in MERGES else inputs[0]))
    theirs = getattr(live.layers, kind)(**arguments)(arrays if name in MERGES else arrays[0])
    close(ours.predict(arrays), np.asarray(theirs))


def test_merge_errors():
    with pytest.raises(ModelError, match="list of two"):
        layers.Subtract()([Input((2,)), Input((2,)), Input((2,))])
    with pytest.raises(ModelError, match="axes"):
        layers.Dot(axes=0)
    with pytest.raises(ModelError, match="differ in size"):
        layers.Dot(axes=1)([Input((2,)), Input((3,))])

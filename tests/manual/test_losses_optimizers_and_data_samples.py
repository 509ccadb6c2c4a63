"""Document 001 from losses to plots: samples run, and what they say of themselves holds."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import numpy as np
import pytest
from samples import HERE, Sequential, classified, keras, sample

Activation, Dense = keras.layers.Activation, keras.layers.Dense
LOSSES = (
    *("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error"),
    *("mean_squared_logarithmic_error", "squared_hinge", "hinge", "categorical_hinge", "logcosh"),
    *("categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy"),
    *("kullback_leibler_divergence", "poisson", "cosine_proximity"),
)


@sample("001:2395-2395", "001:2398-2399")
def test_a_loss_is_a_name_or_a_function():
    from keras import losses

    model, x, y = classified()
    found = []
    for loss in ("mean_squared_error", losses.mean_squared_error):
        model.compile(loss=loss, optimizer="sgd")
        found.append(model.evaluate(x, y, verbose=0))
    model.fit(x, y, verbose=0)
    assert found[0] == found[1] > model.evaluate(x, y, verbose=0)


@sample("001:2410-2463")
def test_every_loss_of_the_document():
    from keras import backend as K
    from keras import losses

    classes, predicted = np.array([[0], [2]]), np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    model = Sequential([Activation("linear", input_shape=(3,))])
    for name in LOSSES:
        labels = classes if name.startswith("sparse") else np.eye(3)[classes[:, 0]]
        each = K.eval(getattr(losses, name)(K.variable(labels), K.variable(predicted)))
        assert each.shape == (2,), name
        model.compile(loss=name, optimizer="sgd")
        assert np.isclose(model.test_on_batch(predicted, labels), each.mean(), rtol=1e-4), name


@sample("001:2468-2470")
def test_labels_become_categorical():
    from keras.utils.np_utils import to_categorical

    categorical_labels = to_categorical([0, 2, 1], num_classes=None)
    assert np.array_equal(categorical_labels, np.eye(3)[[0, 2, 1]])


@sample("001:2477-2485")
def test_metrics_are_names_or_functions():
    from keras import metrics

    model, x, y = classified()
    found = []
    for asked in (["mae", "acc"], [metrics.mae, metrics.categorical_accuracy]):
        model.compile(loss="mean_squared_error", optimizer="sgd", metrics=asked)
        found.append(model.evaluate(x, y, verbose=0))
    assert found[0] == found[1]


@sample("001:2507-2514", "001:2519-2520")
def test_an_optimizer_is_an_object_or_a_name():
    from keras import optimizers

    model = Sequential()
    model.add(Dense(64, kernel_initializer="uniform", input_shape=(10,)))
    model.add(Activation("softmax"))
    sgd = optimizers.SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    for optimizer in (sgd, "sgd"):
        model.compile(loss="mean_squared_error", optimizer=optimizer)
        model.fit(np.random.rand(8, 10), np.random.rand(8, 64), verbose=0)


@sample("001:2528-2531", "001:2534-2539")
@pytest.mark.parametrize("clip", [{"clipnorm": 1.0}, {"clipvalue": 0.5}])
def test_gradients_are_clipped(clip):
    from keras import optimizers

    model = Sequential([Dense(2, input_dim=2, use_bias=False)])
    model.compile(optimizers.SGD(lr=0.01, **clip), "mse")
    before = model.get_weights()[0]
    model.train_on_batch(np.full((1, 2), 100.0), np.full((1, 2), -1e4))
    step = (before - model.get_weights()[0]) / 0.01
    size, limit = (np.linalg.norm(step), 1.0) if "clipnorm" in clip else (step.max(), 0.5)
    assert np.isclose(size, limit, rtol=1e-2)


OPTIMIZERS = {
    "001:2544-2544": "SGD(lr=0.01, momentum=0.0, decay=0.0, nesterov=False)",
    "001:2559-2559": "RMSprop(lr=0.001, rho=0.9, epsilon=None, decay=0.0)",
    "001:2575-2575": "Adagrad(lr=0.01, epsilon=None, decay=0.0)",
    "001:2589-2589": "Adadelta(lr=1.0, rho=0.95, epsilon=None, decay=0.0)",
    "001:2606-2606": "Adam(lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=None, decay=0.0, amsgrad=False)",
}


@pytest.mark.parametrize("place", OPTIMIZERS)
def test_an_optimizer_of_its_signature_is_the_default(place):
    stated = eval(f"keras.optimizers.{OPTIMIZERS[place]}", {"keras": keras})
    model, x, y = classified()
    first, found = model.get_weights(), []
    for optimizer in (stated, type(stated)()):
        model.set_weights(first)
        model.compile(optimizer, "mse")
        model.train_on_batch(x, y)
        found.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*found)) and not np.array_equal(found[0][0], first[0])


@sample("001:2630-2633", "001:2638-2638", "001:2643-2646")
def test_activations_are_layers_arguments_or_functions_of_the_backend():
    from keras import backend as K

    models = [Sequential([Dense(8, input_dim=4)]) for _ in range(3)]
    models[0].add(Dense(64))
    models[0].add(Activation("tanh"))
    models[1].add(Dense(64, activation="tanh"))
    models[2].add(Dense(64, activation=K.tanh))
    x = np.random.rand(2, 4)
    for model in models:
        model.set_weights(models[0].get_weights())
        assert np.allclose(model.predict(x), models[0].predict(x), atol=1e-6)
    models[2].add(Activation(K.tanh))
    assert np.allclose(models[2].predict(x), np.tanh(models[0].predict(x)), atol=1e-5)


VALUES = np.array([[-3.0, -1.0, -0.5], [0.0, 0.5, 3.0]])
ACTIVATIONS = {
    "001:2653-2653": ("softmax(x, axis=-1)", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "001:2670-2670": ("elu(x, alpha=1.0)", lambda x: np.where(x > 0, x, np.exp(x) - 1)),
    "001:2684-2684": (
        "selu(x)",
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
    ),
    "001:2707-2707": ("softplus(x)", lambda x: np.log(np.exp(x) + 1)),
    "001:2720-2720": ("softsign(x)", lambda x: x / (abs(x) + 1)),
    "001:2733-2733": ("relu(x, alpha=0.0, max_value=None, threshold=0.0)", lambda x: np.maximum(x, 0)),
    "001:2756-2756": ("tanh(x)", np.tanh),
    "001:2762-2762": ("sigmoid(x)", lambda x: 1 / (1 + np.exp(-x))),
    "001:2768-2768": ("hard_sigmoid(x)", lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "001:2787-2787": ("exponential(x)", np.exp),
    "001:2793-2793": ("linear(x)", lambda x: x),
}


@pytest.mark.parametrize("place", ACTIVATIONS)
def test_an_activation_of_a_variable(place):
    call, expected = ACTIVATIONS[place]
    K = keras.backend
    found = K.eval(eval(f"keras.activations.{call}", {"keras": keras, "x": K.variable(VALUES)}))
    assert np.allclose(found, expected(VALUES), atol=1e-5)


@sample("001:3010-3013", "001:3019-3021", "001:3029-3035")
def test_regularizers():
    from keras import backend as K
    from keras import regularizers

    def l1_reg(weight_matrix):
        return 0.01 * K.sum(K.abs(weight_matrix))

    assert regularizers.l1(0.0).get_config() and regularizers.l2(0.0).get_config()
    assert regularizers.l1_l2(l1=0.01, l2=0.01).get_config() == {"l1": 0.01, "l2": 0.01}
    x, zeros = np.ones((8, 64)), np.zeros((8, 64))
    for given, penalty in (
        (
            {"kernel_regularizer": regularizers.l2(0.01), "activity_regularizer": regularizers.l1(0.01)},
            lambda kernel, y: 0.01 * (kernel**2).sum() + 0.01 * abs(y).sum(),
        ),
        ({"kernel_regularizer": l1_reg}, lambda kernel, y: 0.01 * abs(kernel).sum()),
    ):
        model = Sequential()
        model.add(Dense(64, input_dim=64, **given))
        model.compile("sgd", "mse")
        y = model.predict(x)
        expected = (y**2).mean() + penalty(model.get_weights()[0], y)
        assert np.isclose(model.evaluate(x, zeros, verbose=0), expected, rtol=1e-4)
        model.fit(x, zeros, verbose=0)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache of Keras with small files of the published formats, and no network."""
    monkeypatch.syspath_prepend(str(HERE.parent / "preprocessing"))
    import fake_cache

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    fake_cache.trust(monkeypatch)
    fake_cache.fill_cifar(fake_cache.fill(tmp_path))


@sample("001:2810-2812", "001:2827-2829", "001:2921-2923", "001:2957-2959")
def test_data_sets_of_images(cached):
    from keras.datasets import cifar10, cifar100, fashion_mnist, mnist

    for module, shape in ((cifar10, (32, 32, 3)), (mnist, (28, 28)), (fashion_mnist, (28, 28))):
        (x_train, y_train), (x_test, y_test) = module.load_data()
        assert x_train.shape[1:] == x_test.shape[1:] == shape and x_train.dtype == "uint8"
        assert len(x_train) == len(y_train) and len(x_test) == len(y_test)
    (x_train, y_train), _ = cifar100.load_data(label_mode="fine")
    assert x_train.shape[1:] == (32, 32, 3) and y_train.max() == 99


@sample("001:2849-2858", "001:2886-2896", "001:2904-2904")
def test_data_sets_of_texts(cached):
    from keras.datasets import imdb, reuters

    common = {"num_words": None, "skip_top": 0, "maxlen": None, "seed": 113}
    marks = {"start_char": 1, "oov_char": 2, "index_from": 3}
    (x_train, y_train), _ = imdb.load_data(path="imdb.npz", **common, **marks)
    assert len(x_train) == len(y_train) == 40 and x_train[0][0] == 1
    (x_train, _), (x_test, _) = reuters.load_data(path="reuters.npz", test_split=0.2, **common, **marks)
    assert (len(x_train), len(x_test)) == (40, 10) and x_train[0][0] == 1
    assert reuters.get_word_index(path="reuters_word_index.json")["giraffe"] == 1234


@sample("001:2976-2978")
def test_the_data_set_of_houses(cached):
    from keras.datasets import boston_housing

    (x_train, y_train), (x_test, _) = boston_housing.load_data()
    assert x_train.shape == (404, 13) and len(y_train) == 404 and len(x_test) == 102


@sample("001:3047-3048", "001:3061-3064")
def test_a_model_is_drawn(monkeypatch, tmp_path):
    program = tmp_path / "bin" / "dot"  # in place of Graphviz'
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.stdin.read())\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    pydot = pytest.importorskip("pydot")
    from keras.utils import plot_model
    from keras.utils.vis_utils import model_to_dot

    def create(self, prog=None, format="ps", encoding=None):  # what Graphviz would draw
        return self.to_string().encode()

    monkeypatch.setattr(pydot.Dot, "create", create)
    model, _, _ = classified()
    plot_model(model, to_file="model.png")
    assert os.path.getsize("model.png")
    assert model.layers[0].name.encode() in model_to_dot(model).create(prog="dot", format="svg")


@sample("001:3072-3092")
def test_a_history_is_plotted(monkeypatch):
    drawn = []
    pyplot = ModuleType("matplotlib.pyplot")
    pyplot.__dict__.update(
        plot=drawn.append, title=str, ylabel=str, xlabel=str, legend=lambda *a, **k: None, show=dict
    )
    monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    import matplotlib.pyplot as plt

    model, x, y = classified()
    model.compile("sgd", "categorical_crossentropy", metrics=["acc"])
    history = model.fit(x, y, validation_split=0.25, epochs=50, batch_size=16, verbose=1)
    for train, validation, title in (("acc", "val_acc", "accuracy"), ("loss", "val_loss", "loss")):
        plt.plot(history.history[train])
        plt.plot(history.history[validation])
        plt.title(f"Model {title}")
        plt.legend(["Train", "Test"], loc="upper left")
        plt.show()
    assert [len(line) for line in drawn] == [50] * 4

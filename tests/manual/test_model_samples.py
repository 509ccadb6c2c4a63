"""Documents 001 to 004 on models and their training: samples run, and what they say of themselves holds."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from samples import Model, Sequential, classified, keras, sample

layers = keras.layers
Activation, Conv2D, Dense, Input, MaxPooling2D = (
    layers.Activation,
    layers.Conv2D,
    layers.Dense,
    layers.Input,
    layers.MaxPooling2D,
)


@sample("001:2114-2119", "001:2124-2124", "003:850-855")
@pytest.mark.filterwarnings("ignore:Update your")
def test_a_model_of_its_inputs_and_outputs():
    a = Input(shape=(32,))
    b = Dense(32)(a)
    for model in (Model(input=a, output=b), Model(inputs=a, outputs=b)):
        assert (model.input_shape, model.output_shape) == ((None, 32), (None, 32))
    a1, a2 = Input(shape=(3,)), Input(shape=(3,))
    b1, b3 = Dense(2)(a1), Dense(4)(keras.layers.add([a1, a2]))
    model = Model(input=[a1, a2], output=[b1, b3, b3])
    found = model.predict([np.ones((2, 3))] * 2)
    assert [y.shape for y in found] == [(2, 2), (2, 4), (2, 4)] and np.array_equal(*found[1:])


@sample("001:2247-2252", "003:775-783", "003:787-789", "002:164-166", "002:174-177", "004:12-14", "004:26-37")
def test_models_of_two_layers(capsys):
    assert Sequential().layers == []
    model = Sequential()
    model.add(Dense(32, input_shape=(500,)))
    model.add(Dense(10, activation="softmax"))
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    assert model.metrics_names == ["loss", "acc"]
    model = Sequential([Dense(32, input_dim=784), Activation("relu"), Dense(10), Activation("softmax")])
    assert model.output_shape == (None, 10)
    model = Sequential()
    model.add(Dense(32, input_dim=784))
    model.add(Activation("relu"))
    assert model.output_shape == (None, 32)
    model = Sequential()
    model.add(Dense(units=10, activation="relu", input_dim=784))
    model.add(Dense(units=10, activation="softmax"))
    assert model.output_shape == (None, 10)
    x_input = keras.layers.Input(shape=(784,))
    output = Dense(units=10, activation="softmax")(Dense(units=32, activation="relu")(x_input))
    assert keras.models.Model(inputs=x_input, outputs=output).output_shape == (None, 10)
    from keras.layers.core import Dense as CoreDense

    model = Sequential()
    model.add(CoreDense(128, input_dim=32, activation="relu"))
    model.add(CoreDense(10, activation="softmax"))
    model.summary()
    assert "Total params: 5,514" in capsys.readouterr().out


@sample("001:2367-2378")
@pytest.mark.filterwarnings("ignore:Update your")
def test_training_on_lines_of_a_file(tmp_path):
    (tmp_path / "my_file.txt").write_text("1 2 3\n4 5 6\n")

    def process_line(line):
        row = np.array([float(v) for v in line.split()])
        return row[None, :2], row[None, 2:]

    def generate_arrays_from_file(path):
        while 1:
            with open(path) as f:
                for line in f:
                    x, y = process_line(line)
                    yield (x, y)

    model = Sequential([Dense(1, input_dim=2)])
    model.compile("sgd", "mse")
    found = model.fit_generator(generate_arrays_from_file("my_file.txt"), samples_per_epoch=10, nb_epoch=10)
    assert len(found.epoch) == 10


@sample("003:738-738", "003:740-743", "003:745-747", "003:763-765")
def test_what_a_model_can(capsys):
    model, (a, b) = Sequential([Dense(3, input_dim=4)]), (Input((4,)), Dense(3))
    functional = Model(a, b(a))
    model.summary()
    assert "Total params: 15" in capsys.readouterr().out
    for made in (Sequential.from_config(model.get_config()), Model.from_config(functional.get_config())):
        assert made.output_shape == (None, 3)
    weights = model.get_weights()
    model.set_weights([w + 1 for w in weights])
    model.save_weights("weights.h5")
    model.set_weights(weights)
    model.load_weights("weights.h5", by_name=False)
    assert np.array_equal(model.get_weights()[0], weights[0] + 1)
    model.set_weights(weights)
    model.load_weights("weights.h5", by_name=True)
    assert np.array_equal(model.get_weights()[0], weights[0] + 1)


@sample("003:751-754", "003:758-761")
def test_a_checkout_of_keras_on_the_path_has_its_models(monkeypatch):
    monkeypatch.setitem(sys.modules, "models", keras.models)
    from models import model_from_json, model_from_yaml

    model = Sequential([Dense(3, input_dim=4)])
    for made in (model_from_json(model.to_json()), model_from_yaml(model.to_yaml())):
        assert [layer.name for layer in made.layers] == [layer.name for layer in model.layers]
        assert (made.input_shape, made.output_shape) == ((None, 4), (None, 3))


@sample("003:836-838", "003:843-843")
def test_what_a_model_has():
    a = Input(shape=(4,))
    model = Model(a, Dense(3, name="d")(a))
    assert len(model.layers) == 2 and model.inputs == [a] and len(model.outputs) == 1
    assert model.get_layer(name="d", index=None) is model.get_layer(name=None, index=1)


@sample("004:60-62", "004:74-82", "004:93-93")
def test_compilation_and_training_in_the_course():
    from keras.optimizers import SGD

    model, x, y = classified()
    sgd = SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    model.compile(loss="categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
    model.fit(x, y, verbose=0)
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    assert len(model.evaluate(x, y, verbose=0)) == 2
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    model.compile(optimizer="rmsprop", loss="mse")
    losses = model.fit(x, y, epochs=1000, batch_size=100, verbose=0).history["loss"]
    assert len(losses) == 1000 and losses[-1] < losses[0]


@sample("004:106-136")
def test_exclusive_or(capsys):
    from keras.layers.core import Dense, Dropout
    from keras.utils import np_utils

    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).astype("float32")
    y = np_utils.to_categorical(np.array([[0], [1], [1], [0]]).astype("float32"))
    model = Sequential([Dense(4, input_dim=2)])  # the document adds Dropout to another model than it trains
    xor = Sequential()
    xor.add(Dense(16, input_dim=2, activation="tanh"))
    model.add(Dropout(0.3))
    xor.add(Dense(8, activation="relu"))
    xor.add(Dense(2, activation="softmax"))
    xor.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    xor.fit(X, y, epochs=100, verbose=0)
    assert xor.evaluate(X, y)[-1] >= 0.5
    assert np.allclose(xor.predict_proba(X).sum(1), 1, atol=1e-5)


@sample("004:177-177", "004:181-181", "004:185-185", "004:194-200")
def test_convolutions_of_the_course(capsys):
    first = Conv2D(filters=16, kernel_size=2, strides=2, activation="relu", input_shape=(200, 200, 1))
    model = Sequential([first])
    assert model.output_shape == (None, 100, 100, 16) and first.count_params() == 80
    for layer, expected in (
        (Conv2D(filters=32, kernel_size=3, padding="same", activation="relu"), (None, 19, 19, 32)),
        (Conv2D(64, (2, 2), activation="relu"), (None, 18, 18, 64)),
    ):
        assert Sequential([Conv2D(16, 2, input_shape=(20, 20, 1)), layer]).output_shape == expected
    model = Sequential()
    model.add(
        Conv2D(
            filters=16,
            kernel_size=2,
            strides=2,
            padding="valid",
            activation="relu",
            input_shape=(200, 200, 1),
        )
    )
    model.summary()
    assert "(None, 100, 100, 16)" in capsys.readouterr().out


@sample("004:218-219", "004:237-237", "004:244-249")
def test_pooling_of_the_course(capsys):
    pool_size, strides, padding = 2, 2, "same"
    pooled = Sequential([MaxPooling2D(pool_size, strides, padding, input_shape=(5, 5, 2))])
    assert pooled.output_shape == (None, 3, 3, 2)
    model = Sequential([Conv2D(15, 1, input_shape=(100, 100, 1)), MaxPooling2D(pool_size=2, strides=2)])
    assert model.output_shape == (None, 50, 50, 15)
    model = Sequential()
    model.add(MaxPooling2D(pool_size=2, strides=2, input_shape=(100, 100, 15)))
    model.summary()
    assert model.output_shape == (None, 50, 50, 15) and model.count_params() == 0


@sample("004:275-289")
def test_the_network_of_the_course(capsys):
    from keras.layers import Flatten

    model = Sequential()
    model.add(Conv2D(filters=16, kernel_size=2, padding="same", activation="relu", input_shape=(32, 32, 3)))
    model.add(MaxPooling2D(pool_size=2))
    model.add(Conv2D(filters=32, kernel_size=2, padding="same", activation="relu"))
    model.add(MaxPooling2D(pool_size=2))
    model.add(Conv2D(filters=64, kernel_size=2, padding="same", activation="relu"))
    model.add(MaxPooling2D(pool_size=2))
    model.add(Flatten())
    model.add(Dense(500, activation="relu"))
    model.add(Dense(10, activation="softmax"))
    model.summary()
    assert "Total params: 528,054" in capsys.readouterr().out
    assert np.allclose(model.predict(np.random.rand(2, 32, 32, 3)).sum(1), 1, atol=1e-5)

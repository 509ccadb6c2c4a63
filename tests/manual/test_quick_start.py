"""Document 001, the quick start and its frequent questions: samples run and do what they say."""

from __future__ import annotations

import numpy as np
import pytest
from samples import Sequential, keras, sample

Dense, Activation, Dropout = keras.layers.Dense, keras.layers.Activation, keras.layers.Dropout


@pytest.fixture
def data():
    return np.random.rand(300, 100), np.eye(10)[np.random.randint(0, 10, 300)]


def first_model():
    from keras.models import Sequential

    model = Sequential()
    assert model.layers == []
    model.add(Dense(units=64, input_dim=100))
    model.add(Activation("relu"))
    model.add(Dense(units=10))
    model.add(Activation("softmax"))
    assert model.output_shape == (None, 10)
    return model


@sample("001:8-11", "001:16-21", "001:26-26", "001:37-37", "001:42-42", "001:47-47", "001:52-52")
def test_thirty_seconds_of_keras(data, capsys):
    x_train, y_train = x_test, y_test = data
    model = first_model()
    model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=5, batch_size=32)
    assert history.epoch == [0, 1, 2, 3, 4] and "Epoch 5/5" in capsys.readouterr().out
    assert len(model.train_on_batch(x_train, y_train)) == 2
    loss_and_metrics = model.evaluate(x_test, y_test, batch_size=128)
    assert len(loss_and_metrics) == 2 and 0 <= loss_and_metrics[1] <= 1
    classes = model.predict(x_test, batch_size=128)
    assert classes.shape == (300, 10) and np.allclose(classes.sum(1), 1, atol=1e-5)


@sample("001:31-32")
def test_the_optimizer_is_an_object(data):
    from keras.optimizers import SGD

    model = first_model()
    model.compile(loss="categorical_crossentropy", optimizer=SGD(lr=0.01, momentum=0.9, nesterov=True))
    losses = model.fit(*data, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@sample("001:73-80", "001:85-89", "001:96-101")
def test_a_model_is_saved_and_made_again(data):
    from keras.models import load_model, model_from_json, model_from_yaml

    model = first_model()
    model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    model.fit(*data, verbose=0)
    before, json_string, yaml_string = model.predict(data[0]), model.to_json(), model.to_yaml()
    model.save("my_model.h5")  # creates a HDF5 file 'my_model.h5'
    del model
    model = load_model("my_model.h5")
    assert np.array_equal(model.predict(data[0]), before)
    model.fit(*data, verbose=0)  # a compiled model
    for made in (model_from_json(json_string), model_from_yaml(yaml_string)):
        assert [layer.name for layer in made.layers] == [layer.name for layer in model.layers]


@sample("001:106-106", "001:111-111", "001:116-116")
def test_weights_alone_are_saved():
    model, other = first_model(), first_model()
    model.save_weights("my_model_weights.h5")
    other.load_weights("my_model_weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights()))
    model.load_weights("my_model_weights.h5", by_name=True)


@sample("001:121-135")
def test_weights_are_loaded_by_name_into_another_model():
    fname = "weights.h5"
    model = Sequential()
    model.add(Dense(2, input_dim=3, name="dense_1"))
    model.add(Dense(3, name="dense_2"))
    model.save_weights(fname)
    first = model.get_weights()
    model = Sequential()
    model.add(Dense(2, input_dim=3, name="dense_1"))  # will be loaded
    model.add(Dense(10, name="new_dense"))  # will not be loaded
    drawn = model.get_weights()[2]
    model.load_weights(fname, by_name=True)
    assert np.array_equal(model.get_weights()[0], first[0])
    assert np.array_equal(model.get_weights()[2], drawn)


@sample("001:142-149", "001:154-159", "001:166-173")
@pytest.mark.filterwarnings("ignore:Update your")
def test_outputs_of_a_layer_within():
    from keras import backend as K
    from keras.models import Model

    hidden = Dense(6, activation="relu", name="my_layer")
    model = Sequential([Dense(8, input_dim=5), hidden, Dropout(0.5), Dense(4, name="last")])
    data = np.random.rand(12, 5)
    intermediate_layer_model = Model(input=model.input, output=model.get_layer("my_layer").output)
    assert intermediate_layer_model.predict(data).shape == (12, 6)
    get_3rd_layer_output = K.function([model.layers[0].input], [model.layers[3].output])
    assert np.allclose(get_3rd_layer_output([data])[0], model.predict(data), atol=1e-5)
    phased = K.function([model.layers[0].input, K.learning_phase()], [model.layers[3].output])
    assert np.allclose(phased([data, 0])[0], model.predict(data), atol=1e-5)
    assert not np.allclose(phased([data, 1])[0], model.predict(data))


@sample("001:180-182", "001:199-200")
def test_early_stopping_and_the_history():
    from keras.callbacks import EarlyStopping

    model = Sequential([Dense(1, input_dim=5, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    x, y = np.random.rand(100, 5), np.random.randint(0, 2, (100, 1))
    early_stopping = EarlyStopping(monitor="val_loss", patience=2)
    hist = model.fit(x, y, validation_split=0.2, callbacks=[early_stopping], verbose=0)
    assert set(hist.history) == {"loss", "acc", "val_loss", "val_acc"}


@sample("001:222-241")
def test_a_stateful_recurrent_layer():
    from keras.layers import LSTM

    X = np.random.rand(32, 21, 16)
    model = Sequential()
    model.add(LSTM(32, input_shape=(10, 16), batch_size=32, stateful=True))
    model.add(Dense(16, activation="softmax"))
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy")
    model.train_on_batch(X[:, :10, :], np.reshape(X[:, 10, :], (32, 16)))
    model.train_on_batch(X[:, 10:20, :], np.reshape(X[:, 20, :], (32, 16)))
    model.reset_states()
    started = model.predict(X[:, :10], batch_size=32)
    assert not np.allclose(model.predict(X[:, :10], batch_size=32), started)
    model.layers[0].reset_states()
    assert np.allclose(model.predict(X[:, :10], batch_size=32), started)


@sample("001:253-253", "001:258-274")
def test_a_layer_is_frozen_in_one_model_and_trained_by_another():
    from keras.layers import Input
    from keras.models import Model

    assert not Dense(32, trainable=False).trainable
    data, labels = np.random.rand(64, 32), np.random.rand(64, 32)
    x = Input(shape=(32,))
    layer = Dense(32)
    layer.trainable = False
    y = layer(x)
    frozen_model = Model(x, y)
    frozen_model.compile(optimizer="rmsprop", loss="mse")
    layer.trainable = True
    trainable_model = Model(x, y)
    trainable_model.compile(optimizer="rmsprop", loss="mse")
    before = layer.get_weights()
    frozen_model.fit(data, labels, verbose=0)  # this does NOT update the weights of `layer`
    assert np.array_equal(before[0], layer.get_weights()[0])
    trainable_model.fit(data, labels, verbose=0)  # this updates the weights of `layer`
    assert not np.array_equal(before[0], layer.get_weights()[0])


@sample("001:281-288")
def test_a_layer_is_popped():
    model = Sequential()
    model.add(Dense(32, activation="relu", input_dim=784))
    model.add(Dense(32, activation="relu"))
    assert len(model.layers) == 2
    model.pop()
    assert len(model.layers) == 1 and model.output_shape == (None, 32)

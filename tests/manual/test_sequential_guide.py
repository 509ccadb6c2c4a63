"""Document 001, the guide to the sequential model: samples run, and what they say of themselves holds."""

from __future__ import annotations

import numpy as np
import pytest
from samples import Sequential, keras, sample

layers = keras.layers
Activation, Conv1D, Conv2D, Dense, Dropout = (
    layers.Activation,
    layers.Conv1D,
    layers.Conv2D,
    layers.Dense,
    layers.Dropout,
)
Embedding, Flatten, LSTM = layers.Embedding, layers.Flatten, layers.LSTM
GlobalAveragePooling1D, MaxPooling1D, MaxPooling2D = (
    layers.GlobalAveragePooling1D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
)


def classes(n, of=10):
    return keras.utils.to_categorical(np.random.randint(of, size=(n, 1)), num_classes=of)


@sample("001:771-779")
def test_units_that_are_given_twice_are_an_error_as_in_keras():
    with pytest.raises(TypeError, match="units"):
        Sequential([Dense(32, units=784), Activation("relu"), Dense(10), Activation("softmax")])


@sample("001:784-786", "001:798-799", "001:802-803")
def test_the_shape_of_the_input_is_given():
    model = Sequential()
    model.add(Dense(32, input_shape=(784,)))
    model.add(Activation("relu"))
    assert model.output_shape == (None, 32)
    for given in ({"input_dim": 784}, {"input_shape": (784,)}):
        model = Sequential()
        model.add(Dense(32, **given))
        assert model.input_shape == (None, 784)


@sample("001:815-837")
def test_compilation_for_each_kind_of_problem():
    import keras.backend as K

    model = Sequential([Dense(8, input_dim=5, activation="relu"), Dense(1, activation="sigmoid")])
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    model.compile(optimizer="rmsprop", loss="mse")

    def mean_pred(y_true, y_pred):
        return K.mean(y_pred)

    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy", mean_pred])
    x = np.random.rand(100, 5)
    found = model.evaluate(x, np.random.randint(0, 2, (100, 1)), batch_size=100, verbose=0)
    assert model.metrics_names == ["loss", "acc", "mean_pred"]
    assert np.isclose(found[2], model.predict(x).mean(), atol=1e-5)


@sample("001:845-879")
@pytest.mark.parametrize("units, loss", [(1, "binary_crossentropy"), (10, "categorical_crossentropy")])
def test_training_in_batches(units, loss):
    model = Sequential()
    model.add(Dense(32, activation="relu", input_dim=100))
    model.add(Dense(units, activation="sigmoid" if units == 1 else "softmax"))
    model.compile(optimizer="rmsprop", loss=loss, metrics=["accuracy"])
    labels = np.random.randint(2, size=(1000, 1)) if units == 1 else classes(1000)
    losses = model.fit(np.random.random((1000, 100)), labels, epochs=10, batch_size=32, verbose=0)
    assert losses.history["loss"][-1] < losses.history["loss"][0]


@sample("001:898-927", "001:934-957")
@pytest.mark.parametrize("units, activation", [(10, "softmax"), (1, "sigmoid")])
def test_perceptrons(units, activation):
    from keras.optimizers import SGD

    x_train, x_test = np.random.random((1000, 20)), np.random.random((100, 20))
    y_train, y_test = classes(1000)[:, :units], classes(100)[:, :units]
    model = Sequential()
    model.add(Dense(64, activation="relu", input_dim=20))
    model.add(Dropout(0.5))
    model.add(Dense(64, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(units, activation=activation))
    if units == 1:
        model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    else:
        sgd = SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
        model.compile(loss="categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=20, batch_size=128, verbose=0)
    score = model.evaluate(x_test, y_test, batch_size=128, verbose=0)
    assert 0 <= score[1] <= 1


@sample("001:963-998")
def test_a_network_like_vgg():
    from keras.optimizers import SGD

    model = Sequential()
    model.add(Conv2D(32, (3, 3), activation="relu", input_shape=(100, 100, 3)))
    model.add(Conv2D(32, (3, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25))
    model.add(Flatten())
    assert model.output_shape == (None, 22 * 22 * 64)
    model.add(Dense(256, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(10, activation="softmax"))
    sgd = SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    model.compile(loss="categorical_crossentropy", optimizer=sgd)
    images = np.random.random((4, 100, 100, 3))
    model.fit(images, classes(4), batch_size=4, epochs=1, verbose=0)
    assert np.isfinite(model.evaluate(images, classes(4), batch_size=4, verbose=0))


@sample("001:1004-1020")
def test_sequences_are_classified_by_an_lstm():
    max_features = 1024
    x, y = np.random.randint(0, max_features, (64, 20)), np.random.randint(0, 2, (64, 1))
    model = Sequential()
    model.add(Embedding(max_features, output_dim=256))
    model.add(LSTM(128))
    model.add(Dropout(0.5))
    model.add(Dense(1, activation="sigmoid"))
    assert model.input_shape == (None, None)
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    model.fit(x, y, batch_size=16, epochs=4, verbose=0)
    assert model.evaluate(x, y, batch_size=16, verbose=0)[1] > 0.6


@sample("001:1026-1046")
def test_sequences_are_classified_by_convolutions():
    seq_length = 64
    model = Sequential()
    model.add(Conv1D(64, 3, activation="relu", input_shape=(seq_length, 100)))
    model.add(Conv1D(64, 3, activation="relu"))
    model.add(MaxPooling1D(3))
    model.add(Conv1D(128, 3, activation="relu"))
    model.add(Conv1D(128, 3, activation="relu"))
    model.add(GlobalAveragePooling1D())
    model.add(Dropout(0.5))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    x, y = np.random.rand(64, seq_length, 100), np.random.randint(0, 2, (64, 1))
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    assert len(model.evaluate(x, y, batch_size=16, verbose=0)) == 2


@sample("001:1059-1089", "001:1096-1129")
@pytest.mark.parametrize("stateful", [False, True])
def test_stacked_lstms(stateful):
    data_dim, timesteps, num_classes, batch_size = 16, 8, 10, 32
    shape = (batch_size, timesteps, data_dim)
    first = {"batch_input_shape": shape} if stateful else {"input_shape": shape[1:]}
    model = Sequential()
    model.add(LSTM(32, return_sequences=True, stateful=stateful, **first))
    model.add(LSTM(32, return_sequences=True, stateful=stateful))
    model.add(LSTM(32, stateful=stateful))
    model.add(Dense(10, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    x, y = (
        np.random.random((batch_size * 4, timesteps, data_dim)),
        np.random.random((batch_size * 4, num_classes)),
    )
    validation = (x[:batch_size], y[:batch_size])
    history = model.fit(
        x, y, batch_size=batch_size, epochs=2, shuffle=not stateful, validation_data=validation, verbose=0
    ).history
    assert set(history) == {"loss", "acc", "val_loss", "val_acc"}

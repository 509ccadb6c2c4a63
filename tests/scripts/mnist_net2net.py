"""Net2Net (Chen, Goodfellow, Shlens, 2016): a trained network becomes wider and deeper, and keeps what it
knows."""

import keras
import numpy as np
from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from keras.models import Sequential
from keras.optimizers import SGD

labels = np.random.RandomState(0).randint(0, 3, 120)
x = np.random.RandomState(1).rand(120, 12, 12, 1) * 0.3
for image, label in zip(x, labels):
    image[4 * label : 4 * label + 3] += 0.7
y = keras.utils.to_categorical(labels, 3)


def network(width, deeper=False):
    model = Sequential()
    model.add(Conv2D(8, 3, input_shape=(12, 12, 1), padding="same", name="conv1"))
    model.add(MaxPooling2D(2, name="pool1"))
    model.add(Flatten(name="flatten"))
    model.add(Dense(width, activation="relu", name="fc1"))
    if deeper:
        model.add(Dense(width, kernel_initializer="identity", activation="relu", name="fc1-deeper"))
    model.add(Dense(3, activation="softmax", name="fc2"))
    return model


def train(model, epochs):
    model.compile(loss="categorical_crossentropy", optimizer=SGD(lr=0.01, momentum=0.9), metrics=["accuracy"])
    model.fit(x, y, batch_size=16, epochs=epochs, validation_data=(x, y), verbose=0)


teacher = network(16)
train(teacher, 8)
before = teacher.predict(x)
wider = network(24)
wider.get_layer("conv1").set_weights(teacher.get_layer("conv1").get_weights())
kernel, bias = teacher.get_layer("fc1").get_weights()
head, head_bias = teacher.get_layer("fc2").get_weights()
copied = np.random.RandomState(2).randint(16, size=8)
factors = np.bincount(copied, minlength=16)[copied] + 1.0
grown = np.concatenate([head, head[copied] / factors[:, None]])
grown[copied] = head[copied] / factors[:, None]
wider.get_layer("fc1").set_weights(
    [np.concatenate([kernel, kernel[:, copied]], 1), np.concatenate([bias, bias[copied]])]
)
wider.get_layer("fc2").set_weights([grown, head_bias])
assert np.allclose(wider.predict(x), before, atol=1e-4)
deeper = network(16, deeper=True)
for layer in teacher.layers:
    deeper.get_layer(name=layer.name).set_weights(layer.get_weights())
assert np.allclose(deeper.predict(x), before, atol=1e-4)
for student in (wider, deeper):
    train(student, 2)
    assert student.evaluate(x, y, verbose=0)[1] > 0.7

"""Text is read from images: convolutions, recurrent layers in both directions, and the CTC loss.

Shows K.ctc_batch_cost in a Lambda with four inputs, a model whose loss is one of its outputs, training
from a generator of dicts, a callback that decodes with K.ctc_decode, and layers shared with a model for
reading. The images are made: each of three letters is a pattern of bars.

    kcompile run examples/keras2/image_ocr.py
"""

import numpy as np
from keras import backend as K
from keras.callbacks import Callback
from keras.layers import (
    GRU,
    Activation,
    Conv2D,
    Dense,
    Input,
    Lambda,
    MaxPooling2D,
    Reshape,
    add,
    concatenate,
)
from keras.models import Model
from keras.optimizers import SGD

LETTERS, LENGTH, WIDTH, HEIGHT = 3, 3, 32, 8
STEPS = WIDTH // 2
rng = np.random.RandomState(0)
PATTERNS = np.array([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0, 1, 1]], "float32")


def batches(size):
    while True:
        labels = rng.randint(0, LETTERS, (size, LENGTH))
        images = 0.1 * rng.rand(size, WIDTH, HEIGHT, 1)
        for image, text in zip(images, labels):
            for place, letter in enumerate(text):
                image[2 + 10 * place : 8 + 10 * place, :, 0] += PATTERNS[letter]
        inputs = {
            "the_input": images,
            "the_labels": labels,
            "input_length": np.full((size, 1), STEPS - 2),
            "label_length": np.full((size, 1), LENGTH),
            "source_str": labels,  # for the callback's eyes alone: the model has no such input
        }
        yield inputs, {"ctc": np.zeros(size)}


def ctc_loss(args):
    y_pred, labels, input_length, label_length = args
    return K.ctc_batch_cost(
        labels, y_pred[:, 2:, :], input_length, label_length
    )  # the first steps say little


input_data = Input(name="the_input", shape=(WIDTH, HEIGHT, 1))
x = Conv2D(8, 3, padding="same", activation="relu", name="conv1")(input_data)
x = MaxPooling2D(pool_size=(2, 2), name="max1")(x)
x = Reshape(target_shape=(STEPS, HEIGHT // 2 * 8), name="reshape")(x)
x = Dense(24, activation="relu", name="dense1")(x)
forward = GRU(24, return_sequences=True, name="gru1")(x)
backward = GRU(24, return_sequences=True, go_backwards=True, name="gru1_b")(x)
x = concatenate([add([forward, backward]), forward])
y_pred = Activation("softmax", name="softmax")(Dense(LETTERS + 1, name="dense2")(x))
labels = Input(name="the_labels", shape=[LENGTH], dtype="float32")
input_length = Input(name="input_length", shape=[1], dtype="int64")
label_length = Input(name="label_length", shape=[1], dtype="int64")
loss = Lambda(ctc_loss, output_shape=(1,), name="ctc")([y_pred, labels, input_length, label_length])
model = Model(inputs=[input_data, labels, input_length, label_length], outputs=loss)
sgd = SGD(lr=0.02, decay=1e-6, momentum=0.9, nesterov=True, clipnorm=5)
model.compile(loss={"ctc": lambda y_true, y_pred: y_pred}, optimizer=sgd)
read = K.function([input_data], [y_pred])


class Reading(Callback):
    def on_epoch_end(self, epoch, logs=None):
        inputs, _ = next(batches(4))
        scores = read([inputs["the_input"]])[0][:, 2:]
        decoded = K.get_value(K.ctc_decode(scores, np.full(4, STEPS - 2))[0][0])
        print("\n", [row[row >= 0].tolist() for row in decoded], "of", inputs["source_str"].tolist())


history = model.fit_generator(batches(32), steps_per_epoch=12, epochs=4, callbacks=[Reading()], verbose=2)
losses = history.history["loss"]
print("loss", losses[0], "->", losses[-1])
assert losses[-1] < losses[0]

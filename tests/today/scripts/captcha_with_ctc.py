"""Captcha reading: characters by StringLookup, a CTC layer with add_loss, decoding with ctc_decode, a prediction model."""

import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers
from PIL import Image

folder = Path(tempfile.mkdtemp())
rng = np.random.RandomState(1)
for k in range(16):
    word = "".join(rng.choice(list("2bcde"), 3))
    pixels = np.concatenate([np.full((20, 16), 40 * "2bcde".index(c) + 20) for c in word], 1) + rng.randint(
        0, 9, (20, 48)
    )
    Image.fromarray(pixels.astype("uint8")).save(folder / f"{word}_{k}.png")
images = sorted(map(str, list(folder.glob("*.png"))))
labels = [img.split(os.path.sep)[-1].split("_")[0] for img in images]
characters = sorted(set(char for label in labels for char in label))
batch_size, img_width, img_height = 4, 48, 20
max_length = max([len(label) for label in labels])
char_to_num = layers.StringLookup(vocabulary=list(characters), mask_token=None)
num_to_char = layers.StringLookup(vocabulary=char_to_num.get_vocabulary(), mask_token=None, invert=True)
print(char_to_num.get_vocabulary())


def encode_single_sample(img_path, label):
    img = tf.io.read_file(img_path)
    img = tf.io.decode_png(img, channels=1)
    img = tf.image.convert_image_dtype(img, tf.float32)
    img = tf.image.resize(img, [img_height, img_width])
    img = tf.transpose(img, perm=[1, 0, 2])
    label = char_to_num(tf.strings.unicode_split(label, input_encoding="UTF-8"))
    return {"image": img, "label": label}


train_dataset = tf.data.Dataset.from_tensor_slices((np.array(images), np.array(labels)))
train_dataset = (
    train_dataset.map(encode_single_sample, num_parallel_calls=tf.data.AUTOTUNE)
    .batch(batch_size)
    .prefetch(buffer_size=tf.data.AUTOTUNE)
)
for batch in train_dataset.take(1):
    print(batch["image"].shape, batch["label"].shape)
    label = batch["label"][0]
    print(tf.strings.reduce_join(num_to_char(label)).numpy().decode("utf-8") == labels[0])


class CTCLayer(layers.Layer):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.loss_fn = keras.backend.ctc_batch_cost

    def call(self, y_true, y_pred):
        batch_len = tf.cast(tf.shape(y_true)[0], dtype="int64")
        input_length = tf.cast(tf.shape(y_pred)[1], dtype="int64")
        label_length = tf.cast(tf.shape(y_true)[1], dtype="int64")
        input_length = input_length * tf.ones(shape=(batch_len, 1), dtype="int64")
        label_length = label_length * tf.ones(shape=(batch_len, 1), dtype="int64")
        loss = self.loss_fn(y_true, y_pred, input_length, label_length)
        self.add_loss(loss)
        return y_pred


def build_model():
    input_img = layers.Input(shape=(img_width, img_height, 1), name="image", dtype="float32")
    labels = layers.Input(name="label", shape=(None,), dtype="float32")
    x = layers.Conv2D(
        8, (3, 3), activation="relu", kernel_initializer="he_normal", padding="same", name="Conv1"
    )(input_img)
    x = layers.MaxPooling2D((2, 2), name="pool1")(x)
    x = layers.Conv2D(8, (3, 3), activation="relu", padding="same", name="Conv2")(x)
    x = layers.MaxPooling2D((2, 2), name="pool2")(x)
    new_shape = ((img_width // 4), (img_height // 4) * 8)
    x = layers.Reshape(target_shape=new_shape, name="reshape")(x)
    x = layers.Dense(16, activation="relu", name="dense1")(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True, dropout=0.25))(x)
    x = layers.Dense(len(char_to_num.get_vocabulary()) + 1, activation="softmax", name="dense2")(x)
    output = CTCLayer(name="ctc_loss")(labels, x)
    model = keras.models.Model(inputs=[input_img, labels], outputs=output, name="ocr_model_v1")
    model.compile(optimizer=keras.optimizers.Adam())
    return model


model = build_model()
model.summary()
early_stopping = keras.callbacks.EarlyStopping(monitor="loss", patience=10, restore_best_weights=True)
history = model.fit(train_dataset, epochs=4, callbacks=[early_stopping], verbose=0)
prediction_model = keras.models.Model(
    model.input[0] if isinstance(model.input, list) else model.input["image"],
    model.get_layer(name="dense2").output,
)


def decode_batch_predictions(pred):
    input_len = np.ones(pred.shape[0]) * pred.shape[1]
    results = keras.backend.ctc_decode(pred, input_length=input_len, greedy=True)[0][0][:, :max_length]
    output_text = []
    for res in results:
        res = tf.strings.reduce_join(num_to_char(res + 1 - 1)).numpy().decode("utf-8")
        output_text.append(res)
    return output_text


for batch in train_dataset.take(1):
    preds = prediction_model.predict(batch["image"], verbose=0)
    print(preds.shape, len(decode_batch_predictions(preds)))

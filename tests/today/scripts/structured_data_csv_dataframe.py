"""Structured data the tf.keras way: a dict of columns in tf.data, Normalization, CategoryEncoding, Dense."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

rng = np.random.RandomState(0)
columns = {
    "PhotoAmt": rng.randint(0, 9, 200).astype("float32"),
    "Fee": rng.gamma(2.0, 30.0, 200).astype("float32"),
    "Age": rng.randint(1, 40, 200),
    "Type": rng.randint(1, 3, 200),
}
target = ((columns["Fee"] > 50) ^ (columns["Type"] == 2)).astype("int64")


def df_to_dataset(data, labels, batch_size=32):
    ds = tf.data.Dataset.from_tensor_slices(({k: v[:, tf.newaxis] for k, v in data.items()}, labels))
    ds = ds.batch(batch_size)
    return ds.prefetch(batch_size)


train_ds = df_to_dataset({k: v[:160] for k, v in columns.items()}, target[:160])
val_ds = df_to_dataset({k: v[160:] for k, v in columns.items()}, target[160:])


def get_normalization_layer(name, dataset):
    normalizer = layers.Normalization(axis=None)
    feature_ds = dataset.map(lambda x, y: x[name])
    normalizer.adapt(feature_ds)
    return normalizer


def get_category_encoding_layer(name, dataset, max_tokens=None):
    index = layers.IntegerLookup(max_tokens=max_tokens)
    feature_ds = dataset.map(lambda x, y: x[name])
    index.adapt(feature_ds)
    encoder = layers.CategoryEncoding(num_tokens=index.vocabulary_size(), output_mode="multi_hot")
    return lambda feature: encoder(index(feature))


all_inputs, encoded_features = {}, []
for header in ["PhotoAmt", "Fee"]:
    numeric_col = tf.keras.Input(shape=(1,), name=header)
    all_inputs[header] = numeric_col
    encoded_features.append(get_normalization_layer(header, train_ds)(numeric_col))
for header in ["Age", "Type"]:
    col = tf.keras.Input(shape=(1,), name=header, dtype="int64")
    all_inputs[header] = col
    encoded_features.append(get_category_encoding_layer(header, train_ds, max_tokens=5)(col))

x = tf.keras.layers.concatenate(encoded_features)
x = tf.keras.layers.Dense(32, activation="relu")(x)
x = tf.keras.layers.Dropout(0.5)(x)
output = tf.keras.layers.Dense(1)(x)
model = tf.keras.Model(all_inputs, output)
model.compile(
    optimizer="adam", loss=tf.keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"]
)
model.fit(train_ds, epochs=5, validation_data=val_ds)
loss, accuracy = model.evaluate(val_ds)
sample = {"PhotoAmt": 2.0, "Fee": 100.0, "Age": 3, "Type": 1}
input_dict = {name: tf.convert_to_tensor([[value]]) for name, value in sample.items()}
predictions = model.predict(input_dict)
prob = tf.nn.sigmoid(predictions[0])
print("%.1f percent" % (100 * prob[0]))

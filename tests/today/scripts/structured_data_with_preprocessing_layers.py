"""Structured data: integer and float columns by Normalization, IntegerLookup and CategoryEncoding."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

import keras
from keras import layers

rng = np.random.RandomState(3)
n = 256
raw = {
    "age": rng.randint(29, 77, (n, 1)).astype("float32"),
    "trestbps": rng.normal(130, 17, (n, 1)).astype("float32"),
    "chol": rng.normal(240, 50, (n, 1)).astype("float32"),
    "oldpeak": rng.exponential(1.0, (n, 1)).astype("float32"),
    "sex": rng.randint(0, 2, (n, 1)),
    "cp": rng.randint(0, 5, (n, 1)),
    "ca": rng.randint(0, 4, (n, 1)),
}
logit = (raw["age"] - 55) / 10 + raw["oldpeak"] + (raw["cp"] > 2) - 1.5
target = (logit + rng.normal(0, 0.3, (n, 1)) > 0).astype("int32")

train = {k: v[:192] for k, v in raw.items()}
val = {k: v[192:] for k, v in raw.items()}


def encode_numerical_feature(feature, name, data):
    normalizer = layers.Normalization()
    normalizer.adapt(data)
    return normalizer(feature)


def encode_categorical_feature(feature, name, data):
    lookup = layers.IntegerLookup(output_mode="one_hot")
    lookup.adapt(data)
    return lookup(feature)


all_inputs, encoded = [], []
for name in ["sex", "cp", "ca"]:
    feature = keras.Input(shape=(1,), name=name, dtype="int64")
    all_inputs.append(feature)
    encoded.append(encode_categorical_feature(feature, name, train[name]))
for name in ["age", "trestbps", "chol", "oldpeak"]:
    feature = keras.Input(shape=(1,), name=name)
    all_inputs.append(feature)
    encoded.append(encode_numerical_feature(feature, name, train[name]))

bins = layers.Discretization(bin_boundaries=[40.0, 50.0, 60.0])(all_inputs[3])
encoded.append(layers.CategoryEncoding(num_tokens=4, output_mode="one_hot")(bins))

all_features = layers.concatenate(encoded)
x = layers.Dense(32, activation="relu")(all_features)
x = layers.Dropout(0.5)(x)
output = layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(all_inputs, output)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])

model.fit(train, target[:192], epochs=4, batch_size=32, validation_data=(val, target[192:]))

sample = {"age": 60, "sex": 1, "cp": 1, "trestbps": 145, "chol": 233, "oldpeak": 2.3, "ca": 0}
input_dict = {name: keras.ops.convert_to_tensor([[value]]) for name, value in sample.items()}
predictions = model.predict(input_dict)
print(f"probability {100 * predictions[0][0]:.1f}")

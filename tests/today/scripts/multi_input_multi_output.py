"""The functional API guide: tickets with title, body and tags; shared layers, nested models, residual blocks."""

import numpy as np

import keras
from keras import layers

num_tags = 6
num_words = 80
num_departments = 4

title_input = keras.Input(shape=(None,), name="title")
body_input = keras.Input(shape=(None,), name="body")
tags_input = keras.Input(shape=(num_tags,), name="tags")

title_features = layers.Embedding(num_words, 8)(title_input)
body_features = layers.Embedding(num_words, 8)(body_input)
title_features = layers.LSTM(8)(title_features)
body_features = layers.LSTM(4)(body_features)
x = layers.concatenate([title_features, body_features, tags_input])
priority_pred = layers.Dense(1, name="priority")(x)
department_pred = layers.Dense(num_departments, name="department")(x)
model = keras.Model(
    inputs=[title_input, body_input, tags_input],
    outputs={"priority": priority_pred, "department": department_pred},
)
model.compile(
    optimizer=keras.optimizers.RMSprop(1e-3),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "department": keras.losses.CategoricalCrossentropy(from_logits=True),
    },
    loss_weights={"priority": 1.0, "department": 0.2},
)
rng = np.random.RandomState(0)
title_data = rng.randint(num_words, size=(128, 5))
body_data = rng.randint(num_words, size=(128, 12))
tags_data = rng.randint(2, size=(128, num_tags)).astype("float32")
priority_targets = rng.random(size=(128, 1))
dept_targets = np.eye(num_departments)[rng.randint(num_departments, size=128)]
model.fit(
    {"title": title_data, "body": body_data, "tags": tags_data},
    {"priority": priority_targets, "department": dept_targets},
    epochs=3,
    batch_size=32,
)

# A toy ResNet, and an ensemble of models
inputs = keras.Input(shape=(16, 16, 3), name="img")
x = layers.Conv2D(8, 3, activation="relu")(inputs)
block_1_output = layers.MaxPooling2D(2)(x)
x = layers.Conv2D(8, 3, activation="relu", padding="same")(block_1_output)
x = layers.Conv2D(8, 3, activation="relu", padding="same")(x)
block_2_output = layers.add([x, block_1_output])
x = layers.GlobalAveragePooling2D()(block_2_output)
outputs = layers.Dense(5)(x)
resnet = keras.Model(inputs, outputs, name="toy_resnet")
feature_layer = keras.Model(resnet.inputs, resnet.layers[-2].output)


def get_model(seed):
    i = keras.Input(shape=(8,))
    return keras.Model(i, layers.Dense(5, name=f"head_{seed}")(i))


i = keras.Input(shape=(16, 16, 3))
features = feature_layer(i)
ensemble = keras.Model(i, layers.average([get_model(k)(features) for k in range(3)] + [resnet(i)]))
ensemble.compile(
    optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["acc"]
)
images = rng.rand(64, 16, 16, 3)
labels = rng.randint(0, 5, (64, 1))
ensemble.fit(images, labels, batch_size=16, epochs=3, validation_split=0.25)

ensemble.evaluate(images, labels)

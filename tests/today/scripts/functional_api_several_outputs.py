"""The functional API: tickets of several inputs and outputs, a small residual network, shared layers."""

import keras
import numpy as np
from keras import layers

num_tags, num_words, num_departments = 12, 1000, 4
title_input = keras.Input(shape=(None,), name="title")
body_input = keras.Input(shape=(None,), name="body")
tags_input = keras.Input(shape=(num_tags,), name="tags")
title_features = layers.Embedding(num_words, 64)(title_input)
body_features = layers.Embedding(num_words, 64)(body_input)
title_features = layers.LSTM(128)(title_features)
body_features = layers.LSTM(32)(body_features)
x = layers.concatenate([title_features, body_features, tags_input])
priority_pred = layers.Dense(1, name="priority")(x)
department_pred = layers.Dense(num_departments, name="department")(x)
model = keras.Model(
    inputs=[title_input, body_input, tags_input],
    outputs={"priority": priority_pred, "department": department_pred},
)
model.summary()
model.compile(
    optimizer=keras.optimizers.RMSprop(1e-3),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "department": keras.losses.CategoricalCrossentropy(from_logits=True),
    },
    loss_weights={"priority": 1.0, "department": 0.2},
)
r = np.random.RandomState(0)
title_data = r.randint(num_words, size=(128, 12))
body_data = r.randint(num_words, size=(128, 30))
tags_data = r.randint(2, size=(128, num_tags)).astype("float32")
priority_targets = r.random_sample(size=(128, 1))
dept_targets = r.randint(2, size=(128, num_departments))
h = model.fit(
    {"title": title_data, "body": body_data, "tags": tags_data},
    {"priority": priority_targets, "department": dept_targets},
    epochs=2,
    batch_size=32,
    verbose=2,
)
print(sorted(h.history))
out = model.predict({"title": title_data, "body": body_data, "tags": tags_data}, verbose=0)
print(type(out).__name__, sorted(out), out["priority"].shape)

inputs = keras.Input(shape=(32, 32, 3), name="img")
x = layers.Conv2D(32, 3, activation="relu")(inputs)
x = layers.Conv2D(64, 3, activation="relu")(x)
block_1_output = layers.MaxPooling2D(3)(x)
x = layers.Conv2D(64, 3, activation="relu", padding="same")(block_1_output)
x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
block_2_output = layers.add([x, block_1_output])
x = layers.Conv2D(64, 3, activation="relu")(block_2_output)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dense(256, activation="relu")(x)
x = layers.Dropout(0.5)(x)
outputs = layers.Dense(10)(x)
model = keras.Model(inputs, outputs, name="toy_resnet")
model.summary()
xt = r.rand(64, 32, 32, 3).astype("float32")
yt = keras.utils.to_categorical(r.randint(0, 10, 64), 10)
model.compile(
    optimizer=keras.optimizers.RMSprop(1e-3),
    loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    metrics=["acc"],
)
h = model.fit(xt, yt, batch_size=32, epochs=1, validation_split=0.2, verbose=2)
print(sorted(h.history))
shared_embedding = layers.Embedding(1000, 128)
text_input_a = keras.Input(shape=(None,), dtype="int32")
text_input_b = keras.Input(shape=(None,), dtype="int32")
a, b = shared_embedding(text_input_a), shared_embedding(text_input_b)
print(a.shape, b.dtype, shared_embedding.embeddings.shape)
m = keras.Model([text_input_a, text_input_b], [a, b])
print([o.shape for o in m.predict([np.ones((2, 3), "int32"), np.ones((2, 5), "int32")], verbose=0)])

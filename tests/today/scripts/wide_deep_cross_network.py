"""Wide, deep and cross networks over numerical and categorical columns by Embedding."""

import math

import numpy as np

import keras
from keras import layers

rng = np.random.RandomState(8)
n = 256
NUMERIC = ["Elevation", "Aspect", "Slope"]
CATEGORICAL = {"Soil": 7, "Area": 4}
data = {name: rng.normal(size=n).astype("float32") for name in NUMERIC}
data |= {name: rng.randint(0, size, n) for name, size in CATEGORICAL.items()}
labels = (data["Elevation"] > 0).astype(int) + (data["Soil"] > 3)

hidden_units = [32, 16]
dropout_rate = 0.1


def create_model_inputs():
    inputs = {}
    for feature_name in data:
        if feature_name in NUMERIC:
            inputs[feature_name] = layers.Input(name=feature_name, shape=(), dtype="float32")
        else:
            inputs[feature_name] = layers.Input(name=feature_name, shape=(), dtype="int32")
    return inputs


def encode_inputs(inputs, use_embedding=False):
    encoded_features = []
    for feature_name in inputs:
        if feature_name in CATEGORICAL:
            size = CATEGORICAL[feature_name]
            if use_embedding:
                embedding_dims = int(math.sqrt(size))
                embedding = layers.Embedding(input_dim=size, output_dim=embedding_dims)
                encoded_feature = embedding(inputs[feature_name])
            else:
                encoded_feature = layers.CategoryEncoding(num_tokens=size, output_mode="one_hot")(
                    keras.ops.expand_dims(inputs[feature_name], -1)
                )
        else:
            encoded_feature = keras.ops.expand_dims(inputs[feature_name], -1)
        encoded_features.append(encoded_feature)
    all_features = layers.concatenate(encoded_features)
    return all_features


def create_wide_and_deep_model():
    inputs = create_model_inputs()
    wide = encode_inputs(inputs)
    wide = layers.BatchNormalization()(wide)

    deep = encode_inputs(inputs, use_embedding=True)
    for units in hidden_units:
        deep = layers.Dense(units)(deep)
        deep = layers.BatchNormalization()(deep)
        deep = layers.ReLU()(deep)
        deep = layers.Dropout(dropout_rate)(deep)

    merged = layers.concatenate([wide, deep])
    outputs = layers.Dense(units=3, activation="softmax")(merged)
    return keras.Model(inputs=inputs, outputs=outputs)


def create_deep_and_cross_model():
    inputs = create_model_inputs()
    x0 = encode_inputs(inputs, use_embedding=True)

    cross = x0
    for _ in hidden_units:
        units = cross.shape[-1]
        x = layers.Dense(units)(cross)
        cross = x0 * x + cross
    cross = layers.BatchNormalization()(cross)

    deep = x0
    for units in hidden_units:
        deep = layers.Dense(units)(deep)
        deep = layers.BatchNormalization()(deep)
        deep = layers.ReLU()(deep)
        deep = layers.Dropout(dropout_rate)(deep)

    merged = layers.concatenate([cross, deep])
    outputs = layers.Dense(units=3, activation="softmax")(merged)
    return keras.Model(inputs=inputs, outputs=outputs)


def run_experiment(model):
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    model.fit(data, labels, epochs=3, batch_size=32)
    _, accuracy = model.evaluate(data, labels, verbose=0)
    print(f"Test accuracy: {round(accuracy * 100, 2)}%")


run_experiment(create_wide_and_deep_model())
run_experiment(create_deep_and_cross_model())

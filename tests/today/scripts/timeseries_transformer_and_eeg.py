"""Timeseries: a Transformer, an EEG classifier with class weights, an autoencoder of convolutions."""

import keras
import numpy as np
from keras import layers

r = np.random.RandomState(0)
x, y = r.randn(64, 40, 1).astype("float32"), r.randint(0, 2, 64)


def transformer_encoder(inputs, head_size, num_heads, ff_dim, dropout=0):
    h = layers.MultiHeadAttention(key_dim=head_size, num_heads=num_heads, dropout=dropout)(inputs, inputs)
    h = layers.Dropout(dropout)(h)
    h = layers.LayerNormalization(epsilon=1e-6)(h)
    res = h + inputs
    h = layers.Conv1D(filters=ff_dim, kernel_size=1, activation="relu")(res)
    h = layers.Dropout(dropout)(h)
    h = layers.Conv1D(filters=inputs.shape[-1], kernel_size=1)(h)
    h = layers.LayerNormalization(epsilon=1e-6)(h)
    return h + res


def build_model(input_shape, head_size, num_heads, ff_dim, blocks, mlp_units, dropout=0, mlp_dropout=0):
    inputs = keras.Input(shape=input_shape)
    h = inputs
    for _ in range(blocks):
        h = transformer_encoder(h, head_size, num_heads, ff_dim, dropout)
    h = layers.GlobalAveragePooling1D(data_format="channels_last")(h)
    for dim in mlp_units:
        h = layers.Dense(dim, activation="relu")(h)
        h = layers.Dropout(mlp_dropout)(h)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(h))


model = build_model(x.shape[1:], 16, 2, 4, 2, [16], mlp_dropout=0.4, dropout=0.25)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate=1e-4),
    metrics=["sparse_categorical_accuracy"],
)
model.summary()
model.fit(
    x,
    y,
    validation_split=0.2,
    epochs=3,
    batch_size=16,
    callbacks=[keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)],
    verbose=0,
)


# event classification / EEG
def weighted(y):
    n = len(y)
    return {c: n / (2.0 * (y == c).sum()) for c in (0, 1)}


inp = keras.Input((40, 1))
h = inp
for f, k in ((8, 3), (16, 3)):
    h = layers.Conv1D(filters=f, kernel_size=k, strides=2, padding="same")(h)
    h = layers.BatchNormalization()(h)
    h = layers.LeakyReLU(negative_slope=0.2)(h)
h = layers.Flatten()(h)
h = layers.Dense(32, kernel_regularizer=keras.regularizers.L2())(h)
h = layers.LeakyReLU()(h)
m = keras.Model(inp, layers.Dense(2, activation="softmax")(h))
m.compile(
    optimizer=keras.optimizers.Adam(amsgrad=True, learning_rate=1e-3),
    loss=keras.losses.CategoricalCrossentropy(),
    metrics=[
        keras.metrics.TopKCategoricalAccuracy(k=1),
        keras.metrics.AUC(),
        keras.metrics.Precision(),
        keras.metrics.Recall(),
    ],
)
h = m.fit(
    x,
    keras.utils.to_categorical(y),
    class_weight=weighted(y),
    epochs=3,
    verbose=0,
    callbacks=[keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.2, patience=1, min_lr=1e-6)],
)
print(sorted(h.history))
print(m.evaluate(x, keras.utils.to_categorical(y), verbose=0, return_dict=True))
# anomaly autoencoder
m = keras.Sequential(
    [
        layers.Input(shape=(40, 1)),
        layers.Conv1D(filters=8, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.2),
        layers.Conv1D(filters=4, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(filters=4, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.2),
        layers.Conv1DTranspose(filters=8, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(filters=1, kernel_size=7, padding="same"),
    ]
)
m.compile(optimizer=keras.optimizers.Adam(learning_rate=0.001), loss="mse")
m.summary()
m.fit(
    x,
    x,
    epochs=3,
    batch_size=16,
    validation_split=0.1,
    callbacks=[keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, mode="min")],
    verbose=0,
)
loss = np.mean(np.abs(m.predict(x, verbose=0) - x), axis=1)
print(round(float(np.max(loss)), 3) > 0)

"""3D convolutions on volumes of scans."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(1)
x = rng.uniform(-1000, 400, (24, 16, 16, 8)).astype("float32")
y = (x[:, 4:8, 4:8, 2:4].mean(axis=(1, 2, 3)) > -300).astype("float32")


def normalize(volume):
    volume = np.clip(volume, -1000, 400)
    return ((volume + 1000) / 1400).astype("float32")


x = normalize(x)[..., None]


def get_model(width=16, height=16, depth=8):
    inputs = keras.Input((width, height, depth, 1))
    x = layers.Conv3D(filters=8, kernel_size=3, activation="relu", padding="same")(inputs)
    x = layers.MaxPool3D(pool_size=2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv3D(filters=8, kernel_size=(3, 3, 1), activation="relu")(x)
    x = layers.MaxPool3D(pool_size=(2, 2, 1), padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.SpatialDropout3D(0.2)(x)
    x = layers.UpSampling3D((1, 1, 2))(x)
    x = layers.ZeroPadding3D(1)(x)
    x = layers.Conv3DTranspose(4, 2, strides=(1, 2, 1), activation="elu")(x)
    x = layers.Cropping3D(((1, 1), (1, 1), (0, 1)))(x)
    x = layers.AveragePooling3D(2)(x)
    x = layers.GlobalAveragePooling3D()(x)
    x = layers.Dense(units=16, activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    outputs = layers.Dense(units=1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs, name="3dcnn")


model = get_model()
model.summary()
schedule = keras.optimizers.schedules.ExponentialDecay(0.001, decay_steps=10, decay_rate=0.96, staircase=True)
model.compile(
    loss="binary_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate=schedule),
    metrics=["acc"],
    run_eagerly=False,
)
checkpoint = keras.callbacks.ModelCheckpoint("3d.keras", save_best_only=True, monitor="val_acc")
early = keras.callbacks.EarlyStopping(monitor="val_acc", patience=15)
model.fit(
    x[:16],
    y[:16],
    validation_data=(x[16:], y[16:]),
    epochs=5,
    batch_size=4,
    shuffle=True,
    verbose=2,
    callbacks=[checkpoint, early],
)
model.load_weights("3d.keras")
prediction = model.predict(np.expand_dims(x[0], axis=0))[0]
for score, name in zip([1 - prediction[0], prediction[0]], ["normal", "abnormal"]):
    print(f"{100 * score:.2f} percent {name}")

"""A residual network with the callbacks of a long training: checkpoints, schedules, a reducer, a table of
values."""

import os

import keras
import numpy as np
from keras.callbacks import CSVLogger, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import Activation, AveragePooling2D, BatchNormalization, Conv2D, Dense, Flatten, Input
from keras.models import Model
from keras.optimizers import Adam
from keras.preprocessing.image import ImageDataGenerator
from keras.regularizers import l2


def lr_schedule(epoch):
    return 1e-2 if epoch < 2 else 1e-3


def resnet_layer(inputs, filters, strides=1, activation="relu"):
    conv = Conv2D(
        filters,
        kernel_size=3,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        kernel_regularizer=l2(1e-4),
    )
    x = BatchNormalization()(conv(inputs))
    return Activation(activation)(x) if activation else x


def resnet(shape, classes):
    inputs = Input(shape=shape)
    x = resnet_layer(inputs, 8)
    for stack, filters in enumerate((8, 16)):
        strides = 1 if stack == 0 else 2
        y = resnet_layer(x, filters, strides)
        y = resnet_layer(y, filters, activation=None)
        if stack > 0:
            x = Conv2D(filters, 1, strides=strides, padding="same", kernel_regularizer=l2(1e-4))(x)
        x = Activation("relu")(keras.layers.add([x, y]))
    x = Flatten()(AveragePooling2D(pool_size=4)(x))
    return Model(inputs, Dense(classes, activation="softmax", kernel_initializer="he_normal")(x))


labels = np.random.RandomState(0).randint(0, 3, 96)
x = np.random.RandomState(1).rand(96, 8, 8, 3).astype("float32") * 0.2
x[np.arange(96), :, :, labels] += 0.7
y = keras.utils.to_categorical(labels, 3)
model = resnet((8, 8, 3), 3)
model.compile(loss="categorical_crossentropy", optimizer=Adam(lr=lr_schedule(0)), metrics=["accuracy"])
checkpoint = ModelCheckpoint(
    filepath="resnet.{epoch:03d}.h5", monitor="val_acc", verbose=1, save_best_only=True
)
reducer = ReduceLROnPlateau(factor=np.sqrt(0.1), cooldown=0, patience=1, min_lr=0.5e-6)
callbacks = [checkpoint, reducer, LearningRateScheduler(lr_schedule), CSVLogger("log.csv")]
flow = ImageDataGenerator(width_shift_range=0.1, horizontal_flip=True).flow(x, y, batch_size=32)
model.fit_generator(flow, validation_data=(x, y), epochs=4, verbose=0, workers=1, callbacks=callbacks)
saved = sorted(name for name in os.listdir(".") if name.startswith("resnet."))
assert saved and np.isfinite(keras.models.load_model(saved[-1]).evaluate(x, y, verbose=0)).all()
with open("log.csv") as log:
    assert len(log.read().splitlines()) == 5

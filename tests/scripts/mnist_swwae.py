"""A stacked what-where autoencoder: gradients of the pooling say where maxima were, and bring them back."""

import numpy as np
from keras import backend as K
from keras.layers import Activation, Conv2D, Input, Lambda, MaxPooling2D, UpSampling2D, multiply
from keras.models import Model


def getwhere(x):
    y_prepool, y_postpool = x
    return K.gradients(K.sum(y_postpool), y_prepool)


image = Input(shape=(8, 8, 1))
before = Activation("relu")(Conv2D(4, 3, padding="same")(image))
pooled = MaxPooling2D(pool_size=(2, 2))(before)
where = Lambda(getwhere, output_shape=lambda shapes: shapes[0])([before, pooled])
y = Conv2D(4, 3, padding="same", activation="relu")(pooled)
y = multiply([UpSampling2D(size=(np.int64(2), np.int64(2)))(y), where])
y = Conv2D(1, 3, padding="same", activation="sigmoid")(y)
model = Model(image, y)
model.compile("adam", "mse")
x = np.random.RandomState(0).rand(64, 8, 8, 1)
losses = model.fit(x, x, validation_data=(x, x), batch_size=16, epochs=5, verbose=0).history["loss"]
assert losses[-1] < losses[0]
places = Model(image, [before, where]).predict(x[:1])[1]
assert set(np.unique(places)) <= {0.0, 0.25, 0.5, 1.0}

"""Deep dream: an image is changed until layers of a network answer more, at several sizes."""

import numpy as np
import scipy.ndimage
from keras import backend as K
from keras.layers import Conv2D, Input, MaxPooling2D
from keras.models import Model

K.set_learning_phase(0)
dream = Input((None, None, 3))
x = Conv2D(8, 3, padding="same", activation="relu", name="mixed2")(dream)
x = Conv2D(8, 3, padding="same", activation="relu", name="mixed3")(MaxPooling2D()(x))
model = Model(dream, x)
layer_dict = {layer.name: layer for layer in model.layers}
loss = K.variable(0.0)
for name, coefficient in {"mixed2": 0.2, "mixed3": 0.5}.items():
    x = layer_dict[name].output
    scaling = K.prod(K.cast(K.shape(x), "float32"))
    loss = loss + coefficient * K.sum(K.square(x[:, 2:-2, 2:-2, :])) / scaling
grads = K.gradients(loss, dream)[0]
grads /= K.maximum(K.mean(K.abs(grads)), K.epsilon())
fetch = K.function([dream], [loss, grads])

original = np.random.RandomState(0).rand(1, 24, 24, 3)
image, values = original, []
for size in (12, 18, 24):
    zoom = (1, size / image.shape[1], size / image.shape[2], 1)
    image = scipy.ndimage.zoom(image, zoom, order=1)
    assert image.shape == (1, size, size, 3)
    for _ in range(4):
        value, slope = fetch([image])
        values.append(float(value))
        image = image + 0.05 * slope
print(values)
assert values[3] > values[0] and values[-1] > values[-4]

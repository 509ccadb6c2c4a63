"""A model that reads variables instead of data: what neural doodle builds its masks and images on."""

import numpy as np
from keras import backend as K
from keras.layers import AveragePooling2D, Conv2D, Input
from keras.models import Model

style = np.random.RandomState(0).rand(1, 12, 12, 3).astype("float32")
style_image = K.variable(style)
target_image = K.placeholder(shape=(1, 12, 12, 3))
images = K.concatenate([style_image, target_image], axis=0)
image_input = Input(tensor=images, shape=(12, 12, 3))
x = Conv2D(4, 3, padding="same", activation="relu", name="conv")(image_input)
image_model = Model(image_input, AveragePooling2D()(x))
mask_input = Input(tensor=K.variable(np.ones((2, 12, 12, 2), "float32")), shape=(None, None, None))
masks = AveragePooling2D((2, 2), name="mask")(mask_input)
features = image_model.output
loss = K.sum(K.square(features[0] - features[1]) * masks[0, :, :, :1])
both = K.function([target_image], [loss, K.gradients(loss, target_image)[0]])
target, values = np.random.RandomState(1).rand(1, 12, 12, 3), []
for _ in range(5):
    value, slope = both([target])
    values.append(float(value))
    target = target - 0.05 * slope
print(values)
assert values[-1] < values[0] and both([style])[0] < 1e-6

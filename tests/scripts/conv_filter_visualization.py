"""The picture that a filter answers to most: gradient ascent on an input of VGG16."""

import numpy as np
from keras import backend as K
from keras.applications import vgg16

model = vgg16.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
layer_output = dict((layer.name, layer) for layer in model.layers[1:])["block2_conv1"].output
input_img = model.input
loss = K.mean(layer_output[:, :, :, 3])
grads = K.gradients(loss, input_img)[0]
grads = grads / (K.sqrt(K.mean(K.square(grads))) + K.epsilon())
iterate = K.function([input_img], [loss, grads])
picture = (np.random.RandomState(0).random_sample((1, 32, 32, 3)) - 0.5) * 20 + 128
values = []
for _ in range(5):
    loss_value, grads_value = iterate([picture])
    picture += grads_value * 5.0
    values.append(float(loss_value))
print(values)
assert values[-1] > values[0]

"""Neural style transfer: an image is changed until its features are those of one image and its style of
another.

Shows K.gradients of a loss over a network's features with respect to its input, K.function, and an
optimizer of scipy over both. The network is small and not trained, so that nothing is fetched: for
pictures, take keras.applications.VGG19 with its weights.

    kcompile run examples/keras2/style_transfer.py
"""

import numpy as np
from keras import backend as K
from keras.layers import Conv2D, Input, MaxPooling2D
from keras.models import Model
from scipy.optimize import fmin_l_bfgs_b

SIZE = 24
grid = np.arange(SIZE)
content = np.zeros((1, SIZE, SIZE, 3), "float32")
content[:, 8:16, 8:16] = 1
style = np.zeros((1, SIZE, SIZE, 3), "float32")
style[:, :, grid % 4 < 2] = (1, 0.5, 0)

image = Input(batch_shape=(1, SIZE, SIZE, 3))
x = Conv2D(8, 3, activation="relu", padding="same", name="block1_conv1")(image)
x = MaxPooling2D()(x)
x = Conv2D(16, 3, activation="relu", padding="same", name="block2_conv1")(x)
network = Model(image, x)
features = {layer.name: layer.output for layer in network.layers if "conv" in layer.name}


def features_of(picture):
    read = K.function([image], list(features.values()))
    return {name: K.constant(value) for name, value in zip(features, read([picture]))}


def gram_matrix(x):
    """How much each two features go together, wherever they are."""
    x = K.reshape(x, (-1, K.int_shape(x)[1] * K.int_shape(x)[2], K.int_shape(x)[3]))
    return K.batch_dot(x, x, axes=[1, 1])


def total_variation(x):
    down = K.square(x[:, : SIZE - 1, : SIZE - 1] - x[:, 1:, : SIZE - 1])
    right = K.square(x[:, : SIZE - 1, : SIZE - 1] - x[:, : SIZE - 1, 1:])
    return K.sum(K.pow(down + right + 1e-6, 1.25))


of_content, of_style = features_of(content), features_of(style)
loss = 0.5 * K.sum(K.square(features["block2_conv1"] - of_content["block2_conv1"]))
for name, found in features.items():
    loss = loss + 0.01 * K.sum(K.square(gram_matrix(found) - gram_matrix(of_style[name]))) / SIZE**2
loss = loss + 0.001 * total_variation(image)
both = K.function([image], [loss, *K.gradients(loss, [image])])


def evaluate(flat):
    value, slope = both([flat.reshape(1, SIZE, SIZE, 3)])
    return float(value), slope.ravel().astype("float64")


picture = np.random.RandomState(0).rand(content.size)
first = evaluate(picture)[0]
for step in range(3):
    picture, value, _ = fmin_l_bfgs_b(evaluate, picture, maxfun=15)
    print(f"iteration {step}: loss {value:.4f}")
assert value < 0.7 * first

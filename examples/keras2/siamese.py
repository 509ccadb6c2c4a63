"""A siamese network: one model for both images of a pair, and a contrastive loss on their distance.

Shows a model that is shared as a layer, a Lambda over two tensors with its output shape, and a loss and
a metric of one's own. The images are made.

    kcompile run examples/keras2/siamese.py
"""

import numpy as np
from keras import backend as K
from keras.layers import Dense, Dropout, Flatten, Input, Lambda
from keras.models import Model
from keras.optimizers import RMSprop


def euclidean_distance(vectors):
    x, y = vectors
    return K.sqrt(K.maximum(K.sum(K.square(x - y), axis=1, keepdims=True), K.epsilon()))


def distance_shape(shapes):
    return (shapes[0][0], 1)


def contrastive_loss(y_true, y_pred):
    """Hadsell, Chopra, LeCun: Dimensionality Reduction by Learning an Invariant Mapping (2006)."""
    return K.mean(y_true * K.square(y_pred) + (1 - y_true) * K.square(K.maximum(1 - y_pred, 0)))


def accuracy(y_true, y_pred):
    return K.mean(K.equal(y_true, K.cast(y_pred < 0.5, y_true.dtype)))


def base_network(shape):
    image = Input(shape=shape)
    x = Flatten()(image)
    for _ in range(2):
        x = Dense(64, activation="relu")(x)
        x = Dropout(0.1)(x)
    return Model(image, Dense(32, activation="relu")(x))


rng = np.random.RandomState(0)
patterns = rng.rand(5, 10, 10)
classes = rng.randint(0, 5, (600, 2))
same = np.arange(600) % 2 == 0
classes[same, 1] = classes[same, 0]
pairs = patterns[classes] + 0.1 * rng.randn(600, 2, 10, 10)
labels = (classes[:, 0] == classes[:, 1]).astype("float32")

shared = base_network((10, 10))
a, b = Input(shape=(10, 10)), Input(shape=(10, 10))
distance = Lambda(euclidean_distance, output_shape=distance_shape)([shared(a), shared(b)])
model = Model([a, b], distance)
model.compile(loss=contrastive_loss, optimizer=RMSprop(), metrics=[accuracy])
model.fit(
    [pairs[:500, 0], pairs[:500, 1]],
    labels[:500],
    batch_size=50,
    epochs=15,
    validation_data=([pairs[500:, 0], pairs[500:, 1]], labels[500:]),
    verbose=2,
)
found = np.mean((model.predict([pairs[500:, 0], pairs[500:, 1]]).ravel() < 0.5) == labels[500:])
print("accuracy on pairs that it has not seen", found)
assert found > 0.85

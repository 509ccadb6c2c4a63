"""An auxiliary classifier GAN: a generator and a discriminator that are trained in turn.

Shows two models of which one is frozen inside a third, `train_on_batch` with several outputs, sample
weights for each of them, an Embedding multiplied with noise, and a Progbar. The images are made: a bar
in one of three places.

    kcompile run examples/keras2/acgan.py
"""

import numpy as np
from keras.layers import (
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    LeakyReLU,
    Reshape,
    multiply,
)
from keras.models import Model, Sequential
from keras.optimizers import Adam
from keras.utils.generic_utils import Progbar

CLASSES, LATENT, SIZE, BATCH = 3, 16, 12, 32


def build_generator():
    cnn = Sequential()
    cnn.add(Dense(3 * 3 * 24, input_dim=LATENT, activation="relu"))
    cnn.add(Reshape((3, 3, 24)))
    cnn.add(Conv2DTranspose(16, 5, strides=2, padding="same", activation="relu"))
    cnn.add(BatchNormalization())
    cnn.add(Conv2DTranspose(1, 5, strides=2, padding="same", activation="tanh"))
    latent, image_class = Input(shape=(LATENT,)), Input(shape=(1,), dtype="int32")
    embedded = Flatten()(Embedding(CLASSES, LATENT, embeddings_initializer="glorot_normal")(image_class))
    return Model([latent, image_class], cnn(multiply([latent, embedded])))


def build_discriminator():
    cnn = Sequential()
    cnn.add(Conv2D(8, 3, padding="same", strides=2, input_shape=(SIZE, SIZE, 1)))
    cnn.add(LeakyReLU(0.2))
    cnn.add(Dropout(0.3))
    cnn.add(Conv2D(16, 3, padding="same", strides=2))
    cnn.add(LeakyReLU(0.2))
    cnn.add(Flatten())
    image = Input(shape=(SIZE, SIZE, 1))
    features = cnn(image)
    fake = Dense(1, activation="sigmoid", name="generation")(features)
    aux = Dense(CLASSES, activation="softmax", name="auxiliary")(features)
    return Model(image, [fake, aux])


losses = ["binary_crossentropy", "sparse_categorical_crossentropy"]
discriminator = build_discriminator()
discriminator.compile(optimizer=Adam(lr=0.002, beta_1=0.5), loss=losses)
generator = build_generator()
latent, image_class = Input(shape=(LATENT,)), Input(shape=(1,), dtype="int32")
discriminator.trainable = False
combined = Model([latent, image_class], discriminator(generator([latent, image_class])))
combined.compile(optimizer=Adam(lr=0.002, beta_1=0.5), loss=losses)
combined.summary()

rng = np.random.RandomState(0)
labels = rng.randint(0, CLASSES, 512)
images = -np.ones((512, SIZE, SIZE, 1)) + 0.1 * rng.rand(512, SIZE, SIZE, 1)
for image, label in zip(images, labels):
    image[4 * label : 4 * label + 3] = 0.9

for _ in range(3):
    batches = len(images) // BATCH
    progress = Progbar(target=batches)
    for i in range(batches):
        part = slice(i * BATCH, (i + 1) * BATCH)
        noise, sampled = rng.uniform(-1, 1, (BATCH, LATENT)), rng.randint(0, CLASSES, BATCH)
        generated = generator.predict([noise, sampled.reshape((-1, 1))], verbose=0)
        x = np.concatenate((images[part], generated))
        y = np.array([0.95] * BATCH + [0] * BATCH)
        aux_y = np.concatenate((labels[part], sampled))
        weights = [np.ones(2 * BATCH), np.concatenate((np.ones(BATCH) * 2, np.zeros(BATCH)))]
        d_loss = discriminator.train_on_batch(x, [y, aux_y], sample_weight=weights)
        noise, sampled = rng.uniform(-1, 1, (2 * BATCH, LATENT)), rng.randint(0, CLASSES, 2 * BATCH)
        frozen = discriminator.get_weights()[0]
        g_loss = combined.train_on_batch(
            [noise, sampled.reshape((-1, 1))], [np.ones(2 * BATCH) * 0.95, sampled]
        )
        assert np.array_equal(discriminator.get_weights()[0], frozen)
        progress.update(i + 1, values=[("d_loss", d_loss[0]), ("g_loss", g_loss[0])])

accuracy = np.mean(discriminator.predict(images)[1].argmax(1) == labels)
print("the discriminator knows the class of", accuracy, "of the images")
assert accuracy > 0.6 and np.isfinite([*d_loss, *g_loss]).all()

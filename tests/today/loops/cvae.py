import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
import time


class CVAE(tf.keras.Model):
    def __init__(self, latent_dim):
        super(CVAE, self).__init__()
        self.latent_dim = latent_dim
        self.encoder = tf.keras.Sequential(
            [
                tf.keras.layers.InputLayer(input_shape=(12, 12, 1)),
                tf.keras.layers.Conv2D(filters=8, kernel_size=3, strides=(2, 2), activation="relu"),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(latent_dim + latent_dim),
            ]
        )
        self.decoder = tf.keras.Sequential(
            [
                tf.keras.layers.InputLayer(input_shape=(latent_dim,)),
                tf.keras.layers.Dense(units=6 * 6 * 4, activation=tf.nn.relu),
                tf.keras.layers.Reshape(target_shape=(6, 6, 4)),
                tf.keras.layers.Conv2DTranspose(filters=1, kernel_size=3, strides=2, padding="same"),
            ]
        )

    @tf.function
    def sample(self, eps=None):
        if eps is None:
            eps = tf.random.normal(shape=(100, self.latent_dim))
        return self.decode(eps, apply_sigmoid=True)

    def encode(self, x):
        mean, logvar = tf.split(self.encoder(x), num_or_size_splits=2, axis=1)
        return mean, logvar

    def reparameterize(self, mean, logvar):
        eps = tf.ones(shape=mean.shape) * 0.3
        return eps * tf.exp(logvar * 0.5) + mean

    def decode(self, z, apply_sigmoid=False):
        logits = self.decoder(z)
        if apply_sigmoid:
            return tf.sigmoid(logits)
        return logits


def log_normal_pdf(sample, mean, logvar, raxis=1):
    log2pi = tf.math.log(2.0 * np.pi)
    return tf.reduce_sum(-0.5 * ((sample - mean) ** 2.0 * tf.exp(-logvar) + logvar + log2pi), axis=raxis)


def compute_loss(model, x):
    mean, logvar = model.encode(x)
    z = model.reparameterize(mean, logvar)
    xl = model.decode(z)
    ce = tf.nn.sigmoid_cross_entropy_with_logits(logits=xl, labels=x)
    a = -tf.reduce_sum(ce, axis=[1, 2, 3])
    return -tf.reduce_mean(a + log_normal_pdf(z, 0.0, 0.0) - log_normal_pdf(z, mean, logvar))


@tf.function
def train_step(model, x, optimizer):
    with tf.GradientTape() as tape:
        loss = compute_loss(model, x)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))


model = CVAE(2)
settle(model.encoder)
settle(model.decoder)
opt = tf.keras.optimizers.Adam(1e-3)
x = (rng.rand(32, 12, 12, 1) > 0.5).astype("float32")
ds = tf.data.Dataset.from_tensor_slices(x).shuffle(1).batch(8)
te = tf.data.Dataset.from_tensor_slices(x[:16]).batch(8)
for e in range(1, 3):
    for b in ds:
        train_step(model, b, opt)
    l = tf.keras.metrics.Mean()
    for b in te:
        l(compute_loss(model, b))
    elbo = -l.result()
    note(elbo)
    print("Epoch: {}, Test set ELBO: {}".format(e, elbo))
m, lv = model.encode(x[:3])
note(m, lv)
note(model.sample(tf.zeros((2, 2))))
done()

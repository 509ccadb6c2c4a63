"""Denoising diffusion: a schedule of noise, a network and its moving average, samples by a Python loop."""

import math

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(4)
images = rng.uniform(0, 1, (40, 8, 8, 3)).astype("float32")
image_size, batch_size, ema = 8, 10, 0.9
min_signal_rate, max_signal_rate = 0.02, 0.95


@keras.saving.register_keras_serializable()
def sinusoidal_embedding(x):
    frequencies = ops.exp(ops.linspace(ops.log(1.0), ops.log(100.0), 8 // 2))
    angular = ops.cast(2.0 * math.pi * frequencies, "float32")
    return ops.concatenate([ops.sin(angular * x), ops.cos(angular * x)], axis=3)


def residual_block(width):
    def apply(x):
        residual = x if x.shape[3] == width else layers.Conv2D(width, kernel_size=1)(x)
        x = layers.BatchNormalization(center=False, scale=False)(x)
        x = layers.Conv2D(width, kernel_size=3, padding="same", activation="swish")(x)
        x = layers.Conv2D(width, kernel_size=3, padding="same")(x)
        return layers.Add()([x, residual])

    return apply


def get_network(widths=(8, 16)):
    noisy = keras.Input(shape=(image_size, image_size, 3))
    variances = keras.Input(shape=(1, 1, 1))
    e = layers.Lambda(sinusoidal_embedding, output_shape=(1, 1, 8))(variances)
    e = layers.UpSampling2D(size=image_size, interpolation="nearest")(e)
    x = layers.Conv2D(widths[0], kernel_size=1)(noisy)
    x = layers.Concatenate()([x, e])
    skips = []
    for width in widths[:-1]:
        x = residual_block(width)(x)
        skips.append(x)
        x = layers.AveragePooling2D(pool_size=2)(x)
    x = residual_block(widths[-1])(x)
    for width in reversed(widths[:-1]):
        x = layers.UpSampling2D(size=2, interpolation="bilinear")(x)
        x = layers.Concatenate()([x, skips.pop()])
        x = residual_block(width)(x)
    x = layers.Conv2D(3, kernel_size=1, kernel_initializer="zeros")(x)
    return keras.Model([noisy, variances], x, name="residual_unet")


class DiffusionModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.normalizer = layers.Normalization()
        self.network = get_network()
        self.ema_network = keras.models.clone_model(self.network)
        self.seed = keras.random.SeedGenerator(7)

    def compile(self, **kwargs):
        super().compile(**kwargs)
        self.noise_loss_tracker = keras.metrics.Mean(name="n_loss")
        self.image_loss_tracker = keras.metrics.Mean(name="i_loss")

    @property
    def metrics(self):
        return [self.noise_loss_tracker, self.image_loss_tracker]

    def denormalize(self, images):
        images = self.normalizer.mean + images * self.normalizer.variance**0.5
        return ops.clip(images, 0.0, 1.0)

    def diffusion_schedule(self, times):
        start = ops.cast(ops.arccos(max_signal_rate), "float32")
        end = ops.cast(ops.arccos(min_signal_rate), "float32")
        angles = start + times * (end - start)
        return ops.sin(angles), ops.cos(angles)

    def denoise(self, noisy, noise_rates, signal_rates, training):
        network = self.network if training else self.ema_network
        pred_noises = network([noisy, noise_rates**2], training=training)
        return pred_noises, (noisy - noise_rates * pred_noises) / signal_rates

    def reverse_diffusion(self, initial_noise, steps):
        num_images = initial_noise.shape[0]
        step_size = 1.0 / steps
        next_noisy = initial_noise
        for step in range(steps):
            noisy = next_noisy
            times = ops.ones((num_images, 1, 1, 1)) - step * step_size
            noise_rates, signal_rates = self.diffusion_schedule(times)
            pred_noises, pred_images = self.denoise(noisy, noise_rates, signal_rates, training=False)
            next_rates, next_signals = self.diffusion_schedule(times - step_size)
            next_noisy = next_signals * pred_images + next_rates * pred_noises
        return pred_images

    def generate(self, num_images, steps):
        noise = keras.random.normal(shape=(num_images, image_size, image_size, 3))
        return self.denormalize(self.reverse_diffusion(noise, steps))

    def call(self, images):
        images = self.normalizer(images, training=True)
        noises = keras.random.normal(shape=ops.shape(images), seed=self.seed)
        times = keras.random.uniform(
            shape=(ops.shape(images)[0], 1, 1, 1), minval=0.0, maxval=1.0, seed=self.seed
        )
        noise_rates, signal_rates = self.diffusion_schedule(times)
        noisy = signal_rates * images + noise_rates * noises
        pred_noises, pred_images = self.denoise(noisy, noise_rates, signal_rates, training=True)
        self._last = (noises, images)
        return noises, images, pred_noises, pred_images

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        noises, images, pred_noises, pred_images = y_pred
        noise_loss = self.loss(noises, pred_noises)
        self.noise_loss_tracker.update_state(noise_loss)
        self.image_loss_tracker.update_state(ops.mean(ops.abs(images - pred_images)))
        return noise_loss


class Ema(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        for weight, ema_weight in zip(self.model.network.weights, self.model.ema_network.weights):
            ema_weight.assign(ema * ema_weight + (1 - ema) * weight)


model = DiffusionModel()
model.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-4),
    loss=keras.losses.mean_absolute_error if False else keras.losses.MeanAbsoluteError(),
)
model.normalizer.adapt(images)
model.fit(images, epochs=5, batch_size=batch_size, callbacks=[Ema()], verbose=2)
made = ops.convert_to_numpy(model.generate(3, 4))
print(made.shape, np.round(made.mean(), 2))

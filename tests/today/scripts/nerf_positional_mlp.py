"""NeRF in small: positional encoding, an MLP with skips, volume rendering in a train_step with PSNR."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

POS_ENCODE_DIMS = 4
NUM_SAMPLES = 8
H = W = 6
BATCH_SIZE = 4
rng = np.random.RandomState(0)


def encode_position(x):
    positions = [x]
    for i in range(POS_ENCODE_DIMS):
        for fn in [tf.sin, tf.cos]:
            positions.append(fn(2.0**i * x))
    return tf.concat(positions, axis=-1)


t_vals = np.linspace(2.0, 6.0, NUM_SAMPLES).astype("float32")
origins = rng.normal(size=(32, 1, 1, 1, 3)).astype("float32")
directions = rng.normal(size=(1, H, W, 1, 3)).astype("float32")
points = origins + directions * t_vals[:, None]
rays_flat = points.reshape(32, H * W * NUM_SAMPLES, 3)
images = (0.5 + 0.5 * np.sin(points.mean(axis=3))).astype("float32")

encoded = np.stack([encode_position(tf.constant(r)).numpy() for r in rays_flat])
t_all = np.tile(t_vals, (32, 1))
train_ds = tf.data.Dataset.from_tensor_slices((images, (encoded, t_all)))
train_ds = train_ds.shuffle(32).batch(BATCH_SIZE, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def get_nerf_model(num_layers, num_pos):
    inputs = keras.Input(shape=(num_pos, 2 * 3 * POS_ENCODE_DIMS + 3))
    x = inputs
    for i in range(num_layers):
        x = layers.Dense(units=16, activation="relu")(x)
        if i % 2 == 0 and i > 0:
            # Inject residual connection.
            x = layers.concatenate([x, inputs], axis=-1)
    outputs = layers.Dense(units=4)(x)
    return keras.Model(inputs=inputs, outputs=outputs)


def render_rgb_depth(model, rays_flat, t_vals, train=True):
    if train:
        predictions = model(rays_flat)
    else:
        predictions = model.predict(rays_flat)
    predictions = tf.reshape(predictions, shape=(BATCH_SIZE, H, W, NUM_SAMPLES, 4))
    rgb = tf.sigmoid(predictions[..., :-1])
    sigma_a = tf.nn.relu(predictions[..., -1])
    # Get the distance of adjacent intervals.
    delta = t_vals[..., 1:] - t_vals[..., :-1]
    delta = tf.concat([delta, tf.broadcast_to([1e10], shape=(BATCH_SIZE, 1))], axis=-1)
    alpha = 1.0 - tf.exp(-sigma_a * delta[:, None, None, :])
    # Get transmittance.
    exp_term = 1.0 - alpha
    epsilon = 1e-10
    transmittance = tf.math.cumprod(exp_term + epsilon, axis=-1, exclusive=True)
    weights = alpha * transmittance
    rgb = tf.reduce_sum(weights[..., None] * rgb, axis=-2)
    depth_map = tf.reduce_sum(weights * t_vals[:, None, None], axis=-1)
    return (rgb, depth_map)


class NeRF(keras.Model):
    def __init__(self, nerf_model):
        super().__init__()
        self.nerf_model = nerf_model

    def compile(self, optimizer, loss_fn):
        super().compile()
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.psnr_metric = keras.metrics.Mean(name="psnr")

    def train_step(self, inputs):
        (images, rays) = inputs
        (rays_flat, t_vals) = rays

        with tf.GradientTape() as tape:
            rgb, _ = render_rgb_depth(model=self.nerf_model, rays_flat=rays_flat, t_vals=t_vals)
            loss = self.loss_fn(images, rgb)

        trainable_variables = self.nerf_model.trainable_variables
        gradients = tape.gradient(loss, trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, trainable_variables))

        # Get the PSNR of the reconstructed images and the source images.
        psnr = tf.image.psnr(images, rgb, max_val=1.0)
        self.loss_tracker.update_state(loss)
        self.psnr_metric.update_state(psnr)
        return {"loss": self.loss_tracker.result(), "psnr": self.psnr_metric.result()}

    def test_step(self, inputs):
        (images, rays) = inputs
        (rays_flat, t_vals) = rays
        rgb, _ = render_rgb_depth(model=self.nerf_model, rays_flat=rays_flat, t_vals=t_vals)
        loss = self.loss_fn(images, rgb)
        psnr = tf.image.psnr(images, rgb, max_val=1.0)
        self.loss_tracker.update_state(loss)
        self.psnr_metric.update_state(psnr)
        return {"loss": self.loss_tracker.result(), "psnr": self.psnr_metric.result()}

    @property
    def metrics(self):
        return [self.loss_tracker, self.psnr_metric]


num_pos = H * W * NUM_SAMPLES
nerf_model = get_nerf_model(num_layers=4, num_pos=num_pos)
model = NeRF(nerf_model)
model.compile(optimizer=keras.optimizers.Adam(), loss_fn=keras.losses.MeanSquaredError())
model.fit(train_ds, validation_data=train_ds, epochs=3)

"""Scripts in the style of the guides of Keras: models whose steps are their own.

Each takes Keras, functions over tensors (keras.ops, or keras.backend in tf.keras), and GradientTape, begins
from weights that follow from their shapes, and gives its losses. Numbers that a guide would draw are data.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 20  # of training, in batches of BATCH
BATCH = 8


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).rand(STEPS * BATCH // 2, *shape).astype("float32")


def begin(*models: Any) -> None:
    """Give weights values that follow from their shapes alone; statistics and biases stay as they begin."""
    for model in models:
        values = []
        for number, value in enumerate(model.get_weights()):
            wave = np.sin(np.arange(value.size) * 1.7 + number).reshape(value.shape)
            values.append((wave / np.sqrt(value.shape[-2])).astype("float32") if value.ndim > 1 else value)
        model.set_weights(values)


def trained(model: Any, *arrays: Any, **options: Any) -> dict[str, list[float]]:
    """The losses of two epochs of ten steps."""
    history = model.fit(*arrays, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, **options).history
    return {name: [float(v) for v in values] for name, values in history.items()}


def plain_step(keras: Any, k: Any, tape_class: Any) -> Any:
    """The first example of the guide: the step that fit has anyway, on a functional model."""

    class CustomModel(keras.Model):
        def train_step(self, given: Any) -> Any:
            x, y = given
            with tape_class() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            weights = self.trainable_variables
            gradients = tape.gradient(loss, weights)
            self.optimizer.apply_gradients(zip(gradients, weights))
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    start = keras.Input((6,))
    x = keras.layers.Dense(8, activation="tanh", kernel_regularizer="l2")(start)
    model = CustomModel(start, keras.layers.Dense(1)(keras.layers.BatchNormalization()(x)))
    begin(model)
    model.compile("adam", "mse", metrics=["mae"])
    return trained(model, data(6), data(1, seed=1), validation_data=(data(6, seed=2), data(1, seed=3)))


def own_trackers(keras: Any, k: Any, tape_class: Any) -> Any:
    """Metrics of the model's own, which it lists itself; sample weights; a test step of its own."""
    trackers = keras.metrics.Mean(name="loss"), keras.metrics.MeanAbsoluteError(name="mae")
    loss_fn = keras.losses.MeanSquaredError()

    class CustomModel(keras.Model):
        def train_step(self, given: Any) -> Any:
            x, y, sample_weight = given
            with tape_class() as tape:
                y_pred = self(x, training=True)
                loss = loss_fn(y, y_pred, sample_weight=sample_weight)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights))
            trackers[0].update_state(loss)
            trackers[1].update_state(y, y_pred, sample_weight=sample_weight)
            return {"loss": trackers[0].result(), "mae": trackers[1].result(), "last": loss}

        def test_step(self, given: Any) -> Any:
            x, y = given
            y_pred = self(x, training=False)
            trackers[0].update_state(loss_fn(y, y_pred))
            return {"loss": trackers[0].result(), "largest": k.max(k.abs(y - y_pred))}

        @property
        def metrics(self) -> Any:
            return list(trackers)

    start = keras.Input((6,))
    x = keras.layers.Dense(5, activation="relu")(start)
    model = CustomModel(start, keras.layers.Dense(1)(x))
    begin(model)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    weights = data(seed=4)
    held = data(6, seed=2), data(1, seed=3)
    return trained(model, data(6), data(1, seed=1), sample_weight=weights, validation_data=held)


def variational_autoencoder(keras: Any, k: Any, tape_class: Any) -> Any:
    """A VAE without `call`: an encoder, a decoder, three means. The noise is given for labels."""
    layers = keras.layers

    class VAE(keras.Model):
        def __init__(self, encoder: Any, decoder: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.encoder = encoder
            self.decoder = decoder
            self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
            self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
            self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

        @property
        def metrics(self) -> Any:
            return [self.total_loss_tracker, self.reconstruction_loss_tracker, self.kl_loss_tracker]

        def train_step(self, given: Any) -> Any:
            images, noise = given
            with tape_class() as tape:
                z_mean, z_log_var = self.encoder(images)
                z = z_mean + k.exp(0.5 * z_log_var) * noise
                reconstruction = self.decoder(z)
                reconstruction_loss = k.mean(
                    k.sum(keras.losses.binary_crossentropy(images, reconstruction), axis=(1, 2))
                )
                kl_loss = -0.5 * (1 + z_log_var - k.square(z_mean) - k.exp(z_log_var))
                kl_loss = k.mean(k.sum(kl_loss, axis=1))
                total_loss = reconstruction_loss + kl_loss
            grads = tape.gradient(total_loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(grads, self.trainable_weights))
            self.total_loss_tracker.update_state(total_loss)
            self.reconstruction_loss_tracker.update_state(reconstruction_loss)
            self.kl_loss_tracker.update_state(kl_loss)
            return {
                "loss": self.total_loss_tracker.result(),
                "reconstruction_loss": self.reconstruction_loss_tracker.result(),
                "kl_loss": self.kl_loss_tracker.result(),
            }

    start = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(start)
    x = layers.Dense(6, activation="relu")(layers.Flatten()(x))
    encoder = keras.Model(start, [layers.Dense(2)(x), layers.Dense(2)(x)])
    latent = keras.Input((2,))
    x = layers.Reshape((4, 4, 4))(layers.Dense(64, activation="relu")(latent))
    x = layers.Conv2DTranspose(4, 3, activation="relu", strides=2, padding="same")(x)
    decoder = keras.Model(latent, layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x))
    begin(encoder, decoder)
    vae = VAE(encoder, decoder)
    vae.compile(optimizer=keras.optimizers.Adam(0.01))
    return trained(vae, data(8, 8, 1), data(2, seed=1) - 0.5)


def _players(keras: Any) -> tuple[Any, Any]:
    layers = keras.layers
    image = keras.Input((8, 8, 1))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(4, 3, strides=2, padding="same")(image))
    discriminator = keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))
    latent = keras.Input((3,))
    x = layers.Reshape((4, 4, 4))(layers.Dense(64)(latent))
    x = layers.LeakyReLU(0.2)(layers.Conv2DTranspose(4, 4, strides=2, padding="same")(x))
    generator = keras.Model(latent, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))
    begin(discriminator, generator)
    return discriminator, generator


def gan(keras: Any, k: Any, tape_class: Any) -> Any:
    """A DCGAN: the generator is judged by the discriminator that this step has trained."""

    class GAN(keras.Model):
        def __init__(self, discriminator: Any, generator: Any) -> None:
            super().__init__()
            self.discriminator = discriminator
            self.generator = generator

        def compile(self, d_optimizer: Any, g_optimizer: Any, loss_fn: Any) -> None:
            super().compile()
            self.d_optimizer = d_optimizer
            self.g_optimizer = g_optimizer
            self.loss_fn = loss_fn
            self.d_loss_metric = keras.metrics.Mean(name="d_loss")
            self.g_loss_metric = keras.metrics.Mean(name="g_loss")

        @property
        def metrics(self) -> Any:
            return [self.d_loss_metric, self.g_loss_metric]

        def train_step(self, given: Any) -> Any:
            real_images, latent = given
            generated_images = self.generator(latent)
            combined_images = k.concatenate([generated_images, real_images], axis=0)
            zeros = k.zeros_like(real_images[:, 0, 0])
            labels = k.concatenate([zeros + 1.0, zeros], axis=0)
            with tape_class() as tape:
                predictions = self.discriminator(combined_images)
                d_loss = self.loss_fn(labels, predictions)
            grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
            self.d_optimizer.apply_gradients(zip(grads, self.discriminator.trainable_weights))
            misleading_labels = zeros
            with tape_class() as tape:
                predictions = self.discriminator(self.generator(latent))
                g_loss = self.loss_fn(misleading_labels, predictions)
            grads = tape.gradient(g_loss, self.generator.trainable_weights)
            self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_weights))
            self.d_loss_metric.update_state(d_loss)
            self.g_loss_metric.update_state(g_loss)
            return {"d_loss": self.d_loss_metric.result(), "g_loss": self.g_loss_metric.result()}

    model = GAN(*_players(keras))
    adam = keras.optimizers.Adam
    model.compile(adam(0.01), adam(0.02), keras.losses.BinaryCrossentropy(from_logits=True))
    return trained(model, data(8, 8, 1), data(3, seed=1))


def wasserstein_gan(keras: Any, k: Any, tape_class: Any) -> Any:
    """A WGAN-GP: a gradient penalty, by a tape inside a tape, and several steps of the discriminator."""

    class WGAN(keras.Model):
        def __init__(self, discriminator: Any, generator: Any, extra_steps: int) -> None:
            super().__init__()
            self.discriminator = discriminator
            self.generator = generator
            self.d_steps = extra_steps
            self.gp_weight = 10.0

        def compile(self, d_optimizer: Any, g_optimizer: Any) -> None:
            super().compile()
            self.d_optimizer = d_optimizer
            self.g_optimizer = g_optimizer

        def gradient_penalty(self, real_images: Any, fake_images: Any, alpha: Any) -> Any:
            interpolated = real_images + alpha * (fake_images - real_images)
            with tape_class() as gp_tape:
                gp_tape.watch(interpolated)
                pred = self.discriminator(interpolated, training=True)
            grads = gp_tape.gradient(pred, [interpolated])[0]
            norm = k.sqrt(k.sum(k.square(grads), axis=[1, 2, 3]))
            return k.mean((norm - 1.0) ** 2)

        def train_step(self, given: Any) -> Any:
            real_images, (latent, alpha) = given
            for _ in range(self.d_steps):
                with tape_class() as tape:
                    fake_images = self.generator(latent, training=True)
                    fake_logits = self.discriminator(fake_images, training=True)
                    real_logits = self.discriminator(real_images, training=True)
                    d_cost = k.mean(fake_logits) - k.mean(real_logits)
                    gp = self.gradient_penalty(real_images, fake_images, alpha)
                    d_loss = d_cost + gp * self.gp_weight
                gradient = tape.gradient(d_loss, self.discriminator.trainable_variables)
                self.d_optimizer.apply_gradients(zip(gradient, self.discriminator.trainable_variables))
            with tape_class() as tape:
                generated_images = self.generator(latent, training=True)
                g_loss = -k.mean(self.discriminator(generated_images, training=True))
            gradient = tape.gradient(g_loss, self.generator.trainable_variables)
            self.g_optimizer.apply_gradients(zip(gradient, self.generator.trainable_variables))
            return {"d_loss": d_loss, "g_loss": g_loss}

    model = WGAN(*_players(keras), extra_steps=2)
    adam = keras.optimizers.Adam
    model.compile(adam(0.002, beta_1=0.5), adam(0.002, beta_1=0.5))
    return trained(model, data(8, 8, 1), (data(3, seed=1), data(1, 1, 1, seed=2)))


def contrastive(keras: Any, k: Any, tape_class: Any) -> Any:
    """SimCLR: two views of a batch, and a matrix of similarities of all pairs of samples."""
    layers = keras.layers

    class ContrastiveModel(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = 0.1
            self.encoder = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu")])
            self.projection_head = keras.Sequential([keras.Input((8,)), layers.Dense(4)])

        def compile(self, contrastive_optimizer: Any, **kwargs: Any) -> None:
            super().compile(**kwargs)
            self.contrastive_optimizer = contrastive_optimizer
            self.contrastive_loss_tracker = keras.metrics.Mean(name="c_loss")

        @property
        def metrics(self) -> Any:
            return [self.contrastive_loss_tracker]

        def contrastive_loss(self, first: Any, second: Any) -> Any:
            first, second = (v / k.sqrt(k.sum(k.square(v), axis=1, keepdims=True)) for v in (first, second))
            similarities = k.dot(first, k.transpose(second)) / self.temperature
            labels = np.eye(BATCH, dtype="float32")
            loss_fn = keras.losses.CategoricalCrossentropy(from_logits=True)
            return (loss_fn(labels, similarities) + loss_fn(labels, k.transpose(similarities))) / 2

        def train_step(self, given: Any) -> Any:
            first, second = given
            with tape_class() as tape:
                projections = [self.projection_head(self.encoder(v, training=True)) for v in (first, second)]
                loss = self.contrastive_loss(*projections)
            weights = self.encoder.trainable_weights + self.projection_head.trainable_weights
            self.contrastive_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            self.contrastive_loss_tracker.update_state(loss)
            return {m.name: m.result() for m in self.metrics}

    model = ContrastiveModel()
    begin(model.encoder, model.projection_head)
    model.compile(contrastive_optimizer=keras.optimizers.Adam(0.01))
    return trained(model, data(6), data(6) + 0.1 * data(6, seed=1))


def distillation(keras: Any, k: Any, tape_class: Any) -> Any:
    """A student learns from labels and from a frozen teacher, whose outputs are computed outside the tape."""
    layers = keras.layers

    class Distiller(keras.Model):
        def __init__(self, student: Any, teacher: Any) -> None:
            super().__init__()
            self.teacher = teacher
            self.student = student

        def compile(
            self, optimizer: Any, metrics: Any, student_loss_fn: Any, distillation_loss_fn: Any
        ) -> None:
            super().compile(optimizer=optimizer, metrics=metrics)
            self.student_loss_fn = student_loss_fn
            self.distillation_loss_fn = distillation_loss_fn
            self.alpha, self.temperature = 0.1, 3.0

        def call(self, x: Any) -> Any:
            return self.student(x)

        def train_step(self, given: Any) -> Any:
            x, y = given
            teacher_predictions = self.teacher(x, training=False)
            with tape_class() as tape:
                student_predictions = self.student(x, training=True)
                student_loss = self.student_loss_fn(y, student_predictions)
                distillation_loss = self.distillation_loss_fn(
                    k.softmax(teacher_predictions / self.temperature),
                    k.softmax(student_predictions / self.temperature),
                )
                loss = self.alpha * student_loss + (1 - self.alpha) * distillation_loss * self.temperature**2
            weights = self.student.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            return {"student_loss": student_loss, "distillation_loss": distillation_loss}

    def classifier(units: int) -> Any:
        start = keras.Input((6,))
        return keras.Model(start, layers.Dense(3)(layers.Dense(units, activation="relu")(start)))

    student, teacher = classifier(4), classifier(12)
    begin(student, teacher)
    model = Distiller(student, teacher)
    model.compile(
        keras.optimizers.Adam(0.01),
        None,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        keras.losses.KLDivergence(),
    )
    return trained(model, data(6), (data(seed=1) * 3).astype("int32"))


def accumulation(keras: Any, k: Any, tape_class: Any) -> Any:
    """Gradients of four batches are added up by hand in variables, and applied by a factor of 0 or 1."""

    class Accumulating(keras.Model):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
            self.sums = [
                self.add_weight(shape=v.shape, initializer="zeros", trainable=False, name=f"sum_{i}")
                for i, v in enumerate(self.trainable_variables)
            ]

        def train_step(self, given: Any) -> Any:
            x, y = given
            self.count.assign_add(1.0)
            due = k.cast(k.equal(self.count, 4.0), "float32")
            with tape_class() as tape:
                loss = k.mean(k.square(y - self(x, training=True)))
            for total, gradient in zip(self.sums, tape.gradient(loss, self.trainable_variables)):
                total.assign_add(gradient)
            for weight, total in zip(self.trainable_variables, self.sums):
                weight.assign_sub(0.1 * due * total)
                total.assign((1.0 - due) * total)
            self.count.assign((1.0 - due) * self.count)
            return {"loss": loss, "count": self.count + 0.0}

    start = keras.Input((6,))
    x = keras.layers.Dense(5, activation="tanh")(start)
    output = keras.layers.Dense(1)(x)
    begin(keras.Model(start, output))
    model = Accumulating(start, output)
    model.compile("sgd")
    return trained(model, data(6), data(1, seed=1))


def own_loss(keras: Any, k: Any, tape_class: Any) -> Any:
    """compute_loss alone: the step is Keras' own. A layer adds a loss, a regularizer another one."""

    class EndpointLayer(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(0.01 * k.mean(k.square(inputs)))
            return inputs

    class Model(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **phase: Any
        ) -> Any:
            loss = k.mean(k.square(y_pred - y)) + 0.1 * k.mean(k.abs(y_pred - k.mean(x)))
            for extra in self.losses:
                loss += extra
            return loss

    start = keras.Input((6,))
    x = keras.layers.Dense(5, activation="tanh", kernel_regularizer="l2")(start)
    model = Model(start, keras.layers.Dense(1)(EndpointLayer()(x)))
    begin(model)
    model.compile(keras.optimizers.Adam(0.01))
    found = trained(model, data(6), data(1, seed=1))
    last = model.predict(data(6, seed=2), verbose=0)
    return {**found, "last": [float(np.sum(last))]}


def subclassed_with_super(keras: Any, k: Any, tape_class: Any) -> Any:
    """`super().train_step(data)` on data that the step has changed; a predict step of its own; dropout 0."""
    layers = keras.layers

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (
                layers.Dense(5, activation="relu"),
                layers.Dense(3, activation="softmax"),
            )
            self.drop = layers.Dropout(0.0)

        def call(self, inputs: Any, training: Any = None) -> Any:
            return self.second(self.drop(self.first(inputs), training=training))

        def train_step(self, given: Any) -> Any:
            x, y, sample_weight = given
            return super().train_step((2.0 * x, y, sample_weight))

        def predict_step(self, given: Any) -> Any:
            return k.argmax(self(2.0 * given, training=False), axis=-1)

    model = Model()
    model(data(6)[:2])
    begin(model)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data(6), (data(seed=1) * 3).astype("int32")
    found = trained(model, x, y, class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    return {**found, "classes": [float(v) for v in model.predict(x, verbose=0)]}


SCRIPTS = (
    plain_step,
    own_trackers,
    variational_autoencoder,
    gan,
    wasserstein_gan,
    contrastive,
    distillation,
    accumulation,
    own_loss,
    subclassed_with_super,
)


def record(edition: str) -> None:
    """Write the answers of the real Keras 3 (on TensorFlow) or tf_keras to `steps_of_<edition>.json`."""
    if edition == "keras3":
        os.environ["KERAS_BACKEND"] = "tensorflow"
    keras = importlib.import_module({"keras3": "keras"}.get(edition, edition))
    k = keras.ops if edition == "keras3" else keras.backend
    tape = importlib.import_module("tensorflow").GradientTape
    found = {script.__name__: script(keras, k, tape) for script in SCRIPTS}
    rounded = {
        name: {key: [float(f"{v:.7g}") for v in values] for key, values in answers.items()}
        for name, answers in found.items()
    }
    path = Path(__file__).parent / f"steps_of_{edition}.json"
    path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record(sys.argv[1])

"""The benchmark layers by hand in JAX: what somebody would write who wants no framework at all."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import Benchmark, weight_table

EPSILON, MOMENTUM = 1e-3, 0.99  # Keras' BatchNormalization
RATE, BETA_1, BETA_2, TINY = 1e-3, 0.9, 0.999, 1e-7  # Keras' Adam
LEAST = float(np.log(1e-7))  # Keras' crossentropy of probabilities cuts them off there
MOVING = ("moving_mean", "moving_variance")
Params = list[dict[str, Any]]


def _normalise(
    x: Any, w: dict[str, Any], moving: dict[str, Any], training: bool
) -> tuple[Any, dict[str, Any]]:
    mean, variance = moving["moving_mean"], moving["moving_variance"]
    if training:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        moving = {k: moving[k] * MOMENTUM + v * (1 - MOMENTUM) for k, v in zip(MOVING, (mean, variance))}
    return (x - mean) * jax.lax.rsqrt(variance + EPSILON) * w["gamma"] + w["beta"], moving


def _lstm(x: Any, w: dict[str, Any], sequences: bool) -> Any:
    """x [batch, time, inputs]. The input's product for all steps first, as one would write it."""
    projected = jnp.swapaxes(x @ w["kernel"] + w["bias"], 0, 1)

    def step(carry: Any, z: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(z + h @ w["recurrent_kernel"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[0], w["recurrent_kernel"].shape[0]))
    (h, _), outputs = jax.lax.scan(step, (zeros, zeros), projected)
    return jnp.swapaxes(outputs, 0, 1) if sequences else h


def _layer(kind: str, arguments: dict[str, Any], x: Any, w: dict[str, Any]) -> Any:
    if kind == "Dense":
        x = x @ w["kernel"] + w.get("bias", 0.0)
    elif kind == "Conv2D":
        x = jax.lax.conv_general_dilated(
            x, w["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = x + w.get("bias", 0.0)
    elif kind == "MaxPooling2D":
        window = (1, arguments["pool_size"], arguments["pool_size"], 1)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    elif kind == "Embedding":
        x = w["embeddings"][x]
    elif kind == "LSTM":
        x = _lstm(x, w, arguments["return_sequences"])
    elif kind == "Flatten":
        x = x.reshape(x.shape[0], -1)
    return jax.nn.relu(x) if arguments.get("activation") == "relu" else x


def forward(
    benchmark: Benchmark, params: Params, moving: Params, x: Any, training: bool
) -> tuple[Any, Params]:
    """Logits where the last layer is a softmax (outputs otherwise), and the moving statistics."""
    after = []
    for (kind, arguments), w, m in zip(benchmark.layers, params, moving):
        if kind == "BatchNormalization":
            x, m = _normalise(x, w, m, training)
        else:
            x = _layer(kind, arguments, x, w)
        after.append(m)
    return x, after


def _split(benchmark: Benchmark) -> tuple[Params, Params]:
    table = weight_table(benchmark)
    return (
        [{k: jnp.asarray(v) for k, v in w.items() if k not in MOVING} for w in table],
        [{k: jnp.asarray(v) for k, v in w.items() if k in MOVING} for w in table],
    )


def predictor(benchmark: Benchmark) -> Any:
    """x -> y, numpy in and out."""
    params, moving = _split(benchmark)
    softmax = benchmark.layers[-1][1].get("activation") == "softmax"

    @jax.jit
    def predict(params: Params, moving: Params, x: Any) -> Any:
        y, _ = forward(benchmark, params, moving, x, False)
        return jax.nn.softmax(y) if softmax else y

    return lambda x: np.asarray(predict(params, moving, x))


def _stepper(benchmark: Benchmark) -> Any:
    """(x, labels) -> loss on the device, after one step of Adam."""
    params, moving = _split(benchmark)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = (params, moving, zeros, zeros, jnp.float32(0))

    def loss_of(params: Params, moving: Params, x: Any, labels: Any) -> Any:
        logits, moving = forward(benchmark, params, moving, x, True)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
        return -jnp.maximum(chosen, LEAST).mean(), moving

    @jax.jit
    def step(state: Any, x: Any, labels: Any) -> Any:
        params, moving, m, v, t = state
        (loss, moving), g = jax.value_and_grad(loss_of, has_aux=True)(params, moving, x, labels)
        t = t + 1
        rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        m = jax.tree.map(lambda m, g: m + (g - m) * (1 - BETA_1), m, g)
        v = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - BETA_2), v, g)
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + TINY), params, m, v)
        return (params, moving, m, v, t), loss

    def train(x: np.ndarray, labels: np.ndarray) -> Any:
        nonlocal state
        state, loss = step(state, x, labels)
        return loss

    return train


def trainer(benchmark: Benchmark) -> Any:
    """(x, labels) -> loss, after one step of Adam."""
    step = _stepper(benchmark)
    return lambda x, labels: float(step(x, labels))


def fitter(benchmark: Benchmark, batch: int) -> Any:
    """(x, labels, shuffle) -> the mean loss of an epoch. Losses are waited for at its end."""
    step = _stepper(benchmark)

    def fit(x: np.ndarray, labels: np.ndarray, shuffle: bool) -> float:
        order = np.random.permutation(len(x)) if shuffle else np.arange(len(x))
        rows = [order[i : i + batch] for i in range(0, len(x), batch)]
        return float(np.mean([float(loss) for loss in [step(x[r], labels[r]) for r in rows]]))

    return fit

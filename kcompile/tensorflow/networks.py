"""Functions of tf.nn and tf.random, by functions of keras.ops and keras.random: see `functions`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from kcompile.keras import keras3_random
from kcompile.tensorflow.functions import Function, as_type, normalize_l2, o, one, top_k
from kcompile_runtime.errors import UnsupportedError

r = cast(Any, keras3_random)


def channels_of(data_format: Any) -> str:
    return "channels_first" if str(data_format).startswith("NC") else "channels_last"


def inner(sizes: Any, data_format: Any) -> Any:
    """Strides or windows of the axes between batch and channels."""
    if isinstance(sizes, int) or len(sizes) < 3:
        return sizes if isinstance(sizes, int) or len(sizes) > 1 else int(sizes[0])
    return tuple(sizes[2:] if str(data_format).startswith("NC") else sizes[1:-1])


def rates(dilations: Any, data_format: Any) -> Any:
    """Dilations of the axes between batch and channels; 1 where none are given."""
    return 1 if dilations is None else inner(dilations, data_format)


def conv(
    input: Any,
    filters: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """The convolution of images with kernels [rows, columns, channels, filters]."""
    step, rate = inner(strides, data_format), rates(dilations, data_format)
    return o.conv(input, filters, step, padding.lower(), channels_of(data_format), rate)


def pooled(function: str) -> Function:
    twin = getattr(o, function)

    def pool(
        input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC", name: Any = None
    ) -> Any:
        window, step = inner(ksize, data_format), inner(strides, data_format)
        return twin(input, window, step, padding.lower(), channels_of(data_format))

    return pool


def softmax_loss(labels: Any, logits: Any, axis: int = -1, name: Any = None) -> Any:
    """The crossentropy of distributions with the softmax of logits."""
    return o.negative(o.sum(o.multiply(labels, o.log_softmax(logits, axis)), axis))


def sparse_softmax_loss(labels: Any, logits: Any, name: Any = None) -> Any:
    """The same for numbers of classes."""
    return o.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def sigmoid_loss(labels: Any = None, logits: Any = None, name: Any = None) -> Any:
    """The crossentropy of shares with the sigmoid of logits."""
    rest = o.log1p(o.exp(o.negative(o.abs(logits))))
    return o.add(o.subtract(o.relu(logits), o.multiply(logits, labels)), rest)


def dropout(x: Any, rate: Any, noise_shape: Any = None, seed: Any = None, name: Any = None) -> Any:
    """x with a share of its elements 0."""
    return r.dropout(x, rate, noise_shape, seed)


def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: Any = None) -> Any:
    """Mean and variance."""
    return o.moments(x, axes, keepdims)


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: Any = None
) -> Any:
    """x, normalised by statistics that are given."""
    factor = o.rsqrt(o.add(variance, variance_epsilon))
    factor = factor if scale is None else o.multiply(factor, scale)
    made = o.multiply(o.subtract(x, mean), factor)
    return made if offset is None else o.add(made, offset)


def embedding_lookup(params: Any, ids: Any, max_norm: Any = None, name: Any = None) -> Any:
    """Rows of a table."""
    if max_norm is not None:
        raise UnsupportedError("tensorflow.nn.embedding_lookup: max_norm. Use clip_by_norm on what it gives")
    return o.take(params, ids, 0)


def _swish(features: Any, beta: Any = 1.0) -> Any:
    return o.multiply(features, o.sigmoid(o.multiply(features, beta)))


# ---------------------------------------------------------------- random


def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", seed: Any = None, name: Any = None
) -> Any:
    """Normal numbers."""
    return r.normal(shape, mean, stddev, str(dtype), seed)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", seed: Any = None, name: Any = None
) -> Any:
    """Normal numbers within two deviations."""
    return r.truncated_normal(shape, mean, stddev, str(dtype), seed)


def uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = "float32",
    seed: Any = None,
    name: Any = None,
) -> Any:
    """Uniform numbers; whole ones in an integer dtype."""
    if "int" in str(dtype):
        return r.randint(shape, minval, maxval, str(dtype), seed)
    return r.uniform(shape, minval, 1.0 if maxval is None else maxval, str(dtype), seed)


def shuffle(value: Any, seed: Any = None, name: Any = None) -> Any:
    """The parts along the first axis in a random order."""
    return r.shuffle(value, 0, seed)


def gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = "float32", seed: Any = None, name: Any = None
) -> Any:
    """Numbers of gamma distributions, of this shape for each alpha (and rate beta)."""
    sizes = list(shape) if isinstance(shape, (list, tuple, np.ndarray)) else [shape]
    rates = 1.0 if beta is None else o.convert_to_tensor(beta, str(dtype))
    alpha = o.multiply(o.convert_to_tensor(alpha, str(dtype)), o.ones_like(rates))
    made = r.gamma((*sizes, *o.shape(alpha)), alpha, str(dtype), seed)
    return made if beta is None else o.divide(made, rates)


def categorical(logits: Any, num_samples: int, dtype: Any = None, seed: Any = None, name: Any = None) -> Any:
    """Classes drawn for each row of logits."""
    return as_type(r.categorical(logits, num_samples, seed=seed), dtype or "int64", logits)


_NN: dict[str, Function] = {
    **{name: one(name, "features") for name in ["elu", "relu", "relu6", "selu", "softplus", "softsign"]},
    "avg_pool": pooled("average_pool"),
    "avg_pool2d": pooled("average_pool"),
    "batch_normalization": batch_normalization,
    "bias_add": lambda value, bias, data_format=None, name=None: o.add(value, bias),
    "conv2d": conv,
    "crelu": lambda features, axis=-1, name=None: o.concatenate([o.relu(features), o.relu(-features)], axis),
    "depth_to_space": lambda input, block_size, data_format="NHWC", name=None: o.depth_to_space(
        input, block_size, channels_of(data_format)
    ),
    "dropout": dropout,
    "embedding_lookup": embedding_lookup,
    "gelu": lambda features, approximate=False, name=None: o.gelu(features, approximate),
    "in_top_k": lambda targets, predictions, k, name=None: o.in_top_k(targets, predictions, k),
    "l2_loss": lambda t, name=None: o.divide(o.sum(o.square(t)), 2),
    "l2_normalize": normalize_l2,
    "leaky_relu": lambda features, alpha=0.2, name=None: o.leaky_relu(features, alpha),
    "log_softmax": lambda logits, axis=None, name=None: o.log_softmax(logits, -1 if axis is None else axis),
    "max_pool": pooled("max_pool"),
    "max_pool2d": pooled("max_pool"),
    "moments": moments,
    "scale_regularization_loss": lambda regularization_loss: regularization_loss,
    "sigmoid": one("sigmoid"),
    "sigmoid_cross_entropy_with_logits": sigmoid_loss,
    "silu": _swish,
    "softmax": lambda logits, axis=None, name=None: o.softmax(logits, -1 if axis is None else axis),
    "softmax_cross_entropy_with_logits": softmax_loss,
    "space_to_depth": lambda input, block_size, data_format="NHWC", name=None: o.space_to_depth(
        input, block_size, channels_of(data_format)
    ),
    "sparse_softmax_cross_entropy_with_logits": sparse_softmax_loss,
    "swish": _swish,
    "tanh": one("tanh"),
    "top_k": top_k,
}
_RANDOM: dict[str, Function] = {
    "categorical": categorical,
    "gamma": gamma,
    "normal": normal,
    "shuffle": shuffle,
    "truncated_normal": truncated_normal,
    "uniform": uniform,
}
FUNCTIONS: dict[str, Any] = {
    **{f"nn.{name}": function for name, function in _NN.items()},
    **{f"random.{name}": function for name, function in _RANDOM.items()},
}

"""The benchmarks as data: layers, batch sizes, weights and inputs, the same for every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.networks import NETWORKS

Layer = tuple[str, dict[str, Any]]  # the name of a Keras layer class, and its arguments


@dataclass(frozen=True)
class Benchmark:
    """One network. x is float32 [batch, *input_shape]; training is Adam on sparse categorical
    crossentropy, the labels int32 [batch].

    predict, train: batch sizes to measure. fit: numbers of steps of a whole call of `fit`, at the first
    batch size of `train`. busy: batch sizes to predict beside busy programs, where `fit` is measured
    too. bound: whether arithmetic dominates, so that the floor
    says something. vocabulary: x is int32 instead, numbers below it. network: the name of one of
    `networks.NETWORKS`, of which this is then, with as many inputs; x is a list, integers below 50 where the
    network asks for them; training is Adam on squares, the labels float32 of the output's shape.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    predict: tuple[int, ...] = ()
    train: tuple[int, ...] = ()
    fit: tuple[int, ...] = ()
    busy: tuple[int, ...] = ()
    bound: bool = False
    vocabulary: int | None = None
    network: str = ""

    @property
    def classes(self) -> int:
        return int(next(a["units"] for _, a in reversed(self.layers) if "units" in a))

    def model(self, keras: Any) -> Any:
        """The model, built with a Keras-compatible package (ours or Keras itself)."""
        if self.network:
            return NETWORKS[self.network](keras)
        dtype = "int32" if self.vocabulary else "float32"
        made = [keras.layers.Input(shape=self.input_shape, dtype=dtype)]
        made += [getattr(keras.layers, name)(**arguments) for name, arguments in self.layers]
        return keras.models.Sequential(made)


def _dense(units: int, activation: str | None = None, use_bias: bool = True) -> Layer:
    return "Dense", {"units": units, "activation": activation, "use_bias": use_bias}


def _conv(filters: int, activation: str | None = None, use_bias: bool = True, size: int = 3) -> Layer:
    return "Conv2D", {
        "filters": filters,
        "kernel_size": size,
        "padding": "same",
        "activation": activation,
        "use_bias": use_bias,
    }


def _conv_block(filters: int) -> tuple[Layer, ...]:
    return (
        _conv(filters, use_bias=False),
        ("BatchNormalization", {}),
        ("Activation", {"activation": "relu"}),
        ("MaxPooling2D", {"pool_size": 2}),
    )


def _small_conv(filters: int) -> tuple[Layer, ...]:
    return _conv(filters, "relu", size=2), ("MaxPooling2D", {"pool_size": 2})


def _lstm(units: int, return_sequences: bool = False) -> Layer:
    return "LSTM", {"units": units, "return_sequences": return_sequences, "recurrent_activation": "sigmoid"}


BENCHMARKS = (
    Benchmark(
        "mlp",
        (20,),
        (_dense(64, "relu"), _dense(64, "relu"), _dense(10, "softmax")),
        predict=(1, 32),
        train=(128,),
        fit=(10, 1000),
    ),
    Benchmark(
        "mnist-mlp",
        (784,),
        (_dense(512, "relu"), _dense(512, "relu"), _dense(10, "softmax")),
        predict=(1, 128),
        train=(128,),
        busy=(1, 32, 256),
        bound=True,
    ),
    Benchmark("dense-1024", (1024,), (_dense(1024, use_bias=False),), predict=(1024,), bound=True),
    Benchmark("conv-3x3", (56, 56, 64), (_conv(64, "relu"),), predict=(8,), bound=True),
    Benchmark(
        "digits-cnn",
        (8, 8, 1),
        (*_conv_block(32), *_conv_block(64), ("Flatten", {}), _dense(64, "relu"), _dense(10, "softmax")),
        predict=(1, 32),
        train=(64,),
    ),
    Benchmark(
        "stacked-lstm",
        (8, 16),
        (_lstm(32, True), _lstm(32, True), _lstm(32), _dense(10, "softmax")),
        predict=(1, 32),
        train=(64,),
        busy=(1, 32),
    ),
    Benchmark(
        "cifar-cnn",
        (32, 32, 3),
        (
            *_small_conv(16),
            *_small_conv(32),
            *_small_conv(64),
            ("Flatten", {}),
            _dense(500, "relu"),
            _dense(10, "softmax"),
        ),
        predict=(1, 32),
        train=(32,),
        busy=(1, 32),
    ),
    Benchmark(
        "embedding-lstm",
        (80,),
        (("Embedding", {"input_dim": 20000, "output_dim": 256}), _lstm(128), _dense(2, "softmax")),
        predict=(1, 32),
        train=(16,),
        bound=True,
        vocabulary=20000,
    ),
    *(
        Benchmark(name, (), (), predict=(1, large), train=(large,), network=name)
        for name, large in (
            *((name, 32) for name in ("autoencoder", "tagger", "tabular", "tcn", "siamese", "generator")),
            *((name, 8) for name in ("unet", "transformer", "volumes", "mobile", "mobilenet_v2", "resnet50")),
        )
    ),
)


def inputs(benchmark: Benchmark, batch: int) -> tuple[Any, np.ndarray]:
    """x and labels of one batch, the same in every process."""
    rng = np.random.default_rng(batch)
    if benchmark.network:
        from kcompile import keras3

        model = benchmark.model(keras3)
        arrays = [
            rng.integers(0, 50, (batch, *x.shape[1:])).astype(np.int32)
            if "int" in str(x.dtype)
            else rng.normal(size=(batch, *x.shape[1:])).astype(np.float32)
            for x in model.inputs
        ]
        labels = rng.random((batch, *model.outputs[0].shape[1:])).astype(np.float32)
        return arrays if len(arrays) > 1 else arrays[0], labels
    shape = (batch, *benchmark.input_shape)
    x = (
        rng.integers(0, benchmark.vocabulary, shape).astype(np.int32)
        if benchmark.vocabulary
        else rng.normal(size=shape).astype(np.float32)
    )
    classes = benchmark.classes if benchmark.train else 1
    return x, rng.integers(0, classes, batch).astype(np.int32)


def weights(shapes: list[tuple[int, ...]], names: list[str]) -> list[np.ndarray]:
    """Random weights of these shapes (as `get_weights` orders them), the same in every process."""
    rng = np.random.default_rng(7)
    return [_weight(rng, shape, name) for shape, name in zip(shapes, names)]


def _weight(rng: np.random.Generator, shape: tuple[int, ...], name: str) -> np.ndarray:
    draws: dict[str, Callable[[], np.ndarray]] = {
        "kernel": lambda: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])),
        "recurrent_kernel": lambda: rng.normal(size=shape) / np.sqrt(shape[0]),
        "moving_variance": lambda: rng.uniform(0.5, 1.5, shape),
        "gamma": lambda: rng.uniform(0.8, 1.2, shape),
    }
    make = draws.get(name, lambda: rng.normal(size=shape) * 0.1)
    return make().astype(np.float32)


@dataclass(frozen=True)
class Plan:
    """A layer's weights by their Keras names, and where each kernel element is used (positions)."""

    weights: dict[str, tuple[int, ...]]
    positions: int


def plans(benchmark: Benchmark) -> list[Plan]:
    """Each layer's plan. Shapes are followed by hand here, so that an engine needs neither Keras nor
    us to know them."""
    shape, made = benchmark.input_shape, []
    for kind, arguments in benchmark.layers:
        names: dict[str, tuple[int, ...]] = {}
        if kind == "Dense":
            names["kernel"] = (shape[-1], arguments["units"])
            shape = (*shape[:-1], arguments["units"])
        elif kind == "Conv2D":
            size = arguments["kernel_size"]
            names["kernel"] = (size, size, shape[-1], arguments["filters"])
            shape = (*shape[:-1], arguments["filters"])
        elif kind == "Embedding":
            names["embeddings"] = (arguments["input_dim"], arguments["output_dim"])
            shape = (*shape, arguments["output_dim"])
        elif kind == "LSTM":
            units, steps = arguments["units"], shape[0]
            names = {
                "kernel": (shape[1], 4 * units),
                "recurrent_kernel": (units, 4 * units),
                "bias": (4 * units,),
            }
            made.append(Plan(names, steps))
            shape = (steps, units) if arguments["return_sequences"] else (units,)
            continue
        elif kind == "BatchNormalization":
            names = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (shape[-1],))
        elif kind == "MaxPooling2D":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif kind == "Flatten":
            shape = (int(np.prod(shape)),)
        if kind in ("Dense", "Conv2D") and arguments["use_bias"]:
            names["bias"] = (shape[-1],)
        made.append(Plan(names, int(np.prod(shape[:-1]))))
    return made


def flops(benchmark: Benchmark, mode: str) -> int:
    """Multiplications and additions in the products of one sample. Training adds the gradient of
    every kernel, and of every layer's input but the first's (that of an Embedding's rows counts)."""
    products = [
        2 * int(np.prod(shape)) * p.positions
        for p in plans(benchmark)
        for name, shape in p.weights.items()
        if name in ("kernel", "recurrent_kernel")
    ]
    first = 0 if benchmark.vocabulary else products[0]
    return sum(products) if mode == "predict" else 3 * sum(products) - first


def weight_table(benchmark: Benchmark) -> list[dict[str, np.ndarray]]:
    """Each layer's weights by their Keras names, in order."""
    shapes = [p.weights for p in plans(benchmark)]
    flat = [(name, s) for layer in shapes for name, s in layer.items()]
    drawn = iter(weights([s for _, s in flat], [name for name, _ in flat]))
    return [{name: next(drawn) for name in layer} for layer in shapes]


def flat_weights(benchmark: Benchmark) -> list[np.ndarray]:
    """What `set_weights` takes."""
    return [w for layer in weight_table(benchmark) for w in layer.values()]

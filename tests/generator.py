"""Random models over all layers of the front end, for tests of every stage after it.

`models()` is a hypothesis strategy of `Sample`s: a functional model with random weights, with branches,
shared layers, several inputs and outputs. `Sample.inputs(n)` makes data for a batch of n, and
`Sample.targets(n)` labels for the loss it was compiled with, where `models(compiled=True)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from kcompile.keras import layers
from kcompile.keras.models import Model

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "hard_sigmoid", "elu", "selu", "softplus",
               "softsign", "softmax")
OPTIMIZERS = ("sgd", "rmsprop", "adam")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """A model, what it is made of (for messages), and the seed of its data."""

    model: Any
    seed: int
    notes: tuple[str, ...]

    def inputs(self, n: int) -> list[np.ndarray]:
        rng = np.random.default_rng(self.seed + n)
        return [rng.uniform(-1, 1, (n, *x.shape[1:])).astype(np.float32)
                for x in self.model.inputs]

    def targets(self, n: int) -> list[np.ndarray]:
        rng = np.random.default_rng(self.seed + n + 1)
        return [rng.uniform(-1, 1, (n, *y.shape[1:])).astype(np.float32)
                for y in self.model.outputs]

    def __repr__(self) -> str:
        return f"Sample(seed={self.seed}):\n  " + "\n  ".join(self.notes)


class _Builder:
    """A model under construction: tensors that exist, layers that could be shared."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.tensors: list[Any] = []
        self.used: set[int] = set()
        self.made: list[tuple[Any, Shape]] = []
        self.notes: list[str] = []
        self.exponentials = 0

    # ---- choices

    def integer(self, low: int, high: int) -> int:
        drawn: int = self._draw(st.integers(low, high))
        return drawn

    def choice(self, options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def tensor(self, rank: int | None = None) -> Any | None:
        """One of the tensors (of a rank), the newest the likeliest."""
        found = [x for x in self.tensors if rank is None or len(x.shape) == rank]
        if not found:
            return None
        return found[-1] if self.choice((True, True, False)) else self.choice(found)

    # ---- building

    def input(self) -> None:
        shape = self.choice((
            (self.integer(1, 9),), (self.integer(2, 6), self.integer(1, 7)),
            (self.integer(3, 8), self.integer(3, 8), self.integer(1, 5))))
        self.tensors.append(layers.Input(shape=shape))
        self.notes.append(f"Input{shape}")

    def apply(self, layer: Any, inputs: Any) -> None:
        several = isinstance(inputs, list)
        self.used.update(id(x) for x in (inputs if several else [inputs]))
        output = layer(inputs)
        self.tensors.append(output)
        config = {k: v for k, v in layer.get_config().items()
                  if v is not None and "initializer" not in k and k not in ("dtype", "trainable")}
        shapes = [x.shape[1:] for x in inputs] if several else inputs.shape[1:]
        self.notes.append(f"{type(layer).__name__}{config} of {shapes} -> {output.shape[1:]}")
        if not several:
            self.made.append((layer, tuple(inputs.shape[1:])))

    def activation(self) -> str:
        if not self.exponentials and self.integer(0, 15) == 0:  # more than one would overflow
            self.exponentials += 1
            return "exponential"
        return str(self.choice(ACTIVATIONS))

    def dense(self, x: Any) -> Any:
        return layers.Dense(self.integer(1, 20), activation=self.activation(),
                            use_bias=self.choice((True, False)),
                            kernel_regularizer=self.choice((None, None, "l2", "l1")))

    def conv(self, x: Any) -> Any:
        window = [min(self.integer(1, 3), d) for d in x.shape[1:3]]
        strides = self.choice((1, 1, 2, (1, 2)))
        dilation = self.choice((1, 2)) if strides == 1 else 1
        padding = self.choice(("valid", "same"))
        if any((w - 1) * dilation + 1 > d for w, d in zip(window, x.shape[1:3])):
            dilation = 1
        return layers.Conv2D(self.integer(1, 18), tuple(window), strides=strides, padding=padding,
                             dilation_rate=dilation, activation=self.activation(),
                             use_bias=self.choice((True, False)))

    def pool(self, x: Any) -> Any:
        kind = self.choice((layers.MaxPooling2D, layers.AveragePooling2D))
        size = tuple(min(self.integer(1, 3), d) for d in x.shape[1:3])
        return kind(size, strides=self.choice((None, 1, 2)),
                    padding=self.choice(("valid", "same")))

    def recurrent(self, x: Any, ends: bool = False) -> Any:
        """ends: only the last step leaves, and so no mask."""
        kind = self.choice((layers.SimpleRNN, layers.LSTM, layers.GRU))
        options = {"reset_after": self.choice((True, False))} if kind is layers.GRU else {}
        layer = kind(self.integer(1, 18), return_sequences=not ends and self.choice((True, False)),
                     go_backwards=self.choice((True, False, False)),
                     use_bias=self.choice((True, False)), dropout=self.choice((0.0, 0.0, 0.3)),
                     recurrent_dropout=self.choice((0.0, 0.0, 0.3)), **options)
        if self.choice((True, False, False)):
            merge = self.choice(("concat", "sum", "ave", "mul"))
            return layers.Bidirectional(layer, merge_mode=merge)
        return layer

    def sequence(self, x: Any) -> Any:
        """A layer for [batch, steps, features]."""
        return self.choice((
            self.recurrent, self.recurrent, self.recurrent, self.conv1d,
            lambda x: layers.TimeDistributed(layers.Dense(self.integer(1, 9), activation="tanh")),
            lambda x: self.choice((layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D))(),
            lambda x: layers.Flatten()))(x)

    def conv1d(self, x: Any) -> Any:
        return layers.Conv1D(self.integer(1, 18), min(self.integer(1, 3), x.shape[1]),
                             padding=self.choice(("valid", "same")), activation=self.activation())

    def advanced(self, x: Any) -> Any:
        return self.choice((layers.LeakyReLU, layers.PReLU, layers.ELU, layers.ThresholdedReLU,
                            layers.ReLU))()

    def global_pool(self, x: Any) -> Any:
        return self.choice((layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D))()

    def normalise(self, x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.9, center=self.choice((True, False)),
                                         scale=self.choice((True, False)))

    def reshape(self, x: Any) -> Any:
        sizes = list(x.shape[1:])
        if len(sizes) == 1:
            factor = next(f for f in (3, 2, 1) if sizes[0] % f == 0)
            steps = self.choice(((1, sizes[0] // factor), (sizes[0] // factor,)))
            return layers.Reshape((*steps, factor))
        if len(sizes) == 2:
            return layers.Reshape((sizes[1], sizes[0]))
        return layers.Reshape((sizes[1], sizes[0], sizes[2]))

    def step(self) -> None:
        """One more layer somewhere."""
        anywhere: list[Callable[[Any], Any]] = [
            self.dense, self.normalise, self.reshape, self.advanced,
            lambda x: layers.Activation(self.activation()),
            lambda x: layers.Dropout(self.choice((0.0, 0.3)))]
        images = [self.conv, self.conv, self.pool, self.global_pool, lambda x: layers.Flatten()]
        kind = self.integer(0, 9)
        if kind <= 1 and self.share():
            return
        if 2 <= kind <= 4 and self.merge():
            return
        x = self.tensor()
        assert x is not None
        makers = anywhere + {4: images * 2, 3: [self.sequence] * 6}.get(len(x.shape), [])
        self.apply(self.choice(makers)(x), x)

    def share(self) -> bool:
        """Call a layer that was called already, on another tensor of the same shape; those with
        weights first."""
        newest = reversed(self.made)
        for layer, shape in sorted(newest, key=lambda made: not made[0].weights):
            for x in self.tensors:
                if tuple(x.shape[1:]) == shape and id(x) not in self.used:
                    self.notes.append("shared:")
                    self.apply(layer, x)
                    return True
        return False

    def merge(self) -> bool:
        """Join two tensors that fit, with Dense to make them fit where they are vectors."""
        x = self.tensor()
        assert x is not None
        others = [y for y in self.tensors if y is not x and y.shape == x.shape]
        if not others and len(x.shape) == 2 and len(self.tensors) > 1:
            wide = [y for y in self.tensors if y is not x and len(y.shape) == 2]
            if not wide:
                return False
            self.apply(layers.Dense(x.shape[-1]), self.choice(wide))
            others = [self.tensors[-1]]
        if not others:
            return False
        merge = self.choice((layers.Add, layers.Multiply, layers.Concatenate, layers.Average,
                             layers.Maximum, layers.Minimum))()
        self.apply(merge, [x, self.choice(others)])
        return True

    def model(self) -> Any:
        """All tensors that nothing reads are outputs; those that depend on no input are none."""
        inputs = [x for x in self.tensors if not x.node.inputs and id(x) in self.used]
        outputs = [x for x in self.tensors if id(x) not in self.used and x.node.inputs]
        return Model(inputs, outputs)


def _randomise(model: Any, seed: int) -> None:
    """Weights of a size that keeps values near 1, however deep; variances are positive."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = variable.shape
        if len(shape) > 1:
            value = rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        elif variable.name.endswith(("moving_variance", "gamma")):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(size=shape) * 0.1
        variable.assign(value.astype(np.float32))


@st.composite
def models(draw: Any, compiled: bool = False, depth: int = 8) -> Sample:
    """Models of up to `depth` layers and those that merging adds. compiled: for training too."""
    build = _Builder(draw)
    for _ in range(draw(st.integers(1, 2))):
        build.input()
    for x in list(build.tensors):  # every input is used
        first = {4: build.conv, 3: build.sequence}.get(len(x.shape), build.dense)
        if len(x.shape) == 3 and build.choice((True, False)):
            build.apply(layers.Masking(), x)
            x = build.tensors.pop()  # what most layers refuse
            layer = build.recurrent(x, ends=True)
        else:
            layer = first(x)
        build.apply(layer, x)
    for _ in range(draw(st.integers(2, depth))):
        build.step()
    model, seed = build.model(), draw(st.integers(0, 2**31 - 1))
    _randomise(model, seed)
    if compiled:
        optimizer = draw(st.sampled_from(OPTIMIZERS))
        model.compile(optimizer=optimizer, loss="mse")
        build.notes.append(f"compiled with {optimizer}")
    return Sample(model, seed, tuple(build.notes))

"""Random models over all layers of the front end, for tests of every stage after it.

`models()` is a hypothesis strategy of `Sample`s, `sample(seed)` is one of them: a functional model with
random weights, with branches, shared layers, several inputs and outputs, about half of them with inputs of
whole numbers too. `Sample.inputs(n)` makes data for a batch of n, and `Sample.targets(n)` labels for the loss
it was compiled with, where `models(compiled=True)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from kcompile.keras import layers, optimizers
from kcompile.keras.models import Model
from kcompile.testing.ranges import left, pick

ACTIVATIONS = (
    "linear",
    "relu",
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "softmax",
)
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": optimizers.SGD,
    "momentum": lambda **limits: optimizers.SGD(momentum=0.9, **limits),
    "rmsprop": lambda **limits: optimizers.RMSprop(epsilon=1e-4, **limits),
    "adam": lambda **limits: optimizers.Adam(epsilon=1e-4, **limits),
    # An epsilon above the rounding of gradients: 1e-7 would scale one of rounding alone to a whole step
    "adagrad": lambda **limits: optimizers.Adagrad(0.001, epsilon=1e-4, **limits),
}
LIMITS: tuple[dict[str, float], ...] = ({}, {}, {"clipnorm": 0.5}, {"clipvalue": 0.02})

WORK = 1 << 16  # products for a sample that one layer of a model makes
ELEMENTS = 1500  # of a sample's tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """A model, what it is made of (notes, for messages), and the seed of its data. words: the vocabularies of
    its first inputs, which take whole numbers; the others take floats."""

    model: Any
    seed: int
    notes: tuple[str, ...]
    words: tuple[int, ...] = ()

    def inputs(self, n: int) -> list[np.ndarray]:
        """Arrays for n samples, one for each input: of int32 below the vocabulary, a third of them 0
        (padding, to some), never a whole row; and of float32 in [-1, 1]."""
        rng = np.random.default_rng(self.seed + n)
        shapes = [(n, *x.shape[1:]) for x in self.model.inputs]
        made = []
        for words, shape in zip(self.words, shapes):
            x = rng.integers(1, words, shape)
            made.append((x * ((rng.random(shape) > 1 / 3) | (np.arange(shape[1]) == 0))).astype(np.int32))
        return made + [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes[len(made) :]]

    def targets(self, n: int) -> list[np.ndarray]:
        """Labels for n samples, an array [n, ...] of float32 in [-1, 1] for each output."""
        rng = np.random.default_rng(self.seed + n + 1)
        return [rng.uniform(-1, 1, (n, *y.shape[1:])).astype(np.float32) for y in self.model.outputs]

    def __repr__(self) -> str:
        return f"Sample(seed={self.seed}):\n  " + "\n  ".join(self.notes)


class _Builder:
    """A model under construction: tensors that exist, layers that could be shared. All choices follow
    from the seed: hypothesis, left to make them, varies one of them at a time."""

    def __init__(self, seed: int, portable: bool) -> None:
        self._rng = np.random.default_rng(seed)
        self._portable = portable
        self._rates = (0.0,) if portable else (0.0, 0.0, 0.3)
        self.tensors: list[Any] = []
        self.numbers: list[tuple[Any, int]] = []  # inputs of whole numbers, with their vocabulary
        self.tables: list[tuple[Any, int]] = []
        self.used: set[int] = set()
        self.made: list[tuple[Any, Shape]] = []
        self.notes: list[str] = []
        self.exponentials = 0

    # ---- choices

    def integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def size(self, name: str, most: int | None = None) -> int:
        """A size of the range that it has in real use."""
        return pick(self.integer, name, most)

    def filters(self, work: int, positions: int = 1) -> int:
        """Columns of a layer with so many products for each, at so many positions."""
        return self.size("channels", min(left(WORK, work), left(ELEMENTS, positions)))

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
        rank = self.choice((0, 0, 1, 1, 2, 2, 3))
        name, most = (("units", 1), ("steps", 48), ("size", 16), ("size", 6))[rank]
        sizes = tuple(self.size(name, most) for _ in range(rank))
        shape = (*sizes, self.size("channels", left(ELEMENTS // 2, *sizes)))
        self.tensors.append(layers.Input(shape=shape))
        self.notes.append(f"Input{shape}")

    def text(self) -> None:
        """An input of whole numbers, a table (a new one, or one that is there), and what follows it."""
        if not self.tables or self.choice((True, True, False)):
            words = self.choice((self.integer(2, 12), self.size("words", 5000) + 1))
            table = layers.Embedding(
                words,
                self.integer(1, 18),
                mask_zero=self.choice((True, False)),
                embeddings_regularizer=self.choice((None, None, "l2")),
                embeddings_constraint=self.choice((None, None, "unit_norm")),
            )
            self.tables.append((table, words))
        table, words = self.choice(self.tables)
        x = layers.Input((self.size("steps", 24),), dtype="int32")
        self.numbers.append((x, words))
        self.notes.append(f"Input{x.shape[1:]} below {words}")
        self.apply(table, x)
        if table.mask_zero:
            self.masked()

    def masked(self) -> None:
        """Layers after the newest tensor, which has a mask, until none is left."""
        while True:
            x = self.tensors.pop()  # what most layers refuse
            if x.mask is None:
                self.tensors.append(x)
                return
            makers: list[Callable[[Any], Any]] = [
                self.recurrent,
                lambda x: self.recurrent(x, ends=True),
                self.dense,
                lambda x: layers.GlobalAveragePooling1D(),
                lambda x: layers.Dropout(self._rates[-1]),
                lambda x: layers.TimeDistributed(self.dense(x)),
            ]
            self.apply(self.choice(makers)(x), x)

    def apply(self, layer: Any, inputs: Any) -> None:
        several = isinstance(inputs, list)
        self.used.update(id(x) for x in (inputs if several else [inputs]))
        output = layer(inputs)
        self.tensors.append(output)
        config = {
            k: v
            for k, v in layer.get_config().items()
            if v is not None and "initializer" not in k and k not in ("dtype", "trainable")
        }
        shapes = [x.shape[1:] for x in inputs] if several else inputs.shape[1:]
        self.notes.append(f"{type(layer).__name__}{config} of {shapes} -> {output.shape[1:]}")
        if not several and output.mask is None and inputs.dtype == "float32":  # for any tensor
            self.made.append((layer, tuple(inputs.shape[1:])))

    def activation(self) -> str:
        if not self.exponentials and self.integer(0, 15) == 0:  # more than one would overflow
            self.exponentials += 1
            return "exponential"
        name = str(self.choice(ACTIVATIONS))
        return "sigmoid" if self._portable and name == "hard_sigmoid" else name

    def dense(self, x: Any) -> Any:
        rows = int(np.prod(x.shape[1:-1]))
        return layers.Dense(
            self.filters(rows * x.shape[-1], rows),
            activation=self.activation(),
            use_bias=self.choice((True, False)),
            kernel_regularizer=self.choice((None, None, "l2", "l1")),
        )

    def conv(self, x: Any) -> Any:
        """Windows larger than the input only where padding makes room."""
        sizes, channels = x.shape[1:-1], x.shape[-1]
        rank = len(sizes)
        padding = self.choice(("valid", "same", "causal") if rank == 1 else ("valid", "same"))
        window = [self.size("kernel", (13, 9, 4)[rank - 1]) for _ in sizes]
        if padding == "valid":
            window = [min(w, d) for w, d in zip(window, sizes)]
        strides = self.choice((1, 1, tuple(self.size("stride") for _ in sizes)))
        dilation: Any = 1
        if strides == 1 and not (self._portable and rank == 3):  # TensorFlow cannot train that
            dilation = self.choice((1, tuple(self.size("dilation") for _ in sizes)))
            if padding == "valid" and dilation != 1:
                dilation = tuple(
                    min(e, (d - 1) // max(w - 1, 1) or 1) for e, w, d in zip(dilation, window, sizes)
                )
        groups = self.choice([g for g in (1, 1, 2, 3, channels) if channels % g == 0 and g <= 32])
        groups = 1 if self._portable else groups
        positions = int(np.prod(sizes))
        filters = self.filters(int(np.prod(window)) * channels * positions // groups, positions)
        kind = (layers.Conv1D, layers.Conv2D, layers.Conv3D)[rank - 1]
        return kind(
            -(-filters // groups) * groups,
            tuple(window),
            strides=strides,
            padding=padding,
            dilation_rate=dilation,
            groups=groups,
            activation=self.activation(),
            use_bias=self.choice((True, False)),
        )

    def pool(self, x: Any) -> Any:
        rank = len(x.shape) - 2
        kind = getattr(layers, f"{self.choice(('Max', 'Average'))}Pooling{rank}D")
        padding = self.choice(("valid", "same"))
        size = tuple(self.size("pool") for _ in range(rank))
        if padding == "valid":
            size = tuple(min(s, d) for s, d in zip(size, x.shape[1:-1]))
        return kind(size, strides=self.choice((None, self.size("stride"))), padding=padding)

    def recurrent(self, x: Any, ends: bool = False) -> Any:
        """ends: only the last step leaves, and so no mask."""
        kind = self.choice((layers.SimpleRNN, layers.LSTM, layers.GRU))
        options: dict[str, Any] = {}
        if kind is layers.GRU:
            options["reset_after"] = self.choice((True, False))
        if kind is not layers.SimpleRNN:
            options["recurrent_activation"] = self.choice(
                ("sigmoid", "tanh") if self._portable else ("hard_sigmoid", "hard_sigmoid", "sigmoid")
            )
        both = self.choice((True, False, False))
        units = min(self.filters(4 * x.shape[1] * x.shape[2], x.shape[1]), 128)
        layer = kind(
            units,
            return_sequences=not ends and self.choice((True, False)),
            go_backwards=self.choice((True, False, False)) and not (both and self._portable),
            use_bias=self.choice((True, False)),
            dropout=self.choice(self._rates),
            recurrent_dropout=self.choice(self._rates),
            **options,
        )
        if both:
            merge = self.choice(("concat", "sum", "ave", "mul"))
            return layers.Bidirectional(layer, merge_mode=merge)
        return layer

    def sequence(self, x: Any) -> Any:
        """A layer for [batch, steps, features]."""
        return self.choice(
            (
                self.recurrent,
                self.recurrent,
                self.recurrent,
                self.conv,
                self.pool,
                lambda x: layers.TimeDistributed(layers.Dense(self.size("units", 32), activation="tanh")),
                lambda x: self.choice((layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D))(),
                lambda x: layers.Flatten(),
            )
        )(x)

    def advanced(self, x: Any) -> Any:
        kinds = (layers.LeakyReLU, layers.PReLU, layers.ELU, layers.ReLU, layers.ThresholdedReLU)
        return self.choice(kinds[:4] if self._portable else kinds)()

    def global_pool(self, x: Any) -> Any:
        return getattr(layers, f"Global{self.choice(('Average', 'Max'))}Pooling{len(x.shape) - 2}D")()

    def normalise(self, x: Any) -> Any:
        return layers.BatchNormalization(
            momentum=0.9, center=self.choice((True, False)), scale=self.choice((True, False))
        )

    def reshape(self, x: Any) -> Any:
        sizes = list(x.shape[1:])
        if len(sizes) == 1:
            factor = next(f for f in (3, 2, 1) if sizes[0] % f == 0)
            steps = self.choice(((1, sizes[0] // factor), (sizes[0] // factor,)))
            return layers.Reshape((*steps, factor))
        if len(sizes) == 2:
            return layers.Reshape((sizes[1], sizes[0]))
        return layers.Reshape((sizes[1], sizes[0], *sizes[2:]))

    def step(self) -> None:
        """One more layer somewhere."""
        anywhere: list[Callable[[Any], Any]] = [
            self.dense,
            self.normalise,
            self.reshape,
            self.advanced,
            lambda x: layers.Activation(self.activation()),
            lambda x: layers.Dropout(self.choice(self._rates)),
        ]
        images = [self.conv, self.conv, self.pool, self.global_pool, lambda x: layers.Flatten()]
        kind = self.integer(0, 9)
        if kind <= 1 and self.share():
            return
        if 2 <= kind <= 4 and self.merge():
            return
        x = self.tensor()
        assert x is not None
        makers = anywhere + {5: images * 2, 4: images * 2, 3: [self.sequence] * 6}.get(len(x.shape), [])
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
        merge = self.choice(
            (layers.Add, layers.Multiply, layers.Concatenate, layers.Average, layers.Maximum, layers.Minimum)
        )()
        self.apply(merge, [x, self.choice(others)])
        return True

    def model(self) -> Any:
        """All tensors that nothing reads are outputs; those that depend on no input are none."""
        inputs = [x for x, _ in self.numbers]
        inputs += [x for x in self.tensors if not x.node.inputs and id(x) in self.used]
        outputs = [x for x in self.tensors if id(x) not in self.used and x.node.inputs]
        return Model(inputs, outputs)


def _randomise(model: Any, seed: int) -> None:
    """Weights of a size that keeps values near 1, however deep; variances are positive."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = variable.shape
        if len(shape) > 1:
            value = rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        elif variable.path.endswith(("moving_variance", "gamma")):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(size=shape) * 0.1
        variable.assign(value.astype(np.float32))


def models(compiled: bool = False, depth: int = 8) -> st.SearchStrategy[Sample]:
    """A strategy of samples of every seed; compiled and depth as `sample` takes them."""
    return st.integers(0, 2**31 - 1).map(lambda seed: sample(seed, compiled, depth))


def sample(seed: int, compiled: bool = False, depth: int = 8, portable: bool = False) -> Sample:
    """The model of a seed, of up to `depth` layers and those that merging adds. compiled: for training too.
    portable: only of what Keras 3 has too and computes the same, so nothing that drops at random."""
    build = _Builder(seed, portable)
    texts = build.choice((0, 0, 1, 2))
    for _ in range(build.integer(0 if texts else 1, 2 - texts)):
        build.input()
    for x in list(build.tensors):  # every input is used
        if len(x.shape) == 3 and build.choice((True, False)):
            build.apply(layers.Masking(), x)
            build.masked()
        else:
            first = {5: build.conv, 4: build.conv, 3: build.sequence}.get(len(x.shape), build.dense)
            build.apply(first(x), x)
    for _ in range(texts):
        build.text()
    for _ in range(build.integer(2, depth)):
        build.step()
    if not build.model().trainable_weights:
        build.apply(build.dense(build.tensors[-1]), build.tensors[-1])
    model = build.model()
    _randomise(model, seed)
    if compiled:
        optimizer, limits = build.choice(tuple(OPTIMIZERS)), build.choice(LIMITS)
        model.compile(optimizer=OPTIMIZERS[optimizer](**limits), loss="mse")
        build.notes.append(f"compiled with {optimizer}{limits or ''}")
    return Sample(model, seed, tuple(build.notes), tuple(words for _, words in build.numbers))

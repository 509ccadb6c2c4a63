"""Random compositions in Keras 3 or tf_keras: masks that meet, models in models and wrappers, shared and
frozen parts, several outputs with and without losses, weights and metrics.

`build(library, seed)` gives a compiled model of theirs, the same one for the same seed; `differences(...)`
runs it there and here, from its files and live. By itself, any number of them:
python tests/keras_tier/compositions.py tf_keras --count 1000 --eager
Keras 3 is quickest with KERAS_BACKEND=tensorflow, where models with Embedding have fewer optimizers.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import kcompile
from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine
from kcompile_runtime.errors import UnsupportedError

STEPS, BATCH = 4, 5
WAYS = ("live", "keras", "h5")


class Impossible(Exception):
    """Their library does not make or run this composition itself."""


@dataclass
class Sample:
    """A compiled model of theirs and its data. notes: what it is made of."""

    library: Any
    model: Any
    x: list[np.ndarray]
    y: list[np.ndarray]
    weights: list[np.ndarray] | None
    trained: list[bool]  # whether an output has a loss
    notes: list[str]


@dataclass
class _Builder:
    library: Any
    rng: np.random.Generator
    notes: list[str] = field(default_factory=list)
    sequences: list[Any] = field(default_factory=list)
    vectors: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)  # vocabularies of the inputs, 0 for floats
    parts: list[Any] = field(default_factory=list)  # layers and models that may be frozen
    shared: list[tuple[Any, tuple[Any, ...]]] = field(default_factory=list)
    count: int = 0

    # ---- choices

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    @property
    def layers(self) -> Any:
        return self.library.layers

    def make(self, kind: str, *arguments: Any, **options: Any) -> Any:
        layer = getattr(self.layers, kind)(*arguments, name=self.name(kind.lower()), **options)
        self.parts.append(layer)
        return layer

    def penalties(self) -> dict[str, str]:
        found = {}
        if self.chance(0.2):
            found["kernel_regularizer"] = "l2"
        if self.chance(0.1):
            found["activity_regularizer"] = "l2"
        return found

    def call(self, layer: Any, *inputs: Any) -> Any:
        """The layer on these tensors; remembered, to be called again on others like them."""
        x = inputs[0] if len(inputs) == 1 else list(inputs)
        y = layer(x)
        shapes = [tuple(i.shape) for i in inputs]
        self.notes.append(f"{layer.name}{shapes if len(shapes) > 1 else shapes[0]} -> {tuple(y.shape)}")
        if len(inputs) == 1:
            self.shared.append((layer, tuple(x.shape)))
        self.add(y)
        return y

    def add(self, y: Any) -> None:
        (self.sequences if len(y.shape) == 3 else self.vectors).append(y)

    # ---- parts

    def start(self) -> None:
        for _ in range(self.pick((1, 2, 2, 3))):
            if self.chance(0.5):
                words = 5
                x = self.layers.Input((STEPS,), name=self.name("ids"), dtype="int32")
                self.inputs.append(x)
                self.kinds.append(words)
                self.call(self.make("Embedding", words, 3, mask_zero=self.chance(0.7)), x)
            else:
                x = self.layers.Input((STEPS, 3), name=self.name("x"))
                self.inputs.append(x)
                self.kinds.append(0)
                if self.chance(0.6):
                    self.call(self.make("Masking"), x)
                else:
                    self.sequences.append(x)
        if self.chance(0.3):
            x = self.layers.Input((3,), name=self.name("v"))
            self.inputs.append(x)
            self.kinds.append(0)
            self.vectors.append(x)

    def recurrent(self, **options: Any) -> Any:
        return self.make(self.pick(("LSTM", "GRU", "SimpleRNN")), 3, **options)

    def bidirectional(self, merge_mode: str = "concat", **options: Any) -> Any:
        layer = self.recurrent(**options)
        self.parts.remove(layer)  # copies of it run, which its flag does not reach
        return self.make("Bidirectional", layer, merge_mode=merge_mode)

    def over_sequences(self, depth: int = 0) -> Any:
        """A layer (or a model) from [n, STEPS, 3] to the same."""
        options: list[Callable[[], Any]] = [
            lambda: self.make("Dense", 3, activation="tanh", **self.penalties()),
            lambda: self.recurrent(return_sequences=True),
            lambda: self.recurrent(return_sequences=True, go_backwards=True),
            lambda: self.bidirectional(merge_mode=self.pick(("sum", "mul", "ave")), return_sequences=True),
            lambda: self.make("BatchNormalization", momentum=0.8),
            lambda: self.make("Activation", self.pick(("relu", "hard_sigmoid"))),
            lambda: self.make("LeakyReLU"),
            lambda: self.make("Dropout", 0.0),
            lambda: self.make("Conv1D", 3, 2, padding="same"),
            lambda: self.make("TimeDistributed", self.over_vectors(depth + 1)),
            lambda: self.make("Softmax"),
            lambda: self.make("PReLU"),
        ]
        if depth < 2:
            options += [lambda: self.chain(depth + 1), lambda: self.graph(depth + 1)] * 2
        return self.pick(options if self.chance(0.5) else self.newer(True))()

    def newer(self, sequences: bool) -> list[Callable[[], Any]]:
        """Makers of layers that came after Keras 2, from [n, STEPS, 3] (else [n, 3]) to the same."""
        activations = (
            "gelu",
            "silu",
            "mish",
            "softsign",
            "selu",
            "elu",
            "relu6",
            "log_softmax",
            "leaky_relu",
        )
        if self.library.__name__ == "tf_keras":
            activations = ("gelu", "swish", "mish", "softsign", "selu", "elu", "softplus")
        makers: list[Callable[[], Any]] = [
            lambda: self.make("LayerNormalization", epsilon=0.01, center=self.chance(0.5)),
            lambda: self.make("UnitNormalization"),
            lambda: self.make("GroupNormalization", self.pick((1, 3)), epsilon=0.01),
            lambda: self.make("Activation", self.pick(activations)),
            lambda: self.make("Dense", 3, activation=self.pick(activations), **self.penalties()),
            lambda: self.make("Rescaling", 0.5, offset=0.25),
            lambda: self.make("ELU", self.pick((1.0, 0.5))),
            lambda: self.make("ReLU", max_value=2.0),
            lambda: self.make("GaussianDropout", 0.0),
        ]
        if self.library.__name__ == "keras":
            makers += [lambda: self.make("RMSNormalization", epsilon=0.01), lambda: self.make("Identity")]
        if sequences:
            makers += [
                lambda: self.make("EinsumDense", "abc,cd->abd", (None, 3), bias_axes="d"),
                lambda: self.make("DepthwiseConv1D", 2, padding="same"),
                lambda: self.make("SeparableConv1D", 3, 2, padding="same", depth_multiplier=2),
                lambda: self.make("Conv1DTranspose", 3, 2, padding="same"),
                lambda: self.make("Conv1D", 3, 3, padding="causal", dilation_rate=self.pick((1, 2))),
                lambda: self.make("SpatialDropout1D", 0.0),
                lambda: self.make("MaxPooling1D", 3, strides=1, padding="same"),
                lambda: self.make("AveragePooling1D", 2, strides=1, padding="same"),
            ]
        return makers

    def over_vectors(self, depth: int = 0) -> Any:
        """A layer (or a model) from [n, 3] to the same."""
        options: list[Callable[[], Any]] = [
            lambda: self.make("Dense", 3, activation="tanh", **self.penalties()),
            lambda: self.make("BatchNormalization", momentum=0.8),
            lambda: self.make("Activation", self.pick(("relu", "hard_sigmoid"))),
        ]
        if depth < 2:
            options += [lambda: self.chain(depth + 1, (3,)), lambda: self.graph(depth + 1, (3,))]
        return self.pick(options if self.chance(0.6) else self.newer(False))()

    def chain(self, depth: int, shape: tuple[int, ...] = (STEPS, 3)) -> Any:
        inner = self.over_sequences if len(shape) == 2 else self.over_vectors
        model = self.library.Sequential(
            [
                self.layers.Input(shape, name=self.name("in")),
                *(inner(depth) for _ in range(self.pick((1, 2)))),
            ],
            name=self.name("chain"),
        )
        self.parts.append(model)
        return model

    def graph(self, depth: int, shape: tuple[int, ...] = (STEPS, 3)) -> Any:
        inner = self.over_sequences if len(shape) == 2 else self.over_vectors
        x = self.layers.Input(shape, name=self.name("in"))
        if len(shape) == 2 and self.chance(0.3):
            first, second = inner(depth)(self.make("Masking")(x)), inner(depth)(x)
        else:
            first, second = inner(depth)(x), inner(depth)(x)
        merge = self.make(self.pick(("Add", "Multiply", "Maximum", "Average")))
        model = self.library.Model(x, merge([first, second]), name=self.name("graph"))
        self.parts.append(model)
        return model

    def step(self) -> None:
        """One more call somewhere."""
        steps: list[Callable[[], None]] = [
            self.again,
            self.merge,
            self.merge,
            self.operate,
            self.attend,
            self.sequence,
            self.sequence,
            self.shrink,
            self.vector,
        ]
        self.pick(steps)()

    def sequence(self) -> None:
        self.call(self.over_sequences(), self.narrow())

    def narrow(self) -> Any:
        """A sequence of STEPS vectors of 3."""
        x = self.pick([x for x in self.sequences if x.shape[1] == STEPS])
        return x if x.shape[2] == 3 else self.call(self.make("Dense", 3), x)

    def vector(self) -> None:
        if self.vectors:
            x = self.pick(self.vectors)
            x = x if x.shape[1] == 3 else self.call(self.make("Dense", 3), x)
            self.call(self.over_vectors(), x)

    def shrink(self) -> None:
        """A sequence to a vector."""
        kinds: list[Callable[[], Any]] = [
            self.recurrent,
            self.bidirectional,
            lambda: self.make("GlobalAveragePooling1D"),
            lambda: self.make("GlobalMaxPooling1D"),
            lambda: self.make("Flatten"),
        ]
        self.call(self.pick(kinds)(), self.pick(self.sequences))

    def merge(self) -> None:
        kinds = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
        kind = self.pick(kinds)
        if self.vectors and self.chance(0.2):
            pair = [self.pick(self.vectors) for _ in range(2)]
            if kind != "Concatenate" and pair[0].shape[1] != pair[1].shape[1]:
                return
        else:
            pair = [self.narrow() for _ in range(2 if kind == "Subtract" else self.pick((2, 2, 3)))]
        if len({id(x) for x in pair}) < len(pair):
            return
        options = {"axis": self.pick((-1, 1))} if kind == "Concatenate" and len(pair[0].shape) == 3 else {}
        self.call(self.make(kind, **options), *pair)

    def attend(self) -> None:
        """Attention of two sequences, which may be the same."""
        query, value = self.narrow(), self.narrow()
        kind = self.pick(("Attention", "AdditiveAttention", "MultiHeadAttention", "MultiHeadAttention"))
        causal = {"use_causal_mask": True} if self.chance(0.3) else {}
        if kind == "MultiHeadAttention":
            layer = self.make(kind, 2, 2, use_bias=self.chance(0.5))
            y = layer(query, value, **causal)
        else:
            layer = self.make(kind)
            y = layer([query, value], **causal)
        self.notes.append(f"{layer.name}{causal} of {query.name}, {value.name}")
        self.add(y)

    def operate(self) -> None:
        """x + y and the like, and functions of keras.ops, in Keras 3; some operators in tf_keras."""
        x, y = self.narrow(), self.narrow()
        if x is y:
            return
        made: list[tuple[str, Callable[[], Any]]] = [
            ("+", lambda: x + y),
            ("*", lambda: x * y),
            ("-", lambda: x - y),
            ("0.5 *", lambda: 0.5 * x - 1.0),
        ]
        if self.library.__name__ == "keras":
            ops = self.library.ops
            made += [
                ("maximum", lambda: ops.maximum(x, y * 0.5)),
                ("tanh", lambda: ops.tanh(x)),
                ("softmax", lambda: ops.softmax(x, axis=-1) * y),
                ("where", lambda: ops.where(x > 0.1, x, y)),
                ("flip", lambda: ops.flip(x, axis=1)),
                ("concatenate", lambda: ops.concatenate([x[:, 1:], y[:, :1]], axis=1)),
                ("transpose", lambda: ops.transpose(ops.transpose(x, (0, 2, 1)) * 2.0, (0, 2, 1))),
                ("cumsum", lambda: ops.cumsum(x, axis=1) * 0.3),
                ("mean", lambda: x - ops.mean(y, axis=1, keepdims=True)),
                ("einsum", lambda: ops.einsum("abc,adc->abd", x, y)[:, :, :3]),
                ("clip", lambda: ops.clip(x, -0.5, 0.7) + ops.square(y) * 0.1),
            ]
        text, make = self.pick(made)
        self.notes.append(f"{text}{tuple(x.shape)}")
        self.add(make())

    def again(self) -> None:
        """A layer that was called, on another tensor."""
        layer, shape = self.pick(self.shared or [(None, ())])
        found = [x for x in (*self.sequences, *self.vectors) if tuple(x.shape) == shape]
        if layer is not None and found:
            self.call(layer, self.pick(found))

    def freeze(self) -> None:
        for part in self.parts:
            if self.chance(0.12):
                part.trainable = False
                self.notes.append(f"{part.name} frozen")
        for part in self.parts:
            if not part.trainable and self.chance(0.3):
                part.trainable = True
                self.notes.append(f"{part.name} trainable again")

    def model(self) -> Any:
        if not self.vectors or self.chance(0.7):
            self.shrink()
        found = [self.vectors[-1]]
        for x in (*self.sequences[-2:], *self.vectors[-3:-1]):
            if self.chance(0.3) and all(x is not y for y in (*found, *self.inputs)):
                found.append(x)
        outputs = [self.layers.Dense(2, name=self.name("out"))(y) if self.chance(0.7) else y for y in found]
        if all(y is x for y in outputs for x in self.inputs):
            raise Impossible("an input as the only output")
        return self.library.Model(self.inputs, outputs, name="model")


def build(library: str, seed: int) -> Sample:
    """Raises Impossible where the library refuses the composition."""
    made = _Builder(importlib.import_module(library), np.random.default_rng(seed))
    try:
        made.start()
        for _ in range(int(made.rng.integers(2, 8))):
            made.step()
        model = made.model()
    except Exception as error:
        raise Impossible(str(error)) from error
    rng = np.random.default_rng(seed + 1)
    model.set_weights([_values(rng, w.shape, getattr(w, "path", w.name)) for w in model.weights])
    made.freeze()
    if not model.trainable_weights:
        raise Impossible("nothing is trained")
    return _compiled(made, model, rng)


def _values(rng: np.random.Generator, shape: Any, name: str) -> np.ndarray:
    values = rng.normal(size=tuple(shape)) * 0.5
    return np.abs(values) + 0.5 if "variance" in name else values


def _rows_added_up(library: Any) -> int:
    """How many of the optimizers add up the gradients of one row of an Embedding before they use them, as
    its gradient is. TensorFlow keeps a gradient for each index: tf_keras clips these by themselves, and
    Keras 3 there squares them by themselves too (on JAX, it adds up first)."""
    if library.__name__ == "tf_keras":
        return 5  # not the clipped one
    return 2 if library.backend.backend() == "tensorflow" else 6


def _compiled(made: _Builder, model: Any, rng: np.random.Generator) -> Sample:
    optimizers = made.library.optimizers
    makers: list[Callable[[], Any]] = [
        lambda: optimizers.SGD(0.05),
        lambda: optimizers.SGD(0.02, momentum=0.8),
        # an epsilon above the rounding of gradients
        lambda: optimizers.Adam(0.01, epsilon=1e-4),
        lambda: optimizers.RMSprop(0.01, epsilon=1e-4),
        lambda: optimizers.Adagrad(0.05),
        lambda: optimizers.SGD(0.05, clipnorm=0.3),
    ]
    if any(made.kinds):
        makers = makers[: _rows_added_up(made.library)]
    optimizer = made.pick(makers)()
    count = len(model.outputs)
    losses = [made.pick(("mse", "mae", "mse", None)) for _ in range(count)]
    losses[0] = losses[0] or "mse"
    options: dict[str, Any] = {"loss": losses if count > 1 else losses[0]}
    if count > 1 and all(losses) and made.chance(0.5):
        options["loss_weights"] = [made.pick((1.0, 0.5, 2.0)) for _ in range(count)]
    if count == 1 and made.chance(0.5):
        options["metrics"] = ["mae"]
    weighted = all(losses) and made.chance(0.4)
    if count == 1 and weighted and made.chance(0.5):
        options["weighted_metrics"] = ["mse"]
    model.compile(optimizer, **options)
    made.notes.append(
        f"{type(optimizer).__name__} clipnorm={optimizer.clipnorm}, {options}" + ", weighted" * weighted
    )
    x = []
    for tensor, words in zip(model.inputs, made.kinds):
        shape = (BATCH, *tensor.shape[1:])
        if words:
            ids = rng.integers(1, words, shape) * (rng.random(shape) > 0.4)
            ids[:, 1] = 1
            x.append(ids.astype("int32"))
        else:
            values = rng.normal(size=shape)
            if len(shape) == 3:
                values *= rng.random((*shape[:2], 1)) > 0.4
                values[:, 1] = 1.0
            x.append(values.astype("float32"))
    shapes = [(BATCH, *t.shape[1:]) for t in model.outputs]
    if any(None in shape for shape in shapes):  # sizes that the library does not infer
        made_of_x = model(x if len(x) > 1 else x[0], training=False)
        shapes = [tuple(np.shape(v)) for v in (made_of_x if isinstance(made_of_x, list) else [made_of_x])]
    y = [rng.normal(size=shape).astype("float32") for shape in shapes]
    weights = [rng.uniform(0.1, 2, BATCH).astype("float32") for _ in y] if weighted else None
    return Sample(made.library, model, x, y, weights, [loss is not None for loss in losses], made.notes)


# ---------------------------------------------------------------- comparing


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _one(values: list[Any] | None) -> Any:
    return None if values is None else values[0] if len(values) == 1 else values


def _run(model: Any, sample: Sample, steps: int, theirs: bool) -> Iterator[tuple[str, np.ndarray]]:
    """What is compared: predictions, the loss before, losses of the steps, predictions after."""
    labels = [y for y, trained in zip(sample.y, sample.trained) if trained or theirs]
    x, y, w = _one(sample.x), _one(labels), _one(sample.weights)
    for k, value in enumerate(_list(model.predict_on_batch(x))):
        yield f"prediction {k}", np.asarray(value)
    reset = getattr(model, "reset_metrics", lambda: None) if theirs else lambda: None
    reset()
    yield "loss of a test", np.ravel(_list(model.test_on_batch(x, y, sample_weight=w))[0])
    for k in range(steps):
        reset()
        yield f"loss {k}", np.ravel(_list(model.train_on_batch(x, y, sample_weight=w))[0])
    for k, value in enumerate(_list(model.predict_on_batch(x))):
        yield f"prediction {k} after", np.asarray(value)


def differences(
    library: str,
    seed: int,
    ways: tuple[str, ...] = WAYS,
    steps: int = 3,
    interpreted: bool = False,
    eager: bool = False,
) -> dict[str, str]:
    """By way, what differs or is refused; nothing where all agrees. Raises Impossible."""
    sample, found = build(library, seed), {}
    sample.model.run_eagerly = eager  # quicker there, where each model runs a few steps
    models: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in ways:
            try:
                if way in ("live", "traced"):
                    read = from_keras(build(library, seed).model, sample.x if way == "traced" else None)
                else:
                    sample.model.save(Path(folder) / f"m.{way}")
                    read = kcompile.load(Path(folder) / f"m.{way}")
                if interpreted:
                    read.use_engine(InterpreterEngine(read))
                models[way] = read if interpreted else kcompile.compile(read)
            except Exception as error:
                found[way] = _said(error)
        try:
            right = list(_run(sample.model, sample, steps, True))
        except Exception as error:
            raise Impossible(str(error)) from error
        for way, model in models.items():
            try:
                got = list(_run(model, sample, steps, False))
                differs = _first_difference(got, right)
                if differs and way not in ("live", "traced"):  # a file may not hold all that a model was
                    theirs = _read_there(library, seed, Path(folder) / f"m.{way}")
                    theirs.run_eagerly = eager
                    differs = _first_difference(got, list(_run(theirs, sample, steps, True)))
                if differs:
                    found[way] = differs
            except Exception as error:
                found[way] = _said(error)
    return found


def _read_there(library: str, seed: int, path: Path) -> Any:
    """The model of a file that their library wrote; made from the same configuration where it cannot read it,
    as Keras 3 cannot read what it writes of masks and of functions in .h5."""
    fresh = build(library, seed)
    try:
        return fresh.library.models.load_model(path)
    except Exception:
        classes = {type(layer).__name__: type(layer) for layer in fresh.model.layers}
        twin = fresh.model.from_config(fresh.model.get_config(), custom_objects=classes)
        twin.set_weights(fresh.model.get_weights())
        twin.compile_from_config(fresh.model.get_compile_config())
        return twin


def _first_difference(got: list[tuple[str, np.ndarray]], right: list[tuple[str, np.ndarray]]) -> str:
    for (what, b), (_, a) in zip(right, got, strict=True):
        if not (np.isfinite(a).all() or np.isfinite(b).all()):
            return ""  # both trained beyond all numbers
        error = np.abs(a - b).max() / max(1.0, np.abs(b).max()) if a.shape == b.shape else np.inf
        if not error < 2e-4:
            return f"{what} differs by {error:.2g}"
    return ""


def _said(error: Exception) -> str:
    kind = "refused" if isinstance(error, UnsupportedError) else type(error).__name__
    return f"{kind}: {' '.join(str(error).split())[:300]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=("keras", "tf_keras"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first model")
    parser.add_argument("--ways", default=",".join(WAYS), help="these, and traced, for Keras 3 on JAX")
    parser.add_argument("--steps", type=int, default=3, help="of training")
    parser.add_argument(
        "--compiled",
        type=int,
        default=5,
        metavar="N",
        help="here, every Nth model is compiled, and the interpreter runs the others",
    )
    parser.add_argument("--eager", action="store_true", help="there, without a compilation")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    ways = tuple(options.ways.split(","))
    for seed in range(options.seed, options.seed + options.count):
        interpreted = seed % options.compiled != 0
        try:
            found = differences(options.library, seed, ways, options.steps, interpreted, options.eager)
        except Impossible as error:
            counts["not possible there"] += 1
            if options.verbose:
                print(seed, "impossible:", " ".join(str(error).split())[:200], flush=True)
            continue
        except Exception:
            print(seed, traceback.format_exc(), flush=True)
            counts["crashed"] += 1
            continue
        counts["models"] += 1
        for way in ways:
            counts[f"{way}, {'interpreted' if interpreted else 'compiled'}"] += 1
        for way, text in found.items():
            counts[f"{way}, {'refused' if text.startswith('refused') else 'wrong'}"] += 1
            print(seed, way, text, flush=True)
        if found and options.verbose:
            print("   " + "\n   ".join(build(options.library, seed).notes), flush=True)
        if counts["models"] % 10 == 0:
            print(f"up to seed {seed}:", dict(sorted(counts.items())), flush=True)
    print("in all:", dict(sorted(counts.items())))


if __name__ == "__main__":
    main()

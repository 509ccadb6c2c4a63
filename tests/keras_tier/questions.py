"""A small model for each question of `kcompile.keras.semantics`, in which the Kerases differ.

A case is a function of a `Kit`, a Keras of whatever kind, and gives numbers or names; `@case` says which ones
belong to each answer. The same code runs in the real libraries and in ours. By itself, one library as JSON:
python questions.py keras|tf_keras, and python questions.py FOLDER for an unpacked Keras 2.2 or 2.3 (see
`old_keras`), from where the numbers of the first two columns come.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kit:
    """A Keras, and what makes a model of it one that is run.

    real: it is no edition of ours. old: it has Keras 2's graphs, which know no eager runs. optimizers: its
    module of optimizers. ready: a function of each model, before the model is run.
    """

    keras: Any
    real: bool = True
    old: bool = False
    optimizers: Any = None
    ready: Callable[[Any], Any] = lambda model: model

    @property
    def layers(self) -> Any:
        return self.keras.layers

    def run(self, model: Any) -> Any:
        """The model, ready to predict."""
        if self.real and not self.old:
            model.run_eagerly = True
        return self.ready(model)

    def model(self, inputs: Any, outputs: Any) -> Any:
        return self.keras.models.Model(inputs, outputs)

    def compiled(self, model: Any, optimizer: Any = "sgd", loss: Any = "mse", **options: Any) -> Any:
        """The model, ready to train and test."""
        if self.real and not self.old:
            options["run_eagerly"] = True
        model.compile(optimizer, loss, **options)
        return self.ready(model)

    def predicted(self, inputs: Any, output: Any, values: Any) -> list[float]:
        """Outputs, all in one list."""
        return np.ravel(self.run(self.model(inputs, output)).predict_on_batch(values)).tolist()

    def total(self, y: Any) -> Any:
        """The sum of all features over the steps that are there."""
        return self.layers.SimpleRNN(
            1, activation="linear", use_bias=False, kernel_initializer="ones", recurrent_initializer="ones"
        )(y)

    def one(self, units: int = 1, **options: Any) -> Any:
        """A Dense of ones."""
        return self.layers.Dense(units, kernel_initializer="ones", use_bias=False, **options)

    def make(self, kind: str, *arguments: Any, **options: Any) -> Any:
        """An optimizer."""
        return getattr(self.optimizers or self.keras.optimizers, kind)(*arguments, **options)


@dataclass(frozen=True)
class Case:
    """observe: what a Keras does. answers: that, by the answer of the table. live: whether it can be asked of
    a live model of the library (its own classes in scripts cannot be compiled)."""

    observe: Callable[[Kit], Any]
    answers: Mapping[Any, Any]
    live: bool = True
    optimizer: bool = False


CASES: dict[str, Case] = {}


def case(answers: Mapping[Any, Any], **options: Any) -> Callable[[Callable[[Kit], Any]], Any]:
    def register(function: Callable[[Kit], Any]) -> Any:
        CASES[function.__name__] = Case(function, answers, **options)
        return function

    return register


def number(value: Any) -> float:
    """A loss, of a list that begins with it too."""
    return float(np.ravel(value)[0])


# ---------------------------------------------------------------- masks

STEPS = np.array([[[1.0], [0.0], [100.0], [0.0]]], np.float32)  # 2 of 4 steps are there
OTHERS = np.array([[[1.0], [10.0], [0.0], [0.0]]], np.float32)


@case({"raises": "raises", "dropped": [105.0]})
def unsupported_mask(kit: Kit) -> Any:
    """Sums of 1 and the value, of all steps, after a convolution, which has no masks."""
    x = kit.layers.Input((4, 1))
    conv = kit.layers.Conv1D(1, 1, kernel_initializer="ones", bias_initializer="ones")
    try:
        return kit.predicted(x, kit.total(conv(kit.layers.Masking()(x))), STEPS)
    except Exception:
        return "raises"


@case({"all": [2.0], "any": [112.0]})
def merged_masks(kit: Kit) -> Any:
    """Steps that are there in the first, or in the second."""
    x, y = kit.layers.Input((4, 1)), kit.layers.Input((4, 1))
    added = kit.layers.Add()([kit.layers.Masking()(x), kit.layers.Masking()(y)])
    return kit.predicted([x, y], kit.total(added), [STEPS, OTHERS])


@case({True: [1, 10, 100, 0], False: [1, 0, 0, 0]})
def merges_leave_out_masked(kit: Kit) -> Any:
    x, y = kit.layers.Input((4, 1)), kit.layers.Input((4, 1))
    product = kit.layers.Multiply()([kit.layers.Masking()(x), kit.layers.Masking()(y)])
    return kit.predicted([x, y], product, [STEPS, OTHERS])


@case({True: [103.0, 103.0, 101.0], False: [105.0, 105.0, 103.0]}, live=False)
def operators_keep_masks(kit: Kit) -> Any:
    """Sums of x + 1, x + y and a slice of one of these. Keras 2 has no operators: what they give is no tensor
    of Keras."""
    x, y = kit.layers.Input((4, 1)), kit.layers.Input((4, 1))
    masked, ones = kit.layers.Masking()(x), np.ones_like(STEPS)
    return [
        total
        for value in (masked + 1.0, masked + y, (masked + y)[:, 1:])
        for total in kit.predicted([x, y], kit.total(value), [STEPS, ones])
    ]


@case({True: [1, 0, 100, 0], False: "raises"})
def merges_one(kit: Kit) -> Any:
    x = kit.layers.Input((4, 1))
    try:
        return kit.predicted(x, kit.layers.Add()([x]), STEPS)
    except Exception:
        return "raises"


# ---------------------------------------------------------------- recurrent layers


def accumulate(kit: Kit, **options: Any) -> Any:
    """Sums so far, at each step."""
    return kit.layers.SimpleRNN(
        1,
        activation="linear",
        use_bias=False,
        return_sequences=True,
        kernel_initializer="ones",
        recurrent_initializer="ones",
        **options,
    )


@case({True: [12.0], False: [14.0]})
def mask_with_initial_state(kit: Kit) -> Any:
    """10 and 1 for each step that counts, of which 2 are there."""
    x, state = kit.layers.Input((4, 1)), kit.layers.Input((1,))
    layer = kit.layers.SimpleRNN(
        1,
        activation="linear",
        kernel_initializer="zeros",
        bias_initializer="ones",
        recurrent_initializer="ones",
    )
    last = layer(kit.layers.Masking()(x), initial_state=state)
    return kit.predicted([x, state], last, [STEPS, np.array([[10.0]], np.float32)])


@case(
    {
        "first state": [1, 1, 101, 101, 101, 101, 102, 102, 1, 1, 102, 101],
        "last cell's": [1, 1, 101, 101, 101, 101, 102, 102, 1, 1, 102, 102],
        "previous output": [1, 1, 101, 101, 0, 0, 102, 102, 1, 1, 102, 102],
    }
)
def masked_output(kit: Kit) -> Any:
    """Two batches through a stateful layer, the second of which begins with steps that are not there; and one
    through two cells, which add up what they see, the second all that the first has."""
    x = kit.layers.Input(batch_shape=(1, 4, 1))
    model = kit.run(kit.model(x, accumulate(kit, stateful=True)(kit.layers.Masking()(x))))
    later = np.array([[[0.0], [0.0], [1.0], [0.0]]], np.float32)
    # JAX's predict_on_batch keeps no states; a call does
    run = model if kit.real and not kit.old else model.predict_on_batch
    found = np.ravel([np.asarray(run(values)) for values in (STEPS, later)]).tolist()
    ones = dict(kernel_initializer="ones", recurrent_initializer="ones", use_bias=False)
    cells = [kit.layers.SimpleRNNCell(1, activation="linear", **ones) for _ in range(2)]
    x = kit.layers.Input((4, 1))
    stack = kit.layers.RNN(cells, return_sequences=True)
    return found + kit.predicted(x, stack(kit.layers.Masking()(x)), STEPS)


@case({True: [True, True], False: [False, False]})
def bidirectional_zeros_masked(kit: Kit) -> Any:
    """Whether the outputs of both directions are zeros at the steps that are masked."""
    x = kit.layers.Input((4, 1))
    both = kit.layers.Bidirectional(accumulate(kit), merge_mode="sum")
    found = kit.predicted(x, both(kit.layers.Masking()(x)), STEPS)
    return [found[1] == 0, found[3] == 0]


@case({True: "with constants", False: "alone"}, live=False)
def constants_in_build(kit: Kit) -> Any:
    """Which shapes a cell's build is given. Keras 3's RNN has no constants."""
    seen: list[Any] = []

    class Cell(kit.layers.Layer):  # type: ignore[misc, name-defined]
        state_size = output_size = 1

        def build(self, input_shape: Any) -> None:
            several = isinstance(input_shape, list) and isinstance(input_shape[0], tuple)
            seen.append("with constants" if several else "alone")
            self.built = True

        def call(self, inputs: Any, states: Any, constants: Any = None) -> Any:
            return inputs + states[0] + constants[0], [states[0]]

    x, constant = kit.layers.Input((2, 1)), kit.layers.Input((1,))
    kit.layers.RNN(Cell())(x, constants=constant)
    return seen[0]


# ---------------------------------------------------------------- layers


@case({True: ["float64", 3.0, "float32", 3.0], False: ["raises", "raises"]})
def layers_cast_floats(kit: Kit) -> Any:
    """The type and the sum that a layer of one float type makes of another."""
    told: list[Any] = []
    for of_input, of_layer in (("float32", "float64"), ("float64", "float32")):
        x = kit.layers.Input((3,), dtype=of_input)
        try:
            y = kit.one(dtype=of_layer)(x)
            told += [str(y.dtype).split("'")[-2 if "'" in str(y.dtype) else -1]]
            told += kit.predicted(x, y, np.ones((1, 3), of_input))
        except Exception:
            told.append("raises")
    return told


@case({"x / 5": [0.7, 0.0, 1.0], "x / 6": [2 / 3, 1 / 12, 11 / 12]})
def hard_sigmoid(kit: Kit) -> Any:
    x = kit.layers.Input((3,))
    values = np.array([[1.0, -2.5, 2.5]], np.float32)
    return kit.predicted(x, kit.layers.Activation("hard_sigmoid")(x), values)


@case({"corners": [0.0, 1.0, 2.0, 2.0], "middles": [0.0, 0.5, 1.5, 2.0]})
def bilinear(kit: Kit) -> Any:
    x = kit.layers.Input((1, 2, 1))
    values = np.array([[[[0.0], [2.0]]]], np.float32)
    return kit.predicted(x, kit.layers.UpSampling2D((1, 2), interpolation="bilinear")(x), values)


@case({"rows": [3.0], "steps": [4.0]})
def time_distributed(kit: Kit) -> Any:
    """The mean of the batch for a normalisation at each of two steps, whose values are 2 and 4: of both, or
    at last of the second."""
    x = kit.layers.Input((2, 1))
    layer = kit.layers.TimeDistributed(kit.layers.BatchNormalization(momentum=0.0))
    model = kit.model(x, kit.one()(kit.layers.Flatten()(layer(x))))
    ready = kit.compiled(model, kit.make("SGD", 0.0))
    ready.train_on_batch(np.tile(np.array([[[2.0], [4.0]]], np.float32), (3, 1, 1)), np.ones((3, 1)))
    return statistics(kit, ready, "mean")


@case({True: [2.25], False: [1.5]})
def mask_runs_models(kit: Kit) -> Any:
    """The moving mean of a normalisation in a model at a step whose values are 3: half of it, or three
    quarters after two runs."""
    x = kit.layers.Input((1, 1))
    norm = kit.layers.BatchNormalization(momentum=0.5, input_shape=(1,))
    layer = kit.layers.TimeDistributed(kit.keras.models.Sequential([norm]))
    model = kit.model(x, kit.one()(kit.layers.Flatten()(layer(x))))
    ready = kit.compiled(model, kit.make("SGD", 0.0))
    ready.train_on_batch(np.full((3, 1, 1), 3.0, np.float32), np.ones((3, 1)))
    return statistics(kit, ready, "mean")


def statistics(kit: Kit, model: Any, kind: str) -> list[float]:
    """Moving means or variances."""
    found = [v for v in model.weights if f"moving_{kind}" in getattr(v, "path", v.name)]
    read = kit.keras.backend.get_value if kit.old else value_of
    return np.ravel([read(v) for v in found]).tolist()


def value_of(variable: Any) -> Any:
    return variable.numpy() if hasattr(variable, "numpy") else variable.value


def normalised(kit: Kit, shape: tuple[int, ...], masked: bool, trainable: bool = True) -> Any:
    x = kit.layers.Input(shape)
    norm = kit.layers.BatchNormalization(momentum=0.0, epsilon=0.0, trainable=trainable)
    y = norm(kit.layers.Masking()(x) if masked else x)
    return kit.compiled(kit.model(x, y), kit.make("SGD", 0.0))


@case({"batch": [1.0], "moving": [10.0]})
def frozen_batch_norm(kit: Kit) -> Any:
    """The mean square of 2 and 4, or of -1 and 1."""
    model = normalised(kit, (1,), masked=False, trainable=False)
    x = np.array([[2.0], [4.0]], np.float32)
    return [number(model.train_on_batch(x, x * 0))]


@case({"yes": [2.0] * 4, "if fused": [4.0, 4.0, 2.0, 2.0], "no": [4.0] * 4})
def batch_norm_counts_masked(kit: Kit) -> Any:
    """Moving means of 3, 5 and two steps that are not there; in three axes, and in four."""
    found = []
    for shape in ((4, 2), (2, 2, 2)):
        model = normalised(kit, shape, masked=True)
        x = np.repeat(np.array([3.0, 0.0, 5.0, 0.0], np.float32), 2).reshape(1, *shape)
        model.train_on_batch(x, x)
        found += statistics(kit, model, "mean")
    return found


@case({"biased": [1.0, 1.0], "twice if fused": [2.0, 4.0], "once if fused": [1.0, 2.0]})
def moving_variance(kit: Kit) -> Any:
    """Of 2 and 4: in two axes, and in four."""
    found = []
    for shape in ((1,), (1, 1, 1)):
        model = normalised(kit, shape, masked=False)
        x = np.reshape(np.array([2.0, 4.0], np.float32), (2, *shape))
        model.train_on_batch(x, x)
        found += statistics(kit, model, "variance")
    return found


@case({"plain": [1.5, 5.25], "debiased": [3.0, 7.0]})
def moving_averages(kit: Kit) -> Any:
    """The moving mean after a batch of 3 and after one of 9."""
    x = kit.layers.Input((1,))
    norm = kit.layers.BatchNormalization(momentum=0.5)
    model = kit.compiled(kit.model(x, norm(x)), kit.make("SGD", 0.0))
    found = []
    for value in (3.0, 9.0):
        model.train_on_batch(np.full((2, 1), value, np.float32), np.ones((2, 1)))
        found += statistics(kit, model, "mean")
    return found


@case(
    {
        "tiled": [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0],
        "gates tiled": [1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0],
        "diagonal": [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    }
)
def identity(kit: Kit) -> Any:
    """The first rows of a kernel [2, 4] and of an LSTM's recurrent one, [2, 8]."""
    x = kit.layers.Input((2,))
    dense = kit.run(kit.model(x, kit.layers.Dense(4, kernel_initializer="identity")(x)))
    x = kit.layers.Input((3, 1))
    lstm = kit.run(kit.model(x, kit.layers.LSTM(2, recurrent_initializer="identity")(x)))
    return [*dense.get_weights()[0][0].tolist(), *lstm.get_weights()[1][0].tolist()]


# ---------------------------------------------------------------- models


def nested(kit: Kit) -> tuple[Any, Any]:
    """A model of a model of two layers, and of a third, and the model inside."""
    inner = kit.keras.models.Sequential(
        [kit.one(2, input_shape=(2,), name="first"), kit.one(2, name="second")], name="inner"
    )
    model = kit.keras.models.Sequential([inner, kit.one(1, name="head")])
    return model, inner


@case({"own": [True, False], "each layer": [False, False]})
def trainable_of_model(kit: Kit) -> Any:
    _, inner = nested(kit)
    inner.trainable = False
    return [inner.layers[0].trainable, inner.trainable]


def moved(model: Any, samples: np.ndarray) -> list[bool]:
    """Which weights a step changes."""
    before = model.get_weights()
    model.train_on_batch(samples, np.zeros((len(samples), 1)))
    return [bool(np.abs(a - b).max() > 0) for a, b in zip(before, model.get_weights())]


@case({"all flags": [1, 4.0], "own flag": [2, 4.0]})
def trained_weights(kit: Kit) -> Any:
    """How many weights a step changes, where a layer in a frozen model is not frozen, and the loss."""
    model, inner = nested(kit)
    inner.trainable = False
    inner.get_layer("second").trainable = True
    ready = kit.compiled(model)
    x = np.ones((4, 2), np.float32) / 4
    return [sum(moved(ready, x)), number(ready.test_on_batch(x * 0, np.full((4, 1), 2.0)))]


@case({"all flags": [0.0], "own flag": [3.0]})
def moving_statistics(kit: Kit) -> Any:
    """The moving mean of a normalisation that is not frozen, in a frozen model."""
    norm = kit.layers.BatchNormalization(input_shape=(1,), momentum=0.0)
    inner = kit.keras.models.Sequential([norm])
    model = kit.keras.models.Sequential([inner, kit.one()])
    inner.trainable = False
    norm.trainable = True
    ready = kit.compiled(model)
    ready.train_on_batch(np.full((4, 1), 3.0, np.float32), np.ones((4, 1)))
    return statistics(kit, ready, "mean")


@case({True: [2.0], False: [0.0]})
def penalty_of_frozen(kit: Kit) -> Any:
    x = kit.layers.Input((2,))
    layer = kit.one(1, kernel_regularizer=kit.keras.regularizers.l2(1.0), trainable=False)
    return [number(kit.compiled(kit.model(x, layer(x))).test_on_batch(np.zeros((1, 2)), np.zeros((1, 1))))]


@case(
    {
        "trainable first": [[2], [2], [2, 3], [2], [2], [3, 1]],
        "by layer": [[2], [2], [2], [2], [2, 3], [3, 1]],
    }
)
def weights_of_inner(kit: Kit) -> Any:
    inner = kit.keras.models.Sequential([kit.layers.BatchNormalization(input_shape=(2,)), kit.one(3)])
    model = kit.run(kit.keras.models.Sequential([inner, kit.one(1)]))
    return [list(w.shape) for w in model.get_weights()]


@case({True: 1, False: 0}, live=False)
def builds_embedding_first(kit: Kit) -> Any:
    return len(kit.keras.models.Sequential([kit.layers.Embedding(3, 2)]).weights)


@case({True: 2, False: 1}, live=False)
def losses_bring_layers(kit: Kit) -> Any:
    """How many weights a model has, one of whose two layers only an added loss needs."""
    x = kit.layers.Input((2,))
    model = kit.model(x, kit.one()(x))
    try:
        added = kit.one()(x)
        model.add_loss(kit.layers.Lambda(lambda v: kit.keras.backend.mean(v))(added))
    except Exception:
        return "raises"
    return len(model.weights)


# ---------------------------------------------------------------- training


@case({False: [6.0], True: [2.0]})
def activity_by_sample(kit: Kit) -> Any:
    """The penalty on three samples of two ones."""
    x = kit.layers.Input((2,))
    y = kit.layers.Dense(
        2, kernel_initializer="identity", use_bias=False, activity_regularizer=kit.keras.regularizers.l1(1.0)
    )(x)
    ones = np.ones((3, 2), np.float32)
    return [number(kit.compiled(kit.model(x, y)).test_on_batch(ones, ones))]


def linear(kit: Kit, shape: tuple[int, ...] = (1,), **options: Any) -> Any:
    """A model whose output is its input, if not trained."""
    x = kit.layers.Input(shape)
    return kit.compiled(kit.model(x, kit.one(name="out")(x)), **options)


@case({"nonzero weights": [4.0], "weights": [2.0]})
def loss_divides_by(kit: Kit) -> Any:
    model, x = linear(kit), np.full((2, 1), 2.0, np.float32)
    return [number(model.test_on_batch(x, x * 0, sample_weight=np.array([1.0, 0.0])))]


@case({"as given": [1.0], "0 is -1": [2.0]})
def hinge_labels(kit: Kit) -> Any:
    """max(1 - 0 * 1, 0), or max(1 + 1 * 1, 0)."""
    return [number(linear(kit, loss="hinge").test_on_batch(ONES, ONES * 0))]


@case({"nothing": [2.0], "factor": [10.0]})
def class_weight_beside(kit: Kit) -> Any:
    """The loss, 1, of a sample that weighs 2, of a class that weighs 5."""
    model = linear(kit, optimizer=kit.make("SGD", 0.0))
    x, y = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    weights = {0: 1.0, 1: 5.0}
    return [number(model.train_on_batch(x, y, sample_weight=np.array([2.0]), class_weight=weights))]


@case({"as losses": [6.5, 6.5], "by weights": [3.25, 3.25]})
def weighted_metrics(kit: Kit) -> Any:
    """The distances 1 and 4 of samples that weigh 1 and 3, over the number of weights or over their sum."""
    model, x = linear(kit, weighted_metrics=["mae"]), np.array([[1.0], [4.0]], np.float32)
    weights = np.array([1.0, 3.0])
    tested = model.evaluate(x, x * 0, sample_weight=weights, batch_size=2, verbose=0)
    return [float(tested[1]), float(model.test_on_batch(x, x * 0, sample_weight=weights)[1])]


@case({False: "raises", True: [4.0]})
def step_weights_by_shape(kit: Kit) -> Any:
    model, x = linear(kit, (2, 1)), np.array([[[2.0], [4.0]]], np.float32)
    try:
        return [number(model.test_on_batch(x, x * 0, sample_weight=np.array([[2.0, 0.0]])))]
    except Exception:
        return "raises"


@case({False: [3.5, 2.0], True: [2.0, 2.0]})
def mask_weighs_metrics(kit: Kit) -> Any:
    """The mean distance of a sample of four steps, and of one of which one step is there; in two batches,
    and in one."""
    x = kit.layers.Input((4, 1))
    model = kit.compiled(kit.model(x, kit.one()(kit.layers.Masking()(x))), metrics=["mae"])
    values = np.array([[[1.0], [1.0], [1.0], [1.0]], [[6.0], [0.0], [0.0], [0.0]]], np.float32)
    return [float(model.evaluate(values, values * 0, batch_size=batch, verbose=0)[1]) for batch in (1, 2)]


@case({"loss": [0.75], "shapes": [0.5]})
def accuracy_by(kit: Kit) -> Any:
    """Of binary labels of two classes: elements that agree, or samples."""
    x = kit.layers.Input((2,))
    model = kit.model(x, kit.layers.Activation("linear")(x))
    model = kit.compiled(model, loss="binary_crossentropy", metrics=["accuracy"])
    scores = np.array([[0.9, 0.8], [0.3, 0.2]], np.float32)
    labels = np.array([[1.0, 1.0], [0.0, 1.0]], np.float32)
    return [float(model.test_on_batch(scores, labels)[1])]


@case({"rounded": [0.75], "threshold": [1.0]})
def binary_accuracy(kit: Kit) -> Any:
    """Of 1.7, which is 2 when rounded, and of 1.2, 0.2 and -0.2."""
    x = np.array([[1.7], [1.2], [0.2], [-0.2]], np.float32)
    model = linear(kit, metrics=["binary_accuracy"])
    return [float(model.test_on_batch(x, np.array([[1.0], [1.0], [0.0], [0.0]]))[1])]


@case({"minus": [-0.6], "plus": [0.6]})
def cosine_proximity(kit: Kit) -> Any:
    x = kit.layers.Input((2,))
    model = kit.model(x, kit.layers.Activation("linear")(x))
    model = kit.compiled(model, metrics=["cosine_proximity"])
    return [float(model.test_on_batch(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]]))[1])]


def reported(model: Any, x: Any, y: Any, **options: Any) -> list[str]:
    """Names in the history of an epoch."""
    return list(model.fit(x, y, epochs=1, batch_size=4, verbose=0, **options).history)


ONES = np.ones((4, 1), np.float32)


@case(
    {
        "given": ["accuracy", "mae", "MeanSquaredError"],
        "own": ["acc", "mean_absolute_error"],
        "given function": ["accuracy", "mae", "mean_squared_error"],
    }
)
def metric_names(kit: Kit) -> Any:
    found = [
        reported(linear(kit, metrics=[metric]), ONES, ONES)
        for metric in ("accuracy", "mae", "MeanSquaredError")
        if not (kit.old and metric[0] == "M")
    ]
    return [name for names in found for name in names if name != "loss"]


@case({"always": ["loss", "weighted_mean_absolute_error"], "if taken": ["loss", "mae"]})
def weighted_prefix(kit: Kit) -> Any:
    return sorted(reported(linear(kit, weighted_metrics=["mae"]), ONES, ONES, sample_weight=np.ones(4)))


def forked(kit: Kit, **options: Any) -> Any:
    """A model of two outputs, "b" and "a"; the second has no weights."""
    x = kit.layers.Input((1,))
    y = kit.one(name="b")(x)
    return kit.compiled(kit.model(x, [y, kit.layers.Activation("linear", name="a")(y)]), **options)


@case({"by output": [1, 3], "by name": [3, 1]})
def metrics_order(kit: Kit) -> Any:
    """The mean distances of "b" and "a", as they come."""
    model = forked(kit, loss=["mse", "mse"], metrics={"b": ["mae"], "a": ["mae"]})
    return [float(v) for v in model.evaluate(ONES, [ONES * 2, ONES * 4], verbose=0)[3:]]


@case({False: ["a_m", "b_m"], True: ["a_m", "b_m"]})
def metric_objects_renamed(kit: Kit) -> Any:
    """Names of metric objects, of a model that was trained before."""
    x = kit.layers.Input((1,))
    y = kit.one(name="b")(x)
    model = kit.model(x, [y, kit.layers.Activation("linear", name="a")(y)])
    metrics = [[kit.keras.metrics.MeanSquaredError(name="m")], [kit.keras.metrics.MeanSquaredError(name="m")]]
    options = {"run_eagerly": True} if kit.real and not kit.old else {}
    model.compile("sgd", ["mse", "mse"], metrics=metrics, **options)
    if kit.real:
        reported(model, ONES, [ONES, ONES])
    return sorted(set(reported(kit.ready(model), ONES, [ONES, ONES])) - {"loss", "a_loss", "b_loss"})


@case({"each for all": 4, "by output": 2})
def metrics_list(kit: Kit) -> Any:
    """How many metrics a list of two is."""
    names = reported(forked(kit, loss=["mse", "mse"], metrics=["mae", "mse"]), ONES, [ONES, ONES])
    return len(set(names) - {"loss", "a_loss", "b_loss"})


@case({True: ["b_loss", "loss"], False: ["loss"]})
def lone_loss_reported(kit: Kit) -> Any:
    return sorted(
        reported(
            forked(kit, loss={"b": "mse"} if kit.old else ["mse", None]),
            ONES,
            [ONES] if kit.old else [ONES, ONES],
        )
    )


@case({"left out": 0, "computed": 1})
def metrics_without_loss(kit: Kit) -> Any:
    model = forked(kit, loss={"b": "mse"} if kit.old else ["mse", None], metrics={"a": ["mae"]})
    """How many metrics of an output without a loss there are."""
    names = reported(model, ONES, [ONES] if kit.old else [ONES, ONES])
    return len([name for name in names if name.startswith("a_")])


@case({"first": ["val_loss", "loss"], "last": ["loss", "val_loss"]})
def validation_logs(kit: Kit) -> Any:
    return reported(linear(kit), ONES, ONES, validation_data=(ONES, ONES))


@case({"refused": ["raises", 4.0], "from 0 on": ["raises", "raises"], "weigh 1": [2.5, 4.0]})
def classes_without_weight(kit: Kit) -> Any:
    """The loss of classes 1 and 2, of which only 1, or both, have a weight, 4."""
    found: list[Any] = []
    labels = np.array([[1.0], [2.0]])
    for weights in ({1: 4.0}, {1: 4.0, 2: 4.0}):
        model = linear(kit, optimizer=kit.make("SGD", 0.0))
        try:
            found.append(float(model.train_on_batch(labels - 1, labels, class_weight=weights)))
        except Exception:
            found.append("raises")
    return found


# ---------------------------------------------------------------- optimizers


def walked(kit: Kit, optimizer: Any, steps: int = 3, scale: float = 1.0) -> list[float]:
    """The weights of two layers after some steps."""
    model = kit.compiled(kit.keras.models.Sequential([kit.one(1, input_shape=(1,)), kit.one(1)]), optimizer)
    for _ in range(steps):
        model.train_on_batch(ONES * scale, ONES * 0)
    return np.ravel(model.get_weights()).tolist()


@case({True: [0.72081, 0.72081], False: "raises"}, optimizer=True)
def old_optimizer_options(kit: Kit) -> Any:
    try:
        return walked(kit, kit.make("SGD", lr=0.1, decay=1.0))
    except Exception:
        return "raises"


@case({"together": [0.893934, 0.893934], "each": [0.85, 0.85]}, optimizer=True)
def clipnorm(kit: Kit) -> Any:
    return walked(kit, kit.make("SGD", 0.1, clipnorm=0.5))


@case(
    {"outside": [0.665463, 0.665463, 0.829593, 0.829593], "inside": [0.621783, 0.621783, 0.805701, 0.805701]},
    optimizer=True,
)
def epsilon(kit: Kit) -> Any:
    start = {} if kit.old else {"initial_accumulator_value": 0.0}  # of Keras 2 always
    made = [kit.make("RMSprop", 0.1, epsilon=0.5), kit.make("Adagrad", 0.1, epsilon=0.5, **start)]
    return [weight for optimizer in made for weight in walked(kit, optimizer)]


@case({True: [0.772279, 0.772279], False: [0.773335, 0.773335]}, optimizer=True)
def nadam_schedule_decay(kit: Kit) -> Any:
    return walked(kit, kit.make("Nadam", 0.1))


# ---------------------------------------------------------------- functions of K


@case({"paired": [1, 2, 2, 2], "all": [1, 2, 2, 2, 2]}, live=False)
def batch_dot(kit: Kit) -> Any:
    """The shape of a product of matrices [2, 2, 3] and [2, 3, 2]."""
    K = kit.keras.backend
    x, y = kit.layers.Input((2, 2, 3)), kit.layers.Input((2, 3, 2))
    product = kit.layers.Lambda(lambda both: K.batch_dot(both[0], both[1]))
    ones = [np.ones((1, 2, 2, 3), np.float32), np.ones((1, 2, 3, 2), np.float32)]
    return list(kit.run(kit.model([x, y], product([x, y]))).predict_on_batch(ones).shape)


@case({"of x": ["int32", "int32"], "floatx": ["float32", "float32"]}, live=False)
def likes(kit: Kit) -> Any:
    K = kit.keras.backend
    x = K.variable(np.array([1, 2]), dtype="int32")
    return [K.dtype(K.zeros_like(x)), K.dtype(K.ones_like(x))]


def observe(kit: Kit, names: Any = None) -> dict[str, Any]:
    """What the Keras does, by question."""
    found = {}
    for name in names or CASES:
        kit.keras.backend.clear_session()
        try:
            found[name] = CASES[name].observe(kit)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"[:300]
    return found


def opened(name: str) -> Kit:
    """A real Keras, by its package or the folder of an old one."""
    if os.path.isdir(name):
        from old_keras import load

        return Kit(load(name), old=True)
    return Kit(importlib.import_module(name))


if __name__ == "__main__":
    print(json.dumps(observe(opened(sys.argv[1]), sys.argv[2:])))

"""A small model for each question about masks, layers, models and functions of K."""

from __future__ import annotations

from typing import Any

import numpy as np
from asking import Kit, case, number

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


@case({True: [103.0], False: [105.0]}, live=False)
def one_mask_for_all(kit: Kit) -> Any:
    """The sum of the second output of a layer of one's own, by a merge that counts what is not masked."""

    class Twice(kit.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.supports_masking = True

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return [inputs, inputs + 1.0]

        def compute_output_shape(self, input_shape: Any) -> Any:
            return [input_shape, input_shape]

    x = kit.layers.Input((4, 1))
    return kit.predicted(x, kit.total(Twice()(kit.layers.Masking()(x))[1]), STEPS)


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


@case({"their own": [True, False], "of the model": [False, True]})
def training_of_calls(kit: Kit) -> Any:
    """Whether a Dropout that is called with training=True draws in predict; and whether a batch normalisation
    that is called with training=False takes statistics of its own in training."""
    x, ones = kit.layers.Input((100,)), np.ones((1, 100), np.float32)
    drawn = kit.predicted(x, kit.layers.Dropout(0.5)(x, training=True), ones)
    y = kit.layers.Input((1,))
    model = kit.compiled(kit.model(y, kit.one(1)(kit.layers.BatchNormalization()(y, training=False))))
    loss = number(model.train_on_batch(np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]])))
    return [bool((np.asarray(drawn) != 1).any()), loss < 3.0]  # 1 by their own, else near 5


@case({"told": True, "told if taken": False}, live=False)
def training_of_subclassed(kit: Kit) -> Any:
    """Whether a batch normalisation in a `call` that takes no `training` takes a batch's statistics."""
    layer = kit.layers.BatchNormalization()

    class Net(kit.keras.models.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def call(self, inputs: Any) -> Any:
            return self.layer(inputs)

    model = kit.compiled(Net())
    return number(model.train_on_batch(np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]]))) < 3.0


@case({True: [1.0, 1.0], False: [1.0, 2.0]})
def given_masks_go_on(kit: Kit) -> Any:
    """Where the input has no mask, and a call is given one of a single step: the sum of ones over steps, for
    which the mask counts; and the sum of a layer behind, of two steps."""
    x, there = kit.layers.Input((2, 1)), kit.layers.Input((2,), dtype="bool")
    ones = dict(activation="linear", use_bias=False, kernel_initializer="ones", recurrent_initializer="zeros")
    steps = kit.layers.SimpleRNN(1, return_sequences=True, **ones)(x, mask=there)
    values = [np.ones((1, 2, 1), np.float32), np.array([[True, False]])]
    last = kit.layers.SimpleRNN(1, **ones)(x, mask=there)
    return kit.predicted([x, there], last, values) + kit.predicted([x, there], kit.total(steps), values)


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


@case(
    {
        "zeros": [[0.0], [0.0], [0.0], [0.0]],
        "of a dtype": [[5.0], [5.0], [5.0], [0.0]],
        "of a size": [[3.0], [3.0], [3.0], [0.0]],
    },
    live=False,
)
def initial_states(kit: Kit) -> Any:
    """What a cell gives that passes its state on, which begins at 3, or 5 where a dtype is said: alone, one
    of two, and in a stateful layer, before and after its states are reset."""

    class Cell(kit.layers.Layer):  # type: ignore[misc, name-defined]
        state_size = output_size = 1

        def call(self, inputs: Any, states: Any) -> Any:
            return states[0] + 0.0 * inputs, [states[0]]

        def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
            if dtype is None:
                return kit.keras.ops.full((batch_size, 1), 3.0)
            return kit.keras.backend.tile(kit.keras.backend.constant([[5.0]]), [batch_size, 1])

    x, values = kit.layers.Input(batch_shape=(1, 2, 1)), np.ones((1, 2, 1), "float32")
    found = [kit.predicted(x, kit.layers.RNN(cell)(x), values) for cell in (Cell(), [Cell(), Cell()])]
    layer = kit.layers.RNN(Cell(), stateful=True)
    model = kit.run(kit.model(x, layer(x)))
    for _ in range(2):
        found.append(np.ravel(model.predict_on_batch(values)).tolist())
        layer.reset_states()
    return found


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


@case({"lowered": [0.5, 0.5], "left out": [0.0, 0.0]})
def masked_scores(kit: Kit) -> Any:
    """Scores of one query to two keys that are masked."""
    x, y = kit.layers.Input((1, 1)), kit.layers.Input((2, 1))
    layer = kit.layers.MultiHeadAttention(1, 1, kernel_initializer="ones")
    _, scores = layer(x, kit.layers.Masking()(y), return_attention_scores=True)
    values = [np.ones((1, 1, 1), np.float32), np.zeros((1, 2, 1), np.float32)]
    return kit.predicted([x, y], scores, values)


@case({"ignored": "not asked", "lowered": [0.0, 1.0, 0.5, 0.5], "left out": [0.0, 1.0, 0.0, 0.0]})
def softmax_mask(kit: Kit) -> Any:
    """Two pairs of values: the larger of the first is masked, and all of the second."""
    x, there = kit.layers.Input((2,)), kit.layers.Input((2,), dtype="bool")
    y = kit.layers.Softmax()(x, mask=there)
    values = np.array([[5.0, 1.0], [0.0, 0.0]], np.float32)
    return kit.predicted([x, there], y, [values, np.array([[False, True], [False, False]])])


@case({True: [1 / (1 + np.exp(-1))], False: [1.0]})
def attention_takes_masks(kit: Kit) -> Any:
    """What a second attention gives for a value of 1 and a masked 0, if its query of 1 looks at both."""
    x, y = kit.layers.Input((1, 1)), kit.layers.Input((2, 1))
    steps, found = kit.layers.Masking()(y), x
    for _ in range(2):
        found = kit.layers.MultiHeadAttention(1, 1, kernel_initializer="ones")(found, steps)
    values = [np.zeros((1, 1, 1), np.float32), np.array([[[1.0], [0.0]]], np.float32)]
    return kit.predicted([x, y], found, values)


@case({True: [8.0], False: [4.0]})
def projections_penalised(kit: Kit) -> Any:
    """A loss of 4, and the square of the output beside it."""
    x = kit.layers.Input((1,))
    layer = kit.layers.EinsumDense(
        "ab,bc->ac", 1, kernel_initializer="ones", activity_regularizer=kit.keras.regularizers.L2(1.0)
    )
    model = kit.compiled(kit.model(x, layer(x)))
    return [number(model.train_on_batch(np.full((1, 1), 2.0, np.float32), np.zeros((1, 1), np.float32)))]


@case({"of the shape": ["small"], "of the equation": ["large"]})
def einsum_fans(kit: Kit) -> Any:
    """Bounds of uniform numbers for 10 sums of 20 values each: sqrt(6 / 30) = 0.45; counted as a kernel of 20
    values for 10 places of a window, of 2 and 5: sqrt(6 / 140) = 0.21."""
    x = kit.layers.Input((20,))
    layer = kit.layers.EinsumDense("ab,bcd->acd", (2, 5))
    kit.model(x, layer(x))
    largest = np.abs(layer.get_weights()[0]).max()
    return ["small" if largest < 0.25 else "large"]


@case({"root": ["large"], "size": ["small"]}, live=False)
def vector_fans(kit: Kit) -> Any:
    """Bounds of uniform numbers for a vector of 10,000: sqrt(3 / 100) = 0.17, or sqrt(3 / 10,000)."""
    x = kit.layers.Input((1,))
    layer = kit.layers.Dense(10_000, bias_initializer="lecun_uniform")
    kit.model(x, layer(x))
    return ["large" if np.abs(layer.get_weights()[1]).max() > 0.1 else "small"]


@case({"1e-6": [0.03, 0.04], "1e-12": [0.6, 0.8]})
def smallest_norm(kit: Kit) -> Any:
    """A vector of length 5e-8."""
    x = kit.layers.Input((2,))
    return kit.predicted(x, kit.layers.UnitNormalization()(x), np.array([[3e-8, 4e-8]], np.float32))


@case({True: [2.0], False: [1.0]})
def identity_keeps_masks(kit: Kit) -> Any:
    """The mean of 2 and of a masked 0."""
    x = kit.layers.Input((2, 1))
    steps = kit.layers.Identity()(kit.layers.Masking()(x))
    mean = kit.layers.GlobalAveragePooling1D()(steps)
    return kit.predicted(x, mean, np.array([[[2.0], [0.0]]], np.float32))


@case({True: [2.0], False: [1.0]})
def scaling_keeps_masks(kit: Kit) -> Any:
    """The mean of 2 and of a masked 0."""
    x = kit.layers.Input((2, 1))
    steps = kit.layers.Rescaling(1.0)(kit.layers.Masking()(x))
    mean = kit.layers.GlobalAveragePooling1D()(steps)
    return kit.predicted(x, mean, np.array([[[2.0], [0.0]]], np.float32))


@case({"sorted": [[2, 3]], "as given": [[3, 2]]})
def normalized_axes(kit: Kit) -> Any:
    x = kit.layers.Input((2, 3))
    layer = kit.layers.LayerNormalization(axis=[2, 1], center=False)
    kit.model(x, layer(x))
    return [list(w.shape) for w in layer.get_weights()]


@case({"goes on": "runs", "counts": "raises"}, live=False)
def group_norm_mask(kit: Kit) -> Any:
    """A mask of steps."""
    x = kit.layers.Input((2, 3))
    try:
        kit.layers.GroupNormalization(1)(kit.layers.Masking()(x))
    except ValueError:
        return "raises"
    return "runs"


@case({"assigned": [1.0], "of the step": [2.0]})
def spectral_kernel(kit: Kit) -> Any:
    """The kernel after a step, which was 2 and is 1 in it. A loss of 0 moves nothing else."""
    x = kit.layers.Input((1,))
    kernel = kit.layers.Dense(1, kernel_initializer=kit.keras.initializers.Constant(2.0), use_bias=False)
    model = kit.compiled(kit.model(x, kit.layers.SpectralNormalization(kernel)(x)), kit.make("SGD", 1.0))
    model.train_on_batch(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    return np.ravel(kernel.get_weights()[0]).tolist()


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


@case({"none": [], "attributes": [1], "nested by key": [1, 2, 4, 3], "nested": [1, 2, 3, 4]}, live=False)
def layers_in_layers(kit: Kit) -> Any:
    """The units of the layers whose weights a layer of one's own has."""

    class Holder(kit.layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.single, self.several = kit.one(1), [kit.one(2)]
            self.named = {"b": kit.one(3), "a": kit.one(4)}

        def call(self, x: Any) -> Any:
            for layer in (self.single, *self.several, *self.named.values()):
                layer(x)
            return x

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    x = kit.layers.Input((2,))
    return [int(w.shape[-1]) for w in kit.model(x, Holder()(x)).weights]


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

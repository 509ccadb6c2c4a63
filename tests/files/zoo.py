"""Models that are made alike in Keras 3, in tf_keras and here: `MODELS`, by name.

Enters: a package (`keras`, `tf_keras`, `kcompile.keras`). Leaves: a model of it. Recurrent layers name their
activations, as defaults differ between vintages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

MODELS: dict[str, Callable[[Any], Any]] = {}
GATES: dict[str, Any] = {"recurrent_activation": "sigmoid"}


def model(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    MODELS[make.__name__] = make
    return make


def randomized(made: Any, seed: int = 0) -> Any:
    """Weights above zero, so that variances are."""
    generator = np.random.default_rng(seed)
    made.set_weights([np.abs(generator.normal(size=np.shape(w))) * 0.3 + 0.05 for w in made.get_weights()])
    return made


def samples(made: Any, n: int = 4) -> list[np.ndarray]:
    """Data for each input of a model."""
    generator = np.random.default_rng(1)
    found = []
    for x in made.inputs:
        shape = (n, *(d or 5 for d in x.shape[1:]))
        whole = "int" in str(x.dtype)
        found.append(
            generator.integers(0, 5, shape).astype("int32")
            if whole
            else generator.random(shape) < 0.6
            if "bool" in str(x.dtype)
            else generator.normal(size=shape).astype("float32")
        )
        if len(shape) == 3 and not whole:  # steps that Masking leaves out
            found[-1][0, -2:] = found[-1][1, :1] = 0
        if found[-1].dtype == bool:  # masks: Kerases differ in the outputs of samples without a step
            found[-1][:, 1] = True
    return found


# ---------------------------------------------------------------- parts


def coder(keras: Any, name: str = "coder") -> Any:
    """A functional model from 3 to 3."""
    x = keras.layers.Input((3,))
    return keras.models.Model(x, keras.layers.Dense(3, activation="tanh")(x), name=name)


def chain(keras: Any, name: str = "chain", stated: bool = True) -> Any:
    """A Sequential from 3 to 3, with weights that are not trained."""
    start = [keras.layers.Input((3,))] if stated else []
    return keras.models.Sequential(
        [*start, keras.layers.Dense(3, activation="tanh"), keras.layers.BatchNormalization()], name=name
    )


# ---------------------------------------------------------------- models in models


@model
def a_model_is_the_output(keras: Any) -> Any:
    x, y = keras.layers.Input((3,)), keras.layers.Input((3,))
    second = keras.models.Model(y, keras.layers.Dense(2)(y), name="decoder")
    return keras.models.Model(x, second(coder(keras)(x)))


@model
def called_twice_and_an_output(keras: Any) -> Any:
    a, b, inner = keras.layers.Input((3,)), keras.layers.Input((3,)), coder(keras)
    first, second = inner(a), inner(b)
    return keras.models.Model([a, b], [keras.layers.Subtract()([first, second]), second, first])


@model
def a_chain_called_twice(keras: Any) -> Any:
    a, b, inner = keras.layers.Input((3,)), keras.layers.Input((3,)), chain(keras)
    first, second = inner(a), inner(b)
    return keras.models.Model([a, b], [keras.layers.Subtract()([first, second]), second, first])


@model
def a_chain_built_by_its_call(keras: Any) -> Any:
    a, b, inner = keras.layers.Input((3,)), keras.layers.Input((3,)), chain(keras, stated=False)
    first, second = inner(a), inner(b)
    return keras.models.Model([a, b], [keras.layers.Subtract()([first, second]), second])


@model
def called_on_its_own_output(keras: Any) -> Any:
    x, inner = keras.layers.Input((3,)), coder(keras)
    return keras.models.Model(x, [inner(inner(x)), inner(x)])


@model
def called_on_its_own_input(keras: Any) -> Any:
    inner = coder(keras)
    return keras.models.Model(inner.inputs, keras.layers.Dense(2)(inner(inner.inputs[0])))


@model
def grown_from_a_model(keras: Any) -> Any:
    base = coder(keras)
    return keras.models.Model(base.inputs, [keras.layers.Dense(2)(base.outputs[0]), base.outputs[0]])


@model
def four_deep_called_twice_each(keras: Any) -> Any:
    made = coder(keras, "level0")
    for level in range(1, 5):
        x = keras.layers.Input((3,))
        made = keras.models.Model(x, keras.layers.Dense(3)(made(made(x))), name=f"level{level}")
    return made


@model
def chains_in_models_in_chains(keras: Any) -> Any:
    x = keras.layers.Input((3,))
    inner = keras.models.Model(x, keras.layers.Dense(3)(chain(keras, "deepest")(x)), name="middle")
    return keras.models.Sequential(
        [keras.layers.Input((3,)), inner, chain(keras, "tail"), keras.layers.Dense(2)]
    )


@model
def a_chain_that_begins_with_a_model(keras: Any) -> Any:
    return keras.models.Sequential([coder(keras), chain(keras), keras.layers.Dense(2)])


@model
def outputs_of_a_model_inside(keras: Any) -> Any:
    layers = keras.layers
    x, a = layers.Input((3,)), layers.Input((3,))
    h = layers.Dense(4)(x)
    inner = keras.models.Model(x, [h, layers.Dense(2)(h)], name="two_outputs")
    h, y = inner(a)
    g, z = inner(layers.Dense(3)(a))
    return keras.models.Model(a, [z, layers.Concatenate()([h, y]), g, y])


@model
def two_models_in_turns(keras: Any) -> Any:
    layers = keras.layers
    a, b, p, q = layers.Input((3,)), layers.Input((3,)), chain(keras, "p"), coder(keras, "q")
    return keras.models.Model([a, b], [layers.Dense(2)(layers.Concatenate()([q(p(a)), p(q(b))])), p(b), q(a)])


@model
def a_frozen_model_inside(keras: Any) -> Any:
    x, inner = keras.layers.Input((3,)), chain(keras)
    inner.trainable = False
    return keras.models.Model(x, keras.layers.Dense(2)(inner(x)))


@model
def a_frozen_part_of_a_model_inside(keras: Any) -> Any:
    x, inner = keras.layers.Input((3,)), chain(keras)
    inner.layers[0].trainable = False
    return keras.models.Model(x, keras.layers.Dense(2)(inner(x)))


@model
def two_towers_of_words(keras: Any) -> Any:
    layers = keras.layers
    x, a, b = (layers.Input((5,), dtype="int32") for _ in range(3))
    tower = keras.models.Model(x, layers.LSTM(3, **GATES)(layers.Embedding(6, 4)(x)), name="tower")
    both = layers.Multiply()([tower(a), tower(b)])
    return keras.models.Model([a, b], layers.Dense(1, activation="sigmoid")(both))


# ---------------------------------------------------------------- models in wrappers


@model
def a_model_at_every_step(keras: Any) -> Any:
    x = keras.layers.Input((5, 3))
    return keras.models.Model(x, keras.layers.TimeDistributed(coder(keras))(x))


@model
def wrappers_in_a_chain(keras: Any) -> Any:
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input((5, 3)),
            layers.TimeDistributed(chain(keras)),
            layers.TimeDistributed(coder(keras)),
            layers.LSTM(4, **GATES),
            layers.Dense(2),
        ]
    )


@model
def frames_of_images(keras: Any) -> Any:
    layers = keras.layers
    frame = keras.models.Sequential(
        [layers.Input((6, 6, 2)), layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten()],
        name="frame",
    )
    x = layers.Input((4, 6, 6, 2))
    rows = layers.TimeDistributed(frame)(x)
    return keras.models.Model(x, layers.Dense(2)(layers.GRU(3, reset_after=True, **GATES)(rows)))


@model
def wrappers_in_wrappers(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input((4, 5, 3))
    return keras.models.Model(x, layers.TimeDistributed(layers.TimeDistributed(coder(keras)))(x))


@model
def models_in_a_model_in_a_wrapper(keras: Any) -> Any:
    layers = keras.layers
    x, steps = layers.Input((3,)), layers.Input((5, 3))
    inner = keras.models.Model(x, layers.Dense(3)(chain(keras)(coder(keras)(x))), name="inner")
    return keras.models.Model(steps, layers.TimeDistributed(inner)(steps))


@model
def a_recurrent_layer_in_wrappers(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input((4, 5, 3))
    return keras.models.Model(x, layers.TimeDistributed(layers.Bidirectional(layers.LSTM(3, **GATES)))(x))


@model
def a_recurrent_model_in_a_wrapper(keras: Any) -> Any:
    layers = keras.layers
    inner = keras.models.Sequential(
        [
            layers.Input((5, 3)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True, **GATES)),
            layers.GRU(2, reset_after=True, **GATES),
        ],
        name="recurrent",
    )
    x = layers.Input((4, 5, 3))
    return keras.models.Model(x, layers.TimeDistributed(inner)(x))


@model
def cells_in_both_directions(keras: Any) -> Any:
    layers = keras.layers
    cells = [layers.LSTMCell(3, **GATES), layers.GRUCell(4, reset_after=True, **GATES)]
    x = layers.Input((5, 3))
    return keras.models.Model(x, layers.Bidirectional(layers.RNN(cells, return_sequences=True))(x))


@model
def a_frozen_wrapper(keras: Any) -> Any:
    x, wrapper = keras.layers.Input((5, 3)), keras.layers.TimeDistributed(chain(keras))
    y = wrapper(x)
    wrapper.trainable = False
    return keras.models.Model(x, keras.layers.Dense(2)(y))


@model
def a_frozen_part_in_a_wrapper(keras: Any) -> Any:
    x, inner = keras.layers.Input((5, 3)), chain(keras)
    inner.layers[0].trainable = False
    return keras.models.Model(x, keras.layers.Dense(2)(keras.layers.TimeDistributed(inner)(x)))


# Layers that are in two models, or in a wrapper and beside it. Files of Keras 3 and tf_keras with them do not
# load there (`.keras`, `.weights.h5`: the weights stand once, and two layers are made), ours do.
SHARED: dict[str, Callable[[Any], Any]] = {}


def shared(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    SHARED[make.__name__] = make
    return make


@shared
def a_layer_in_a_model_and_beside_it(keras: Any) -> Any:
    x, a, common = keras.layers.Input((3,)), keras.layers.Input((3,)), keras.layers.Dense(3, name="common")
    inner = keras.models.Model(x, common(common(x)), name="inner")
    return keras.models.Model(a, [inner(a), common(a)])


@shared
def a_model_in_a_wrapper_and_beside_it(keras: Any) -> Any:
    inner, steps, x = coder(keras), keras.layers.Input((5, 3)), keras.layers.Input((3,))
    first = keras.layers.TimeDistributed(inner)(steps)
    return keras.models.Model([steps, x], [first, inner(x)])


@shared
def a_model_beside_its_wrapper(keras: Any) -> Any:
    inner, steps, x = coder(keras), keras.layers.Input((5, 3)), keras.layers.Input((3,))
    first = inner(x)
    rest = keras.layers.Flatten()(keras.layers.TimeDistributed(inner)(steps))
    return keras.models.Model([steps, x], keras.layers.Concatenate()([first, rest]))


@shared
def a_layer_in_a_wrapper_and_beside_it(keras: Any) -> Any:
    common, steps, x = keras.layers.Dense(3), keras.layers.Input((5, 3)), keras.layers.Input((3,))
    return keras.models.Model([steps, x], [keras.layers.TimeDistributed(common)(steps), common(x)])


# ---------------------------------------------------------------- layers of each kind


@model
def images(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input((9, 9, 2))
    h = layers.MaxPooling2D(2, padding="same")(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    h = layers.BatchNormalization()(layers.Conv2D(5, (2, 3), strides=2, use_bias=False)(h))
    h = layers.PReLU(shared_axes=[1, 2])(h)
    parts = [layers.GlobalMaxPooling2D()(h), layers.GlobalAveragePooling2D()(h), layers.Flatten()(h)]
    return keras.models.Model(x, layers.Dense(3, activation="softmax")(layers.Concatenate()(parts)))


@model
def signals_and_volumes(keras: Any) -> Any:
    layers = keras.layers
    a, b = layers.Input((12, 3)), layers.Input((5, 5, 5, 2))
    h = layers.AveragePooling1D(2)(layers.Conv1D(4, 3, dilation_rate=2, padding="causal")(a))
    g = layers.MaxPooling3D(2)(layers.Conv3D(3, 2)(b))
    h, g = layers.Reshape((-1,))(h), layers.Flatten()(g)
    return keras.models.Model([a, b], [layers.Dense(2)(h), layers.ELU(0.5)(layers.Dense(2)(g))])


@model
def words(keras: Any) -> Any:
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input((7,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True, **GATES)),
            layers.GRU(4, return_sequences=True, reset_after=True, **GATES),
            layers.TimeDistributed(layers.Dense(3, activation="relu")),
            layers.SimpleRNN(4),
            layers.Dense(5, activation="softmax"),
        ]
    )


@model
def merges(keras: Any) -> Any:
    layers = keras.layers
    a, b = layers.Input((4,)), layers.Input((4,))
    found = [
        layers.Add()([a, b]),
        layers.Subtract()([a, b]),
        layers.Multiply()([a, b]),
        layers.Average()([a, b]),
        layers.Maximum()([a, b]),
        layers.Minimum()([a, b]),
        layers.Dot(1)([a, b]),
    ]
    h = layers.Dropout(0.4)(layers.LeakyReLU()(layers.Concatenate()(found)))
    return keras.models.Model([a, b], layers.Dense(2, kernel_regularizer="l2", name="head")(h))


# ---------------------------------------------------------------- masks, states, random numbers


@model
def masks_through_layers(keras: Any) -> Any:
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input((6, 3)),
            layers.Masking(0.0),
            layers.SimpleRNN(4, return_sequences=True),
            layers.Dropout(0.3),
            layers.Activation("tanh"),
            layers.TimeDistributed(layers.Dense(3)),
            layers.Bidirectional(layers.GRU(3, reset_after=True, **GATES), merge_mode="ave"),
            layers.Dense(2),
        ]
    )


@model
def masks_through_merges(keras: Any) -> Any:
    layers = keras.layers
    a, b = layers.Input((6, 3)), layers.Input((6, 3))
    p, q = layers.Masking()(a), layers.Masking()(b)
    rnn = layers.LSTM(3, return_sequences=True, **GATES)
    # Keras 3 names what joins their masks "concatenate", "concatenate_1", ... whatever layers are called.
    wide, long = layers.Concatenate(name="wide"), layers.Concatenate(1, name="long")
    both = [layers.Add()([p, q]), wide([rnn(p), rnn(q)]), long([p, q])]
    found = [layers.LSTM(2, **GATES)(y) for y in both]
    return keras.models.Model([a, b], [layers.Average()(found), layers.GlobalAveragePooling1D()(both[0])])


@model
def a_mask_at_every_step(keras: Any) -> Any:
    layers = keras.layers
    inner = keras.models.Sequential(
        [layers.Input((5, 3)), layers.Masking(), layers.LSTM(3, **GATES)], name="within"
    )
    x = layers.Input((4, 5, 3))
    return keras.models.Model(x, layers.GRU(2, reset_after=True, **GATES)(layers.TimeDistributed(inner)(x)))


@model
def a_masked_model_inside(keras: Any) -> Any:
    layers = keras.layers
    x, a = layers.Input((5, 3)), layers.Input((5, 3))
    inner = keras.models.Model(
        x, layers.LSTM(4, return_sequences=True, **GATES)(layers.Masking()(x)), name="reader"
    )
    return keras.models.Model(a, layers.Dense(1)(layers.SimpleRNN(3)(inner(a))))


@model
def keeps_states(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input(batch_shape=(4, 5, 3))
    h = layers.LSTM(3, return_sequences=True, stateful=True, **GATES)(x)
    h = layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True, stateful=True))(h)
    h = layers.RNN(
        [layers.LSTMCell(3, **GATES), layers.SimpleRNNCell(2)], return_sequences=True, stateful=True
    )(h)
    return keras.models.Model(x, layers.GRU(3, stateful=True, reset_after=True, **GATES)(h))


@model
def a_chain_that_keeps_states(keras: Any) -> Any:
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input(batch_shape=(4, 5, 3)),
            layers.GRU(3, stateful=True, reset_after=True, **GATES),
            layers.Dense(2),
        ]
    )


@model
def states_from_layer_to_layer(keras: Any) -> Any:
    layers = keras.layers
    a, b = layers.Input((5, 3)), layers.Input((4, 3))
    _, *states = layers.LSTM(4, return_state=True, **GATES)(a)
    h, *_ = layers.LSTM(4, return_sequences=True, return_state=True, **GATES)(b, initial_state=states)
    _, *both = layers.Bidirectional(layers.GRU(2, return_state=True, reset_after=True, **GATES))(a)
    g = layers.GRU(2, reset_after=True, go_backwards=True, **GATES)(h, initial_state=both[0])
    return keras.models.Model([a, b], [layers.Dense(2, activation="softmax")(h), g])


@model
def masks_given_to_calls(keras: Any) -> Any:
    layers = keras.layers
    x, there, state = layers.Input((5, 3)), layers.Input((5,), dtype="bool"), layers.Input((4,))
    both = layers.Bidirectional(layers.GRU(2, reset_after=True, **GATES))(x, mask=there)
    last = layers.SimpleRNN(4)(x, initial_state=state, mask=there)
    mean = layers.GlobalAveragePooling1D()(x, mask=there)
    return keras.models.Model([x, there, state], layers.Concatenate()([both, last, mean]))


@model
def noise_and_penalties(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input((6, 3))
    h = layers.LSTM(4, return_sequences=True, dropout=0.2, recurrent_dropout=0.3, **GATES)(x)
    h = layers.TimeDistributed(layers.Dropout(0.5))(layers.Dropout(0.3, noise_shape=(None, 1, 4), seed=3)(h))
    h = layers.Dense(
        3,
        kernel_constraint="max_norm",
        bias_regularizer=keras.regularizers.l1(0.01),
        kernel_regularizer=keras.regularizers.l1_l2(0.01, 0.02),
        kernel_initializer=keras.initializers.RandomUniform(-0.1, 0.2, seed=4),
    )(h)
    return keras.models.Model(x, layers.Dense(2, activity_regularizer="l2")(layers.Flatten()(h)))


@model
def activations_of_all_kinds(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input((4,))
    names = (
        "elu",
        "selu",
        "softplus",
        "softsign",
        "relu",
        "tanh",
        "sigmoid",
        "exponential",
        "linear",
        "softmax",
    )
    found = [layers.Activation(name)(x) for name in names]
    found += [
        layer(x)
        for layer in (layers.LeakyReLU(), layers.ELU(), layers.PReLU(), layers.Softmax(), layers.ReLU(3.0))
    ]
    return keras.models.Model(x, layers.Concatenate()(found))


@model
def directions_that_differ(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input((5, 3))
    same = {"return_sequences": True, **GATES}
    h = layers.Bidirectional(
        layers.LSTM(3, **same), backward_layer=layers.LSTM(3, go_backwards=True, **same)
    )(x)
    h = layers.Bidirectional(
        layers.LSTM(3, **same), backward_layer=layers.GRU(3, go_backwards=True, reset_after=True, **same)
    )(h)
    h = layers.Bidirectional(
        layers.SimpleRNN(3, go_backwards=True),
        merge_mode="mul",
        backward_layer=layers.SimpleRNN(3, activation="relu"),
    )(h)
    return keras.models.Model(x, h)

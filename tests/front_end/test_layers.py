"""Layers: values against real Keras 3, shapes, and configurations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kcompile.ir import interpreter
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import activations, constraints, initializers, layers, regularizers
from kcompile.keras.engine import Variable
from kcompile.keras.inputs import Input
from kcompile.keras.models import Model, Sequential
from kcompile.keras.tracing import Trace, trace_model
from kcompile_runtime.errors import UnsupportedError

RELATIVE, ABSOLUTE = 1e-5, 1e-6
LAST, FIRST = "channels_last", "channels_first"
SIGMOID = {"recurrent_activation": "sigmoid"}


def evaluate(model, *xs, training=False):
    """Outputs, updates and losses of a model, by the interpreter."""
    trace = Trace("test", training=training)
    inputs = [trace.input(f"x{i}", x.type) for i, x in enumerate(model.inputs)]
    trace.draws_from(model.random_state, training)
    outputs = trace_model(model, trace, inputs)
    trace.graph.outputs = {f"y{i}": y.value for i, y in enumerate(outputs)}
    trace.graph.outputs |= {f"loss{i}": loss.value for i, loss in enumerate(trace.losses)}
    trace.graph.verify()
    variables = trace.traced.state
    result = interpreter.run(trace.graph, len(xs[0]), {f"x{i}": x for i, x in enumerate(xs)}, variables)
    losses = [v for k, v in result.outputs.items() if k.startswith("loss")]
    return [result.outputs[f"y{i}"] for i in range(len(outputs))], result.updates, losses


def compute(function, *arrays):
    """A function over symbolic tensors, by the interpreter; the first axis is the batch."""
    trace = Trace("function")
    tensors = [
        trace.input(f"x{i}", TensorType((Batch(), *a.shape[1:]), a.dtype.name)) for i, a in enumerate(arrays)
    ]
    trace.graph.outputs["y"] = function(*tensors).value
    return interpreter.run(
        trace.graph, len(arrays[0]), {f"x{i}": a for i, a in enumerate(arrays)}, {}
    ).outputs["y"]


def draw(shape, seed=0, samples=3):
    return np.random.default_rng(seed).normal(0, 1, (samples, *shape)).astype("float32")


def close(ours, theirs, relative=RELATIVE):
    scale = np.abs(theirs).max(initial=0)
    np.testing.assert_allclose(ours, theirs, rtol=relative, atol=max(ABSOLUTE, relative * scale))


# name, arguments, shapes of the inputs without the batch
CASES = [
    ("Dense", {"units": 5}, (7,)),
    ("Dense", {"units": 5, "activation": "tanh", "use_bias": False}, (7,)),
    ("Dense", {"units": 4, "activation": "softmax"}, (3, 2, 6)),
    ("Activation", {"activation": "hard_sigmoid"}, (9,)),
    ("Dropout", {"rate": 0.5}, (9,)),
    ("Flatten", {}, (2, 3, 4)),
    ("Flatten", {"data_format": FIRST}, (2, 3, 4)),
    ("Flatten", {"data_format": FIRST}, (6,)),
    ("Reshape", {"target_shape": (4, 3)}, (6, 2)),
    ("Reshape", {"target_shape": (-1, 2, 2)}, (6, 2)),
    ("BatchNormalization", {}, (5,)),
    ("BatchNormalization", {"axis": 1, "epsilon": 0.1}, (4, 5, 3)),
    ("BatchNormalization", {"axis": -2, "center": False}, (4, 5, 3)),
    ("BatchNormalization", {"scale": False, "momentum": 0.5}, (4, 3)),
    ("GlobalMaxPooling2D", {}, (4, 5, 3)),
    ("GlobalAveragePooling2D", {"data_format": FIRST}, (4, 5, 3)),
    ("GlobalAveragePooling2D", {"keepdims": True}, (4, 5, 3)),
    ("GlobalMaxPooling1D", {}, (5, 3)),
    ("GlobalAveragePooling3D", {}, (2, 3, 4, 2)),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, (9, 2)),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "same", "strides": 2}, (9, 2)),
    ("Conv3D", {"filters": 2, "kernel_size": (2, 3, 2), "padding": "same"}, (4, 5, 3, 2)),
    ("Conv2D", {"filters": 4, "kernel_size": 1, "groups": 2}, (5, 6, 4)),
    ("Conv1DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}, (7, 2)),
    ("Conv2DTranspose", {"filters": 4, "kernel_size": (3, 2), "strides": 3}, (4, 5, 3)),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 5, "strides": 2, "data_format": FIRST}, (3, 4, 5)),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 0}, (4, 5, 2)),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}, (4, 5, 2)),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}, (2, 3, 4, 2)),
    ("DepthwiseConv1D", {"kernel_size": 4, "depth_multiplier": 2, "strides": 2}, (9, 3)),
    ("DepthwiseConv2D", {"kernel_size": (3, 2), "strides": 2, "padding": "same"}, (7, 8, 3)),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 3, "data_format": FIRST}, (3, 7, 8)),
    ("DepthwiseConv2D", {"kernel_size": 3, "dilation_rate": 2, "activation": "relu"}, (9, 9, 3)),
    ("SeparableConv1D", {"filters": 5, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}, (9, 3)),
    ("SeparableConv2D", {"filters": 5, "kernel_size": (2, 3), "depth_multiplier": 2}, (7, 8, 3)),
    ("Cropping1D", {"cropping": (2, 3)}, (9, 3)),
    ("Cropping2D", {"cropping": ((1, 2), (0, 1)), "data_format": FIRST}, (2, 7, 8)),
    ("Cropping3D", {"cropping": (1, 0, 2)}, (4, 3, 6, 2)),
    ("ZeroPadding1D", {"padding": (0, 2)}, (4, 3)),
    ("ZeroPadding2D", {"padding": ((1, 2), (0, 3))}, (4, 3, 2)),
    ("ZeroPadding3D", {"padding": 1, "data_format": FIRST}, (2, 3, 2, 3)),
    ("UpSampling1D", {"size": 3}, (4, 3)),
    ("UpSampling2D", {"size": (2, 3), "data_format": FIRST}, (2, 3, 4)),
    ("UpSampling2D", {"size": (2, 3), "interpolation": "bilinear"}, (3, 4, 2)),
    ("UpSampling2D", {"size": 5, "interpolation": "bilinear"}, (1, 2, 2)),
    ("UpSampling3D", {"size": (2, 3, 1)}, (2, 3, 2, 2)),
    ("Permute", {"dims": (3, 1, 2)}, (2, 3, 4)),
    ("RepeatVector", {"n": 3}, (4,)),
    ("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, (4,)),
    ("GaussianNoise", {"stddev": 0.5}, (4,)),
    ("SpatialDropout2D", {"rate": 0.5}, (3, 4, 2)),
    ("ConvLSTM1D", {"filters": 3, "kernel_size": 2, "recurrent_activation": "sigmoid"}, (4, 5, 2)),
    ("ConvLSTM2D", {"filters": 3, "kernel_size": (2, 3), "padding": "same", **SIGMOID}, (3, 5, 4, 2)),
    (
        "ConvLSTM2D",
        {"filters": 3, "kernel_size": 3, "strides": 2, "data_format": FIRST, **SIGMOID},
        (3, 2, 7, 8),
    ),
    ("ConvLSTM2D", {"filters": 2, "kernel_size": 2, "return_sequences": True, **SIGMOID}, (3, 4, 4, 2)),
    (
        "ConvLSTM2D",
        {"filters": 2, "kernel_size": 3, "dilation_rate": 2, "go_backwards": True, **SIGMOID},
        (3, 6, 6, 2),
    ),
    ("ConvLSTM3D", {"filters": 2, "kernel_size": 2, "use_bias": False, **SIGMOID}, (2, 3, 4, 3, 2)),
    ("MaxPooling1D", {"pool_size": 3, "strides": 2, "padding": "same"}, (8, 2)),
    ("AveragePooling1D", {"pool_size": 2}, (8, 2)),
    ("MaxPooling3D", {"pool_size": 2}, (4, 4, 5, 2)),
    ("AveragePooling3D", {"pool_size": 2, "padding": "same"}, (3, 4, 5, 2)),
    *(
        (
            "Conv2D",
            {
                "filters": 4,
                "kernel_size": (3, 2),
                "strides": s,
                "dilation_rate": d,
                "padding": p,
                "data_format": f,
                "activation": "relu",
            },
            (7, 8, 6),
        )
        for s, d in ((1, 1), (2, 1), ((3, 2), 1), (1, (2, 3)))
        for p in ("valid", "same")
        for f in (LAST, FIRST)
    ),
    *(
        (name, {"pool_size": size, "strides": s, "padding": p, "data_format": f}, (7, 8, 6))
        for name in ("MaxPooling2D", "AveragePooling2D")
        for size, s in ((2, None), ((3, 2), (2, 1)))
        for p in ("valid", "same")
        for f in (LAST, FIRST)
    ),
    *((name, {}, ((4, 3), (4, 3))) for name in ("Add", "Multiply", "Concatenate")),
    ("Add", {}, ((4, 3), (1, 3), (4, 1))),
    ("Multiply", {}, ((4, 3), (3,))),
    ("Concatenate", {"axis": 1}, ((4, 3), (2, 3), (1, 3))),
]


def several(shapes):
    return list(shapes) if isinstance(shapes[0], tuple) else [shapes]


def pair(name, arguments, shapes):
    """Our model and Keras' of one layer, with equal weights."""
    import keras

    ours = getattr(layers, name)(vintage="keras3", **arguments)
    inputs = [Input(s) for s in several(shapes)]
    model = Model(inputs, ours(inputs if len(inputs) > 1 else inputs[0]), vintage="keras3")
    theirs = getattr(keras.layers, name)(**arguments)
    tensors = [keras.Input(s) for s in several(shapes)]
    reference = keras.Model(tensors, theirs(tensors if len(tensors) > 1 else tensors[0]))
    weights = [np.abs(draw(v.shape, i, 1)[0]) + 0.1 for i, v in enumerate(model.weights)]
    model.set_weights(weights)
    reference.set_weights(weights)
    return model, reference


@pytest.mark.keras
@pytest.mark.parametrize("name, arguments, shapes", CASES, ids=str)
def test_layer_computes_what_keras_computes(name, arguments, shapes):
    model, reference = pair(name, arguments, shapes)
    xs = [draw(s, i) for i, s in enumerate(several(shapes))]
    (y,), updates, _ = evaluate(model, *xs)
    close(y, np.asarray(reference(xs)))
    assert updates == {}
    assert model.count_params() == reference.count_params()
    assert model.output_shape == reference.output_shape
    ours, theirs = model.layers[-1], reference.layers[-1]
    names = [v.path.rpartition("/")[2] for v in ours.weights]
    if name.startswith("Depthwise"):  # as Keras 2 calls it
        names[0] = names[0].removeprefix("depthwise_")
    assert names == [v.name for v in theirs.weights]
    full = [(None, *s) for s in several(shapes)]
    asked = full if len(full) > 1 else full[0]
    assert ours.compute_output_shape(asked) == tuple(theirs.compute_output_shape(asked))


@pytest.mark.keras
@pytest.mark.parametrize(
    "arguments, shape",
    [({}, (5,)), ({"axis": 1, "momentum": 0.8}, (4, 3, 2)), ({"center": False, "scale": False}, (6,))],
)
def test_batch_normalization_trains_as_keras_3(arguments, shape):
    model, reference = pair("BatchNormalization", arguments, shape)
    x = draw(shape, samples=7)
    (y,), updates, _ = evaluate(model, x, training=True)
    close(y, np.asarray(reference([x], training=True)))
    for variable, theirs in zip(model.non_trainable_weights, reference.non_trainable_weights):
        close(updates[variable.path], np.asarray(theirs))


ACTIVATIONS = [
    ("softmax", {}),
    ("softmax", {"axis": 1}),
    ("elu", {}),
    ("elu", {"alpha": 0.3}),
    ("selu", {}),
    ("softplus", {}),
    ("softsign", {}),
    ("tanh", {}),
    ("sigmoid", {}),
    ("exponential", {}),
    ("linear", {}),
    ("relu", {}),
    ("relu", {"max_value": 1.0}),
    ("relu", {"threshold": 0.5}),
    ("relu", {"alpha": 0.2}),
    ("relu", {"alpha": 0.2, "max_value": 1.0, "threshold": 0.25}),
]


@pytest.mark.keras
@pytest.mark.parametrize("name, arguments", ACTIVATIONS, ids=str)
def test_activation_is_keras_s(name, arguments):
    import keras

    x = np.concatenate([draw((4, 5)) * 3, [[[0.0, 0.25, 0.5, 1.0, 90.0]] * 4]]).astype("float32")
    x[-1, :, 4] *= 1 if name != "exponential" else 0.5
    theirs = {("negative_slope" if k == "alpha" and name == "relu" else k): v for k, v in arguments.items()}
    ours = compute(lambda t: getattr(activations, name)(t, **arguments), x)
    close(ours, np.asarray(getattr(keras.activations, name)(x, **theirs)))


def test_hard_sigmoid_follows_the_vintage():
    x = np.array([[-4.0, -2.75, -1.0, 0.0, 1.0, 2.75, 4.0]], "float32")
    for vintage, expected in (
        ("keras2", np.clip(0.2 * x + 0.5, 0, 1)),
        ("keras3", np.clip(x / 6 + 0.5, 0, 1)),
    ):
        model = Sequential(
            [
                layers.Dense(
                    7,
                    activation="hard_sigmoid",
                    use_bias=False,
                    kernel_initializer="identity",
                    input_shape=(7,),
                    vintage=vintage,
                )
            ]
        )
        for copy in (model, Sequential.from_config(model.get_config())):
            close(evaluate(copy, x)[0][0], expected)
            assert copy.layers[0].get_config()["activation"] == "hard_sigmoid"


def test_dropout_scales_what_it_keeps_and_repeats_with_its_seed():
    model = Sequential([layers.Dropout(0.25, input_shape=(40, 50))])
    x = np.ones((4, 40, 50), "float32")
    (y,), _, _ = evaluate(model, x, training=True)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(evaluate(model, x)[0][0], x)
    np.testing.assert_array_equal(evaluate(model, x, training=True)[0][0], y)
    model.random_state.step.assign(1)  # the next step
    assert (evaluate(model, x, training=True)[0][0] != y).any()


def test_dropout_noise_shape_and_seed():
    model = Sequential([layers.Dropout(0.5, noise_shape=(None, 1, None), seed=7, input_shape=(6, 8))])
    x = np.ones((5, 6, 8), "float32")
    (y,), _, _ = evaluate(model, x, training=True)
    assert (y == y[:, :1]).all() and len(np.unique(y)) == 2
    other = Sequential.from_config(model.get_config())  # another model seed, the same layer seed
    np.testing.assert_array_equal(evaluate(other, x, training=True)[0][0], y)


def test_a_call_may_fix_the_training_flag():
    x = Input((50,))
    model = Model(x, layers.Dropout(0.5)(x, training=True))
    for copy in (model, Model.from_config(model.get_config())):
        (y,), _, _ = evaluate(copy, np.ones((2, 50), "float32"))
        assert (y == 0).any()


def test_keras_2_moving_variance_is_the_unbiased_estimate():
    model = Sequential([layers.BatchNormalization(momentum=0.0, input_shape=(3,))])
    x = draw((3,), samples=6)
    _, updates, _ = evaluate(model, x, training=True)
    moving = updates[model.layers[0].moving_variance.path]
    close(moving, x.var(0) * 6 / (6 - 1.001))
    close(updates[model.layers[0].moving_mean.path], x.mean(0))


@pytest.mark.parametrize("vintage", ["keras2", "keras3"])
@pytest.mark.parametrize("freeze", ["layer", "model"])
def test_frozen_batch_normalization(vintage, freeze):
    inner = Sequential([layers.BatchNormalization(input_shape=(3,), vintage=vintage)], vintage=vintage)
    x = Input((3,))
    model = Model(x, inner(x), vintage=vintage)
    (inner.layers[0] if freeze == "layer" else inner).trainable = False
    data = draw((3,), samples=6) + 2
    (y,), updates, _ = evaluate(model, data, training=True)
    assert updates == {} and model.trainable_weights == []
    batch = (data - data.mean(0)) / np.sqrt(data.var(0) + 1e-3)
    close(y, batch if vintage == "keras2" else data / np.sqrt(1 + 1e-3))


def test_shared_batch_normalization_updates_twice():
    a, b = Input((2,)), Input((2,))
    norm = layers.BatchNormalization(momentum=0.5)
    model = Model([a, b], layers.add([norm(a), norm(b)]))
    x, y = np.full((4, 2), 2.0, "float32"), np.full((4, 2), 8.0, "float32")
    _, updates, _ = evaluate(model, x, y, training=True)
    close(updates[norm.moving_mean.path], np.full(2, (0 * 0.5 + 2 * 0.5) * 0.5 + 8 * 0.5))


# ---------------------------------------------------------------- losses of layers


@pytest.mark.parametrize("vintage, share", [("keras2", 1), ("tf_keras", 5), ("keras3", 5)])
def test_regularizers_count_once_and_activity_as_its_vintage_says(vintage, share):
    """Keras 2 does not divide the penalty on outputs by the batch size; tf_keras and Keras 3 do."""
    x = Input((4,))
    dense = layers.Dense(
        3,
        kernel_regularizer=regularizers.l1_l2(0.1, 0.2),
        vintage=vintage,
        bias_regularizer="l2",
        activity_regularizer=regularizers.l1(0.5),
    )
    model = Model(x, dense(x))
    dense.bias.assign([1, 2, 3])
    data = draw((4,), samples=5)
    (y,), _, losses = evaluate(model, data)
    w = dense.kernel.numpy()
    expected = [0.5 * np.abs(y).sum() / share, 0.1 * np.abs(w).sum() + 0.2 * (w**2).sum(), 0.01 * 14]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_frozen_weights_are_regularized_before_keras_3():
    for vintage, count in (("keras2", 1), ("tf_keras", 1), ("keras3", 0)):
        model = Sequential(
            [layers.Dense(2, kernel_regularizer="l2", input_dim=2, trainable=False)], vintage=vintage
        )
        assert len(evaluate(model, draw((2,)))[2]) == count


@pytest.mark.keras
@pytest.mark.parametrize(
    "constraint, arguments",
    [
        ("MaxNorm", {"max_value": 1.0, "axis": 0}),
        ("MaxNorm", {"max_value": 1.0, "axis": [0, 1]}),
        ("NonNeg", {}),
        ("UnitNorm", {"axis": 1}),
        ("MinMaxNorm", {"min_value": 0.9, "max_value": 1.1, "rate": 0.7, "axis": 0}),
    ],
)
def test_constraint_is_keras_s(constraint, arguments):
    import keras

    w = draw((4, 3), samples=5)
    ours = getattr(constraints, constraint)(**arguments)
    theirs = getattr(keras.constraints, constraint)(**arguments)
    trace = Trace()
    variable = Variable(w, "w")
    trace.graph.outputs["w"] = ours(variable.__tensor__(trace.graph)).value
    close(interpreter.run(trace.graph, 1, {}, {"w": w}).outputs["w"], np.asarray(theirs(w)))
    again = constraints.get({"class_name": constraint, "config": ours.get_config()})
    assert again.get_config() == arguments


def test_layers_hand_constraints_and_regularizers_to_their_variables():
    layer = layers.Conv2D(
        2,
        3,
        kernel_constraint="max_norm",
        bias_constraint=constraints.NonNeg(),
        kernel_regularizer="l1",
        input_shape=(5, 5, 1),
    )
    Sequential([layer])
    assert isinstance(layer.kernel.constraint, constraints.MaxNorm)
    assert isinstance(layer.bias.constraint, constraints.NonNeg)
    assert layer.kernel.regularizer.get_config()["l1"] == 0.01 and layer.bias.regularizer is None


# ---------------------------------------------------------------- initializers


@pytest.mark.parametrize(
    "name, deviation, bound",
    [
        ("glorot_uniform", np.sqrt(2 / 500), np.sqrt(6 / 500)),
        ("glorot_normal", np.sqrt(2 / 500), 2 * np.sqrt(2 / 500) / 0.8796),
        ("he_uniform", np.sqrt(2 / 200), np.sqrt(6 / 200)),
        ("he_normal", np.sqrt(2 / 200), 2 * np.sqrt(2 / 200) / 0.8796),
        ("lecun_uniform", np.sqrt(1 / 200), np.sqrt(3 / 200)),
        ("lecun_normal", np.sqrt(1 / 200), 2 * np.sqrt(1 / 200) / 0.8796),
        ("random_uniform", 0.05 / np.sqrt(3), 0.05),
        ("random_normal", 0.05, 0.5),
        ("truncated_normal", 0.05 * 0.8796, 0.1),
    ],
)
def test_initializers_have_their_deviation_and_bound(name, deviation, bound):
    w = initializers.get(name)((200, 300))
    assert w.dtype == np.float32 and abs(w.mean()) < 0.01 * deviation * 5
    assert abs(w.std() / deviation - 1) < 0.02 and np.abs(w).max() <= bound * 1.001


def test_initializers_follow_seeds():
    def weights():
        np.random.seed(3)
        return initializers.get("he_normal")((3, 4))

    np.testing.assert_array_equal(weights(), weights())
    seeded = initializers.RandomNormal(seed=5)
    np.testing.assert_array_equal(seeded((2, 2)), seeded((2, 2)))
    again = initializers.get({"class_name": "RandomNormal", "config": seeded.get_config()})
    np.testing.assert_array_equal(again((2, 2)), seeded((2, 2)))


def test_orthogonal_identity_constant():
    q = initializers.Orthogonal(gain=2.0)((3, 2, 4))
    close(q.reshape(6, 4).T @ q.reshape(6, 4), 4 * np.eye(4), 1e-5)
    np.testing.assert_array_equal(initializers.Identity(3)((2, 2)), 3 * np.eye(2))
    np.testing.assert_array_equal(initializers.Constant([1, 2])((2,)), [1, 2])
    conv = initializers.VarianceScaling(1.0, "fan_out", "untruncated_normal")((3, 3, 20, 50))
    assert abs(conv.std() - np.sqrt(1 / 450)) < 0.001


# ---------------------------------------------------------------- configurations


@pytest.mark.parametrize("name, arguments, shapes", CASES, ids=str)
def test_configuration_makes_the_same_layer(name, arguments, shapes):
    layer = getattr(layers, name)(**arguments)
    config = json.loads(json.dumps(layers.serialize(layer)))
    copy = layers.deserialize(config)
    assert type(copy) is type(layer) and layers.serialize(copy) == config
    for argument, value in arguments.items():  # where one number is for all axes, all of them say it
        said = np.ravel(config["config"][argument])
        assert value is None or set(np.ravel(value)) == set(said), argument


def test_custom_layer_and_custom_objects():
    class Scale(layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def build(self, input_shape):
            self.w = self.add_weight(name="w", shape=(input_shape[1],), initializer="ones")
            super().build(input_shape)

        def call(self, x, training=None):
            if not training:
                self.add_loss(x * 0.5)
            return x * self.w * self.factor

        def compute_output_shape(self, input_shape):
            return input_shape

    model = Sequential([Scale(3.0, input_shape=(2,))])
    (y,), _, losses = evaluate(model, np.ones((4, 2), "float32"))
    np.testing.assert_array_equal(y, np.full((4, 2), 3.0))
    np.testing.assert_allclose(losses, [0.5])  # the mean, as Keras 2.3.1 takes it
    copy = Sequential.from_config(model.get_config(), {"Scale": Scale})
    assert copy.layers[0].factor == 3.0
    with pytest.raises(UnsupportedError, match=r"layer 'Scale' is not known"):
        Sequential.from_config(model.get_config())


def test_weights_that_no_layer_of_the_model_owns_are_refused():
    class Wrapped(layers.Layer):
        def build(self, input_shape):
            outside.append(layers.Dense(2))

        def call(self, x):
            return outside[0](x)

    outside: list = []
    with pytest.raises(UnsupportedError, match="belongs to no layer of the model"):
        evaluate(Sequential([Wrapped(input_shape=(3,))]), draw((3,)))

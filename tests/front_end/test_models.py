"""Models: nodes and layers as Keras orders them, nesting, weights, configurations, summaries."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kcompile import tf_keras
from kcompile.ir import interpreter
from kcompile.keras import backend, layers, models, utils
from kcompile.keras.graphs import trace
from kcompile.keras.inputs import Input
from kcompile.keras.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
    Multiply,
)
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, UnsupportedError


@pytest.fixture(autouse=True)
def _names():
    backend.clear_session()


def predict(model, *xs):
    """The outputs by the interpreter."""
    traced = trace(model, "predict")
    graph = traced.graph
    graph.verify()
    inputs = dict(zip(graph.inputs, [np.asarray(x, "float32") for x in xs]))
    values = traced.state
    return list(interpreter.run(graph, len(xs[0]), inputs, values).outputs.values())


def draw(*shape):
    return np.random.default_rng(len(shape)).normal(0, 1, shape).astype("float32")


def two_towers():
    """Two inputs, a shared layer, two outputs."""
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(3, activation="tanh", name="shared")
    one, two = shared(a), shared(b)
    merged = layers.concatenate([one, two], name="merged")
    return Model([a, b], [Dense(1, name="x")(merged), Multiply(name="y")([one, two])])


# ---------------------------------------------------------------- functional models


def test_shared_layer_two_inputs_two_outputs():
    model = two_towers()
    p, q = draw(5, 4), draw(5, 4)
    w, c, v, d = model.get_weights()
    one, two = np.tanh(p @ w + c), np.tanh(q @ w + c)
    got = predict(model, p, q)
    np.testing.assert_allclose(got[0], np.concatenate([one, two], 1) @ v + d, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], one * two, rtol=1e-5, atol=1e-6)
    assert model.input_names == ["a", "b"] and model.output_names == ["x", "y"]
    assert model.input_shape == [(None, 4)] * 2 and model.output_shape == [(None, 1), (None, 3)]
    sources = {str(s) for n in trace(model, "predict").graph.live() for s in n.sources}
    assert {"shared", "shared:1", "merged", "x", "y"} <= sources


def test_layers_are_in_keras_order():
    x = Input((4,), name="in")
    deep = Dense(4, name="d2")(Dense(4, name="d1")(x))
    model = Model(input=x, output=Add(name="sum")([x, deep, Dense(4, name="side")(x)]))
    assert [layer.name for layer in model.layers] == ["in", "d1", "d2", "side", "sum"]
    assert model.get_layer("d2") is model.get_layer(index=2)
    with pytest.raises(ModelError, match=r"get_layer: expected .*d1.*Received: 'd9'"):
        model.get_layer("d9")
    with pytest.raises(ModelError, match="index below 5"):
        model.get_layer(index=5)


@pytest.mark.keras
def test_order_of_layers_and_weights_is_keras_s():
    import keras

    def build(k, layer):
        a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
        shared = layer.Dense(4, name="shared")
        norm = layer.BatchNormalization(name="norm")
        inner_in = k.Input((4,), name="inner_in")
        inner = k.Model(
            inner_in,
            layer.Dense(4, name="last")(layer.BatchNormalization(name="inner_norm")(inner_in)),
            name="inner",
        )
        one = shared(layer.Activation("relu", name="r")(a))
        two = norm(shared(b))
        mix = layer.Add(name="mix")([one, inner(two), layer.Dense(4, name="z")(a)])
        return k.Model([a, b], [layer.Dense(2, name="out")(mix), inner(mix), two])

    from kcompile import keras as ours_keras

    ours, theirs = build(ours_keras, layers), build(keras, keras.layers)
    assert [x.name for x in ours.layers] == [x.name for x in theirs.layers]
    ours.vintage = "keras3"
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    weights = [np.abs(draw(*w.shape)) + 0.1 for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    p, q = draw(3, 4), draw(3, 4)
    for mine, right in zip(predict(ours, p, q), theirs([p, q])):
        np.testing.assert_allclose(mine, np.asarray(right), rtol=1e-5, atol=1e-5)


def test_models_are_layers():
    inner = Sequential([Dense(3, input_shape=(4,)), BatchNormalization()], name="inner")
    x, y = Input((4,)), Input((4,))
    model = Model([x, y], Add()([inner(x), inner(y)]))
    assert model.layers[2] is inner and len(inner.nodes_made) == 3
    assert inner.get_output_at(0) is inner.outputs[0] and inner.get_input_at(1) is x
    p, q = draw(2, 4), draw(2, 4)
    expected = predict(inner, p)[0] + predict(inner, q)[0]
    np.testing.assert_allclose(predict(model, p, q)[0], expected, rtol=1e-6)
    assert len(model.weights) == 6 and model.count_params() == 27
    chain = Sequential([inner, Dense(1)])
    assert chain.input_shape == (None, 4) and chain.built


def test_variables_of_equal_layers_in_nested_models_are_told_apart():
    def inner(name):
        return Sequential([Dense(2, name="same", input_shape=(2,))], name=name)

    model = Sequential([inner("first"), inner("second")])
    names = [v.path for v in model.weights]
    assert len(set(names)) == 4
    x = draw(3, 2)
    w = model.get_weights()
    np.testing.assert_allclose(predict(model, x)[0], (x @ w[0]) @ w[2], rtol=1e-5, atol=1e-6)


def test_deep_chains_need_no_recursion():
    x = y = Input((2,))
    for _ in range(1500):
        y = Activation("linear")(y)
    assert len(Model(x, y).layers) == 1501


def test_unused_input_is_kept():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    model = Model([a, b], Dense(1)(a))
    assert [x.name for x in model.layers] == ["a", "b", "dense_1"]
    assert predict(model, draw(4, 2), draw(4, 3))[0].shape == (4, 1)


def test_one_layer_may_give_several_outputs():
    x = Input((2,), name="x")
    dense = Dense(2, name="d")
    first = dense(x)
    model = Model(x, [first, dense(first)])
    assert model.output_names == ["d", "d_1"]
    assert list(trace(model, "predict").graph.outputs) == ["d", "d_1"]


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: Model(Input((2,)), Dense(1, name="d")(Input((2,), name="lost"))),
            r"graph disconnected: .*'lost'",
        ),
        (lambda: Model(Input((2,)), np.ones(3)), "tensors that Input or layers gave"),
        (lambda: Model(Dense(1, name="d")(x := Input((2,))), x), r"inputs made by Input.*'d'"),
        (lambda: Model([x := Input((2,)), x], Dense(1)(x)), "inputs that differ"),
        (
            lambda: Model(x := Input((2,)), Dense(1, name="d")(Dense(1, name="d")(x))),
            "a name of its own for each layer. Received: several layers called 'd'",
        ),
        (lambda: Sequential([Dense(1, name="d"), Dense(1, name="d")]), "a layer of another name"),
        (lambda: Sequential([Dense]), "add: expected a layer"),
        (lambda: Sequential([Dense(2), Input((2,))]), "must be the first layer"),
        (lambda: Sequential([Dense(2)]).summary(), "its input shape is not known"),
        (lambda: Sequential([Dense(2)]).build(), "expected an input shape"),
        (lambda: Sequential().build((None, 2)), "has no layers"),
    ],
)
def test_models_that_make_no_sense(make, message):
    with pytest.raises(ModelError, match=message):
        make()


def test_a_class_without_call_holds_layers_and_computes_nothing():
    class Mine(Model):
        def __init__(self):
            super().__init__()
            self.out = Dense(2, input_shape=(3,))

    model = Mine()
    assert model.layers == [model.out]
    with pytest.raises(ModelError, match="defines no call"):
        model.predict(np.ones((2, 3)))
    with pytest.raises(UnsupportedError, match="inputs and outputs"):
        Model()


# ---------------------------------------------------------------- Sequential


def test_the_first_layer_may_say_the_shape_in_any_way():
    for first, shape in (
        (Dense(3, input_shape=(4,)), (None, 4)),
        (Dense(3, input_dim=4), (None, 4)),
        (Dense(3, batch_input_shape=(8, 4)), (8, 4)),
        (Dense(3, input_shape=(4,), batch_size=8), (8, 4)),
        (Dense(3, input_shape=(5, 4)), (None, 5, 4)),
    ):
        model = Sequential()
        model.add(first)
        model.add(Dense(2))
        assert model.input_shape == shape and model.output_shape == (*shape[:-1], 2)
        assert model.batch_size == shape[0] and len(model.layers) == 2
        assert model.input_names == [f"{first.name}_input"]
        copy = Sequential.from_config(json.loads(json.dumps(model.get_config())))
        assert copy.input_shape == shape


def test_pop_and_add():
    model = Sequential([Dense(3, input_shape=(4,)), Dense(2)])
    model.pop()
    assert model.output_shape == (None, 3)
    model.add(Dense(5))
    assert model.output_shape == (None, 5) and len(model.weights) == 4
    model.pop()
    model.pop()
    assert not model.built and model.weights == []
    model.add(Dense(1, input_dim=2))
    assert predict(model, draw(3, 2))[0].shape == (3, 1)


def test_the_shape_may_come_later():
    model = Sequential([Dense(3), Dense(2)])
    assert not model.built and model.weights == []
    with pytest.raises(AttributeError, match="input shape is not known"):
        _ = model.output_shape
    model.build((None, 4))
    assert [w.shape for w in model.get_weights()] == [(4, 3), (3,), (3, 2), (2,)]
    copy = Sequential.from_config(json.loads(json.dumps(model.get_config())))
    assert copy.input_shape == (None, 4)
    other = Sequential([Dense(3), Dense(2)])
    other(Input((6,)))
    assert other.built and other.input_shape == (None, 6)


def test_a_sequence_comes_back_from_all_its_configurations():
    model = Sequential([Dense(3, input_dim=4, name="dense_1"), Dense(2, name="dense_2")])
    config = model.get_config()
    early = config if isinstance(config, list) else config["layers"]  # Keras 2.2 wrote the list alone
    for made in (
        models.model_from_json(model.to_json()),
        models.model_from_yaml(model.to_yaml()),
        layers.deserialize({"class_name": "Sequential", "config": config}),
        models.model_from_config({"class_name": "Sequential", "config": early}),
        Sequential.from_config(early),
    ):
        assert [(layer.name, layer.units) for layer in made.layers] == [("dense_1", 3), ("dense_2", 2)]
        assert made.input_shape == (None, 4)


def test_input_layers_may_be_added():
    model = Sequential([Input((4,), name="in"), Dense(2)])
    assert len(model.layers) == 1 and model.input_names == ["in"]
    other = Sequential([layers.InputLayer(input_shape=(4,)), Dense(2)])
    for m in (model, other, Sequential.from_config(model.get_config())):
        assert m.output_shape == (None, 2)
    assert Sequential.from_config(model.get_config()).input_names == ["in"]


# ---------------------------------------------------------------- weights


def test_weights_go_out_and_in():
    model = two_towers()
    weights = [np.full_like(w, i) for i, w in enumerate(model.get_weights())]
    model.set_weights(weights)
    for got, given in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(got, given)
    with pytest.raises(InputError, match=r"expected 4 arrays. Received: 3"):
        model.set_weights(weights[:3])
    with pytest.raises(InputError, match=r"shape \(4, 3\) for 'shared/kernel'"):
        model.set_weights([weights[0].T, *weights[1:]])
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])


def test_trainable_flags():
    model = Sequential([Dense(3, input_dim=2), BatchNormalization(), Dense(1)])
    assert len(model.trainable_weights) == 6 and len(model.non_trainable_weights) == 2
    model.layers[0].trainable = False
    assert [v.path for v in model.trainable_weights] == [
        f"{model.layers[1].name}/gamma",
        f"{model.layers[1].name}/beta",
        "dense_2/kernel",
        "dense_2/bias",
    ]
    names = [v.path for v in model.weights]
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 8
    assert [v.path for v in model.weights] == names
    model.trainable = True  # Keras 2: what was frozen inside stays frozen
    assert len(model.trainable_weights) == 4
    later = Sequential([Dense(3, input_dim=2)], vintage="keras3")
    later.trainable = False
    assert not later.layers[0].trainable


def test_a_nested_model_gives_trainable_weights_first_in_keras_2():
    def build(vintage):
        inner = Sequential([BatchNormalization(input_shape=(2,)), Dense(3)], name="inner")
        return Sequential([inner, Dense(1)], vintage=vintage)

    def shapes(model):
        return [v.path.split("/")[1] for v in model.weights[:6]]

    moving = ["moving_mean", "moving_variance"]
    assert shapes(build("keras2")) == ["gamma", "beta", "kernel", "bias", *moving]
    assert shapes(build("keras3")) == ["gamma", "beta", *moving, "kernel", "bias"]


# ---------------------------------------------------------------- configurations


def nested():
    inner = Sequential([Dense(3, input_shape=(4,)), BatchNormalization()], name="inner")
    x = Input((4,), name="x")
    y = Input((4,), name="y")
    twice = inner(x), inner(y)
    return Model([x, y], [Add()(list(twice)), Dropout(0.2)(twice[1], training=True)], name="outer")


@pytest.mark.parametrize("make", [two_towers, nested], ids=lambda f: f.__name__)
def test_functional_configuration(make):
    model = make()
    model.layers[2].trainable = False
    config = json.loads(json.dumps(model.get_config()))
    copy = Model.from_config(config)
    assert copy.get_config() == model.get_config()
    assert len(copy.trainable_weights) == len(model.trainable_weights)
    copy.set_weights(model.get_weights())
    p, q = draw(3, 4), draw(3, 4)
    np.testing.assert_array_equal(predict(copy, p, q)[0], predict(model, p, q)[0])
    again = models.model_from_json(model.to_json())
    assert [x.name for x in again.layers] == [x.name for x in model.layers]
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(predict(again, p, q)[0], predict(model, p, q)[0])
    clone = models.clone_model(model)
    assert [w.shape for w in clone.get_weights()] == [w.shape for w in model.get_weights()]
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])


def test_calls_of_a_shared_layer_keep_their_numbers():
    """Whatever the order in which the way back from the outputs meets them."""
    shared = layers.Dense(4, activation="tanh")
    x, y = Input((4,)), Input((4,))
    first, second = shared(x), shared(y)
    model = Model([x, y], [layers.Dense(2)(second), layers.Dense(3)(first)])
    copy = Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    p, q = draw(3, 4), -draw(3, 4)
    for a, b in zip(predict(copy, p, q), predict(model, p, q)):
        np.testing.assert_array_equal(a, b)


def test_nested_models_count_their_nodes_from_one_as_keras_2_does():
    config = nested().get_config()
    add = next(e for e in config["layers"] if e["class_name"] == "Add")
    assert [place[:3] for place in add["inbound_nodes"][0]] == [["inner", 1, 0], ["inner", 2, 0]]


def test_keras_2_configurations_are_read():
    """As Keras 2.2 wrote them: the bare list of a Sequential, VarianceScaling for Glorot."""
    glorot = {
        "class_name": "VarianceScaling",
        "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
    }
    dense = {
        "name": "dense_7",
        "trainable": True,
        "batch_input_shape": [None, 5],
        "dtype": "float32",
        "units": 4,
        "activation": "relu",
        "use_bias": True,
        "kernel_initializer": glorot,
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}},
        "bias_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": None,
        "bias_constraint": None,
    }
    model = Sequential.from_config([{"class_name": "Dense", "config": dense}])
    assert model.output_shape == (None, 4) and model.layers[0].name == "dense_7"
    assert model.layers[0].kernel.regularizer.l2 == 0.01


def test_everything_unsupported_is_told_at_once():
    model = Sequential([Dense(2, input_dim=3), Dense(3), Dense(4)])
    config = model.get_config()
    config["layers"][0]["config"]["kernel_quantizer"] = "int8"
    config["layers"][1]["class_name"] = "Capsule"
    config["layers"][2]["config"]["activation"] = "sine"
    with pytest.raises(UnsupportedError) as error:
        Sequential.from_config(config)
    for part in ("3 layers", "'dense_1' (Dense)", "kernel_quantizer", "'Capsule'", "'sine'"):
        assert part in str(error.value)


def test_broken_configurations():
    config = two_towers().get_config()
    config["layers"][3]["inbound_nodes"][0][0][0] = "nobody"
    with pytest.raises(ModelError, match=r"nowhere made: .*merged"):
        Model.from_config(config)
    with pytest.raises(ModelError, match="not JSON"):
        models.model_from_json("{")
    with pytest.raises(ModelError, match="configuration of a model"):
        models.model_from_json(json.dumps(layers.serialize(Dense(3))))


# ---------------------------------------------------------------- summary


def lines_of(model, **kwargs):
    lines = []
    model.summary(print_fn=lines.append, **kwargs)
    return lines


def test_summary_of_a_chain():
    model = Sequential(
        [Conv2D(4, 3, input_shape=(8, 8, 1)), BatchNormalization(), MaxPooling2D(), Flatten(), Dense(10)]
    )
    assert lines_of(model) == [
        'Model: "sequential_1"',
        "_" * 65,
        "Layer (type)                 Output Shape              Param #   ",
        "=" * 65,
        "conv2d_1 (Conv2D)            (None, 6, 6, 4)           40        ",
        "_" * 65,
        "batch_normalization_1 (Batch (None, 6, 6, 4)           16        ",
        "_" * 65,
        "max_pooling2d_1 (MaxPooling2 (None, 3, 3, 4)           0         ",
        "_" * 65,
        "flatten_1 (Flatten)          (None, 36)                0         ",
        "_" * 65,
        "dense_1 (Dense)              (None, 10)                370       ",
        "=" * 65,
        "Total params: 426",
        "Trainable params: 418",
        "Non-trainable params: 8",
        "_" * 65,
    ]


def test_summary_with_connections():
    lines = lines_of(two_towers())
    assert lines[2].split() == ["Layer", "(type)", "Output", "Shape", "Param", "#", "Connected", "to"]
    assert len(lines[1]) == 98
    at = next(i for i, line in enumerate(lines) if line.startswith("shared (Dense)"))
    assert lines[at].split() == ["shared", "(Dense)", "(None,", "3)", "15", "a[0][0]"]
    assert lines[at + 1].split() == ["b[0][0]"]
    assert "Total params: 22" in lines


def test_summary_line_length(capsys):
    utils.print_summary(Sequential([Dense(3, input_dim=2)]), line_length=40)
    assert capsys.readouterr().out.splitlines()[1] == "_" * 40


def test_what_later_summaries_take_is_refused_in_keras2():
    model = Sequential([Dense(3, input_dim=2)])
    for options in ({"expand_nested": True}, {"show_trainable": True}, {"layer_range": ["a", "b"]}):
        with pytest.raises(InputTypeError, match="which Keras 2 has"):
            model.summary(**options)


def test_summaries_of_a_range_and_of_what_is_trained():
    layers = tf_keras.layers
    inner = tf_keras.Sequential([layers.Dense(2, input_shape=(3,), name="a")], name="inner")
    model = tf_keras.Sequential([inner, layers.Dense(1, name="b")])
    inner.trainable = False
    lines = lines_of(model, expand_nested=True, show_trainable=True, layer_range=["inner", "inner"])
    assert lines[4].split() == ["inner", "(Sequential)", "(None,", "2)", "8", "N"]
    assert lines[6].split() == ["|", "a", "(Dense)", "(None,", "2)", "8", "N", "|"]
    assert lines[8] == "=" * 76
    with pytest.raises(InputError, match="names among inner, b"):
        model.summary(layer_range=["inner", "c"])


# ---------------------------------------------------------------- training, by the interpreter


@pytest.fixture
def interpreted():
    from kcompile.interpreted import InterpreterEngine

    def attach(model):
        model.use_engine(InterpreterEngine(model))
        return model

    return attach


def test_a_model_trains_before_its_shape_is_known(interpreted):
    model = interpreted(Sequential([Dense(8, activation="relu"), Dense(1)]))
    model.compile("sgd", "mse")
    x = draw(32, 4)
    first = model.train_on_batch(x, x[:, :1])
    for _ in range(20):
        last = model.train_on_batch(x, x[:, :1])
    assert last < first and model(x).shape == (32, 1)


def test_layers_may_be_added_after_training(interpreted):
    model = interpreted(Sequential([Dense(3, input_dim=2)]))
    model.compile("sgd", "mse")
    x = draw(8, 2)
    model.fit(x, draw(8, 3), verbose=0)
    model.add(Dense(1))
    model.fit(x, x[:, :1], verbose=0)
    assert model.predict(x).shape == (8, 1)


# ---------------------------------------------------------------- utilities


def test_to_categorical_and_normalize():
    np.testing.assert_array_equal(utils.to_categorical([0, 2, 1]), np.eye(3)[[0, 2, 1]])
    assert utils.to_categorical(np.array([[1], [0]]), 4).shape == (2, 4)
    assert utils.to_categorical([[0, 1], [1, 1]]).shape == (2, 2, 2)
    with pytest.raises(InputError, match=r"whole numbers in \[0, 2\)"):
        utils.to_categorical([0, 2], 2)
    np.testing.assert_allclose(utils.normalize([[3.0, 4.0], [0.0, 0.0]]), [[0.6, 0.8], [0, 0]])


def test_names_and_sessions():
    assert [Dense(1).name, Dense(1).name, MaxPooling2D().name] == ["dense_1", "dense_2", "max_pooling2d_1"]
    backend.clear_session()
    assert Dense(1).name == "dense_1"


def test_data_format_setting():
    backend.set_image_data_format("channels_first")
    try:
        assert Conv2D(2, 3, input_shape=(1, 5, 6)).data_format == "channels_first"
        assert Sequential([Flatten(input_shape=(2, 3))]).layers[0].data_format == "channels_first"
    finally:
        backend.set_image_data_format("channels_last")
    with pytest.raises(ModelError, match="data_format"):
        backend.set_image_data_format("NCHW")

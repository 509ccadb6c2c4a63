"""Functions of K: values against numpy and Keras 3, in the interpreter and compiled; gradients."""

from __future__ import annotations

import numpy as np
import pytest

import kcompile
from kcompile.ir import interpreter, ops
from kcompile.ir.gradient import gradient
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import Input, Model, layers, settings
from kcompile.keras import backend as K
from kcompile.keras.tracing import Trace
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError

RNG = np.random.default_rng(0)


def values(*shape, low=-2.0, high=2.0):
    """Distinct numbers, apart from each other and from 0, so that finite differences make sense."""
    count = int(np.prod(shape))
    unit = (RNG.permutation(count) + 0.318) / count
    return (low + unit * (high - low)).astype("float32").reshape(shape)


X, Y, POSITIVE = values(3, 4), values(3, 4, low=-1.87, high=2.13), values(3, 4, low=0.2, high=3)
CUBE, IMAGE = values(3, 4, 5), values(3, 5, 6, 2)
PROBABLE = np.random.default_rng(1).dirichlet(np.ones(4), 3).astype("float32")
ONE_HOT = np.eye(4, dtype="float32")[[0, 3, 1]]


def norm(x, axis):
    return np.sqrt((x * x).sum(axis, keepdims=True))


def logistic(x):
    return 1 / (1 + np.exp(-x))


def windows(x, size, step, reduce):
    """Pooling of images without padding, by definition."""
    rows, columns = ((d - size) // step + 1 for d in x.shape[1:3])
    return np.stack(
        [
            np.stack(
                [
                    reduce(x[:, i * step : i * step + size, j * step : j * step + size], (1, 2))
                    for j in range(columns)
                ],
                1,
            )
            for i in range(rows)
        ],
        1,
    )


# name: function over K, its operands, what numpy says. The first axis of every operand is the batch.
SMOOTH = {
    "add": (lambda x, y: K.abs(x + y) - 2 * y, [X, Y], lambda x, y: np.abs(x + y) - 2 * y),
    "divide": (lambda x, y: 1 / y - x / y, [X, POSITIVE], lambda x, y: 1 / y - x / y),
    "pow": (lambda x: 2.0**x + x**2 + K.pow(x, 3), [X], lambda x: 2.0**x + x**2 + x**3),
    "sqrt": (K.sqrt, [POSITIVE], np.sqrt),
    "exp": (lambda x: K.exp(x) + K.log(K.exp(x)), [X], lambda x: np.exp(x) + x),
    "sin": (lambda x: K.sin(x) * K.cos(x), [X], lambda x: np.sin(x) * np.cos(x)),
    "clip": (lambda x: K.clip(x, -1, 1.3), [X], lambda x: np.clip(x, -1, 1.3)),
    "maximum": (
        lambda x, y: K.maximum(x, y) + K.minimum(x, 0.5),
        [X, Y],
        lambda x, y: np.maximum(x, y) + np.minimum(x, 0.5),
    ),
    "relu": (
        lambda x: K.relu(x, 0.1, 1.5, 0.2),
        [X],
        lambda x: np.where(x > 0.2, np.minimum(x, 1.5), 0.1 * (x - 0.2)),
    ),
    "elu": (lambda x: K.elu(x, 0.7), [X], lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1))),
    "softplus": (K.softplus, [X], lambda x: np.log1p(np.exp(x))),
    "softsign": (K.softsign, [X], lambda x: x / (1 + np.abs(x))),
    "tanh": (K.tanh, [X], np.tanh),
    "sigmoid": (K.sigmoid, [X], logistic),
    "hard_sigmoid": (K.hard_sigmoid, [X], lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "softmax": (K.softmax, [X], lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "sum": (K.sum, [X], np.sum),
    "sum_axes": (
        lambda x: K.sum(x, axis=[0, -1], keepdims=True),
        [CUBE],
        lambda x: x.sum((0, 2), keepdims=True),
    ),
    "mean": (lambda x: K.mean(x, axis=1), [CUBE], lambda x: x.mean(1)),
    "var": (lambda x: K.var(x, axis=-1) + K.std(x, axis=-1), [CUBE], lambda x: x.var(-1) + x.std(-1)),
    "prod": (lambda x: K.prod(x, axis=1), [POSITIVE], lambda x: x.prod(1)),
    "max": (lambda x: K.max(x, axis=1) + K.min(x, axis=1), [CUBE], lambda x: x.max(1) + x.min(1)),
    "cumsum": (lambda x: K.cumsum(x, axis=1), [CUBE], lambda x: x.cumsum(1)),
    "cumprod": (lambda x: K.cumprod(x, axis=-1), [POSITIVE], lambda x: x.cumprod(-1)),
    "logsumexp": (lambda x: K.logsumexp(x, axis=1), [X], lambda x: np.log(np.exp(x).sum(1))),
    "l2_normalize": (lambda x: K.l2_normalize(x, axis=1), [X], lambda x: x / norm(x, 1)),
    "dot": (lambda x: K.dot(x, K.constant(CUBE[0])), [X], lambda x: x @ CUBE[0]),
    "dot_nd": (
        lambda x: K.dot(x, K.constant(IMAGE[0].transpose(2, 0, 1))),
        [CUBE],
        lambda x: np.dot(x, IMAGE[0].transpose(2, 0, 1)[..., :5, :]),
    ),
    "batch_dot": (
        lambda x, y: K.batch_dot(x, y, axes=[1, 1]),
        [CUBE, X],
        lambda x, y: np.einsum("bij,bi->bj", x, y),
    ),
    "batch_dot_matrices": (
        lambda x, y: K.batch_dot(x, K.permute_dimensions(y, (0, 2, 1))),
        [CUBE, values(3, 2, 5)],
        lambda x, y: np.einsum("bik,bjk->bij", x, y),
    ),
    "batch_dot_vectors": (
        lambda x, y: K.batch_dot(x, y, 1),
        [X, Y],
        lambda x, y: (x * y).sum(1, keepdims=True),
    ),
    "transpose": (lambda x: K.dot(K.transpose(x), x), [X], lambda x: x.T @ x),
    "reshape": (lambda x: K.reshape(x, (-1, 2)) * 2, [X], lambda x: x.reshape(-1, 2) * 2),
    "reshape_batch": (lambda x: K.reshape(x, (K.shape(x)[0], 2, -1)), [X], lambda x: x.reshape(3, 2, 2)),
    "expand_squeeze": (lambda x: K.squeeze(K.expand_dims(x, 1) * 2, 1), [X], lambda x: 2 * x),
    "flatten": (lambda x: K.flatten(x) + 1, [CUBE], lambda x: x.ravel() + 1),
    "batch_flatten": (lambda x: K.batch_flatten(x) + 1, [CUBE], lambda x: x.reshape(3, -1) + 1),
    "concatenate": (
        lambda x, y: K.concatenate([x, 2 * y]),
        [X, Y],
        lambda x, y: np.concatenate([x, 2 * y], -1),
    ),
    "stack": (lambda x, y: K.stack([x, y], axis=1), [X, Y], lambda x, y: np.stack([x, y], 1)),
    "repeat": (lambda x: K.repeat(x, 3), [X], lambda x: np.repeat(x[:, None], 3, 1)),
    "repeat_elements": (lambda x: K.repeat_elements(x, 3, 2), [CUBE], lambda x: np.repeat(x, 3, 2)),
    "tile": (lambda x: K.tile(x, [1, 3]), [X], lambda x: np.tile(x, [1, 3])),
    "resize_images": (
        lambda x: K.resize_images(x, 2, 3, "channels_last"),
        [IMAGE],
        lambda x: x.repeat(2, 1).repeat(3, 2),
    ),
    "temporal_padding": (
        lambda x: K.temporal_padding(x, (1, 2)),
        [CUBE],
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 0))),
    ),
    "spatial_2d_padding": (
        lambda x: K.spatial_2d_padding(x, ((1, 0), (2, 1))),
        [IMAGE],
        lambda x: np.pad(x, ((0, 0), (1, 0), (2, 1), (0, 0))),
    ),
    "getitem": (
        lambda x: x[:, 1:4:2, -1] + x[..., 0][:, None, 1],
        [CUBE],
        lambda x: x[:, 1:4:2, -1] + x[..., 0][:, None, 1],
    ),
    "slice": (lambda x: K.slice(x, [0, 1, 0], [-1, 2, 3]), [CUBE], lambda x: x[:, 1:3, :3]),
    "reverse": (lambda x: K.reverse(x, [1, 2]), [CUBE], lambda x: x[:, ::-1, ::-1]),
    "switch": (
        lambda x, y: K.switch(K.greater(x, 0), x, lambda: 3 * y),
        [X, Y],
        lambda x, y: np.where(x > 0, x, 3 * y),
    ),
    "switch_rows": (
        lambda x, y: K.switch(x[:, 0] > 0, x, y),
        [X, Y],
        lambda x, y: np.where(x[:, :1] > 0, x, y),
    ),
    "pool_max": (lambda x: K.pool2d(x, (2, 2), (2, 2)), [IMAGE], lambda x: windows(x, 2, 2, np.max)),
    "pool_avg": (
        lambda x: K.pool2d(x, (2, 2), pool_mode="avg"),
        [IMAGE],
        lambda x: windows(x, 2, 1, np.mean),
    ),
    "batch_normalization": (
        lambda x: K.batch_normalization(
            x, K.constant([0.1] * 4), K.constant([2.0] * 4), K.constant([1.0] * 4), K.constant([3.0] * 4)
        ),
        [X],
        lambda x: (x - 0.1) / np.sqrt(2.001) * 3 + 1,
    ),
    "normalize_batch": (
        lambda x: K.normalize_batch_in_training(x, None, None, [0], 1e-3)[0],
        [X],
        lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3),
    ),
    "bias_add": (lambda x: K.bias_add(x, K.constant([1, 2])), [IMAGE], lambda x: x + [1, 2]),
    "bias_add_first": (
        lambda x: K.bias_add(x, K.constant([1, 2, 3, 4, 5]), "channels_first"),
        [IMAGE],
        lambda x: x + np.array([1, 2, 3, 4, 5])[:, None, None],
    ),
    "categorical_crossentropy": (
        lambda t, p: K.categorical_crossentropy(t, p),
        [ONE_HOT, PROBABLE],
        lambda t, p: -(t * np.log(p / p.sum(-1, keepdims=True))).sum(-1),
    ),
    "binary_crossentropy": (
        lambda t, p: K.binary_crossentropy(t, p, from_logits=True),
        [ONE_HOT, X],
        lambda t, p: -t * np.log(logistic(p)) - (1 - t) * np.log(logistic(-p)),
    ),
    "rnn": (
        lambda x: K.rnn(lambda i, s: (K.tanh(i + s[0]), [K.tanh(i + s[0])]), x, [K.zeros_like(x[:, 0])])[1],
        [CUBE],
        lambda x: tanh_rnn(x),
    ),
}
OTHER = {
    "gather": (
        lambda x: K.gather(K.permute_dimensions(x, (1, 0, 2)), K.constant([0, 3, 3], "int32")),
        [CUBE],
        lambda x: x.transpose(1, 0, 2)[[0, 3, 3]],
    ),
    "round": (K.round, [X * 1.5], np.round),
    "sign": (K.sign, [X], np.sign),
    "comparisons": (
        lambda x, y: K.cast(K.less(x, y), "float32") + K.cast(x >= y, "float32") * 2,
        [X, Y],
        lambda x, y: (x < y) + (x >= y) * 2.0,
    ),
    "equality": (
        lambda x: K.cast(x == x[:, :1], "float32") - K.cast(x != x[:, 1:2], "float32"),
        [X],
        lambda x: (x == x[:, :1]) * 1.0 - (x != x[:, 1:2]),
    ),
    "any": (
        lambda x: K.cast(K.any(x > 1, axis=1), "float32") + K.cast(K.all(x > -1, axis=1), "float32"),
        [X],
        lambda x: (x > 1).any(1) * 1.0 + (x > -1).all(1),
    ),
    "mean_of_bools": (lambda x: K.mean(x > 0), [X], lambda x: (x > 0).mean()),
    "argmax": (
        lambda x: K.cast(K.argmax(x) + 2 * K.argmin(x, 1), "float32"),
        [X],
        lambda x: x.argmax(-1) + 2.0 * x.argmin(1),
    ),
    "one_hot": (lambda x: K.one_hot(K.cast(K.argmax(x), "int32"), 5), [X], lambda x: np.eye(5)[x.argmax(-1)]),
    "batch_size": (lambda x: x / K.cast(K.shape(x)[0], "float32") + K.shape(x)[1], [X], lambda x: x / 3 + 4),
    "ones_like": (lambda x: K.ones_like(x) + K.zeros_like(x), [X], np.ones_like),
    "arange": (lambda x: x * K.arange(4, dtype="float32"), [X], lambda x: x * np.arange(4)),
    "in_top_k": (lambda x: K.cast(K.in_top_k(x, K.argmax(x), 1), "float32"), [X], lambda x: np.ones(len(x))),
    "stop_gradient": (lambda x: K.stop_gradient(x) * 2, [X], lambda x: 2 * x),
    "in_train_phase": (lambda x: K.in_train_phase(lambda: x, 2 * x), [X], lambda x: 2 * x),
}
ALL = {**SMOOTH, **OTHER}


def tanh_rnn(x):
    state, outputs = 0, []
    for t in range(x.shape[1]):
        state = np.tanh(x[:, t] + state)
        outputs.append(state)
    return np.stack(outputs, 1)


def trace_of(function, arrays, training=False):
    trace = Trace("test", training)
    inputs = [trace.input(f"x{i}", TensorType((Batch(), *a.shape[1:]))) for i, a in enumerate(arrays)]
    result = function(*inputs)
    trace.graph.outputs["y"] = result.value
    trace.graph.verify()
    return trace, inputs, result


def interpret(trace, arrays, precision="float32"):
    given = {f"x{i}": a for i, a in enumerate(arrays)}
    state = trace.traced.state
    return interpreter.run(trace.graph, len(arrays[0]), given, state, precision).outputs


def close(ours, theirs, tolerance=2e-5):
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    assert np.shape(ours) == np.shape(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", ALL)
def test_values(name):
    function, arrays, expected = ALL[name]
    if name == "dot_nd":
        arrays = [CUBE[..., :5]]
    trace, _, _ = trace_of(function, arrays)
    with np.errstate(all="ignore"):
        right = np.asarray(expected(*[a.astype("float64") for a in arrays]))
    close(interpret(trace, arrays)["y"], right)
    (compiled,) = kcompile.compile_trace(trace.traced)(len(arrays[0]), arrays)
    close(compiled, right)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_finite_differences(name):
    function, arrays, _ = SMOOTH[name]
    trace, inputs, result = trace_of(function, arrays)
    loss = ops.reduce_sum(ops.square(result + 0.3))
    found = gradient(loss, inputs)
    trace.graph.outputs = {
        "loss": loss.value,
        **{f"d{i}": d.value for i, d in enumerate(found) if d is not None},
    }
    exact = [a.astype("float64") for a in arrays]
    results = interpret(trace, exact, "float64")
    assert any(d is not None for d in found)
    for i in range(len(arrays)):
        direction = RNG.uniform(-1, 1, arrays[i].shape)

        def moved(step, i=i, direction=direction):
            given = [a + step * direction if k == i else a for k, a in enumerate(exact)]
            return interpret(trace, given, "float64")["loss"]

        numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5
        analytic = float((results[f"d{i}"] * direction).sum()) if f"d{i}" in results else 0.0
        assert abs(analytic - numeric) <= 1e-6 * (1 + abs(numeric))


KERAS = {
    "conv1d": (
        lambda x: K.conv1d(x, K.constant(IMAGE[0][:3, :5]), 2, "same"),
        lambda o, x: o.conv(x, IMAGE[0][:3, :5], 2, "same"),
        [CUBE],
    ),
    "conv2d": (
        lambda x: K.conv2d(x, K.constant(values_of(2, 3, 2, 4)), dilation_rate=(1, 2)),
        lambda o, x: o.conv(x, values_of(2, 3, 2, 4), 1, "valid", dilation_rate=(1, 2)),
        [IMAGE],
    ),
    "conv2d_transpose": (
        lambda x: K.conv2d_transpose(x, K.constant(values_of(3, 3, 4, 2)), (None, 10, 12, 4), (2, 2), "same"),
        lambda o, x: o.conv_transpose(x, values_of(3, 3, 4, 2), 2, "same"),
        [IMAGE],
    ),
    "pool_same": (
        lambda x: K.pool2d(x, (3, 2), (2, 1), "same", pool_mode="avg"),
        lambda o, x: o.average_pool(x, (3, 2), (2, 1), "same"),
        [IMAGE],
    ),
    "categorical_crossentropy": (
        lambda p: K.categorical_crossentropy(K.constant(ONE_HOT), p),
        lambda o, p: o.categorical_crossentropy(ONE_HOT, p),
        [PROBABLE],
    ),
    "sparse": (
        lambda p: K.sparse_categorical_crossentropy(K.constant([0, 3, 1], "int32"), p),
        lambda o, p: o.sparse_categorical_crossentropy(np.array([0, 3, 1]), p),
        [PROBABLE],
    ),
    "binary_crossentropy": (
        lambda p: K.binary_crossentropy(K.constant(ONE_HOT), p),
        lambda o, p: o.binary_crossentropy(ONE_HOT, p),
        [PROBABLE],
    ),
    "elu": (lambda x: K.elu(x, 0.5), lambda o, x: o.elu(x, 0.5), [X]),
    "logsumexp": (lambda x: K.logsumexp(x, 1), lambda o, x: o.logsumexp(x, 1), [X]),
    "hard_sigmoid_is_keras2": (lambda x: K.hard_sigmoid(x), lambda o, x: o.clip(0.2 * x + 0.5, 0, 1), [X]),
    "round": (lambda x: K.round(x), lambda o, x: o.round(x), [np.arange(-9, 9).reshape(2, 9) / 2]),
}


def values_of(*shape):
    return np.random.default_rng(7).normal(size=shape).astype("float32")


@pytest.mark.keras
@pytest.mark.parametrize("name", KERAS)
def test_against_keras(name):
    keras = pytest.importorskip("keras")
    ours, theirs, arrays = KERAS[name]
    arrays = [a.astype("float32") for a in arrays]
    static = Trace("test")  # labels are constants, so the batch is fixed
    result = ours(*[static.input(f"x{i}", TensorType(a.shape)) for i, a in enumerate(arrays)])
    static.graph.outputs["y"] = result.value
    close(interpret(static, arrays)["y"], np.asarray(theirs(keras.ops, *arrays)))


# ---------------------------------------------------------------- outside a model


def test_eval_of_variables_and_constants():
    a, b = K.variable([[1, 2], [3, 4]]), K.constant([[1, 0], [0, 2]])
    assert K.eval(K.dot(a, b) + 1).tolist() == [[2, 5], [4, 9]]
    assert K.eval(2 * a[0] - np.ones(2)).tolist() == [1, 3]
    assert K.get_value(a).tolist() == [[1, 2], [3, 4]]
    K.set_value(a, np.zeros((2, 2)))
    assert K.eval(K.sum(a)) == 0
    assert K.eval(K.zeros((2, 3))).shape == (2, 3) and K.is_variable(K.ones((2,)))
    assert K.eval(K.eye(2)).tolist() == [[1, 0], [0, 1]]
    assert K.int_shape(K.dot(a, b)) == (2, 2) and K.ndim(a) == 2 and K.dtype(a) == "float32"


def test_random_numbers():
    normal = K.eval(K.random_normal((200, 100), 3.0, 0.5))
    uniform = K.eval(K.random_uniform((200, 100), -1, 3))
    assert abs(normal.mean() - 3) < 0.02 and abs(normal.std() - 0.5) < 0.02
    assert uniform.min() >= -1 and uniform.max() < 3 and abs(uniform.mean() - 1) < 0.05
    assert abs(K.eval(K.random_binomial((200, 100), 0.3)).mean() - 0.3) < 0.02
    seeded = [K.eval(K.random_normal((4,), seed=5)) for _ in range(2)]
    assert (seeded[0] == seeded[1]).all()
    dropped = K.eval(K.dropout(K.ones((100, 100)), 0.4))
    assert np.unique(dropped).tolist() == pytest.approx([0, 1 / 0.6]) and abs(dropped.mean() - 1) < 0.05


def test_function_of_intermediate_layers():
    """The sample of the Keras 2 manual: a layer's output in both phases."""
    x = Input((4,))
    hidden = layers.Dropout(0.5)(layers.Dense(50, activation="relu", bias_initializer="ones")(x))
    model = Model(x, layers.Dense(3)(hidden))
    function = K.function([model.layers[0].input, K.learning_phase()], [hidden, model.output])
    data = values_of(6, 4)
    inference, training = function([data, 0]), function([data, 1])
    close(inference[1], model.predict(data))
    assert (training[0] == 0).mean() > (inference[0] == 0).mean() + 0.2
    from_hidden = K.function([hidden], [model.output])
    close(from_hidden([inference[0]])[0], inference[1])
    with pytest.raises(InputError, match=r"shape \(None, 4\)"):
        function([np.ones((2, 5)), 0])


def test_gradients_by_an_input_and_by_weights():
    x = Input((4,))
    dense = layers.Dense(3)
    loss = K.mean(K.square(dense(x)[:, 0]))
    by_input, by_kernel = K.gradients(loss, [x, dense.kernel])
    data, kernel = values_of(5, 4), dense.get_weights()[0]
    found = K.function([x], [loss, by_input, by_kernel])([data])
    out = data @ kernel[:, 0]
    close(found[0], (out**2).mean())
    close(found[1], 2 / 5 * out[:, None] * kernel[:, 0])
    assert found[2].shape == (4, 3) and (found[2][:, 1:] == 0).all()


def test_function_with_updates_descends():
    weight = K.variable(3.0)
    loss = K.square(weight - 1)
    step = K.function([], [loss], updates=[K.update_sub(weight, 0.25 * K.gradients(loss, weight)[0])])
    assert [float(step([])[0]) for _ in range(3)] == [4, 1, 0.25]


def test_placeholders_with_two_batches_of_one_size():
    a, b = K.placeholder((None, 3)), K.placeholder((2, 3))
    function = K.function([a, b], [K.dot(a, K.transpose(b))])
    one, two = values_of(7, 3), values_of(2, 3)
    close(function([one, two])[0], one @ two.T)


def test_functions_of_model_tensors_are_parts_of_models():
    x = Input((4,))
    model = Model(x, K.relu(layers.Dense(3)(x)) * 2)
    assert model.predict(values_of(2, 4)).min() >= 0
    with pytest.raises(UnsupportedError, match="Lambda"):
        model.get_config()


def test_rnn_with_mask_and_backwards():
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]], "float32")

    def step(x, states):
        new = x + 0.5 * states[0]
        return new, [new]

    def run(x, m):
        last, outputs, (state,) = K.rnn(step, x, [K.zeros_like(x[:, 0])], mask=m)
        return K.concatenate([K.expand_dims(last, 1), outputs, K.expand_dims(state, 1)], 1)

    trace, _, _ = trace_of(run, [CUBE, mask])
    got = interpret(trace, [CUBE, mask])["y"]
    state = np.zeros((3, 5))
    for t in range(4):
        state = np.where(mask[:, t : t + 1] > 0, CUBE[:, t] + 0.5 * state, state)
        close(got[:, t + 1], state)
    close(got[:, 0], state)
    close(got[:, -1], state)
    back, _, _ = trace_of(lambda x: K.rnn(step, x, [K.zeros_like(x[:, 0])], go_backwards=True)[1], [CUBE])
    trace, _, _ = trace_of(lambda x: K.rnn(step, K.reverse(x, 1), [K.zeros_like(x[:, 0])])[1], [CUBE])
    close(interpret(back, [CUBE])["y"], interpret(trace, [CUBE])["y"])


def test_rnn_with_weights_and_without_random_numbers():
    weight = K.variable(np.eye(5) * 0.5)

    def step(x, states):
        new = x + K.dot(states[0], weight)
        return new, [new]

    expression = K.rnn(step, K.constant(CUBE), [K.zeros((3, 5))])[0]
    state = np.zeros((3, 5))
    for t in range(4):
        state = CUBE[:, t] + 0.5 * state
    close(K.eval(expression), state)
    with pytest.raises(UnsupportedError, match="random numbers inside the step"):
        K.rnn(lambda x, s: (K.dropout(x, 0.5), s), K.constant(CUBE), [K.zeros((3, 5))])


def test_what_there_is_not_is_told():
    with pytest.raises(ModelError, match="a first axis of one known size"):
        K.map_fn(lambda x: x, Input((2,)))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        K.nothing  # noqa: B018
    for wrong in ({}, {"shape": (3, "n")}, {"shape": (0, 2)}):
        with pytest.raises(UnsupportedError, match="placeholder: expected a shape"):
            K.placeholder(**wrong)
    with pytest.raises(ModelError, match="input 'here'"):
        K.eval(Input((3,), name="here") * 2)


@pytest.mark.parametrize(
    "text, expected",
    [
        ('{"image_data_format": "channels_first"}', "channels_first"),
        ('{"image_data_format": "no"}', "channels_last"),
        ("[", "channels_last"),
    ],
)
def test_the_data_format_of_the_settings_of_keras(tmp_path, monkeypatch, text, expected):
    (tmp_path / "keras.json").write_text(text)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(settings._settings, "image_data_format", raising=False)
    assert K.image_data_format() == expected
    monkeypatch.delitem(settings._settings, "image_data_format")


def test_settings():
    before = K.epsilon()
    K.set_epsilon(1e-5)
    assert K.epsilon() == 1e-5
    K.set_epsilon(before)
    assert K.floatx() == "float32" and (K.backend(), kcompile.backend_name) == ("tensorflow", "kcompile")
    assert K.image_data_format() in ("channels_last", "channels_first")
    with K.name_scope("a"):
        assert K.is_keras_tensor(Input((2,))) and not K.is_keras_tensor(K.ones((2,)))

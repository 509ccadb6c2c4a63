"""keras.ops and keras.random: on values, in layers, and as layers of functional models and in their files."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3 as keras
from kcompile.keras.models import load_model, model_from_json
from kcompile_runtime.errors import KcompileError, UnsupportedError

ops, layers, random = keras.ops, keras.layers, keras.random
X = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)


def test_functions_compute_at_once_on_arrays_and_variables() -> None:
    weight = keras.backend.variable(X)
    for x in (X, weight, X.tolist()):
        np.testing.assert_allclose(ops.arctan2(ops.sum(x, axis=1), 2.0), np.arctan2(X.sum(1), 2.0), 1e-6)
    values, places = ops.top_k(X, 2)
    np.testing.assert_array_equal(values, -np.sort(-X)[:, :2])
    np.testing.assert_array_equal(places, np.argsort(-X)[:, :2])
    assert ops.add(1, 2).numpy() == 3 and ops.shape(X) == (3, 4)
    assert ops.convert_to_numpy(ops.ones((2,))).tolist() == [1.0, 1.0]


def test_operands_of_several_dtypes_meet_in_the_one_that_holds_both() -> None:
    whole = np.arange(3, dtype=np.int32)
    assert ops.add(whole, 1).dtype == np.int32
    assert ops.add(whole, 1.5).dtype == ops.divide(whole, 2).dtype == ops.mean(whole).dtype == np.float32
    assert ops.add(whole, X[0, :3]).dtype == np.float32
    assert ops.sum(whole > 0).dtype == np.int32 and ops.maximum(whole > 0, False).dtype == bool


class Attending(layers.Layer):
    """A layer whose call is written over ops."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((1,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        scores = ops.softmax(ops.einsum("bij,bkj->bik", x, x) * self.scale, axis=-1)
        x = ops.matmul(scores, x) + ops.roll(x, 1, axis=1)
        return ops.take(ops.sort(x, axis=1), [3, 0], axis=1)[:, 0] + ops.cond(True, lambda: 1.0, lambda: 0.0)


def test_a_layer_over_ops_gives_compiled_what_the_functions_give() -> None:
    layer = Attending()
    model = keras.Sequential([keras.Input((4, 3)), layer])
    x = np.random.default_rng(2).normal(size=(5, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x, verbose=0), layer.call(x), 1e-5, 1e-6)
    model.compile("sgd", "mse")
    losses = model.fit(x, np.ones((5, 3), np.float32), epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def _model() -> Any:
    given = keras.Input((4,), name="given")
    x = layers.Dense(3, name="dense")(given) * 2 + 1
    x = ops.concatenate([x, ops.relu(given[:, :2])], axis=-1)
    x = x / (1 + ops.sum(ops.absolute(x), axis=-1, keepdims=True))
    a, b = ops.split(x, [2], axis=1)
    return keras.Model(given, [a, b, ops.matmul(x, np.ones((5, 2), np.float32)) > 0.5])


def test_calls_on_tensors_of_a_model_are_operations_beside_its_layers() -> None:
    keras.backend.clear_session()  # names begin anew
    model = _model()
    assert [layer.name for layer in model.layers] == ["given", "dense"]
    kinds = {getattr(layer, "kind", "") for layer in model.operations}
    assert kinds > {
        "Multiply",
        "Add",
        "GetItem",
        "Relu",
        "Concatenate",
        "Sum",
        "TrueDivide",
        "Split",
        "Matmul",
    }
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert "get_item (GetItem)" in " ".join(" ".join(lines).split())


def test_a_model_of_operations_is_the_same_after_every_way_out_and_in(tmp_path: Path) -> None:
    model = _model()
    wanted = model.predict(X, verbose=0)
    model.save(str(tmp_path / "m.keras"))
    with pytest.warns(UserWarning, match=r"keras\.ops"):
        model.save(str(tmp_path / "m.h5"))
    again = model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    cloned = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    cloned.set_weights(model.get_weights())
    made = [load_model(str(tmp_path / f"m.{kind}"), compile=False) for kind in ("keras", "h5")]
    for other in (*made, again, cloned, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        for mine, theirs in zip(other.predict(X, verbose=0), wanted):
            np.testing.assert_array_equal(mine, theirs)


def test_a_model_of_operations_may_be_called_and_be_of_unknown_sizes() -> None:
    given = keras.Input((None, 3))
    inner = keras.Model(given, ops.mean(given * 2, axis=1) - ops.max(given[:, 1:], axis=1))
    outer = keras.Input((5, 3))
    model = keras.Model(outer, inner(outer) + 1)
    x = np.random.default_rng(3).normal(size=(2, 5, 3)).astype(np.float32)
    wanted = 2 * x.mean(1) - x[:, 1:].max(1)
    np.testing.assert_allclose(inner.predict(x, verbose=0), wanted, 1e-5, 1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted + 1, 1e-5, 1e-6)


def test_what_cannot_be_is_refused_by_name_with_the_reason() -> None:
    x = keras.Input((4,))
    for call in (ops.where, ops.unique, ops.nonzero, ops.bincount):
        with pytest.raises(UnsupportedError, match="depends on the data"):
            call(x)
    for call in (ops.eig, ops.view_as_complex, ops.view_as_real):
        with pytest.raises(UnsupportedError, match="complex"):
            call(x)
    with pytest.raises(UnsupportedError, match="maximum_iterations"):
        ops.while_loop(lambda v: ops.sum(v) < 3, lambda v: v + 1, (x,))
    with pytest.raises(UnsupportedError, match="by numpy"):
        random.binomial((2,), 5000, 0.5)
    with pytest.raises(KcompileError, match=r"ops\.reshape"):
        ops.reshape(X, (5, 5))


@ops.custom_gradient
def _doubled(x: Any) -> Any:
    """x^2, whose gradient is said to be 10 times the upstream one."""
    return ops.square(x), lambda upstream: upstream * 10.0


class OwnGradient(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((4,), initializer="ones", name="w")

    def call(self, x: Any) -> Any:
        return _doubled(x * self.w)


def test_what_occurs_is_found_in_a_graph_where_its_number_is_said() -> None:
    given = keras.Variable(np.array([[3, 1, 3, 2], [7, 1, 1, 2]], np.float32))

    class Occurring(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.given = given

        def call(self, x: Any) -> Any:
            parts = ops.unique(self.given, True, True, True, True, size=6, fill_value=9.0)
            flat = [ops.reshape(ops.cast(part, "float32"), (-1,)) for part in parts]
            return x + ops.concatenate(flat)

    made = keras.Sequential([keras.Input((26,)), Occurring()]).predict(np.zeros((1, 26)), verbose=0)[0]
    wanted = ops.unique(given, True, True, True, True, size=6, fill_value=9.0)
    assert wanted[0].tolist() == [1, 2, 3, 7, 9, 9] and wanted[1].tolist() == [1, 3, 0, 4, 1, 1]
    assert made.tolist() == np.concatenate([np.ravel(part) for part in wanted]).tolist()


def test_axes_by_name_are_split_and_joined_in_models_and_files(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(2, 4, 6, 3)).astype(np.float32)
    wanted = x.reshape(2, 4, 3, 2, 3).reshape(2, 12, 6)
    kinds = {None: ["Reshape", "Reshape"], 2: ["Rearrange"]}  # Keras 3 has its class of known sizes alone
    for batch, classes in kinds.items():
        given = keras.Input(batch_shape=(batch, 4, 6, 3))
        model = keras.Model(given, ops.rearrange(given, "b h (w k) c -> b (h w) (k c)", k=2))
        model.save(tmp_path / "model.keras")
        for one in (model, keras.models.load_model(tmp_path / "model.keras")):
            np.testing.assert_array_equal(one.predict(x, verbose=0), wanted)
        assert [layer.kind for layer in model.operations[1:]] == classes


def test_gradients_of_ones_own_and_those_along_a_direction() -> None:
    np.testing.assert_allclose(_doubled(X), X**2, 1e-6)
    model = keras.Sequential([keras.Input((4,)), OwnGradient()])
    model.compile(keras.optimizers.SGD(0.5), lambda y_true, y_pred: ops.sum(y_pred, axis=-1))
    model.fit(X, X, batch_size=3, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], 1 - 0.5 * 10 * X.mean(0), 1e-5)
    found, moved = ops.jvp(lambda a, b: ops.sin(a) * b, (X, X + 1), (np.ones_like(X), X))
    np.testing.assert_allclose(found, np.sin(X) * (X + 1), 1e-5)
    np.testing.assert_allclose(moved, np.cos(X) * (X + 1) + np.sin(X) * X, 1e-4, 1e-5)
    *_, aux = ops.jvp(lambda a: (a * 2, a + 1), (X,), (X,), has_aux=True)
    np.testing.assert_allclose(aux, X + 1)


def test_a_function_of_numbers_becomes_one_of_arrays() -> None:
    larger = ops.vectorize(lambda a, b: ops.where(a > b, a, b * 2))
    np.testing.assert_allclose(larger(X, np.float32(0.1)), np.where(X > 0.1, X, 0.2), 1e-6)
    products = ops.vectorize(lambda a, b: ops.sum(a * b), signature="(n),(n)->()")
    np.testing.assert_allclose(products(X, X[0]), X @ X[0], 1e-5)
    with pytest.raises(UnsupportedError, match="over the batch"):
        larger(keras.Input((4,)), 0.5)


def test_images_and_matrices_on_values_and_in_models_of_unknown_batch() -> None:
    images = np.random.default_rng(4).random((2, 4, 6, 3)).astype(np.float32)
    given = keras.Input((4, 6, 3))
    small = ops.image.resize(given, (2, 3))
    seen = ops.image.elastic_transform(given, 1.0, 0.5, seed=3)
    grey = ops.image.rgb_to_grayscale(given)
    model = keras.Model(given, [small, seen, ops.linalg.norm(grey[..., 0], 2, axis=(1, 2))])
    wanted = images.reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    made = model.predict(images, verbose=0)
    np.testing.assert_allclose(made[0], wanted, 1e-5)
    np.testing.assert_allclose(ops.image.resize(images, (2, 3)), wanted, 1e-5)
    assert made[1].shape == images.shape and not np.array_equal(made[1], images)
    plane = images @ np.float32([0.2989, 0.587, 0.114])
    np.testing.assert_allclose(made[2], [np.linalg.norm(p, 2) for p in plane], 1e-5)
    with pytest.raises(ValueError, match="not positive definite"):
        ops.cholesky(-np.eye(2, dtype=np.float32))


def test_numbers_of_gamma_beta_and_binomial_distributions() -> None:
    for alpha in (0.4, 1.0, 6.5):
        x = random.gamma((20000,), alpha, seed=3)
        np.testing.assert_allclose([x.mean(), x.var()], [alpha, alpha], rtol=0.06)
    x = random.beta((20000,), 2.0, 5.0, seed=4)
    np.testing.assert_allclose([x.mean(), x.var()], [2 / 7, 10 / (49 * 8)], rtol=0.05)
    x = random.binomial((5000, 2), np.float32([10, 3]), 0.3, seed=5)
    np.testing.assert_allclose(x.mean(0), [3.0, 0.9], rtol=0.05)
    assert set(np.unique(x[:, 1])) == {0.0, 1.0, 2.0, 3.0}
    given = keras.Input((3,))
    noisy = keras.layers.Lambda(lambda x: x * 0 + random.gamma(ops.shape(x), 2.0, seed=6))(given)
    made = keras.Model(given, noisy).predict(np.zeros((2000, 3), np.float32), batch_size=2000, verbose=0)
    np.testing.assert_allclose(made.mean(), 2.0, rtol=0.05)


def test_loops_and_branches_are_written_out() -> None:
    assert ops.fori_loop(0, 4, lambda i, v: v + i, 1.0) == 7.0
    total, each = ops.scan(lambda c, x: (c + x, c * x), np.zeros(4, np.float32), X)
    np.testing.assert_allclose(total, X.sum(0), 1e-6)
    assert each.shape == X.shape
    np.testing.assert_allclose(ops.map(lambda x: ops.sum(x), X), X.sum(1), 1e-6)
    np.testing.assert_allclose(ops.associative_scan(ops.add, X), np.cumsum(X, 0), 1e-5)
    np.testing.assert_allclose(ops.switch(1, [ops.exp, ops.negative], X), -X)
    assert ops.while_loop(lambda i: i < 3, lambda i: i + 1, (0,), maximum_iterations=9)[0] == 3


def test_loops_and_branches_on_values_run_with_the_dtypes_of_keras_3() -> None:
    found = ops.while_loop(lambda i, s: i < 10, lambda i, s: (i + 1, s + i), [0, np.float32(0)])
    assert isinstance(found, tuple) and [(float(v), v.dtype) for v in found] == [
        (10, "int32"),
        (45, "float32"),
    ]
    assert ops.while_loop(lambda i: i < 10, lambda i: i + 1, 0, maximum_iterations=4) == 4
    grown = ops.while_loop(lambda v: ops.sum(v) < 100.0, lambda v: v * 2, np.ones(3, np.float32))
    np.testing.assert_array_equal(grown, np.full(3, 64.0))
    count = ops.convert_to_tensor(5)
    assert ops.fori_loop(ops.convert_to_tensor(0), count, lambda i, v: v * 2, np.float32(1)) == 32.0
    variable = keras.Variable(1.0)
    ops.cond(ops.sum(np.ones(3)) > 2, lambda: variable.assign(5.0), lambda: variable.assign(6.0))
    assert np.asarray(variable) == 5.0  # the other branch is not run
    carry, each = ops.scan(lambda c, _: (c + 1, c), 0, length=3)
    assert carry.dtype == each.dtype == "int32" and each.tolist() == [0, 1, 2]


# ---------------------------------------------------------------- random numbers


def test_numbers_follow_from_integers_and_differ_with_a_generator() -> None:
    first, second = (random.normal((4, 3), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    seeds = [random.SeedGenerator(5) for _ in range(2)]
    (a, b), (c, d) = ([random.uniform((6,), 2.0, 3.0, seed=s) for _ in range(2)] for s in seeds)
    np.testing.assert_array_equal([a, b], [c, d])
    assert (a != b).all() and (a >= 2.0).all() and (a < 3.0).all()
    assert set(random.randint((300,), 2, 5, seed=1).tolist()) == {2, 3, 4}
    cut = random.truncated_normal((4000,), 1.0, 2.0, seed=1)
    assert abs(cut - 1.0).max() <= 4.0 and 1.6 < cut.std() < 1.9  # 2 * 0.88
    shares = np.bincount(random.categorical(np.log([[0.7, 0.2, 0.1]] * 2), 3000, seed=1)[0]) / 3000
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.04)
    assert sorted(random.shuffle(np.arange(9), seed=2).tolist()) == list(range(9))
    kept = random.dropout(np.ones((1000,), np.float32), 0.25, seed=1)
    np.testing.assert_allclose([(kept == 0).mean(), kept.max()], [0.25, 4 / 3], atol=0.05)


class Noisy(layers.Layer):
    """x with noise of the generator's, in every batch another."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.generator = random.SeedGenerator(4)

    def call(self, x: Any) -> Any:
        return x + random.normal(ops.shape(x), seed=self.generator)


def test_a_layer_draws_other_numbers_in_every_batch() -> None:
    model = keras.Sequential([keras.Input((4,)), Noisy()])
    first, second = (model.predict(np.zeros((3, 4), np.float32), verbose=0) for _ in range(2))
    assert (first != second).all() and len(np.unique(first)) == first.size


# ---------------------------------------------------------------- functions of TensorFlow

RECORDED = {
    "class_name": "Functional",
    "config": {
        "name": "model",
        "layers": [
            {"class_name": "InputLayer", "name": "i", "inbound_nodes": [],
             "config": {"batch_input_shape": [None, 3, 4], "dtype": "float32", "sparse": False, "name": "i"}},
            {"class_name": "TFOpLambda", "name": "tf.math.subtract",
             "config": {"name": "tf.math.subtract", "trainable": True, "dtype": "float32",
                        "function": "math.subtract"},
             "inbound_nodes": [["_CONSTANT_VALUE", -1, 1.0, {"y": ["i", 0, 0], "name": None}]]},
            {"class_name": "SlicingOpLambda", "name": "tf.__operators__.getitem",
             "config": {"name": "tf.__operators__.getitem", "trainable": True, "dtype": "float32",
                        "function": "__operators__.getitem"},
             "inbound_nodes": [["tf.math.subtract", 0, 0, {"slice_spec": [
                 {"start": None, "stop": None, "step": None}, {"start": 1, "stop": None, "step": None}]}]]},
            {"class_name": "TFOpLambda", "name": "tf.concat",
             "config": {"name": "tf.concat", "trainable": True, "dtype": "float32", "function": "concat"},
             "inbound_nodes": [[["tf.__operators__.getitem", 0, 0, {"axis": 1}], ["i", 0, 0, {"axis": 1}]]]},
            {"class_name": "TFOpLambda", "name": "tf.linalg.matmul",
             "config": {"name": "tf.linalg.matmul", "trainable": True, "dtype": "float32",
                        "function": "linalg.matmul"},
             "inbound_nodes": [["tf.concat", 0, 0, {"b": ["i", 0, 0], "transpose_b": True}]]},
            {"class_name": "TFOpLambda", "name": "tf.math.reduce_mean",
             "config": {"name": "tf.math.reduce_mean", "trainable": True, "dtype": "float32",
                        "function": "math.reduce_mean"},
             "inbound_nodes": [["tf.linalg.matmul", 0, 0, {"axis": [1], "keepdims": True}]]},
        ],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["tf.math.reduce_mean", 0, 0]],
    },
    "keras_version": "2.15.0",
    "backend": "tensorflow",
}  # fmt: skip


def test_functions_of_tensorflow_in_a_configuration_are_functions_of_ops() -> None:
    model = model_from_json(json.dumps(RECORDED))
    x = np.random.default_rng(4).normal(size=(2, 3, 4)).astype(np.float32)
    joined = np.concatenate([(1 - x)[:, 1:], x], 1)
    wanted = (joined @ x.transpose(0, 2, 1)).mean(1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, 1e-5, 1e-6)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"function": "math.lgamma"}, r"tf\.math\.lgamma"),
        ({"function": ["math.add"]}, "function tf"),
        ({"function": "math.reduce_sum"}, "argument b"),
    ],
)
def test_other_functions_of_tensorflow_are_refused(change: dict[str, Any], told: str) -> None:
    wrong = copy.deepcopy(RECORDED)
    wrong["config"]["layers"][4]["config"].update(change)  # type: ignore[index]
    with pytest.raises(UnsupportedError, match=told):
        model_from_json(json.dumps(wrong))

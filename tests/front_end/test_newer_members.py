"""Members of layers and models, and names of keras.utils and keras.saving, that came after Keras 2."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras.settings import running
from kcompile.run import run_script
from kcompile_runtime.errors import ModelError


def test_members_that_mean_nothing_here_are_refused_by_name():
    layer = keras3.layers.Dense(2)
    model = keras3.Sequential([keras3.Input((3,)), layer])
    for owner, name, remedy in (
        (layer, "quantized_call", "float32 or float64"),
        (layer, "rematerialized_call", "memory"),
        (model, "compute_loss_and_updates", "train_step"),
        (model, "jax_state_sync", "JAX"),
    ):
        with pytest.raises(AttributeError, match=f"{name} is not supported: .*{remedy}"):
            getattr(owner, name)
        assert not hasattr(owner, name)
    with pytest.raises(ValueError, match=r"format: expected None or 'library'.*onnx"):
        model.export("m.onnx", format="onnx")


def test_the_state_of_a_model_is_a_tree_of_its_variables():
    """As Keras 3 gives it for the same model."""
    dense = keras3.layers.Dense(2, name="a")
    model = keras3.Sequential(
        [keras3.Input((3,)), dense, keras3.layers.BatchNormalization(name="b")], name="s"
    )
    assert not model.compiled
    model.compile("adam", "mse")
    assert model.compiled
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    tree = model.get_state_tree()
    assert list(tree) == [
        f"{kind}_variables" for kind in ("trainable", "non_trainable", "optimizer", "metrics")
    ]
    assert {k: list(v) for k, v in tree["trainable_variables"]["s"].items()} == {
        "a": ["kernel", "bias"],
        "b": ["gamma", "beta"],
    }
    assert list(tree["optimizer_variables"][model.optimizer.name])[:3] == [
        "iteration",
        "learning_rate",
        "s_a_kernel_momentum",
    ]
    kept = model.get_weights()
    model.set_weights([w * 0 + 9 for w in kept])
    model.set_state_tree(tree)
    for a, b in zip(model.get_weights(), kept):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="set_state_tree"):
        model.set_state_tree({"trainable_variables": {"s": {"c": {"kernel": np.ones((3, 2))}}}})
    dense.trainable = False
    model.make_train_function(force=True)
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    np.testing.assert_array_equal(model.get_weights()[0], kept[0])


def test_callbacks_have_their_attributes_before_training():
    stopping = keras3.callbacks.EarlyStopping("loss")
    assert (stopping.wait, stopping.stopped_epoch, stopping.best_weights) == (0, 0, None)
    assert stopping.get_monitor_value({"loss": 3}) == 3
    assert keras3.callbacks.History().history == {}


def test_members_give_way_to_attributes_of_users():
    class Mine(keras3.layers.Layer):
        def __init__(self):
            super().__init__()
            self.path, self.metrics, self.submodules = "here", [], 8

    layer = Mine()
    assert (layer.path, layer.metrics, layer.submodules) == ("here", [], 8)


def test_compile_is_made_again_from_its_configuration():
    model = keras3.Sequential([keras3.Input((3,)), keras3.layers.Dense(2)])
    assert model.get_compile_config() is None
    model.compile("adam", "mse", metrics=["mae"], auto_scale_loss=False, jit_compile=False, run_eagerly=True)
    again = keras3.Sequential([keras3.Input((3,)), keras3.layers.Dense(2)])
    again.compile_from_config(model.get_compile_config())
    assert type(again.optimizer) is type(model.optimizer) and again.loss == "mse"
    assert again.metrics_names == model.metrics_names


def test_registered_classes_are_found_by_both_names(tmp_path):
    @keras3.saving.register_keras_serializable(package="mine")
    class Twice(keras3.layers.Layer):
        def call(self, x):
            return x * 2

    assert keras3.saving.get_registered_name(Twice) == "mine>Twice"
    assert keras3.utils.get_registered_object("mine>Twice") is Twice
    model = keras3.Sequential([keras3.Input((3,)), Twice()])
    model.save(tmp_path / "m.keras")
    again = keras3.saving.load_model(tmp_path / "m.keras")
    assert again.predict(np.ones((1, 3)), verbose=0).tolist() == [[2, 2, 2]]
    made = keras3.saving.deserialize_keras_object(
        keras3.saving.serialize_keras_object(keras3.layers.Dense(3))
    )
    assert type(made).__name__ == "Dense" and made.units == 3


def test_parts_of_batches():
    utils = keras3.utils
    assert utils.unpack_x_y_sample_weight((1, 2)) == (1, 2, None)
    assert utils.unpack_x_y_sample_weight(1) == (1, None, None)
    assert utils.pack_x_y_sample_weight(1, 2) == (1, 2) and utils.pack_x_y_sample_weight(1) == 1
    assert tf_keras.utils.to_ordinal([0, 2], 3).tolist() == [[0, 0], [1, 1]]
    with pytest.raises(ValueError, match="4 parts"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))


def test_a_variable_in_an_attribute_is_a_weight():
    class Scaled(keras3.Layer):
        def __init__(self):
            super().__init__()
            self.factor = keras3.Variable([2.0, 3.0])
            self.count = keras3.Variable("zeros", shape=(), trainable=False)

        def call(self, x):
            return x * self.factor

    layer = Scaled()
    assert layer(np.ones((1, 2), "float32")).tolist() == [[2, 3]]
    assert len(layer.trainable_variables) == 1 and len(layer.non_trainable_variables) == 1
    with pytest.raises(ValueError, match="Variable: shape"):
        keras3.Variable("zeros")


def test_a_variable_is_an_array_outside_of_models():
    layer = keras3.layers.Dense(2)
    layer.build((None, 3))
    kernel = layer.kernel
    assert isinstance(np.asarray(kernel), np.ndarray) and np.array(kernel).mean() == kernel.numpy().mean()
    assert np.asarray(kernel, "float64").dtype == np.float64 and np.linalg.norm(kernel) > 0
    assert (kernel.ndim, len(kernel)) == (2, 3)
    np.asarray(kernel)[:] = 0  # a copy
    assert kernel.numpy().any()

    class Frozen(keras3.layers.Dense):
        def call(self, inputs):
            return inputs @ np.asarray(self.kernel)

    with pytest.raises(TypeError, match=r"numpy cannot read variable .*Use keras\.ops"):
        Frozen(2)(keras3.Input((3,)))


def test_operators_on_variables_give_values():
    for keras in (keras3, tf_keras):
        layer = keras.layers.Dense(2, kernel_initializer="ones", kernel_regularizer="l2")
        layer.build((None, 3))
        assert (
            np.asarray(layer.kernel * 2 + 1) == 3
        ).all() and f"{(layer.kernel[0] @ [1.0, 1.0]):.1f}" == "2.0"
        assert [float(loss) for loss in layer.losses] == pytest.approx([0.06])


def test_losses_hold_values_after_a_call_on_arrays():
    class Rated(keras3.layers.Layer):
        def call(self, inputs):
            self.add_loss(0.01 * keras3.ops.mean(inputs))
            return inputs

    class Outer(keras3.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras3.layers.Dense(2, kernel_initializer="ones", kernel_regularizer="l2")
            self.rated = Rated()

        def call(self, inputs):
            return self.rated(self.dense(inputs))

    layer, x = Outer(), np.ones((4, 3), "float32")
    layer(x)
    assert [float(loss) for loss in layer.losses] == pytest.approx([0.06, 0.03])
    assert [float(loss) for loss in layer.rated.losses] == pytest.approx([0.03])
    layer(x * 2)
    assert [float(loss) for loss in layer.losses] == pytest.approx([0.06, 0.06])
    model = keras3.Sequential([keras3.Input((3,)), layer])
    model(x * 4)
    assert sorted(float(loss) for loss in model.losses) == pytest.approx([0.06, 0.12])


def test_activations_on_tensors_of_a_model_are_saved(tmp_path):
    x = keras3.Input((3,))
    model = keras3.Model(x, keras3.activations.gelu(keras3.activations.relu(x)))
    model.save(tmp_path / "m.keras")
    data = np.array([[-1.0, 0.5, 2.0]], "float32")
    found = keras3.models.load_model(tmp_path / "m.keras").predict(data, verbose=0)
    np.testing.assert_allclose(found, [[0, 0.345714, 1.954598]], rtol=1e-5)


def test_scripts_of_newer_kerases_compute_values_at_once(tmp_path, capsys):
    code = "import numpy as np\nfrom {0} import losses\nx = np.ones((2, 3))\n"
    code += "found = losses.MeanSquaredError()(x, x * 3)\nprint(f'{{found:.2f}}', found < 5)\n"
    for package, said in (("keras", "True"), ("tensorflow.keras", "tf.Tensor(True, shape=(), dtype=bool)")):
        (tmp_path / "script.py").write_text(code.format(package))
        assert run_script(tmp_path / "script.py", keras="3" if package == "keras" else "2") == 0
        assert capsys.readouterr().out == f"4.00 {said}\n"


def test_a_call_on_arrays_writes_what_it_updates():
    class Sums(keras3.layers.Layer):
        def __init__(self):
            super().__init__()
            self.total = self.add_weight(initializer="zeros", shape=(2,), trainable=False)

        def call(self, inputs):
            self.total.assign_add(keras3.ops.sum(inputs, axis=0))
            return self.total

    sums = Sums()
    assert [np.asarray(sums(np.ones((2, 2)))).tolist() for _ in range(2)] == [[2.0, 2.0], [4.0, 4.0]]
    norm = keras3.layers.BatchNormalization(momentum=0.5)
    norm(np.array([[1.0], [3.0]]), training=True)
    assert [float(w[0]) for w in norm.get_weights()[2:]] == [1.0, 1.0]


def test_layers_on_arrays_inside_of_call_are_trained():
    features = np.arange(8.0).reshape(4, 2)

    class Rows(keras3.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras3.layers.Dense(1, kernel_initializer="zeros")

        def call(self, numbers):
            return keras3.ops.take(self.dense(features), numbers, axis=0)

    model = Rows()
    model.compile(keras3.optimizers.SGD(0.01), "mse")
    model.fit(np.arange(4), np.ones((4, 1)), verbose=0)
    assert model.dense.get_weights()[0].all()


def test_weights_of_samples_with_a_last_axis_weigh_losses():
    x, weights = np.ones((3, 2), "float32"), np.array([[0.0], [1.0], [2.0]])
    for keras, shape in ((keras3, (3, 1)), (tf_keras, (3,))):
        with running(keras.layers.Layer.vintage):
            found = np.asarray(
                keras.losses.MeanSquaredError(reduction="none")(x, x * 2, sample_weight=weights)
            )
        assert found.shape == shape and found.ravel().tolist() == [0.0, 1.0, 2.0]


def test_an_if_on_a_tensor_tells_the_remedy():
    class Chosen(keras3.layers.Layer):
        def call(self, inputs):
            if keras3.ops.sum(inputs) > 0:
                return inputs
            return -inputs

    with pytest.raises(TypeError, match=r"Layer 'chosen'.*ops\.where.*if keras3\.ops\.sum"):
        Chosen()(keras3.Input((3,)))


def test_the_value_of_a_variable_is_traced():
    class Scaled(keras3.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, inputs):
            return inputs * self.scale.value

    layer = Scaled()
    model = keras3.Sequential([keras3.Input((1,)), layer])
    model.predict(np.ones((1, 1)), verbose=0)
    layer.scale.assign(3.0)
    assert model.predict(np.ones((1, 1)), verbose=0) == 3.0


def test_calls_with_other_values_of_the_variables():
    """What Keras 3 gave; the variables are as before."""
    model = keras3.Sequential(
        [
            keras3.Input((3,)),
            keras3.layers.Dense(4, kernel_initializer="ones"),
            keras3.layers.BatchNormalization(),
            keras3.layers.Dense(2, kernel_initializer="ones"),
        ]
    )
    x = np.arange(6, dtype="float32").reshape(2, 3)
    doubled = [np.asarray(v) * 2 for v in model.trainable_variables]
    fixed = [np.asarray(v) for v in model.non_trainable_variables]
    found, after = model.stateless_call(doubled, fixed, x)
    np.testing.assert_allclose(found, [[95.95, 95.95], [383.81, 383.81]], 1e-4)
    np.testing.assert_array_equal(after, fixed)
    found, after = model.stateless_call(doubled, fixed, x, training=True)
    np.testing.assert_allclose(found, [[-16.0] * 2, [16.0] * 2], 1e-4)
    np.testing.assert_allclose(after, [[0.15] * 4, [1.8] * 4], 1e-5)
    assert (model.get_weights()[0] == 1).all() and (np.asarray(model.non_trainable_variables[0]) == 0).all()
    assert len(model.stateless_call(doubled, fixed, x, return_losses=True)) == 3
    with pytest.raises(ModelError, match="6 arrays"):
        model.stateless_call(doubled[:1], fixed, x)
    model(x / 2, training=True)  # moves them
    np.testing.assert_allclose(np.asarray(model.non_trainable_variables[0]), [0.0375] * 4, 1e-4)


@pytest.mark.parametrize("keras", [keras3, tf_keras])
def test_deserialize_takes_classes_of_a_script(keras):
    class Ones(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.ones(shape)

    given = {"class_name": "Ones", "config": {}}
    assert type(keras.initializers.deserialize(given, custom_objects={"Ones": Ones})) is Ones
    with keras.utils.custom_object_scope(custom_objects={"Ones": Ones}):
        assert type(keras.initializers.deserialize(given)) is Ones


def test_add_loss_has_the_name_of_keras_3():
    class Adds(keras3.layers.Layer):
        def call(self, x):
            self.add_loss(loss=keras3.ops.sum(x))
            return x

    model = keras3.Sequential([keras3.Input((2,)), Adds()])
    model.compile(loss="mse")
    ones = np.ones((3, 2), np.float32)
    assert model.evaluate(ones, ones, verbose=0) == 6.0

"""What scripts of today's guides write around their models: batches, calls on arrays, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile_runtime.errors import InputError, ModelError

ops = keras3.ops


def batches(edition):
    base = edition.utils.PyDataset if edition is keras3 else edition.utils.Sequence

    class Batches(base):
        def __len__(self):
            return 2

        def __getitem__(self, at):
            return np.ones((4, 2)), np.ones((4, 1))

    return Batches()


@pytest.mark.parametrize("edition", [keras3, tf_keras], ids=["keras3", "tf_keras"])
def test_a_batch_size_beside_objects_of_batches_means_nothing(edition):
    model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    model.fit(batches(edition), batch_size=3, verbose=0)
    assert model.predict(batches(edition), batch_size=3, verbose=0).shape == (8, 1)
    assert np.isfinite(model.evaluate(batches(edition), batch_size=3, verbose=0))
    with pytest.raises(InputError, match="validation_split"):
        model.fit(batches(edition), validation_split=0.5, verbose=0)


def test_keras_2_refuses_it():
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match="batch_size"):
        model.fit(batches(keras), batch_size=3, verbose=0)


def test_masks_of_arrays_are_arrays():
    numbers = np.array([[3, 1, 0], [2, 0, 0]])
    embedding = keras3.layers.Embedding(5, 2, mask_zero=True)
    np.testing.assert_array_equal(embedding.compute_mask(numbers), numbers != 0)
    steps = np.ones((1, 3, 2)) * [[[1], [0], [2]]]
    np.testing.assert_array_equal(keras3.layers.Masking().compute_mask(steps), [[True, False, True]])


@pytest.mark.parametrize("edition", [keras, tf_keras, keras3], ids=["keras", "tf_keras", "keras3"])
def test_a_model_with_layers_of_ones_own_is_cloned(edition):
    class Scaled(edition.layers.Layer):
        def __init__(self, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,)), Scaled(3.0)])
    twin = edition.models.clone_model(model)
    assert twin.layers[1].factor == 3.0 and twin.layers[1] is not model.layers[1]


def test_layers_say_what_they_are():
    edition = keras3
    edition.utils.clear_session()
    layer = edition.layers.Dense(1, name="d")
    assert repr(layer) == "<Dense name=d, built=False>"
    model = edition.Sequential([edition.Input((2,)), layer])
    assert repr(model) == "<Sequential name=sequential, built=True>"
    assert edition.Model(model.inputs, model.outputs).name == "functional_1"  # the chain has the first


def test_a_generator_of_seeds_has_a_state():
    seeds = keras3.random.SeedGenerator(7)
    assert seeds.state.tolist() == [7, 0]
    keras3.random.normal((2,), seed=seeds)
    assert seeds.state.shape == (2,) and seeds.state[1] == 1


class Block(keras3.layers.Layer):
    """A decoder as the guides have it: positions by a table, a causal mask tiled over the batch, a chain."""

    def __init__(self, longest, **kwargs):
        super().__init__(**kwargs)
        self.tokens = keras3.layers.Embedding(9, 4)
        self.places = keras3.layers.Embedding(longest, 4)
        self.attention = keras3.layers.MultiHeadAttention(1, 4)
        self.chain = keras3.Sequential([keras3.layers.Dense(8, activation="relu"), keras3.layers.Dense(4)])

    def call(self, inputs):
        count, steps = ops.shape(inputs)
        places = ops.arange(0, steps, 1)
        mask = ops.reshape(ops.cast(places[:, None] >= places, "int32"), (1, steps, steps))
        times = ops.concatenate([ops.expand_dims(count, -1), ops.convert_to_tensor([1, 1])], axis=0)
        x = self.tokens(inputs) + self.places(places)
        seen = self.attention(x, x, attention_mask=ops.tile(mask, times), query_mask=inputs != 0)
        return self.chain(x + seen)


def test_a_decoder_of_unknown_length():
    tokens = np.arange(12).reshape(2, 6) % 9
    inputs = keras3.Input((None,), dtype="int32")
    model = keras3.Model(inputs, Block(6)(inputs))
    whole = model.predict(tokens, verbose=0)
    np.testing.assert_allclose(model.predict(tokens[:, :4], verbose=0), whole[:, :4], rtol=1e-5)
    with pytest.raises(InputError, match="0 to 5"):
        model.predict(np.zeros((2, 7), int), verbose=0)


@pytest.mark.parametrize("edition", [keras3, tf_keras], ids=["keras3", "tf_keras"])
@pytest.mark.parametrize("kind", ["chain", "class"])
def test_a_model_of_no_input_of_its_own_takes_data_of_another_length(edition, kind):
    layers = edition.layers

    class Tagger(edition.Model):
        def __init__(self):
            super().__init__()
            self.steps = [layers.Embedding(9, 4), layers.GlobalAveragePooling1D(), layers.Dense(1)]

        def call(self, x):
            for layer in self.steps:
                x = layer(x)
            return x

    inside = [layers.Embedding(9, 4), layers.GlobalAveragePooling1D(), layers.Dense(1)]
    model = edition.Sequential(inside) if kind == "chain" else Tagger()
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 5), "int32"), np.ones((8, 1)), verbose=0)
    wanted = model.predict(np.ones((8, 5), "int32"), verbose=0)
    np.testing.assert_allclose(model.predict(np.ones((8, 3), "int32"), verbose=0), wanted, rtol=1e-6)
    np.testing.assert_allclose(model(np.ones((2, 4), "int32")), wanted[:2], rtol=1e-6)
    weights = model.get_weights()
    model.fit(np.ones((8, 7), "int32"), np.ones((8, 1)), verbose=0)
    assert not np.allclose(weights[0], model.get_weights()[0])
    with pytest.raises(InputError):
        model.predict(np.ones((8, 7, 2), "int32"), verbose=0)


def test_a_number_of_samples_that_the_input_fixes_may_stand_in_shapes() -> None:
    """As in Keras 3, in functions on tensors of a model and in a `call`; other numbers still run."""

    class Rows(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.reshape(ops.reshape(x, (16 * 20, 8)) * 2.0, (16, -1))

    x = keras.Input(batch_shape=(16, 20, 8))
    rows = keras.layers.Dense(8)(ops.reshape(x, (320, 8)))
    assert rows.shape == (320, 8)
    joined = ops.reshape(rows, (16, 160))
    model = keras.Model(x, [joined, Rows()(x)])
    assert [y.shape for y in model.outputs] == [(16, 160), (16, 160)]
    data = np.random.default_rng(0).normal(size=(32, 20, 8)).astype(np.float32)
    dense, doubled = model.predict(data, batch_size=16, verbose=0)
    np.testing.assert_allclose(doubled, data.reshape(32, 160) * 2.0, 1e-6)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(dense, (data @ kernel).reshape(32, 160), 1e-4, 1e-5)
    with pytest.raises(ModelError, match="number of elements"):
        ops.reshape(x, (300, 8))


@pytest.mark.parametrize("edition", [keras3, tf_keras], ids=["keras3", "tf_keras"])
def test_configurations_of_ones_own_have_what_the_constructor_was_given(edition):
    class Twice(edition.layers.Layer):
        def __init__(self, units, act="relu", **options):
            super().__init__(**options)
            self.units, self.act = 2 * units, edition.activations.get(act)

    class Around(edition.layers.Layer):
        def __init__(self, inner, **options):
            super().__init__(**options)
            self.inner = inner

    class Several(edition.layers.Layer):
        def __init__(self, *sizes):
            super().__init__()
            self.sizes = sizes

    assert {k: v for k, v in Twice(3).get_config().items() if k in ("units", "act")} == {
        "units": 3,
        "act": "relu",
    }
    for layer, name in ((Around(edition.layers.Dense(2)), "inner"), (Several(3, 2), "sizes")):
        with pytest.raises(
            NotImplementedError, match=f"cannot hold the argument '{name}'.*Define get_config"
        ):
            layer.get_config()
    assert Around("h").get_config()["inner"] == "h"


@pytest.mark.parametrize("workers", [1, 2])
def test_data_sets_of_keras_3_are_told_of_each_pass(workers):
    class Data(keras3.utils.PyDataset):
        def __init__(self, **options):
            super().__init__(**options)
            self.seen = ""

        def __len__(self):
            return 3

        def __getitem__(self, at):
            return np.ones((2, 3)), np.ones((2, 1))

        def on_epoch_begin(self):
            self.seen += "b"

        def on_epoch_end(self):
            self.seen += "e"

    class Logs(keras3.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["own"] = 1.0

        def on_train_end(self, logs=None):
            self.last = sorted(logs)

    trained, held, tested, wanted, parts = (Data(workers=workers) for _ in range(5))
    net = keras3.Sequential([keras3.Input((3,)), keras3.layers.Dense(1)])
    net.compile("sgd", "mse")
    logs = Logs()
    history = net.fit(trained, validation_data=held, epochs=3, verbose=0, callbacks=[logs]).history
    net.fit(parts, epochs=2, steps_per_epoch=2, verbose=0)
    net.evaluate(tested, verbose=0)
    net.predict(wanted, verbose=0)
    assert (trained.seen, held.seen) == ("ebebebe", "ebeebeebe")
    assert (parts.seen, tested.seen, wanted.seen) == ("ebebe", "ebe", "be")
    assert history["own"] == [1.0] * 3
    assert logs.last == ["loss", "val_loss"]


def test_dtypes_by_types_of_python():
    assert ops.ones((2,), dtype=bool).dtype == "bool"
    assert ops.cast(np.ones(2, "float32"), int).dtype == "int32"
    assert ops.zeros((2,), float).dtype == "float32"
    assert keras3.backend.standardize_dtype(bool) == "bool"
    assert keras3.Input((2,), dtype=int).dtype == "int32"
    keras3.utils.clear_session(free_memory=True)


@pytest.mark.parametrize("edition", [keras3, tf_keras], ids=["keras3", "tf_keras"])
def test_models_by_subclassing_are_saved_with_what_their_constructor_was_given(edition, tmp_path):
    class Net(edition.Model):
        def __init__(self, units, last=None, **options):
            super().__init__(**options)
            self.first = edition.layers.Dense(units)
            self.last = last or edition.layers.Activation("tanh")

        def call(self, x):
            return self.last(self.first(x))

    net, x = Net(5), np.ones((2, 3), "float32")
    expected = net.predict(x, verbose=0)
    net.save(tmp_path / "net.keras")
    again = edition.models.load_model(tmp_path / "net.keras", custom_objects={"Net": Net})
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, rtol=1e-6)
    with pytest.raises(NotImplementedError, match="cannot hold the argument 'last'"):
        Net(5, edition.layers.Dense(2)).get_config()


def test_models_on_arrays_take_what_their_call_takes():
    class Net(keras3.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = (keras3.layers.Dense(n, kernel_initializer="ones") for n in (3, 1))

        def call(self, x, scale=1.0, inner=False):
            h = self.first(x) * scale
            return (self.last(h), {"h": h}) if inner else self.last(h)

    net, x = Net(), np.arange(8, dtype="float32").reshape(2, 4)
    np.testing.assert_array_equal(net(x, scale=0.5), [[9], [33]])
    np.testing.assert_array_equal(net(x), [[18], [66]])
    found, parts = net(x, inner=True)
    np.testing.assert_array_equal(found, [[18], [66]])
    np.testing.assert_array_equal(parts["h"], [[6] * 3, [22] * 3])
    assert net.predict(x, verbose=0).shape == (2, 1)

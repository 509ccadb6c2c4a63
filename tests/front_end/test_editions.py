"""`kcompile.keras3` and `kcompile.tf_keras`: the front end with the names and defaults of other Kerases."""

from __future__ import annotations

import importlib
import io
import pickle
import re
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.keras import editions
from kcompile.keras.namespaces import MODULES
from kcompile_runtime.errors import InputTypeError, UnsupportedError

BOTH = pytest.mark.parametrize("edition", [keras3, tf_keras])


@BOTH
def test_every_module_can_be_imported_by_its_name(edition):
    removed = editions.edition(edition.layers.Layer.vintage).removed.get("", ())
    for name in MODULES:
        if name in removed:
            with pytest.raises(ImportError):
                importlib.import_module(f"{edition.__name__}.{name}")
            continue
        module = importlib.import_module(f"{edition.__name__}.{name}")
        assert module.__name__ == f"{edition.__name__}.{name}" and vars(module).keys() > {"__doc__"}
    assert edition.layers.Dense is importlib.import_module(f"{edition.__name__}.layers").Dense


def test_a_fresh_process_imports_a_module_below_at_once():
    text = "from kcompile.keras3.layers import Dense; import kcompile.tf_keras.utils; print(Dense(1).name)"
    assert (
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        == "dense\n"
    )


@BOTH
def test_layers_have_the_names_that_each_keras_has(edition):
    layers = edition.layers
    for name in (
        "Convolution1D",
        "Convolution2DTranspose",
        "Convolution3DTranspose",
        "SeparableConvolution1D",
    ):
        assert issubclass(getattr(layers, name), keras.layers.Layer)
    assert layers.Convolution1DTranspose is layers.Conv1DTranspose
    newer = {"RMSNormalization", "GroupQueryAttention", "AdaptiveMaxPooling2D"}
    older = {"LocallyConnected1D", "ThresholdedReLU"}
    of_keras_2 = {"Deconvolution2D", "ConvRNN2D", "Highway"}
    there = {name for name in newer | older | of_keras_2 if hasattr(layers, name)}
    assert there == (newer if edition is keras3 else older)


@BOTH
def test_classes_are_subclasses_and_ask_what_kind_a_layer_is(edition):
    layers = edition.layers
    dense = layers.Dense(3)
    assert isinstance(dense, keras.layers.Dense) and type(dense) is layers.Dense
    assert isinstance(keras.layers.Dense(3), layers.Dense) and isinstance(dense, layers.Layer)
    assert not isinstance(keras.layers.Flatten(), layers.Dense)

    class Mine(layers.Dense):
        pass

    assert isinstance(Mine(2), layers.Dense) and not isinstance(dense, Mine)
    assert Mine.vintage == dense.vintage != keras.layers.Dense.vintage
    assert issubclass(Mine, keras.layers.Dense) and issubclass(Mine, layers.Layer)


@BOTH
def test_models_are_of_the_vintage_whole(edition):
    inputs = edition.Input((6, 4))
    x = edition.layers.Masking()(inputs)
    x = edition.layers.add([x, edition.layers.LSTM(4, return_sequences=True)(x)])
    model = edition.Model(inputs, edition.layers.Bidirectional(edition.layers.GRU(2))(x))
    vintages = {layer.vintage for layer in model.layers} | {model.vintage}
    assert vintages == {edition.layers.Layer.vintage}
    again = edition.models.model_from_json(model.to_json())
    assert {layer.vintage for layer in again.layers} == vintages
    sequential = edition.Sequential([edition.layers.Dense(3, input_shape=(4,))])
    assert edition.models.clone_model(sequential).vintage == model.vintage


@BOTH
def test_defaults(edition):
    layers, optimizers = edition.layers, edition.optimizers
    assert layers.LSTM(3).get_config()["recurrent_activation"] == "sigmoid"
    assert layers.GRU(3).reset_after is True and layers.GRU(3, reset_after=False).reset_after is False
    assert layers.GRUCell(3).reset_after is True
    assert layers.LSTM(3, "relu", "hard_sigmoid").get_config()["recurrent_activation"] == "hard_sigmoid"
    assert float(optimizers.Adagrad().lr.value) == pytest.approx(0.001)
    assert float(optimizers.Adagrad(0.5).lr.value) == 0.5
    assert optimizers.SGD(0.1, 0.9, True).nesterov is True
    model = edition.Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("adadelta", "mse")
    assert float(model.optimizer.lr.value) == pytest.approx(0.001)
    assert keras.layers.LSTM(3).get_config()["recurrent_activation"] == "hard_sigmoid"


def test_defaults_of_keras2_are_as_before():
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(2,))])
    model.compile("adadelta", "mse")
    assert float(model.optimizer.lr.value) == 1.0 and not keras.layers.GRU(3).reset_after


def test_old_options_of_optimizers():
    assert float(tf_keras.optimizers.Adam(lr=0.5).lr.value) == 0.5
    assert tf_keras.optimizers.SGD(0.1, decay=0.5).vintage == "tf_keras2.10"
    with pytest.raises(InputTypeError, match=r"Keras 3.*learning_rate.*lr"):
        keras3.optimizers.Adam(lr=0.5)
    with pytest.raises(InputTypeError, match="given twice: momentum"):
        keras3.optimizers.SGD(0.1, 0.9, momentum=0.5)


def test_arguments_under_other_names():
    assert keras3.layers.LeakyReLU(negative_slope=0.1).get_config()["alpha"] == 0.1
    assert keras3.layers.LeakyReLU(0.2).alpha == keras3.layers.LeakyReLU(alpha=0.2).alpha == 0.2
    assert keras3.regularizers.l2(l2=0.5).l2 == 0.5
    assert keras3.utils.to_categorical(x=[1, 0]).tolist() == [[0, 1], [1, 0]]


@BOTH
def test_arguments_that_do_nothing_here(edition):
    assert edition.layers.LSTM(3, seed=3).units == edition.layers.Dense(3, lora_rank=None).units == 3
    if edition is keras3:  # which has it
        assert edition.layers.Dense(3, lora_rank=2).lora_rank == 2
        return
    with pytest.raises(UnsupportedError, match="lora_rank"):
        edition.layers.Dense(3, lora_rank=2)


@pytest.mark.parametrize("edition, name", [(keras, "lr"), (tf_keras, "lr"), (keras3, "learning_rate")])
def test_the_learning_rate_in_logs(edition, name):
    model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    schedule = edition.callbacks.LearningRateScheduler(lambda epoch: 0.5 / (epoch + 1))
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[schedule])
    assert history.history[name] == [0.5, 0.25]


def test_weights_of_layers_of_ones_own():
    class Scale(keras3.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((input_shape[-1],), "ones")

        def call(self, x):
            return x * self.scale

    class Old(tf_keras.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", (input_shape[-1],), initializer="ones")

        def call(self, x):
            return x * self.scale

    for edition, layer in ((keras3, Scale()), (tf_keras, Old())):
        model = edition.Sequential([edition.Input((3,)), layer])
        assert np.array_equal(model.predict(np.eye(3)), np.eye(3)) and layer.scale.shape == (3,)


@BOTH
def test_a_call_on_arrays(edition):
    layers = edition.layers
    model = edition.Sequential(
        [
            layers.Dense(64, input_shape=(8,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(40),
        ]
    )
    x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
    expected = model.predict(x)
    assert np.array_equal(model(x).numpy(), expected) and type(model(x).numpy()) is np.ndarray
    assert np.array_equal(model(x, training=False), expected)
    first, second = model(x, training=True), model(x, training=True)
    assert not np.array_equal(first, second) and not np.allclose(first, expected)
    model.set_weights([w * 0 for w in model.get_weights()])
    assert not model(x, training=True).any() and len(model.layers[0].nodes_made) == 1
    with pytest.raises(UnsupportedError, match="mask"):
        model(x, mask=None)


def test_a_call_on_arrays_in_keras2_gives_arrays():
    model = keras.Sequential([keras.layers.Dense(2, input_shape=(2,))])
    assert type(model(np.ones((1, 2)))) is np.ndarray


def test_early_stopping_begins_at_an_epoch():
    model = keras3.Sequential([keras3.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    stop = keras3.callbacks.EarlyStopping("loss", min_delta=1e9, start_from_epoch=3)
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=9, verbose=0, callbacks=[stop])
    assert history.epoch == [0, 1, 2, 3, 4]


@BOTH
def test_what_only_keras2_has_is_not_there(edition):
    assert not hasattr(edition.layers, "CuDNNLSTM") and hasattr(keras.layers, "CuDNNLSTM")


def test_penalties_by_default():
    assert (keras3.regularizers.l1_l2().l1, keras.regularizers.l1_l2().l1) == (0.0, 0.01)
    assert keras3.regularizers.l1_l2(l2=0.5).l2 == 0.5


@BOTH
def test_training_uses_the_vintage(edition):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 5, 3)).astype("float32"), generator.random((64, 1)).astype("float32")
    model = edition.Sequential([edition.layers.GRU(4, input_shape=(5, 3)), edition.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae", "accuracy"])
    history = model.fit(x, y, epochs=2, verbose=0, validation_split=0.25)
    assert set(history.history) == {"loss", "mae", "accuracy", "val_loss", "val_mae", "val_accuracy"}
    assert model.get_weights()[2].shape == (2, 12)  # the bias of reset_after


@BOTH
def test_classes_are_found_by_pickle(edition):
    for cls in (edition.layers.Dense, edition.Model, edition.optimizers.Adam, edition.layers.LSTMCell):
        assert pickle.loads(pickle.dumps(cls)) is cls


def bar_of(edition, capsys, verbose):
    model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    model.fit(np.ones((40, 2)), np.ones((40, 1)), verbose=verbose, validation_split=0.2)
    return capsys.readouterr().out


def test_bars(capsys):
    number = r"\d\.\d{4}(e-\d\d)?"
    values = rf"loss: {number} - val_loss: {number}"
    each = r"\ds \d+[mu]?s/step"
    assert re.fullmatch(
        r"Train on 32 samples, validate on 8 samples\nEpoch 1/1\n"
        rf"32/32 \[=+\] - {each} - {values}\n",
        bar_of(keras, capsys, 1),
    )
    # Since tf.keras a single epoch has no head, Keras 3 has values by name, and bars have what callbacks add
    assert re.fullmatch(rf"1/1 \[=+\] - {each} - {values}\n", bar_of(tf_keras, capsys, 1))
    assert re.fullmatch(rf"1/1 ━{{20}} {each} - {values}\n", bar_of(keras3, capsys, 1))
    assert re.fullmatch(
        rf"1/1 - \ds - {values} - \d+[mu]?s/epoch - \d+[mu]?s/step\n", bar_of(tf_keras, capsys, 2)
    )
    assert re.fullmatch(rf"1/1 - \ds - \d+[mu]?s/step - {values}\n", bar_of(keras3, capsys, 2))


@pytest.mark.parametrize("edition", [tf_keras, keras3], ids=["tf_keras", "keras3"])
def test_logs_are_in_the_order_of_their_keras(edition, capsys):
    model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", metrics=["mae", "acc"])
    x, y, keras3_ = np.ones((8, 2)), np.ones((8, 1)), edition is keras3
    names = ["acc", "loss", "mae"] if keras3_ else ["loss", "mae", "acc"]
    rate = edition.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    seen = []
    watch = edition.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(list(logs)))
    history = model.fit(x, y, batch_size=4, verbose=2, validation_split=0.5, callbacks=[watch, rate])
    told = [*names, *(f"val_{name}" for name in names)]
    rated = "learning_rate" if keras3_ else "lr"
    assert seen == [told] and list(history.history) == [*told, rated]
    assert re.search(" - ".join(f"{name}: [^ ]+" for name in [*told, rated]), capsys.readouterr().out)
    assert list(model.evaluate(x, y, verbose=0, return_dict=True)) == names
    assert list(model.train_on_batch(x, y, return_dict=True)) == names
    found = model.evaluate(x, y, verbose=0)  # a list: the loss, and the metrics as they were given
    assert found[1] == model.evaluate(x, y, verbose=1, return_dict=True)["mae"]
    assert re.search(" - ".join(f"{name}: [^ ]+" for name in names), capsys.readouterr().out)


@pytest.mark.parametrize("edition", [tf_keras, keras3], ids=["tf_keras", "keras3"])
def test_bars_of_data_of_unknown_length_tell_it_at_the_end(edition, capsys):
    from kcompile.keras.pipelines import Dataset

    def batches():
        for _ in range(3):
            yield np.ones((4, 2), "float32"), np.ones((4, 1), "float32")

    model = edition.Sequential([edition.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    data = Dataset.from_generator(batches)
    model.fit(data)
    model.evaluate(data)
    model.predict(data, verbose=1)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["3/3"] * 3


def test_summaries(capsys):
    def made(edition):
        edition.backend.clear_session()
        layers, x = edition.layers, edition.Input((4,))
        return edition.Model(x, layers.Add()([layers.Dense(3)(x), layers.Dense(3)(x)]))

    made(keras3).summary()
    text = capsys.readouterr().out
    assert (
        text
        == """\
Model: "functional"
┏━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓
┃ Layer (type)        ┃ Output Shape      ┃    Param # ┃ Connected to      ┃
┡━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩
│ input_layer         │ (None, 4)         │          0 │ -                 │
│ (InputLayer)        │                   │            │                   │
├─────────────────────┼───────────────────┼────────────┼───────────────────┤
│ dense (Dense)       │ (None, 3)         │         15 │ input_layer[0][0] │
├─────────────────────┼───────────────────┼────────────┼───────────────────┤
│ dense_1 (Dense)     │ (None, 3)         │         15 │ input_layer[0][0] │
├─────────────────────┼───────────────────┼────────────┼───────────────────┤
│ add (Add)           │ (None, 3)         │          0 │ dense[0][0],      │
│                     │                   │            │ dense_1[0][0]     │
└─────────────────────┴───────────────────┴────────────┴───────────────────┘
 Total params: 30 (120.00 B)
 Trainable params: 30 (120.00 B)
 Non-trainable params: 0 (0.00 B)
"""
    )
    made(tf_keras).summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Model: "model"' and {len(line) for line in lines[1:4]} == {98}
    assert lines[4] == (" input_1 (InputLayer)        [(None, 4)]                  0         []" + " " * 28)
    assert lines[10] == (
        " add (Add)                   (None, 3)                    0         ['dense[0][0]'," + " " * 15
    )
    assert lines[14] == "Total params: 30 (120.00 Byte)"


def test_convolutional_lstms_are_called_as_they_are_there(tmp_path):
    first = {keras: "conv_lst_m2d_1", tf_keras: "conv_lstm2d", keras3: "conv_lstm2d"}
    for library, name in first.items():
        keras.backend.clear_session()
        assert library.layers.ConvLSTM2D(1, 1).name == name
    inputs = keras3.layers.Input((2, 3, 3, 1))
    model = keras3.models.Model(inputs, keras3.layers.ConvLSTM2D(1, 1)(inputs))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    assert "layers/conv_lstm2d/cell/vars/0" in weights

"""What is saved comes back the same, and a file appears whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
import zipfile
from pathlib import Path
from typing import Any

import crafted
import h5py
import numpy as np
import pytest

import kcompile
from kcompile import keras, keras3
from kcompile.files import emit
from kcompile.keras import layers, models
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError
from kcompile_runtime.replacing import _host

FORMATS = ["m.keras", "m.h5"]


def same(a: Any, b: Any) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def shared() -> Any:
    """Two inputs, two outputs, models inside that are called several times, shared layers."""
    a, b = keras.Input((6, 6, 2), name="a"), keras.Input((6, 6, 2), name="b")
    inner = models.Sequential(
        [
            layers.Conv2D(3, 3, padding="same", input_shape=(6, 6, 2), kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
        ],
        name="inner",
    )
    x = keras.Input((6, 6, 6))
    deep = keras.Model(x, layers.MaxPooling2D()(layers.Conv2D(4, 2, activation="tanh")(x)), name="deep")
    h = layers.Add()([inner(a), inner(b)])
    h = layers.Flatten()(deep(layers.Concatenate()([h, inner(a)])))
    h = layers.Dropout(0.3)(h)
    head = layers.Dense(5, activation="softmax", name="head", kernel_constraint="max_norm")
    return keras.Model([a, b], [head(h), layers.Dense(1, name="amount")(h)], name="whole")


def recurrent() -> Any:
    return models.Sequential(
        [
            layers.Embedding(20, 6, mask_zero=True, input_length=7),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.GRU(4, return_sequences=True, reset_after=True),
            layers.TimeDistributed(layers.Dense(3, activation="relu")),
            layers.SimpleRNN(4),
            layers.Dense(5, activation="softmax"),
        ],
        name="recurrent",
    )


def randomized(model: Any) -> Any:
    generator = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(np.abs(generator.normal(size=variable.shape)) * 0.3 + 0.05)
    return model


IMAGES = [np.random.default_rng(k).normal(size=(4, 6, 6, 2)).astype(np.float32) for k in (0, 1)]
WORDS = [np.random.default_rng(0).integers(0, 20, (4, 7)).astype(np.int32)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("make", "x"), [(shared, IMAGES), (recurrent, WORDS)])
def test_a_model_comes_back_the_same(tmp_path: Path, name: str, make: Any, x: Any) -> None:
    model = randomized(make())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hard_sigmoid in other Keras
        model.save(tmp_path / name)
    found = kcompile.load(tmp_path / name)
    assert found.name == model.name and found.vintage == model.vintage
    assert [x.name for x in found.layers] == [x.name for x in model.layers]
    same(found.get_weights(), model.get_weights())
    same(np.atleast_2d(*crafted.predict(found, *x)), np.atleast_2d(*crafted.predict(model, *x)))
    assert found.compile_arguments is None


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, decay=0.01),
        keras.optimizers.RMSprop(0.01),
        keras.optimizers.Adagrad(),
        keras.optimizers.Adadelta(0.5),
        keras.optimizers.Adam(0.01, amsgrad=True, clipnorm=1.0),
        keras.optimizers.Adamax(),
        keras.optimizers.Nadam(schedule_decay=0.01),
    ],
    ids=lambda o: type(o).__name__,
)
def test_training_goes_on_where_it_was(tmp_path: Path, name: str, optimizer: Any) -> None:
    model = crafted.dense(activation="tanh")
    model.compile(type(optimizer).from_config(optimizer.get_config()), "mse", metrics=["mae"])
    model.use_engine(kcompile_engine(model))
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(8, n)).astype(np.float32) for n in (4, 2))
    for _ in range(3):
        model.train_on_batch(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras 3 has no decay
        model.save(tmp_path / name)
    found = kcompile.load(tmp_path / name)
    found.use_engine(kcompile_engine(found))
    for a, b in zip(found.optimizer.get_weights(), model.optimizer.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    for _ in range(3):
        np.testing.assert_allclose(found.train_on_batch(x, y), model.train_on_batch(x, y), rtol=1e-6)
    for a, b in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def kcompile_engine(model: Any) -> Any:
    from kcompile.interpreted import InterpreterEngine

    return InterpreterEngine(model)


@pytest.mark.parametrize("name", FORMATS)
def test_what_compile_was_given_comes_back(tmp_path: Path, name: str) -> None:
    model = shared()
    model.compile(
        "adam",
        {"head": keras.losses.CategoricalCrossentropy(label_smoothing=0.1), "amount": "mse"},
        metrics={"head": ["accuracy"]},
        loss_weights=[1.0, 0.5],
    )
    model.save(tmp_path / name)
    found = kcompile.load(tmp_path / name)
    assert found.metrics_names == model.metrics_names
    assert found.compile_arguments.losses[0].arguments == {"label_smoothing": 0.1}
    assert found.compile_arguments.given["loss_weights"] == [1.0, 0.5]
    assert models.load_model(tmp_path / name, compile=False).compile_arguments is None
    model.save(tmp_path / name, include_optimizer=False)
    assert kcompile.load(tmp_path / name).compile_arguments is None


def test_a_compilation_that_is_not_supported_leaves_a_model_that_predicts(tmp_path: Path) -> None:
    model = crafted.dense()
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.h5")

    def change(file: h5py.File) -> None:
        given = json.loads(file.attrs["training_config"])
        given["loss"] = "my_own_loss"
        file.attrs["training_config"] = json.dumps(given)

    crafted.edit_h5(tmp_path / "m.h5", change)
    with pytest.warns(UserWarning, match="(?s)without its training configuration.*my_own_loss"):
        found = kcompile.load(tmp_path / "m.h5")
    same(found.get_weights(), model.get_weights())


@pytest.mark.parametrize("name", FORMATS)
def test_vintages_of_layers_come_back(tmp_path: Path, name: str) -> None:
    model = models.Sequential(
        [
            layers.Dense(3, activation="hard_sigmoid", input_shape=(4,), vintage="keras3", name="new"),
            layers.Dense(3, activation="hard_sigmoid", name="old"),
            layers.BatchNormalization(vintage="keras3", name="bn"),
        ]
    )
    with pytest.warns(UserWarning, match="hard_sigmoid is another function"):
        model.save(tmp_path / name)
    found = kcompile.load(tmp_path / name)
    assert [layer.vintage for layer in found.layers] == ["keras3", "keras2", "keras3"]


@pytest.mark.parametrize("name", FORMATS)
def test_frozen_models_inside(tmp_path: Path, name: str) -> None:
    """Weights of a model inside are stored trainable ones first, which frozen layers change."""
    model = randomized(shared())
    model.get_layer("inner").layers[1].trainable = False
    model.get_layer("deep").trainable = False
    model.save(tmp_path / name)
    same(kcompile.load(tmp_path / name).get_weights(), model.get_weights())


def test_layers_shared_with_a_model_inside(tmp_path: Path) -> None:
    common = layers.Dense(4, name="common")
    x = keras.Input((4,))
    inner = keras.Model(x, common(x), name="inner")
    a = keras.Input((4,))
    model = randomized(keras.Model(a, layers.Add()([inner(a), common(a)])))
    model.save_weights(tmp_path / "w.weights.h5")
    before = model.get_weights()
    model.set_weights([w * 0 for w in before])
    model.load_weights(tmp_path / "w.weights.h5")
    same(model.get_weights(), before)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.h5", "w.hdf5", "w.npz"])
def test_weights_alone(tmp_path: Path, name: str) -> None:
    model = randomized(shared())
    model.save_weights(tmp_path / name)
    other = shared()
    other.load_weights(tmp_path / name)
    same(other.get_weights(), model.get_weights())


def test_weights_of_whole_models(tmp_path: Path) -> None:
    model = crafted.dense()
    for name in FORMATS:
        model.save(tmp_path / name)
        other = crafted.dense()
        other.load_weights(tmp_path / name)
        same(other.get_weights(), model.get_weights())


def test_weights_by_name(tmp_path: Path) -> None:
    model = crafted.dense()
    model.save_weights(tmp_path / "w.h5")
    other = models.Sequential(
        [layers.Dense(3, input_shape=(4,), name="first"), layers.Dense(7, name="third")]
    )
    third = other.get_layer("third").get_weights()
    other.load_weights(tmp_path / "w.h5", by_name=True)
    same(other.get_layer("first").get_weights(), model.get_layer("first").get_weights())
    same(other.get_layer("third").get_weights(), third)
    model.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(UnsupportedError, match="by_name needs"):
        other.load_weights(tmp_path / "w.weights.h5", by_name=True)


def test_mismatches_are_skipped_only_if_asked(tmp_path: Path) -> None:
    model = crafted.dense()
    model.save_weights(tmp_path / "w.h5")
    other = models.Sequential(
        [layers.Dense(3, input_shape=(4,), name="first"), layers.Dense(7, name="second")]
    )
    with pytest.raises(ModelError, match="'second'"):
        other.load_weights(tmp_path / "w.h5")
    with pytest.warns(UserWarning, match="'second'"):
        other.load_weights(tmp_path / "w.h5", skip_mismatch=True)
    same(other.get_layer("first").get_weights(), model.get_layer("first").get_weights())


def test_weights_in_order_under_other_names(tmp_path: Path) -> None:
    model = crafted.dense()
    model.save_weights(tmp_path / "w.h5")
    other = models.Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(2)])
    other.load_weights(tmp_path / "w.h5")
    same(other.get_weights(), model.get_weights())


def test_texts(tmp_path: Path) -> None:
    model = randomized(shared())
    model.save_weights(tmp_path / "w.h5")
    for text, read, suffix in (
        (model.to_json(), models.model_from_json, "json"),
        (model.to_yaml(), models.model_from_yaml, "yaml"),
    ):
        assert read(text).count_params() == model.count_params()
        (tmp_path / f"m.{suffix}").write_text(text)
        found = kcompile.load(tmp_path / f"m.{suffix}", weights=tmp_path / "w.h5")
        for a, b in zip(crafted.predict(found, *IMAGES), crafted.predict(model, *IMAGES)):
            np.testing.assert_array_equal(a, b)


def test_classes_of_ones_own(tmp_path: Path) -> None:
    class Twice(layers.Layer):
        def __init__(self, times: int = 2, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.times = times

        def call(self, x: Any) -> Any:
            return x * float(self.times)

    model = models.Sequential([layers.Dense(3, input_shape=(4,)), Twice(3, name="t")])
    for name in FORMATS:
        model.save(tmp_path / name)
        with pytest.raises(UnsupportedError, match="'t' \\(Twice\\)"):
            kcompile.load(tmp_path / name)
        found = kcompile.load(tmp_path / name, custom_objects={"Twice": Twice})
        assert found.layers[1].times == 3


def test_many_names_do_not_fit_one_header(tmp_path: Path) -> None:
    """HDF5 holds 64 KiB in an object header; Keras cuts longer lists in parts."""
    x = keras.Input((2,), name="x")
    y = x
    for i in range(300):
        y = layers.Activation("linear", name=f"{i:03}" + "a" * 300)(y)
    model = keras.Model(x, layers.Dense(2)(y))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert "layer_names1" in file["model_weights"].attrs
    same(kcompile.load(tmp_path / "m.h5").get_weights(), model.get_weights())


def test_compiled_models_save(tmp_path: Path) -> None:
    model = crafted.dense()
    kcompile.compile(model).save(tmp_path / "m.keras")
    same(kcompile.load(tmp_path / "m.keras").get_weights(), model.get_weights())


# ---------------------------------------------------------------- whole or not at all


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in FORMATS:
        crafted.dense().save(tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in FORMATS}
    monkeypatch.setattr(os, "fsync", full)
    for name in FORMATS:
        with pytest.raises(OSError, match="No space"):
            crafted.dense().save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before[name]
    monkeypatch.undo()
    monkeypatch.setattr(emit, "configuration", full)
    with pytest.raises(OSError, match="No space"):
        crafted.dense().save(tmp_path / "m.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FORMATS)


def test_existing_files_are_kept_on_request(tmp_path: Path) -> None:
    crafted.dense().save(tmp_path / "m.h5")
    with pytest.raises(InputError, match="overwrite=True"):
        crafted.dense().save(tmp_path / "m.h5", overwrite=False)


def test_permissions_are_those_of_new_files(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        crafted.dense().save(tmp_path / "m.h5")
        assert (tmp_path / "m.h5").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mask)


@pytest.mark.parametrize("name", ["m.onnx", "m.json"])
def test_suffixes_that_say_another_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.keras, \.h5"):
        crafted.dense().save(tmp_path / name)
    with pytest.raises(InputError, match=r"\.weights\.h5"):
        crafted.dense().save_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["m", "m.ckpt"])
def test_any_other_name_is_of_an_hdf5_file_in_keras_2(tmp_path: Path, name: str) -> None:
    model = crafted.dense()
    model.save(tmp_path / name)
    model.save_weights(tmp_path / f"w{name}")
    loaded, other = kcompile.load(tmp_path / name), crafted.dense()
    other.load_weights(tmp_path / f"w{name}")
    for one in (loaded, other):
        for ours, theirs in zip(one.get_weights(), model.get_weights()):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match=r"\.keras, \.h5"):
        keras3.Sequential([keras3.layers.Dense(2, input_shape=(3,))]).save(tmp_path / f"new{name}")


def test_models_without_weights(tmp_path: Path) -> None:
    model = models.Sequential([layers.Dense(3)])
    with pytest.raises(ModelError, match="no weights yet"):
        model.save(tmp_path / "m.h5")
    with pytest.raises(ModelError, match="no weights yet"):
        model.load_weights(tmp_path / "m.h5")


@pytest.mark.parametrize("name", [*FORMATS, "m.json"])
def test_training_flags_of_calls(tmp_path: Path, name: str) -> None:
    x = keras.Input((50,))
    base = models.Sequential([layers.BatchNormalization(input_shape=(50,))], name="base")
    model = keras.Model(x, layers.Dropout(0.5)(base(x, training=False), training=True))
    if name.endswith("json"):
        (tmp_path / name).write_text(model.to_json())
    else:
        model.save(tmp_path / name)
    found = kcompile.load(tmp_path / name)
    assert [node.arguments for node in found.nodes if node.arguments] == [
        {"training": False},
        {"training": True},
    ]
    assert np.count_nonzero(crafted.predict(found, np.ones((1, 50), np.float32)) == 0) > 5


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    model = models.Sequential([layers.Dense(2, input_dim=3)])
    (tmp_path / "there").mkdir()
    (tmp_path / "latest.keras").symlink_to("there/first.keras")
    model.save(tmp_path / "latest.keras")  # what it points to is not there yet
    model.set_weights([np.full_like(w, 7) for w in model.get_weights()])
    os.chmod(tmp_path / "there" / "first.keras", 0o640)
    model.save(tmp_path / "latest.keras")
    assert (tmp_path / "latest.keras").is_symlink()
    assert (tmp_path / "there" / "first.keras").stat().st_mode & 0o777 == 0o640
    assert kcompile.load(tmp_path / "there" / "first.keras").get_weights()[0][0, 0] == 7


def test_what_ended_saves_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = _host()
    old = [tmp_path / f".m.keras.{host}-{gone.pid}-{k:016x}.part" for k in range(2)]
    kept = [
        tmp_path / f".m.keras.{host}-{os.getpid()}-{2:016x}.part",  # of a process that lives
        tmp_path / f".m.keras.{int(host, 16) ^ 1:08x}-{gone.pid}-{3:016x}.part",  # of another machine
        tmp_path / ".m.keras.part",
        tmp_path / f".m.keras.{host}-{gone.pid}-{4:016x}.part",
    ]
    for path in (*old, *kept):
        path.write_bytes(b"part of a model")
        os.utime(path, (1, 1))
    os.utime(kept[-1])  # it may be another container's
    models.Sequential([layers.Dense(2, input_dim=3)]).save(tmp_path / "m.keras")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "m.keras"])


def test_npz_weights_get_the_checks_of_others(tmp_path: Path) -> None:
    model = models.Sequential([layers.Dense(2, input_dim=3, name="first")])
    path = tmp_path / "w.npz"
    for wrong, told in (
        (np.ones((3, 2), bool), "float32"),
        (np.ones((3, 2), "int32"), "float32"),
        (np.ones((2, 3), "float32"), r"\(3, 2\)"),
    ):
        np.savez(path, wrong, np.zeros(2, "float32"))
        with pytest.raises(ModelError, match=told):
            model.load_weights(path)
    np.savez(path, np.ones((3, 2), "float32"))
    with pytest.raises(ModelError, match="2 arrays"):
        model.load_weights(path)
    for values in (np.full((3, 2), np.nan), np.full((3, 2), 1e300)):  # infinite as float32
        np.savez(path, values, np.zeros(2))
        with pytest.warns(UserWarning, match="NaN or infinite, in the layers 'first'"):
            model.load_weights(path)
    with pytest.warns(UserWarning, match="'first/kernel'.* became infinite"):
        model.set_weights([np.full((3, 2), 1e300), np.zeros(2)])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_a_lambda_says_of_its_shape_comes_back(tmp_path: Path, suffix: str) -> None:
    """And is checked against the function that the reader gives."""
    model = models.Sequential(
        [layers.Lambda(lambda x: x * 2, output_shape=(7,), name="twice", input_shape=(7,))]
    )
    model.save(tmp_path / f"m{suffix}")
    loaded = kcompile.load(tmp_path / f"m{suffix}", custom_objects={"twice": lambda x: x * 2})
    assert loaded.get_layer("twice").get_config()["output_shape"] == [7]
    with pytest.raises(ModelError, match="output_shape"):
        kcompile.load(tmp_path / f"m{suffix}", custom_objects={"twice": lambda x: x[:, 1:]})


def test_spatial_dropout_is_written_as_the_class_of_keras_3_takes_it(tmp_path):
    x = layers.Input((4, 3))
    models.Model(x, layers.SpatialDropout1D(0.5, name="drop")(x)).save(tmp_path / "m.keras")
    config = json.loads(zipfile.ZipFile(tmp_path / "m.keras").read("config.json"))
    written = next(e["config"] for e in config["config"]["layers"] if e["config"]["name"] == "drop")
    assert set(written) == {"name", "dtype", "rate", "seed"}
    assert models.load_model(tmp_path / "m.keras").get_layer("drop").rate == 0.5


def test_kernels_of_convolutions_are_reshaped_where_that_is_asked_for(tmp_path):
    """As in Keras 2.2.4 and 2.3.1: in the order of the numbers, and of no other layer."""

    def conv(*size):
        return models.Sequential([layers.Conv2D(4, size, input_shape=(5, 5, 2), name="c")])

    stored, other = conv(2, 3), conv(3, 2)
    numbers = [np.arange(48.0).reshape(2, 3, 2, 4), np.arange(4.0)]
    stored.set_weights(numbers)
    stored.save_weights(tmp_path / "w.h5")
    with pytest.raises(ModelError, match="shapes"):
        other.load_weights(tmp_path / "w.h5")
    for by_name in (False, True):
        other.set_weights([np.zeros((3, 2, 2, 4)), np.zeros(4)])
        other.load_weights(tmp_path / "w.h5", by_name=by_name, reshape=True)
        np.testing.assert_array_equal(np.ravel(other.get_weights()[0]), np.arange(48))
        np.testing.assert_array_equal(other.get_weights()[1], numbers[1])
    models.Sequential([layers.Dense(4, input_shape=(2,))]).save_weights(tmp_path / "d.h5")
    with pytest.raises(ModelError, match="shapes"):
        models.Sequential([layers.Dense(2, input_shape=(4,))]).load_weights(tmp_path / "d.h5", reshape=True)
    with pytest.raises(ModelError, match="shapes"):
        conv(3, 3).load_weights(tmp_path / "w.h5", reshape=True)


def test_layers_that_do_not_fit_are_left_out_by_name(tmp_path):
    def net(size):
        return models.Sequential(
            [
                layers.Conv2D(3, 2, input_shape=(size, size, 2), name="c"),
                layers.Flatten(),
                layers.Dense(2, name="d"),
            ]
        )

    stored, other = net(5), net(6)
    stored.save_weights(tmp_path / "w.h5")
    before = other.layers[2].get_weights()
    with pytest.warns(UserWarning, match="left out"):
        other.load_weights(tmp_path / "w.h5", by_name=True, skip_mismatch=True)
    np.testing.assert_array_equal(other.layers[0].get_weights()[0], stored.layers[0].get_weights()[0])
    np.testing.assert_array_equal(other.layers[2].get_weights()[0], before[0])


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_a_file_of_a_model_that_was_not_compiled_is_told_of_where_keras_does(
    tmp_path: Path, name: str
) -> None:
    model = models.Sequential([layers.Dense(1, input_shape=(2,))])
    model.save(tmp_path / name)
    if name == "m.h5":
        with pytest.warns(UserWarning, match=r"m\.h5: no training configuration"):
            models.load_model(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.load_model(tmp_path / name, compile=name == "m.keras")
        model.compile("sgd", "mse")
        model.save(tmp_path / name)
        assert models.load_model(tmp_path / name).optimizer is not None

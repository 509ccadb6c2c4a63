"""Configurations of layers in files: what has a place of its own in another Keras, and what has none."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.files import emit
from kcompile.interpreted import InterpreterEngine
from kcompile_runtime.errors import ModelError, UnsupportedError

FORMATS = ["m.keras", "m.h5"]
LIBRARIES = pytest.mark.parametrize("library", [keras, keras3, tf_keras])


def again(model: Any, library: Any, path: Path, **custom: Any) -> Any:
    model.save(path)
    return library.models.load_model(path, custom_objects=custom, compile=False)


def config_of(model: Any, dialect: Any = "keras3") -> dict[str, Any]:
    """Of the last layer, as it is written."""
    return dict(emit.configuration(model, dialect)[0]["config"]["layers"][-1]["config"])


@pytest.mark.parametrize("name", FORMATS)
@LIBRARIES
def test_norms_have_the_classes_that_each_keras_has(library: Any, name: str, tmp_path: Path) -> None:
    regularizers = library.regularizers
    made = [regularizers.l1(0.02), regularizers.l2(0.1), regularizers.L1L2(0.02, 0.0), regularizers.l1_l2()]
    kinds = ["L1L2", "L1L2"] if library is keras else ["L1", "L2"]
    assert [type(r).__name__ for r in made] == [*kinds, "L1L2", "L1L2"]
    layers = [library.layers.Dense(2, kernel_regularizer=r, bias_regularizer="l1") for r in made]
    model = library.Sequential([library.Input((2,)), *layers])
    found = again(model, library, tmp_path / name)
    for layer, read in zip(layers, found.layers[-4:], strict=True):
        for option in ("kernel_regularizer", "bias_regularizer"):
            assert read.get_config()[option] == layer.get_config()[option]


def halves(library: Any, **options: Any) -> Any:
    layers = library.layers
    forward = layers.SimpleRNN(2, return_sequences=True)
    return library.Sequential([library.Input((4, 3)), layers.Bidirectional(forward, **options)])


def other_half(library: Any) -> Any:
    return library.layers.SimpleRNN(2, "relu", use_bias=False, return_sequences=True, go_backwards=True)


@pytest.mark.parametrize("name", FORMATS)
@LIBRARIES
def test_a_bidirectional_keeps_its_backward_layer(library: Any, name: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    for own in (False, True):
        model = halves(library, **({"backward_layer": other_half(library)} if own else {}))
        found = again(model, library, tmp_path / name)
        for one in (model, found):
            one.use_engine(InterpreterEngine(one))
        assert ("backward_layer" in found.layers[-1].get_config()) is own
        assert len(found.get_weights()) == 6 - own
        np.testing.assert_array_equal(found.predict_on_batch(x), model.predict_on_batch(x))


def test_keras_3_is_told_both_layers_of_a_bidirectional() -> None:
    config = config_of(halves(keras3))
    forward, backward = config["layer"]["config"], config["backward_layer"]["config"]
    assert (forward["go_backwards"], backward["go_backwards"]) == (False, True)
    assert backward["name"].startswith("backward_")


@pytest.mark.parametrize("half", ["forward_layer", "backward_layer"])
def test_a_half_of_a_bidirectional_stays_frozen(half: str, tmp_path: Path) -> None:
    model = halves(keras3)
    getattr(model.layers[-1], half).trainable = False
    found = again(model, keras3, tmp_path / "m.keras")
    assert not getattr(found.layers[-1], half).trainable
    assert len(found.trainable_weights) == len(model.trainable_weights) == 3


@pytest.mark.parametrize("name", FORMATS)
@LIBRARIES
def test_a_layer_whose_flag_keras_3_does_not_take_stays_frozen(
    library: Any, name: str, tmp_path: Path
) -> None:
    dropping = library.layers.SpatialDropout1D(0.2, trainable=False)
    model = library.Sequential([library.Input((3, 2)), dropping, library.layers.SpatialDropout1D(0.1)])
    found = again(model, library, tmp_path / name)
    assert [layer.trainable for layer in found.layers[-2:]] == [False, True]
    for dialect in ("tf_keras", "keras3"):
        assert "trainable" not in config_of(model, dialect)
    assert config_of(model, "keras2")["trainable"] is True


def doubled(x: Any) -> Any:
    return x * 2


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_lambda_says_of_which_kinds_its_functions_are(library: Any, tmp_path: Path) -> None:
    model = library.Sequential([library.Input((3,)), library.layers.Lambda(doubled, output_shape=(3,))])
    config = json.loads(model.to_json())["config"]["layers"][-1]["config"]
    assert config["function"] == "doubled" and config["function_type"] == "function"
    assert config["output_shape_type"] == "raw" and "mask" not in config
    found = again(model, library, tmp_path / "m.h5", doubled=doubled)
    assert found.layers[-1].get_config() == model.layers[-1].get_config()


def test_what_tf_keras_says_of_a_separable_kernel_is_nothing() -> None:
    layers = tf_keras.layers
    model = tf_keras.Sequential([tf_keras.Input((7, 2)), layers.SeparableConv1D(2, 3)])
    written = json.loads(model.to_json())
    of_any = {"class_name": "GlorotUniform", "module": "keras.initializers", "config": {"seed": None}}
    written["config"]["layers"][-1]["config"] |= {
        "groups": 1,
        "kernel_initializer": {**of_any, "registered_name": None},
        "kernel_regularizer": None,
        "kernel_constraint": None,
    }
    found = tf_keras.models.model_from_json(json.dumps(written))
    assert found.layers[-1].get_config() == model.layers[-1].get_config()


def test_the_length_of_an_embedding_is_in_files_of_keras_2(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Embedding(5, 2, input_length=3)])
    assert config_of(model, "keras2")["input_length"] == 3
    assert "input_length" not in config_of(model)
    assert again(model, keras, tmp_path / "m.h5").layers[-1].input_length == 3


@pytest.mark.parametrize("option", [{"virtual_batch_size": 2}, {"adjustment": len}])
def test_batch_normalization_refuses_other_batches(option: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=f"{next(iter(option))}.*Leave it out"):
        tf_keras.layers.BatchNormalization(**option)


def test_batch_renormalization_checks_its_limits() -> None:
    normalization = tf_keras.layers.BatchNormalization
    for clipping in ({"rmax": 0.5, "rmin": 1.0}, {"dmax": -1.0}, {"r": 1.0}, 3):
        with pytest.raises(ModelError, match="renorm_clipping"):
            normalization(renorm=True, renorm_clipping=clipping)
    with pytest.raises(ModelError, match="fused"):
        normalization(renorm=True, fused=True)
    with pytest.raises(TypeError, match="renorm"):
        keras.layers.BatchNormalization(renorm=True)


def test_a_renormalizing_layer_computes_the_same_compiled(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32) * 2 + 1
    found = []
    for interpreted in (True, False):
        layer = keras3.layers.BatchNormalization(
            momentum=0.5, renorm=True, renorm_clipping={"rmax": 1.2, "dmax": 0.4}, renorm_momentum=0.6
        )
        model = keras3.Sequential([keras3.Input((3,)), layer])
        model.compile("sgd", "mse")
        if interpreted:
            model.use_engine(InterpreterEngine(model))
        losses = [np.ravel(model.train_on_batch(x, x))[0] for _ in range(3)]
        found.append([*losses, *np.ravel(model.predict(x, verbose=0)), *np.ravel(model.get_weights())])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_batch_normalization_has_the_kernel_that_tf_keras_takes() -> None:
    layers = tf_keras.layers
    with pytest.raises(ModelError, match="fused"):
        layers.BatchNormalization(fused=True)(tf_keras.Input((3,)))
    with pytest.raises(ModelError, match="fused"):
        layers.BatchNormalization(fused=True, synchronized=True)
    with pytest.raises(TypeError, match="fused"):
        keras3.layers.BatchNormalization(fused=True)
    x = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)
    followed = []
    for option in ({}, {"fused": True}, {"fused": False}, {"synchronized": True}):
        layer = layers.BatchNormalization(momentum=0.0, **option)
        model = tf_keras.Sequential([tf_keras.Input((1, 1, 1)), layer])
        model.compile("sgd", "mse")
        model.use_engine(InterpreterEngine(model))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.train_on_batch(x, x)
        followed.append(float(layer.get_weights()[3][0]))
    np.testing.assert_allclose(followed, [5 / 3, 5 / 3, 5 / 4, 5 / 4], rtol=1e-6)


def test_group_normalization_of_tf_keras_leaves_out_masked_elements() -> None:
    class Nonzero(tf_keras.layers.Layer):
        supports_masking = True

        def call(self, x: Any) -> Any:
            return x

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return tf_keras.backend.not_equal(inputs, 0.0)

    inputs = tf_keras.Input((4,))
    layer = tf_keras.layers.GroupNormalization(1, epsilon=0.0)
    model = tf_keras.Model(inputs, layer(Nonzero()(inputs)))
    model.use_engine(InterpreterEngine(model, "float64"))
    x = np.array([[1.0, 3.0, 0.0, 0.0]])  # a mean of 2 and a variance of 1
    np.testing.assert_allclose(model.predict_on_batch(x), [[-1.0, 1.0, -2.0, -2.0]])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_pipeline_in_a_functional_model_is_no_model_inside(suffix: str, tmp_path: Path) -> None:
    norm = keras3.layers.Normalization()
    norm.adapt(np.array([[1.0, 2.0], [3.0, 8.0]], np.float32))
    x = keras3.Input((2,))
    inside = keras3.layers.Pipeline([norm, keras3.layers.Rescaling(2.0)])(x)
    model = keras3.Model(x, keras3.layers.Dense(1, kernel_initializer="ones")(inside))
    model.save(tmp_path / f"model{suffix}")
    again = keras3.models.load_model(tmp_path / f"model{suffix}")
    data = np.array([[2.0, 5.0], [3.0, 8.0]], np.float32)
    np.testing.assert_allclose(again.predict(data, verbose=0), [[0.0], [4.0]], atol=1e-6)

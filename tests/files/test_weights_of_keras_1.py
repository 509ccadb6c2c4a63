"""Weights of Keras 1: kernels in other shapes and orders, gates one by one, unknown backends."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import crafted
import h5py
import numpy as np
import pytest
from crafted import layer, write_json, write_keras1

import kcompile
from kcompile.keras import layers, models
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def loaded(path: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kcompile.load(path, **options)


def conv_model(ordering: str, **config: Any) -> list[dict[str, Any]]:
    shape = [None, 2, 5, 6] if ordering == "th" else [None, 5, 6, 2]
    return [
        layer(
            "Convolution2D",
            "c",
            nb_filter=4,
            nb_row=3,
            dim_ordering=ordering,
            batch_input_shape=shape,
            input_dtype="float32",
            **{"nb_col": 2, "border_mode": "valid", "subsample": [1, 1], **config},
        )
    ]


def reference(kernel: np.ndarray, bias: np.ndarray, ordering: str, x: np.ndarray) -> np.ndarray:
    """The same convolution as Keras 2 has it."""
    first = ordering == "th"
    model = models.Sequential(
        [
            layers.Conv2D(
                4, (3, 2), input_shape=x.shape[1:], data_format="channels_first" if first else "channels_last"
            )
        ]
    )
    model.set_weights([kernel, bias])
    return crafted.predict(model, x)


@pytest.mark.parametrize("ordering", ["th", "tf"])
@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
def test_kernels_of_keras_1(tmp_path: Path, ordering: str, backend: str) -> None:
    kernel, bias = draw(3, 2, 2, 4), draw(4)  # as Keras 2 has it
    x = draw(3, 2, 5, 6) if ordering == "th" else draw(3, 5, 6, 2)
    stored = kernel.transpose(3, 2, 0, 1) if ordering == "th" else kernel
    suffix = ":0" if backend == "tensorflow" else ""
    path = write_keras1(tmp_path / "m.h5", conv_model(ordering), {"c": [stored, bias]}, suffix)
    turned = kernel[::-1, ::-1] if backend == "theano" else kernel
    expected = reference(turned, bias, ordering, x)
    with pytest.warns(UserWarning, match=f"By the names of its weights it was {backend}"):
        guessed = kcompile.load(path)
    np.testing.assert_allclose(crafted.predict(guessed, x), expected, rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = kcompile.load(path, backend=backend)
    np.testing.assert_allclose(crafted.predict(told, x), expected, rtol=1e-5)
    other = "theano" if backend == "tensorflow" else "tensorflow"
    assert not np.allclose(crafted.predict(kcompile.load(path, backend=other), x), expected)


def test_no_warning_where_the_backend_does_not_matter(tmp_path: Path) -> None:
    path = write_keras1(
        tmp_path / "m.h5",
        [layer("Dense", "d", output_dim=3, batch_input_shape=[None, 4])],
        {"d": [draw(4, 3), draw(3)]},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kcompile.load(path)


def test_theano_in_files_that_say_so(tmp_path: Path) -> None:
    model = models.Sequential([layers.Conv2D(4, (3, 2), input_shape=(5, 6, 2))])
    model.save(tmp_path / "m.h5")

    def change(file: h5py.File) -> None:
        del file.attrs["kcompile"]
        file.attrs["keras_version"], file.attrs["backend"] = "2.1.3", "theano"

    crafted.edit_h5(tmp_path / "m.h5", change)
    kernel = kcompile.load(tmp_path / "m.h5").get_weights()[0]
    np.testing.assert_array_equal(kernel, model.get_weights()[0][::-1, ::-1])
    with pytest.raises(ModelError, match="which the file says"):
        kcompile.load(tmp_path / "m.h5", backend="tensorflow")
    with pytest.raises(InputError, match="'tensorflow' or 'theano'"):
        kcompile.load(tmp_path / "m.h5", backend="cntk")


def test_paddings_of_theano_that_differ_are_told(tmp_path: Path) -> None:
    for config in ({"border_mode": "same"}, {"border_mode": "same", "nb_col": 3, "subsample": [2, 2]}):
        path = write_keras1(
            tmp_path / "m.h5",
            conv_model("tf", **config),
            {"c": [draw(3, config.get("nb_col", 2), 2, 4), draw(4)]},
        )
        with pytest.raises(UnsupportedError, match="Theano's padding"):
            kcompile.load(path, backend="theano")
        with pytest.raises(UnsupportedError, match="Theano's padding"):
            loaded(path)  # found out by the names of the weights


def test_convolutions_in_one_dimension(tmp_path: Path) -> None:
    kernel, bias = draw(3, 2, 4), draw(4)
    entry = layer(
        "Convolution1D",
        "c",
        nb_filter=4,
        filter_length=3,
        border_mode="valid",
        subsample_length=1,
        batch_input_shape=[None, 7, 2],
    )
    for stored in (kernel[:, None], kernel[:, None].transpose(3, 2, 0, 1)):
        path = write_keras1(tmp_path / "m.h5", [entry], {"c": [stored, bias]}, ":0")
        np.testing.assert_array_equal(loaded(path).get_weights()[0], kernel)


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_gates_of_recurrent_layers(tmp_path: Path, kind: str, gates: int) -> None:
    """Keras 1 stored W, U, b of each gate: LSTM as i, c, f, o, GRU as z, r, h."""
    if not hasattr(layers, kind):
        pytest.skip(f"no {kind} yet")
    parts = [array for _ in range(gates) for array in (draw(2, 3), draw(3, 3), draw(3))]
    entry = layer(
        kind,
        "r",
        output_dim=3,
        init="glorot_uniform",
        inner_init="orthogonal",
        activation="tanh",
        inner_activation="hard_sigmoid",
        return_sequences=True,
        consume_less="cpu",
        dropout_W=0.0,
        dropout_U=0.0,
        batch_input_shape=[None, 5, 2],
        **({"forget_bias_init": "one"} if kind == "LSTM" else {}),
    )
    path = write_keras1(tmp_path / "m.h5", [entry], {"r": parts})
    kernel, recurrent, bias = kcompile.load(path).get_weights()
    order = (0, 2, 1, 3) if kind == "LSTM" else (0, 1, 2)
    np.testing.assert_array_equal(kernel, np.concatenate([parts[3 * g] for g in order], 1))
    np.testing.assert_array_equal(recurrent, np.concatenate([parts[3 * g + 1] for g in order], 1))
    np.testing.assert_array_equal(bias, np.concatenate([parts[3 * g + 2] for g in order]))


def test_weights_of_another_size_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = write_keras1(tmp_path / "m.h5", conv_model("tf"), {"c": [draw(3, 2, 2, 5), draw(4)]})
    with pytest.raises(ModelError, match="Layer 'c' \\(Conv2D\\): expected shapes"):
        loaded(path)


def test_weights_alone_of_keras_1(tmp_path: Path) -> None:
    """An architecture in JSON, and weights that say nothing of themselves."""
    kernel, bias = draw(3, 2, 2, 4), draw(4)
    write_json(tmp_path / "m.json", {"class_name": "Sequential", "config": conv_model("tf")})
    write_keras1(tmp_path / "whole.h5", conv_model("tf"), {"c": [kernel, bias]})
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = whole["model_weights"].attrs["layer_names"]
        whole.copy("model_weights/c", file, "c")
    with pytest.warns(UserWarning, match="it was theano"):
        model = kcompile.load(tmp_path / "m.json", weights=tmp_path / "w.h5")
    np.testing.assert_array_equal(model.get_weights()[0], kernel[::-1, ::-1])
    model = kcompile.load(tmp_path / "m.json", weights=tmp_path / "w.h5", backend="tensorflow")
    np.testing.assert_array_equal(model.get_weights()[0], kernel)

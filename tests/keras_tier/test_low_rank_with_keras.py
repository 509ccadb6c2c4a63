"""Adapters of low rank beside Keras 3: lora_rank, enable_lora, steps, archives and .h5 both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine
from kcompile_runtime.errors import KcompileError

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
RNG = np.random.default_rng(0)
WORDS = RNG.integers(0, 6, (8, 5)).astype("int32")
Y = RNG.normal(size=(8, 2)).astype("float32")


def compiled(keras: Any, model: Any) -> Any:
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
    if keras is keras3:
        model.use_engine(InterpreterEngine(model))
    return model


def built(keras: Any) -> Any:
    """All five kinds, some adapted from the beginning and some later."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(6, 4, lora_rank=2, lora_alpha=3),
            layers.Conv1D(3, 2, lora_rank=2, lora_alpha=3),
            layers.EinsumDense("abc,cde->abde", (4, 2, 3), bias_axes="e", lora_rank=2, lora_alpha=3),
            layers.Flatten(),
            layers.Dense(4, "tanh", name="later", kernel_regularizer="l2"),
            layers.Dense(2, lora_rank=1, lora_alpha=4),
        ]
    )
    model.get_layer("later").enable_lora(2, lora_alpha=4, b_initializer="ones")
    return compiled(keras, model)


def test_steps_and_files(tmp_path: Path) -> None:
    theirs = pytest.importorskip("keras")
    real, mine = built(theirs), built(keras3)
    for of in ("weights", "trainable_weights", "non_trainable_weights"):
        found, right = ([(w.name, tuple(w.shape)) for w in getattr(m, of)] for m in (mine, real))
        assert found == right, of
    assert [getattr(a, "lora_alpha", 0) for a in mine.layers] == [
        getattr(a, "lora_alpha", 0) for a in real.layers
    ]
    mine.set_weights([RNG.normal(size=w.shape) * 0.3 for w in mine.get_weights()])
    real.set_weights(mine.get_weights())
    models = {"real": real, "mine": mine, "live": compiled(keras3, from_keras(real))}
    for ending in ("keras", "h5"):
        for name, writer in (("real", real), ("mine", mine)):
            writer.save(tmp_path / f"{name}.{ending}")
            for reader in (theirs, keras3):
                read = reader.models.load_model(tmp_path / f"{name}.{ending}", compile=False)
                models[f"{name} {ending} {reader.__name__}"] = compiled(reader, read)
    first: dict[str, list[Any]] = {}
    for name, model in models.items():
        found = [model.predict(WORDS, verbose=0)]
        found += [np.ravel(model.train_on_batch(WORDS, Y))[0] for _ in range(4)]
        found += [model.predict(WORDS, verbose=0)]
        # Adapters of archives begin as zeros; from files some layers of Keras take no lora_alpha
        expected = first.setdefault(name.split()[1] if " " in name else "live", found)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(first["keras"][0], first["live"][0], rtol=1e-4, atol=1e-5)


def test_a_model_that_was_used_takes_its_adapters_in() -> None:
    model = keras3.Sequential([keras3.Input((4,)), keras3.layers.Dense(3), keras3.layers.Dense(2)])
    outer = keras3.Sequential([keras3.Input((4,)), model])
    x = RNG.normal(size=(3, 4)).astype("float32")
    for one in (model, outer):
        one.use_engine(InterpreterEngine(one))
        one.predict(x, verbose=0)
    layer = model.layers[0]
    layer.enable_lora(2, b_initializer="ones")
    kernel, bias, a, b = layer.get_weights()
    last, more = model.layers[1].get_weights()
    right = (x @ (kernel + a @ b) + bias) @ last + more
    for one in (model, outer):
        np.testing.assert_allclose(one.predict(x, verbose=0), right, rtol=1e-4, atol=1e-5)
    for wrong in (
        lambda: layer.enable_lora(2),
        lambda: keras3.layers.Dense(2).enable_lora(2),
        lambda: model.layers[1].enable_lora(0),
        lambda: tf_keras.layers.Dense(2).enable_lora(2),
    ):
        with pytest.raises((KcompileError, ValueError)):
            wrong()
    layer.trainable = False
    assert not layer.trainable_weights
    layer.trainable = True  # and so is the kernel, as in Keras
    assert [w.name for w in layer.trainable_weights] == ["kernel", "bias", "lora_kernel_a", "lora_kernel_b"]
    layer.kernel.trainable = False
    assert [w.name for w in layer.non_trainable_weights] == ["kernel"]

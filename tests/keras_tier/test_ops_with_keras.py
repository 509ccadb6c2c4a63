"""keras.ops and its layers against Keras: values of every function, classes, signatures, files, gradients."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ops_cases import CASES, A

import kcompile
from kcompile import keras3
from kcompile.keras import keras3_ops as ops
from kcompile.keras.keras3_ops.classes import CLASSES
from kcompile.keras.keras3_ops.refused import REASONS
from kcompile.keras.models import load_model
from kcompile.keras.operands import leaves
from kcompile_runtime.errors import UnsupportedError

keras = pytest.importorskip("keras")

SOME = sorted(CASES)[::9]  # the rest in the slow tier


def _agree(name: str) -> None:
    for args, kwargs in CASES[name]:
        theirs = list(leaves(getattr(keras.ops, name)(*args, **kwargs)))
        ours = list(leaves(getattr(ops, name)(*args, **kwargs)))
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs):
            mine, other = np.asarray(mine), np.asarray(other)
            assert mine.shape == other.shape
            if name not in ("size", "ndim"):  # Keras gives Python's numbers
                assert mine.dtype == other.dtype, (name, args, kwargs)
            np.testing.assert_allclose(mine, other, 2e-5, 2e-5, err_msg=f"{name} {kwargs}")


@pytest.mark.parametrize("name", SOME)
def test_a_function_gives_what_keras_gives(name: str) -> None:
    _agree(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CASES) - set(SOME)))
def test_every_other_function_gives_what_keras_gives(name: str) -> None:
    _agree(name)


def test_every_function_of_keras_is_there_or_refused() -> None:
    theirs = {name for name, value in vars(keras.ops).items() if not name.startswith("_") and callable(value)}
    assert theirs == set(ops.__all__)
    assert set(ops.OPERATIONS) - set(CASES) == {"empty", "empty_like"}


def test_every_refused_function_says_why() -> None:
    for name, reason in REASONS.items():
        with pytest.raises(UnsupportedError, match=f"ops.{name}: "):
            getattr(ops, name)(A(2))
        assert reason


def test_arguments_have_the_names_and_the_order_that_keras_has() -> None:
    for name in sorted(set(ops.__all__) - set(REASONS)):
        theirs = [
            p
            for p in inspect.signature(getattr(keras.ops, name)).parameters.values()
            if p.kind != p.VAR_KEYWORD
        ]
        ours = [
            p for p in inspect.signature(getattr(ops, name)).parameters.values() if p.kind != p.VAR_KEYWORD
        ]
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs], (
            name
        )


def test_classes_of_operations_are_those_of_keras() -> None:
    for name, (path, names) in CLASSES.items():
        module, _, kind = path.partition(".")
        found = getattr(importlib.import_module(f"keras.src.ops.{module}"), kind)
        call = [
            ("*" if p.kind == p.VAR_POSITIONAL else "") + p.name
            for p in inspect.signature(found.call).parameters.values()
            if p.name != "self" and p.kind != p.VAR_KEYWORD
        ]
        assert names.split() == call, name
        own = set(inspect.signature(found.__init__).parameters) - {"self", "name", "kwargs"}
        known = inspect.signature(getattr(ops, name)).parameters
        assert own | {n.lstrip("*") for n in call} <= {*known, "rms_scaling"}, name


def _network(package: Any) -> Any:
    """A model of many calls, which `package` (ours or Keras) makes: few graphs for many functions."""
    o, layers = package.ops, package.layers
    image = package.Input((6, 6, 4), name="image")
    row = package.Input((8,), name="row")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = o.relu(x) * 0.5 + x**2 - 0.1
    x = x[:, 1:5, ::-1, :]
    x = o.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="reflect")
    a, b = o.split(x, 2, axis=-1)
    x = o.concatenate([o.gelu(a), o.sigmoid(b), o.softplus(a)], axis=-1)
    x = o.layer_normalization(x, axis=-1)
    x = o.reshape(x, (-1, 36, 6))
    x = o.einsum("bij,bkj->bik", x, x) / 6.0
    x = o.softmax(x, axis=-1)
    x = o.matmul(x, np.linspace(-1, 1, 72).reshape(36, 2).astype(np.float32))
    x = o.squeeze(o.expand_dims(o.transpose(x, (0, 2, 1)), 1), 1)
    x = o.mean(x, axis=1) + o.max(x, axis=1, keepdims=False)
    x = o.roll(x, 3, axis=1)
    x = o.take(x, [0, 5, -1, 7], axis=1)
    y = layers.Dense(4, name="dense")(row)
    y = o.where(y > 0.0, y, o.tanh(y) * 2.0)
    y = o.clip(y, -2.0, 2.0) - o.logsumexp(y, axis=-1, keepdims=True)
    y = o.cumsum(y, axis=1)
    y = o.flip(y, axis=1) / (1.0 + o.abs(y))
    values, places = o.top_k(y, 2)
    z = o.stack([x, y, -y, o.maximum(x, y)], axis=1)
    z = o.swapaxes(z, 1, 2)
    z = o.sum(z * o.cast(z < 1.0, "float32"), axis=(2,)) + o.cast(o.argmax(z, axis=-1), "float32")
    z = o.minimum(z, 3.0) % 2.0 + o.sort(y, axis=-1) + o.repeat(values, 2, axis=1)
    z = z + o.take_along_axis(x, places, axis=1)[:, :1]
    return package.Model([image, row], layers.Dense(2, name="out")(z))


def _data() -> tuple[list[np.ndarray], np.ndarray]:
    draw = np.random.default_rng(5)
    inputs = [draw.normal(size=(12, *shape)).astype(np.float32) for shape in ((6, 6, 4), (8,))]
    return inputs, draw.normal(size=(12, 2)).astype(np.float32)


def test_a_model_of_operations_predicts_trains_and_is_read_both_ways(tmp_path: Path) -> None:
    keras.utils.clear_session()  # names begin anew
    keras3.backend.clear_session()
    inputs, labels = _data()
    theirs, ours = _network(keras), _network(keras3)
    assert [x.name for x in ours.operations] == [x.name for x in theirs.operations]
    assert len(ours.layers) == len(theirs.layers)
    ours.set_weights(theirs.get_weights())
    wanted = np.asarray(theirs(inputs))
    np.testing.assert_allclose(ours.predict(inputs, verbose=0), wanted, 1e-4, 1e-5)
    theirs.save(tmp_path / "theirs.keras")
    theirs.save(tmp_path / "theirs.h5")
    for name in ("theirs.keras", "theirs.h5"):
        np.testing.assert_allclose(
            load_model(str(tmp_path / name)).predict(inputs, verbose=0), wanted, 1e-4, 1e-5
        )
    np.testing.assert_allclose(kcompile.compile(theirs).predict(inputs), wanted, 1e-4, 1e-5)
    for model, package in ((theirs, keras), (ours, keras3)):
        model.compile(package.optimizers.SGD(0.02), "mse")
    fit = {"epochs": 3, "batch_size": 4, "shuffle": False, "verbose": 0}
    losses = [model.fit(inputs, labels, **fit).history["loss"] for model in (theirs, ours)]
    np.testing.assert_allclose(losses[1], losses[0], 1e-3)
    ours.save(str(tmp_path / "ours.keras"))
    again = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_allclose(np.asarray(again(inputs)), ours.predict(inputs, verbose=0), 1e-4, 1e-5)
    own = load_model(str(tmp_path / "ours.keras"))
    np.testing.assert_array_equal(own.predict(inputs, verbose=0), ours.predict(inputs, verbose=0))
    assert own.to_json() == load_model(str(tmp_path / "ours.keras")).to_json()

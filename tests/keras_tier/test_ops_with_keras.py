"""keras.ops and its layers against Keras: values of every function, classes, signatures, files, gradients."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ops_cases import CASES, IMAGE_CASES, MATRICES, POSITIVE, TALL, WIDE

import kcompile
from kcompile import keras3
from kcompile.keras import keras3_ops as ops
from kcompile.keras.keras3_ops.classes import CLASSES
from kcompile.keras.models import load_model
from kcompile.keras.operands import leaves
from kcompile_runtime.errors import UnsupportedError

keras = pytest.importorskip("keras")

ALL = sorted({**CASES, **IMAGE_CASES})
SOME = [*ALL[::9], "resize", "solve", "svd"]  # the rest in the slow tier


def _results(made: Any) -> list[Any]:
    """The arrays of a result, whose tuples may have names."""
    return list(leaves([tuple(made) if isinstance(made, tuple) else made]))


def _agree(name: str) -> None:
    images = name in IMAGE_CASES
    mine_, theirs_ = (
        (ops.SUBMODULES["image"], vars(keras.ops.image)) if images else (vars(ops), vars(keras.ops))
    )
    for args, kwargs in (IMAGE_CASES if images else CASES)[name]:
        theirs, ours = (_results(found[name](*args, **kwargs)) for found in (theirs_, mine_))
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
@pytest.mark.parametrize("name", sorted(set(ALL) - set(SOME)))
def test_every_other_function_gives_what_keras_gives(name: str) -> None:
    _agree(name)


def _names(module: Any) -> set[str]:
    return {name for name, value in vars(module).items() if not name.startswith("_") and callable(value)}


def test_vectors_of_eigenvalues_and_singular_values_are_those_of_keras_up_to_their_sign() -> None:
    symmetric = MATRICES + np.swapaxes(MATRICES, -1, -2)
    calls: list[tuple[str, Any, dict[str, Any]]] = [("eigh", x, {}) for x in (POSITIVE, symmetric)]
    calls += [("svd", x, {"full_matrices": False}) for x in (POSITIVE, TALL, WIDE, MATRICES)]
    for name, x, options in calls:
        ours, theirs = (_results(getattr(package, name)(x, **options)) for package in (ops, keras.ops))
        for mine, other in zip(ours, theirs):
            np.testing.assert_allclose(np.abs(mine), np.abs(other), 2e-4, 2e-5, err_msg=name)
    for x in (TALL, WIDE, np.ones((4, 3), np.float32)):
        u, values, v = ops.svd(x)
        count = len(values)
        assert u.shape == (len(x),) * 2 and v.shape == (x.shape[1],) * 2
        np.testing.assert_allclose(u.T @ u, np.eye(len(u)), atol=1e-5)
        np.testing.assert_allclose((u[:, :count] * values) @ v[:count], x, atol=1e-5)


def test_every_function_of_keras_is_there() -> None:
    assert _names(keras.ops) == set(ops.__all__)
    for part, found in ops.SUBMODULES.items():
        assert _names(getattr(keras.ops, part)) == set(found), part
        assert set(found) == {
            n for n in vars(importlib.import_module(f"kcompile.keras3.ops.{part}")) if n[0] != "_"
        }
    assert set(ops.OPERATIONS) - set(ALL) == {"eig", "eigh", "empty", "empty_like"}


def test_what_only_values_have_is_refused_in_a_model() -> None:
    x = keras3.Input((4, 2))
    for name in ("bincount", "eig", "nonzero", "polar", "unique", "view_as_complex", "view_as_real"):
        arguments = (x, x) if name == "polar" else (x,)
        with pytest.raises(UnsupportedError, match=f"ops.{name}: .* (Use|Keep) "):
            getattr(ops, name)(*arguments)
    with pytest.raises(UnsupportedError, match="predict gives, or strategy='greedy'"):
        ops.ctc_decode(x, np.array([4]), "beam_search")


def test_arguments_have_the_names_and_the_order_that_keras_has() -> None:
    pairs = [(name, getattr(keras.ops, name), getattr(ops, name)) for name in ops.__all__]
    pairs += [(n, getattr(keras.ops.image, n), f) for n, f in ops.SUBMODULES["image"].items()]
    for name, *both in pairs:
        theirs, ours = (
            [
                (p.name, p.kind, p.default)
                for p in inspect.signature(f).parameters.values()
                if p.kind != p.VAR_KEYWORD
            ]
            for f in both
        )
        assert ours == theirs, name


def test_classes_of_operations_are_those_of_keras() -> None:
    for name, (path, names) in CLASSES.items():
        module, _, kind = path.partition(".")
        found = getattr(importlib.import_module(f"keras.src.ops.{module}"), kind)
        call = [
            {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name
            for p in inspect.signature(found.call).parameters.values()
            if p.name not in ("self", "kwargs")
        ]
        assert names.split() == call, name
        own = set(inspect.signature(found.__init__).parameters) - {"self", "name", "kwargs"}
        known = inspect.signature(getattr(ops, name, ops.SUBMODULES["image"].get(name))).parameters
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


def _other_network(package: Any) -> Any:
    """The same of matrices, transforms, bits and images."""
    o, layers = package.ops, package.layers
    image = package.Input((8, 6, 3), name="image")
    row = package.Input((9,), name="row")
    x = o.image.resize(image, (6, 8), interpolation="bicubic")
    x = o.image.gaussian_blur(o.image.rgb_to_hsv(o.sigmoid(x)), (3, 3), (1.0, 0.8), "channels_last")
    moves = layers.Dense(8, name="moves")(row) * 0.05 + np.array(
        [1, 0.1, 0.2, -0.1, 1, 0.3, 0, 0], np.float32
    )
    x = o.image.affine_transform(x, moves, fill_mode="reflect")
    x = o.image.pad_images(o.image.crop_images(x, 1, 1, target_height=4, target_width=6), 0, 1, 0, 1)
    edges = o.mean(o.image.sobel_edges(x), axis=(1, 2, 3))
    x = o.image.extract_patches(x, 2, padding="valid")
    x = layers.Dense(4, name="mix")(o.reshape(x, (-1, 8, 12)))
    real, imaginary = o.rfft(o.transpose(x, (0, 2, 1)))
    x = o.log1p(real**2 + imaginary**2)
    y = layers.Dense(9, name="dense")(row)
    m = o.reshape(y, (-1, 3, 3))
    p = o.matmul(m, o.transpose(m, (0, 2, 1))) + np.diag(np.float32([1, 3, 6]))
    lower = o.cholesky(p)
    q, r = o.qr(m + 3 * np.eye(3, dtype=np.float32))
    values, vectors = o.eigh(p)
    s = o.svd(m, compute_uv=False)
    z = (
        o.solve(p, o.reshape(row, (-1, 3, 3)))
        + o.inv(p) * 0.5
        + o.linalg.solve_triangular(lower, p, lower=True)
    )
    z = z + o.abs(q) + r + o.square(vectors) + o.expand_dims(o.log(values) + s, 1)
    z = z + o.pinv(p) + o.expand_dims(o.expand_dims(o.logdet(p) * 0.1, 1), 1)
    whole = o.cast(o.round(row * 4), "int32")
    bits = o.cast(
        o.bitwise_xor(o.right_shift(whole, 1), np.array([5], "int32")) + o.gcd(whole, np.array([6], "int32")),
        "float32",
    )
    flat = [o.tanh(o.reshape(z, (-1, 9)) * 0.1), o.reshape(x, (-1, 20)), edges, bits * 0.1]
    return package.Model([image, row], layers.Dense(2, name="out")(o.concatenate(flat, axis=-1)))


def _data(shapes: Any) -> tuple[list[np.ndarray], np.ndarray]:
    draw = np.random.default_rng(5)
    inputs = [draw.normal(size=(12, *shape)).astype(np.float32) for shape in shapes]
    return inputs, draw.normal(size=(12, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("network", "shapes"), [(_network, ((6, 6, 4), (8,))), (_other_network, ((8, 6, 3), (9,)))]
)
def test_a_model_of_operations_predicts_trains_and_is_read_both_ways(
    network: Any, shapes: Any, tmp_path: Path
) -> None:
    keras.utils.clear_session()  # names begin anew
    keras3.backend.clear_session()
    inputs, labels = _data(shapes)
    theirs, ours = network(keras), network(keras3)
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


def _network_of_layers(package: Any) -> Any:
    """Of calls that layers compute too, which each Keras has."""
    o, layers = package.ops, package.layers
    plane, row = package.Input((4, 6), name="plane"), package.Input((6,), name="row")
    x = o.softmax(o.reshape(o.transpose(o.relu(plane) * 2 - 1, (0, 2, 1)), (-1, 8, 3)), axis=1)
    y = o.expand_dims(o.tanh(layers.Dense(3, name="dense")(row)) / 4, 1)
    y = o.squeeze(-o.leaky_relu(3 - y, 0.1), 1)
    x = layers.Flatten(name="flat")(o.concatenate([x, o.sigmoid(x), o.elu(x)], axis=1))
    z = o.concatenate([x, o.softplus(y), o.softsign(y), o.selu(y), o.exp(y)], axis=-1)
    more = o.maximum(layers.Dense(2, name="p")(y), layers.Dense(2, name="q")(y))
    return package.Model([plane, row], layers.Dense(2, name="out")(z) + more)


def test_h5_has_layers_in_place_of_calls_where_they_compute_the_same(tmp_path: Path) -> None:
    """Keras 3 does not read its own calls from .h5, but for concatenations and softmax."""
    inputs, _ = _data(((4, 6), (6,)))
    theirs, ours = _network_of_layers(keras), _network_of_layers(keras3)
    ours.set_weights(theirs.get_weights())
    wanted = np.asarray(theirs(inputs))
    path = str(tmp_path / "ours.h5")
    ours.save(path)
    for model in (keras.models.load_model(path), load_model(path)):
        np.testing.assert_allclose(np.asarray(model(inputs)), wanted, 1e-5, 1e-6)
    masked = keras3.Input((3,), dtype="int32")
    x = ops.tanh(keras3.layers.Embedding(5, 2, mask_zero=True)(masked))
    keras3.Model(masked, x).save(path)  # a layer would hand the mask on
    assert type(load_model(path).operations[-1]).__name__ == "Operation"

"""Concatenations written in place: the bits of copies, no kernel that copies, and where one is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import keras
from kcompile.codegen import memory_plan, targets
from kcompile.codegen.binary import link
from kcompile.codegen.joins import Joins
from kcompile.codegen.program import Entry
from kcompile.compiler import compile_graph, load
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import interpreter
from kcompile.ir.graph import Graph
from kcompile.ir.types import TensorType, bind
from kcompile.keras import backend as K
from kcompile.keras import graphs
from kcompile.keras import layers as L
from kcompile_runtime.arrays import aligned_copy

WIDTHS = (1, 3, 16, 17, 33)


def conv(x: Any, filters: int, size: int = 3, activation: str | None = "relu") -> Any:
    return L.Conv2D(filters, size, padding="same", activation=activation)(x)


def branches(x: Any) -> Any:
    """Convolutions of odd widths, the last by Winograd's algorithm, and a pooled one."""
    parts = [conv(x, width, 1 + 2 * (i % 2)) for i, width in enumerate(WIDTHS)]
    parts += [conv(conv(x, 16), 16), L.MaxPooling2D(3, strides=1, padding="same")(x)]
    return L.Concatenate()(parts)


def chain(x: Any) -> Any:
    """As DenseNet has it, and with the list of all layers before."""
    y = conv(x, 16)
    for width in (12, 20):
        z = conv(L.Activation("relu")(L.BatchNormalization()(y)), width)
        y = L.Concatenate()([y, z])
    parts = [y, conv(y, 16)]
    return L.Concatenate()([L.Concatenate()([*parts, conv(L.Concatenate()(parts), 3)]), y])


def unet(x: Any) -> Any:
    skips, y = [], x
    for filters in (8, 17):
        skips.append(conv(y, filters))
        y = L.MaxPooling2D()(skips[-1])
    y = conv(y, 16)
    for skip, up in zip(skips[::-1], (L.UpSampling2D(2), L.Conv2DTranspose(9, 2, strides=2))):
        y = conv(L.Concatenate()([up(y), skip]), 16)
    return y


def mixed(x: Any) -> Any:
    """An operand that is there twice, one that is the input, one computed by elements, one that a layer reads
    besides, and neighbours along other axes."""
    a, b = conv(x, 16), L.Activation("tanh")(conv(x, 16))
    y = L.Concatenate()([a, x, b, a, L.Multiply()([b, b])])
    rows = L.Concatenate(axis=1)([conv(y, 16), L.Activation("exponential")(a)])
    return L.Concatenate(axis=2)([conv(a, 16), L.AveragePooling2D((2, 1))(rows)])


def tokens(x: Any) -> Any:
    """A vector in front of a sequence, and features of each step beside."""
    y = L.Reshape((16, 32))(L.Conv2D(32, 2, strides=2)(x))
    y = L.Concatenate(axis=1)([L.Reshape((1, 32))(L.Dense(32)(L.GlobalAveragePooling1D()(y))), y])
    y = L.Concatenate()([L.Dense(17)(y), L.LayerNormalization()(y)])
    return L.Concatenate()([L.GlobalMaxPooling1D()(L.Conv1D(10, k)(y)) for k in (2, 3)])


def sequences(x: Any) -> Any:
    """Both directions of loops over time, and their states."""
    y = L.Reshape((16, 64))(x)
    y = L.Bidirectional(L.GRU(7, return_sequences=True))(y)
    y, *states = L.Bidirectional(L.LSTM(5, return_sequences=True, return_state=True))(y)
    return L.Concatenate()([L.GlobalMaxPooling1D()(y), *states])


def channels_first(x: Any) -> Any:
    y = L.Permute((3, 1, 2))(x)
    parts = [L.Conv2D(f, 3, padding="same", data_format="channels_first")(y) for f in (4, 5)]
    y = L.Concatenate(axis=1)(parts)
    return L.Conv2D(8, 1, data_format="channels_first")(y)


MAKERS: dict[str, tuple[Callable[[Any], Any], int, int]] = {  # copying kernels, and those without joins
    "branches": (branches, 0, 1),
    "chain": (chain, 1, 5),
    "unet": (unet, 0, 2),
    "mixed": (mixed, 2, 3),
    "tokens": (tokens, 0, 3),
    "sequences": (sequences, 0, 3),
    "channels_first": (channels_first, 0, 1),
}
QUICK = ("branches", "unet")  # for other targets than this machine


def traced(make: Callable[[Any], Any]) -> Graph:
    x = L.Input((8, 8, 16))
    return graphs.trace(keras.Model(x, make(x)), "predict").graph


def arrays(graph: Graph, n: int) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)

    def some(type: TensorType, scale: float) -> np.ndarray:
        return aligned_copy((rng.normal(size=bind(type.shape, n)) * scale).astype(type.dtype))

    variables = {name: some(graph.type(v), 0.1) for name, v in graph.variables.items()}
    for name in variables:
        if "variance" in name:
            np.abs(variables[name], out=variables[name])
    return variables, [some(graph.type(v), 1.0) for v in graph.inputs.values()]


def entry(graph: Graph, target: targets.Target, name: str = "predict") -> Entry:
    return compile_graph(graph, name, target, frozen=name == "predict").program.entries[-1]


def copies(made: Entry) -> int:
    """Kernels that do nothing but copy."""
    bodies = [launch.group.body.live() for launch in made.launches if launch.group is not None]
    moved = [{m.op.name for m in body if m.op.kind != "source" and not m.op.view} for body in bodies]
    return sum(names <= {"copy", "concatenate"} for names in moved)


def without_joins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory_plan, "find_joins", lambda *_: Joins())
    patch.setenv("KC_CACHE", "off")


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_copied_that_need_not_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, few, many = MAKERS[name]
    graph, target = traced(make), targets.named("x86-64-v3")
    joined = entry(graph, target)
    without_joins(monkeypatch)
    apart = entry(graph, target)
    assert (copies(joined), copies(apart)) == (few, many)
    assert len(joined.launches) - few == len(apart.launches) - many


TARGETS = ("native", "x86-64-v2", "x86-64-v3")
CASES = [
    pytest.param(name, target, marks=[pytest.mark.slow] if target != "native" and name not in QUICK else [])
    for name in MAKERS
    for target in TARGETS
]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_the_bits_are_those_of_copies(name: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if target != "native" and not targets.native().triple.startswith("x86_64"):
        pytest.skip("code for another processor")
    graph = traced(MAKERS[name][0])
    results: list[list[np.ndarray]] = []
    for joined in (True, False):
        if not joined:
            without_joins(monkeypatch)
        made = compile_graph(graph, "predict", targets.named(target), frozen=True)
        results.append([])
        for threads in (1, 2) if joined else (1,):
            variables, inputs = arrays(graph, 32)
            program = load(made, variables, threads)
            for n in (1, 3, 32):
                results[-1] += program.run("predict", n, [x[:n].copy() for x in inputs])
    joined_results, apart = results
    assert len(joined_results) == 6
    for got, right in zip(joined_results, apart * 2):
        assert np.isfinite(got).all()
        np.testing.assert_array_equal(got, right)


# ---------------------------------------------------------------- kernels


def test_kernels_are_shared_by_what_lies_alike() -> None:
    """Of three equal layers in one array, the two whose rows are as far apart have one kernel."""

    def make(x: Any) -> Any:
        one, two, three = (conv(x, 16, 1) for _ in range(3))
        return L.Concatenate()([L.Concatenate()([one, two]), three, L.Dense(4)(three)])

    made = entry(traced(make), targets.named("x86-64-v3"))
    stored = [launch.kernel for launch in made.launches if launch.buffers[-1].region == "output"]
    assert len(stored) == 4 and stored[0] is stored[1] is stored[2] is not stored[3]
    assert [buffer.offset.fixed for buffer in sorted_places(made)] == [0, 64, 128, 192]


def sorted_places(made: Entry) -> list[Any]:
    places = [launch.buffers[-1] for launch in made.launches if launch.buffers[-1].region == "output"]
    return sorted(places, key=lambda ref: ref.offset.fixed)


def test_what_costs_nothing_is_computed_where_it_lies() -> None:
    """A row of ones in front of a sequence, as of a class token: not read, and the sequence is not copied."""
    x = L.Input((6, 8))
    y = L.Dense(16)(x)
    z = L.Lambda(lambda t: K.concatenate([K.ones_like(t[:, :1]), t], axis=1))(y)
    model = keras.Model(x, L.Dense(3)(z))
    made = entry(graphs.trace(model, "predict").graph, targets.named("x86-64-v3"))
    ops = [{m.op.name for m in launch.group.body.nodes.values()} for launch in made.launches if launch.group]
    assert sum("broadcast_to" in names for names in ops) == 1 and not any("concatenate" in o for o in ops)
    rows = np.random.default_rng(0).normal(size=(5, 6, 8)).astype("float32")
    kernel, bias, *rest = model.get_weights()
    hidden = np.concatenate([np.ones((5, 1, 16), "float32"), rows @ kernel + bias], 1)
    np.testing.assert_allclose(
        model.predict(rows, verbose=0), hidden @ rest[0] + rest[1], rtol=1e-4, atol=1e-5
    )


def test_vectors_are_not_given_up() -> None:
    """What runs over whole arrays in full vectors does not stop after every three numbers: it is copied."""

    def make(x: Any) -> Any:
        few = L.Activation("tanh")(L.Reshape((16, 16, 4))(x))
        return L.Concatenate()([few, conv(few, 24)])

    made = entry(traced(make), targets.named("x86-64-v3"))
    assert copies(made) == 1


def test_other_bytes_are_left_alone() -> None:
    """Numbers of 8 bits in rows of one more than whole vectors, beside others."""
    x = L.Input((5, 5, 8))
    y = L.Concatenate()([conv(x, width, 1) for width in (1, 17, 33, 65, 5)])
    model = keras.Model(x, L.Dense(3)(L.GlobalMaxPooling2D()(conv(y, 8, 1))))
    samples = np.random.default_rng(0).normal(size=(9, 5, 5, 8)).astype("float32")
    quantized = kcompile.quantize(model, samples, verbose=0)
    made = quantized.predict(samples, verbose=0)
    traced = quantized.engine.traced("predict")
    right = interpreter.run(traced.graph, 9, dict(zip(traced.graph.inputs, [samples])), traced.state)
    np.testing.assert_array_equal(made, next(iter(right.outputs.values())))


# ---------------------------------------------------------------- whole models


def small_unet() -> Any:
    x = L.Input((8, 8, 2))
    one = conv(x, 5)
    two = conv(L.MaxPooling2D()(one), 7)
    y = L.Concatenate()([L.UpSampling2D()(two), one])
    return keras.Model(x, L.Conv2D(1, 1, activation="sigmoid")(y))


def test_training_is_that_of_the_interpreter() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(6, 8, 8, c)).astype("float32") for c in (2, 1))
    y = (y > 0).astype("float32")
    results = []
    for interpreted in (False, True):
        keras.utils.set_random_seed(1)
        model = small_unet()
        model.compile("adam", "binary_crossentropy")
        if interpreted:
            model.use_engine(InterpreterEngine(model))
        history = model.fit(x, y, epochs=3, batch_size=3, shuffle=False, verbose=0)
        results.append([np.array(history.history["loss"]), *model.get_weights()])
    for got, right in zip(*results):
        np.testing.assert_allclose(got, right, rtol=2e-4, atol=2e-5)


def test_an_artifact_predicts_the_same_bits(tmp_path: Path) -> None:
    model = small_unet()
    try:
        path = kcompile.export(model, tmp_path / "model.so")
    except link.LinkError as error:
        pytest.skip(str(error))
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 2)).astype("float32")
    library = kcompile_runtime.load(path)
    assert library.selftest() < 1e-6
    assert library.predict(x).tobytes() == np.asarray(model.predict(x, verbose=0)).tobytes()

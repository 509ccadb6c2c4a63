"""Files of ONNX: operations and families of layers as ONNX Runtime computes them, beside the interpreter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kcompile
from kcompile import keras3, tf_keras
from kcompile.ir import interpreter
from kcompile.ir.graph import Graph, Value
from kcompile.ir.op import OPS
from kcompile.ir.types import Batch, bind
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import InputError, UnsupportedError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from kcompile.to_onnx import RULES, onnx_model  # noqa: E402


class Drawn:
    """A `kcompile.ir.op.Draw` by a seed."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high + 1))

    def choice(self, options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def size(self, name: str, most: int | None = None) -> int:
        return self.integer(1, max(1, min(most or 4, 3 if name == "rank" else 4)))

    def shape(self, low: int = 0, high: int = 3) -> tuple[Any, ...]:
        made: list[Any] = [self.integer(1, 4) for _ in range(self.integer(low, high))]
        if made and self.integer(0, 1):
            made[0] = Batch()
        return tuple(made)


def computed(model: Any, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {i.name: arrays[i.name] for i in session.get_inputs()}))


def values(types: Any, low: Any, high: Any, seed: int, n: int) -> dict[str, np.ndarray]:
    generator, made = np.random.default_rng(seed), {}
    for number, type in enumerate(types):
        ends = [each[number] if isinstance(each, tuple) else each for each in (low, high)]
        array = np.asarray(generator.uniform(*ends, bind(type.shape, n)))
        whole = array > 0 if type.dtype == "bool" else np.abs(array) if type.dtype[0] == "u" else array
        made[f"x{number}"] = np.asarray(whole).astype(type.dtype)
    return made


@pytest.mark.parametrize("name", sorted(set(RULES) - {"scan", "conv_filter_gradient"}))
def test_operations_are_those_of_onnx(name: str) -> None:
    for seed in range(4):
        case = OPS[name].cases(Drawn(seed))
        graph = Graph(name)
        made = graph.add(name, [graph.input(f"x{i}", t) for i, t in enumerate(case.types)], **case.attrs)
        graph.outputs["y"] = Value(made.id)
        arrays = values(case.types, case.low, case.high, seed, 3)
        batched = any(isinstance(d, Batch) for t in case.types for d in t.shape)
        (got,) = computed(onnx_model(graph, {}, name, None if batched else 3), arrays)
        right = interpreter.run(graph, 3, arrays, {}).outputs["y"]
        assert got.dtype == right.dtype
        scale = max(1.0, float(np.abs(right.astype(float)).max(initial=0)))
        assert_allclose(got, right, 2e-5, 2e-5 * scale)


def of(*layers: Any) -> Any:
    return Sequential(list(layers))


def branches() -> Any:
    x = L.Input((8, 8, 3))
    parts = [L.Conv2D(3, 1, activation="relu")(x), L.MaxPooling2D(3, 1, padding="same")(x)]
    y = L.BatchNormalization()(L.concatenate([*parts, L.Conv2D(4, 3, padding="same")(x)]))
    z = L.add([y, L.Conv2D(10, 1)(y)])
    return Model(x, [z, L.GlobalMaxPooling2D()(z)])


def merges() -> Any:
    a, b = L.Input((4,)), L.Input((4,))
    kinds = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate)
    return Model([a, b], [L.concatenate([kind()([a, b]) for kind in kinds]), L.Dot(1)([a, b])])


def attention() -> Any:
    x, v = tf_keras.layers.Input((6, 8)), tf_keras.layers.Input((5, 8))
    y = tf_keras.layers.LayerNormalization()(x + tf_keras.layers.MultiHeadAttention(2, 4)(x, x))
    return tf_keras.Model(
        [x, v], [tf_keras.layers.Attention()([y, v]), tf_keras.layers.AdditiveAttention()([y, v])]
    )


def states() -> Any:
    x = L.Input((5, 3))
    y, h, c = L.LSTM(4, return_sequences=True, return_state=True)(x)
    return Model(x, [y, h, c, x])


FAMILIES = {
    "dense": lambda: of(L.Dense(5, activation="relu", input_dim=4), L.Dense(3, activation="softmax")),
    "dense on steps": lambda: of(L.Dense(5, activation="tanh", input_shape=(6, 4)), L.Flatten(), L.Dense(3)),
    "convolutions": lambda: of(
        L.Conv2D(4, 3, activation="relu", input_shape=(12, 11, 3)), L.BatchNormalization(), L.MaxPooling2D(),
        L.Conv2D(6, 3, strides=2, padding="same", use_bias=False), L.BatchNormalization(),
        L.Activation("relu"), L.AveragePooling2D(2, padding="same"), L.Flatten(), L.Dense(3),
    ),
    "conv1d": lambda: of(
        L.Conv1D(4, 3, dilation_rate=2, padding="causal", input_shape=(12, 3)), L.MaxPooling1D(2),
        L.GlobalAveragePooling1D(),
    ),
    "conv3d": lambda: of(L.Conv3D(4, 3, input_shape=(6, 6, 6, 2)), L.MaxPooling3D(2), L.Flatten()),
    "channels first": lambda: of(L.Conv2D(4, 3, data_format="channels_first", input_shape=(3, 9, 9))),
    "transposed": lambda: of(
        L.Conv2DTranspose(4, 3, strides=2, padding="same", input_shape=(4, 5, 3), activation="relu"),
        L.Conv2DTranspose(3, 2, strides=3), L.Conv2DTranspose(2, 3, strides=3, output_padding=1),
    ),
    "transposed 3d": lambda: of(L.Conv3DTranspose(4, 3, strides=2, input_shape=(3, 4, 3, 2))),
    "depthwise": lambda: of(
        L.DepthwiseConv2D(3, depth_multiplier=2, input_shape=(8, 8, 3)), L.ReLU(6.0),
        L.DepthwiseConv2D(3, padding="same"), L.SeparableConv2D(5, 3), L.ELU(),
    ),
    "grouped": lambda: of(tf_keras.layers.Conv2D(6, 3, groups=2, input_shape=(8, 8, 4))),
    "locally connected": lambda: of(L.LocallyConnected2D(3, 2, strides=2, input_shape=(6, 6, 2))),
    "recurrent": lambda: of(
        L.Bidirectional(L.LSTM(5, return_sequences=True), input_shape=(7, 3)),
        L.GRU(5, return_sequences=True), L.SimpleRNN(4),
    ),
    "reset after": lambda: of(L.GRU(4, reset_after=True, go_backwards=True, input_shape=(5, 3))),
    "states": states,
    "ConvLSTM2D": lambda: of(L.ConvLSTM2D(3, 3, input_shape=(3, 6, 6, 2))),
    "embedding": lambda: of(L.Embedding(10, 4, mask_zero=True, input_length=6), L.LSTM(3)),
    "attention": attention,
    "normalisation": lambda: of(
        keras3.layers.Input((4, 6)), keras3.layers.GroupNormalization(2), keras3.layers.RMSNormalization(),
        keras3.layers.Dense(3, activation="gelu"),
    ),
    "merges": merges,
    "branches": branches,
    "movement": lambda: of(
        L.UpSampling2D(2, input_shape=(3, 4, 2)), L.UpSampling2D(2, interpolation="bilinear"),
        L.ZeroPadding2D(1), L.Cropping2D(2), L.Permute((3, 1, 2)), L.Reshape((-1, 2)), L.LeakyReLU(),
        L.PReLU(),
    ),
    "repeated": lambda: of(
        L.RepeatVector(3, input_shape=(4,)), L.TimeDistributed(L.Dense(3)), L.Softmax(axis=1)
    ),
    "argmax": lambda: of(L.Lambda(lambda x: K.cast(K.argmax(x, -1), "float32"), input_shape=(5,))),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_families_of_layers_predict_the_same(family: str, tmp_path: Path) -> None:
    model = FAMILIES[family]()
    generator = np.random.default_rng(0)
    model.set_weights(
        [
            (generator.random(w.shape) + 0.5 if w.ndim == 1 else generator.normal(size=w.shape) * 0.3)
            for w in model.get_weights()
        ]
    )
    path = kcompile.export(model, tmp_path / "model.onnx")
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    assert made.opset_import[0].version >= 17
    engine = kcompile.compile(model).engine
    graph, state = engine.graph("predict"), engine.traced("predict").state
    assert [i.name for i in made.graph.input] == list(graph.inputs)
    assert all(i.type.tensor_type.shape.dim[0].dim_param == "batch" for i in made.graph.input)
    for n in (1, 3):
        arrays = {}
        for name, value in graph.inputs.items():
            drawn = generator.integers(0, 9, bind(graph.type(value).shape, n))
            arrays[name] = (drawn / (1 if family == "embedding" else 9)).astype(graph.type(value).dtype)
        right = interpreter.run(graph, n, arrays, state, "float64").outputs.values()
        for got, expected in zip(computed(made, arrays), right, strict=True):
            assert_allclose(got, expected, 1e-4, 1e-5 * max(1.0, float(np.abs(expected).max())))


def kinds(model: Any, path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(kcompile.export(model, path)).graph.node]


def test_layers_are_nodes_that_people_know(tmp_path: Path) -> None:
    """No transposes between convolutions, biases and batch normalisation in them, softmax as one."""
    found = kinds(FAMILIES["convolutions"](), tmp_path / "a.onnx")
    assert found == [
        "Transpose", "Conv", "Relu", "Mul", "Add", "MaxPool", "Conv", "Relu", "AveragePool", "Mul", "Mul",
        "Transpose", "Reshape", "Gemm",
    ]  # fmt: skip
    assert kinds(FAMILIES["dense"](), tmp_path / "b.onnx") == ["Gemm", "Relu", "Gemm", "Softmax"]


def test_a_batch_may_be_fixed_and_other_dtypes_are_kept(tmp_path: Path) -> None:
    model = of(L.Flatten(input_shape=(2, 3), dtype="uint8"), L.Lambda(lambda x: K.cast(x, "float32") * 2.0))
    made = onnx.load(kcompile.export(model, tmp_path / "model.onnx", batch=2))
    assert [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim] == [2, 2, 3]
    x = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert_allclose(computed(made, {made.graph.input[0].name: x})[0], x.reshape(2, 6) * 2.0)


def test_lengths_are_those_that_are_said(tmp_path: Path) -> None:
    made = onnx.load(
        kcompile.export(of(L.LSTM(3, input_shape=(None, 2))), tmp_path / "model.onnx", lengths=4)
    )
    assert [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim] == [0, 4, 2]


def test_what_onnx_has_not_is_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    noisy = of(L.Dense(3, input_dim=4), L.Lambda(lambda x: x + K.random_normal(K.shape(x)), name="noise"))
    with pytest.raises(UnsupportedError, match=r"random_normal \(noise\)"):
        kcompile.export(noisy, path)
    dense = of(L.Dense(3, input_dim=4, name="small"))
    bytes_ = kcompile.quantize(dense, np.random.default_rng(0).random((8, 4), np.float32), verbose=0)
    with pytest.raises(UnsupportedError, match=r"quantize .*small"):
        kcompile.export(bytes_, path)
    with pytest.raises(InputError, match="for no processor"):
        kcompile.export(dense, path, target="x86-64-v3")
    with pytest.raises(UnsupportedError, match="stateful=False"):
        kcompile.export(of(L.LSTM(3, stateful=True, batch_input_shape=(2, 3, 4))), path)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"kcompile\[onnx\]"):
        kcompile.export(of(L.Dense(3, input_dim=4)), tmp_path / "model.onnx")


def test_the_command_writes_it(tmp_path: Path, capsys: Any) -> None:
    from kcompile.cli import main

    of(L.Dense(3, input_dim=4)).save(tmp_path / "m.h5")
    assert main(["build", str(tmp_path / "m.h5"), "-o", str(tmp_path / "m.onnx")]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'm.onnx'} (")
    assert {p.name for p in tmp_path.iterdir()} == {"m.h5", "m.onnx"}

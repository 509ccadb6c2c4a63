"""The code of eleven models, as digests: `python tests/codegen/replay.py` writes `replay.json` anew.

A change that should keep the code keeps every digest. One that should not says so: it comes with new
digests, and its message names the models whose code differs and why. `python tests/codegen/replay.py
FOLDER` writes the texts themselves, for `diff -r` of two commits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kcompile import keras, keras3
from kcompile.codegen import show, targets
from kcompile.compiler import compile_graph
from kcompile.ir.graph import Graph
from kcompile.keras import backend as K
from kcompile.keras import graphs
from kcompile.keras import layers as L

RECORD = Path(__file__).with_suffix(".json")
PROCESSORS = ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", "wasm32", "sm_80", "riscv64")


def chain(*layers: Any) -> Any:
    return keras.Sequential(list(layers))


def block(x: Any, filters: int, strides: int) -> Any:
    """Of a residual network."""
    y = L.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    y = L.Activation("relu")(L.BatchNormalization()(y))
    y = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same", use_bias=False)(y))
    if strides > 1:
        x = L.BatchNormalization()(L.Conv2D(filters, 1, strides=strides, use_bias=False)(x))
    return L.Activation("relu")(L.Add()([x, y]))


def residual() -> Any:
    image = L.Input((16, 16, 3))
    x = L.MaxPooling2D(2)(L.Conv2D(16, 7, padding="same", activation="relu")(image))
    x = block(block(x, 16, 1), 32, 2)
    return keras.Model(image, L.Dense(10, "softmax")(L.GlobalAveragePooling2D()(x)))


def branches() -> Any:
    """A layer that two inputs share, merges, and two outputs."""
    a, b = L.Input((12,)), L.Input((12,))
    shared = L.Dense(9, "elu")
    both = L.Concatenate()([shared(a), shared(b), L.Multiply()([a, b])])
    return keras.Model([a, b], [L.Dense(3, "softmax")(both), L.Dense(1)(both)])


def functions() -> Any:
    x = L.Input((20,))
    y = L.Lambda(lambda t: K.exp(-K.square(t - K.mean(t, axis=-1, keepdims=True))))(x)
    return keras.Model(x, L.Dense(2)(L.Lambda(lambda t: K.concatenate([t, K.cumsum(t, axis=1)]))(y)))


def attention() -> Any:
    x = keras3.Input((24, 20))
    y = keras3.layers.MultiHeadAttention(3, 10)(x, x, use_causal_mask=True)
    return keras3.Model(x, keras3.layers.LayerNormalization()(x + y))


MODELS: dict[str, tuple[Callable[[], Any], str, Any]] = {
    "dense": (
        lambda: chain(L.Dense(300, "relu", input_dim=257), L.Dropout(0.3), L.Dense(10, "softmax")),
        "adam",
        "sparse_categorical_crossentropy",
    ),
    "images": (
        lambda: chain(
            L.Conv2D(32, 3, padding="same", use_bias=False, input_shape=(12, 12, 16)),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.Conv2D(32, 5, strides=2),
            L.MaxPooling2D(2),
            L.Flatten(),
            L.Dense(7, "softmax"),
        ),
        "sgd",
        "categorical_crossentropy",
    ),
    "residual": (residual, "rmsprop", "categorical_crossentropy"),
    "signal": (
        lambda: chain(
            L.Conv1D(24, 7, dilation_rate=2, padding="causal", input_shape=(40, 5)),
            L.GlobalMaxPooling1D(),
            L.Dense(2),
        ),
        "adagrad",
        "mae",
    ),
    "volume": (
        lambda: chain(
            L.Conv3D(16, 3, input_shape=(7, 8, 9, 16)), L.AveragePooling3D(2), L.Flatten(), L.Dense(3)
        ),
        "adamax",
        "mse",
    ),
    "lstm": (
        lambda: chain(L.LSTM(9, return_sequences=True, input_shape=(6, 5)), L.LSTM(33), L.Dense(2)),
        "nadam",
        "mse",
    ),
    "gru": (
        lambda: chain(L.Masking(input_shape=(6, 5)), L.Bidirectional(L.GRU(8)), L.Dense(1, "sigmoid")),
        "adam",
        "binary_crossentropy",
    ),
    "text": (
        lambda: chain(
            L.Embedding(300, 16, input_length=7, mask_zero=True), L.SimpleRNN(6), L.Dense(1, "sigmoid")
        ),
        "adadelta",
        "binary_crossentropy",
    ),
    "branches": (branches, "sgd", ["categorical_crossentropy", "mse"]),
    "functions": (functions, "sgd", "mse"),
    "attention": (attention, "adam", "mse"),
}


def traced(name: str) -> dict[str, Graph]:
    """The model's entries."""
    make, optimizer, loss = MODELS[name]
    K.clear_session()  # names of layers, which the code's notes repeat, count from the beginning
    model = make()
    model.compile(optimizer, loss)
    return {"predict": graphs.trace(model, "predict").graph, "train": graphs.trace(model, "train").graph}


def texts(name: str) -> Iterator[tuple[str, str, str]]:
    """(entry and processor, loops, LLVM's language) of each compilation of a model."""
    for entry, graph in traced(name).items():
        for processor in PROCESSORS if entry == "predict" else PROCESSORS[1::4]:
            target = targets.device(processor) if processor.startswith("sm") else targets.named(processor)
            made = compile_graph(graph, entry, target, frozen=entry == "predict")
            yield f"{entry} {processor}", show.program(made.program), made.text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digests(name: str) -> dict[str, list[str]]:
    return {case: [digest(loops), digest(llvm)] for case, loops, llvm in texts(name)}


def main(folder: str = "") -> None:
    if not folder:
        RECORD.write_text(json.dumps({name: digests(name) for name in MODELS}, indent=1) + "\n")
    for name in MODELS if folder else ():
        for case, loops, llvm in texts(name):
            stem = Path(folder, f"{name} {case}".replace(" ", "-"))
            stem.parent.mkdir(parents=True, exist_ok=True)
            stem.with_suffix(".loops").write_text(loops)
            stem.with_suffix(".ll").write_text(llvm)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="", help="write the texts here, not the digests")
    main(parser.parse_args().folder)

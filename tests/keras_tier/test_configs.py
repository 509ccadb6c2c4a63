"""Configurations as tf_keras writes them; its package is not needed to read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.files.compile_configs import translate_compile_config
from kcompile.files.configs import translate_model
from kcompile.files.problems import Problems
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.models import model_from_config


def layer(kind: str, name: str, calls: list[Any], **config: Any) -> dict[str, Any]:
    return {
        "class_name": kind,
        "module": "keras.layers",
        "registered_name": None,
        "name": name,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
        "inbound_nodes": calls,
    }


def functional(*entries: dict[str, Any]) -> dict[str, Any]:
    inputs = layer("InputLayer", "x", [], batch_input_shape=(None, 6), sparse=False, ragged=False)
    return {
        "class_name": "Functional",
        "config": {
            "name": "m",
            "trainable": True,
            "layers": [inputs, *entries],
            "input_layers": [["x", 0, 0]],
            "output_layers": [[entries[-1]["name"], 0, 0]],
        },
    }


def test_tf_keras() -> None:
    """Its activations are those of Keras 2; nodes are lists, an axis too."""
    problems = Problems("m")
    made = translate_model(
        functional(
            layer("Dense", "d", [[["x", 0, 0, {}]]], units=4, activation="hard_sigmoid", use_bias=True),
            layer(
                "BatchNormalization",
                "bn",
                [[["d", 0, 0, {"training": None}]]],
                axis=[1],
                momentum=0.9,
                epsilon=0.001,
                center=True,
                scale=True,
            ),
            layer("Add", "sum", [[["d", 0, 0, {}], ["bn", 0, 0, {}]]]),
        ),
        problems,
        "tf_keras",
    )
    problems.report()
    model = model_from_config(made)
    assert {layer.vintage for layer in (model, *model.layers)} == {"tf_keras"}
    model.use_engine(InterpreterEngine(model))
    kernel, x = model.get_layer("d").get_weights()[0], np.ones((2, 6), np.float32)
    hidden = np.clip(0.2 * (x @ kernel) + 0.5, 0, 1)
    expected = hidden + hidden / np.sqrt(1.001)
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-5)


def test_call_arguments_and_dtypes_are_reported() -> None:
    problems = Problems("m")
    translate_model(
        functional(
            layer(
                "Dense",
                "d",
                [[["x", 0, 0, {"scale": 2.0}]]],
                units=4,
                dtype={"class_name": "Policy", "config": {"name": "float128"}},
            )
        ),
        problems,
        "tf_keras",
    )
    assert [text.partition(": ")[2] for text in problems.found] == [
        "dtype float128. Use float32 or float64",
        "a call with the argument scale",
    ]


def test_compilation_of_tf_keras() -> None:
    problems = Problems("m")
    made = translate_compile_config(
        {
            "optimizer": {
                "class_name": "Custom>Adam",
                "module": "keras.optimizers",
                "config": {
                    "name": "Adam",
                    "weight_decay": None,
                    "clipnorm": None,
                    "use_ema": False,
                    "ema_momentum": 0.99,
                    "jit_compile": False,
                    "is_legacy_optimizer": False,
                    "learning_rate": 0.01,
                    "beta_1": 0.8,
                    "beta_2": 0.999,
                    "epsilon": 1e-7,
                    "amsgrad": False,
                },
            },
            "loss": {
                "a": "mse",
                "b": {
                    "class_name": "BinaryCrossentropy",
                    "config": {
                        "reduction": "auto",
                        "name": "bc",
                        "from_logits": False,
                        "label_smoothing": 0.0,
                        "axis": -1,
                        "fn": "binary_crossentropy",
                    },
                },
            },
            "metrics": {"a": ["mae"]},
            "loss_weights": {"a": 2.0},
            "weighted_metrics": None,
        },
        problems,
        "tf_keras",
    )
    problems.report()
    assert made["optimizer"].beta_1 == 0.8
    assert made["loss"]["a"] == "mse"
    assert made["loss"]["b"].arguments == {"from_logits": False, "label_smoothing": 0.0}
    assert made["metrics"] == {"a": ["mae"]}

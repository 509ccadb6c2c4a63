"""Every public entry with values of wrong kinds: it works, or raises an error of ours; never Python's own,
and it never hangs."""

import contextlib
import inspect
import io
import warnings

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import (
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from kcompile_runtime.errors import KcompileError

X, Y = np.ones((6, 4), "f"), np.ones((6, 2), "f")


class Odd:
    """Nothing that anybody takes."""


class Batches:
    """What numpy would ask for items without end."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return X


WRONG = {
    "None": None,
    "text": "mistake",
    "negative": -3,
    "object": Odd(),
    "list": [1, "a"],
    "float": 2.5,
    "nan": float("nan"),
    "dict": {"q": 1},
    "empty": [],
    "function": len,
    "type": str,
    "bytes": b"ab",
    "flag": True,
    "numpy": np.float32(3),
    "array": np.ones((2, 3)),
    "large": 10**30,
    "set": {1},
    "range": range(3),
    "complex": 1j,
    "slice": slice(2),
    "endless": Batches(),
    "list of endless": [Batches()],
}

METHODS = (
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
    "predict_on_batch",
    "compile",
    "predict_classes",
    "predict_proba",
    "set_weights",
    "summary",
    "get_layer",
    "add",
    "to_json",
    "to_yaml",
    "load_weights",
    "get_input_at",
    "get_output_at",
    "get_input_shape_at",
    "get_output_shape_at",
    "compute_output_shape",
    "add_loss",
    "from_config",
    "reset_metrics",
    "reset_states",
    "count_params",
)
GOOD = {"x": X, "y": Y}


def made():
    model = models.Sequential([layers.Dense(2, input_shape=(4,), name="d")])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def parameters(function):
    return [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]


def attempt(call):
    """Run it; what is not an error of ours fails the test."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(KcompileError, FileNotFoundError),
    ):
        warnings.simplefilter("ignore")
        call()


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("method", METHODS)
def test_methods_of_a_model(method, kind):
    found = parameters(getattr(made(), method))
    for wrong in found:
        given = {p.name: GOOD.get(p.name, -3) for p in found if p.default is p.empty}
        attempt(lambda: getattr(made(), method)(**{**given, wrong.name: WRONG[kind]}))  # noqa: B023


OF_CALLBACKS = [module for module in vars(callbacks).values() if inspect.ismodule(module)]


def constructors():
    for module in (losses, metrics, optimizers, *OF_CALLBACKS):
        for name, cls in vars(module).items():
            public = inspect.isclass(cls) and cls.__module__ == module.__name__ and not name.startswith("_")
            if public and name not in (
                "Bar",
                "BatchProgress",
                "CallbackList",
                "Events",
                "StepContext",
                "Slot",
            ):
                yield pytest.param(cls, id=f"{module.__name__.rpartition('.')[2]}.{name}")


def layer_classes():
    for module in (layers, initializers, regularizers, constraints):
        for name, cls in vars(module).items():
            if inspect.isclass(cls) and cls.__module__.startswith("kcompile.keras") and name[0] != "_":
                yield pytest.param(cls, id=f"{module.__name__.rpartition('.')[2]}.{name}")


NEEDED = {
    "arguments": {},
    "equation": "ab,bc->ac",
    "output_size": 2,
    "output_shape": (3,),
    "num_heads": 2,
    "key_dim": 3,
    "head_dim": 3,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "units": 3,
    "filters": 3,
    "kernel_size": 2,
    "input_dim": 4,
    "output_dim": 3,
    "rate": 0.5,
    "stddev": 0.5,
    "axes": 1,
    "target_shape": (4,),
    "dims": (2, 1),
    "n": 2,
    "activation": "relu",
    "function": abs,
    "cell": layers.LSTMCell(3),
    "cells": [layers.LSTMCell(3)],
    "layers": [layers.Dense(3)],
    "max_number": 3,
    "layer": layers.LSTM(3, return_sequences=True),
    "factor": 1.0,
    "height": 3,
    "height_factor": 0.2,
    "num_bins": 3,
    "scale": 0.5,
    "width": 3,
    "width_factor": 0.2,
}
OF_ALL = (
    "trainable",
    "name",
    "dtype",
    "input_shape",
    "batch_input_shape",
    "batch_size",
    "input_dim",
    "input_length",
    "weights",
    "activity_regularizer",
)


@pytest.mark.parametrize("cls", list(layer_classes()))
def test_constructors_of_layers_and_their_parts(cls):
    needed = {p.name: NEEDED[p.name] for p in parameters(cls) if p.default is p.empty and p.name in NEEDED}
    for name in dict.fromkeys(
        (*(p.name for p in parameters(cls)), *(OF_ALL if issubclass(cls, layers.Layer) else ()))
    ):
        for value in WRONG.values():
            attempt(lambda: cls(**{**needed, name: value}))  # noqa: B023


NAMED = (
    "reduction",
    "name",
    "dtype",
    "from_logits",
    "label_smoothing",
    "axis",
    "delta",
    "k",
    "threshold",
    "alpha",
    "gamma",
    "q",
    "ignore_class",
    "decay",
    "clipnorm",
    "clipvalue",
    "learning_rate",
)


@pytest.mark.parametrize("cls", list(constructors()))
def test_constructors(cls):
    named = [p.name for p in parameters(cls)]
    takes_more = any(p.kind == p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())
    for name in dict.fromkeys((*named, *(NAMED if takes_more else ()))):
        for value in WRONG.values():
            needed = {p.name: len for p in parameters(cls) if p.default is p.empty}
            attempt(lambda: cls(**{**needed, name: value}))  # noqa: B023


@pytest.mark.parametrize("kind", WRONG)
def test_functions(kind, tmp_path):
    value = WRONG[kind]
    for module in (losses, metrics, optimizers):
        for function in (module.get, module.deserialize):
            attempt(lambda: function(value))  # noqa: B023
    attempt(lambda: optimizers.serialize(value))
    path = tmp_path / "m.so"
    for call in (
        lambda: kcompile.compile(value),
        lambda: kcompile.compile(made(), target=value),
        lambda: kcompile.compile(made(), threads=value),
        lambda: kcompile.compile(made(), custom_objects=value),
        lambda: kcompile.load(value),
        lambda: kcompile.export(made(), value, target=value),
        lambda: kcompile.export(made(), path, target=value),
        lambda: kcompile_runtime.load(value),
        lambda: kcompile_runtime.load(path, threads=value),
        lambda: models.load_model(value),
        lambda: models.model_from_json(value),
        lambda: models.model_from_yaml(value),
        lambda: models.model_from_config(value),
        lambda: models.clone_model(value),
        lambda: models.clone_model(made(), input_tensors=[value]),
        lambda: models.save_model(value, path),
    ):
        attempt(call)
    if not isinstance(value, str):
        for call in (lambda: made().save(value), lambda: made().save_weights(value)):
            with pytest.raises(KcompileError):
                call()


SETTINGS = {
    "set_floatx",
    "set_epsilon",
    "set_image_data_format",
    "set_image_dim_ordering",
    "set_learning_phase",
    "clear_session",
    "manual_variable_initialization",
}
FUNCTIONS = [
    name for name in sorted(K.__all__) if inspect.isfunction(getattr(K, name)) and name not in SETTINGS
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_k(name):
    function = getattr(K, name)
    given = K.variable(X)
    needed = {p.name: given for p in parameters(function) if p.default is p.empty}
    for p in parameters(function):
        for value in [*WRONG.values(), 10**400]:
            attempt(lambda: evaluated(function(**{**needed, p.name: value})))  # noqa: B023


def evaluated(value):
    return K.eval(value) if hasattr(value, "__tensor__") else value


@pytest.mark.parametrize(
    "take",
    [
        K.variable,
        K.constant,
        K.eval,
        K.variable(X).assign,
        utils.normalize,
        utils.to_categorical,
        initializers.Constant(Batches()),
    ],
)
def test_endless_objects_are_no_values(take):
    with pytest.raises(KcompileError):
        take((2, 2) if isinstance(take, initializers.Constant) else Batches())


@pytest.mark.parametrize("arguments", [{"rate": 10**400}, {"rate": 10**20}, {"rate": 0.5, "noise_shape": 2}])
def test_numbers_too_large_and_shapes_that_are_none(arguments):
    with pytest.raises(KcompileError, match=r"Dropout\): (rate|noise_shape)"):
        layers.Dropout(**arguments)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5", ".so"])
def test_paths_with_nul(suffix, tmp_path):
    path = f"{tmp_path}/a\0b{suffix}"
    save = {".weights.h5": made().save_weights, ".so": lambda p: kcompile.export(made(), p)}.get(
        suffix, made().save
    )
    for call in (save, kcompile.load, kcompile_runtime.load):
        with pytest.raises(KcompileError, match="NUL"):
            call(path)
    assert not list(tmp_path.iterdir())


def test_open_files_are_no_paths():
    for save in (made().save, made().save_weights):
        with pytest.raises(KcompileError, match="the path of a file"):
            save(io.BytesIO())


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: models.Sequential([layers.Dense(1, input_shape=(4,))]).fit(X, Y), RuntimeError),
        (lambda: layers.Dense(1, mistake=1), TypeError),
        (lambda: made().fit(X, Y, mistake=1), TypeError),
        (lambda: losses.Huber(mistake=1), TypeError),
        (lambda: optimizers.SGD(mistake=1), TypeError),
        (lambda: made().add_metric(3), ValueError),
        (lambda: layers.Dense(1).add_metric(3), ValueError),
    ],
)
def test_kinds_of_errors_are_those_of_keras(call, kind):
    with pytest.raises(KcompileError) as error:
        call()
    assert isinstance(error.value, kind)

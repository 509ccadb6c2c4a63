"""Every optimizer of the installed Keras with its options: weights after five steps, and files both ways."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3
from kcompile.keras import backend as K

keras = pytest.importorskip("keras")
jax = pytest.importorskip("jax")
keras_schedules = keras.optimizers.schedules

STEPS = 5
OWN: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "RMSprop": [{}, {"rho": 0.8, "momentum": 0.5}, {"centered": True}, {"momentum": 0.5, "centered": True}],
    "Adagrad": [{}, {"initial_accumulator_value": 0.5, "epsilon": 0.1}],
    "Adadelta": [{}, {"rho": 0.8, "epsilon": 0.01}],
    "Adam": [{}, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "amsgrad": True}],
    "AdamW": [{}, {"weight_decay": 0.5, "amsgrad": True}],
    "Adamax": [{}, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.1}],
    "Nadam": [{}, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.1}],
    "Ftrl": [
        {},
        {
            "learning_rate_power": -0.7,
            "initial_accumulator_value": 0.2,
            "l1_regularization_strength": 0.02,
            "l2_regularization_strength": 0.03,
            "l2_shrinkage_regularization_strength": 0.04,
            "beta": 0.1,
        },
    ],
    "Lion": [{}, {"beta_1": 0.7, "beta_2": 0.8}],
    "Lamb": [{}, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.1}],
    "Adafactor": [
        {},
        {
            "beta_2_decay": -0.5,
            "epsilon_1": 1e-5,
            "epsilon_2": 0.1,
            "clip_threshold": 0.5,
            "relative_step": False,
        },
    ],
    "Muon": [
        {},
        {"exclude_layers": ["second"], "momentum": 0.8, "nesterov": False, "ns_steps": 3, "rms_rate": None},
        {"adam_lr_ratio": 0.5, "adam_weight_decay": None, "muon_a": 3.0, "muon_b": -4.0, "muon_c": 2.0},
    ],
    "ScheduleFreeAdamW": [{}, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.1, "warmup_steps": 3}],
}
COMMON: list[dict[str, Any]] = [
    {"weight_decay": 0.3},
    {"clipnorm": 0.05},
    {"clipvalue": 0.01},
    {"global_clipnorm": 0.05},
    {"use_ema": True, "ema_momentum": 0.7},
    {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 2, "weight_decay": 0.1},
    {"loss_scale_factor": 1024.0},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 2, "use_ema": True, "clipnorm": 0.1, "weight_decay": 0.1},
]
CASES = [(kind, options) for kind, several in OWN.items() for options in several]
CASES += [("Adam", options) for options in COMMON]
CASES += [("Nadam", COMMON[-1]), ("Adafactor", COMMON[-1]), ("Muon", COMMON[-1]), ("RMSprop", COMMON[-1])]
SCHEDULES = {
    "ExponentialDecay": (0.1, 2, 0.5),
    "PiecewiseConstantDecay": ([1, 3], [0.1, 0.05, 0.01]),
    "PolynomialDecay": (0.1, 4),
    "InverseTimeDecay": (0.1, 2, 0.5),
    "CosineDecay": (0.01, 4, 0.1, "cosine", 0.1, 2),
    "CosineDecayRestarts": (0.1, 2),
}


def net(library: Any) -> Any:
    layers = library.layers
    limit = library.constraints.MaxNorm(0.9)
    return library.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(5, activation="tanh", name="first", kernel_constraint=limit),
            layers.Dense(2, name="second"),
        ]
    )


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(4 * STEPS, 3)).astype("f"), rng.normal(size=(4 * STEPS, 2)).astype("f")


def trained(model: Any, optimizer: Any, start: list[np.ndarray], library: Any) -> tuple[list[Any], list[Any]]:
    """Weights after an epoch of STEPS batches, and the losses."""
    model.set_weights(start)
    eager = {} if library.__name__.startswith("kcompile") else {"run_eagerly": True}  # compiles nothing
    model.compile(optimizer, "mse", **eager)
    x, y = data()
    history = model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return model.get_weights(), history.history["loss"]


def made(library: Any, kind: str, options: dict[str, Any]) -> Any:
    return getattr(library.optimizers, kind)(0.05, **options)


def compare(theirs: Any, ours: Any, cases: list[tuple[str, dict[str, Any]]]) -> None:
    start = [np.asarray(w) for w in net(theirs).get_weights()]
    for kind, options in cases:
        right, right_losses = trained(net(theirs), made(theirs, kind, options), start, theirs)
        got, losses = trained(net(ours), made(ours, kind, options), start, ours)
        for a, b in zip(got, right):
            # Muon's polynomial mixes all elements: its small ones carry the rounding of its largest.
            atol = 2e-5 * max(1.0, float(np.abs(b).max()))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol, err_msg=f"{kind} {options}")
        np.testing.assert_allclose(losses, right_losses, rtol=1e-5, err_msg=f"{kind} {options}")


def test_five_steps_with_all_options_are_those_of_keras() -> None:
    compare(keras, keras3, [("Muon", COMMON[-1]), ("Adafactor", OWN["Adafactor"][-1]), ("Adam", COMMON[5])])


@pytest.mark.slow
@pytest.mark.parametrize("kind", OWN)
def test_five_steps_are_those_of_keras(kind: str) -> None:
    compare(keras, keras3, [case for case in CASES if case[0] == kind])


def test_every_optimizer_is_compared() -> None:
    known = {n for n, c in vars(keras.optimizers).items() if isinstance(c, type) and n != "Optimizer"}
    absent = {"MultiOptimizer", "OptimizerMap"}  # which are refused, as unknown
    assert known - set(OWN) - {"LossScaleOptimizer"} == absent


def test_a_scale_of_the_loss_follows_the_gradients(tmp_path: Path) -> None:
    """It doubles every two steps, and halves at one that is not finite, which changes nothing else."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4, 3)).astype("f"), rng.normal(size=(6, 4, 2)).astype("f")
    x[2, 0, 0] = np.inf
    start, models = [np.asarray(w) for w in net(keras).get_weights()], []
    for library in (keras, keras3):
        model = net(library)
        model.set_weights(start)
        inner = library.optimizers.Adam(0.05)
        optimizer = library.optimizers.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=2)
        model.compile(optimizer, "mse", **({} if library is keras3 else {"run_eagerly": True}))
        for batch in zip(x, y):
            model.train_on_batch(*batch)
        models.append(model)
    for a, b in zip(models[1].get_weights(), models[0].get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert float(models[1].optimizer.scale) == float(models[0].optimizer.dynamic_scale) == 16
    goes_on(models[0], models[1], tmp_path, "LossScaleOptimizer", h5=False)


@pytest.mark.slow
def test_five_steps_are_those_of_tf_keras() -> None:
    tf_keras = pytest.importorskip("tf_keras")
    ours = importlib.import_module("kcompile.tf_keras")
    absent = ("Lamb", "Muon", "ScheduleFreeAdamW")
    common = [c for c in COMMON if not {"loss_scale_factor", "gradient_accumulation_steps"} & set(c)]
    cases = [(kind, OWN[kind][-1]) for kind in OWN if kind not in absent]
    compare(tf_keras, ours, [*cases, *(("Adam", options) for options in common)])


@pytest.mark.slow
def test_legacy_optimizers_are_those_of_tf_keras() -> None:
    tf_keras = pytest.importorskip("tf_keras")
    ours = importlib.import_module("kcompile.tf_keras")
    start = [np.asarray(w) for w in net(tf_keras).get_weights()]
    for kind in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam", "Ftrl"):
        for options in OWN[kind]:
            pair = [
                trained(net(k), getattr(k.optimizers.legacy, kind)(0.05, **options), start, k)[0]
                for k in (ours, tf_keras)
            ]
            for a, b in zip(*pair):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5, err_msg=f"{kind} {options}")


def test_rates_are_those_of_keras() -> None:
    """At every step of the first rounds, of long and of short schedules."""
    steps = np.arange(40)
    longer = [
        ("PolynomialDecay", (0.1, 20, 0.01, 2.0, True)),
        ("CosineDecayRestarts", (0.1, 7, 1.5, 0.9, 0.1)),
    ]
    for name, arguments in [*SCHEDULES.items(), *longer, ("ExponentialDecay", (0.1, 7, 0.9, True))]:
        theirs = getattr(keras_schedules, name)(*arguments)
        ours = getattr(keras3.optimizers.schedules, name)(*arguments)
        right = jax.vmap(theirs)(steps)
        np.testing.assert_allclose(K.eval(ours(steps)), right, rtol=2e-6, atol=1e-8, err_msg=name)
        config = keras_schedules.serialize(theirs)
        assert keras3.optimizers.schedules.serialize(ours) == config
        assert keras3.optimizers.schedules.deserialize(config).get_config() == ours.get_config()


@pytest.mark.slow
def test_schedules_are_those_of_keras(tmp_path: Path) -> None:
    start = [np.asarray(w) for w in net(keras).get_weights()]
    for name, arguments in SCHEDULES.items():
        models = [net(library) for library in (keras, keras3)]
        results = [
            trained(
                model,
                library.optimizers.SGD(getattr(library.optimizers.schedules, name)(*arguments), momentum=0.5),
                start,
                library,
            )
            for model, library in zip(models, (keras, keras3))
        ]
        for a, b in zip(results[1][0], results[0][0]):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)
        assert float(models[1].optimizer.learning_rate) == pytest.approx(
            float(models[0].optimizer.learning_rate), rel=1e-5
        )
        goes_on(models[0], models[1], tmp_path, name)


def goes_on(live: Any, ours: Any, folder: Path, notes: str, h5: bool = True) -> None:
    """Files of both, read by the other, train on as if nothing had happened; and so does the live model."""
    x, y = data()
    theirs, mine = str(folder / "theirs.keras"), str(folder / "ours.keras")
    live.save(theirs)
    ours.save(mine)
    read = [kcompile.load(theirs)]
    if h5 and type(live.optimizer).__name__ != "Adafactor":  # of which Keras writes no .h5
        live.save(theirs.replace(".keras", ".h5"))
        read.append(kcompile.load(theirs.replace(".keras", ".h5")))
    models = [keras.saving.load_model(mine), *read, kcompile.compile(live)]
    live_weights = live.get_weights()
    results = [trained_on(model, x, y) for model in models]
    live.set_weights(live_weights)
    ours_on = trained_on(ours, x, y)
    for result in results:
        for a, b in zip(result, ours_on):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=5e-5, err_msg=notes)


def trained_on(model: Any, x: Any, y: Any) -> list[Any]:
    return [float(np.ravel(model.train_on_batch(x, y))[0]) for _ in range(2)]


def test_files_and_live_models_keep_schedule_and_average(tmp_path: Path) -> None:
    start = [np.asarray(w) for w in net(keras).get_weights()]
    models = [net(library) for library in (keras, keras3)]
    for model, library in zip(models, (keras, keras3)):
        rate = library.optimizers.schedules.CosineDecay(0.01, 4, 0.1, "cosine", 0.1, 2)
        trained(model, library.optimizers.AdamW(rate, use_ema=True), start, library)
    goes_on(models[0], models[1], tmp_path, "AdamW")


@pytest.mark.slow
@pytest.mark.parametrize("kind", OWN)
def test_files_and_live_models_keep_the_state(kind: str, tmp_path: Path) -> None:
    options = OWN[kind][-1]
    more = {"use_ema": True, "gradient_accumulation_steps": 2} if kind in ("Adam", "Muon") else {}
    start = [np.asarray(w) for w in net(keras).get_weights()]
    models = [net(library) for library in (keras, keras3)]
    for model, library in zip(models, (keras, keras3)):
        trained(model, made(library, kind, {**options, **more}), start, library)
    goes_on(models[0], models[1], tmp_path, kind)


def test_h5_files_of_tf_keras_keep_newer_options(tmp_path: Path) -> None:
    """tf_keras takes an optimizer for one of 2.10, which has none of them, unless the file says otherwise."""
    tf_keras = pytest.importorskip("tf_keras")
    ours, path = importlib.import_module("kcompile.tf_keras"), str(tmp_path / "model.h5")
    x, y = data()
    for options in ({"weight_decay": 0.1}, {"use_ema": True}, {}):
        model = net(ours)
        model.compile(ours.optimizers.RMSprop(0.05, **options), "mse")
        model.train_on_batch(x, y)
        model.save(path)
        back = tf_keras.models.load_model(path)
        assert trained_on(back, x, y) == pytest.approx(trained_on(kcompile.load(path), x, y), rel=1e-4)


KINDS = [
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adagrad",
    "Adadelta",
    "Adamax",
    "Nadam",
    "Ftrl",
    "Lion",
    "Adafactor",
    "Lamb",
    "Muon",
]


@pytest.mark.parametrize(
    "ours, theirs, part",
    [("keras3", "keras", ""), ("tf_keras",) * 2 + ("",), ("tf_keras",) * 2 + ("legacy",)],
)
def test_configurations_are_those_of_keras_and_are_read(ours, theirs, part):
    real, mine = pytest.importorskip(theirs), importlib.import_module(f"kcompile.{ours}")
    there, here = (getattr(k.optimizers, part) if part else k.optimizers for k in (real, mine))
    compared = 0
    for kind in KINDS:
        if not hasattr(there, kind) or not hasattr(here, kind):
            continue
        for given in ({}, {"clipnorm": 1.0}, {} if part else {"use_ema": True, "weight_decay": 0.25}):
            wanted = getattr(there, kind)(learning_rate=0.5, name="mine", **given).get_config()
            made = getattr(here, kind)(learning_rate=0.5, name="mine", **given)
            assert made.get_config() == wanted, kind
            assert getattr(here, kind).from_config(wanted).get_config() == wanted
            assert getattr(there, kind).from_config(made.get_config()).get_config() == wanted
            compared += 1
    assert compared >= 24

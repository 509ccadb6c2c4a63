"""Every answer of `kcompile.keras.semantics` beside the real library of its vintage: Keras 3 on JAX and on
TensorFlow, tf_keras, and our editions of both, from scripts and from live models.

The columns of Keras 2 were executed in 2.2.4 and 2.3.1; KERAS2=FOLDER, of an unpacked Keras 2 (see
`old_keras`), or several with colons between, runs them again here.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.editions import KERAS2
from kcompile.keras.semantics import TABLE, VINTAGES
from kcompile.keras.settings import at_version

sys.path.append(str(Path(__file__).parent))  # where the subprocesses find it too
import questions
from old_keras import folder_of
from questions import CASES, FAULTS, Kit

pytestmark = pytest.mark.keras
VINTAGE = {"keras": "keras3", "tf_keras": "tf_keras"}
NOT_ASKED = {
    ("constants_in_build", "keras3"): "its RNN takes no constants, ours gives them to `call` alone",
    ("losses_bring_layers", "keras3"): "its models take no such tensors",
    ("operators_keep_masks", "keras2"): "it has no operators",
    ("operators_keep_masks", "keras2.2"): "it has no operators",
    ("metric_objects_renamed", "keras2.2"): "it has no metric objects",
    ("mask_weighs_states", "keras2.2"): "it has no metric objects",
    ("layers_cast_floats", "keras2.2"): "its layers behind the first take no notice of dtype",
    ("mask_runs_models", "keras2.2"): "its averages are rid of their start",
    ("class_weight_beside", "keras3"): "refuses both, ours multiplies",
    ("cosine_proximity", "keras3"): "calls it cosine_similarity",
    ("batch_dot", "keras3"): "has no such function",
    ("likes", "keras3"): "has no such function",
    **{
        (question, vintage): "has no such layer"
        for question in (
            "einsum_fans",
            "group_norm_mask",
            "identity_keeps_masks",
            "scaling_keeps_masks",
            "attention_takes_masks",
            "masked_scores",
            "normalized_axes",
            "projections_penalised",
            "resized_integers",
            "crops",
            "flips",
            "contrast",
            "categories_out_of_range",
            "quantiles",
            "loose_tokens",
        )
        for vintage in ("keras2", "keras2.2")
    },
    ("softmax_mask", "keras2"): "its Softmax takes no mask",
    ("softmax_mask", "keras2.2"): "its Softmax takes no mask",
    ("missing_gradients", "keras2"): "raises, ours leaves the weights",
    ("missing_gradients", "keras2.2"): "raises, ours leaves the weights",
    ("sum_of_one_loss", "keras2.2"): "has no reductions",
    ("smallest_norm", "keras2"): "has no such layer",
    ("smallest_norm", "keras2.2"): "has no such layer",
    ("spectral_kernel", "tf_keras"): "has the layer only as tensorflow.keras",
    ("spectral_kernel", "keras2"): "has no such layer",
    ("spectral_kernel", "keras2.2"): "has no such layer",
    ("old_optimizer_options", "tf_keras"): "ignores lr, refuses decay; ours takes both, as 2.10 does",
}
# Where Keras 3 on TensorFlow does otherwise than on JAX, and JAX's answer is ours: see `Semantics`
ON_TENSORFLOW = {
    "seeds": "any",
    "decay_excludes": "names",
    "masked_output": "previous output",
    "missing_gradients": "left out",
    "spectral_kernel": "assigned",
    "without_loss": "not tested",
    "sparse_probabilities": "clipped first",
    "limited_rows": "each",
    "logits_behind": True,
}
# What Keras 2.3.1 gives where ours has the names and the weighted losses of its manual
OF_2_3_1 = {
    "loss_divides_by": [2.0],
    "metric_names": ["accuracy", "mae"],
    "weighted_prefix": ["loss", "mae"],
    "binary_logarithms": [15.424949],
    "logits_behind": [15.424949, 1.0, 15.337093],
}
OPTIMIZERS = [name for name, case in CASES.items() if case.optimizer]


def close(found: Any, expected: Any) -> None:
    if isinstance(expected, str) or (
        isinstance(expected, list) and not all(isinstance(v, (int, float)) for v in expected)
    ):
        assert found == expected
    else:
        assert not isinstance(found, str), found
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def expected(question: str, vintage: str) -> Any:
    return CASES[question].answers[TABLE[question][VINTAGES.index(vintage)]]


def asked(vintage: str) -> list[str]:
    return [question for question in CASES if (question, vintage) not in NOT_ASKED]


def interpreted(model: Any) -> Any:
    model.use_engine(InterpreterEngine(model))
    return model


def observed(kit: Kit, question: str) -> Any:
    kit.keras.backend.clear_session()
    return {**CASES, **FAULTS}[question].observe(kit)


@functools.cache
def elsewhere(library: str, backend: str) -> dict[str, Any]:
    """What a library does in a process of its own, by question."""
    run = subprocess.run(
        [sys.executable, questions.__file__, library],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert not run.returncode, run.stderr[-3000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


# Questions that callbacks ask: test_callbacks_with_keras.py, test_callback_files_with_keras.py and
# test_events_with_keras.py run the real ones
OF_CALLBACKS = {
    "baseline",
    "batch_logs",
    "best_weights_back",
    "boards",
    "checkpoint_without_value",
    "first_epoch_stops",
    "monitored_up",
    "validation_columns",
}


def test_every_question_has_a_model() -> None:
    assert CASES.keys() == TABLE.keys() - OF_CALLBACKS
    for question, answers in TABLE.items():
        if question in OF_CALLBACKS:
            continue
        given = CASES[question].answers
        assert set(answers) <= set(given), question
        same = len({json.dumps(value) for value in given.values()}) < len(given)
        assert same == (question == "metric_objects_renamed"), question  # which differs in live models only


@pytest.mark.parametrize("question", asked("keras3"))
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_the_library(library: str, question: str) -> None:
    if (question, VINTAGE[library]) in NOT_ASKED:
        pytest.skip(NOT_ASKED[question, VINTAGE[library]])
    if question in ("quantiles", "loose_tokens"):  # which Keras finds by TensorFlow, whatever its backend
        pytest.importorskip("tensorflow")
    close(observed(Kit(pytest.importorskip(library)), question), expected(question, VINTAGE[library]))


@pytest.mark.parametrize("question", asked("keras3"))
def test_keras_3_on_tensorflow(question: str) -> None:
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    right = (
        CASES[question].answers[ON_TENSORFLOW[question]]
        if question in ON_TENSORFLOW
        else expected(question, "keras3")
    )
    close(elsewhere("keras", "tensorflow")[question], right)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_keras_3_on_tensorflow(fault: str) -> None:
    """Ours computes as Keras does on JAX."""
    for keras in (pytest.importorskip("keras"), importlib.import_module("kcompile.keras3")):
        real = keras.__name__ == "keras"
        kit = Kit(keras) if real else Kit(keras, real=False, ready=interpreted)
        close(observed(kit, fault), FAULTS[fault].answers["right"])
    pytest.importorskip("tensorflow")
    close(elsewhere("keras", "tensorflow")[fault], FAULTS[fault].answers["on TensorFlow"])


@pytest.mark.parametrize(
    ("version", "vintage", "question"),
    [(version, vintage, question) for version, vintage in KERAS2.items() for question in asked(vintage)],
)
def test_keras_2(version: str, vintage: str, question: str) -> None:
    found = elsewhere(folder_of(version), "tensorflow")[question]
    other = OF_2_3_1.get(question) if vintage == "keras2" else None
    close(found, expected(question, vintage) if other is None else other)


@pytest.mark.parametrize(
    ("edition", "question"),
    [
        (edition, question)
        for edition, vintage in (("keras", "keras2"), ("tf_keras", "tf_keras"), ("keras3", "keras3"))
        for question in asked(vintage)
    ],
)
def test_our_editions(edition: str, question: str) -> None:
    keras = importlib.import_module(f"kcompile.{edition}")
    vintage = "keras2" if edition == "keras" else edition
    kit = Kit(keras, real=False, old=vintage == "keras2", ready=interpreted)
    close(observed(kit, question), expected(question, vintage))


@pytest.mark.parametrize("question", asked("keras2.2"))
def test_ours_as_keras_2_2(question: str) -> None:
    kit = Kit(importlib.import_module("kcompile.keras"), real=False, old=True, ready=interpreted)
    with at_version("2.2.4"):
        close(observed(kit, question), expected(question, "keras2.2"))


@pytest.mark.parametrize("question", [name for name in CASES if CASES[name].live])
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_live_models(library: str, question: str) -> None:
    if (question, VINTAGE[library]) in NOT_ASKED:
        pytest.skip(NOT_ASKED[question, VINTAGE[library]])
    kit = Kit(pytest.importorskip(library), ready=lambda model: interpreted(from_keras(model)))
    close(observed(kit, question), expected(question, VINTAGE[library]))


@pytest.mark.parametrize("question", OPTIMIZERS)
def test_optimizers_of_tf_keras_before_2_11(question: str) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    close(
        observed(Kit(tf_keras, optimizers=tf_keras.optimizers.legacy), question),
        expected(question, "tf_keras2.10"),
    )

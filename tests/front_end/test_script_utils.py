"""Helpers that scripts take from keras.utils: the progress bar, functions as text, checks of data."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest

from kcompile.keras import backend as K
from kcompile.keras import losses, utils
from kcompile.keras.layers import Dense
from kcompile.keras.models import Sequential
from kcompile.keras.utils import training_checks
from kcompile.keras.utils.functions import func_dump, func_load
from kcompile.keras.utils.io_utils import ask_to_proceed_with_overwrite

# What Keras 2.2.4 prints for the steps of `shown`: by verbose and target
PRINTED = {
    (1, 20): "\n 5/20 [=>........] - ETA: 1s - loss: 0.5000 - p: 0.0000e+00 - tiny: 1.0000e-05"
    "\n10/20 [====>.....] - ETA: 2s - loss: 0.3750 - p: 1.0000 - tiny: 1.0000e-05    "
    "\n15/20 [======>...] - ETA: 1s - loss: 0.3056 - p: 2.0000 - tiny: 1.0000e-05"
    "\n20/20 [==========] - 4s 225ms/step - loss: 0.4792 - p: 2.0000 - tiny: 1.0000e-05\n",
    (1, None): "\n      5/Unknown - 0s 100ms/step - loss: 0.5000 - p: 0.0000e+00 - tiny: 1.0000e-05"
    "\n     10/Unknown - 2s 200ms/step - loss: 0.3750 - p: 1.0000 - tiny: 1.0000e-05    "
    "\n     15/Unknown - 4s 300ms/step - loss: 0.3056 - p: 2.0000 - tiny: 1.0000e-05"
    "\n     20/Unknown - 4s 225ms/step - loss: 0.4792 - p: 2.0000 - tiny: 1.0000e-05",
    (2, 20): " - 4s - loss: 0.4792 - p: 2.0000 - tiny: 1.0000e-05\n",
    (0, 20): "",
}


@pytest.mark.parametrize("verbose, target", PRINTED)
def test_a_progress_bar_prints_what_keras_prints(
    verbose: int, target: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    bar = utils.Progbar(target, width=10, verbose=verbose, stateful_metrics=["p"])
    for step in range(3):
        now[0] += 0.5 + step
        bar.update((step + 1) * 5, [("loss", 0.5 / (step + 1)), ("p", step), ("tiny", 1e-5)])
    bar.add(5, [("loss", 1.0)])
    assert capsys.readouterr().out == PRINTED[verbose, target]


def test_a_bar_is_not_drawn_more_often_than_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    bar = utils.Progbar(100, interval=3600)
    for _ in range(50):
        bar.add(1)
    assert capsys.readouterr().out.count("/100") == 1


def test_functions_come_back_from_text() -> None:
    def scaled(x: float, by: float = 3.0) -> float:
        return x * by + offset

    offset = 5.0
    code, defaults, closure = func_dump(scaled)
    assert func_load(code, defaults, closure)(2.0) == 11.0
    assert func_load((code, [4.0], closure))(2.0) == 13.0
    assert func_load(func_dump(lambda: sys.platform), globs={"sys": sys})() == sys.platform
    with pytest.raises(TypeError):
        func_dump(len)
    with pytest.raises(ValueError, match="bytecode"):
        func_load("bm90IGNvZGU=\n")


def test_arrays_of_several_lengths_are_told() -> None:
    check = training_checks.check_array_length_consistency
    a, b = np.zeros((3, 2)), np.zeros((4, 2))
    check(None, None, None)
    check([a], [a], [a])
    check([a], [a])
    for arrays in (([a, b], [a], None), ([a], [b], None), ([a], [a], [b]), ([a], [a, b], None), ([a], None)):
        with pytest.raises(ValueError):
            check(*arrays)


def test_targets_that_a_loss_cannot_compare_are_told() -> None:
    check = training_checks.check_loss_and_target_compatibility
    check([np.zeros((2, 3))], [losses.categorical_crossentropy], [(None, 3)])
    check([np.zeros((2, 4, 1))], [losses.sparse_categorical_crossentropy], [(None, 4, 3)])
    check([None], [losses.mean_squared_error], [(None, 3)])
    with pytest.raises(ValueError, match="to_categorical"):
        check([np.zeros((2, 1))], [losses.categorical_crossentropy], [(None, 3)])
    with pytest.raises(ValueError, match="shape"):
        check([np.zeros((2, 4))], [losses.mean_squared_error], [(None, 3)])


def test_a_weighted_and_masked_loss_is_the_mean_over_what_counts() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(2, 3, 4, 5)).astype("f")
    weights, mask = np.array([1.0, 0.0, 2.0], "f"), np.array([[1, 1, 1, 0]] * 3, "f")
    weighted: Any = training_checks.weighted_masked_objective(losses.mean_squared_error)
    found = K.eval(weighted(*map(K.variable, (y, p, weights, mask))))
    scores = ((y - p) ** 2).mean(-1) * mask / mask.mean()
    np.testing.assert_allclose(found, (scores.mean(1) * weights / (2 / 3)).mean(), rtol=1e-5)
    assert training_checks.weighted_masked_objective(None) is None


def test_batches_are_shuffled_whole() -> None:
    np.random.seed(0)
    found = training_checks.batch_shuffle(np.arange(11), 3)
    assert found[-2:].tolist() == [9, 10]
    batches = found[:-2].reshape(3, 3)
    assert sorted(batches[:, 0]) == [0, 3, 6] and (np.diff(batches) == 1).all()
    assert batches[:, 0].tolist() != [0, 3, 6]


def test_a_model_for_several_devices_is_the_model() -> None:
    model = Sequential([Dense(2, input_dim=3)])
    with pytest.warns(UserWarning, match="one device"):
        assert utils.multi_gpu_model(model, gpus=2) is model
    with pytest.raises(ValueError, match="2 or more"):
        utils.multi_gpu_model(model, gpus=1)


def test_overwriting_asks_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["maybe", " Y ", "n"])
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or next(answers))
    assert ask_to_proceed_with_overwrite("model.h5") and not ask_to_proceed_with_overwrite("model.h5")
    assert len(asked) == 3 and "model.h5" in asked[0]

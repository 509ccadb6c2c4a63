"""Each layer with one value of each of its options in files: a model of all cases of a layer is saved and
loaded in both formats; in the slow tier it is compiled, and exported too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from option_cases import Case, close, data, listed, model_of, plain
from option_rows import VINTAGES
from options import TABLE, scaled
from references import joined, last_of_each, set_weights, within

import kcompile
import kcompile_runtime
from kcompile.keras import backend as K
from kcompile.keras.models import load_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
FORMATS = ("model.keras", "model.h5")
OF_ROWS = [pytest.param(last_of_each(name), id=name) for name in sorted(TABLE)]
OF_VINTAGES = [
    pytest.param([Case(name, (("vintage", vintage),)) for name in TABLE], id=vintage) for vintage in VINTAGES
]


def whole_of(cases: list[Case]) -> tuple[dict[Case, Any], Any]:
    K.clear_session()
    models = {case: model_of(case) for case in cases}
    for case, model in models.items():
        set_weights(model, case)
    return models, joined(models, kcompile.keras)


def loaded(path: Path) -> Any:
    return load_model(path, custom_objects={"scaled": scaled}, compile=False)


@pytest.mark.parametrize("cases", OF_ROWS + OF_VINTAGES)
def test_options_are_saved_and_loaded(cases: list[Case], tmp_path: Path) -> None:
    _, whole = whole_of(cases)
    for name in FORMATS:
        whole.save(tmp_path / name)
        again = loaded(tmp_path / name)
        for layer, found in zip(whole.layers, again.layers, strict=True):
            assert not within(plain(layer.get_config()), plain(found.get_config())), layer.name
        for a, b in zip(again.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("cases", OF_ROWS + OF_VINTAGES)
def test_options_are_loaded_compiled_and_exported(cases: list[Case], tmp_path: Path) -> None:
    # Of one size, and without states, which no library keeps
    cases = [case for case in cases if not {"batch", "stateful"} & dict(case.given).keys()]
    models, whole = whole_of(cases)
    x = [a for case, model in models.items() for a in data(case, model)[0]]
    right = listed(whole.predict_on_batch(x))
    whole.save(tmp_path / FORMATS[0])
    again = loaded(tmp_path / FORMATS[0])
    close(listed(again.predict_on_batch(x)), right, "of the loaded model", 1e-6)
    again.reset_states()
    library = kcompile_runtime.load(kcompile.export(kcompile.compile(again), tmp_path / "model.so"))
    close(listed(library.predict(x)), right, "of the library", 1e-5)

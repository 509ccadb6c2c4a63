"""Each layer with one value of each of its options beside tf_keras, which opens the file that we write of all
cases of a layer, and runs them without graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import opened
from option_cases import Case
from options import TABLE
from references import Seen, differences, last_of_each, observe, without, written

import kcompile.tf_keras as ours

theirs = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.slow
CASES = {
    name: [case for case in last_of_each(name) if without("tf_keras", case) is None] for name in sorted(TABLE)
}


def with_axis(config: Any, axis: int) -> Any:
    """The configuration of a BatchNormalization that was built, which counts its axis from the front, with
    the axis that was given."""
    if not isinstance(config, dict):
        return config
    return {
        key: axis if key == "axis" and not isinstance(value, int) else with_axis(value, axis)
        for key, value in config.items()
    }


def told(case: Case, seen: Seen) -> dict[str, Any]:
    """What tf_keras did. Its loss of a batch of which all is masked is no number, ours is 0."""
    did = written(case, seen)
    if "BatchNormalization" in case.row:
        did["config"] = with_axis(did["config"], dict(case.given).get("axis", -1))
    if not np.isfinite(did.get("loss", 0.0)) or not np.isfinite(did["moves"]).all():
        return {key: value for key, value in did.items() if key not in ("loss", "moves")}
    return did


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, cases in CASES.items() if cases])
def test_options_are_those_of_tf_keras(name: str, tmp_path: Path) -> None:
    models, found = opened(CASES[name], ours, theirs, [tmp_path / "model.h5"])
    for case, model in models.items():
        did = told(case, observe(case, theirs, model, eager=True, opened=True))
        found += differences(case, did, ours, "tf_keras", theirs.__version__)
    assert not found, "\n".join(found)

"""Each layer with the values of its options, beside what Keras 2.3.1 and 2.2.4 did: outputs, shapes, one step
of training, and configurations that go over and come back. Native code is held against the interpreter, which
runs here, by `test_options`."""

from __future__ import annotations

from typing import Any

import pytest
from option_cases import Case
from options import TABLE
from references import REFERENCES, differences, pairs, recorded, without

import kcompile.keras

SINCE_2_3 = {"recurrent_activation": "sigmoid"}  # a default; ours is that of 2.2 and of the documents
GATED = ("LSTM", "GRU", "Bidirectional(LSTM)", "Bidirectional(GRU)", "TimeDistributed(LSTM)")
LEAST = {"keras2": 795, "tf_keras": 975, "keras3": 925}  # pairs of a layer and an option
MASKED = {"masked", "mask_zero"}


def told(case: Case, did: dict[str, Any] | str, version: str) -> list[str]:
    """What ours do otherwise with a case than a version of Keras 2."""
    if isinstance(did, str) or without("keras2", case) is not None:
        return []
    defaults: dict[str, Any] = {"vintage": "keras2.2"} if version == "2.2.4" else {}
    if version == "2.3.1" and case.row in GATED:
        defaults = SINCE_2_3
    if version == "2.3.1" and MASKED & dict(case.given).keys():
        # It divides a masked loss by all steps, ours by those that count, as 2.2 does
        did = {key: value for key, value in did.items() if key not in ("loss", "moves")}
    return differences(case, did, kcompile.keras, "keras2", version, defaults)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(TABLE))
def test_options_are_those_of_keras_2(name: str) -> None:
    found = [
        line
        for version in ("2.3.1", "2.2.4")
        for case, did in recorded(name, version).items()
        for line in told(case, did, version)
    ]
    assert not found, "\n".join(found)


def test_most_pairs_have_a_reference() -> None:
    """`python tests/references.py` prints them, and why others have none."""
    found = {reference: pairs(reference) for reference in REFERENCES}
    compared = {
        reference: sum(why is None for why in reasons.values()) for reference, reasons in found.items()
    }
    assert all(compared[reference] >= least for reference, least in LEAST.items()), compared

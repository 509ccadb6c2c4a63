"""Random compositions in Keras 3 and tf_keras, live and from their files: see `compositions`, which runs any
number of them."""

from __future__ import annotations

import compositions
import pytest

SEEDS = range(3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_compositions(library: str, seed: int) -> None:
    pytest.importorskip(library)
    way = compositions.WAYS[seed % len(compositions.WAYS)]
    try:
        found = compositions.differences(library, seed, (way,), eager=True)
    except compositions.Impossible as error:
        pytest.skip(str(error))
    assert found == {}, compositions.build(library, seed).notes

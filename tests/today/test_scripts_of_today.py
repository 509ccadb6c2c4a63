"""Scripts in the style of today's guides, run by kcompile: a few of them, against the losses that the real
Keras ended in (losses.json, which `python tests/today/recording.py` writes).

tests/keras_tier/test_today_with_keras.py runs all of them beside the real Keras.
"""

from __future__ import annotations

import json

import pytest
from today.running import HERE, SCRIPTS, differences, run_ours

from kcompile.keras import backend

RECORDED = json.loads((HERE / "losses.json").read_text())


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_script_ends_in_the_losses_of_the_real_keras(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backend.clear_session()
    found = run_ours(SCRIPTS / f"{name}.py")
    backend.clear_session()
    assert not differences(found, RECORDED[name])

"""Scripts in the style of today's guides, run by kcompile and by the real Keras: the same losses, from equal
weights."""

from __future__ import annotations

import importlib.util

import pytest
from today.running import SCRIPTS, backend_of, differences, really, run_ours

from kcompile.keras import backend

QUICK = ("mlp_mixer", "siamese_contrastive")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
        for path in sorted(SCRIPTS.glob("*.py"))
    ],
)
def test_a_script_of_today_ends_in_the_same_losses(path, tmp_path, monkeypatch):
    if backend_of(path) == "tensorflow" or "tensorflow" in path.read_text():
        pytest.importorskip("tensorflow")
    if "import tensorflow" in path.read_text() and importlib.util.find_spec("tf_keras") is None:
        pytest.skip("needs tf_keras")
    monkeypatch.chdir(tmp_path)
    backend.clear_session()
    ours = run_ours(path)
    backend.clear_session()
    assert not differences(ours, really(path))


def test_there_are_forty_scripts():
    assert len(list(SCRIPTS.glob("*.py"))) >= 40

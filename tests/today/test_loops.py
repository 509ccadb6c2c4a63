"""Scripts whose loop over batches is their own, with `tf.GradientTape`: they come to the numbers of tf_keras
(loops.json, which `python tests/today/loops/noting.py` writes)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kcompile.keras import backend
from kcompile.run import run_script

LOOPS = Path(__file__).resolve().parent / "loops"
RECORDED = json.loads((LOOPS / "loops.json").read_text())


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_loop_comes_to_the_numbers_of_tensorflow(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(LOOPS)
    backend.clear_session()
    assert not run_script(LOOPS / f"{name}.py"), capsys.readouterr().err
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    backend.clear_session()
    assert len(found) == len(RECORDED[name])
    for here, there in zip(found, RECORDED[name]):
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-5 + 1e-3 * np.abs(there).max(initial=0))

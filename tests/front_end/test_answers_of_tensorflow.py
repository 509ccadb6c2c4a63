"""Values outside of models, functions of tf and data sets answer in scripts of tf.keras what they answer in
TensorFlow, which the files beside `answers_of_tensorflow.py` hold."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from kcompile.run import as_keras

sys.path.insert(0, str(Path(__file__).parent))
from answers_of_tensorflow import HERE, NAMES, answers


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_tensorflow(name):
    if name == "functions":
        pytest.importorskip("PIL")
    with as_keras():
        found = answers(name, importlib.import_module("tensorflow"))
    known = json.loads((HERE / f"{name}.json").read_text())
    assert {key: value for key, value in found.items() if value != known[key]} == {}
    assert found.keys() == known.keys()

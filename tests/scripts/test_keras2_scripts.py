"""Ordinary scripts of Keras 2, one of each kind that Keras 2.2.4 comes with, run as `kcompile run` runs
them.

They train on small data that they make, and assert at their end what they promise. Those of
examples/keras2 are meant to be read; the others lie here.
"""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import gallery
import pytest

from kcompile.keras import backend
from kcompile.run import run_script

HERE = Path(__file__).resolve().parent
EXAMPLES = sorted((HERE.parents[1] / "examples" / "keras2").glob("*.py"))
SCRIPTS = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_"))
# What a script needs that the core does not have
NEEDS = {
    "cifar10_cnn": ("PIL", "scipy"),
    "cifar10_resnet": ("PIL", "scipy"),
    "deep_dream": ("scipy",),
    "mnist_sklearn_wrapper": ("sklearn",),
    "style_transfer": ("scipy",),
    "tensorboard_embeddings": ("tensorboardX",),
}
# Scripts that want another version than the last
VERSIONS = {"capsule_routing": "2.2.4"}


@pytest.fixture
def _session():
    """A session of the script's own: no names, no phase and no format from the one before."""
    backend.clear_session()
    random.seed(0)
    yield
    backend.clear_session()


@pytest.mark.parametrize("path", [*EXAMPLES, *SCRIPTS], ids=lambda path: path.stem)
def test_a_script_of_keras_2_runs_and_does_what_it_promises(path, tmp_path, monkeypatch, capfd, _session):
    missing = [name for name in NEEDS.get(path.stem, ()) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    status = run_script(path, keras=VERSIONS.get(path.stem, "2"))
    printed = capfd.readouterr()
    assert status == 0, printed.err
    if path in EXAMPLES:
        assert gallery.ends_as_told(f"keras2/{path.name}", printed.out), printed.out


def test_there_is_a_script_of_each_kind():
    assert len(EXAMPLES) == 8 and len(EXAMPLES) + len(SCRIPTS) >= 30

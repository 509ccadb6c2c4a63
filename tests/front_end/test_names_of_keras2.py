"""The modules and names of Keras 2.2.4 and 2.3.1: each can be imported here, or an error says why not.

keras2_names.json: the public names of their modules, and what their unit tests take from them.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kcompile import keras, tf_keras
from kcompile.keras import places

NAMES: dict[str, list[str]] = json.loads(Path(__file__).with_name("keras2_names.json").read_text())


def problem(statement: str) -> str:
    """What is wrong with an import: nothing where it works, or says why it does not."""
    try:
        exec(statement, {})
    except (ImportError, AttributeError) as error:
        return "" if ": " in str(error) else f"{statement}: {error}"
    return ""


@pytest.mark.parametrize("module", NAMES)
def test_names_can_be_imported_or_say_why_not(module):
    home = f"kcompile.keras.{module}".rstrip(".")
    statements = [f"import {home}", *(f"from {home} import {name}" for name in NAMES[module])]
    assert [found for s in statements if (found := problem(s))] == []


def test_names_are_attributes_without_an_import_of_the_module():
    script = """
import kcompile.keras as keras
print(keras.layers.core.Lambda is keras.layers.Lambda, keras.layers.embeddings.Embedding.__name__)
print(keras.engine.topology.Layer is keras.layers.Layer, keras.legacy.layers.Dense is keras.layers.Dense)
print(keras.objectives.mse is keras.losses.mse, keras.utils.np_utils.to_categorical.__name__)
print(keras.backend.tensorflow_backend.clear_session is keras.backend.clear_session)
print(keras.engine.Model is keras.models.Model, keras.utils.generic_utils.CustomObjectScope.__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (
        "True Embedding\nTrue True\nTrue to_categorical\nTrue\nTrue custom_object_scope\n",
        "",
    )


def test_everything_is_imported_by_a_star():
    found: dict[str, object] = {}
    exec("from kcompile.keras.layers.core import *", found)
    assert found["Lambda"] is keras.layers.Lambda and found["Dense"] is keras.layers.Dense
    found = {}
    exec("from kcompile.keras.layers.convolutional import *", found)
    assert found["MaxPooling2D"] is keras.layers.MaxPooling2D
    found = {}
    exec("from kcompile.keras.utils.np_utils import *", found)
    assert found["to_categorical"] is keras.utils.to_categorical


def test_places_of_another_edition_have_its_classes():
    assert importlib.import_module("kcompile.tf_keras.layers.recurrent").GRU is tf_keras.layers.GRU
    assert tf_keras.layers.core.Dense is tf_keras.layers.Dense is not keras.layers.Dense
    from kcompile.tf_keras.utils import generic_utils

    assert generic_utils.to_list(3) == [3]
    assert generic_utils.to_categorical is tf_keras.utils.to_categorical
    with pytest.raises(AttributeError, match="has no attribute 'Merge'"):
        getattr(tf_keras.layers.core, "Merge")  # noqa: B009


def test_a_name_of_ours_that_comes_later_has_its_place(monkeypatch):
    """The table speaks of modules, not of names."""
    monkeypatch.setattr(keras.layers, "NewLayer", keras.layers.Dense, raising=False)
    assert importlib.import_module("kcompile.keras.layers.convolutional").NewLayer is keras.layers.Dense
    assert importlib.import_module("kcompile.keras.layers.cudnn_recurrent").NewLayer is keras.layers.Dense


def test_what_is_not_there_says_why():
    with pytest.raises(ImportError, match=r"fit_loop.*: the loop over batches is compiled"):
        from kcompile.keras.engine.training_arrays import fit_loop  # noqa: F401
    with pytest.raises(AttributeError, match="there are no sparse tensors"):
        getattr(keras.backend, "th_sparse_module")  # noqa: B009
    with pytest.raises(ImportError, match="there is one backend"):
        import kcompile.keras.backend.theano_backend  # noqa: F401
    assert not hasattr(keras.backend, "th_sparse_module")
    assert not hasattr(keras.layers.core, "nowhere")


def test_every_source_of_the_table_exists():
    for place, sources in places.PLACES.items():
        assert importlib.import_module(f"kcompile.keras.{place}")
        for source in sources:
            assert importlib.import_module(f"kcompile.keras.{source}"), (place, source)
    for name, meant in places.OTHERWISE.items():
        found = [p for p in ("layers", "models", "backend", "initializers") if hasattr(keras, p)]
        assert any(hasattr(getattr(keras, p), meant) for p in found), name


def test_nothing_of_it_loads_with_the_front_end():
    script = (
        "import sys, kcompile.keras; print(sorted(m for m in sys.modules if m.startswith('kcompile.keras.') "
        "and m[15:] in ('utils.generic_utils', 'utils.conv_utils', 'utils.layer_utils', 'utils.test_utils', "
        "'layers.embeddings', 'engine.topology', 'objectives', 'legacy')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done

"""Each sample runs as `kcompile run` runs a script: `import keras` means ours, in a session of its own."""

from __future__ import annotations

import pytest
from samples import keras

from kcompile.run import as_keras


@pytest.fixture(autouse=True)
def _as_a_script(tmp_path, monkeypatch):
    """A script's names of Keras, a folder to write to, and nothing left of the sample before it."""
    monkeypatch.chdir(tmp_path)
    keras.backend.clear_session()
    before = keras.backend.image_data_format()
    with as_keras("2"):
        yield
    keras.backend.set_image_data_format(before)


@pytest.fixture
def channels_first():
    """The documents' images with channels first, as Theano had them."""
    keras.backend.set_image_data_format("channels_first")

"""Files of models whose classes say themselves what is kept of them: `own_layers`."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from files.own_layers import chain, classes

from kcompile import keras3
from kcompile_runtime.errors import UnsupportedError

X = np.arange(6, dtype="float32").reshape(2, 3)


def test_layers_are_read_as_their_classes_say(tmp_path):
    path, model, own = tmp_path / "model.keras", chain(keras3), vars(classes(keras3))
    model.save(path)
    found = keras3.models.load_model(path, custom_objects=own)
    np.testing.assert_allclose(found.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)
    assert found.layers[2].shift.tolist() == [1.0, 2.0] and found.layers[3].start == "ones"
    for one in (model, found):
        one.fit(X, np.ones((2, 2)), verbose=0)
    np.testing.assert_allclose(found.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)
    model.save_weights(tmp_path / "model.weights.h5")
    found.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(found.get_weights()[0], model.get_weights()[0])


def test_the_registered_name_stands_in_the_file(tmp_path):
    @keras3.saving.register_keras_serializable(package="mine")
    class Twice(keras3.layers.Layer):
        def call(self, x):
            return x * 2

    keras3.Sequential([keras3.Input((3,)), Twice()]).save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert json.loads(file.read("config.json"))["config"]["layers"][1]["registered_name"] == "mine>Twice"
    assert type(keras3.models.load_model(tmp_path / "model.keras").layers[0]) is Twice


def test_a_class_compiles_its_model_itself(tmp_path):
    own = classes(keras3)
    model = own.Own(2)
    model.compile(keras3.optimizers.Adam(0.1), note="mine")
    model.fit(X, np.ones((2, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    found = keras3.models.load_model(tmp_path / "model.keras", custom_objects=vars(own))
    assert found.note == "mine" and int(found.optimizer.iterations) == 1
    for one in (model, found):
        one.fit(X, np.ones((2, 2)), epochs=2, verbose=0)
    np.testing.assert_allclose(found.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)


def test_files_of_a_layers_own_are_refused(tmp_path):
    class Files(keras3.layers.Layer):
        def call(self, x):
            return x

        def save_assets(self, inner_path):
            raise AssertionError

    with pytest.raises(UnsupportedError, match="save_own_variables"):
        keras3.Sequential([keras3.Input((3,)), Files()]).save(tmp_path / "model.keras")

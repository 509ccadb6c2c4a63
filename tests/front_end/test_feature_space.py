"""keras.utils.FeatureSpace: recorded answers of Keras 3, models over it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras.pipelines import Dataset
from kcompile_runtime.errors import InputError, KcompileError, ModelError, UnsupportedError

Space = keras3.utils.FeatureSpace
DATA: dict[str, Any] = {
    "age": np.array([30, 41, 30, 55]),
    "size": np.array([1.0, 3.0, 5.0, 7.0], np.float32),
    "kind": np.array(["a", "b", "a", "c"]),
    "code": np.array(["x", "yy", "z", "x"]),
}


def space(**options: Any) -> Any:
    made = Space(
        {
            "age": Space.integer_categorical(num_oov_indices=0),
            "size": "float_normalized",
            "kind": "string_categorical",
            "code": Space.string_hashed(3),
        },
        **{"crosses": [("age", "kind")], "crossing_dim": 4, **options},
    )
    made.adapt(DATA)
    return made


def test_columns_are_encoded_as_by_keras() -> None:
    made = space()(DATA)
    assert made.shape == (4, 3 + 3 + 4 + 1 + 4)
    names = space(output_mode="dict")(DATA)
    assert list(names) == ["age", "code", "kind", "size", "age_X_kind"]
    np.testing.assert_allclose(np.concatenate(list(names.values()), 1), made)
    np.testing.assert_allclose(
        names["size"].ravel(), [-1.3416407, -0.4472136, 0.4472136, 1.3416407], rtol=1e-6
    )
    hot = {name: y.argmax(1).tolist() for name, y in names.items() if name != "size"}
    right = {"age": [0, 2, 0, 1], "code": [2, 1, 1, 2], "kind": [1, 3, 1, 2], "age_X_kind": [3, 0, 3, 1]}
    assert hot == right


def test_every_way_of_data_is_the_same() -> None:
    wanted = space()(DATA)
    for data in (Dataset.from_tensor_slices(DATA), Dataset.from_tensor_slices(DATA).batch(3)):
        made = Space(space().features, crosses=[("age", "kind")], crossing_dim=4)
        made.adapt(data)
        np.testing.assert_allclose(made(DATA), wanted, rtol=1e-6)
    np.testing.assert_allclose(space()({k: v[1] for k, v in DATA.items()}), wanted[1], rtol=1e-6)
    again = Space.from_config(json.loads(json.dumps(space().get_config())))
    np.testing.assert_allclose(again(DATA), wanted, rtol=1e-6)


def test_models_over_encoded_columns() -> None:
    """One is trained on what the space gives, the other predicts from the columns."""
    columns = space()
    encoded = columns.get_encoded_features()
    y = keras3.layers.Dense(1)(keras3.layers.Dense(3, activation="relu")(encoded))
    trained, whole = keras3.Model(encoded, y), keras3.Model(columns.get_inputs(), y)
    trained.compile("sgd", "mse")
    data = Dataset.from_tensor_slices((DATA, np.ones((4, 1)))).batch(2).map(lambda x, y: (columns(x), y))
    trained.fit(data, epochs=2, verbose=0)
    found = whole.predict(DATA, verbose=0)
    np.testing.assert_array_equal(found, trained.predict(columns(DATA), verbose=0))


def test_wrong_spaces() -> None:
    with pytest.raises(ModelError, match="call adapt"):
        Space({"a": "float_normalized"})({"a": np.ones(2)})
    with pytest.raises(ModelError, match="names of features"):
        Space({"a": "float"}, crosses=[("a", "b")])
    with pytest.raises(ModelError, match="float_discretized"):
        Space({"a": "floating"})
    with pytest.raises(ModelError, match="output_mode='dict'"):
        Space({"a": Space.integer_hashed(3, output_mode="int")})({"a": np.array([1])})
    with pytest.raises(KcompileError, match="no 'b'"):
        Space({"a": "float", "b": "float"})({"a": np.ones(2)})
    with pytest.raises(UnsupportedError, match="from_config"):
        tf_keras.utils.FeatureSpace({"a": "float"}).save("unused.keras")


def test_a_space_is_the_same_in_a_file(tmp_path: Path) -> None:
    made = space()
    made.adapt(DATA)
    made.save(tmp_path / "space.keras")
    again = keras3.models.load_model(tmp_path / "space.keras")
    assert isinstance(again, Space)
    np.testing.assert_array_equal(again(DATA), made(DATA))
    model = keras3.Model(again.get_inputs(), keras3.layers.Dense(1)(again.get_encoded_features()))
    assert model.predict(DATA, verbose=0).shape == (4, 1)
    with pytest.raises(InputError, match="the suffix"):
        made.save(tmp_path / "space.h5")

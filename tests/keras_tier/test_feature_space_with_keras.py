"""keras.utils.FeatureSpace with columns of every kind, beside those of Keras 3 and tf_keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile import tf_keras as ours_tf

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
tf_keras = pytest.importorskip("tf_keras")
R = np.random.default_rng(0)
DATA: dict[str, Any] = {
    "age": R.integers(20, 80, 50),
    "chol": R.normal(200, 30, 50).astype("float32"),
    "thal": R.choice(["fixed", "normal", "rev"], 50),
    "sex": R.integers(0, 2, 50),
    "slope": R.normal(size=50).astype("float32"),
    "rest": R.normal(size=50).astype("float32"),
    "code": R.choice(["aa", "b", "ccc", "d"], 50),
    "number": R.integers(0, 1000, 50),
    "old": R.random(50).astype("float32"),
}


@pytest.mark.parametrize("mode", ["concat", "dict"])
@pytest.mark.parametrize(("ours", "theirs"), [(keras3, keras), (ours_tf, tf_keras)])
def test_columns_of_every_kind(ours: Any, theirs: Any, mode: str) -> None:
    made = []
    for library, data in ((ours, DATA), (theirs, tf.data.Dataset.from_tensor_slices(DATA))):
        space = library.utils.FeatureSpace
        features = {
            "age": space.integer_categorical(num_oov_indices=1),
            "chol": "float_normalized",
            "thal": "string_categorical",
            "sex": space.integer_categorical(num_oov_indices=0),
            "slope": "float",
            "rest": space.float_rescaled(scale=2.0),
            "code": space.string_hashed(7),
            "number": space.integer_hashed(9),
            "old": space.float_discretized(num_bins=5),
        }
        crosses: list[Any] = [("sex", "age"), space.cross(("thal", "code"), crossing_dim=16)]
        crosses += [space.cross(("sex", "thal"), 8, "int")] if mode == "dict" else []
        columns = space(features=features, crosses=crosses, crossing_dim=12, output_mode=mode)
        columns.adapt(data)
        found = columns(DATA), columns({name: column[0] for name, column in DATA.items()})
        made.append([list(x.items()) if isinstance(x, dict) else [("", x)] for x in found])
    for mine, right in zip(*made):
        assert [name for name, _ in mine] == [name for name, _ in right]
        for (name, y), (_, wanted) in zip(mine, right):
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_spaces_in_files_go_both_ways(tmp_path: Path) -> None:
    results = []
    for library, data in ((keras3, DATA), (keras, tf.data.Dataset.from_tensor_slices(DATA))):
        space = library.utils.FeatureSpace
        features = {
            "age": space.integer_categorical(num_oov_indices=1),
            "chol": "float_normalized",
            "rest": "float_normalized",
            "thal": "string_categorical",
            "slope": "float",
            "code": space.string_hashed(7),
            "old": space.float_discretized(num_bins=5),
        }
        made = space(features=features, crosses=[("age", "thal")], crossing_dim=12)
        made.adapt(data)
        made.save(tmp_path / f"{library.__name__}.keras")
        other = keras if library is keras3 else keras3
        columns = {name: DATA[name][:, None] for name in features}
        again = other.models.load_model(tmp_path / f"{library.__name__}.keras")
        results += [np.asarray(made(columns)), np.asarray(again(columns))]
    for one in results[1:]:
        np.testing.assert_allclose(one, results[0], rtol=1e-5, atol=1e-6)

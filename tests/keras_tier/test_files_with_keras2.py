"""Files that we write for Keras 2.2.4 and 2.3.1, opened by these: KERAS2 has their folders (`old_keras`).

By itself, one library: python test_files_with_keras2.py FOLDER FILES..., which prints as JSON what it has
opened: predictions, the losses of two more steps, and what it warns of the state of the optimizer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from old_keras import folder_of, load

pytestmark = pytest.mark.keras
KINDS = ("RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "SGD")
X = np.random.RandomState(0).uniform(0, 1, (8, 3)).astype(np.float32)
Y = np.random.RandomState(1).uniform(0, 1, (8, 2)).astype(np.float32)


def steps(model: Any) -> list[float]:
    """The losses of two more steps."""
    return [float(np.ravel(model.train_on_batch(X, Y))[0]) for _ in range(2)]


def opened(keras: Any, path: str) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = keras.models.load_model(path)
    lost = any("optimizer state" in str(warning.message) for warning in told)
    return {"predicted": model.predict(X).tolist(), "losses": steps(model), "lost": lost}


@pytest.mark.parametrize(("version", "vintage"), [("2.2.4", "keras2.2"), ("2.3.1", "keras2")])
def test_keras_2_opens_what_we_write_for_it_and_goes_on_as_we_do(
    tmp_path: Path, version: str, vintage: str
) -> None:
    """With the state of the optimizer, of which 2.3.1 wants momenta of an SGD that has none; moving averages
    of 2.2.4 begin anew where a file is opened."""
    import kcompile
    import kcompile.keras as ours
    from kcompile.keras.settings import at_version

    folder, paths = folder_of(version), [str(tmp_path / f"{kind}.h5") for kind in KINDS]
    right = []
    with at_version(version):
        for kind, path in zip(KINDS, paths):
            L = ours.layers
            layers = [L.Dense(4, activation="relu", input_shape=(3,)), L.BatchNormalization(), L.Dense(2)]
            model = ours.models.Sequential(layers)
            model.compile(getattr(ours.optimizers, kind)(), "mse", metrics=["mae"])
            steps(model)
            model.save(path)
            again = kcompile.load(path)
            assert again.vintage == vintage
            right.append({"predicted": again.predict(X).tolist(), "losses": steps(again)})
    run = subprocess.run(
        [sys.executable, __file__, folder, *paths],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )
    assert not run.returncode, run.stderr[-3000:]
    for kind, found, expected in zip(KINDS, json.loads(run.stdout.splitlines()[-1]), right, strict=True):
        assert found.pop("lost") == (kind == "SGD" and version == "2.3.1"), kind
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=f"{kind} {name}")


if __name__ == "__main__":
    library = load(sys.argv[1])
    print(json.dumps([opened(library, path) for path in sys.argv[2:]]))

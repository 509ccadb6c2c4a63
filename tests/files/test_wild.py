"""Files found in public repositories, where the folder with them exists: what loads must match.

Those in `NOT_YET` are refused for what they lack, and for nothing else; any other must load.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile_runtime.errors import UnsupportedError

# Beside the checkout, or beside the folder of several
_PLACES = [folder / "shared" / "wild" for folder in Path(__file__).resolve().parents[3:5]]
WILD = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
pytestmark = pytest.mark.skipif(
    not WILD.is_dir(), reason="no folder of wild files at " + " or ".join(map(str, _PLACES))
)
# What a Lambda computed, by the names of the layers; the files hold bytecode.
LAMBDAS: dict[str, Any] = {
    "Preprocess": lambda x: x / 127.5 - 1.0,
    "space_to_depth_x2": lambda x: K.reshape(
        K.permute_dimensions(K.reshape(x, (-1, 3, 2, 3, 2, 4)), (0, 1, 3, 2, 4, 5)), (-1, 3, 3, 16)
    ),
    "cat_embed_2d_genure_mean": lambda x: K.mean(x, axis=1, keepdims=True),
    "embed_1d_mean": lambda x: K.mean(x, axis=1),
    "sum_of_tensors": lambda x: K.sum(x, axis=1),
    "square_of_tensors": K.square,
    "lambda_1": lambda x: x * 0.5,
}


# What they lack, which the error must name.
NOT_YET = {"tf211_dl4j_attention.h5": "Attention"}


def recorded() -> list[tuple[str, str, str | None]]:
    """Model file, file of arrays, backend."""
    found = []
    for path in sorted(WILD.glob("*.npz")):
        base, _, alternative = path.name[:-4].partition(".alt")
        model = base.replace("_weights.h5", "_arch.json")
        backend = {"": None, "TF": "tensorflow", "Theano": "theano"}[alternative]
        found.append((model, path.name, backend))
    return found


def arrays(name: str, letter: str) -> list[np.ndarray]:
    with np.load(WILD / name, allow_pickle=False) as found:
        return [found[key] for key in sorted(found) if key.startswith(letter)]


@pytest.mark.parametrize(("model", "npz", "backend"), recorded())
def test_predictions_are_those_recorded(model: str, npz: str, backend: str | None) -> None:
    weights = WILD / model.replace("_arch.json", "_weights.h5")
    given = {"weights": weights} if model.endswith(".json") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if model in NOT_YET:
            with pytest.raises(UnsupportedError, match=NOT_YET[model]):
                kcompile.load(WILD / model, backend=backend, custom_objects=LAMBDAS, **given)
            return
        loaded = kcompile.load(WILD / model, backend=backend, custom_objects=LAMBDAS, **given)
    x = arrays(npz, "x") or arrays(npz.partition(".alt")[0] + ".npz", "x")
    x = [a.astype(tensor.dtype) for a, tensor in zip(x, loaded.inputs)]
    expected = arrays(npz, "y")
    for run in (kcompile.compile(loaded), interpreted(loaded)):
        y = run.predict_on_batch(x if len(x) > 1 else x[0])
        for a, b in zip(y if isinstance(y, list) else [y], expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6 * max(1.0, float(np.abs(b).max())))


def interpreted(model: Any) -> Any:
    model.use_engine(InterpreterEngine(model))
    return model


def test_an_architecture_of_keras_0_3() -> None:
    model = kcompile.load(WILD / "k03_rocalphago_minimodel_arch.json")
    assert model.input_shape == (None, 12, 19, 19) and model.output_shape == (None, 361)


def test_keras_1_files_warn_that_the_backend_is_a_guess() -> None:
    with pytest.warns(UserWarning, match="By the names of its weights it was theano"):
        kcompile.load(WILD / "k122_dl4j_conv2d_reshape_th.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kcompile.load(WILD / "k122_dl4j_conv2d_reshape_th.h5", backend="theano")


def test_a_class_of_ones_own_is_named() -> None:
    with pytest.raises(UnsupportedError, match="'gar_1' \\(GarNet\\)"):
        kcompile.load(WILD / "tf224_hls4ml_garnet_custom.h5")

"""BatchNormalization(renorm=True) beside tf_keras and Keras 3: steps, weights, files both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(6, 5, 3)) * 2 + 1).astype("float32")
X[:, 3] = 0
Y = RNG.normal(size=(6, 5, 2)).astype("float32")


def compiled(keras: Any, model: Any) -> Any:
    model.compile(keras.optimizers.SGD(0.1), "mse")
    if isinstance(model, tf_keras.Model):
        model.use_engine(InterpreterEngine(model))
    return model


def built(keras: Any, masked: bool, options: dict[str, Any]) -> Any:
    x = keras.layers.Input((5, 3))
    start = {"moving_variance_initializer": keras.initializers.Constant(4.0), "epsilon": 0.01}
    norm = keras.layers.BatchNormalization(
        momentum=0.8, renorm=True, renorm_momentum=0.7, name="norm", **start, **options
    )
    y = keras.layers.Dense(2)(norm(keras.layers.Masking()(x) if masked else x))
    return compiled(keras, keras.models.Model(x, y))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"renorm_clipping": {"rmax": 1.5, "rmin": 0.7, "dmax": 0.3}},
        {"renorm_clipping": {"dmax": 0.1}, "scale": False, "center": False},
    ],
)
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_steps_and_files(library: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs = pytest.importorskip(library)
    ours = keras3 if library == "keras" else tf_keras
    file = tmp_path / ("m.keras" if library == "keras" else "m.h5")
    real, mine = built(theirs, True, options), built(ours, True, options)
    names = [[w.name for w in model.get_layer("norm").weights] for model in (real, mine)]
    assert names[0] == names[1]
    for got, expected in zip(mine.layers[-2].get_weights(), real.layers[-2].get_weights(), strict=True):
        np.testing.assert_allclose(got, expected)
    mine.set_weights(real.get_weights())
    real.save(file)
    read = [
        ours.models.load_model(file, compile=False),
        from_keras(theirs.models.load_model(file, compile=False)),
    ]
    mine.save(file)
    read.append(theirs.models.load_model(file, compile=False))
    steps = [
        [float(np.ravel(model.train_on_batch(X, Y))[0]) for _ in range(4)]
        + [model.predict(X, verbose=0)[0, 0, 0]]
        for model in (real, mine, compiled(ours, read[0]), compiled(ours, read[1]), compiled(theirs, read[2]))
    ]
    for found in steps[1:]:
        np.testing.assert_allclose(found, steps[0], rtol=1e-5, atol=1e-6)  # a prediction may be near 0

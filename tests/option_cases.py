"""Cases of the table of options, and the check of one: predicted, trained, saved, loaded, exported.

A case is a row with values for one option or two. Where its row says that it makes no sense, it is refused by
an error of ours; all others work. The work of a case is bounded, as thousands of them are compiled.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from option_rows import AROUND, Options, Row
from options import TABLE, scaled

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import optimizers
from kcompile.keras.models import load_model
from kcompile_runtime.errors import KcompileError

# Normal noise is a float32 in double precision too
NORMAL = ("Gaussian", "MixUp", "CutMix", "AugMix", "RandomElasticTransform")


@dataclass(frozen=True)
class Case:
    row: str
    given: tuple[tuple[str, Any], ...]

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"{self.row}({', '.join(f'{k}={told(v)}' for k, v in self.given)})"


def told(value: Any) -> str:
    """The value of an option, the same in every process."""
    if callable(value):
        arguments = value.get_config().items() if hasattr(value, "get_config") else ()
        name = getattr(value, "__name__", type(value).__name__)
        return f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments)})"
    return repr(value)


def cases(row: Row, seed: int = 0) -> list[Case]:
    """Each value alone, and each two options together once, with values drawn by the seed."""
    draw = random.Random(f"{row.name} {seed}")
    alone = [Case(row.name, ((key, value),)) for key, values in row.options.items() for value in values]
    pairs = [
        Case(row.name, ((a, draw.choice(row.options[a])), (b, draw.choice(row.options[b]))))
        for a, b in itertools.combinations(row.options, 2)
    ]
    return [Case(row.name, ()), *alone, *pairs]


def model_of(case: Case, keras: Any = kcompile.keras, **defaults: Any) -> Any:
    """The model of a case, in any Keras. A layer with weights stands before the layer that is tried, so that
    gradients go through it. defaults: arguments, where the case does not say them."""
    row, layers = TABLE[case.row], keras.layers
    o = row.filled({**defaults, **dict(case.given)})
    dated, batch = dates(o), o["batch"] if o.get("stateful") else None
    dtype = "int32" if row.words else keras.backend.floatx()
    inputs = [layers.Input(batch_shape=(batch, *o["shape"]), dtype=dtype, **dated) for _ in range(row.copies)]
    tensors = inputs
    if not row.words:
        before = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.5), **dated)
        tensors = [before(x) for x in inputs]
    if o["masked"]:
        tensors = [layers.Masking(**dated)(x) for x in tensors]
    outputs = layer_of(case, keras, **defaults)(tensors if row.copies > 1 else tensors[0])
    return keras.models.Model(inputs, outputs, **dated)


def layer_of(case: Case, keras: Any, **defaults: Any) -> Any:
    """The layer that is tried."""
    row = TABLE[case.row]
    o = row.filled({**defaults, **dict(case.given)})
    given = {key: spoken(value, keras) for key, value in o.items() if key not in AROUND}
    return row.layer(keras.layers, given, dates(o))


def dates(o: Options) -> Options:
    return {} if o["vintage"] is None else {"vintage": o["vintage"]}


def spoken(value: Any, keras: Any) -> Any:
    """The value of an option in another Keras: an object of ours is its class there."""
    home, _, module = type(value).__module__.rpartition(".")
    if home != "kcompile.keras":
        return value
    return getattr(getattr(keras, module), type(value).__name__)(**value.get_config())


def data(case: Case, model: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    row = TABLE[case.row]
    o = row.filled(dict(case.given))
    rng = np.random.default_rng(len(repr(case)))
    shape = (o["batch"], *o["shape"])
    if row.words:
        x = [rng.integers(0, o["input_dim"], shape).astype(np.int32)]
    else:
        x = [rng.uniform(-1, 1, shape).astype(K.floatx()) for _ in model.inputs]
    if o["masked"]:
        steps = min(len(shape) - 1, 2)  # samples, where they have no steps
        kept = (*shape[:steps], *(1 for _ in shape[steps:]))
        x = [a * (rng.random(kept) > 0.3).astype(K.floatx()) for a in x]
    # A size that a layer leaves open is that of its input
    known = [
        (o["batch"], *(s if d is None else d for s, d in zip((*o["shape"], *y), y[1:])))
        for y in shapes_of(model)
    ]
    return x, [rng.uniform(-1, 1, y).astype(K.floatx()) for y in known]


def shapes_of(model: Any) -> list[tuple[int | None, ...]]:
    """Of the outputs, with the batch."""
    shapes = model.output_shape if isinstance(model.output_shape, list) else [model.output_shape]
    return [tuple(d if d is None else int(d) for d in shape) for shape in shapes]


def close(got: Any, right: Any, what: str, tolerance: float, floor: float = 1e-6) -> None:
    for a, b in zip(got, right, strict=True):
        scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale + floor, err_msg=what)


def listed(value: Any) -> list[np.ndarray]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def plain(config: Any) -> Any:
    """A configuration without what changes nothing here, and what files that Keras 3 reads leave out."""
    if isinstance(config, list):
        return [plain(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {key: plain(value) for key, value in config.items() if key != "implementation"}


def step(model: Any, x: list[np.ndarray], y: list[np.ndarray], start: list[np.ndarray]) -> list[np.ndarray]:
    """The weights after a step of training from `start`."""
    model.set_weights(start)
    model.random_state.step.assign(0)
    model.reset_states()
    model.train_on_batch(x, y)
    return list(model.get_weights())


def check(case: Case, folder: Path, export: bool = False) -> bool:
    """Whether the case is legal; AssertionError where it does not do what it should. Numbers are of
    `K.floatx()`: in double precision they are the interpreter's."""
    row = TABLE[case.row]
    np.random.seed(0)
    K.clear_session()
    illegal = row.illegal(row.filled(dict(case.given)))
    try:
        model = model_of(case)
    except KcompileError as error:
        assert illegal, f"refused: {error}"
        return False
    assert not illegal, "an illegal combination is accepted"
    x, y = data(case, model)
    double = K.floatx() == "float64" and not any(name in case.row for name in NORMAL)
    model.compile(optimizers.SGD(0.5), "mse")
    start = model.get_weights()
    predicted, trained = listed(model.predict(x, batch_size=len(x[0]))), step(model, x, y, start)
    reference = InterpreterEngine(model, "float64")
    model.set_weights(start)
    model.reset_states()
    native = model.engine
    model.use_engine(reference)
    again = listed(model.predict(x, batch_size=len(x[0])))
    close(predicted, again, "predictions", *((1e-12, 0) if double else (3e-5, 1e-6)))
    right = step(model, x, y, start)
    moves = [b - a for a, b in zip(start, right)]
    scale = max((np.abs(w).max(initial=0) for w in right), default=0)
    bounds = (1e-10, 1e-13) if double else (2e-3, 1e-6 + 3e-7 * scale)
    close([a - b for a, b in zip(trained, start)], moves, "training", *bounds)
    model.set_weights(start)
    model.reset_states()
    model.use_engine(native)
    path = folder / f"model{random.Random(repr(case)).choice(('.keras', '.h5'))}"
    model.save(path)
    loaded = load_model(path, custom_objects={"scaled": scaled})
    assert plain(loaded.get_config()) == plain(model.get_config()), "another configuration is loaded"
    close(listed(loaded.predict(x, batch_size=len(x[0]))), predicted, "of the loaded model", 1e-6)
    if export:
        import kcompile_runtime

        library = kcompile_runtime.load(kcompile.export(kcompile.compile(model), folder / "model.so"))
        close(listed(library.predict(x)), predicted, "of the library", 1e-5)
    return True

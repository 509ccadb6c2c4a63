"""A script of today's guides, run in one Keras on terms that let two Kerases be compared.

python tests/today/running.py ours|jax|tensorflow SCRIPT OUTPUT

Enters: a script as users write it. Leaves: what its models reported, as JSON: a list of events, each the name
of the method (fit, evaluate, predict, ...) and numbers by name. The terms: weights begin with values that
follow from their shape and from how many of that shape came before; drawn numbers are the same in every
sample and call; dropout, noise and augmentation leave data as they are; nothing is shuffled. A script whose
first lines have `from tensorflow import keras` is run by tf.keras, else by Keras 3.

ours: kcompile; jax, tensorflow: the real Keras 3 on that backend (or, for a script of tf.keras, tf_keras).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "scripts"
METHODS = ("fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch")
# Layers that draw while training: they leave data as they are
DRAWING = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("GaussianNoise", "GaussianDropout", "AlphaDropout"),
    *(
        "RandomFlip",
        "RandomRotation",
        "RandomZoom",
        "RandomTranslation",
        "RandomContrast",
        "RandomBrightness",
    ),
)
DROPPING = ("MultiHeadAttention", "LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "ConvLSTM2D")
INITIALIZERS = ("RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Orthogonal")
RATES = ("dropout", "recurrent_dropout")

Events = list[tuple[str, dict[str, float]]]


def of_tf_keras(script: Path) -> bool:
    """Whether the script is written for tensorflow.keras: by its own imports, or as it imports no keras."""
    text = script.read_text()
    if re.search(r"^(from|import) tensorflow(\.keras| import keras)", text, re.M):
        return True
    return "import tensorflow" in text and not re.search(r"^(from|import) keras\b", text, re.M)


class Drawn:
    """First values of weights: by shape, and by how many of that shape came before.

    Kerases make the weights of nested layers in different orders, but list them in the same. So a model whose
    method is called for the first time gets, in place of what its initializers made, values in that order.
    """

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}
        self.made: set[int] = set()
        self.seen: list[Any] = []

    def __call__(self, shape: Any, stage: str = "made") -> np.ndarray:
        shape = tuple(int(n) for n in shape)
        key = (stage, *shape)
        self.counts[key] = self.counts.get(key, -1) + 1
        inputs = max(1, int(np.prod(shape[:-1]))) if len(shape) > 1 else 4
        made = values((*key, self.counts[key]), shape) / np.float32(np.sqrt(inputs))
        self.made.add(zlib.crc32(made.tobytes()))
        return made

    def settle(self, model: Any) -> None:
        """Give a model's new weights values in the order of the model."""
        for weight in model.weights:
            if not any(weight is one for one in self.seen):
                self.seen.append(weight)
                value = np.asarray(weight)
                if zlib.crc32(value.tobytes()) in self.made:
                    weight.assign(self(value.shape, "settled"))


def values(key: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Normal values that follow from the key."""
    seed = zlib.crc32(repr(key).encode())
    return np.random.RandomState(seed).standard_normal(shape).astype("float32")


def first_input(x: Any) -> Any:
    """The input of the first batch of what fit takes."""
    if (
        hasattr(x, "__getitem__")
        and hasattr(x, "__len__")
        and not isinstance(x, (dict, list, tuple, np.ndarray))
    ):
        x = x[0]
    elif hasattr(x, "element_spec"):
        x = next(iter(x))
    return x[0] if isinstance(x, tuple) else x


def prepare(model: Any, drawn: Drawn, args: Any, kwargs: Any) -> None:
    """Build a model, where its data can build it, and settle its weights."""
    if not model.built:
        with contextlib.suppress(Exception):  # a class without call, whose parts are built
            model.predict(first_input(args[0] if args else kwargs["x"]), verbose=0)
    drawn.settle(model)


def recorder(events: Events, drawn: Drawn) -> Callable[[str, Any], Any]:
    """Makes of a model's method one that also writes down what it gives, but inside of another."""
    inside: list[str] = []

    def recorded(name: str, method: Any) -> Any:
        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if name == "fit":
                kwargs["shuffle"] = False
            # calls of a model on arrays are calls of predict_on_batch in kcompile, and of nothing in Keras
            outside = not inside and not sys._getframe(1).f_globals["__name__"].startswith("kcompile.")
            inside.append(name)
            try:
                if outside:
                    prepare(self, drawn, args, kwargs)
                found = method(self, *args, **kwargs)
            finally:
                inside.pop()
            if outside:
                events.append((name, dict(numbers(found))))
            return found

        return call

    return recorded


def numbers(found: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a result: of arrays their mean size and their first and last element."""
    if hasattr(found, "history"):
        found = found.history
    if isinstance(found, dict):
        for key in sorted(found):
            yield from numbers(found[key], f"{name}/{key}")
    elif isinstance(found, (list, tuple)):
        for at, one in enumerate(found):
            yield from numbers(one, f"{name}/{at}")
    elif found is not None:
        array = np.asarray(found, "float64")
        if array.ndim == 0:
            yield name, float(array)
        elif array.size:
            yield f"{name}#shape", float(zlib.crc32(repr(array.shape).encode()))
            yield f"{name}#size", float(np.abs(array).mean())
            yield f"{name}#first", float(array.ravel()[0])
            yield f"{name}#last", float(array.ravel()[-1])


def without_rates(init: Any) -> Any:
    """The constructor of a layer, without its dropout."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{name: 0.0 if name in RATES else value for name, value in kwargs.items()})

    # kcompile asks which arguments a layer takes; Keras must not be told that there is one called args
    return functools.wraps(init)(__init__) if init.__module__.startswith("kcompile") else __init__


def owner(cls: type, name: str) -> type:
    """The class among the bases of a class that has a method."""
    return next(base for base in cls.__mro__ if name in vars(base))


def drawing(random: Any, name: str, ops: Any) -> Any:
    """A function of keras.random (or tf.random) that draws the same numbers in each call, others for each
    sample."""
    real = getattr(random, name)

    def call(shape: Any, *args: Any, **kwargs: Any) -> Any:
        made = real(shape, *args, **kwargs)
        rank, sizes = len(made.shape), tuple(made.shape)[1:]
        fixed = values(("drawn", *sizes), sizes)
        if name == "uniform":
            fixed = np.float32(0.5) + np.arctan(fixed).astype("float32") / np.float32(2 * np.pi)
        if not rank:
            return made * 0 + fixed
        count = ops.shape(made)[0]
        rows = ops.cast(ops.arange(count) if hasattr(ops, "arange") else ops.range(count), "float32")
        return made * 0 + fixed + 0.2 * ops.reshape(ops.sin(rows), (-1, *[1] * (rank - 1)))

    return call


@contextlib.contextmanager
def on_terms(events: Events, layers: Any, models: Any, initializers: Any, method: str) -> Iterator[None]:
    """Inside the `with`, a Keras is on the terms above. method: where its initializers make their values."""
    drawn = Drawn()
    recorded = recorder(events, drawn)
    with contextlib.ExitStack() as stack:

        def patch(cls: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(cls, name, value))

        for name in METHODS:
            for base in {owner(model, name): None for model in models}:
                patch(base, name, recorded(name, vars(base)[name]))
        for name in INITIALIZERS:
            base = owner(getattr(initializers, name), method)
            if base.__name__ != "Initializer":
                patch(base, method, lambda self, shape, *args, **kwargs: drawn(shape))
        for name in DRAWING:
            if hasattr(layers, name):
                patch(getattr(layers, name), "call", lambda self, inputs, training=None, **kw: inputs)
        for name in DROPPING:
            base = getattr(layers, name)
            patch(base, "__init__", without_rates(base.__init__))
        yield


def run_ours(script: Path) -> Events:
    """The events of a script that kcompile runs."""
    import kcompile.keras as home
    from kcompile import keras3, tf_keras
    from kcompile.keras import layers
    from kcompile.keras.pipelines import Dataset
    from kcompile.run import run_script

    events: Events = []
    models = [cls for keras in (home, keras3, tf_keras) for cls in (keras.Model, keras.Sequential)]
    with on_terms(events, layers, models, home.initializers, "fill"), contextlib.ExitStack() as stack:
        for name in ("normal", "uniform"):
            drawn = drawing(keras3.random, name, keras3.ops)
            stack.enter_context(mock.patch.object(keras3.random, name, drawn))
            stack.enter_context(mock.patch.dict("kcompile.tensorflow._NAMES", _tf_random(name, drawn)))
        stack.enter_context(mock.patch.object(Dataset, "shuffle", lambda self, *args, **kwargs: self))
        status = run_script(script, keras="3")
    if status:
        raise RuntimeError(f"{script.name} failed under kcompile")
    return events


def _tf_random(name: str, drawn: Any) -> dict[str, Any]:
    import kcompile.tensorflow as thin

    return {"random": {**thin.names("random"), name: drawn}}


def run_real(script: Path) -> Events:
    """The events of a script that the real Keras runs, of the environment's backend."""
    events: Events = []
    tensorflow = None
    if of_tf_keras(script):
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tensorflow
        import tf_keras as keras
    else:
        import keras
    with contextlib.ExitStack() as stack:
        if "tensorflow" in script.read_text() or os.environ.get("KERAS_BACKEND") == "tensorflow":
            import tensorflow

            data = owner(tensorflow.data.Dataset, "shuffle")
            stack.enter_context(mock.patch.object(data, "shuffle", lambda self, *args, **kwargs: self))
        tf = of_tf_keras(script)
        random, ops = (tensorflow.random, tensorflow) if tf else (keras.random, keras.ops)
        for name in ("normal", "uniform"):
            stack.enter_context(mock.patch.object(random, name, drawing(random, name, ops)))
        stack.enter_context(on_terms(events, keras.layers, [keras.Model], keras.initializers, "__call__"))
        runpy.run_path(str(script), run_name="__main__")
    return events


def differences(ours: Any, theirs: Any, relative: float = 1e-3, absolute: float = 1e-5) -> list[str]:
    """What differs between the events of two runs, in words."""
    names = [[name for name, _ in events] for events in (ours, theirs)]
    if names[0] != names[1]:
        return [f"events: {names[0]} here, {names[1]} there"]
    found = []
    for at, ((name, here), (_, there)) in enumerate(zip(ours, theirs)):
        if here.keys() != there.keys():
            found.append(f"{at} {name}: {sorted(here)} here, {sorted(there)} there")
            continue
        found += [
            f"{at} {name}{key}: {value!r} here, {there[key]!r} there"
            for key, value in here.items()
            if not np.isclose(value, there[key], relative * _slack(key), absolute, equal_nan=True)
        ]
    return found


def _slack(key: str) -> float:
    """How much more may differ what counts samples than losses and predictions."""
    return 1 if "loss" in key or "#" in key or key in ("", "/0") else 10


def backend_of(script: Path) -> str:
    """The backend of Keras that a script asks for; jax where it asks for none."""
    tapes = of_tf_keras(script) or re.search("GradientTape|KERAS_BACKEND", script.read_text())
    return "tensorflow" if tapes else "jax"


def really(script: Path) -> Events:
    """The events of a script in the real Keras, in a process of its own. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "events.json"
        command = [sys.executable, str(HERE / "running.py"), backend_of(script), str(script), str(output)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return json.loads(output.read_text())


if __name__ == "__main__":
    who, path, output = sys.argv[1:]
    if who != "ours":
        os.environ["KERAS_BACKEND"] = who
    result = run_ours(Path(path)) if who == "ours" else run_real(Path(path))
    Path(output).write_text(json.dumps(result, indent=1))

"""What real Kerases do with the cases of the table of options, beside what ours does.

`asked` are the cases of a row: each option with its kinds of values, and some two options at a time.
`observe` has a Keras, ours or a real one, predict and make one step of training, with weights and data that
depend on the case alone. Keras 2.2.4 and 2.3.1 were executed by `record_keras2`; Keras 3 is executed where it
is installed (tests/keras_tier). `python tests/references.py` prints how many pairs of a
layer and an option are compared with which of them, and why the others are not.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import zlib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from option_cases import Case, data, listed, model_of, shapes_of
from option_rows import Options
from options import TABLE

from kcompile.files.configs import INITIALIZER_NEUTRAL
from kcompile.files.keras2_words import object_config
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.models import model_from_json

RECORD = Path(__file__).parent / "keras2_options.json"
TOGETHER = 6  # cases of two options of each row
RANDOM = ("rate", "dropout", "recurrent_dropout", "stddev")
GIVEN = ("initializer", "init")  # what weights are set over: only their configurations can differ
OF_WEIGHTS = (*GIVEN, "regularizer", "constraint")
# Alike in all layers; and what Keras 2, whose cases of two options are recorded, has not
PLAIN = ("trainable", "vintage", "name", "batch", *OF_WEIGHTS, "layer")


# ---------------------------------------------------------------- cases


def kind_of(option: str) -> str:
    return option.rpartition("_")[2]


def kinds(name: str, option: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """One value of each kind: of sizes and rates the first, one between and the last. Of what is one thing
    for all layers, as regularizers are, a Dense has all values and others have some. None of the vintage,
    which is that of the reference, and one of the batch size, in which the Kerases do not differ."""
    if option in ("vintage", "batch"):
        return values[: option == "batch"]
    if name not in ("Dense", "Activation"):
        some = 1 if kind_of(option) in OF_WEIGHTS else 3 if kind_of(option) == "activation" else len(values)
        values = tuple(random.Random(f"{name} {option}").sample(values, min(some, len(values))))
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    kept = {numbers[0], numbers[len(numbers) // 2], numbers[-1]} if numbers else set()
    return tuple(v for v in values if v not in numbers or v in kept)


def asked(name: str) -> list[Case]:
    """The legal cases of a row that the references are asked."""
    row = TABLE[name]
    alone = [Case(name, ((key, v),)) for key, values in row.options.items() for v in kinds(name, key, values)]
    free = [key for key in row.options if not {key, kind_of(key)} & {*PLAIN}]
    draw = random.Random(name)
    pairs = list(itertools.combinations(free, 2))
    some = [
        Case(name, ((a, draw.choice(row.options[a])), (b, draw.choice(row.options[b]))))
        for a, b in draw.sample(pairs, min(TOGETHER, len(pairs)))
    ]
    return [c for c in (Case(name, ()), *alone, *some) if not row.illegal(row.filled(dict(c.given)))]


def last_of_each(name: str) -> list[Case]:
    """Of each option the last of its cases, and the cases of two options."""
    last = {tuple(key for key, _ in case.given): case for case in asked(name)}
    return list(last.values())


def only_configured(case: Case) -> bool:
    """Whether the option changes nothing that is computed here."""
    return any(kind_of(key) in (*GIVEN, "name", "seed") for key, _ in case.given)


# ---------------------------------------------------------------- observation


@dataclass(frozen=True)
class Seen:
    """config: of the layer. shapes: of the outputs, with the batch. predicted: by turns, where states are
    kept. loss, moves: of one step of SGD, how far each weight went; None where the training is random."""

    config: dict[str, Any]
    shapes: list[tuple[int | None, ...]]
    predicted: list[np.ndarray]
    loss: float | None
    moves: list[np.ndarray]


def is_random(case: Case) -> bool:
    """Whether training draws numbers."""
    o = TABLE[case.row].filled(dict(case.given))
    return any(o.get(name) for name in RANDOM)


def variables(model: Any) -> list[Any]:
    """In the order of `get_weights`."""
    return [variable for layer in model.layers for variable in layer.weights]


def set_weights(model: Any, case: Case) -> list[np.ndarray]:
    """Give the model the weights of its case."""
    rng = np.random.default_rng(zlib.crc32(repr(case).encode()))
    made = []
    for variable in variables(model):
        shape = tuple(int(d) for d in variable.shape)
        fan = np.sqrt(max(1, np.prod(shape[:-1])))
        positive = "variance" in variable.name
        value = rng.uniform(0.1, 1, shape) if positive else rng.uniform(-1, 1, shape) / fan
        made.append(value.astype(np.float32))
    model.set_weights(made)
    return made


def joined(models: dict[Case, Any], keras: Any) -> Any:
    """One model of all, which is written, opened and compiled once."""
    sides = ([t for model in models.values() for t in getattr(model, side)] for side in ("inputs", "outputs"))
    return keras.models.Model(*sides)


def one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def observe(case: Case, keras: Any, model: Any, eager: bool = False, opened: bool = False) -> Seen:
    """What the model of the case does in its Keras. eager: a real one that needs no graphs runs without.
    opened: it has its weights from a file."""
    config = model.layers[-1].get_config()
    if only_configured(case):
        return Seen(config, shapes_of(model), [], None, [])
    x, y = data(case, model)
    start = model.get_weights() if opened else set_weights(model, case)
    kept = bool(dict(case.given).get("stateful"))
    run = (lambda x: model(x, training=False)) if eager else model.predict_on_batch
    predicted = [np.asarray(a) for _ in range(1 + kept) for a in listed(run(one(x)))]
    loss, moves = None, []
    if not is_random(case):
        if kept:
            model.layers[-1].reset_states()
        model.compile(keras.optimizers.SGD(0.5), "mse", **({"run_eagerly": True} if eager else {}))
        loss = float(np.ravel(model.train_on_batch(one(x), one(y)))[0])
        moves = [b - np.asarray(a, b.dtype) for a, b in zip(start, model.get_weights())]
    return Seen(config, shapes_of(model), predicted, loss, moves)


# ---------------------------------------------------------------- the record of Keras 2


def digest(a: np.ndarray) -> list[float]:
    """Two numbers that depend on all of the array's, as large as they are."""
    rng = np.random.default_rng(a.size)
    return [float(f"{v:.6g}") for v in rng.normal(size=(2, a.size)) @ np.ravel(a) / np.sqrt(max(1, a.size))]


def written(case: Case, seen: Seen) -> dict[str, Any]:
    """What a record keeps, of plain values."""
    made: dict[str, Any] = {"config": {k: v for k, v in seen.config.items() if k != "name"}}
    made["shapes"] = seen.shapes
    made["predicted"] = [digest(a) for a in seen.predicted]
    made["moves"] = [digest(a) for a in seen.moves]
    if seen.loss is not None:
        made["loss"] = float(f"{seen.loss:.6g}")
    return dict(json.loads(json.dumps(made, default=plain)))


def plain(value: Any) -> Any:
    """What is no value of JSON in a configuration: a shape, a number of numpy, the function of a Lambda; and
    dicts, as TensorFlow wraps them."""
    if isinstance(value, dict):
        return dict(value)
    if hasattr(value, "as_list"):
        return value.as_list()
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else repr(value)


@functools.cache
def _record() -> dict[str, Any]:
    return dict(json.loads(RECORD.read_text()))


def recorded(name: str, version: str) -> dict[Case, dict[str, Any] | str]:
    """What a version of Keras 2 did with the cases of a row, or why it refused them. Of 2.2.4, those that it
    does otherwise."""
    record = _record()
    if name not in record["2.3.1"]:
        return dict.fromkeys(asked(name), "it has no such layer")
    of_row = {**record["2.3.1"][name], **record[version].get(name, {})}
    made = {}
    for case in asked(name):
        if repr(case) not in record[version].get(name, {}):
            continue
        found = of_row[repr(case)]
        if isinstance(found, dict):
            found = {**found, "config": {**of_row[repr(Case(name, ()))]["config"], **found["config"]}}
        made[case] = found
    return made


# ---------------------------------------------------------------- what has no reference


@dataclass(frozen=True)
class Lack:
    """That a Keras has no answer for options (none: for a layer), or another one than ours, and why."""

    reference: str
    rows: str  # a pattern
    options: str  # all of them together; of "-option", where it is not given
    why: str


REFERENCES = ("keras2", "tf_keras", "keras3")
LACKS = (
    Lack("keras2", "Conv3DTranspose", "dilation_rate", "it takes the argument and leaves it out"),
    Lack("keras2", "TimeDistributed*", "trainable", "it makes trainable again what a wrapper is made of"),
    Lack("keras2", "Bidirectional*", "stateful", "its predictions forget the states"),
    Lack("keras2", "Bidirectional*", "backward_layer", "it has no such argument"),
    *(
        Lack("tf_keras", rows, "data_format", "it computes channels_first on no CPU")
        for rows in ("*Conv[123]D*", "ConvLSTM*", "MaxPooling[23]D", "AveragePooling[23]D")
    ),
    *(
        Lack("tf_keras", rows, "strides", "it computes strides of two sizes on no CPU")
        for rows in ("DepthwiseConv2D", "SeparableConv2D")
    ),
    Lack("tf_keras", "Conv[12]DTranspose", "dilation_rate", "it computes no dilation on a CPU"),
    Lack("tf_keras", "Conv3DTranspose", "dilation_rate", "it takes the argument and leaves it out"),
    Lack("tf_keras", "ConvLSTM*", "unroll", "it refuses the argument"),
    Lack("tf_keras", "EinsumDense", "activity_regularizer", "it takes the argument and leaves it out"),
    Lack("tf_keras", "GroupNormalization", "masked", "it refuses a mask of steps, as ours does then"),
    Lack("tf_keras", "LayerNormalization", "rms_scaling", "it has no such argument"),
    Lack("tf_keras", "MultiHeadAttention", "sliding_window", "it has no such argument"),
    Lack("tf_keras", "MultiHeadAttention", "use_gate", "it has no such argument"),
    Lack("tf_keras", "MultiHeadAttention", "masked", "it rounds scores away where all keys are masked"),
    Lack("tf_keras", "SpatialDropout*", "trainable", "our files leave it out, as Keras 3 refuses it"),
    Lack("tf_keras", "ReversibleEmbedding", "", "it has no such layer"),
    Lack("tf_keras", "Softmax", "masked", "its masks are of single scores"),
    Lack("tf_keras", "SpectralNormalization*", "", "it does not find its own class in files"),
    *(
        Lack("tf_keras", rows, "", "it has no such layer")
        for rows in (
            "Adaptive*",
            "AugMix",
            "AutoContrast",
            "ContrastLimited*",
            "CutMix",
            "Equalization",
            "GroupedQueryAttention",
            "MelSpectrogram",
            "MixUp",
            "RMSNormalization",
            "RandAugment",
            "STFTSpectrogram",
            "Solarization",
        )
    ),
    Lack("tf_keras", "Random*", "", "it draws other numbers, or has no such layer"),
    *(
        Lack("tf_keras", rows, option, "it has no such argument")
        for rows, option in (
            *((rows, "data_format") for rows in ("CenterCrop", "Resizing")),
            *(("Resizing", option) for option in ("antialias", "fill_value", "pad_to_aspect_ratio")),
        )
    ),
    Lack("tf_keras", "CategoryEncoding", "", "it makes no vectors of numbers that stand in rows"),
    *(
        Lack("tf_keras", rows, "-output_mode", "it makes no vectors of numbers that stand in rows")
        for rows in ("Discretization", "IntegerLookup")
    ),
    Lack("tf_keras", "CenterCrop", "height width", "it cuts some images to no pixels, and fails"),
    Lack("tf_keras", "Highway", "", "it has no layers of Keras 1"),
    Lack("tf_keras", "MaxoutDense", "", "it has no layers of Keras 1"),
    Lack("keras3", "Highway", "", "it has no layers of Keras 1"),
    Lack("keras3", "MaxoutDense", "", "it has no layers of Keras 1"),
    Lack("keras3", "LocallyConnected*", "", "it has no such layer"),
    Lack("keras3", "ThresholdedReLU", "", "it has no such layer"),
    Lack("keras3", "*", "implementation", "it has no such argument"),
    Lack("keras3", "*", "batch", "a size of its own is code of its own; the others are asked"),
    Lack("keras3", "SpatialDropout*", "trainable", "its constructor has no such argument"),
    Lack("keras3", "GaussianNoise", "stddev", "it refuses more than 1"),
    Lack("keras3", "EinsumDense", "output_shape", "it leaves sizes open that are those of the input"),
    Lack("keras3", "SeparableConv1D", "padding", "it refuses causal padding"),
    Lack("keras3", "Softmax", "masked", "its masks are of single scores"),
    Lack("keras3", "SimpleRNN", "activity_regularizer", "it takes the argument and leaves it out"),
    Lack("keras3", "Bidirectional(SimpleRNN)", "activity_regularizer", "its layer has lost the argument"),
    Lack("keras3", "Bidirectional*", "zero_output_for_mask", "its layers have lost the argument"),
    Lack("keras3", "Bidirectional*", "go_backwards", "it refuses a layer that goes backwards"),
    Lack("keras3", "Random*", "", "it draws other numbers; fixed transformations are compared by themselves"),
    *(
        Lack("keras3", rows, "", "it draws other numbers; fixed transformations are compared by themselves")
        for rows in ("AugMix", "CutMix", "MixUp", "RandAugment", "Solarization")
    ),
    Lack("keras3", "Equalization", "", "its call makes a model with a cycle"),
    Lack("keras3", "IntegerLookup", "", "it looks up in TensorFlow's tables"),
    Lack("keras3", "Normalization", "", "its weights have a count, which takes no random numbers"),
    Lack("keras3", "TimeDistributed(LSTM)", "masked", "it cannot train: the mask is not of the loss's shape"),
)


def without(reference: str, case: Case) -> str | None:
    """Why a case has no reference in a Keras; None where it has."""
    given = {key for key, _ in case.given}
    found = (
        lack.why
        for lack in LACKS
        if lack.reference == reference
        and all((name[1:] not in given) if name[0] == "-" else name in given for name in lack.options.split())
        and fnmatch(case.row, lack.rows)
    )
    return next(found, None)


# ---------------------------------------------------------------- comparison


def near(a: np.ndarray, right: list[float], tolerance: float, floor: float) -> bool:
    limit = tolerance * np.abs(a).max(initial=0.0) + floor
    return bool(np.abs(np.array(digest(a)) - right).max() <= limit)


def computed_otherwise(seen: Seen, did: dict[str, Any]) -> list[str]:
    """What an outcome has otherwise than the record."""
    told = []
    if [list(shape) for shape in seen.shapes] != did["shapes"]:
        told.append(f"shapes {seen.shapes}, there {did['shapes']}")
    if len(seen.predicted) != len(did["predicted"]) or not all(
        near(a, b, 1e-4, 1e-6) for a, b in zip(seen.predicted, did["predicted"])
    ):
        told.append(f"predictions {[digest(a) for a in seen.predicted]}, there {did['predicted']}")
    if seen.loss is not None and "moves" in did:
        if abs(seen.loss - did.get("loss", seen.loss)) > 1e-4 * abs(seen.loss):
            told.append(f"loss {seen.loss}, there {did['loss']}")
        for place, (a, b) in enumerate(zip(seen.moves, did["moves"], strict=True)):
            if not near(a, b, 2e-3, 1e-6):
                told.append(f"weight {place} of shape {a.shape} goes {digest(a)}, there {b}")
    return told


SAYS_NOTHING = {"name", "module", "registered_name", "dtype", "implementation"}


def within(part: Any, whole: Any, path: str = "") -> list[str]:
    """What a configuration has otherwise than another, which may have more."""
    if isinstance(part, dict) and isinstance(whole, dict):
        if "class_name" in part and "class_name" in whole:  # each Keras has other names for the same
            part, whole = _object(part), _object(whole)
        return [
            line
            for key, value in part.items()
            if key not in SAYS_NOTHING
            if value is not None or key in whole
            for line in within(value, whole.get(key, "(nothing)"), f"{path}.{key}")
        ]
    if {type(part), type(whole)} == {int, list}:  # one, or a list of one
        part, whole = ([v] if isinstance(v, int) else v for v in (part, whole))
    if isinstance(part, (int, float)) and isinstance(whole, (int, float)):
        return [] if np.isclose(part, whole, 1e-6) else [f"{path} is {part}, there {whole}"]
    return [] if part == whole else [f"{path} is {part!r}, there {whole!r}"]


def _object(value: Any) -> Any:
    inside = value["config"]
    if isinstance(inside, dict):
        silent = (*INITIALIZER_NEUTRAL, "seed")  # which counts on as weights are made
        value = {**value, "config": {k: v for k, v in inside.items() if k not in silent}}
    return object_config(value)


def configured_otherwise(model: Any, config: dict[str, Any], vintage: str, version: str) -> list[str]:
    """What of the last layer we write otherwise than a Keras does, and read otherwise in what it writes."""
    layer = model.layers[-1]
    if type(layer).__name__ == "Lambda":
        return []  # functions are bytecode there, which is never run
    written = json.loads(model.to_json(vintage=vintage))
    entry = written["config"]["layers"][-1]
    told = [f"we write: {line}" for line in within(_of(config, entry["config"]), config)]
    entry["config"] = {**config, "name": layer.name}
    again = model_from_json(json.dumps({**written, "keras_version": version, "backend": "tensorflow"}))
    back = again.layers[-1].get_config()
    return told + [f"we read: {line}" for line in within(_of(config, layer.get_config()), back)]


def _of(config: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """What both say. Some layers leave out of their configurations what their constructors take."""
    return {key: value for key, value in ours.items() if key in config}


def differences(
    case: Case, did: dict[str, Any], keras: Any, vintage: str, version: str, defaults: Options | None = None
) -> list[str]:
    """What our edition of a Keras does otherwise with a case than the real one. defaults: arguments that ours
    are given where the case does not say them."""
    keras.backend.clear_session()
    try:
        model = model_of(case, keras, **(defaults or {}))
        model.use_engine(InterpreterEngine(model, "float64"))
        seen = observe(case, keras, model)
        found = computed_otherwise(seen, did)
        found += configured_otherwise(model, did["config"], vintage, version)
    except Exception as error:
        found = [f"{type(error).__name__}: {error}"]
    return [f"{case!r}: {line}" for line in found]


# ---------------------------------------------------------------- how much has a reference


def why_not(reference: str, case: Case) -> str | None:
    """Why a case is not compared with a reference; None where it is."""
    lack = without(reference, case)
    if lack is None and reference == "keras2":
        did = recorded(case.row, "2.3.1")[case]
        if isinstance(did, str):
            return f"refused there: {did}"
    return lack


def pairs(reference: str) -> dict[tuple[str, str], str | None]:
    """Each pair of a layer and an option, with why none of its values is compared; None where one is."""
    found: dict[tuple[str, str], str | None] = {
        (name, option): "it is which Keras is meant" if option == "vintage" else "no value is legal here"
        for name, row in TABLE.items()
        for option in row.options
    }
    for name in TABLE:
        for case in asked(name):
            for pair in ((name, key) for key, _ in case.given if len(case.given) == 1):
                if found[pair] is not None:
                    found[pair] = why_not(reference, case)
    return found


def main() -> None:
    found = {reference: pairs(reference) for reference in REFERENCES}
    for reference, reasons in found.items():
        compared = sum(why is None for why in reasons.values())
        print(f"{reference}: {compared} of {len(reasons)} pairs of a layer and an option are compared")
        options: dict[str, list[str]] = {}
        for (name, option), why in reasons.items():
            options.setdefault(str(why), []).append(f"{name}.{option}")
        for why, which in options.items():
            if why != "None":
                print(f"  {len(which)} are not: {why} ({', '.join(which[:3])}{', ...' * (len(which) > 3)})")
    alone = [pair for pair in found["keras2"] if all(found[reference][pair] for reference in REFERENCES)]
    print(
        f"{len(alone)} have no reference, of which {sum(o == 'vintage' for _, o in alone)} are the vintage:"
    )
    print(", ".join(f"{name}.{option}" for name, option in alone if option != "vintage"))


if __name__ == "__main__":
    main()

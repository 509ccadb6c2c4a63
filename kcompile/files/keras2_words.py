"""What Keras 2.2 and 2.3 call otherwise than their successors, or do not have.

Enters: configurations of layers and optimizers in the words of tf.keras. Leaves: the same in words that
Keras 2.2.4, Keras 2.3.1 and tf_keras read, and what they do not have. Sources: the constructors of both,
which tests/files/keras2_arguments.py lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kcompile.keras import initializers

Config = dict[str, Any]

# Layers of our public names that Keras 2 has not
LATER_LAYERS = frozenset(
    {
        *(f"Adaptive{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3)),
        "AdditiveAttention",
        "Attention",
        "AugMix",
        "AutoContrast",
        "CategoryEncoding",
        "CenterCrop",
        "ContrastLimitedAdaptiveHistogramEqualization",
        "Conv1DTranspose",
        "ConvLSTM1D",
        "ConvLSTM3D",
        "CustomScaleLayer",
        "CutMix",
        "DepthwiseConv1D",
        "Discretization",
        "EinsumDense",
        "Equalization",
        "GroupNormalization",
        "GroupedQueryAttention",
        "HashedCrossing",
        "Hashing",
        "Identity",
        "IntegerLookup",
        "LayerNormalization",
        "LayerScale",
        "MaxNumBoundingBoxes",
        "MelSpectrogram",
        "MixUp",
        "MultiHeadAttention",
        "Normalization",
        "Pipeline",
        "RMSNormalization",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
        "RandomCrop",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomZoom",
        "Rescaling",
        "Resizing",
        "ReversibleEmbedding",
        "STFTSpectrogram",
        "Solarization",
        "SpectralNormalization",
        "StochasticDepth",
        "StringLookup",
        "TextVectorization",
        "UnitNormalization",
    }
)
# Arguments that it has not, by class ("": of any), with the values at which they say nothing
LATER_ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "": {"groups": 1, "keepdims": False},
    "BatchNormalization": {"synchronized": False},
    "GaussianNoise": {"seed": None},
    "GaussianDropout": {"seed": None},
    **{
        kind + suffix: {"seed": None}
        for kind in ("SimpleRNN", "GRU", "LSTM", "ConvLSTM2D")
        for suffix in ("", "Cell")
    },
}
# The same of tf.keras: layers that prepare data
_LAST = {"data_format": "channels_last"}
LATER_THAN_TF: Mapping[str, Mapping[str, Any]] = {
    "": {},
    **{
        kind: _LAST
        for kind in (
            "CenterCrop",
            "RandomBrightness",
            "RandomCrop",
            "RandomFlip",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
        )
    },
    "IntegerLookup": {"oov_method": "floormod", "salt": None},
    "RandomContrast": {**_LAST, "value_range": [0.0, 255.0]},
    "Resizing": {
        **_LAST,
        "pad_to_aspect_ratio": False,
        "fill_mode": "constant",
        "fill_value": 0.0,
        "antialias": False,
    },
    "StringLookup": {"oov_method": "floormod", "salt": None},
}
# Arguments of optimizers that it has not; and learning rates that all Kerases have where none is given
LATER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "Adagrad": {"initial_accumulator_value": 0.0},
    "RMSprop": {"momentum": 0.0, "centered": False},
}
OPTIMIZERS = frozenset({"SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"})
OLD_OPTIONS = ("clipnorm", "clipvalue", "decay")
# Optimizers whose weights have the number of steps in Keras 2.2, where no other number is beside it
COUNTING_2_2 = frozenset({"SGD", "Adam", "Adamax", "Nadam"})
SAME_RATES = {"Adam": 0.001, "SGD": 0.01, "RMSprop": 0.001}


# The initializers that are VarianceScaling with fixed arguments, and these in the words of all Kerases
_FIXED = [
    (name, [(made.scale, made.mode, distribution) for distribution in words])
    for name in ("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal")
    for made in (getattr(initializers, name)(),)
    for words in (["uniform"] if made.distribution == "uniform" else ["normal", "truncated_normal"],)
]


def without_later(kind: str, config: Config, later: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Take arguments that came later out of a configuration, where they say nothing. Those that do."""
    strange = []
    for name, silent in {**later[""], **later.get(kind, {})}.items():
        if name in config:
            if config[name] == silent:
                del config[name]
            else:
                strange.append(f"{name}={config[name]!r} of {kind}")
    return strange


def layer_config(kind: str, config: Config) -> list[str]:
    """Rewrite a layer's configuration in place. What Keras 2 does not have of it."""
    if kind in LATER_LAYERS:
        return [kind]
    strange = without_later(kind, config, LATER_ARGUMENTS)
    for name, value in config.items():
        if isinstance(value, Mapping) and "class_name" in value:
            config[name] = object_config(value)
    return strange


def object_config(value: Mapping[str, Any]) -> Any:
    """What an argument holds, as an object of Keras 2: all initializers that scale are VarianceScaling, and
    there is one regularizer for both norms."""
    kind = value["class_name"]
    if kind in ("L1", "L2"):
        factors = {"l1": 0.0, "l2": 0.0, **value["config"]}
        return {"class_name": "L1L2", "config": {name: factors[name] for name in ("l1", "l2")}}
    cls = vars(initializers).get(kind)
    if not (isinstance(cls, type) and issubclass(cls, initializers.VarianceScaling)):
        return value
    made = cls(**value["config"])
    distribution = "normal" if made.distribution == "truncated_normal" else made.distribution
    config = {"scale": made.scale, "mode": made.mode, "distribution": distribution, "seed": made.seed}
    return {"class_name": "VarianceScaling", "config": config}


def named_object(value: Any) -> Any:
    """What an argument holds; a VarianceScaling that has a class of its own since tf.keras, as that class."""
    given = value.get("config") if isinstance(value, Mapping) else None
    if not isinstance(given, Mapping):
        return value
    if value.get("class_name") != "VarianceScaling":
        return value
    options = [given.get(name) for name in ("scale", "mode", "distribution")]
    found = (name for name, fixed in _FIXED for choice in fixed if list(choice) == options)
    name = next(found, None)
    return value if name is None else {"class_name": name, "config": {"seed": given.get("seed")}}


def optimizer_config(kind: str, config: Mapping[str, Any]) -> Config:
    """An optimizer's arguments. The learning rate is `lr`, which Keras 3 does not take: where it is the one
    that all have, none says it, so that all read it."""
    silent = LATER_OPTIONS.get(kind, {})
    made = {k: v for k, v in config.items() if k not in silent or v != silent[k]}
    made.pop("name", None)  # no optimizer of Keras 2 has one
    rate = made.pop("learning_rate")
    same = not isinstance(rate, Mapping) and kind in SAME_RATES and abs(rate - SAME_RATES[kind]) < 1e-8
    return made if same else {"lr": rate, **made}


def later_options(kind: str, config: Mapping[str, Any], common: Iterable[str]) -> list[str]:
    """What Keras 2 does not have of an optimizer, whose arguments these are. common: options of all."""
    strange = [] if kind in OPTIMIZERS else [kind]
    if isinstance(config.get("lr"), Mapping):
        strange.append(str(config["lr"]["class_name"]))
    later = {*common, *LATER_OPTIONS.get(kind, ())} - set(OLD_OPTIONS)
    return strange + [f"{name} of {kind}" for name in config if name in later]

"""Rows of the table of options for layers that prepare data."""

from __future__ import annotations

from typing import Any

from option_rows import ANY, MASKED, SEVERAL_AXES, Options, Row

IMAGES: dict[str, Any] = {"trainable": (False,), "vintage": ANY["vintage"], "batch": (1, 33), **SEVERAL_AXES}
DRAWN = {**IMAGES, "seed": (None, 3, 2**32 - 1)}
MOVED = {
    **DRAWN,
    "fill_mode": ("reflect", "wrap", "constant", "nearest"),
    "interpolation": ("nearest",),
    "fill_value": (0.5,),
    "shape": ((1, 7, 2), (6, 1, 1)),
}
RANGE = {"value_range": ((0, 1), (-1.0, 1.0))}


def without(options: Options, *names: str) -> Options:
    return {key: value for key, value in options.items() if key not in names}


def coloured(name: str, start: Any = 0.4, make: Any = None, **options: Any) -> Row:
    base = {} if start is None else {"factor": start}
    given = {"factor": ((0.1, 0.3), 0.0), **options} if base else options
    kinds = without(DRAWN, "data_format") if name.startswith(("RandomHue", "RandomS", "RandomG")) else DRAWN
    return Row(name, (5, 4, 3), {"value_range": (-1, 1), **base}, {**kinds, **RANGE, **given}, make=make)


def before_a_dense(name: str) -> Any:
    """A layer without a gradient, and one with weights behind it."""

    def make(layers: Any, o: Options, every: Options) -> Any:
        given = {key: value for key, value in o.items() if key != "input_dim"}
        layer, dense = getattr(layers, name)(**given, **every), layers.Dense(2, **every)
        return lambda x: dense(layer(x))

    return make


PREPROCESSING = (
    Row(
        "Rescaling",
        (4, 3),
        {"scale": 0.5},
        {**ANY, **MASKED, "scale": (2, [1.0, 2.0, 0.5]), "offset": (-1.0, [1, 2, 3]), "shape": ((5, 4, 3),)},
    ),
    Row(
        "Normalization",
        (4, 3),
        {},
        {
            **ANY,
            **MASKED,
            "axis": (-1, 1, None, (1, 2), [2]),
            "invert": (True,),
            "shape": ((1,), (257,), (5, 4, 3)),
        },
        lambda o: o.get("axis", -1) not in (-1, None, 1) and len(o["shape"]) < 2,
    ),
    Row(
        "Resizing",
        (5, 4, 3),
        {"height": 3, "width": 6},
        {
            **IMAGES,
            "interpolation": ("nearest", "bicubic", "lanczos3", "lanczos5"),
            "crop_to_aspect_ratio": (True,),
            "pad_to_aspect_ratio": (True,),
            "fill_value": (2.0,),
            "antialias": (True,),
            "height": (1, 5, 17),
            "width": (1, 4, 33),
            "shape": ((1, 1, 1), (9, 7, 2)),
        },
        lambda o: bool(o.get("crop_to_aspect_ratio") and o.get("pad_to_aspect_ratio")),
    ),
    *(
        Row(
            name,
            (5, 4, 3),
            {"height": 3, "width": 2},
            {**options, "height": (1, 5, 8), "width": (1, 4, 8), "shape": ((9, 7, 2),)},
        )
        for name, options in (("CenterCrop", IMAGES), ("RandomCrop", DRAWN))
    ),
    Row(
        "CategoryEncoding",
        (4,),
        {"num_tokens": 6, "input_dim": 6},
        {**ANY, "output_mode": ("one_hot", "count", "multi_hot"), "shape": ((1,),)},
        words=True,
        make=before_a_dense("CategoryEncoding"),
    ),
    Row(
        "IntegerLookup",
        (4,),
        {"vocabulary": [3, 1, 4], "output_mode": "one_hot", "input_dim": 6},
        {
            **ANY,
            "output_mode": ("count", "multi_hot"),
            "num_oov_indices": (2,),
            "mask_token": (2,),
            "max_tokens": (9,),
            "shape": ((1,),),
        },
        words=True,
        make=before_a_dense("IntegerLookup"),
    ),
    Row(
        "Discretization",
        (4,),
        {"bin_boundaries": [-0.5, 0.1, 0.3], "output_mode": "one_hot"},
        {**without(ANY, "trainable"), "output_mode": ("count", "multi_hot"), "shape": ((1,),)},
        make=before_a_dense("Discretization"),
    ),
    Row("RandomFlip", (5, 4, 3), {}, {**DRAWN, "mode": ("horizontal", "vertical")}),
    Row("RandomRotation", (5, 4, 3), {"factor": 0.2}, {**MOVED, "factor": ((-0.5, 0.1), 0.0)}),
    Row(
        "RandomZoom",
        (5, 4, 3),
        {"height_factor": 0.2},
        {**MOVED, "height_factor": ((-0.5, 0.1),), "width_factor": (None, 0.3, (0.1, 0.2))},
    ),
    Row(
        "RandomTranslation",
        (5, 4, 3),
        {"height_factor": 0.2, "width_factor": 0.1},
        {**MOVED, "height_factor": ((-0.5, 0.1), 1), "width_factor": (0.3, (0.1, 0.2))},
    ),
    Row(
        "RandomShear",
        (5, 4, 3),
        {"x_factor": 0.3, "y_factor": 0.1},
        {**MOVED, "x_factor": ((0.5, 0.1), 1.0), "y_factor": (0.0, (0.1, 0.2))},
    ),
    coloured("RandomContrast"),
    coloured("RandomBrightness"),
    coloured("RandomHue"),
    coloured("RandomSaturation"),
    coloured("RandomSharpness"),
    coloured("RandomInvert"),
    coloured("RandomPosterization", 3, before_a_dense("RandomPosterization"), factor=((2, 6), 8)),
    coloured("RandomGaussianBlur", 0.9, kernel_size=(1, (5, 3)), sigma=((0.2, 0.9),)),
    coloured("RandomErasing", 0.9, scale=((0.2, 0.9),), fill_value=(0.5, (0.1, 0.2, 0.3)), seed=(3,)),
    coloured("Solarization", None, addition_factor=(0.3, (0.1, 0.2)), threshold_factor=(0.5, (0.1, 0.9))),
    coloured(
        "RandomColorJitter",
        None,
        brightness_factor=(0.3,),
        contrast_factor=((0.1, 0.2),),
        saturation_factor=((0.4, 0.5),),
        hue_factor=(0.1,),
        data_format=("channels_last",),
    ),
    Row(
        "RandomGrayscale",
        (5, 4, 3),
        {},
        {**DRAWN, "factor": (0.0, 0.2, 1.0), "shape": ((5, 4, 1),)},
        lambda o: (
            (o["shape"][0] if o.get("data_format") == "channels_first" else o["shape"][-1]) not in (1, 3)
        ),
    ),
    Row("RandomColorDegeneration", (5, 4, 3), {"factor": 0.4}, {**without(DRAWN, "data_format"), **RANGE}),
    Row("AutoContrast", (5, 4, 3), {"value_range": (-1, 1)}, {**IMAGES, **RANGE, "shape": ((2, 3, 2),)}),
    Row(
        "ContrastLimitedAdaptiveHistogramEqualization",
        (6, 5, 2),
        {"tile_grid_size": (2, 2), "value_range": (-1, 1)},
        {**without(IMAGES, "batch"), "tile_grid_size": ((1, 3),), "clip_limit": (0.0, 2.0)},
        make=before_a_dense("ContrastLimitedAdaptiveHistogramEqualization"),
    ),
    Row("RandomPerspective", (5, 4, 3), {"scale": 0.4}, {**DRAWN, "factor": (0.5,), "fill_value": (0.5,)}),
    Row(
        "RandomElasticTransform",
        (9, 8, 3),
        {"value_range": (-1, 1)},
        {**without(MOVED, "shape"), "factor": (0.5,), "scale": (0.3, (0.2, 0.8))},
    ),
    Row("MixUp", (5, 4, 3), {}, {**DRAWN, "alpha": (0.5, 2.0)}),
    Row("CutMix", (5, 4, 3), {}, {**DRAWN, "factor": ((0.2, 0.8),)}),
    Row(
        "RandAugment",
        (5, 4, 3),
        {"value_range": (-1, 1)},
        {"vintage": ANY["vintage"], "num_ops": (1,), "factor": ((0.1, 0.3),), "seed": (3,)},
        make=before_a_dense("RandAugment"),
    ),
    Row(
        "AugMix",
        (5, 4, 3),
        {"value_range": (-1, 1), "seed": 2},
        {
            "vintage": ANY["vintage"],
            "num_chains": (1,),
            "chain_depth": (2,),
            "alpha": (0.5,),
            "all_ops": (False,),
        },
        make=before_a_dense("AugMix"),
    ),
    Row("Equalization", (5, 4, 3), {"value_range": (-1, 1)}, {**IMAGES, "bins": (2, 16, 256)}),
    Row(
        "MelSpectrogram",
        (60,),
        {"fft_length": 16, "sequence_stride": 6, "num_mel_bins": 5, "sampling_rate": 800},
        {
            "vintage": ("keras3",),
            "trainable": (False,),
            "batch": (1, 33),
            "sequence_length": (9,),
            "window": ("hamming", None, [0.5] * 16),
            "min_freq": (0.0, 50),
            "max_freq": (300.0,),
            "power_to_db": (False,),
            "top_db": (3.0,),
            "mag_exp": (1.0, 1.5),
            "min_power": (0.1,),
            "ref_power": (-2.0,),
            "shape": ((9,), (200,)),
        },
        lambda o: bool(o.get("sequence_length") and isinstance(o.get("window"), list)),
        make=before_a_dense("MelSpectrogram"),
    ),
    Row(
        "STFTSpectrogram",
        (30, 2),
        {"frame_length": 8},
        {
            **{key: value for key, value in ANY.items() if key != "vintage"},
            "vintage": ("keras3",),
            **SEVERAL_AXES,
            "mode": ("magnitude", "psd", "real", "imag", "angle", "stft"),
            "frame_step": (1, 3),
            "fft_length": (8, 16, 64),
            "window": ("hamming", "blackman", "tukey", None, [1.0, 2, 3, 4, 4, 3, 2, 1]),
            "periodic": (True,),
            "scaling": ("spectrum", None),
            "padding": ("same",),
            "expand_dims": (True,),
            "shape": ((64, 1), (33, 5)),
        },
        lambda o: o.get("data_format") == "channels_first" and o["shape"][1] < 8,
    ),
)

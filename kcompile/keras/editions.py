"""What scripts of a vintage take for granted: defaults of arguments, names, the text on the terminal.

`semantics` says what a model computes; its configuration holds every argument, so a default counts only where
somebody writes a script. An `Edition` is what `kcompile.keras3` and `kcompile.tf_keras` have otherwise than
`kcompile.keras`. Sources: the signatures of Keras 2.3.1, tf_keras 2.15 to 2.21 and Keras 3.15, compared by
tests/keras_tier/test_editions_with_keras.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kcompile.keras import optimizer_orders
from kcompile.keras.argument_orders import ORDERS
from kcompile.keras.network_names import FAMILIES, OF_TF_KERAS


@dataclass(frozen=True)
class Edition:
    """One vintage, as a script meets it.

    version: `keras.__version__`. defaults: by the name of a class or function (also with its module),
    arguments that have others. positions: the order of arguments of a class (and of Layer.add_weight), where
    it is another. renamed: of a class or function, its name of an argument -> ours. neutral: arguments of
    layers that ours do not have, with the values at which they do nothing. removed: what a module has not; of
    "", modules that it has not. added: what a module has that ours have in another one. rate_log, rate: the
    learning rate in logs, and in configurations of optimizers. numbers_first: whether automatic names begin
    with dense_1, or with dense. eager: whether a model called on arrays gives tensors. own_layers: whether
    model.layers is the model's own list, which pop makes shorter. keras1: whether layers take the spellings
    of Keras 1. input, model: what automatic names begin with. bar: counts samples, or steps, and how it
    looks. summary: how the table of layers looks. digits_in_words: of automatic names: conv_lst_m2d, or
    conv_lstm2d. operations: whether operators on tensors make layers of keras.ops. newer_networks: whether
    networks of applications, and their layers, have the names of Keras 3. variables: how names of weights
    look: dense/kernel:0, or kernel. unnamed: classes whose name is not in the paths of weights (see
    `scopes`); unnamed_inside: classes whose parts' names are not. builds_in_scope: whether a layer whose
    `build` is called has its name there. norms: the classes of the regularizers "l1" and "l2".
    clones_compiled: whether the clone of a compiled model is compiled too.
    """

    vintage: str
    version: str
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    positions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    neutral: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    removed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    added: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rate_log: str = "lr"
    rate: str = "learning_rate"
    numbers_first: bool = True
    eager: Literal["", "arrays", "tensors"] = ""
    own_layers: bool = False
    keras1: bool = False
    input: str = "input"
    model: str = "model"
    bar: Literal["samples", "steps", "line"] = "samples"
    summary: Literal["ruled", "titled", "boxed"] = "ruled"
    digits_in_words: bool = True
    operations: bool = False
    newer_networks: bool = False
    norms: Literal["L1L2", "L1 and L2"] = "L1L2"
    variables: Literal["tensors", "last part"] = "tensors"
    unnamed: frozenset[str] = frozenset()
    unnamed_inside: frozenset[str] = frozenset({"TimeDistributed", "_ConvLSTM"})
    builds_in_scope: bool = False
    clones_compiled: bool = False


_GRAPH: dict[str, Any] = {
    "unnamed": frozenset({"SubclassedModel"}),
    "unnamed_inside": frozenset({"TimeDistributed", "RNN", "StackedRNNCells"}),
}
_GATES = {"recurrent_activation": "sigmoid"}
_RESET = {**_GATES, "reset_after": True}
_TURNS = {"center_offset": -0.5, "transposed": True}  # images
_SINCE_TF: dict[str, Mapping[str, Any]] = {
    "resize_images": {"middles": True},
    "LSTM": _GATES,
    "LSTMCell": _GATES,
    "GRU": _RESET,
    "GRUCell": _RESET,
    "Adagrad": {"learning_rate": 0.001, "initial_accumulator_value": 0.1},
    "Adadelta": {"learning_rate": 0.001},
    "Adamax": {"learning_rate": 0.001},
    "Nadam": {"learning_rate": 0.001},
    "ModelCheckpoint": {},
    "TensorBoard": {"log_dir": "logs"},
    "datasets.imdb.load_data": {"refill": False},
    "ImageDataGenerator": {**_TURNS, "scale_brightness": False},
    "apply_affine_transform": {**_TURNS, "row_axis": 1, "col_axis": 2, "channel_axis": 0},
    "random_rotation": _TURNS,
    "random_shear": _TURNS,
    "random_shift": _TURNS,
    "random_zoom": _TURNS,
}
_CHECKPOINT = ("filepath", "monitor", "verbose", "save_best_only", "save_weights_only", "mode", "save_freq")
_BOARD = ("log_dir", "histogram_freq", "write_graph", "write_images", "write_steps_per_second", "update_freq")
_ORDER = {
    "ModelCheckpoint": (*_CHECKPOINT, "initial_value_threshold"),
    "TensorBoard": (*_BOARD, "profile_batch", "embeddings_freq", "embeddings_metadata"),
}
_BACKUP = ("backup_dir", "save_freq", "delete_checkpoint", "save_before_preemption")
_EVENTS = (
    *("on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end"),
    *("on_train_batch_begin", "on_train_batch_end"),
)
_SCHEDULES = (
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
)
# Layers of our public names that keras.layers of later Kerases has not
_OLD_LAYERS = frozenset(
    {
        "AtrousConvolution1D",
        "AtrousConvolution2D",
        "ConvLSTM2DCell",
        "ConvRNN2D",
        "CuDNNGRU",
        "CuDNNLSTM",
        "Deconvolution2D",
        "Deconvolution3D",
        "GroupedQueryAttention",
        "Highway",
        "MaxoutDense",
        "Merge",
        "Operation",
        "Recurrent",
        "merge",
    }
)
# ... and those that tf.keras has not
_NEW_LAYERS = frozenset(
    {
        *(f"Adaptive{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3)),
        "AugMix",
        "ContrastLimitedAdaptiveHistogramEqualization",
        "CutMix",
        "FlaxLayer",
        "GroupQueryAttention",
        "JaxLayer",
        "MaxNumBoundingBoxes",
        "MelSpectrogram",
        "MixUp",
        "Pipeline",
        "RandAugment",
        "RandomElasticTransform",
        "RandomPerspective",
        "STFTSpectrogram",
        "TFSMLayer",
        "TorchModuleWrapper",
        "RMSNormalization",
        "ReversibleEmbedding",
    }
)

_IMAGES = ("array_to_img", "img_to_array", "load_img", "save_img")
_DATA_SETS = ("image_dataset_from_directory", "text_dataset_from_directory", "timeseries_dataset_from_array")
_POLICIES = dict.fromkeys(("DTypePolicy", "FloatDTypePolicy"), "dtype_policies")

_UTILS = (
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_registered_name",
    "get_registered_object",
    "is_interactive_logging_enabled",
    "pack_x_y_sample_weight",
    "register_keras_serializable",
    "unpack_x_y_sample_weight",
    "deserialize_keras_object",
    "serialize_keras_object",
)
_ADDED = {
    "callbacks": {"BackupAndRestore": "callbacks.resuming"},
    "applications": {
        "ResNet50": "applications.resnet",  # the newer one
        **{name: f"newer_networks.{family}" for family, names in FAMILIES.items() for name in names},
    },
    "utils": {
        "pad_sequences": "preprocessing.sequence",
        "model_to_dot": "utils.vis_utils",
        "plot_model": "utils.vis_utils",
        **dict.fromkeys(_IMAGES, "preprocessing.image"),
        **dict.fromkeys(_DATA_SETS, "pipelines"),
        "audio_dataset_from_directory": "pipelines",
        **dict.fromkeys(_UTILS, "utils.newer"),
        "FeatureSpace": "feature_space",
        "split_dataset": "pipelines",
    },
    "preprocessing": dict.fromkeys(_DATA_SETS, "pipelines"),
    "preprocessing.image": {"smart_resize": "preprocessing.image.sampling"},
}
_KERAS3_ADDED = {
    **_ADDED,
    "callbacks": dict.fromkeys(("BackupAndRestore", "SwapEMAWeights"), "callbacks.resuming"),
    "utils": {
        **_ADDED["utils"],
        **dict.fromkeys(("Config", "clear_session", "is_keras_tensor", "standardize_dtype"), "utils.newer"),
    },
    "backend": dict.fromkeys(("is_float_dtype", "is_int_dtype", "result_type"), "keras3_parts"),
    **dict.fromkeys(
        ("legacy.saving", "utils.legacy"),
        dict.fromkeys(("deserialize_keras_object", "serialize_keras_object"), "utils.newer"),
    ),
    "": {
        **_POLICIES,
        **dict.fromkeys(("Function", "Operation", "RematScope", "remat"), "keras3_parts"),
        "Quantizer": "keras3_quantizers",
        "Initializer": "initializers",
        "InputSpec": "layers",
        "KerasTensor": "tensors",
        "Layer": "layers",
        "Loss": "losses",
        "Metric": "metrics",
        "Optimizer": "optimizers",
        "Regularizer": "regularizers",
        "Variable": "weights_of_scripts",
        "device": "weights_of_scripts",
        "name_scope": "settings",
        "version": "weights_of_scripts",
    },
}
_TF_KERAS_ADDED = {
    **_ADDED,
    "utils": {**_ADDED["utils"], "to_ordinal": "utils.newer"},
    "applications": {
        **_ADDED["applications"],
        **{name: f"newer_networks.{family}" for family, names in OF_TF_KERAS.items() for name in names},
    },
}
_RENAMED = {"l1": {"l1": "l"}, "l2": {"l2": "l"}}
_NAMED_FIRST = (*FAMILIES["convnext"], *OF_TF_KERAS["regnet"])
_CONVNEXT = (
    "name include_top include_preprocessing weights input_tensor input_shape pooling classes "
    "classifier_activation"
)
# Arguments that our layers do not have, with the values at which they do nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "quantization_config": (None,),
    "groups": (1,),
    "implementation": (1,),  # of locally connected layers: others have other weights
    "synchronized": (False, None),
    "use_cudnn": ("auto", False, True),  # by which kernels, which compute the same
    "keepdims": (False, None),
    "sparse": (False, None),
    "ragged": (False, None),
    "optional": (False, None),
    "activity_regularizer": (None,),
    "seed": (None,),
    "noise_shape": (None,),
    "autocast": (True,),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "time_major": (False, None),
    "gptq_unpacked_column_size": (None,),
    "zero_output_for_mask": (False, None),
    "rng_type": (None, "stateful", "legacy_stateful"),  # of generators, none of which draws our numbers
    "oov_method": ("floormod", "farmhash"),  # of texts, which are hashed in any case
}
_NEUTRAL = {**NEUTRAL, "use_cudnn": ("auto", True, False), "dynamic": (False,), "type_spec": (None,)}

EDITIONS = {
    edition.vintage: edition
    for edition in (
        Edition("keras2.2", "2.2.4", own_layers=True, keras1=True, rate="lr", **_GRAPH),
        Edition("keras2", "2.3.1", own_layers=True, keras1=True, **_GRAPH),
        Edition(
            "tf_keras",
            "2.15.0",
            {
                **_SINCE_TF,
                "BackupAndRestore": {},
                "LogCosh": {"name": "log_cosh"},
                "losses.KLDivergence": {"name": "kl_divergence"},
                "Lion": {"learning_rate": 0.0001},
                "RMSprop": {"ema_overwrite_frequency": 100},
                **{kind: {"name": None} for kind in _SCHEDULES},
            },
            {
                **_ORDER,
                **ORDERS["tf_keras"],
                **optimizer_orders.TF_KERAS,
                "BackupAndRestore": _BACKUP,
                "ModelCheckpoint": (*_CHECKPOINT, "options", "initial_value_threshold"),
                **dict.fromkeys(_NAMED_FIRST, tuple(_CONVNEXT.split())),
            },
            {**_RENAMED, **{name: {"model_name": "name"} for name in _NAMED_FIRST}},
            _NEUTRAL,
            {
                "": frozenset(
                    {
                        *("config", "distillation", "distribution", "dtype_policies", "export"),
                        *("ops", "ops.image", "ops.linalg", "ops.nn", "ops.numpy"),
                        *("quantizers", "random", "tree", "visualization"),
                        *("legacy.saving", "utils.bounding_boxes", "utils.legacy"),
                    }
                ),
                "initializers": frozenset(
                    {"IdentityInitializer", "OrthogonalInitializer", "STFT", "STFTInitializer", "stft"}
                ),
                "mixed_precision": frozenset({"DTypePolicy", "dtype_policy", "set_dtype_policy"}),
                "layers": _OLD_LAYERS | _NEW_LAYERS,
                "optimizers": frozenset({"Lamb", "LossScaleOptimizer", "Muon", "ScheduleFreeAdamW"}),
            },
            _TF_KERAS_ADDED,
            numbers_first=False,
            eager="tensors",
            bar="steps",
            summary="titled",
            digits_in_words=False,
            norms="L1 and L2",
        ),
        Edition(
            "keras3",
            "3.15.0",
            {
                **_SINCE_TF,
                **{f"ConvLSTM{rank}D": _GATES for rank in (1, 2, 3)},
                "l1_l2": {"l1": 0.0, "l2": 0.0},
                "get_file": {"own_folder": True},
                "KLDivergence": {"name": "kl_divergence"},
                "LogCosh": {"name": "log_cosh"},
                "LambdaCallback": {},
            },
            {
                **_ORDER,
                **ORDERS["keras3"],
                **optimizer_orders.KERAS3,
                "LambdaCallback": _EVENTS,
                "Loss": ("name", "reduction", "dtype"),
                "Metric": ("dtype", "name"),
                "add_weight": ("shape", "initializer", "dtype", "trainable"),
            },
            {
                **_RENAMED,
                "LeakyReLU": {"negative_slope": "alpha"},
                "relu": {"negative_slope": "alpha"},
                "InputLayer": {"shape": "input_shape"},
                "to_categorical": {"x": "y"},
            },
            _NEUTRAL,
            {
                "": frozenset(
                    {
                        *(f"applications.{family}" for family in OF_TF_KERAS),
                        "optimizers.experimental",
                        "optimizers.legacy",
                        "preprocessing.text",
                        "wrappers.scikit_learn",
                    }
                ),
                "metrics": frozenset({"MeanRelativeError", "MeanTensor"}),
                "layers": _OLD_LAYERS
                | {
                    *("DenseFeatures", "LocallyConnected1D", "LocallyConnected2D"),
                    *("AbstractRNNCell", "RandomHeight", "RandomWidth", "ThresholdedReLU"),
                },
                "preprocessing.image": frozenset(
                    {
                        "BatchFromFilesMixin",
                        "DataFrameIterator",
                        "DirectoryIterator",
                        "ImageDataGenerator",
                        "Iterator",
                        "NumpyArrayIterator",
                        "apply_affine_transform",
                        "apply_brightness_shift",
                        "apply_channel_shift",
                        "flip_axis",
                        "list_pictures",
                        "random_brightness",
                        "random_channel_shift",
                        "random_rotation",
                        "random_shear",
                        "random_shift",
                        "random_zoom",
                        "transform_matrix_offset_center",
                    }
                ),
                "preprocessing.sequence": frozenset(
                    {
                        "TimeseriesGenerator",
                        "make_sampling_table",
                        "skipgrams",
                        "timeseries_generator_from_json",
                    }
                ),
            },
            _KERAS3_ADDED,
            "learning_rate",
            numbers_first=False,
            eager="arrays",
            input="input_layer",
            model="functional",
            bar="line",
            summary="boxed",
            digits_in_words=False,
            variables="last part",
            unnamed_inside=frozenset(),
            builds_in_scope=True,
            operations=True,
            clones_compiled=True,
            newer_networks=True,
            norms="L1 and L2",
        ),
    )
}
EDITIONS["tf_keras2.10"] = EDITIONS["tf_keras"]
# What `kcompile.keras` may be: version -> vintage
KERAS2 = {EDITIONS[vintage].version: vintage for vintage in ("keras2.2", "keras2")}


def edition(vintage: str) -> Edition:
    """The edition of a vintage."""
    return EDITIONS[vintage]

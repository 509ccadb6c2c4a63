"""Where Keras 2 has its public names: scripts import from more modules than ours, and from others.

Enters: the name of a module as Keras 2 has it, below the package. Leaves: a module that has the names of
modules of ours, each looked up when it is asked for; so a name has a place in Keras as soon as one of ours
has it. Modules of ours that Keras 2 has too, with other names in them, have those by the same table.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from kcompile.keras import keras3_absent

HOME, KERAS3 = "kcompile.keras", "kcompile.keras3"
_LAYERS = ("layers", "utils.generic_utils")
_ENGINE = ("engine", "inputs", "models", "utils.layer_utils", "utils.generic_utils")

# A module of Keras 2 -> modules of ours that have its names, asked in this order.
PLACES: dict[str, tuple[str, ...]] = {
    "applications": (),
    "applications.inception_resnet_v2": ("applications.inception",),
    "applications.inception_v3": ("applications.inception",),
    "applications.mobilenet_v2": ("applications.mobilenet",),
    "applications.mobilenetv2": ("applications.mobilenet",),
    "applications.vgg16": ("applications.vgg",),
    "applications.vgg19": ("applications.vgg",),
    "backend": ("utils.generic_utils",),
    "backend.common": ("backend",),
    "backend.load_backend": ("backend",),
    "backend.tensorflow_backend": ("backend",),
    "callbacks.callbacks": ("callbacks",),
    "callbacks.tensorboard_v1": ("callbacks",),
    "callbacks.tensorboard_v2": ("callbacks",),
    "engine": _ENGINE[1:],
    "engine.base_layer": _ENGINE,
    "engine.input_layer": _ENGINE,
    "engine.network": (*_ENGINE, "utils.io_utils"),
    "engine.saving": ("models", "saving", "utils", "utils.io_utils"),
    "engine.sequential": _ENGINE,
    "engine.topology": _ENGINE,
    "engine.training": (*_ENGINE, "engine.training_utils"),
    "engine.training_arrays": ("engine.training_utils", "utils"),
    "engine.training_generator": ("engine.training_utils", "utils"),
    "engine.training_utils": ("utils.training_checks", "utils.generic_utils", "utils"),
    "layers.advanced_activations": _LAYERS,
    "layers.convolutional": _LAYERS,
    "layers.convolutional_recurrent": _LAYERS,
    "layers.core": _LAYERS,
    "layers.cudnn_recurrent": _LAYERS,
    "layers.embeddings": _LAYERS,
    "layers.local": _LAYERS,
    "layers.merge": _LAYERS,
    "layers.noise": _LAYERS,
    "layers.normalization": _LAYERS,
    "layers.pooling": _LAYERS,
    "layers.recurrent": _LAYERS,
    "layers.wrappers": _LAYERS,
    "legacy": (),
    "legacy.interfaces": (),
    "legacy.layers": _LAYERS,
    "legacy.models": ("models", "layers"),
    "models": ("utils.generic_utils",),
    "metrics": ("layers", "utils.generic_utils"),
    "optimizers": ("utils.generic_utils",),
    "optimizers.schedules": ("schedules",),
    "regularizers": ("utils.generic_utils",),
    "losses": ("utils.generic_utils",),
    "initializers": ("utils.generic_utils",),
    "constraints": ("utils.generic_utils",),
    "activations": ("layers", "utils.generic_utils"),
    "objectives": ("losses",),
    "utils.conv_utils": ("backend",),
    "utils.data_utils": ("utils",),
    "utils.generic_utils": ("utils", "utils.functions"),
    "utils.io_utils": ("utils", "utils.hdf5_dict"),
    "utils.layer_utils": ("layer_utils", "utils"),
    "utils": ("utils.generic_utils", "utils.layer_utils", "utils.hdf5_dict"),
    "utils.losses_utils": ("losses",),
    "utils.metrics_utils": ("metrics", "losses", "utils.generic_utils"),
    "utils.multi_gpu_utils": ("utils", "models", "layers", "utils.generic_utils"),
    "utils.np_utils": ("utils",),
    "utils.test_utils": ("layer_testing", "utils.generic_utils", "models"),
    "utils.training_utils": ("utils", "models", "layers", "utils.generic_utils"),
    "utils.vis_utils": ("utils", "models", "layers"),
    "utils.visualize_util": ("utils",),
}

_SYMBOLIC = "models are compiled from graphs, so there is no eager mode to switch"
_LOOPS = "the loop over batches is compiled; use fit, evaluate and predict of the model"
_CHECKS = "fit, evaluate and predict check their data themselves"
_WEIGHTED = "compile weights losses itself, by loss_weights and sample_weight_mode"
_FILES = "load_model, save_model, load_weights and save_weights read and write files of every Keras"
_REPLICAS = "a model runs on one device, which its target names"
_STATES = "metrics are averaged while batches run; write them as functions of (y_true, y_pred)"
_OLD_NAMES = "layers take arguments of Keras 1 themselves; there are no decorators for them"
_BASES = "layers are built otherwise here; subclass the layer, or keras.layers.Layer"
_DRAWING = "plot_model and model_to_dot draw models themselves"
_WORKERS = "fit and fit_generator start their workers themselves, and Sequence is what they read"
_SPARSE = "there are no sparse tensors; write it over dense ones"
_VALUES = "numbers have no backend of their own; K.eval, K.function and numpy compute"

# Modules whose names stand in others by chance: `import *` leaves them out
_HELPERS = frozenset({"layer_utils", "utils.functions", "utils.generic_utils", "utils.layer_utils"})

# Names of Keras 2 -> those that ours have.
OTHERWISE = {
    "AtrousConv1D": "AtrousConvolution1D",
    "AtrousConv2D": "AtrousConvolution2D",
    "Container": "Model",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "Deconv3D": "Conv3DTranspose",
    "Network": "Model",
    "_compute_fans": "_fans",
    "normalize_data_format": "checked_data_format",
}

# Names of Keras 2 that we do not have, also with their module -> why, and what to do instead.
ABSENT: dict[str, str] = {
    "control_dependencies": "updates of a graph have no order; Layer.add_update says what changes",
    "ConvRecurrent2D": _BASES,
    "disable_tracking": _BASES,
    "eager": _SYMBOLIC,
    "symbolic": _SYMBOLIC,
    "th_sparse_module": _SPARSE,
    "v1_variable_initialization": "there are no sessions, and variables have values as soon as they are made",
    "clip_norm": "optimizers clip by their arguments clipnorm and clipvalue",
    "print_layer_summary": "print_summary of keras.utils prints the layers of a model",
    "tf_file_io_proxy": "files are read from folders, not from TensorFlow's file systems",
    "optimizers.legacy": "tf.keras alone has it; use keras.optimizers",
    "dev": "there is one backend, which keras.backend is",
    "tf": "tensorflow is not there; keras.backend has functions of tensors",
    "legacy.interfaces.*": _OLD_NAMES,
    "engine.training_generator.*": _LOOPS,
    "backend.cntk_backend": "there is one backend, which keras.backend is",
    "backend.theano_backend": "there is one backend, which keras.backend is",
    "backend.numpy_backend": _VALUES,
    **dict.fromkeys(("fit_loop", "predict_loop", "test_loop"), _LOOPS),
    **dict.fromkeys(
        (
            "check_generator_arguments",
            "check_num_samples",
            "get_input_shape_and_dtype",
            "get_static_batch_size",
            "is_generator_or_sequence",
            "is_sequence",
            "should_run_validation",
            "standardize_class_weights",
            "standardize_input_data",
            "standardize_sample_or_class_weights",
            "standardize_sample_weights",
            "standardize_single_array",
            "standardize_weights",
        ),
        _CHECKS,
    ),
    **dict.fromkeys(
        (
            "call_metric_function",
            "collect_metrics",
            "collect_per_output_metric_info",
            "get_loss_function",
            "get_metric_function",
            "get_metric_name",
            "get_output_sample_weight_and_mode",
            "prepare_loss_functions",
            "prepare_loss_weights",
            "prepare_sample_weights",
            "broadcast_weights",
            "compute_weighted_loss",
            "reduce_weighted_loss",
            "squeeze_or_expand_dimensions",
            "is_categorical_crossentropy",
            "LossFunctionWrapper",
        ),
        _WEIGHTED,
    ),
    **dict.fromkeys(
        (
            "allow_read_from_gcs",
            "allow_write_to_gcs",
            "load_attributes_from_hdf5_group",
            "load_from_binary_h5py",
            "load_weights_from_hdf5_group",
            "load_weights_from_hdf5_group_by_name",
            "pickle_model",
            "save_attributes_to_hdf5_group",
            "save_to_binary_h5py",
            "save_weights_to_hdf5_group",
            "unpickle_model",
        ),
        _FILES,
    ),
    **dict.fromkeys(("add_edge", "is_model", "is_wrapped_model"), _DRAWING),
    **dict.fromkeys(("get_index", "init_pool", "init_pool_generator", "next_sample"), _WORKERS),
    **dict.fromkeys(("_get_available_devices", "_normalize_device_name"), _REPLICAS),
    **dict.fromkeys(
        (
            "AUCCurve",
            "AUCSummationMethod",
            "ConfusionMatrix",
            "Reduce",
            "SensitivitySpecificityBase",
            "assert_thresholds_range",
            "clone_metric",
            "clone_metrics",
            "filter_top_k",
            "parse_init_thresholds",
            "result_wrapper",
            "update_confusion_matrix_variables",
            "update_state_wrapper",
            "weighted_assign_add",
        ),
        _STATES,
    ),
}


def path_of(module: str) -> tuple[str, str] | None:
    """The package of ours that a module belongs to, and its path below; None for other modules."""
    for root in (HOME, KERAS3, "kcompile.tf_keras"):
        if module == root or module.startswith(f"{root}."):
            return root, module[len(root) + 1 :]
    return None


def why_absent(path: str, root: str = HOME) -> str:
    """Why there is no part of Keras of this path, as the end of a sentence; "" where nobody says."""
    place, _, last = path.rpartition(".")
    newer = keras3_absent.why(path) if root == KERAS3 else None
    why = newer or ABSENT.get(path) or ABSENT.get(last) or ABSENT.get(f"{place}.*")
    return f": {why}" if why else ""


def _sources(root: str, path: str) -> list[ModuleType]:
    """The modules that have the names of a module of Keras 2, and those that have theirs."""
    found: dict[str, ModuleType] = {}
    ours = root != HOME and path.startswith("utils.") and path not in ("utils.bounding_boxes", "utils.legacy")
    left = [*PLACES.get(path, ()), *([path] if ours else [])]
    while left:
        source = left.pop(0)
        if source not in found and (source != path or root != HOME):
            # An edition has the helpers that Keras 2 has, where it has none
            name = f"{root}.{source}"
            home = root if name in sys.modules and source != path else HOME
            found[source] = importlib.import_module(f"{home}.{source}")
            left += PLACES.get(source, ())
    return list(found.values())


def _own(module: ModuleType, name: str) -> Any:
    """What a module has without the table; `_own` when it has none."""
    known = vars(module)
    if name in known or "__getattr__" not in known:
        return known.get(name, _own)
    before = getattr(known["__getattr__"], "before", known["__getattr__"])
    try:
        return _own if before is None else before(name)
    except AttributeError:
        return _own


def _is_helper(module: ModuleType) -> bool:
    return module.__name__.removeprefix(f"{HOME}.") in _HELPERS


def _public(module: ModuleType) -> Sequence[str]:
    """What `import *` takes from a module without the table."""
    known = vars(module)
    own: Any = getattr(known.get("__getattr__"), "public", ())
    return tuple(known.get("__all__", own))


def _getter(root: str, path: str, before: Any, public: Sequence[str]) -> Callable[[str], Any]:
    """`__getattr__` of the module of a path. before: the one that it had; public: its `__all__`."""
    home = f"{root}.{path}".rstrip(".")

    def get(name: str) -> Any:
        below = f"{path}.{name}".lstrip(".")
        if below in PLACES:
            return importlib.import_module(f"{root}.{below}")
        sources = _sources(root, path)
        if name == "__all__":  # for `import *`
            return sorted({*public, *itertools.chain(*(_public(x) for x in sources if not _is_helper(x)))})
        if not name.startswith("__"):
            meant = OTHERWISE.get(name, name)
            if meant != name and hasattr(sys.modules[home], meant):
                return getattr(sys.modules[home], meant)
            for module in sources:
                if (found := _own(module, meant)) is not _own:
                    return found
        why = why_absent(below, root)
        if before is not None and not why:
            return before(name)
        text = f"module {home!r} has no attribute {name!r}{why}"
        raise AttributeError(text, name=name, obj=sys.modules[home])

    get.before, get.public = before, public  # type: ignore[attr-defined]
    return get


def extend(module: ModuleType) -> None:
    """Give a module of ours, and those below it, the names that Keras 2 has there."""
    found = path_of(module.__name__)
    assert found is not None
    known = vars(module)
    known.setdefault("__path__", [])  # modules are found below it
    public = known.pop("__all__", ()) if set(PLACES.get(found[1], ())) - _HELPERS else ()
    known["__getattr__"] = _getter(*found, known.get("__getattr__"), public)


class _Loader(Loader):
    """Loads a module and extends it. loader: of the file of ours; None where the table is all there is."""

    def __init__(self, loader: Loader | None = None) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        if self.loader is not None:
            return self.loader.create_module(spec)
        return ModuleType(spec.name, "Names of Keras 2, which other modules have.")

    def exec_module(self, module: ModuleType) -> None:
        if self.loader is not None:
            self.loader.exec_module(module)
        extend(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class _Finder(MetaPathFinder):
    """Finds the modules that the table speaks of."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        found = path_of(name)
        if found is None:
            return None
        why = why_absent(found[1], found[0])
        if not why and found[1] not in PLACES:
            return None
        ours = PathFinder.find_spec(name, path)
        if ours is not None and ours.loader is not None:
            ours.loader = _Loader(ours.loader) if found[1] in PLACES else ours.loader
            return ours
        if found[1] in PLACES:
            return ModuleSpec(name, _Loader(), is_package=True)
        place, _, last = name.rpartition(".")
        # Under the name in Keras: an error for a module of this very name, `from ... import` would hide
        raise ModuleNotFoundError(
            f"cannot import name {last!r} from {place!r}{why}", name=f"keras.{found[1]}"
        )


def install(root: str) -> None:
    """Modules of the package that are loaded get their further names, the others are found."""
    places = (*PLACES, *(keras3_absent.ABSENT if root == KERAS3 else ()))
    parents = {place.rpartition(".")[0] for place in places}
    for path in sorted({*PLACES, *parents}):
        module = sys.modules.get(f"{root}.{path}".rstrip("."))
        if module is not None:
            extend(module)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())

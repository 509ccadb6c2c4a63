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
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_LAYERS = ("layers", "utils.generic_utils")
_ENGINE = ("engine", "models", "utils.layer_utils", "utils.generic_utils")

# A module of Keras 2 -> modules of ours that have its names, asked in this order.
PLACES: dict[str, tuple[str, ...]] = {
    "backend.common": ("backend",),
    "backend.load_backend": ("backend",),
    "backend.tensorflow_backend": ("backend",),
    "callbacks.callbacks": ("callbacks",),
    "callbacks.tensorboard_v1": ("callbacks",),
    "callbacks.tensorboard_v2": ("callbacks",),
    "engine": _ENGINE[1:],
    "engine.base_layer": _ENGINE,
    "engine.input_layer": _ENGINE,
    "engine.network": _ENGINE,
    "engine.saving": ("models", "utils", "utils.io_utils"),
    "engine.sequential": _ENGINE,
    "engine.topology": _ENGINE,
    "engine.training": (*_ENGINE, "engine.training_utils"),
    "engine.training_arrays": ("engine.training_utils", "utils"),
    "engine.training_generator": ("engine.training_utils", "utils"),
    "engine.training_utils": ("utils.generic_utils", "utils"),
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
    "legacy.models": ("models",),
    "models": ("utils.generic_utils",),
    "objectives": ("losses",),
    "utils.conv_utils": (),
    "utils.data_utils": ("utils",),
    "utils.generic_utils": ("utils",),
    "utils.io_utils": ("utils",),
    "utils.layer_utils": ("utils",),
    "utils.losses_utils": ("losses",),
    "utils.metrics_utils": ("metrics", "utils.generic_utils"),
    "utils.multi_gpu_utils": ("utils",),
    "utils.np_utils": ("utils",),
    "utils.test_utils": (),
    "utils.training_utils": ("utils",),
    "utils.vis_utils": ("utils",),
    "utils.visualize_util": ("utils",),
}

_SYMBOLIC = "models are compiled from graphs, so there is no eager mode to switch"
_LOOPS = "the loop over batches is compiled; use fit, evaluate and predict of the model"
_CHECKS = "fit, evaluate and predict check their data themselves"
_WEIGHTED = "compile weights losses itself; give it loss, loss_weights and sample_weight_mode"
_FILES = "load_model, save_model, load_weights and save_weights read and write files of every Keras"
_PICKLED = "Python's bytecode in files is not run; give functions as custom_objects"
_REPLICAS = "a model runs on one device, which its target names"
_STATES = "metrics are averaged while batches run; write them as functions of (y_true, y_pred)"
_OLD_NAMES = "layers take arguments of Keras 1 themselves; there are no decorators for them"
_BASES = "layers are built otherwise here; subclass the layer, or keras.layers.Layer"
_VALUES = "numbers have no backend of their own; K.eval, K.function and numpy compute"

# Names of Keras 2 that we do not have, also with their module -> why, and what to do instead.
ABSENT: dict[str, str] = {
    "control_dependencies": "updates of a graph have no order; K.update, and Layer.add_update, say what changes",
    "disable_tracking": _BASES,
    "eager": _SYMBOLIC,
    "keras_modules_injection": "applications are written over kcompile.keras and need no other Keras",
    "symbolic": _SYMBOLIC,
    "backend.cntk_backend": "there is one backend, which keras.backend is",
    "backend.theano_backend": "there is one backend, which keras.backend is",
    "backend.numpy_backend": _VALUES,
    **dict.fromkeys(("fit_loop", "predict_loop", "test_loop"), _LOOPS),
    **dict.fromkeys(
        (
            "batch_shuffle",
            "check_array_length_consistency",
            "check_generator_arguments",
            "check_loss_and_target_compatibility",
            "check_num_samples",
            "get_input_shape_and_dtype",
            "get_static_batch_size",
            "is_generator_or_sequence",
            "is_sequence",
            "iter_sequence_infinite",
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
            "weighted_masked_objective",
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
            "preprocess_weights_for_loading",
            "save_attributes_to_hdf5_group",
            "save_to_binary_h5py",
            "save_weights_to_hdf5_group",
            "unpickle_model",
        ),
        _FILES,
    ),
    **dict.fromkeys(("func_dump", "func_load"), _PICKLED),
    **dict.fromkeys(
        (
            "AUCCurve",
            "AUCSummationMethod",
            "ConfusionMatrix",
            "assert_thresholds_range",
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
    for root in ("kcompile.keras", "kcompile.keras3", "kcompile.tf_keras"):
        if module == root or module.startswith(f"{root}."):
            return root, module[len(root) + 1 :]
    return None


def why_absent(path: str) -> str:
    """Why there is no part of Keras of this path, as the end of a sentence; "" where nobody says."""
    why = ABSENT.get(path) or ABSENT.get(path.rpartition(".")[2])
    return f": {why}" if why else ""


def _getter(root: str, path: str, known: dict[str, Any]) -> Callable[[str], Any]:
    """`__getattr__` of the module of a path. known: what the module has until now."""
    own, public = known.get("__getattr__"), known.pop("__all__", ())
    sources = PLACES.get(path, ())

    def get(name: str) -> Any:
        below = f"{path}.{name}".lstrip(".")
        if below in PLACES:
            return importlib.import_module(f"{root}.{below}")
        if name == "__all__":  # for `import *`
            parts = (getattr(importlib.import_module(f"{root}.{source}"), name, ()) for source in sources)
            return sorted({*public, *itertools.chain(*parts)})
        for source in () if name.startswith("__") else sources:
            found = getattr(importlib.import_module(f"{root}.{source}"), name, _getter)
            if found is not _getter:
                return found
        if own is not None and below not in ABSENT:
            return own(name)
        home = f"{root}.{path}".rstrip(".")
        text = f"module {home!r} has no attribute {name!r}{why_absent(below)}"
        raise AttributeError(text, name=name, obj=sys.modules[home])

    return get


def extend(module: ModuleType) -> None:
    """Give a module of ours, and those below it, the names that Keras 2 has there."""
    found = path_of(module.__name__)
    assert found is not None
    known = vars(module)
    known.setdefault("__path__", [])  # modules are found below it
    known["__getattr__"] = _getter(*found, known)


class _Loader(Loader):
    """Makes a module that has nothing but what the table says."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return ModuleType(spec.name, "Names of Keras 2, which other modules have.")

    def exec_module(self, module: ModuleType) -> None:
        extend(module)


class _Finder(MetaPathFinder):
    """Finds modules that Keras 2 has and that are no files of ours. It is asked last."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        found = path_of(name)
        if found is None or found[1].startswith("_"):
            return None
        root, below = found
        if below in PLACES:
            return ModuleSpec(name, _Loader(), is_package=True)
        why = why_absent(below)
        if not why:
            return None
        place, _, last = name.rpartition(".")
        # Under the name in Keras: an error for a module of this very name, `from ... import` would hide
        raise ModuleNotFoundError(f"cannot import name {last!r} from {place!r}{why}", name=f"keras.{below}")


def install(root: str) -> None:
    """Modules of the package that are loaded get their further names, the others are found."""
    parents = {place.rpartition(".")[0] for place in PLACES}
    for path in sorted({*PLACES, *parents}):
        module = sys.modules.get(f"{root}.{path}".rstrip("."))
        if module is not None:
            extend(module)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())

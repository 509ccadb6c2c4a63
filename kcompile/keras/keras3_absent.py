"""Public names of Keras 3 that are not here: why, and what to write instead.

By the path below `keras`, or that of a module with `.*` for all of its names. Compared with the installed
Keras by tests/keras_tier/test_names_with_keras.py.
"""

from __future__ import annotations

_DEVICES = "a model is compiled for one device, which its target names; threads share the work of a batch"
_BITS = (
    "weights of few bits are not supported; models compute in float32, and `Layer.dtype_policy` keeps halves"
)
_STEPS = "write a train_step, or a loss on the outputs of both models; see keras.Model.train_step"
_IMAGES = "use the augmenting layers that are here, or change images by keras.ops.image before the model"
_MIXED = "mix samples and labels in a Sequence, or in a Dataset's map"
_DRAW = "results are numpy arrays, which Pillow and matplotlib draw"
_STATE = "variables are read and written by the layers and steps that are compiled; there is no other state"
_OTHER = "code of other libraries is not compiled; give the model itself to kcompile.compile"

ABSENT: dict[str, str] = {
    "StatelessScope": _STATE,
    "SymbolicScope": "calls on tensors of keras.Input are symbolic anyway",
    "Quantizer": _BITS,
    "callbacks.OrbaxCheckpoint": "use ModelCheckpoint, whose .keras files keep the optimizer too",
    "config.enable_unsafe_deserialization": "code in files is never run; give load_model custom_objects",
    "config.set_backend": "there is one backend; a live Keras model of any is taken by kcompile.compile",
    "config.set_max_steps_per_epoch": "give fit steps_per_epoch",
    "distillation.*": _STEPS,
    "dtype_policies.AWQDTypePolicy": _BITS,
    "dtype_policies.GPTQDTypePolicy": _BITS,
    "dtype_policies.Int4DTypePolicy": _BITS,
    "dtype_policies.DTypePolicyMap": "give each layer its dtype",
    "distribution.DataParallel": _DEVICES,
    "distribution.DeviceMesh": _DEVICES,
    "distribution.LayoutMap": _DEVICES,
    "distribution.ModelParallel": _DEVICES,
    "distribution.TensorLayout": _DEVICES,
    "distribution.distribute_tensor": _DEVICES,
    "distribution.initialize": _DEVICES,
    "export.*": "use Model.export, or kcompile build, which write a library that needs no Keras",
    "layers.AugMix": _IMAGES,
    "layers.ContrastLimitedAdaptiveHistogramEqualization": _IMAGES,
    "layers.CutMix": _MIXED,
    "layers.FlaxLayer": _OTHER,
    "layers.JaxLayer": "use kcompile.compile_jax for a function of JAX, or write the layer over keras.ops",
    "layers.MaxNumBoundingBoxes": "pad the boxes by numpy before the model",
    "layers.MelSpectrogram": "write a layer over keras.ops.stft and a matrix of filters",
    "layers.MixUp": _MIXED,
    "layers.Pipeline": "use keras.Sequential of the layers",
    "layers.RandAugment": _IMAGES,
    "layers.RandomElasticTransform": "write a layer over keras.ops.image.elastic_transform",
    "layers.RandomPerspective": "write a layer over keras.ops.image.perspective_transform",
    "layers.STFTSpectrogram": "write a layer over keras.ops.stft",
    "layers.TFSMLayer": _OTHER,
    "layers.TorchModuleWrapper": _OTHER,
    "optimizers.MultiOptimizer": "write a train_step with several optimizers",
    "optimizers.OptimizerMap": "write a train_step with several optimizers",
    "quantizers.*": _BITS,
    "saving.KerasFileEditor": "load the model, change its weights, and save it",
    "utils.FeatureSpace": "use the preprocessing layers that it is made of, on one input for each feature",
    "utils.bounding_boxes.*": "they are not supported; write them over keras.ops",
    "visualization.*": _DRAW,
    "wrappers.*": "use KerasClassifier and KerasRegressor of kcompile.keras.wrappers.scikit_learn",
}
# Modules that have their names from the edition alone (`Edition.added`), or none
BARE = frozenset(
    {
        *("distillation", "export", "legacy", "legacy.saving", "quantizers"),
        *("utils.bounding_boxes", "utils.legacy", "visualization", "wrappers"),
    }
)


def why(path: str) -> str | None:
    """Why Keras 3's name of this path is not here; None where nobody says."""
    return ABSENT.get(path) or ABSENT.get(f"{path.rpartition('.')[0]}.*")

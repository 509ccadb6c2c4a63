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
_DRAW = "results are numpy arrays, which Pillow and matplotlib draw"
_STATE = "variables are read and written by the layers and steps that are compiled; there is no other state"

ABSENT: dict[str, str] = {
    "StatelessScope": _STATE,
    "SymbolicScope": "calls on tensors of keras.Input are symbolic anyway",
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
    "optimizers.MultiOptimizer": "write a train_step with several optimizers",
    "optimizers.OptimizerMap": "write a train_step with several optimizers",
    **{
        f"quantizers.{name}": _BITS
        for name in (
            "AWQConfig",
            "Float8QuantizationConfig",
            "GPTQConfig",
            "Int4QuantizationConfig",
            "Int8QuantizationConfig",
            "QuantizationConfig",
            "abs_max_quantize_grouped_with_zero_point",
            "quantize_and_dequantize",
        )
    },
    "saving.KerasFileEditor": "load the model, change its weights, and save it",
    "visualization.*": _DRAW,
    "wrappers.*": "use Classifier and Regressor of kcompile.sklearn",
}
# Modules that have their names from the edition alone (`Edition.added`), or none
BARE = frozenset(
    {*("distillation", "export", "legacy", "legacy.saving"), *("utils.legacy", "visualization", "wrappers")}
)


def why(path: str) -> str | None:
    """Why Keras 3's name of this path is not here; None where nobody says."""
    return ABSENT.get(path) or ABSENT.get(f"{path.rpartition('.')[0]}.*")

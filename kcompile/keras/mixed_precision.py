"""`keras.mixed_precision`: policies under the names that tf.keras has for them."""

from kcompile.keras.loss_scaling import LossScaleOptimizer
from kcompile.keras.policies import DTypePolicy
from kcompile.keras.policies import DTypePolicy as Policy
from kcompile.keras.settings import dtype_policy, set_dtype_policy
from kcompile.keras.settings import dtype_policy as global_policy
from kcompile.keras.settings import set_dtype_policy as set_global_policy

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]

"""The layers, by the names Keras gives them, and layers as configurations.

The file of each family lists its public names in `__all__`, and nothing lists them again.
"""

from __future__ import annotations

import sys

from kcompile.keras.engine import InputSpec, Layer
from kcompile.keras.inputs import Input, InputLayer
from kcompile.keras.layers import adaptive_pooling as _adaptive_pooling
from kcompile.keras.layers import advanced_activations as _advanced_activations
from kcompile.keras.layers import attention as _attention
from kcompile.keras.layers import cells as _cells
from kcompile.keras.layers import convolutional as _convolutional
from kcompile.keras.layers import convolutional_recurrent as _convolutional_recurrent
from kcompile.keras.layers import core as _core
from kcompile.keras.layers import custom as _custom  # noqa: F401 (takes in the classes of users)
from kcompile.keras.layers import depthwise as _depthwise
from kcompile.keras.layers import einsum_dense as _einsum_dense
from kcompile.keras.layers import elsewhere as _elsewhere
from kcompile.keras.layers import embedding as _embedding
from kcompile.keras.layers import lambda_ as _lambda
from kcompile.keras.layers import legacy as _legacy
from kcompile.keras.layers import local as _local
from kcompile.keras.layers import masking as _masking
from kcompile.keras.layers import merge as _merge
from kcompile.keras.layers import multi_head_attention as _multi_head_attention
from kcompile.keras.layers import noise as _noise
from kcompile.keras.layers import normalization as _normalization
from kcompile.keras.layers import of_networks as _of_networks
from kcompile.keras.layers import old_merge as _old_merge
from kcompile.keras.layers import operation as _operation
from kcompile.keras.layers import pooling as _pooling
from kcompile.keras.layers import preprocessing as _preprocessing
from kcompile.keras.layers import recurrent as _recurrent
from kcompile.keras.layers import registry as _registry
from kcompile.keras.layers import resizing as _resizing
from kcompile.keras.layers import sample_normalization as _sample_normalization
from kcompile.keras.layers import spectral as _spectral
from kcompile.keras.layers import wrappers as _wrappers
from kcompile.keras.layers.adaptive_pooling import *
from kcompile.keras.layers.advanced_activations import *
from kcompile.keras.layers.attention import *
from kcompile.keras.layers.cells import *
from kcompile.keras.layers.convolutional import *
from kcompile.keras.layers.convolutional_recurrent import *
from kcompile.keras.layers.core import *
from kcompile.keras.layers.depthwise import *
from kcompile.keras.layers.einsum_dense import *
from kcompile.keras.layers.elsewhere import *
from kcompile.keras.layers.embedding import *
from kcompile.keras.layers.lambda_ import *
from kcompile.keras.layers.legacy import *
from kcompile.keras.layers.local import *
from kcompile.keras.layers.masking import *
from kcompile.keras.layers.merge import *
from kcompile.keras.layers.multi_head_attention import *
from kcompile.keras.layers.noise import *
from kcompile.keras.layers.normalization import *
from kcompile.keras.layers.old_merge import *
from kcompile.keras.layers.operation import *
from kcompile.keras.layers.pooling import *
from kcompile.keras.layers.preprocessing import *
from kcompile.keras.layers.recurrent import *
from kcompile.keras.layers.registry import *
from kcompile.keras.layers.resizing import *
from kcompile.keras.layers.sample_normalization import *
from kcompile.keras.layers.spectral import *
from kcompile.keras.layers.wrappers import *

__all__ = ["Input", "InputLayer", "InputSpec", "Layer"]
__all__ += _advanced_activations.__all__
__all__ += _cells.__all__
__all__ += _convolutional.__all__
__all__ += _convolutional_recurrent.__all__
__all__ += _core.__all__
__all__ += _elsewhere.__all__
__all__ += _embedding.__all__
__all__ += _lambda.__all__
__all__ += _legacy.__all__
__all__ += _masking.__all__
__all__ += _merge.__all__
__all__ += _normalization.__all__
__all__ += _depthwise.__all__
__all__ += _local.__all__
__all__ += _noise.__all__
__all__ += _resizing.__all__
__all__ += _old_merge.__all__
__all__ += _operation.__all__
__all__ += _pooling.__all__
__all__ += _preprocessing.__all__
__all__ += _recurrent.__all__
__all__ += _registry.__all__
__all__ += _sample_normalization.__all__
__all__ += _spectral.__all__
__all__ += _attention.__all__
__all__ += _einsum_dense.__all__
__all__ += _multi_head_attention.__all__
__all__ += _adaptive_pooling.__all__
__all__ += _wrappers.__all__

_registry.register(_registry.classes_of(sys.modules[__name__]))
_registry.register(_registry.classes_of(_of_networks))

"""The order in which layers take arguments by position, where a Keras has another than our constructors.

Orders of layers that are not listed are those of the constructors, in every Keras. A name that a layer of
ours does not have means nothing but at its default.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from kcompile_runtime.errors import InputTypeError, describe

_START = "kernel_initializer recurrent_initializer bias_initializer"
_PENALTIES = "kernel_regularizer recurrent_regularizer bias_regularizer"
_LIMITS = "kernel_constraint recurrent_constraint bias_constraint"
_OF_WEIGHTS = f"{_PENALTIES} activity_regularizer {_LIMITS}"
_DROPOUT = "dropout recurrent_dropout"
_RUN = "return_sequences return_state go_backwards stateful"
_KERNEL = (
    "activation use_bias kernel_initializer bias_initializer kernel_regularizer bias_regularizer "
    "activity_regularizer kernel_constraint bias_constraint"
)
_SIMPLE = f"units activation use_bias {_START}"
_GATED = f"units activation recurrent_activation use_bias {_START}"
_SLIDING = "filters kernel_size strides padding"
_CONVOLVED = (
    f"{_SLIDING} data_format dilation_rate activation recurrent_activation use_bias {_START} "
    f"unit_forget_bias {_OF_WEIGHTS}"
)
_GROUPED = f"{_SLIDING} data_format dilation_rate groups {_KERNEL}"
_OLD_KERNEL = (
    "weights W_regularizer b_regularizer activity_regularizer W_constraint b_constraint bias input_dim"
)
_NORMALIZED = (
    "axis momentum epsilon center scale beta_initializer gamma_initializer moving_mean_initializer "
    "moving_variance_initializer beta_regularizer gamma_regularizer beta_constraint gamma_constraint"
)

_KERAS2 = {
    "Bidirectional": "layer merge_mode weights",
    "Conv3DTranspose": f"{_SLIDING} output_padding data_format {_KERNEL}",
    "ConvLSTM2D": f"{_CONVOLVED} return_sequences go_backwards stateful {_DROPOUT}",
    "CuDNNGRU": f"units {_START} {_OF_WEIGHTS} return_sequences return_state stateful",
    "CuDNNLSTM": f"units {_START} unit_forget_bias {_OF_WEIGHTS} return_sequences return_state stateful",
    "GRU": f"{_GATED} {_OF_WEIGHTS} {_DROPOUT} implementation {_RUN} unroll reset_after",
    "GRUCell": f"{_GATED} {_PENALTIES} {_LIMITS} {_DROPOUT} implementation reset_after",
    "Highway": f"init activation {_OLD_KERNEL}",
    "LSTM": f"{_GATED} unit_forget_bias {_OF_WEIGHTS} {_DROPOUT} implementation {_RUN} unroll",
    "LSTMCell": f"{_GATED} unit_forget_bias {_PENALTIES} {_LIMITS} {_DROPOUT} implementation",
    "MaxoutDense": f"output_dim nb_feature init {_OLD_KERNEL}",
    "SimpleRNN": f"{_SIMPLE} {_OF_WEIGHTS} {_DROPOUT} {_RUN} unroll",
}
_SINCE_TF = {
    **{f"Conv{rank}D": _GROUPED for rank in (1, 2, 3)},
    "BatchNormalization": f"{_NORMALIZED} synchronized",
    "Bidirectional": "layer merge_mode weights backward_layer",
    "LSTMCell": f"{_GATED} unit_forget_bias {_PENALTIES} {_LIMITS} {_DROPOUT}",
}
_TF_KERAS = {
    **_SINCE_TF,
    "Conv3DTranspose": f"{_SLIDING} output_padding data_format dilation_rate {_KERNEL}",
    **{f"ConvLSTM{rank}D": f"{_CONVOLVED} {_RUN} {_DROPOUT}" for rank in (1, 2, 3)},
    "Embedding": (
        "input_dim output_dim embeddings_initializer embeddings_regularizer activity_regularizer "
        "embeddings_constraint mask_zero input_length sparse"
    ),
    "GRU": f"{_GATED} {_OF_WEIGHTS} {_DROPOUT} {_RUN} unroll time_major reset_after",
    "GRUCell": f"{_GATED} {_PENALTIES} {_LIMITS} {_DROPOUT} reset_after",
    "InputLayer": "input_shape batch_size dtype input_tensor sparse name ragged type_spec optional",
    "LSTM": f"{_GATED} unit_forget_bias {_OF_WEIGHTS} {_DROPOUT} {_RUN} time_major unroll",
    **{f"LocallyConnected{rank}D": f"{_SLIDING} data_format {_KERNEL} implementation" for rank in (1, 2)},
    "MultiHeadAttention": (
        "num_heads key_dim value_dim dropout use_bias output_shape attention_axes kernel_initializer "
        "bias_initializer kernel_regularizer bias_regularizer activity_regularizer kernel_constraint "
        "bias_constraint softmax_robust_masking"
    ),
    "RNN": f"cell {_RUN} unroll time_major",
    "SimpleRNN": f"{_SIMPLE} {_OF_WEIGHTS} {_DROPOUT} {_RUN} unroll",
    "SimpleRNNCell": f"{_SIMPLE} {_PENALTIES} {_LIMITS} {_DROPOUT}",
    "Softmax": "axis robust_masking",
}
_KERAS3 = {
    **_SINCE_TF,
    **{
        f"{kind}{rank}D": "pool_size strides padding data_format name"
        for kind in ("AveragePooling", "MaxPooling")
        for rank in (1, 2, 3)
    },
    **{f"ConvLSTM{rank}D": f"{_CONVOLVED} {_DROPOUT} seed {_RUN}" for rank in (1, 2, 3)},
    "BatchNormalization": f"{_NORMALIZED} renorm renorm_clipping renorm_momentum synchronized",
    "Conv3DTranspose": f"{_SLIDING} data_format output_padding dilation_rate {_KERNEL}",
    "Dense": f"units {_KERNEL} lora_rank lora_alpha quantization_config",
    "EinsumDense": (
        "equation output_shape activation bias_axes kernel_initializer bias_initializer kernel_regularizer "
        "bias_regularizer kernel_constraint bias_constraint lora_rank lora_alpha gptq_unpacked_column_size "
        "quantization_config"
    ),
    "Embedding": (
        "input_dim output_dim embeddings_initializer embeddings_regularizer embeddings_constraint mask_zero "
        "weights lora_rank lora_alpha quantization_config"
    ),
    "GRU": f"{_GATED} {_OF_WEIGHTS} {_DROPOUT} seed {_RUN} unroll reset_after use_cudnn",
    "GRUCell": f"{_GATED} {_PENALTIES} {_LIMITS} {_DROPOUT} reset_after seed",
    "InputLayer": "input_shape batch_size dtype sparse ragged batch_shape input_tensor optional name",
    "LSTM": f"{_GATED} unit_forget_bias {_OF_WEIGHTS} {_DROPOUT} seed {_RUN} unroll use_cudnn",
    "LSTMCell": f"{_GATED} unit_forget_bias {_PENALTIES} {_LIMITS} {_DROPOUT} seed",
    "SimpleRNN": f"{_SIMPLE} {_OF_WEIGHTS} {_DROPOUT} {_RUN} unroll seed",
    "SimpleRNNCell": f"{_SIMPLE} {_PENALTIES} {_LIMITS} {_DROPOUT} seed",
    "SpatialDropout1D": "rate seed name dtype",
    "SpatialDropout2D": "rate data_format seed name dtype",
    "SpatialDropout3D": "rate data_format seed name dtype",
}

ORDERS: dict[str, dict[str, tuple[str, ...]]] = {
    vintage: {kind: tuple(names.split()) for kind, names in orders.items()}
    for vintage, orders in (("keras2", _KERAS2), ("tf_keras", _TF_KERAS), ("keras3", _KERAS3))
}


def by_name(
    kind: str, names: Sequence[str], args: Sequence[Any], others: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments by position, by their names. others: those by name. Raises InputTypeError for more than there
    are, and for what is among the others too."""
    if len(args) > len(names):
        raise InputTypeError(describe(kind, f"at most {len(names)} arguments by position", str(len(args))))
    given = dict(zip(names, args))
    if twice := given.keys() & others.keys():
        raise InputTypeError(f"{kind}: given twice: {', '.join(sorted(twice))}")
    return given


def accept(cls: Any) -> None:
    """Let the constructor of a layer take arguments by position in the order of Keras 2."""
    init, names = cls.__init__, ORDERS["keras2"][cls.__name__]

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, **by_name(cls.__name__, names, args, kwargs), **kwargs)

    cls.__init__ = __init__

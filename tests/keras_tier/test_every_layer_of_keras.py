"""Every class of `keras.layers` is taken, by its configuration or by tracing; or it is known why not.

Layers with inputs of one kind are the outputs of one model. `python
tests/keras_tier/test_every_layer_of_keras.py` prints for each class by which way it is taken.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import kcompile

keras = pytest.importorskip("keras")
pytest.importorskip("jax")
if keras.backend.backend() != "jax":
    pytest.skip("models are traced where Keras runs on JAX", allow_module_level=True)
L = keras.layers
R = np.random.default_rng(5)


def floats(*shape: int) -> Any:
    return R.random(shape).astype("float32")


VECTORS, SEQUENCES, IMAGES = floats(3, 6), floats(3, 6, 4), floats(3, 8, 8, 3)
NUMBERS = R.integers(0, 5, (3, 6)).astype("int32")

# A layer is given by its arguments; a function makes what needs more than one call
VECTOR_LAYERS: dict[str, Any] = {
    "Dense": [3],
    "Activation": ["relu"],
    "ActivityRegularization": [],
    "RepeatVector": [3],
    "PReLU": [],
    "SpectralNormalization": lambda: L.SpectralNormalization(L.Dense(3)),
    "Lambda": lambda: L.Lambda(lambda x: x * 2),
    "Normalization": lambda: L.Normalization(mean=1.0, variance=2.0),
    "Discretization": lambda: L.Discretization(bin_boundaries=[0.2, 0.5]),
    **{n: [0.3] for n in ("Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout")},
    **{n: [] for n in ("ReLU", "LeakyReLU", "ELU", "Softmax", "BatchNormalization", "LayerNormalization",
                       "RMSNormalization", "UnitNormalization", "Identity", "Masking")},
    **{n: lambda n=n: lambda x: getattr(L, n)()([x, x * 2]) for n in (
        "Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")},
    "Dot": lambda: lambda x: L.Dot(1)([x, x * 2]),
    "MelSpectrogram": [4, 2],
}  # fmt: skip
SEQUENCE_LAYERS: dict[str, Any] = {
    **{n: [3] for n in ("LSTM", "GRU", "SimpleRNN")},
    "RNN": lambda: L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2), L.SimpleRNNCell(2)])),
    "Bidirectional": lambda: L.Bidirectional(L.GRU(3)),
    "TimeDistributed": lambda: L.TimeDistributed(L.Dense(2)),
    **{n: [3, 2] for n in ("Conv1D", "Convolution1D", "Conv1DTranspose", "Convolution1DTranspose",
                           "SeparableConv1D", "SeparableConvolution1D")},
    "DepthwiseConv1D": [2],
    "SpatialDropout1D": [0.3],
    **{n: [2] for n in ("MaxPooling1D", "MaxPool1D", "AveragePooling1D", "AvgPool1D", "AdaptiveMaxPooling1D",
                        "AdaptiveAveragePooling1D", "UpSampling1D")},
    **{n: [] for n in ("GlobalMaxPooling1D", "GlobalMaxPool1D", "GlobalAveragePooling1D", "GlobalAvgPool1D",
                       "ZeroPadding1D", "Cropping1D", "Flatten")},
    "Reshape": [(4, 6)],
    "Permute": [(2, 1)],
    "EinsumDense": lambda: L.EinsumDense("abc,cd->abd", output_shape=(None, 3)),
    "Attention": lambda: lambda x: L.Attention()([x, x]),
    "AdditiveAttention": lambda: lambda x: L.AdditiveAttention()([x, x]),
    "MultiHeadAttention": lambda: lambda x: L.MultiHeadAttention(2, 3)(x, x),
    "GroupQueryAttention": lambda: lambda x: L.GroupQueryAttention(3, 4, 2)(x, x),
    "STFTSpectrogram": lambda: L.STFTSpectrogram(frame_length=4, frame_step=2, fft_length=4),
    "ConvLSTM1D": lambda: lambda x: L.ConvLSTM1D(2, 2)(L.Reshape((2, 3, 4))(x)),
}  # fmt: skip
IMAGE_LAYERS: dict[str, Any] = {
    **{n: [3, 2] for n in ("Conv2D", "Convolution2D", "Conv2DTranspose", "Convolution2DTranspose",
                           "SeparableConv2D", "SeparableConvolution2D")},
    "DepthwiseConv2D": [2],
    "SpatialDropout2D": [0.3],
    **{n: [2] for n in ("MaxPooling2D", "MaxPool2D", "AveragePooling2D", "AvgPool2D", "AdaptiveMaxPooling2D",
                        "AdaptiveAveragePooling2D", "UpSampling2D")},
    **{n: [] for n in ("GlobalMaxPooling2D", "GlobalMaxPool2D", "GlobalAveragePooling2D", "GlobalAvgPool2D",
                       "ZeroPadding2D", "Cropping2D")},
    "GroupNormalization": [3],
    "ConvLSTM2D": lambda: lambda x: L.ConvLSTM2D(2, 2)(L.Reshape((2, 4, 8, 3))(x)),
    "ConvLSTM3D": lambda: lambda x: L.ConvLSTM3D(2, 2)(L.Reshape((2, 2, 2, 8, 3))(x)),
    **{n: lambda n=n: lambda x: getattr(L, n)(2, 2)(L.Reshape((4, 4, 4, 3))(x)) for n in (
        "Conv3D", "Convolution3D", "Conv3DTranspose", "Convolution3DTranspose")},
    **{n: lambda n=n: lambda x: getattr(L, n)(2)(L.Reshape((4, 4, 4, 3))(x)) for n in (
        "MaxPooling3D", "MaxPool3D", "AveragePooling3D", "AvgPool3D", "AdaptiveMaxPooling3D",
        "AdaptiveAveragePooling3D", "UpSampling3D")},
    **{n: lambda n=n: lambda x: getattr(L, n)()(L.Reshape((4, 4, 4, 3))(x)) for n in (
        "GlobalMaxPooling3D", "GlobalMaxPool3D", "GlobalAveragePooling3D", "GlobalAvgPool3D", "ZeroPadding3D",
        "Cropping3D")},
    "SpatialDropout3D": lambda: lambda x: L.SpatialDropout3D(0.3)(L.Reshape((4, 4, 4, 3))(x)),
    "Rescaling": [0.5],
    "Resizing": [5, 6],
    "CenterCrop": [4, 4],
    "Pipeline": lambda: L.Pipeline([L.Rescaling(2.0)]),
    "Solarization": [0.5],
    "AutoContrast": [],
    "MaxNumBoundingBoxes": [3],
    **{n: [0.2] for n in ("RandomBrightness", "RandomContrast", "RandomZoom", "RandomRotation", "RandomHue",
                          "RandomSaturation", "RandomSharpness", "RandomColorDegeneration")},
    **{n: [] for n in ("RandomFlip", "RandomGrayscale", "RandomInvert", "RandomGaussianBlur", "RandomShear",
                       "RandomErasing", "RandomColorJitter")},
    "RandomTranslation": [0.1, 0.1],
}  # fmt: skip
NUMBER_LAYERS: dict[str, Any] = {"Embedding": [5, 3], "ReversibleEmbedding": [5, 3], "CategoryEncoding": [5]}
MODELS = {
    "vectors": (VECTORS, VECTOR_LAYERS),
    "sequences": (SEQUENCES, SEQUENCE_LAYERS),
    "images": (IMAGES, IMAGE_LAYERS),
    "numbers": (NUMBERS, NUMBER_LAYERS),
}
# Taken by their configuration alone: traced, they draw numbers that have no stream here, or count a batch
BY_CONFIGURATION = ("AugMix", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix",
                    "RandAugment", "RandomCrop", "RandomElasticTransform",
                    "RandomPerspective", "RandomPosterization")  # fmt: skip
# By their configuration, where they stand behind the inputs of a model (test_texts_with_keras)
ON_ARRAYS = ("HashedCrossing", "Hashing", "StringLookup", "TextVectorization")
NOT_HERE = {
    "Equalization": "configuration (Keras finds a cycle in models with it)",
    "IntegerLookup": "configuration (Keras makes it of TensorFlow)",
    "MixUp": "configuration (Keras does not run it in models on JAX)",
}
REFUSED = {"code of another library": ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")}
NO_LAYERS = (
    "GRUCell",
    "InputLayer",
    "InputSpec",
    "LSTMCell",
    "Layer",
    "SimpleRNNCell",
    "StackedRNNCells",
    "Wrapper",
)


def model_of(data: Any, table: dict[str, Any]) -> Any:
    x = keras.Input(data.shape[1:], dtype=str(data.dtype))
    outputs = []
    for name, given in table.items():
        layer = getattr(L, name)(*given) if isinstance(given, list) else given()
        outputs.append(layer(x))
    return keras.Model(x, outputs)


def test_every_class_is_listed() -> None:
    classes = {name for name in dir(L) if inspect.isclass(getattr(L, name))}
    listed = {
        *NO_LAYERS,
        *BY_CONFIGURATION,
        *ON_ARRAYS,
        *NOT_HERE,
        *(name for names in REFUSED.values() for name in names),
    }
    listed |= {name for _, table in MODELS.values() for name in table}
    assert classes - listed == set()


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "images")) for kind in MODELS]
)
def test_layers_are_traced(kind: str) -> None:
    data, table = MODELS[kind]
    model = model_of(data, table)
    compiled = kcompile.compile(model, examples=data)
    assert compiled.way == "tracing"
    wanted = model.predict(data, verbose=0)
    for name, ours, theirs in zip(table, compiled.predict(data), wanted):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=name)
    floating = [i for i, y in enumerate(wanted) if y.dtype.kind == "f"]
    model = keras.Model(model.input, [model.outputs[i] for i in floating])
    model.compile("sgd", "mse")
    compiled = kcompile.compile(model, examples=data)
    assert np.isfinite(compiled.train_on_batch(data, [wanted[i] * 0 for i in floating])).all()


def test_layers_that_are_taken_by_their_configuration() -> None:
    given: dict[str, Any] = {"RandomCrop": [5, 5], "RandomPosterization": [4]}
    model = model_of(IMAGES, {name: given.get(name, []) for name in BY_CONFIGURATION})
    compiled = kcompile.compile(model)
    assert compiled.way == "configuration"
    wanted = model.predict(IMAGES, verbose=0)
    for name, ours, theirs in zip(BY_CONFIGURATION, compiled.predict(IMAGES), wanted):
        if name != "RandomCrop":  # whose inference here is that of its documentation
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=name)


def ways() -> None:
    """Print, for each class, whether it is taken by its configuration, or by tracing."""
    for data, table in MODELS.values():
        for name, given in table.items():
            print(f"{name:48}{kcompile.compile(model_of(data, {name: given})).way}")
    for name in (*BY_CONFIGURATION, *ON_ARRAYS):
        print(f"{name:48}configuration")
    for name, why in NOT_HERE.items():
        print(f"{name:48}{why}")
    for why, names in REFUSED.items():
        for name in names:
            print(f"{name:48}refused: {why}")


if __name__ == "__main__":
    ways()

"""What all networks of `keras.applications` share: arguments, input, top, pooling, weights.

Enters: a `Network`, which says what is its own, and the arguments of Keras. Leaves: a model.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kcompile.keras.activations import get as get_activation
from kcompile.keras.activations import linear, softmax
from kcompile.keras.backend import int_shape
from kcompile.keras.editions import edition
from kcompile.keras.inputs import Input
from kcompile.keras.layer_arguments import show_parameters
from kcompile.keras.layer_calls import numbered
from kcompile.keras.layer_utils import get_source_inputs
from kcompile.keras.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Multiply,
    ZeroPadding2D,
)
from kcompile.keras.layers.preprocessing.scaling import Rescaling
from kcompile.keras.models import Model
from kcompile.keras.settings import image_data_format
from kcompile.keras.settings import vintage as running_vintage
from kcompile.keras.utils.data_utils import get_file
from kcompile_runtime.checks import check_count, check_flag
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, describe

CLASSES = 1000  # of ImageNet
FCHOLLET = "https://github.com/fchollet/deep-learning-models/releases/download"
KERAS_TEAM = "https://github.com/keras-team/keras-applications/releases/download"
GOOGLE = "https://storage.googleapis.com/tensorflow/keras-applications"
KERNELS = "weights_tf_dim_ordering_tf_kernels"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels, in [0, 1]

Body = Callable[["Net", Any], Any]
Top = Callable[["Net", Any, int], Any]


class Net:
    """Makes the layers of one network. vintage: theirs. axis: of the channels. normalization: options of its
    batch normalizations. activation: of the classes. name: of the model. preprocessed: whether layers of it
    prepare the images. pretrained: whether it gets the weights for ImageNet."""

    def __init__(
        self,
        vintage: str | None,
        last: int = 3,
        normalization: Mapping[str, Any] | None = None,
        activation: Any = "softmax",
        name: str = "",
        preprocessed: bool = True,
        pretrained: bool = False,
    ) -> None:
        self.vintage = vintage
        self.activation = activation
        self.axis = 1 if image_data_format() == "channels_first" else last
        self.normalization = normalization or {}
        self.name = name
        self.preprocessed = preprocessed
        self.pretrained = pretrained

    @property
    def since_tf(self) -> bool:
        """Whether layers have the names that they have since tf.keras."""
        return not edition(self.own_vintage).keras1

    @property
    def own_vintage(self) -> str:
        """The vintage, also where it is the script's."""
        return self.vintage or running_vintage()

    @property
    def newer(self) -> bool:
        """Whether it is a network as Keras 3 has it."""
        return edition(self.own_vintage).newer_networks

    def named(self, name: str) -> str:
        """The name of a layer that Keras 2 and tf.keras call with a slash in it."""
        return name.replace("/", "_") if self.newer else name

    def __call__(self, kind: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return kind(*args, vintage=self.vintage, **options)

    def conv(self, x: Any, filters: int, size: Any, **options: Any) -> Any:
        """A convolution, without a bias unless one is asked for."""
        return self(Conv2D, filters, size, **{"use_bias": False, **options})(x)

    def halving_conv(self, x: Any, filters: int, name: str, pad: Any) -> Any:
        """A convolution of 3 by 3 with strides of 2, of padding "same"; in Keras 2 by a layer that pads."""
        if self.since_tf:
            return self.conv(x, filters, 3, strides=2, padding="same", name=name)
        return self.conv(self(ZeroPadding2D, pad, name=f"{name}_pad")(x), filters, 3, strides=2, name=name)

    def norm(self, x: Any, name: str | None = None, **options: Any) -> Any:
        """A batch normalization."""
        return self(BatchNormalization, axis=self.axis, name=name, **{**self.normalization, **options})(x)

    def relu(self, x: Any, name: str | None = None) -> Any:
        """A rectifier."""
        return self(Activation, "relu", name=name)(x)

    def plus(self, x: Any, y: Any) -> Any:
        """x + y as an operator makes it; y: a tensor or a number."""
        if edition(self.own_vintage).operations:
            return x + y
        name = numbered("tf.__operators__.add", self.own_vintage)
        if isinstance(y, float):
            return self(Rescaling, 1.0, y, name=name)(x)
        return self(Add, name=name)([x, y])

    def times(self, x: Any, y: Any) -> Any:
        """x * y as an operator makes it; y: a tensor, a number, or one for each channel."""
        if edition(self.own_vintage).operations:
            return x * y
        name = numbered("tf.math.multiply", self.own_vintage)
        if isinstance(y, (float, list)):
            return self(Rescaling, y, name=name)(x)
        return self(Multiply, name=name)([x, y])

    def channels(self, x: Any) -> int:
        """How many channels a tensor has."""
        found = int_shape(x)[self.axis]
        assert found is not None
        return int(found)

    def sides(self, x: Any) -> tuple[int | None, int | None]:
        """The height and width of a tensor."""
        shape = int_shape(x)
        return (shape[2], shape[3]) if self.axis == 1 else (shape[1], shape[2])

    def halving_pad(self, x: Any, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The padding for which a window of this size with strides of 2 sees what padding "same" does."""
        odd = [1 if side is None else 1 - side % 2 for side in self.sides(x)]
        return ((size // 2 - odd[0], size // 2), (size // 2 - odd[1], size // 2))


@dataclass(frozen=True)
class Weights:
    """Weights for ImageNet. home: the address without the file's name. whole, headless: the name of the file
    with and without the top, and its md5. saved: the names in the cache, where these are others."""

    home: str
    whole: tuple[str, str | None]
    headless: tuple[str, str | None]
    saved: tuple[str, str] | None = None

    def path(self, top: bool) -> str:
        """The file in Keras' cache, loaded where it is not there."""
        name, digest = self.whole if top else self.headless
        stored = name if self.saved is None else self.saved[0 if top else 1]
        return get_file(stored, f"{self.home}/{name}", cache_subdir="models", file_hash=digest)


@dataclass(frozen=True)
class Network:
    """One network. body: from the images to the features. top: from these to classes. size: of images where
    nobody says another; least: the smallest. last: the number of the channels' axis in configurations. pools:
    the names of the layers that pool instead of the top. end: what stands behind these. norm: options of
    batch normalizations. sizes: when the size of images is needed. newer: its name in Keras 3, where it
    differs. variants: weights for ImageNet by another name than "imagenet"."""

    name: str
    body: Body
    top: Top
    weights: Weights
    size: int = 224
    least: int = 32
    last: int = 3
    pools: tuple[str | None, str | None] = (None, None)
    norm: tuple[tuple[str, Any], ...] = ()
    sizes: Literal["for the top", "always", "never"] = "for the top"
    newer: str | None = None
    end: Body | None = None
    variants: Mapping[str, Weights] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, Weights]:
        """The weights for ImageNet, by what the argument `weights` says."""
        return {"imagenet": self.weights, **self.variants}

    def build(
        self,
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = CLASSES,
        classifier_activation: Any = "softmax",
        name: str | None = None,
        vintage: str | None = None,
        include_preprocessing: bool = True,
    ) -> Model:
        """The model. Raises InputError for arguments that do not fit each other."""
        known = self.known
        pretrained = isinstance(weights, str) and weights in known
        _check(weights, list(known), include_top, classes, pooling, classifier_activation)
        needed = self.sizes == "always" or (self.sizes == "for the top" and bool(include_top))
        shape = input_shape_of(self, input_shape, needed, weights)
        if pretrained:
            weights = known[weights].path(bool(include_top))
        newer = edition(vintage or running_vintage()).newer_networks
        called = name or (self.newer if self.newer and newer else self.name)
        preprocessed = check_flag("include_preprocessing", include_preprocessing)
        net = Net(
            vintage, self.last, dict(self.norm), classifier_activation, called, preprocessed, pretrained
        )
        given = Input(shape, vintage=vintage) if input_tensor is None else input_tensor
        x = self.body(net, given)
        if include_top:
            x = self.top(net, x, check_count("classes", classes))
        else:
            x = self.without_top(net, x, pooling)
        inputs = given if input_tensor is None else get_source_inputs(input_tensor)
        model = Model(inputs, x, name=called, vintage=vintage)
        if weights is not None:
            model.load_weights(weights)
        return model

    def without_top(self, net: Net, x: Any, pooling: str | None) -> Any:
        """The features, pooled or not."""
        kinds = {"avg": GlobalAveragePooling2D, "max": GlobalMaxPooling2D}
        if pooling is not None:
            x = net(kinds[pooling], name=self.pools[pooling == "max"])(x)
        return x if self.end is None else self.end(net, x)


def classifier(*layers: str) -> Top:
    """A top of the mean over each channel and one product; the names of both, and that of the product since
    tf.keras, where it is another."""

    def top(net: Net, x: Any, classes: int) -> Any:
        x = net(GlobalAveragePooling2D, name=layers[0] or None)(x)
        return net(Dense, classes, activation=net.activation, name=layers[-1 if net.since_tf else 1])(x)

    return top


# The order of arguments, which the functions of some networks have otherwise
ORDER = "include_top weights input_tensor input_shape pooling classes classifier_activation name vintage"
PREPROCESSING = ORDER.replace("name", "include_preprocessing name")


def published(name: str, network: Network, order: str = ORDER) -> Callable[..., Model]:
    """The function of a network, by this name, with the arguments of Keras in this order."""
    known = inspect.signature(network.build).parameters
    signature = inspect.Signature([known[argument] for argument in order.split()])

    def make(*args: Any, **kwargs: Any) -> Model:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputTypeError(f"{name}: {error}") from None
        return network.build(**given.arguments)

    make.__name__ = make.__qualname__ = name
    show_parameters(make, signature.parameters.values())
    make.__doc__ = (
        f"The network {name}. weights: None for fresh ones, 'imagenet' (from Keras' cache, or the "
        "network), or the path of a file. include_top: with the layers that classify. input_tensor: an "
        "Input, or what was computed of some. input_shape: without the batch. pooling: of the features "
        "without a top, 'avg', 'max' or None. classes: how many the top has. classifier_activation: of the "
        "top, None for its scores. name: of the model."
    )
    if "include_preprocessing" in order:
        make.__doc__ += " include_preprocessing: with layers that scale pixels in [0, 255]."
    return make


def _check(
    weights: Any, known: Sequence[str], include_top: bool, classes: Any, pooling: Any, activation: Any
) -> None:
    if weights is not None and weights not in known and not Path(weights).exists():
        wanted = ", ".join(["None", *map(repr, known)]) + " or the path of a file"
        raise InputError(describe("weights", wanted, repr(weights)))
    if weights in known and include_top and classes != CLASSES:
        raise InputError(describe("classes", f"{CLASSES}, as the weights for ImageNet have", str(classes)))
    if weights is not None and include_top and get_activation(activation) not in (softmax, linear):
        wanted = "None or 'softmax', as the weights of a top were trained for"
        raise InputError(describe("classifier_activation", wanted, repr(activation)))
    if pooling not in (None, "avg", "max"):
        raise InputError(describe("pooling", "None, 'avg' or 'max'", repr(pooling)))


def input_shape_of(network: Network, given: Any, needed: bool, weights: Any) -> tuple[int | None, ...]:
    """The shape of images, without the batch. needed: whether all sizes have to be known."""
    first = image_data_format() == "channels_first"

    def shape(side: int | None, channels: int) -> tuple[int | None, ...]:
        return (channels, side, side) if first else (side, side, channels)

    if given is None:
        return shape(network.size if needed else None, 3)
    found = tuple(given)
    if len(found) != 3:
        raise InputError(describe("input_shape", "three sizes", repr(given)))
    channels, sides = (found[0], found[1:]) if first else (found[2], found[:2])
    usual = shape(network.size, 3)
    if weights == "imagenet" and needed and not network.variants and found != usual:
        raise InputError(describe("input_shape", f"{usual}, as the weights have", repr(given)))
    if weights == "imagenet" and channels != 3:
        raise InputError(describe("input_shape", "3 channels, as the weights have", repr(given)))
    if channels not in (1, 3):
        warnings.warn(f"input_shape {given}: images usually have 1 or 3 channels", stacklevel=5)
    if any(side is not None and side < network.least for side in sides):
        raise InputError(describe("input_shape", f"sides of at least {network.least}", repr(given)))
    if needed and None in found:
        raise ModelError(describe("input_shape", "known sizes, which the top needs", repr(given)))
    return found

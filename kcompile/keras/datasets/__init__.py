"""Data sets: `digits`, bundled with the package, and those of Keras, from its cache or the network."""

from kcompile.keras.lazy import lazily as _lazily

__getattr__, __dir__ = _lazily(
    __name__,
    "boston_housing",
    "california_housing",
    "cifar",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "imdb",
    "mnist",
    "reuters",
)

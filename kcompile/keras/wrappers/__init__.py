"""Models in the clothes of other libraries."""

from kcompile.keras.lazy import lazily as _lazily

__getattr__, __dir__ = _lazily(__name__, "scikit_learn")

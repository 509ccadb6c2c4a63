"""From texts, sequences and images to the arrays that models take. Modules load when they are asked for."""

from kcompile.keras.lazy import lazily as _lazily

__getattr__, __dir__ = _lazily(__name__, "image", "sequence", "text")

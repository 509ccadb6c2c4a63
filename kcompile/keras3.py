"""`kcompile.keras` as Keras 3 has it: its names, defaults and semantics (`kcompile.keras.editions`).

from kcompile import keras3 as keras
"""

from kcompile.keras.namespaces import publish

__path__: list[str] = []  # a package, whose modules `publish` makes

publish(__name__, "keras3")

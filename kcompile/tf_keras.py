"""`kcompile.keras` as tf.keras 2 has it: its names, defaults and semantics (`kcompile.keras.editions`).

from kcompile import tf_keras as keras
"""

from kcompile.keras.namespaces import publish

__path__: list[str] = []  # a package, whose modules `publish` makes

publish(__name__, "tf_keras")

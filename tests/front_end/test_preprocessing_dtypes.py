"""The types of what preprocessing layers give of arrays: those of Keras 3 on JAX, and of tf_keras 2.21."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras

WORDS, INTS = np.array([["a", "b"], ["c", "z"]]), np.array([[1, 2], [3, 9]])
MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "StringLookup": (WORDS, {"vocabulary": ["a", "b", "c"]}),
    "IntegerLookup": (INTS, {"vocabulary": [1, 2, 3]}),
    "TextVectorization": (WORDS[0], {"vocabulary": ["a", "b", "c"]}),
    "Discretization": (INTS.astype("float32"), {"bin_boundaries": [1.0, 2.0]}),
    "Hashing": (INTS, {"num_bins": 4}),
    "CategoryEncoding": (INTS % 4, {"num_tokens": 4}),
    "HashedCrossing": ((INTS[0], INTS[1]), {"num_bins": 4}),
}
# By layer and dtype: the letters of the types, in the order of MODES (- where there is no such mode)
TYPES = {"f": "float32", "i": "int32", "l": "int64"}
OF_KERAS_3 = """
StringLookup None iiiif, StringLookup float32 iiiif, StringLookup int64 iiiif,
IntegerLookup None iiiif, IntegerLookup float32 iiiif, IntegerLookup int32 iiiif,
TextVectorization None i-iif, TextVectorization int32 i-iif,
Discretization None ifff-, Discretization int32 iiii-, Discretization int64 iiii-,
Hashing None ifff-, Hashing int32 iiii-, Hashing int64 iiii-,
CategoryEncoding None -fff-, CategoryEncoding int32 -iii-, CategoryEncoding int64 -iii-,
HashedCrossing None if---, HashedCrossing int64 ii---
"""
OF_TF_KERAS = """
StringLookup None l-fff, StringLookup int32 i-ii-, StringLookup int64 l-ll-,
IntegerLookup None l-fff, IntegerLookup int32 i-ii-, IntegerLookup int64 l-fff,
TextVectorization None l-fff,
Discretization None lfff-, Discretization int32 iiii-, Discretization int64 llll-,
Hashing None lfff-, Hashing int32 iiii-, Hashing int64 llll-,
CategoryEncoding None -fff-, CategoryEncoding int32 -iii-, CategoryEncoding int64 -lll-
"""


@pytest.mark.parametrize(("keras", "lines"), [(keras3, OF_KERAS_3), (tf_keras, OF_TF_KERAS)])
def test_calls_on_arrays(keras: Any, lines: str) -> None:
    wrong = []
    for line in lines.strip().split(","):
        kind, dtype, letters = line.split()
        x, options = LAYERS[kind]
        for mode, letter in zip(MODES, letters):
            if letter == "-":
                continue
            more: dict[str, Any] = {} if dtype == "None" else {"dtype": dtype}
            if mode == "tf_idf":
                more["idf_weights"] = [0.5, 0.6, 0.7]
            found = getattr(keras.layers, kind)(output_mode=mode, **options, **more)(x).dtype.name
            if found != TYPES[letter]:
                wrong.append((kind, dtype, mode, found))
    assert not wrong

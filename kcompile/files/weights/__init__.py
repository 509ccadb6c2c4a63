"""Weights between HDF5 files and the variables of a model.

Enters: a checked HDF5 file (`reader.Hdf5`), a built model, and the vintage of the file. Leaves: the model's
variables assigned, all of them or none. Two layouts exist: `by_layer` and `by_path`.

`inside` knows which layers are in a layer, `conversion` how classes stored weights in other times,
`assignment` checks and assigns.
"""

from __future__ import annotations

from kcompile.files.weights.assignment import load_in_order
from kcompile.files.weights.by_layer import converted, load_by_layer, place_of, saved_layers, weights_group
from kcompile.files.weights.by_path import is_by_path, load_by_path, vars_of
from kcompile.files.weights.conversion import FLIPPED
from kcompile.files.weights.inside import all_layers, groups, held, own_variables, path_names, run_inside

__all__ = [
    "FLIPPED",
    "all_layers",
    "converted",
    "groups",
    "held",
    "is_by_path",
    "load_by_layer",
    "load_by_path",
    "load_in_order",
    "own_variables",
    "path_names",
    "place_of",
    "run_inside",
    "saved_layers",
    "vars_of",
    "weights_group",
]

"""Models from elsewhere and to elsewhere: files, and live objects of Keras (`live`)."""

from kcompile.files.loading import (
    converted_weights,
    lacks_training,
    load,
    load_weights,
    model_from_json,
    model_from_yaml,
)
from kcompile.files.states import read_newest, states_in, write_state
from kcompile.files.writer import json_as_yaml, save, save_space, save_weights, to_json, to_yaml

__all__ = [
    "converted_weights",
    "json_as_yaml",
    "lacks_training",
    "load",
    "load_weights",
    "model_from_json",
    "model_from_yaml",
    "read_newest",
    "save",
    "save_space",
    "save_weights",
    "states_in",
    "to_json",
    "to_yaml",
    "write_state",
]

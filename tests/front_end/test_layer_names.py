"""The public names of layers: each said once, in the file that defines it."""

import ast
import importlib
import pkgutil
from pathlib import Path

from kcompile.keras import layers
from kcompile.keras.engine import Layer
from kcompile.keras.layers import registry

FAMILIES = [
    importlib.import_module(m.name)
    for m in pkgutil.iter_modules(layers.__path__, "kcompile.keras.layers.")
    if m.name != "kcompile.keras.layers.of_networks"  # which configurations name, and no script
]
# What layers are made of, and no script names
PARTS = {
    "Formed",
    "ForeignCell",
    "OverCells",
    "Cell",
    "ConvLSTM1DCell",
    "ConvLSTM3DCell",
    "CuDNN",
    "CuDNNGRUCell",
    "CuDNNLSTMCell",
    "Custom",
    "Holder",
    "KernelLayer",
    "LongShortTerm",
    "Recurrence",
    "Sliding",
    "Spatial",
    "UnitsCell",
    "Weighted",
    "Windowed",
}


def listed_by(family):
    """What the file of a family lists; its module may have more names, for scripts of Keras 2."""
    if family.__file__.endswith("__init__.py"):  # a package, which joins what its modules list
        return list(family.__all__)
    for node in ast.parse(Path(family.__file__).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def test_the_package_has_what_its_families_list():
    listed = [name for family in FAMILIES for name in listed_by(family)]
    assert sorted(listed + ["Input", "InputLayer", "InputSpec", "Layer"]) == sorted(layers.__all__)
    assert len(set(layers.__all__)) == len(layers.__all__)
    for family in FAMILIES:
        for name in listed_by(family):
            assert getattr(layers, name) is getattr(family, name), name


def test_every_layer_of_a_family_is_public_and_found_by_its_name():
    for family in FAMILIES:
        for name, value in vars(family).items():
            own = isinstance(value, type) and issubclass(value, Layer) and value.__module__ == family.__name__
            if own and not name.startswith("_") and name not in PARTS:
                assert name in listed_by(family) and registry.classes_of(family)[name] is value


def test_configurations_mean_layers_by_every_public_name():
    for name in ("Add", "AvgPool2D", "Flatten", "MaxPooling1D", "ReLU"):
        made = registry.deserialize({"class_name": name, "config": {}})
        assert type(made) is getattr(layers, name)

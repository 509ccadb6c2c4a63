"""What layers that prepare data have learned, which other Kerases keep beside their configurations.

Enters: a configuration, with the vocabularies and arrays of a .keras file, the weights of an .h5 file, or the
live model. Leaves: the same configuration, in which each such layer says its vocabulary or its boundaries, as
ours do: shapes of what follows depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kcompile.files.problems import Problems
from kcompile.files.reader import Hdf5
from kcompile.files.sharing import with_live
from kcompile.keras.layers.preprocessing.categories import boundaries
from kcompile.keras.settings import snake_case
from kcompile_runtime.errors import ModelError, describe

APART = ("Discretization", "IntegerLookup", "StringLookup", "TextVectorization")  # without weights here
LOOKUPS = ("IntegerLookup", "StringLookup", "TextVectorization")
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
LONGEST_TABLE = 10_000_000  # tokens


def take_lines(label: str, config: dict[str, Any], custom: Mapping[str, Any], problems: Problems) -> None:
    """A vocabulary that is the name of a file, as its lines, which custom_objects have: a model does not make
    anybody read a file that it names."""
    name = config.get("vocabulary")
    if not isinstance(name, str):
        return
    config["vocabulary"] = lines = custom.get(name)
    if not isinstance(lines, (list, tuple)):
        problems.add(
            f"{label}: its vocabulary is the file {name!r}, which no model has read. Give its lines: "
            f"custom_objects={{{name!r}: open({name!r}).read().splitlines()}}"
        )


def from_archive(
    entry: Mapping[str, Any], assets: Mapping[str, str], file: Hdf5, room: str = "layers"
) -> set[str]:
    """Complete a configuration by what a .keras file has beside it. Gives the paths of the arrays that were
    taken. room: the group of the layers. Raises ModelError for a vocabulary of no layer."""
    taken: set[str] = set()
    known: set[str] = set()

    def array(path: str) -> np.ndarray | None:
        if path not in file.datasets:
            return None
        taken.update((path, path.replace("/vars/", "/_lookup_layer/vars/")))
        return _read(file, path)

    for group, kind, config in _grouped(entry, "", room):
        if kind in LOOKUPS:
            known.update(f"assets/{group}/{inner}vocabulary.txt" for inner in ("", "_lookup_layer/"))
        if kind in LOOKUPS and config.get("vocabulary") is None:
            text = assets.get(f"assets/{group}/vocabulary.txt")
            weights = array(f"{group}/vars/idf_weights")
            if text is not None:
                _take_vocabulary(kind, config, _lines(kind, config, text), weights)
        elif kind in LOOKUPS:
            array(f"{group}/vars/idf_weights")  # the configuration says them
        elif kind == "Discretization" and config.get("bin_boundaries") is None:
            _take_summary(config, array(f"{group}/vars/0"))
        elif kind == "Normalization" and room != "layers" and config.get("mean") is None:
            found = [array(f"{group}/vars/{place}") for place in (0, 1)]
            config["mean"], config["variance"] = (None if x is None else x.ravel().tolist() for x in found)
    if strange := sorted(set(assets) - known):
        raise ModelError(
            describe(file.name, "vocabularies of its lookup layers", ", ".join(map(repr, strange[:5])))
        )
    return taken


def from_layers(entry: Mapping[str, Any], file: Hdf5, group: str) -> set[str]:
    """The same by an .h5 file of tf.keras, whose group has weights by the names of layers."""
    taken: set[str] = set()
    config = entry.get("config")
    layers = config.get("layers") if isinstance(config, Mapping) else config
    for layer in layers if isinstance(layers, list) else ():
        mine = [c for c in _of_kind({"config": {"layers": [layer]}}, "Discretization")
                if c.get("bin_boundaries") is None]  # fmt: skip
        own = layer.get("config") if mine else None
        name = own.get("name") if isinstance(own, Mapping) else None
        stored = [p for p in file.inside(f"{group}/{name}") if p.endswith("summary:0")] if mine else []
        if len(stored) == len(mine):
            for each, path in zip(mine, stored):
                _take_summary(each, _read(file, path))
                taken.add(path)
    return taken


def _read(file: Hdf5, path: str) -> np.ndarray:
    """A table of a file, which is not too large."""
    size = math.prod(file.datasets[path].shape)
    if size > LONGEST_TABLE:
        raise ModelError(describe(f"{file.name}: {path!r}", f"at most {LONGEST_TABLE} numbers", str(size)))
    return file.read(path)


def from_live(entry: dict[str, Any], model: Any) -> None:
    """The same by the layers of a live model."""
    for part, layer in with_live(entry, model):
        kind, config = part["class_name"], part["config"]
        if kind in LOOKUPS and isinstance(config.get("vocabulary"), (str, type(None))):
            inner = getattr(layer, "_lookup_layer", layer)
            tokens = [getattr(token, "item", lambda t=token: t)() for token in layer.get_vocabulary()]
            weights = getattr(inner, "idf_weights", None) if config.get("output_mode") == "tf_idf" else None
            if len(layer.get_vocabulary(include_special_tokens=False)):
                _take_vocabulary(kind, config, tokens, None if weights is None else np.asarray(weights))
        elif kind == "Discretization" and config.get("bin_boundaries") is None:
            found = getattr(layer, "bin_boundaries", None)
            if found is not None and len(found):
                config["bin_boundaries"] = [float(x) for x in found]


def _lines(kind: str, config: Mapping[str, Any], text: str) -> list[Any]:
    """The tokens of a vocabulary file, with the special ones before them."""
    lines = text.splitlines()
    while lines and lines[-1] == "":
        lines.pop()
    if len(lines) > LONGEST_TABLE:
        raise ModelError(
            describe(f"Layer {config.get('name')!r}", f"at most {LONGEST_TABLE} tokens", str(len(lines)))
        )
    if kind != "IntegerLookup":
        return list(lines)
    try:
        return [int(line) for line in lines]
    except ValueError as error:
        raise ModelError(
            describe(f"Layer {config.get('name')!r}: vocabulary", "whole numbers", str(error)[:200])
        ) from error


def _take_vocabulary(kind: str, config: Any, tokens: list[Any], weights: np.ndarray | None) -> None:
    """Put tokens, and their weights, in a configuration; they are still learned ones, which `adapt` may
    replace."""
    if not tokens:
        return
    config["vocabulary"], config["has_input_vocabulary"] = tokens, False
    if weights is not None and config.get("output_mode") == "tf_idf":
        config["idf_weights"] = weights.ravel()[: len(tokens)].tolist()


def _take_summary(config: Any, summary: np.ndarray | None) -> None:
    bins = config.get("num_bins")
    if summary is not None and isinstance(bins, int) and bins > 0 and summary.ndim == 2 and len(summary) == 2:
        config["bin_boundaries"] = boundaries(np.asarray(summary, np.float32), bins)


def _grouped(
    entry: Mapping[str, Any], prefix: str, room: str = "layers"
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The layers of models in a configuration: the groups where Keras 3 has what belongs to them, class and
    configuration. Layers that others hold are not among them."""
    config = entry.get("config")
    layers = config.get("layers") if isinstance(config, Mapping) else None
    used: dict[str, int] = {}
    for layer in layers if isinstance(layers, list) else ():
        kind = layer.get("class_name") if isinstance(layer, Mapping) else None
        inner = layer.get("config") if isinstance(layer, Mapping) else None
        if not isinstance(kind, str) or not isinstance(inner, dict):
            continue
        name = snake_case("Functional" if kind == "Model" else kind, "keras3")
        number = used.get(name, 0)
        used[name] = number + 1
        group = f"{prefix}{room}/{name}_{number}" if number else f"{prefix}{room}/{name}"
        yield group, kind, inner
        yield from _grouped(layer, f"{group}/")


def _of_kind(entry: Any, kind: str) -> Iterator[dict[str, Any]]:
    """The configurations of all layers of a class."""
    for _, found, config in _grouped(entry, ""):
        if found == kind:
            yield config

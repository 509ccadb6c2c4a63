"""Pictures of models: `model_to_dot` and `plot_model`.

Enters: a model. Leaves: its layers as a graph in Graphviz' language, DOT, as an object of pydot, or as a
picture that Graphviz draws. The graph that a model is compiled to is drawn by `kcompile show --stage dot`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kcompile.ir.networks import quoted
from kcompile.ir.pictures import COLOURS, Box, drawn
from kcompile.keras.engine import Layer
from kcompile.keras.extras import library
from kcompile.keras.functional import Model
from kcompile.keras.layers.wrappers import Wrapper
from kcompile_runtime.checks import check_number, check_path
from kcompile_runtime.errors import ExtraError, InputError, ModelError, ProgramError, describe

__all__ = ["model_to_dot", "plot_model"]

RANKDIRS = ("TB", "LR", "BT", "RL")
TEXTS = ("dot", "gv")  # formats that need no Graphviz


@dataclass(frozen=True)
class Said:
    """What a node says of its layer besides name and class."""

    dtype: bool = False
    activation: bool = False
    trainable: bool = False

    def of(self, layer: Layer) -> Iterator[str]:
        """The parts of the label of a layer."""
        if self.dtype:
            yield str(layer.dtype)
        function = getattr(layer, "activation", None)
        if self.activation and function is not None:
            yield str(
                getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__)
            )
        if self.trainable:
            yield "trainable" if layer.trainable else "non-trainable"


@dataclass
class Drawing:
    """A graph to be drawn. options: its attributes. labels: of nodes, by their names. edges: pairs of names.
    inside: the graphs of models within, each a box."""

    name: str
    options: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    inside: list[Drawing] = field(default_factory=list)

    def text(self) -> str:
        """The graph in DOT."""
        lines = [f"digraph {quoted(self.name)} {{", "  node [shape=record];", *self._body("  ")]
        return "\n".join([*lines, "}", ""])

    def _body(self, indent: str) -> Iterator[str]:
        yield from (f"{indent}{key}={quoted(value)};" for key, value in self.options.items())
        for name, label in self.labels.items():
            yield f"{indent}{quoted(name)} [label={quoted(label)}];"
        for box in self.inside:
            yield f"{indent}subgraph {quoted(f'cluster_{box.name}')} {{"
            yield from box._body(indent + "  ")
            yield f"{indent}}}"
        yield from (f"{indent}{quoted(a)} -> {quoted(b)};" for a, b in self.edges)

    to_string = text  # as a Dot of pydot has it

    def svg(self) -> str:
        """The picture, drawn by `kcompile.ir.pictures`; what is in a box has a dashed border."""
        boxes = {
            name: Box(_lines(label), COLOURS[depth % len(COLOURS)], part.name if depth else "", depth > 0)
            for part, depth in self._parts()
            for name, label in part.labels.items()
        }
        edges = [edge for part, _ in self._parts() for edge in part.edges]
        return drawn(boxes, edges, self.options.get("rankdir", "TB"), self.name)

    def _parts(self, depth: int = 0) -> Iterator[tuple[Drawing, int]]:
        yield self, depth
        for box in self.inside:
            yield from box._parts(depth + 1)

    def create(self, prog: str = "dot", format: str = "svg") -> bytes:
        """The picture in a format, as a Dot of pydot makes it: "dot", "svg", or what the program knows."""
        if format in TEXTS:
            return self.text().encode()
        return _rendered(self, format, prog)

    def write(self, path: Any, prog: str = "dot", format: str = "dot") -> None:
        """Write the picture, by default as text."""
        Path(check_path("write: path", path)).write_bytes(self.create(prog, format))

    def _repr_svg_(self) -> str:
        return self.svg()

    def of_pydot(self, pydot: Any, box: bool) -> Any:
        """The graph as a Dot of pydot, or as a Cluster."""
        graph = pydot.Cluster(self.name) if box else pydot.Dot(self.name, graph_type="digraph")
        for key, value in self.options.items():
            graph.set(key, value if isinstance(value, (int, float)) else quoted(value))
        if not box:
            graph.set_node_defaults(shape="record")
        for name, label in self.labels.items():
            graph.add_node(pydot.Node(name, label=quoted(label)))
        for inner in self.inside:
            graph.add_subgraph(inner.of_pydot(pydot, True))
        for a, b in self.edges:
            graph.add_edge(pydot.Edge(a, b))
        return graph


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 96,
    subgraph: bool = False,
    *,
    show_dtype: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """The layers of a model as a pydot.Dot: a node for each, and an edge for each tensor between two. Without
    pydot, a `Drawing`, which has `to_string`, `create` and `write` as that, and which notebooks show.

    show_shapes: with the shapes of inputs and outputs. show_layer_names: with the names. rankdir: the
    direction, "TB" is down, "LR" to the right. expand_nested: models inside as boxes with their layers. dpi:
    dots in an inch of a picture. subgraph: a pydot.Cluster, for a graph of one's own. show_dtype,
    show_layer_activations, show_trainable: with what each layer says of these. Raises InputError, ModelError.
    """
    said = Said(show_dtype, show_layer_activations, show_trainable)
    found = drawing(model, show_shapes, show_layer_names, rankdir, expand_nested, dpi, subgraph, said)
    try:
        return found.of_pydot(library("pydot", "plot"), subgraph)
    except ExtraError:
        return found


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 96,
    *,
    show_dtype: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """Write a picture of a model's layers to a file; arguments as `model_to_dot` has them.

    The suffix of to_file is the format: .dot and .gv are text; .svg is drawn by Graphviz' program `dot`, or
    here where that is not installed; .png (also without a suffix), .pdf and others by it alone. Raises
    ProgramError (an OSError) where it is not installed or does not know the format; then no file is written.
    In a notebook, gives the picture to be shown.
    """
    path = Path(check_path("plot_model: to_file", to_file))
    said = Said(show_dtype, show_layer_activations, show_trainable)
    found = drawing(model, show_shapes, show_layer_names, rankdir, expand_nested, dpi, said=said)
    form = path.suffix[1:].lower() or "png"
    path.write_bytes(found.create(format=form))
    shown = sys.modules.get("IPython.display")
    if shown is not None and form == "svg":
        return shown.SVG(filename=str(path))
    if shown is not None and form in ("png", "jpg", "jpeg", "gif"):
        return shown.Image(filename=str(path))
    return None


def _rendered(found: Drawing, form: str, name: str) -> bytes:
    """The picture of a graph in this format, by Graphviz' program of this name."""
    program = shutil.which(name)
    if program is None and form == "svg":
        return found.svg().encode()
    if program is None:
        raise ProgramError(
            f"plot_model: the program {name} of Graphviz draws pictures, and is not installed: see "
            "https://graphviz.org/download. A file whose name ends in .svg or .dot needs no program"
        )
    given = found.text().encode()
    done = subprocess.run([program, f"-T{form}"], input=given, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise ProgramError(f"plot_model: {program} -T{form}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _lines(label: str) -> tuple[str, ...]:
    """The lines of a label of DOT's records, see `_label`."""
    head, _, shapes = label.partition("\n|{input:|output:}|{{")
    given, _, made = shapes.removesuffix("}}").partition("}|{")
    return (*head.split("|"), *([f"input: {given}", f"output: {made}"] if shapes else []))


def drawing(
    model: Any,
    show_shapes: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 96,
    subgraph: bool = False,
    said: Said = Said(),  # it never changes
) -> Drawing:
    """The graph of a model's layers. Raises ModelError for a model without a known input."""
    if not isinstance(model, Model):
        raise InputError(describe("plot_model: model", "a model", repr(model)))
    if not model.built:
        raise ModelError(f"model {model.name!r} is not built: its input shape is not known. Call build")
    if rankdir not in RANKDIRS:
        raise InputError(describe("rankdir", "one of " + ", ".join(map(repr, RANKDIRS)), repr(rankdir)))
    check_number("dpi", dpi, 1)
    options = {"rankdir": rankdir, "concentrate": "true", "dpi": f"{dpi:g}"}
    flags = bool(show_shapes), bool(show_layer_names), bool(expand_nested)
    return _drawn(model, *flags, said, None if subgraph else options)


def _drawn(model: Model, shapes: bool, names: bool, expand: bool, said: Said, options: Any = None) -> Drawing:
    """A model's graph with these attributes, by default those of a box."""
    box = {"style": "dashed", "label": model.name, "labeljust": "l"}
    made = Drawing(model.name, box if options is None else options)
    ends: dict[Layer, tuple[str, str]] = {}  # the nodes at which a layer is entered and left
    for layer in dict.fromkeys(node.layer for node in model.nodes):
        name = str(id(layer))
        ends[layer] = name, name
        inner = layer.layer if isinstance(layer, Wrapper) else layer
        opened = expand and isinstance(inner, Model)
        if not opened or inner is not layer:
            made.labels[name] = _label(layer, shapes, names, opened, said)
        if expand and isinstance(inner, Model):
            part = _drawn(inner, shapes, names, expand, said)
            made.inside.append(part)
            first, last = _first(part), _last(part)
            ends[layer] = (first if inner is layer else name), last
            if inner is not layer:
                made.edges[name, first] = None
    for node in model.nodes:
        for tensor in node.inputs:
            made.edges[ends[tensor.layer][1], ends[node.layer][0]] = None
    return made


def _first(part: Drawing) -> str:
    return next(iter(part.labels)) if part.labels else _first(part.inside[0])


def _last(part: Drawing) -> str:
    return list(part.labels)[-1] if part.labels else _last(part.inside[-1])


def _label(layer: Layer, shapes: bool, names: bool, opened: bool, said: Said) -> str:
    """What a node says: its name and class, those of the layer inside, the rest that is asked for, and the
    shapes."""
    name, kind = layer.name, type(layer).__name__
    if isinstance(layer, Wrapper) and not opened:
        name, kind = f"{name}({layer.layer.name})", f"{kind}({type(layer.layer).__name__})"
    label = "|".join([f"{name}: {kind}" if names else kind, *said.of(layer)])
    if not shapes:
        return label
    found = {"input": "multiple", "output": "multiple"}
    for which in found:
        with suppress(AttributeError, ModelError):
            found[which] = str(getattr(layer, f"{which}_shape"))
    return f"{label}\n|{{input:|output:}}|{{{{{found['input']}}}|{{{found['output']}}}}}"

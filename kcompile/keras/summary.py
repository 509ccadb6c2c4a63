"""`model.summary()`, laid out as Keras 2, tf.keras and Keras 3 print it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kcompile.keras.editions import edition
from kcompile_runtime.checks import check_count, check_number
from kcompile_runtime.errors import InputTypeError, describe
from kcompile_runtime.texts import printable

HEADS = ("Layer (type)", "Output Shape", "Param #", "Connected to")


@dataclass(frozen=True)
class Table:
    """How a table of layers looks: its width, and where columns end, for chains and for other models, as
    shares of the width or absolute."""

    chain: tuple[int, tuple[float, ...]]
    graph: tuple[int, tuple[float, ...]]

    def ends(self, chain: bool, line_length: int | None, positions: Sequence[float] | None) -> list[int]:
        width, shares = self.chain if chain else self.graph
        width, shares = line_length or width, tuple(positions or shares)
        return [int(width * p) if shares[-1] <= 1 else int(p) for p in shares]


TABLES = {
    "keras2": Table((65, (0.45, 0.85, 1.0)), (98, (0.33, 0.55, 0.67, 1.0))),
    "tf_keras": Table((65, (28, 54, 65)), (98, (28, 57, 67, 98))),
    "keras3": Table((75, (34, 59, 75)), (75, (22, 42, 55, 75))),
}


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
) -> None:
    """Print a table of the layers with output shapes and numbers of parameters, as the vintage of the model
    has it.

    A model that is not a chain gets a fourth column, the tensors that each layer is called on.
    positions: where columns end, as shares of line_length or absolute. print_fn: called with each line.
    """
    show = print if print_fn is None else print_fn
    if not callable(show):
        raise InputTypeError(describe("summary: print_fn", "a function of a line", repr(print_fn)))
    if line_length is not None:
        check_count("summary: line_length", line_length)
        check_number("summary: line_length", line_length, 1, 100_000)
    if positions is not None:
        if not isinstance(positions, (list, tuple)) or len(positions) < 3:
            raise InputTypeError(describe("summary: positions", "a list of 3 or 4 numbers", repr(positions)))
        positions = [check_number("summary: positions", p, 0) for p in positions]
    style = edition(model.vintage).summary
    chain = _is_chain(model)
    ends = TABLES[style].ends(chain, line_length, positions)
    lines = {"keras2": _keras2, "tf_keras": _tf_keras, "keras3": _keras3}[style]
    show(f'Model: "{printable(model.name)}"')
    for line in lines(_rows(model, chain, style), ends, _counts(model)):
        show(line)


# ---------------------------------------------------------------- what the table says


@dataclass(frozen=True)
class Row:
    """A layer: its fields, and the tensors it is called on."""

    name: str
    kind: str
    shape: str
    params: str
    sources: tuple[str, ...]


def _rows(model: Any, chain: bool, style: str) -> list[Row]:
    return [
        Row(
            printable(layer.name),
            printable(getattr(layer, "kind", type(layer).__name__)),
            _shape_of(layer, style),
            _params_of(layer, style),
            () if chain else tuple(_sources(model, layer)),
        )
        for layer in (model.layers if edition(model.vintage).own_layers else model.operations)
    ]


def _params_of(layer: Any, style: str) -> str:
    """The number of parameters; of a layer that a `call` does not use, why it is 0."""
    if not layer.built:
        return "0 (unbuilt)" if style == "keras3" else "0 (unused)"
    count = layer.count_params()
    return f"{count:,}" if style == "keras3" else str(count)


def _counts(model: Any) -> dict[str, tuple[int, int]]:
    """Numbers of parameters and their bytes: in all, trainable, and not."""
    trained, fixed = (
        [v.value for v in variables] for variables in (model.trainable_weights, model.non_trainable_weights)
    )
    kinds = {"Total": trained + fixed, "Trainable": trained, "Non-trainable": fixed}
    return {kind: (sum(a.size for a in found), sum(a.nbytes for a in found)) for kind, found in kinds.items()}


def _shape_of(layer: Any, style: str) -> str:
    try:
        shape = None if getattr(layer, "subclassed", False) else layer.output_shape
    except AttributeError:
        shape = None
    if shape is None:
        return "?" if style == "keras3" else "multiple"
    entry = not any(node.inputs for node in layer.nodes_made[:1])
    return f"[{shape}]" if style == "tf_keras" and entry else str(shape)


def _sources(model: Any, layer: Any) -> list[str]:
    """`layer[node][tensor]` for each tensor that the layer is called on in this model."""
    return [
        f"{printable(x.layer.name)}[{x.node_index}][{x.tensor_index}]"
        for node in model.nodes
        if node.layer is layer
        for x in node.inputs
    ]


def _is_chain(model: Any) -> bool:
    """Whether each layer is called once, on the output of the one before; or nobody knows, as `call` says."""
    if model.subclassed:
        return True
    calls = [node for node in model.nodes if node.inputs]
    once = len({id(node.layer) for node in model.nodes}) == len(model.nodes)
    ends = [y for node in calls for y in node.inputs]
    return (
        once
        and len(model.nodes) == len(calls) + 1
        and all(len(node.inputs) == 1 for node in calls)
        and len({id(y) for y in ends}) == len(ends)
    )


# ---------------------------------------------------------------- how it looks


def _keras2(rows: Sequence[Row], ends: Sequence[int], counts: dict[str, tuple[int, int]]) -> Iterator[str]:
    width = ends[-1]
    yield "_" * width
    yield _cut(HEADS[: len(ends)], ends)
    yield "=" * width
    for number, row in enumerate(rows, 1):
        first = (*row.sources, "")[: len(ends) - 3][:1]
        yield _cut([f"{row.name} ({row.kind})", row.shape, row.params, *first], ends)
        for source in row.sources[1:]:
            yield _cut(["", "", "", source], ends)
        yield ("=" if number == len(rows) else "_") * width
    for kind, (count, _) in counts.items():
        yield f"{kind} params: {count:,}"
    yield "_" * width


def _tf_keras(rows: Sequence[Row], ends: Sequence[int], counts: dict[str, tuple[int, int]]) -> Iterator[str]:
    width = ends[-1]
    widths = _widths(ends)
    yield "_" * width
    yield "".join(f" {head}".ljust(w) for head, w in zip(HEADS, widths))
    yield "=" * width
    for row in rows:
        sources = "[" + ",\n ".join(map(repr, row.sources)) + "]"
        columns = [
            *_wrapped([f"{row.name} ({row.kind})", row.shape, row.params], widths),
            sources.split("\n"),
        ]
        for fields in _lines(columns[: len(ends)]):
            yield "".join(f" {field}".ljust(w) for field, w in zip(fields, widths))
        yield " " * width
    yield "=" * width
    for kind, (count, size) in counts.items():
        yield f"{kind} params: {count} ({_size(size, 'Byte')})"
    yield "_" * width


def _keras3(rows: Sequence[Row], ends: Sequence[int], counts: dict[str, tuple[int, int]]) -> Iterator[str]:
    widths = [w - 3 for w in _widths(ends)]

    def rule(left: str, line: str, between: str, right: str) -> str:
        return left + between.join(line * (w + 2) for w in widths) + right

    def line(fields: Sequence[str], bar: str) -> str:
        padded = [f.rjust(w) if k == 2 else f.ljust(w) for k, (f, w) in enumerate(zip(fields, widths))]
        return f"{bar} " + f" {bar} ".join(padded) + f" {bar}"

    yield rule("┏", "━", "┳", "┓")
    yield line(HEADS, "┃")
    for number, row in enumerate(rows):
        yield rule("├", "─", "┼", "┤") if number else rule("┡", "━", "╇", "┩")
        label = [f"{row.name} ({row.kind})"]
        if len(label[0]) > widths[0]:
            label = [row.name, f"({row.kind})"]
        sources = (",\n".join(row.sources) or "-").split("\n")
        columns = [
            [part for text in label for part in _pieces(text, widths[0])],
            *_wrapped([row.shape, row.params], [w + 1 for w in widths[1:]]),
            [part for s in sources for part in _pieces(s, widths[-1])],
        ]
        for fields in _lines(columns[: len(ends)]):
            yield line(fields, "│")
    yield rule("└", "─", "┴", "┘")
    for kind, (count, size) in counts.items():
        yield f" {kind} params: {count:,} ({_size(size, 'B')})"


def _cut(fields: Sequence[Any], ends: Sequence[int]) -> str:
    """Each field cut off before its column's end, with a space between columns."""
    line = ""
    for number, (text, end) in enumerate(zip(fields, ends)):
        line = f"{line[:-1]} {text}" if number else str(text)
        line = line[:end].ljust(end)
    return line


def _widths(ends: Sequence[int]) -> list[int]:
    return [end - start for start, end in zip([0, *ends], ends)]


def _pieces(text: str, width: int) -> list[str]:
    return [text[k : k + width] for k in range(0, len(text), width)] or [""]


def _wrapped(texts: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """Each text in pieces that its column has room for, besides a space."""
    return [_pieces(text, max(width - 1, 1)) for text, width in zip(texts, widths)]


def _lines(columns: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for number in range(max(map(len, columns))):
        yield [column[number] if number < len(column) else "" for column in columns]


def _size(count: int, unit: str) -> str:
    """Bytes as `124.00 Byte`, `21.50 KB`."""
    size, units = float(count), [unit, "KB", "MB", "GB", "TB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.2f} {units[0]}"

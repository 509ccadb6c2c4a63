"""`model.summary()`, laid out as Keras 2, tf.keras and Keras 3 print it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from math import ceil
from typing import Any

from kcompile.keras.editions import edition
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, InputTypeError, describe
from kcompile_runtime.texts import printable

HEADS = ("Layer (type)", "Output Shape", "Param #", "Connected to")
TRAINABLE = "Trainable"


@dataclass(frozen=True)
class Table:
    """How a table of layers looks: its width, and where columns end as shares of it, for chains and for other
    models. trainable: by how much the column of what is trained makes it wider. by_window: the width is at
    most the terminal's, less 4."""

    chain: tuple[int, tuple[float, ...]]
    graph: tuple[int, tuple[float, ...]]
    trainable: int = 0
    by_window: bool = False


TABLES = {
    "ruled": Table((65, (0.45, 0.85, 1.0)), (98, (0.33, 0.55, 0.67, 1.0))),
    "titled": Table((65, (0.45, 0.85, 1.0)), (98, (0.3, 0.6, 0.7, 1.0)), 11),
    "boxed": Table((88, (0.45, 0.8, 1.0)), (108, (0.3, 0.56, 0.74, 1.0)), 12, True),
}


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print a table of the layers with output shapes and numbers of parameters, as the vintage of the model
    has it.

    A model that is not a chain gets a fourth column, the tensors that each layer is called on.
    positions: where columns end, as shares of line_length or (not in Keras 3) absolute. print_fn: called with
    each line, in Keras 3 once with all of it. Since tf.keras: expand_nested: layers of a model that is a
    layer are listed below it; show_trainable: a column says which layers are trained; layer_range: the names,
    or regular expressions of names, of the first and the last layer that are listed. Raises InputError,
    InputTypeError.
    """
    style = edition(model.vintage).summary
    expand_nested = check_flag("summary: expand_nested", expand_nested)
    show_trainable = check_flag("summary: show_trainable", show_trainable)
    if style == "ruled" and (expand_nested or show_trainable or layer_range is not None):
        wanted = "line_length, positions and print_fn, which Keras 2 has"
        remedy = "Set the vintage: kcompile.tf_keras, or kcompile.keras3"
        raise InputTypeError(
            describe("summary", wanted, "expand_nested, show_trainable or layer_range", remedy)
        )
    if print_fn is not None and not callable(print_fn):
        raise InputTypeError(describe("summary: print_fn", "a function of a line", repr(print_fn)))
    if line_length is not None:
        check_count("summary: line_length", line_length)
        check_number("summary: line_length", line_length, 1, 100_000)
    if positions is not None:
        if not isinstance(positions, (list, tuple)) or len(positions) < 3:
            raise InputTypeError(describe("summary: positions", "a list of 3 or 4 numbers", repr(positions)))
        positions = [check_number("summary: positions", p, 0) for p in positions]
    chain = _is_chain(model)
    layers = _chosen(model.layers if edition(model.vintage).own_layers else model.operations, layer_range)
    rows = list(_rows(model, layers, chain, style, expand_nested, show_trainable))
    heads = [*HEADS[: 3 if chain else 4], *([TRAINABLE] if show_trainable else [])]
    made = {"ruled": _keras2, "titled": _tf_keras, "boxed": _keras3}[style](
        rows, heads, _Widths(TABLES[style], chain, line_length, positions, show_trainable), _counts(model)
    )
    lines = [f'Model: "{printable(model.name)}"', *made]
    if style == "boxed" and print_fn is not None:
        print_fn("".join(f"{line}\n" for line in lines))
        return
    for line in lines:
        (print if print_fn is None else print_fn)(line)


def summary_as_html(model: Any) -> str:
    """The table of layers as HTML, with the layers of models inside, and numbers of parameters below."""
    style, chain = edition(model.vintage).summary, _is_chain(model)
    layers = model.layers if edition(model.vintage).own_layers else model.operations
    lines = [f"<p>Model: <b>{escape(printable(model.name))}</b></p>", "<table><tr>"]
    lines += [f'<th style="text-align: left">{head}</th>' for head in HEADS[: 3 if chain else 4]]
    for row in _flat(list(_rows(model, layers, chain, style, True, False))):
        name = f"{'&emsp;' * row.level}{escape(f'{row.name} ({row.kind})')}"
        cells = [name, escape(row.shape), row.params, *([] if chain else [escape(", ".join(row.sources))])]
        lines.append("</tr><tr>" + "".join(f'<td style="text-align: left">{cell}</td>' for cell in cells))
    lines.append("</tr></table>")
    counts = [f"{kind} params: {n:,} ({_size(size, 'B')})" for kind, (n, size) in _counts(model).items()]
    return "\n".join([*lines, f"<p>{'<br>'.join(counts)}</p>"])


@dataclass(frozen=True)
class _Widths:
    """What says where columns end."""

    table: Table
    chain: bool
    line_length: int | None
    positions: Sequence[float] | None
    trainable: bool

    def ends(self) -> list[int]:
        """Where columns end, as Keras 2 and tf.keras have it."""
        width, shares = self.table.chain if self.chain else self.table.graph
        width, shares = self.line_length or width, tuple(self.positions or shares)
        ends = [int(width * p) if shares[-1] <= 1 else int(p) for p in shares]
        return [*ends, width + self.table.trainable] if self.trainable else ends

    def length(self) -> int:
        """The length of rules between lines, in tf.keras."""
        width = self.line_length or (self.table.chain if self.chain else self.table.graph)[0]
        return width + (self.table.trainable if self.trainable else 0)

    def columns(self, count: int) -> list[int]:
        """The room of each column of Keras 3's table: all columns give way alike where the borders, and a
        space at either side, leave less room than they want. count: of columns. Raises InputError."""
        usual, shares = self.table.chain if self.chain else self.table.graph
        shares = tuple(self.positions or shares)
        if self.trainable:
            usual, shares = usual + self.table.trainable, (*(p * 0.9 for p in shares), 1.0)
        length = self.line_length or min(usual, shutil.get_terminal_size().columns - 4)
        ends = [0]
        for share in shares[:count]:
            ends.append(ends[-1] + int(share * length) - ends[-1])
            if ends[-1] - ends[-2] < 4:
                wanted = "columns of 4 characters or more"
                raise InputError(describe("summary: line_length and positions", wanted, str(shares)))
        widths = [end - start + 2 for start, end in pairwise(ends)]
        missing, weights = sum(widths) - (length - len(widths) - 1), list(widths)
        for number, width in enumerate(widths):
            if missing > 0:
                part = round(missing / (len(widths) - number))
            else:  # room that is left, by how wide columns are
                part = -ceil(-missing * width / sum(weights[number:]))
            widths[number] = max(width - part, 3)
            missing -= part
        return [width - 2 for width in widths]


# ---------------------------------------------------------------- what the table says


@dataclass(frozen=True)
class Row:
    """A layer: its fields, the tensors it is called on, whether it is trained ("Y", "N" or "-"), and of which
    level it is: 0 for the layers of the model. inside: the rows of a model's own layers."""

    name: str
    kind: str
    shape: str
    params: str
    sources: tuple[str, ...] = ()
    trained: str = ""
    level: int = 0
    inside: list[Row] = field(default_factory=list)


def _chosen(layers: Sequence[Any], bounds: Sequence[str] | None) -> Sequence[Any]:
    """The layers between the first that one of the names fits and the last that the other does, in either
    order."""
    if bounds is None:
        return layers
    if (
        not isinstance(bounds, (list, tuple))
        or len(bounds) != 2
        or not all(isinstance(b, str) for b in bounds)
    ):
        raise InputTypeError(describe("summary: layer_range", "two names of layers", repr(bounds)))
    try:
        first, last = ([k for k, layer in enumerate(layers) if re.match(b, layer.name)] for b in bounds)
    except re.error as error:
        wanted = "names of layers, or regular expressions"
        raise InputError(describe("summary: layer_range", wanted, f"{bounds!r} ({error})")) from None
    if not first or not last:
        wanted = "names among " + ", ".join(layer.name for layer in layers)
        raise InputError(describe("summary: layer_range", wanted, repr(bounds)))
    low, high = min(first), max(last)
    return layers[low : high + 1] if low <= high else layers[min(last) : max(first) + 1]


def _rows(
    model: Any, layers: Sequence[Any], chain: bool, style: str, nested: bool, trained: bool, level: int = 0
) -> Iterator[Row]:
    for layer in layers:
        row = Row(
            printable(layer.name),
            printable(_kind(layer)),
            _shape_of(layer, style),
            _params_of(layer, style),
            () if chain else tuple(_sources(model, layer)),
            _trained(layer, style) if trained else "",
            level,
        )
        if nested and hasattr(layer, "layers"):
            row.inside.extend(_rows(model, layer.layers, chain, style, nested, trained, level + 1))
        yield row


def _kind(layer: Any) -> str:
    """The name of the class. What Keras 2 calls a Model is of class Functional since."""
    kind = str(getattr(layer, "kind", type(layer).__name__))
    return "Functional" if kind == "Model" and edition(layer.vintage).eager else kind


def _trained(layer: Any, style: str) -> str:
    if style == "boxed" and not layer.weights:
        return "-"
    return "Y" if layer.trainable else "N"


def _params_of(layer: Any, style: str) -> str:
    """The number of parameters; of a layer that a `call` does not use, why it is 0."""
    if not layer.built:
        return "0 (unbuilt)" if style == "boxed" else "0 (unused)"
    count = layer.count_params()
    return f"{count:,}" if style == "boxed" else str(count)


def _counts(model: Any) -> dict[str, tuple[int, int]]:
    """Numbers of parameters and their bytes: in all, trainable, and not; in Keras 3 those of an optimizer
    that has begun to train too, whose whole numbers have 4 bytes."""
    kinds = {
        "Trainable": [v.array for v in model.trainable_weights],
        "Non-trainable": [v.array for v in model.non_trainable_weights],
    }
    counts = {
        kind: (sum(a.size for a in found), sum(a.nbytes for a in found)) for kind, found in kinds.items()
    }
    optimizer = model.optimizer
    if edition(model.vintage).summary == "boxed" and optimizer is not None and optimizer.built:
        sizes = [
            (v.array.size, v.array.size * (4 if v.array.dtype.kind == "i" else v.array.itemsize))
            for v in optimizer.stored_state(optimizer.built_for)
        ]
        counts["Optimizer"] = (sum(size for size, _ in sizes), sum(size for _, size in sizes))
    total = tuple(map(sum, zip(*counts.values())))
    return {"Total": (total[0], total[1]), **counts}


def _shape_of(layer: Any, style: str) -> str:
    try:
        shape = None if getattr(layer, "subclassed", False) else layer.output_shape
    except AttributeError:
        shape = None
    if shape is None:
        return "?" if style == "boxed" else "multiple"
    entry = not any(node.inputs for node in layer.nodes_made[:1])
    return f"[{shape}]" if style == "titled" and entry else str(shape)


def _sources(model: Any, layer: Any) -> list[str]:
    """`layer[node][tensor]` for each tensor that the layer is called on in this model. In Keras 2 alone the
    first node of a model is that it was made."""
    return [
        f"{printable(x.layer.name)}[{x.node_index - _own_nodes(x.layer)}][{x.tensor_index}]"
        for node in model.nodes
        if node.layer is layer
        for x in node.inputs
    ]


def _own_nodes(layer: Any) -> int:
    return int(hasattr(layer, "trainer") and bool(edition(layer.vintage).eager))


def _is_chain(model: Any) -> bool:
    """Whether each layer is called once, on the output of the one before; or nobody knows, as `call` says."""
    if not model.functional:
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


def _keras2(
    rows: Sequence[Row], heads: Sequence[str], widths: _Widths, counts: dict[str, tuple[int, int]]
) -> Iterator[str]:
    ends = widths.ends()
    width = ends[-1]
    yield "_" * width
    yield _cut(heads[: len(ends)], ends)
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


def _cut(fields: Sequence[Any], ends: Sequence[int]) -> str:
    """Each field cut off before its column's end, with a space between columns."""
    line = ""
    for number, (text, end) in enumerate(zip(fields, ends)):
        line = f"{line[:-1]} {text}" if number else str(text)
        line = line[:end].ljust(end)
    return line


def _tf_keras(
    rows: Sequence[Row], heads: Sequence[str], widths: _Widths, counts: dict[str, tuple[int, int]]
) -> Iterator[str]:
    length, ends = widths.length(), widths.ends()
    yield "_" * length
    yield from _broken(heads, ends)
    yield "=" * length
    yield from _levels(rows, len(heads), ends, length)
    yield "=" * length
    for kind, (count, size) in counts.items():
        yield f"{kind} params: {count} ({_size(size, 'Byte')})"
    yield "_" * length


def _levels(rows: Sequence[Row], columns: int, ends: Sequence[int], length: int) -> Iterator[str]:
    """The rows, each with those inside it in a box."""
    for number, row in enumerate(rows):
        bars, room = "|" * row.level, length - 2 * row.level
        fields = [f"{row.name} ({row.kind})", row.shape, row.params]
        fields += [str(list(row.sources))] if columns - bool(row.trained) == 4 else []
        yield from _broken([*fields, *([row.trained] if row.trained else [])], ends, row.level)
        if row.inside:
            yield f"{bars}|{'¯' * (room - 2)}|{bars}"
            yield from _levels(row.inside, columns, ends, length)
            yield f"{bars}{'¯' * room}{bars}"
        if not row.inside and (not row.level or number < len(rows) - 1):
            yield f"{bars}{' ' * room}{bars}"


def _broken(fields: Sequence[str], ends: Sequence[int], level: int = 0) -> Iterator[str]:
    """The lines of a row: a field goes on in the next line behind what closes a tuple, or where its column is
    full. Each column but the last leaves two characters free at its end, and one before it."""
    rest, bars = list(fields), "|" * level
    while any(rest):
        line = ""
        for column, (start, end) in enumerate(zip([0, *ends], ends[: len(rest)])):
            last = column == len(ends) - 1
            room = end - start - (0 if last else 3) - (0 if column else level)
            part = rest[column][:room]
            found = [part.find(mark) + len(mark) for mark in ("),", "},", "],", "',") if mark in part]
            cut = min(found) if found else room
            part, rest[column] = part[:cut], rest[column][cut:]
            line += ("" if column else f"{bars} ") + part + ("" if last else "  ")
            line = line.ljust(end - (level if last else 0))
        yield line + bars


def _keras3(
    rows: Sequence[Row], heads: Sequence[str], widths: _Widths, counts: dict[str, tuple[int, int]]
) -> Iterator[str]:
    rooms = widths.columns(len(heads))
    sides = ["right" if head == HEADS[2] else "center" if head == TRAINABLE else "left" for head in heads]

    def rule(left: str, line: str, between: str, right: str) -> str:
        return left + between.join(line * (w + 2) for w in rooms) + right

    def lines(fields: Sequence[str], bar: str, bottom: bool = False) -> Iterator[str]:
        columns = [_words(text, room) for text, room in zip(fields, rooms)]
        height = max(map(len, columns))
        free = [[""] * (height - len(column)) for column in columns]
        columns = [[*f, *c] if bottom else [*c, *f] for f, c in zip(free, columns)]
        for parts in zip(*columns):
            padded = (_padded(part, room, side) for part, room, side in zip(parts, rooms, sides))
            yield f"{bar} " + f" {bar} ".join(padded) + f" {bar}"

    yield rule("┏", "━", "┳", "┓")
    yield from lines(heads, "┃", bottom=True)
    for number, row in enumerate(_flat(rows)):
        yield rule("├", "─", "┼", "┤") if number else rule("┡", "━", "╇", "┩")
        name = f"{'   ' * row.level}└ {row.name}" if row.level else row.name
        fields = [f"{name} ({row.kind})", row.shape, row.params]
        fields += [", ".join(row.sources) or "-"] if len(heads) - bool(row.trained) == 4 else []
        yield from lines([*fields, row.trained], "│")
    yield rule("└", "─", "┴", "┘")
    for kind, (count, size) in counts.items():
        yield f" {kind} params: {count:,} ({_size(size, 'B')})"


def _flat(rows: Sequence[Row]) -> Iterator[Row]:
    for row in rows:
        yield row
        yield from _flat(row.inside)


def _padded(text: str, room: int, side: str) -> str:
    if side == "left":
        return text.ljust(room)
    before = room - len(text) if side == "right" else (room - len(text)) // 2
    return " " * before + text + " " * (room - len(text) - before)


def _words(text: str, room: int) -> list[str]:
    """The text in lines, broken between words; a word that no line has room for ends in an ellipsis."""
    lines, line = [], ""
    for word in re.findall(r"\s*\S+\s*", text):
        if line and len(line) + len(word.rstrip()) > room:
            lines.append(line)
            line = ""
        line += word
    cut = [found.rstrip() for found in (*lines, line)]
    return [found if len(found) <= room else f"{found[: room - 1]}…" for found in cut]


def _size(count: int, unit: str) -> str:
    """Bytes as `124.00 Byte`, `21.50 KB`."""
    size, units = float(count), [unit, "KB", "MB", "GB", "TB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.2f} {units[0]}"

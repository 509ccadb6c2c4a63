"""What was logged, epoch by epoch, as a chart: by matplotlib where it is installed, else as SVG of our own.

Enters: the epochs and the values of `History`. Leaves: a figure of matplotlib, or a `Chart`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from numbers import Real
from pathlib import Path
from typing import Any

from kcompile_runtime.errors import ExtraError, InputError, describe
from kcompile_runtime.texts import printable

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 380, 260, 56, 30, 34
COLOURS = {"": "#3b76b0", "val_": "#c8553d"}  # by how a name begins

Panels = dict[str, dict[str, list[float]]]


class Chart:
    """A chart as SVG, which notebooks show. text: the picture."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_svg_(self) -> str:
        return self.text

    def savefig(self, path: Any) -> None:
        """Write the picture. Raises ExtraError for a name that ends otherwise than in .svg."""
        if Path(path).suffix.lower() != ".svg":
            raise ExtraError(
                f'{path}: without matplotlib a chart is written as .svg alone: pip install "kcompile[plot]"'
            )
        Path(path).write_text(self.text + "\n", encoding="utf-8")


def plotted(epochs: Sequence[int], history: Mapping[str, Sequence[Any]], names: Any = None) -> Any:
    """The chart, a panel for each of the logs with that of validation in it. names: of logs, default all.
    Raises InputError for names that are none, and where nothing was logged."""
    panels = panels_of(history, names)
    try:
        from matplotlib import pyplot
    except ImportError:
        return Chart(svg(epochs, panels))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.8 * len(panels), 3.6), squeeze=False)
    for axis, (title, lines) in zip(axes[0], panels.items()):
        for name, values in lines.items():
            axis.plot([e + 1 for e in epochs], values, ".-", label=name, color=_colour(name))
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    return figure


def panels_of(history: Mapping[str, Sequence[Any]], names: Any = None) -> Panels:
    """The lines of each panel by their names. What is no number for each epoch is left out."""
    if isinstance(names, str):
        names = [names]
    known = {k: [float(v) for v in row] for k, row in history.items() if row and all(map(_is_number, row))}
    missing = [name for name in names or () if name not in known]
    if missing or not known:
        found = ", ".join(map(repr, known)) or "a History that was given to fit"
        raise InputError(describe("plot: names", f"of what was logged ({found})", repr(missing or "nothing")))
    panels: Panels = {}
    for name, values in known.items():
        title = name.removeprefix("val_")
        if names is None or name in names or title in names:
            panels.setdefault(title, {})[name] = values
    return panels


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) or getattr(value, "shape", None) == ()


def _colour(name: str) -> str:
    return COLOURS["val_" if name.startswith("val_") else ""]


def svg(epochs: Sequence[int], panels: Panels) -> str:
    """The panels side by side."""
    width = WIDTH * len(panels)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {HEIGHT}' width='{width}' "
        f"height='{HEIGHT}' role='img' style='background:#fff' font-family='system-ui, sans-serif' "
        "font-size='11'>"
    ]
    for number, (title, lines) in enumerate(panels.items()):
        parts += [f"<g transform='translate({number * WIDTH} 0)'>", *_panel(epochs, title, lines), "</g>"]
    return "\n".join([*parts, "</svg>"])


def _panel(epochs: Sequence[int], title: str, lines: Mapping[str, Sequence[float]]) -> list[str]:
    finite = [v for row in lines.values() for v in row if math.isfinite(v)] or [0.0]
    low, high = min(finite), max(finite)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - room, high + room
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)
    right, bottom = WIDTH - 14, HEIGHT - BOTTOM

    def x(epoch: float) -> float:
        return LEFT + (epoch - first) / (last - first) * (right - LEFT)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - TOP)

    parts = [
        f"<text x='{(LEFT + right) / 2}' y='16' text-anchor='middle' font-weight='600'>{_text(title)}</text>"
    ]
    for value in _ticks(low, high, 5):
        parts.append(
            f"<line x1='{LEFT}' x2='{right}' y1='{y(value):.1f}' y2='{y(value):.1f}' stroke='#e4e4e4'/>"
        )
        parts.append(f"<text x='{LEFT - 6}' y='{y(value) + 4:.1f}' text-anchor='end'>{value:.6g}</text>")
    for epoch in _ticks(first, last, 6):
        if epoch == int(epoch):
            parts.append(
                f"<text x='{x(epoch):.1f}' y='{bottom + 14}' text-anchor='middle'>{int(epoch) + 1}</text>"
            )
    parts.append(f"<text x='{(LEFT + right) / 2}' y='{HEIGHT - 5}' text-anchor='middle'>epoch</text>")
    for number, (name, values) in enumerate(lines.items()):
        colour, points = _colour(name), [(x(e), y(v)) for e, v in zip(epochs, values) if math.isfinite(v)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.6'/>")
        parts += [f"<circle cx='{a:.1f}' cy='{b:.1f}' r='2.2' fill='{colour}'/>" for a, b in points]
        parts.append(
            f"<text x='{right - 4}' y='{TOP + 12 + 14 * number}' text-anchor='end' fill='{colour}'>"
            f"{_text(name)}</text>"
        )
    return parts


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers between two."""
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _text(text: str) -> str:
    return escape(printable(text))

"""What was measured as a page: the machine, versions, every row, those that we lose first; and a chart.

Enters: the times of rows. Leaves: Markdown, and beside it an SVG picture.
"""

from __future__ import annotations

import datetime
import html
import math
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.engines import OURS
from benchmarks.session import clock
from benchmarks.worker import Row

WIDTH, LINE, LEFT = 760, 18, 250


@dataclass(frozen=True)
class Measured:
    """The seconds of each engine in each round of a row."""

    row: Row
    times: dict[str, np.ndarray]

    @property
    def best(self) -> str | None:
        """The fastest peer."""
        peers = {name: float(np.median(t)) for name, t in self.times.items() if name != OURS}
        return min(peers, key=lambda name: peers[name]) if peers else None

    @property
    def ratio(self) -> float | None:
        """The median over the rounds of the best peer's time over ours."""
        if self.best is None or OURS not in self.times:
            return None
        return float(np.median(self.times[self.best] / self.times[OURS]))

    @property
    def kind(self) -> str:
        if self.row.mode != "predict":
            return "training"
        return "predict, one sample" if self.row.batch == 1 else "predict, a batch"


def write(
    path: Path, measured: Sequence[Measured], versions: Sequence[str], threads: int, about: str
) -> None:
    """Write the page, and the chart beside it (suffix .svg)."""
    known = sorted((m for m in measured if m.ratio is not None), key=lambda m: m.ratio or 0.0)
    lines = [
        "# Measured",
        "",
        f"By `python -m benchmarks --report FILE` on {datetime.date.today()}: {about}, {threads} threads. "
        "Medians; a ratio is the median over the rounds of the best peer's time over ours, so above 1 we are "
        "faster. The results of all engines were compared before anything was timed. "
        + ", ".join(versions)
        + ".",
        "",
        *[
            f"- {name}: geometric mean {mean:.2f}, lowest {low:.2f} ({count} rows)"
            for name, mean, low, count in _means(known)
        ],
        "",
        f"![ratios]({path.with_suffix('.svg').name})",
        "",
        "| network | what | batch | kcompile | best peer | | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in known:
        row, best = m.row, m.best or ""
        ours, theirs = (clock(float(np.median(m.times[name]))) for name in (OURS, best))
        lines.append(
            f"| {row.benchmark} | {row.mode} | {row.batch} | {ours} | {theirs} | {best} | {m.ratio:.2f} |"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_suffix(".svg").write_text(_chart(known), encoding="utf-8")


def processor() -> str:
    """The processor's name, as Linux tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _means(known: Iterable[Measured]) -> Iterable[tuple[str, float, float, int]]:
    groups: dict[str, list[float]] = {}
    for m in known:
        groups.setdefault(m.kind, []).append(m.ratio or 1.0)
    for name, ratios in groups.items():
        yield name, math.exp(sum(map(math.log, ratios)) / len(ratios)), min(ratios), len(ratios)


def _chart(known: Sequence[Measured]) -> str:
    """A bar for each row, logarithmic, with a line at 1."""
    ratios = [m.ratio or 1.0 for m in known]
    low, high = math.log2(min([*ratios, 0.5])), math.log2(max([*ratios, 2.0]))

    def x(ratio: float) -> float:
        return LEFT + (math.log2(ratio) - low) / (high - low) * (WIDTH - LEFT - 50)

    height = LINE * len(known) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for k, (m, ratio) in enumerate(zip(known, ratios)):
        y = 6 + LINE * k
        begin, end = sorted((x(1.0), x(ratio)))
        name = html.escape(f"{m.row.benchmark} {m.row.mode} {m.row.batch}")
        colour = "#3b76b0" if ratio >= 1 else "#b0483b"
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{name}</text>',
            f'<rect x="{begin:.1f}" y="{y}" width="{max(end - begin, 1):.1f}" height="{LINE - 5}" '
            f'fill="{colour}"/>',
            f'<text x="{end + 4:.1f}" y="{y + 11}">{ratio:.2f}</text>',
        ]
    parts.append(f'<line x1="{x(1.0):.1f}" x2="{x(1.0):.1f}" y1="0" y2="{height - 22}" stroke="#222"/>')
    parts.append(
        f'<text x="{x(1.0):.1f}" y="{height - 8}" text-anchor="middle">best peer over us</text></svg>'
    )
    return "\n".join(parts) + "\n"

"""A profile as one HTML page: a roofline picture, the layers and the kernels as tables. It loads nothing.

Enters: a `Profile`. Leaves: text.
"""

from __future__ import annotations

import html as entities
import math
from collections.abc import Callable

from kcompile.profiling import KernelTime, Profile, spelt_time

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 860, 420, 70, 50, 20
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-size: 13px }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top }
th:last-child, td:last-child { text-align: left; word-break: break-word }
td.bar { width: 9rem } td.bar div { background: #3b76b0; height: .8rem }
svg text { font: 12px system-ui, sans-serif; fill: #333 } svg .grid { stroke: #e4e4e4 }
svg .limit { stroke: #222; stroke-width: 2; fill: none }
svg .kernel { fill: #3b76b0; fill-opacity: .6; stroke: #23496d }
"""


def html(profile: Profile) -> str:
    """The page. Circles of the picture have areas by the share of the time; what lies on the line is as fast
    as the machine allows."""
    title = entities.escape(f"{profile.model}: {profile.entry}")
    total = sum(k.seconds for k in profile.kernels) or 1.0
    about = (
        f"{profile.samples} samples, {profile.threads} threads, {profile.target}, {profile.precision}. "
        f"A call takes {spelt_time(profile.seconds)}, its {len(profile.kernels)} kernels "
        f"{spelt_time(total)}; at {profile.flops / 1e9:.0f} GFLOP/s and {profile.bandwidth / 1e9:.0f} GB/s, "
        f"which this machine reached beside, they would take {spelt_time(profile.floor)}."
    )
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{title}</title><style>{STYLE}</style></head><body>",
            f"<h1>{title}</h1><p>{entities.escape(about)}</p>",
            "<h2>Roofline</h2>",
            roofline(profile, total),
            "<h2>Layers</h2>",
            table(profile.by_layer(), total, lambda k: k.where),
            "<h2>Kernels</h2>",
            table(list(profile.kernels), total, lambda k: f"{k.where}: {k.label}"),
            "</body></html>",
        ]
    )


def table(rows: list[KernelTime], total: float, name: Callable[[KernelTime], str]) -> str:
    """Times of kernels or layers, of which all take `total`; name: what a row says of itself."""
    heads = "time", "share", "", "of floor", "GFLOP/s", "GB/s", "times", "what"
    lines = ["<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for k in rows:
        share, (speed, rate) = k.seconds / total, k.rates
        cells = [
            f"<td>{spelt_time(k.seconds)}</td><td>{share:.1%}</td>",
            f'<td class="bar"><div style="width:{100 * share:.1f}%"></div></td>',
            f"<td>{k.share:.0%}</td><td>{speed:.1f}</td>",
            f"<td>{rate:.1f}</td><td>{k.times}</td><td>{entities.escape(name(k))}</td>",
        ]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def roofline(profile: Profile, total: float) -> str:
    """A picture: operations a second over operations for each byte, both logarithmic, below what the machine
    allows."""
    shown = [k for k in profile.kernels if k.flops and k.bytes and k.seconds]
    ridge = profile.flops / profile.bandwidth
    across = [k.flops / k.bytes for k in shown] + [ridge / 16, ridge * 16]
    up = [k.flops / k.seconds for k in shown] + [profile.flops / 1e3, profile.flops * 2]
    x, y = _Scale(across, LEFT, WIDTH - 20), _Scale(up, HEIGHT - BOTTOM, TOP)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" aria-label="roofline">']
    for power in x.powers():
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{10.0**power:g}</text>'
        )
    for power in y.powers():
        at = y(10.0**power)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 20}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**power / 1e9:g}</text>')
    corners = [
        (10**x.low, profile.bandwidth * 10**x.low),
        (ridge, profile.flops),
        (10**x.high, profile.flops),
    ]
    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in corners)
    parts.append(f'<polyline class="limit" points="{line}"/>')
    for k in sorted(shown, key=lambda k: -k.seconds):
        radius = 3 + 25 * math.sqrt(k.seconds / total)
        what = entities.escape(f"{k.where}: {k.label}, {spelt_time(k.seconds)}")
        parts.append(
            f'<circle class="kernel" cx="{x(k.flops / k.bytes):.1f}" cy="{y(k.flops / k.seconds):.1f}" '
            f'r="{radius:.1f}"><title>{what}</title></circle>'
        )
    parts += [
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">operations a byte</text>',
        f'<text transform="rotate(-90 14 {HEIGHT / 2})" x="14" y="{HEIGHT / 2}" text-anchor="middle">'
        "GFLOP/s</text></svg>",
    ]
    return "\n".join(parts)


class _Scale:
    """A logarithmic axis over values, from `start` to `stop` in the picture."""

    def __init__(self, values: list[float], start: float, stop: float) -> None:
        self.low, self.high = math.log10(min(values)), math.log10(max(values))
        self.start, self.factor = start, (stop - start) / (self.high - self.low)

    def __call__(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) * self.factor

    def powers(self) -> range:
        """The powers of ten on it."""
        return range(math.ceil(self.low), math.floor(self.high) + 1)

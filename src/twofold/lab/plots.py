"""Plots as SVG: lines, ranges on a log axis, stacked bars. Numbers in, text out.

A plot is as wide as a phone, so that its text is read there, and grows with its page. Series are
told apart by dashes and by the words at them as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twofold.page import page_text

WIDTH, HEIGHT = 360, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 20, 36
ROW_HEIGHT = 34
BAR_HEIGHT = 26
CHAR_WIDTH = 6.6
"""Of a text, about; there is nothing here to measure it with."""
LEGEND_HEIGHT, SWATCH = 16, 26
MAX_TICKS = 6
PLOT_STYLE = """
:root{--batch:#2567a8;--live:#b3400f;--stored:#1a7f4b;--a:#2567a8;--b:#7a4fa3;--c:#5c6670;
--d:#b3400f;--e:#1a7f4b;--on:#fff}
@media (prefers-color-scheme:dark){:root{--batch:#7db4ee;--live:#ff9d66;--stored:#5fd093;
--a:#7db4ee;--b:#c9a5ee;--c:#a0aab2;--d:#ff9d66;--e:#5fd093;--on:#14181b}}
@media print{:root{--batch:#2567a8;--live:#b3400f;--stored:#1a7f4b;--a:#2567a8;--b:#7a4fa3;
--c:#5c6670;--d:#b3400f;--e:#1a7f4b;--on:#fff}*{print-color-adjust:exact;
-webkit-print-color-adjust:exact}}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(360px,100%),1fr));gap:14px}
.plots article{padding:12px 12px 8px}.plots td{white-space:nowrap}
svg text.name{fill:var(--ink)}svg text.on{fill:var(--on);font-weight:600}
path.line{fill:none;stroke-width:2}path.tick{stroke-width:1.5}
path.mark{stroke:var(--soft);stroke-dasharray:2 3;fill:none}
.line.batch,.tick.batch,.dot.batch{stroke:var(--batch)}.dot.batch{fill:var(--batch)}
.line.live,.tick.live,.dot.live{stroke:var(--live)}.dot.live{fill:var(--live)}
.line.stored,.tick.stored,.dot.stored{stroke:var(--stored)}.dot.stored{fill:var(--stored)}
.line.ideal{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 3}
path.line.second{stroke-dasharray:7 3}path.line.third{stroke-dasharray:2 3}
rect.a{fill:var(--a)}rect.b{fill:var(--b)}rect.c{fill:var(--c)}rect.d{fill:var(--d)}
rect.e{fill:var(--e)}
@media print{.plots{grid-template-columns:1fr}.plots svg{max-width:430px}}
""".replace("\n", "")
"""Of a page with plots. Colours have the names of what they stand for in a comparison."""


@dataclass(frozen=True)
class Axis:
    """From a number to a place.

    Attributes:
        low: Where it begins; above 0 if `is_log`.
        high: Where it ends.
        name: What it shows.
        shown: Writes a tick.
        is_log: Whether equal ways are equal ratios.
        ticks: Where ticks are; by themselves if empty.
    """

    low: float
    high: float
    name: str
    shown: Callable[[float], str]
    is_log: bool = False
    ticks: tuple[float, ...] = ()

    def share(self, value: float) -> float:
        """How far along a number is, 0 to 1; beyond an end it is at the end."""
        if self.is_log:
            value, low, high = (math.log10(max(x, 1e-300)) for x in (value, self.low, self.high))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / max(high - low, 1e-300)))

    @property
    def marks(self) -> tuple[float, ...]:
        """Where ticks are."""
        if self.ticks:
            return tuple(tick for tick in self.ticks if self.low <= tick <= self.high)
        if not self.is_log:
            step = _round_step((self.high - self.low) / (MAX_TICKS - 1))
            first = math.ceil(self.low / step)
            return tuple(step * n for n in range(first, math.floor(self.high / step + 1e-9) + 1))
        first, last = (
            math.ceil(math.log10(self.low) - 1e-9),
            math.floor(math.log10(self.high) + 1e-9),
        )
        every = max(1, math.ceil((last - first + 1) / MAX_TICKS))
        return tuple(10.0**power for power in range(first, last + 1, every))


def log_axis(
    values: Sequence[float],
    name: str,
    shown: Callable[[float], str],
    ticks: tuple[float, ...] = (),
) -> Axis:
    """An axis of whole powers of ten around numbers above 0."""
    kept = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(kept))), math.ceil(math.log10(max(kept)))
    return Axis(10.0**low, 10.0 ** max(high, low + 1), name, shown, is_log=True, ticks=ticks)


@dataclass(frozen=True)
class Line:
    """A series.

    Attributes:
        kind: Its class, which has its colour and dashes.
        points: x and y.
        name: Written above the plot; empty for none.
        has_dots: Whether its points are marked.
    """

    kind: str
    points: Sequence[tuple[float, float]]
    name: str = ""
    has_dots: bool = False


@dataclass(frozen=True)
class Range:
    """A distribution on one line.

    Attributes:
        kind: Its class.
        name: What it is of.
        marks: Percentiles: their names and values, ascending.
    """

    kind: str
    name: str
    marks: Sequence[tuple[str, float]]


def line_plot(
    label: str,
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    upright: Sequence[tuple[float, str]] = (),
    level: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines over two axes.

    Args:
        label: What a listener is told.
        lines: The series.
        x: Across.
        y: Upwards.
        upright: Marks across: where, and their words.
        level: The same along.
    """
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return LEFT + across * x.share(point[0]), TOP + up * (1 - y.share(point[1]))

    parts = [_grid(x, y)]
    for value, words in upright:
        at, _ = place((value, y.low))
        end = ' text-anchor="end"' if at > WIDTH / 2 else ""
        shift = -4 if end else 4
        parts.append(
            f'<path class="mark" d="M{at:.1f} {TOP}V{TOP + up}"/>'
            f'<text x="{at + shift:.1f}" y="{TOP + 9}"{end}>{page_text(words)}</text>'
        )
    for value, words in level:
        _, at = place((x.low, value))
        parts.append(
            f'<path class="mark" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT + 4}" y="{at - 4:.1f}">{page_text(words)}</text>'
        )
    for line in lines:
        places = [place(point) for point in line.points]
        if not places:
            continue
        drawn = "L".join(f"{at:.1f} {height:.1f}" for at, height in places)
        parts.append(f'<path class="line {line.kind}" d="M{drawn}"/>')
        if line.has_dots:
            parts += [
                f'<circle class="dot {line.kind}" cx="{at:.1f}" cy="{height:.1f}" r="3"/>'
                for at, height in places
            ]
    legend, below = _legend(lines)
    plot = f'<g transform="translate(0 {below})">{"".join(parts)}</g>'
    return _svg(label, legend + plot, HEIGHT + below)


def range_plot(label: str, ranges: Sequence[Range], x: Axis) -> str:
    """Distributions below one another on one axis: a line from the first mark to the last."""
    height = TOP + ROW_HEIGHT * len(ranges) + BOTTOM
    across = WIDTH - 2 * RIGHT
    parts = [_ticks(x, height, RIGHT, across, TOP)]
    for index, item in enumerate(ranges):
        y = TOP + index * ROW_HEIGHT + 22
        places = [(name, RIGHT + across * x.share(value), value) for name, value in item.marks]
        first, last = places[0], places[-1]
        end = max(last[1], first[1] + 1)
        parts.append(
            f'<text class="name" x="{RIGHT}" y="{y - 9}">{page_text(item.name)}</text>'
            f'<path class="line {item.kind}" d="M{first[1]:.1f} {y}H{end:.1f}"/>'
            f'<circle class="dot {item.kind}" cx="{first[1]:.1f}" cy="{y}" r="4"/>'
        )
        parts += [
            f'<path class="tick {item.kind}" d="M{at:.1f} {y - 5}v10"/>' for _, at, _ in places[1:]
        ]
    return _svg(label, "".join(parts), height)


def stack_plot(label: str, parts: Sequence[tuple[str, str, float]]) -> str:
    """One bar of several parts: each a class, a name and a size; narrow ones go without a name."""
    total = sum(size for _, _, size in parts) or 1.0
    drawn: list[str] = []
    at = 0.0
    for kind, name, size in parts:
        width = WIDTH * size / total
        drawn.append(
            f'<rect class="{kind}" x="{at:.2f}" y="0" width="{width:.2f}" height="{BAR_HEIGHT}"/>'
        )
        if width >= CHAR_WIDTH * len(name) + 8:
            drawn.append(
                f'<text class="on" x="{at + width / 2:.1f}" y="{BAR_HEIGHT / 2 + 4}" '
                f'text-anchor="middle">{page_text(name)}</text>'
            )
        at += width
    return _svg(label, "".join(drawn), BAR_HEIGHT)


def _grid(x: Axis, y: Axis) -> str:
    up = HEIGHT - TOP - BOTTOM
    parts = [_ticks(x, HEIGHT, LEFT, WIDTH - LEFT - RIGHT, TOP)]
    for tick in y.marks:
        at = TOP + up * (1 - y.share(tick))
        parts.append(
            f'<path class="axis" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 4}" y="{at + 4:.1f}" text-anchor="end">'
            f"{page_text(y.shown(tick))}</text>"
        )
    parts.append(f'<text x="0" y="{TOP - 8}">{page_text(y.name)}</text>')
    return "".join(parts)


def _ticks(x: Axis, height: int, left: int, across: int, top: int) -> str:
    parts: list[str] = []
    for tick in x.marks:
        at = left + across * x.share(tick)
        anchor = "end" if at > WIDTH - 24 else "start" if at < 20 else "middle"  # noqa: PLR2004
        parts.append(
            f'<path class="axis" d="M{at:.1f} {top}V{height - BOTTOM}"/>'
            f'<text x="{at:.1f}" y="{height - BOTTOM + 13}" text-anchor="{anchor}">'
            f"{page_text(x.shown(tick))}</text>"
        )
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{height - 6}" text-anchor="end">{page_text(x.name)}</text>'
    )
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> tuple[str, int]:
    """The names of lines above a plot, as many to a line as there is room for; and its height."""
    parts: list[str] = []
    x, y = 0.0, 0
    for line in lines:
        if not line.name:
            continue
        width = SWATCH + CHAR_WIDTH * len(line.name) + 14
        if x and x + width > WIDTH:
            x, y = 0.0, y + LEGEND_HEIGHT
        parts.append(
            f'<path class="line {line.kind}" d="M{x:.1f} {y + 8}h{SWATCH - 6}"/>'
            f'<text class="name" x="{x + SWATCH:.1f}" y="{y + 12}">{page_text(line.name)}</text>'
        )
        x += width
    return "".join(parts), y + LEGEND_HEIGHT + 4 if parts else 0


def _round_step(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(step, 1e-300)))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= step * (1 - 1e-9))


def _svg(label: str, body: str, height: int) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-label="{page_text(label)}">{body}</svg>'
    )

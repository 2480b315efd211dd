"""Charts as SVG, each with a table of what it shows. Text in, HTML out.

They are read at 320 pixels and on paper; what tells series apart is never their colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twofold.lab.scales import Scale, plain, scale_of, short
from twofold.page import page_text

WIDTH, HEIGHT = 320, 220
LEFT, RIGHT, BOTTOM = 44, 18, 40
CHAR_WIDTH = 6.4
"""Of a text, about; there is nothing here to measure it with."""
LEGEND_HEIGHT = 17
SWATCH_WIDTH = 30
BAR_HEIGHT = 22
NAME_CHARS = 20
MARKERS = (
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0",
    "M-3 -3h6v6h-6z",
    "M0 -4L4 3H-4z",
    "M0 -4L4 0L0 4L-4 0z",
    "M-3 -3L3 3M-3 3L3 -3",
)
"""One a series: circle, square, triangle, diamond, cross."""


@dataclass(frozen=True)
class Series:
    """A line.

    Attributes:
        name: What it is.
        points: x and y, by ascending x.
        is_reference: It wasn't measured, but is what others are held against: a thin line.
        is_area: What lies below it is shaded.
    """

    name: str
    points: Sequence[tuple[float, float]]
    is_reference: bool = False
    is_area: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Lines over a common axis; references are drawn, but not in the table.

    Args:
        series: At most five measured ones, and references.
        title: What is shown.
        x_label: What x is, with its unit.
        y_label: Likewise.
        log_x: Whether x is logarithmic; points that aren't above 0 are left out of the picture.
        log_y: Likewise.
    """
    x = scale_of([at for one in series for at, _ in one.points], is_log=log_x, max_ticks=5)
    y = scale_of([at for one in series for _, at in one.points], is_log=log_y)
    legend, top = _legend(series)
    plot = _Plot(x, y, top + 26)
    height = plot.top + HEIGHT
    drawn = [legend, plot.axes(x_label, y_label)]
    # References lie beneath what was measured.
    numbers = _numbers(series)
    order = sorted(numbers, key=lambda at: not series[at].is_reference)
    drawn += [plot.line(series[at], numbers[at]) for at in order]
    measured = [one for one in series if not one.is_reference]
    names = ", ".join(one.name for one in series)
    label = f"{title}: {names}; {y_label} over {x_label}"
    return _figure(title, _svg(label, "".join(drawn), height), _table(measured, x_label))


def bar_chart(bars: Sequence[tuple[str, float]], *, title: str, unit: str) -> str:
    """A bar for each value, from 0 on, the value beside it.

    Args:
        bars: Names and values, none below 0.
        title: What is shown.
        unit: Of the values.
    """
    most = max([value for _, value in bars] or [0.0]) or 1.0
    name_width = CHAR_WIDTH * min(max([len(name) for name, _ in bars] or [0]), NAME_CHARS) + 6
    room = WIDTH - name_width - 58
    drawn: list[str] = []
    for index, (name, value) in enumerate(bars):
        y = index * BAR_HEIGHT
        text = name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…"
        drawn.append(
            f'<text x="0" y="{y + 15}">{page_text(text)}</text>'
            f'<rect class="s0" x="{name_width:.1f}" y="{y + 4}" '
            f'width="{room * value / most:.1f}" height="{BAR_HEIGHT - 8}"/>'
            f'<text x="{name_width + room * value / most + 5:.1f}" y="{y + 15}">'
            f"{short(value)}</text>"
        )
    shown = ", ".join(f"{name} {short(value)} {unit}" for name, value in bars)
    rows = "".join(
        f'<tr><th scope="row">{page_text(name)}</th><td>{plain(value)}</td></tr>'
        for name, value in bars
    )
    head = f'<tr><th></th><th scope="col">{page_text(unit)}</th></tr>'
    svg = _svg(f"{title}: {shown}", "".join(drawn), max(len(bars), 1) * BAR_HEIGHT + 4)
    return _figure(title, svg, f"<thead>{head}</thead><tbody>{rows}</tbody>")


@dataclass(frozen=True)
class _Plot:
    x: Scale
    y: Scale
    top: float

    @property
    def bottom(self) -> float:
        return self.top + HEIGHT - BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * self.x.place(x)
        return across, self.bottom - (self.bottom - self.top) * self.y.place(y)

    def axes(self, x_label: str, y_label: str) -> str:
        drawn: list[str] = []
        for tick in self.y.ticks:
            _, y = self.at(self.x.low, tick)
            drawn.append(f'<path class="axis" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            drawn.append(
                f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>'
            )
        for tick in self.x.ticks:
            x, _ = self.at(tick, self.y.low)
            drawn.append(f'<path class="axis" d="M{x:.1f} {self.bottom:.1f}v4"/>')
            drawn.append(
                f'<text x="{x:.1f}" y="{self.bottom + 16:.1f}" text-anchor="middle">'
                f"{short(tick)}</text>"
            )
        drawn.append(
            f'<text x="{WIDTH - RIGHT}" y="{self.bottom + 33:.1f}" text-anchor="end">'
            f"{page_text(x_label)}</text>"
            f'<text x="0" y="{self.top - 14:.1f}">{page_text(y_label)}</text>'
        )
        return "".join(drawn)

    def line(self, one: Series, number: int) -> str:
        points = [self.at(x, y) for x, y in one.points if self.x.has(x) and self.y.has(y)]
        if not points:
            return ""
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if one.is_reference:
            return f'<path class="reference" d="{path}"/>'
        area = ""
        if one.is_area:
            (first, _), (last, _) = points[0], points[-1]
            under = f"L{last:.1f} {self.bottom:.1f}L{first:.1f} {self.bottom:.1f}z"
            area = f'<path class="area s{number}" d="{path}{under}"/>'
        marks = "".join(_marker(number, x, y) for x, y in points)
        return f'{area}<path class="line l{number}" d="{path}"/>{marks}'


def _numbers(series: Sequence[Series]) -> dict[int, int]:
    """The style of each series, by its place; references have one of their own."""
    measured = [at for at, one in enumerate(series) if not one.is_reference]
    numbers = {at: number % len(MARKERS) for number, at in enumerate(measured)}
    return {at: numbers.get(at, 0) for at in range(len(series))}


def _marker(number: int, x: float, y: float) -> str:
    kind = f"line l{number}" if number == len(MARKERS) - 1 else f"s{number}"
    return f'<path class="{kind}" d="{MARKERS[number]}" transform="translate({x:.1f} {y:.1f})"/>'


def _legend(series: Sequence[Series]) -> tuple[str, float]:
    """Above the plot; as many lines as it needs."""
    drawn: list[str] = []
    x, y = 0.0, 10.0
    numbers = _numbers(series)
    for at, one in enumerate(series):
        width = SWATCH_WIDTH + CHAR_WIDTH * len(one.name) + 8
        if x and x + width > WIDTH:
            x, y = 0.0, y + LEGEND_HEIGHT
        number = numbers[at]
        kind = "reference" if one.is_reference else f"line l{number}"
        drawn.append(f'<path class="{kind}" d="M{x:.1f} {y:.1f}h{SWATCH_WIDTH - 6}"/>')
        if not one.is_reference:
            drawn.append(_marker(number, x + (SWATCH_WIDTH - 6) / 2, y))
        drawn.append(
            f'<text x="{x + SWATCH_WIDTH:.1f}" y="{y + 4:.1f}">{page_text(one.name)}</text>'
        )
        x += width
    return "".join(drawn), y + LEGEND_HEIGHT / 2 + 4


def _table(series: Sequence[Series], x_label: str) -> str:
    heads = "".join(f'<th scope="col">{page_text(one.name)}</th>' for one in series)
    found = [dict(one.points) for one in series]
    rows: list[str] = []
    for x in sorted({x for one in found for x in one}):
        cells = "".join(f"<td>{plain(one[x]) if x in one else '-'}</td>" for one in found)
        rows.append(f'<tr><th scope="row">{plain(x)}</th>{cells}</tr>')
    head = f'<tr><th scope="col">{page_text(x_label)}</th>{heads}</tr>'
    return f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody>"


def _figure(title: str, svg: str, table: str) -> str:
    return (
        f'<figure class="chart"><figcaption>{page_text(title)}</figcaption>{svg}'
        "<details><summary>The figures of this chart</summary>"
        f'<div class="scroll"><table>{table}</table></div></details></figure>'
    )


def _svg(label: str, body: str, height: float) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height:.0f}" aria-label="{page_text(label)}">'
        f"{body}</svg>"
    )

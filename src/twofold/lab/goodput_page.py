"""A goodput curve as a page of HTML: what was offered, and what of it was answered in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from twofold.lab.capacity import PRECISION_RATIO, is_kept
from twofold.lab.findings import Level
from twofold.lab.histogram import SHARES
from twofold.lab.plots import PLOT_STYLE, Axis, Line, line_plot, log_axis
from twofold.lab.shown import shown_tick, shown_time
from twofold.page import page, page_text

OFFERED = "offered (requests/s)"
THREE_DIGITS = 100
RATE_KINDS = ("stored", "live second", "batch third", "live third")
SHARE_KINDS = ("batch", "batch second", "stored", "live second", "live")
"""Styles of the lines, of the rates and of the percentiles: see `plots.PLOT_STYLE`."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """What a server answered in time, by what was offered.

    Attributes:
        capacity_per_s: The highest rate that kept the objective; 0 if none did.
        slo_s: The objective: what p99 is held to.
        deadline_s: For how long an answer is in time.
        levels: What was offered for the curve, ascending.
        search: What was offered to find the capacity, ascending.
        limit: Why the capacity may be higher; else "".
        was_stopped: It was interrupted.
    """

    capacity_per_s: float
    slo_s: float
    deadline_s: float
    levels: list[Level]
    search: list[Level]
    limit: str
    was_stopped: bool


def render_goodput(
    curve: Curve, facts: Mapping[str, str], *, made_at: datetime | None = None
) -> str:
    """Write the page.

    Args:
        curve: What was measured.
        facts: What was asked, and how, by name.
        made_at: When; now, if it isn't said.
    """
    title = "Goodput: offered and answered in time"
    at = made_at or datetime.now(UTC)
    levels = curve.levels or curve.search
    parts = [
        f"<header><p>twofold lab load, {at:%Y-%m-%d %H:%M} UTC</p><h1>{title}</h1></header><main>",
        _warnings(curve),
        _figures(curve, levels),
        _plots(levels, curve.slo_s),
        _section("The rates of the curve", _table(levels)),
    ]
    if curve.levels and curve.search:
        searched = f"<details><summary>Rates tried: {len(curve.search)}</summary>"
        parts.append(
            _section("How the capacity was found", f"{searched}{_table(curve.search)}</details>")
        )
    parts += [_section("How it was measured", _facts(facts)), _download(curve, facts), "</main>"]
    return page(title, "".join(parts), PLOT_STYLE)


def goodput_plot(levels: Sequence[Level]) -> str:
    """What was answered in time, shed and failed, over what was offered; and the ideal."""
    most = max([level.offered_per_s for level in levels] or [1.0])
    lines = [Line("ideal", [(0.0, 0.0), (most, most)], "all in time")]
    rates = {
        "answered in time": [level.in_time_per_s for level in levels],
        "late": [level.answered_per_s - level.in_time_per_s for level in levels],
        "shed": [level.shed_per_s for level in levels],
        "failed": [level.failed_per_s for level in levels],
    }
    for kind, (name, found) in zip(RATE_KINDS, rates.items(), strict=True):
        if name == "answered in time" or any(rate > 0 for rate in found):
            points = [(level.offered_per_s, y) for level, y in zip(levels, found, strict=True)]
            lines.append(Line(kind, points, name, has_dots=True))
    return line_plot(
        f"Goodput: {', '.join(line.name for line in lines)}, over what was offered",
        lines,
        Axis(0.0, most, OFFERED, shown_tick),
        Axis(0.0, most, "requests/s", shown_tick),
    )


def latency_plot(levels: Sequence[Level], slo_s: float) -> str:
    """The percentiles that the counts bear, over what was offered."""
    lines: list[Line] = []
    for kind, share in zip(SHARE_KINDS, SHARES, strict=True):
        points = [
            (level.offered_per_s, level.latency.percentiles_s[share])
            for level in levels
            if share in level.latency.percentiles_s
        ]
        if points:
            lines.append(Line(kind, points, f"p{share}", has_dots=True))
    most = max([level.offered_per_s for level in levels] or [1.0])
    return line_plot(
        "Percentiles of the latency of what was answered, over what was offered",
        lines,
        Axis(0.0, most, OFFERED, shown_tick),
        log_axis([slo_s, *(y for line in lines for _, y in line.points)], "latency", shown_time),
        level=[(slo_s, "objective")],
    )


def _plots(levels: Sequence[Level], slo_s: float) -> str:
    return (
        '<section><div class="plots">'
        f"<article><h3>Goodput</h3>{goodput_plot(levels)}</article>"
        f"<article><h3>Latency of what was answered</h3>{latency_plot(levels, slo_s)}</article>"
        "</div></section>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{page_text(title)}</h2>{body}</section>"


def notes_on(curve: Curve) -> list[str]:
    """What whoever reads the figures has to know of them."""
    levels = curve.levels or curve.search
    found: list[str] = []
    if curve.was_stopped:
        found.append("The measurement was interrupted; this is what was measured until then.")
    if late := sum(not level.is_valid for level in levels):
        found.append(
            f"At {late} of {len(levels)} rates the load generator itself did not keep up: "
            "their figures are not those of the server."
        )
    if curve.limit:
        found.append(f"The capacity may be higher: {curve.limit}.")
    within = (1 + PRECISION_RATIO) * curve.capacity_per_s
    lost = [
        f"{level.offered_per_s:,.0f}/s"
        for level in curve.levels
        if level.is_valid and level.offered_per_s <= within and not is_kept(level, curve.slo_s)
    ]
    if lost:
        found.append(
            f"At {', '.join(lost)}, not above the capacity, the objective was not kept when it was "
            "measured again: server or machine are not steady, and the capacity is too high."
        )
    return found


def milliseconds(seconds: float) -> str:
    """Three digits, and never an exponent."""
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= THREE_DIGITS else f"{value:.3g}"


def _warnings(curve: Curve) -> str:
    found = notes_on(curve)
    if not found:
        return ""
    items = "".join(f"<li>{page_text(item)}</li>" for item in found)
    return f'<section class="warnings"><ul>{items}</ul></section>'


def _figures(curve: Curve, levels: Sequence[Level]) -> str:
    capacity = f"{curve.capacity_per_s:,.0f}/s" if curve.capacity_per_s else "none"
    best = max((level.in_time_per_s for level in levels), default=0.0)
    pairs = [
        (f"capacity: p99 within {curve.slo_s * 1e3:g} ms", capacity),
        ("most answered in time", f"{best:,.0f}/s"),
    ]
    if levels and levels[-1].offered_per_s > 0:
        last = levels[-1]
        ratio = last.in_time_per_s / best if best else 0.0
        pairs.append((f"of that, when {last.offered_per_s:,.0f}/s are offered", f"{ratio:.0%}"))
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<section><dl class="figures">{tiles}</dl></section>'


def _table(levels: Sequence[Level]) -> str:
    heads = ["offered/s", "in time/s", "late/s", "shed/s", "failed/s", "answers"]
    heads += [*(f"p{share} ms" for share in SHARES), "max ms", "generator late p99 ms", "valid"]
    rows: list[str] = []
    for level in levels:
        late = level.answered_per_s - level.in_time_per_s
        rates = [level.in_time_per_s, late, level.shed_per_s, level.failed_per_s]
        found = level.latency.percentiles_s
        cells = [f"{rate:,.1f}" for rate in rates] + [f"{level.latency.count:,}"]
        cells += [milliseconds(found[share]) if share in found else "-" for share in SHARES]
        cells += [milliseconds(level.latency.max_s), milliseconds(level.lateness_p99_s)]
        cells.append("yes" if level.is_valid else "no")
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{level.offered_per_s:,.1f}</th>{body}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        "<p><small>Latency counts from the instant a request was due. A percentile is shown where "
        "at least ten answers lie beyond it.</small></p>"
    )


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{page_text(name)}</th><td>{page_text(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f'<div class="scroll"><table class="facts">{rows}</table></div>'


def _download(curve: Curve, facts: Mapping[str, str]) -> str:
    text = msgspec.json.encode({"curve": curve, "facts": dict(facts)}).decode()
    return (
        '<section><p><a download="goodput.json" '
        f'href="data:application/json,{quote(text, safe="")}">All figures as JSON</a></p></section>'
    )

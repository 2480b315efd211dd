"""Plots of a run as SVG: shares now beside shares in the sample. Text in, text out."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape

from twofold.batch.statistics import Category, Histogram
from twofold.page import page_text

WIDTH, HEIGHT = 320, 120
BASE = 100
"""Where the bars stand; below are the labels."""
LABEL_CHARS = 20
"""Of a text beside its bar; wide ones, as those of Chinese, count twice."""
UNSEEN = "(not in the sample)"
BAR_HEIGHT = 18
NAME_WIDTH, SHARE_WIDTH = 136, 48


def histogram_plot(found: Histogram, name: str, *, ends: tuple[str, str]) -> str:
    """Bars of the run, and the sample as a line of steps over them.

    Args:
        found: The shares.
        name: Of the column.
        ends: What stands below the first and the last bar.
    """
    most = max([*found.shares, *found.sample_shares, 1e-9])
    count = max(len(found.shares), len(found.sample_shares), 1)
    step = WIDTH / count
    bars = "".join(
        f'<rect x="{index * step + 0.5:.1f}" y="{_top(share, most):.1f}" width="{step - 1:.1f}" '
        f'height="{BASE - _top(share, most):.1f}"/>'
        for index, share in enumerate(found.shares)
        if share
    )
    line = "".join(
        f"V{_top(share, most):.1f}H{(index + 1) * step:.1f}"
        for index, share in enumerate(found.sample_shares)
    )
    outline = f'<path class="then" d="M0 {BASE}{line}V{BASE}"/>' if line else ""
    return _svg(
        f"Distribution of {name} in the run (bars) and in the sample (line)",
        f'<g class="now">{bars}</g>{outline}<path class="axis" d="M0 {BASE}H{WIDTH}"/>'
        f'<text x="0" y="{HEIGHT - 5}">{page_text(ends[0])}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 5}" text-anchor="end">{page_text(ends[1])}</text>',
        HEIGHT,
    )


def category_plot(
    found: Sequence[Category],
    name: str,
    *,
    rows: int,
    sample_rows: int,
    unseen_rows: int = 0,
    limit: int = 8,
) -> str:
    """A bar of the run for each text, and a mark where the sample's would end.

    Args:
        found: The texts, the most frequent first.
        name: Of the column.
        rows: All rows of the run.
        sample_rows: All rows of the sample.
        unseen_rows: Rows with texts that the sample doesn't have; they have one bar.
        limit: Texts that are drawn.
    """
    shown = [*found[:limit]]
    if unseen_rows:
        shown.append(Category(value=UNSEEN, rows=unseen_rows, sample_rows=0))
    shares = [(item.rows / max(rows, 1), item.sample_rows / max(sample_rows, 1)) for item in shown]
    most = max([share for pair in shares for share in pair] or [1.0]) or 1.0
    room = WIDTH - NAME_WIDTH - SHARE_WIDTH
    lines: list[str] = []
    for index, (item, (now, then)) in enumerate(zip(shown, shares, strict=True)):
        y = index * BAR_HEIGHT
        mark = NAME_WIDTH + room * then / most
        lines.append(
            f'<text x="{NAME_WIDTH - 6}" y="{y + 13}" text-anchor="end">'
            f"{page_text(_short(item.value))}</text>"
            f'<rect class="now" x="{NAME_WIDTH}" y="{y + 3}" width="{room * now / most:.1f}" '
            f'height="{BAR_HEIGHT - 6}"/>'
        )
        if sample_rows:
            lines.append(f'<path class="then" d="M{mark:.1f} {y + 1}v{BAR_HEIGHT - 2}"/>')
        lines.append(f'<text x="{WIDTH}" y="{y + 13}" text-anchor="end">{now:.1%}</text>')
    label = f"Shares of {name} in the run (bars) and in the sample (marks)"
    return _svg(label, "".join(lines), max(len(shown), 1) * BAR_HEIGHT + 4)


def share_plot(parts: Sequence[tuple[str, int]], label: str) -> str:
    """One bar of several parts, each a class and its rows."""
    total = sum(rows for _, rows in parts) or 1
    drawn: list[str] = []
    x = 0.0
    for kind, rows in parts:
        width = WIDTH * rows / total
        drawn.append(
            f'<rect class="{escape(kind)}" x="{x:.2f}" y="0" width="{width:.2f}" height="14"/>'
        )
        x += width
    return _svg(label, "".join(drawn), 14, stretch=True)


def _top(share: float, most: float) -> float:
    return BASE - (BASE - 4) * share / most


def _short(text: str) -> str:
    if not text:
        return '""'
    room = LABEL_CHARS
    for at, sign in enumerate(text):
        room -= 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        if room < (1 if at < len(text) - 1 else 0):
            return text[:at] + "…"
    return text


def _svg(label: str, body: str, height: int, *, stretch: bool = False) -> str:
    how = ' preserveAspectRatio="none"' if stretch else ""
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height}"{how} '
        f'aria-label="{page_text(label)}">{body}</svg>'
    )

"""A run's manifest as one page of HTML: no script, nothing from elsewhere, pictures with tables.

All text of the manifest is foreign: names and categories are whatever the data has in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from twofold.batch.manifest import Manifest
from twofold.batch.plots import category_plot, histogram_plot, share_plot
from twofold.batch.statistics import Category, ColumnStatistics, Histogram, Numbers, Statistics
from twofold.batch.summary import FIX, instant
from twofold.page import page, page_text

MAX_PLOTS = 60
"""Columns that are drawn, those that drifted most; the table has all of them, up to the next."""
MAX_LISTED = 500
MAX_FILES = 20
MAX_WARNINGS = 8
"""Warnings that are seen at once; the others are folded."""
CODED = re.compile(r"dictionary<values=([^,>]+)[^>]*>")
DAY_CHARS = len("2026-01-31")
PLAIN = r"\1"
STABLE, SHIFTED = 0.1, 0.2
"""The customary grades of a PSI."""


def render_report(manifest: Manifest) -> str:
    """Write the report of a committed run."""
    title = f"{manifest.run_id}: {manifest.model.name}@{manifest.model.version}"
    statistics = manifest.statistics
    parts = [
        f"<header><p>twofold batch run</p><h1>{page_text(manifest.run_id)}</h1></header><main>",
        _warnings(statistics),
        _figures(manifest),
        _facts(manifest),
    ]
    if statistics is None:
        parts.append("<section><h2>Statistics</h2><p>This run was made without.</p></section>")
    else:
        parts += [
            _section("Predictions", _cards(statistics.predictions)),
            _section("Fields", _fields(statistics.fields)),
            _section("All columns", _columns_table(statistics)),
        ]
    parts += [_quarantine(manifest), _files(manifest), "</main>"]
    return page(title, "".join(parts))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{page_text(title)}</h2>{body}</section>"


def _warnings(statistics: Statistics | None) -> str:
    if statistics is None or not statistics.warnings:
        return ""
    # The same advice for each of them is given once.
    items = [
        f"<li>{page_text(item.removesuffix(FIX))}</li>" for item in statistics.warnings[:MAX_LISTED]
    ]
    listed = f"<ul>{''.join(items[:MAX_WARNINGS])}</ul>"
    if items[MAX_WARNINGS:]:
        rest = f"<ul>{''.join(items[MAX_WARNINGS:])}</ul>"
        count = len(statistics.warnings) - MAX_WARNINGS
        listed += f"<details><summary>{count:,} more</summary>{rest}</details>"
    title = _count(len(statistics.warnings), "warning")
    return f'<section class="warnings"><h2>{title}</h2>{listed}<p>{FIX}</p></section>'


def _figures(manifest: Manifest) -> str:
    elapsed_s = (manifest.finished_at - manifest.started_at).total_seconds()
    rate = f"{manifest.rows_in / elapsed_s:,.0f}" if elapsed_s > 0 else "-"
    drifts = manifest.statistics.columns if manifest.statistics else []
    most = f"{drifts[0].psi:.3g}" if drifts and drifts[0].psi is not None else "-"
    pairs = [
        ("rows in", f"{manifest.rows_in:,}"),
        ("predicted", f"{manifest.rows_predicted:,}"),
        ("quarantined", f"{manifest.rows_quarantined:,}"),
        ("rows/s, start to end", rate),
        ("largest drift (PSI)", most),
    ]
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)
    label = f"{manifest.rows_predicted} rows predicted, {manifest.rows_quarantined} quarantined"
    parts = [("now", manifest.rows_predicted), ("bad", manifest.rows_quarantined)]
    bar = share_plot(parts, label) if manifest.rows_in else ""
    return f'<section><dl class="figures">{tiles}</dl>{bar}</section>'


def _facts(manifest: Manifest) -> str:
    instants = [
        f"{at:%Y-%m-%d %H:%M:%S} UTC"
        for at in (manifest.started_at, manifest.finished_at, manifest.as_of)
    ]
    columns = [f"{item.name} {CODED.sub(PLAIN, item.type)}" for item in manifest.columns]
    pairs = [
        ("Model", f"{manifest.model.name}@{manifest.model.version}"),
        ("Model digest", manifest.model.digest),
        ("Input", manifest.input.given),
        ("Input format", f"{manifest.input.format}, {_count(len(manifest.input.files), 'file')}"),
        ("Input fingerprint", manifest.input.fingerprint),
        *zip(("Started", "Finished", "Input as of"), instants, strict=True),
        ("Key", manifest.key or "none"),
        ("Kept columns", ", ".join(manifest.keep) or "none"),
        ("Output columns", ", ".join(columns)),
    ]
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{page_text(value)}</td></tr>' for name, value in pairs
    )
    return _section("What ran", f'<div class="scroll"><table class="facts">{rows}</table></div>')


def _fields(fields: Sequence[ColumnStatistics]) -> str:
    drawn = _by_drift(fields)[:MAX_PLOTS]
    which = "Most drifted first."
    if len(fields) > len(drawn):
        which = f"The {len(drawn)} of {len(fields):,} fields that drifted most."
    legend = (
        '<p class="legend"><span class="now"></span> this run '
        '<span class="then"></span> the sample the model was packed with. '
        f"{which} The outer bars also count what lies beyond them. "
        "PSI: below 0.1 is usually taken for stable, above 0.2 for a shift; "
        "below what chance makes of it, it says nothing.</p>"
    )
    return legend + _cards(drawn)


def _cards(columns: Iterable[ColumnStatistics]) -> str:
    return f'<div class="cards">{"".join(_card(item) for item in columns)}</div>'


def _card(item: ColumnStatistics) -> str:
    facts = [f"nulls {item.null_ratio:.2%}"] if item.rows else ["no values in this run"]
    if item.rows and item.sample_rows:
        facts[0] += f" (sample {item.sample_null_ratio:.2%})"
    categories, unseen_rows = _categories(item)
    if unseen_rows:
        shown = ", ".join(category.value for category in item.unseen)
        facts.append(f"not in the sample {item.unseen_ratio:.2%}: {shown}")
    drawn = ""
    if item.histogram and item.numbers:
        drawn = histogram_plot(item.histogram, item.name, ends=_ends(item.histogram, item.type))
    elif item.rows and (categories or unseen_rows):
        drawn = category_plot(
            categories,
            item.name,
            rows=item.rows,
            sample_rows=item.sample_rows,
            unseen_rows=unseen_rows,
        )
    said = "".join(f"<p>{page_text(fact)}</p>" for fact in facts)
    title = f"<span>{page_text(item.name)} <small>{page_text(item.type)}</small></span>"
    return f"<article><h3>{title}{_badge(item)}</h3>{drawn}{said}{_beside(item)}</article>"


def _ends(found: Histogram, kind: str) -> tuple[str, str]:
    if kind != "timestamp":
        return f"{found.start:.4g}", f"{found.stop:.4g}"
    first, last = instant(found.start), instant(found.stop)
    days = first[:DAY_CHARS], last[:DAY_CHARS]
    return (first, last) if days[0] == days[1] else days


def _categories(item: ColumnStatistics) -> tuple[Sequence[Category], int]:
    """The texts to draw, and the rows of those that the sample lacks, if there is one."""
    if item.sample_rows:
        return item.categories, item.unseen_rows
    return (*item.categories, *item.unseen), 0


def _badge(item: ColumnStatistics) -> str:
    if item.psi is None:
        return ""
    if item.psi <= max(STABLE, item.psi_by_chance or 0.0):
        grade, word = "good", "stable"
    elif item.psi <= max(SHIFTED, item.psi_by_chance or 0.0):
        grade, word = "fair", "moved"
    else:
        grade, word = "poor", "shifted"
    return f'<span class="badge {grade}">PSI {item.psi:.3f} {word}</span>'


def _beside(item: ColumnStatistics) -> str:
    """The numbers behind a picture."""
    if item.numbers:
        pairs = [(name, getattr(item.numbers, name)) for name in NAMES]
        then = item.sample_numbers
        rows = [(name, value, getattr(then, name) if then else None) for name, value in pairs]
        rows += [
            (f"{float(ratio):.0%} below", value, then.quantiles.get(ratio) if then else None)
            for ratio, value in item.numbers.quantiles.items()
        ]
        body = [(name, _number(now), _number(before)) for name, now, before in rows]
    else:
        body = [
            (
                category.value,
                f"{category.rows / item.rows:.2%}" if item.rows else "-",
                f"{category.sample_rows / item.sample_rows:.2%}" if item.sample_rows else "-",
            )
            for category in (*item.categories, *item.unseen)
        ]
    if not body:
        return ""
    table = _table(("", "run", "sample"), body)
    return f"<details><summary>in numbers</summary>{table}</details>"


NAMES = ("mean", "deviation", "minimum", "maximum")


def _columns_table(statistics: Statistics) -> str:
    rows: list[tuple[str, ...]] = []
    for item in statistics.columns[:MAX_LISTED]:
        psi = "-" if item.psi is None else f"{item.psi:.4f}"
        chance = "-" if item.psi_by_chance is None else f"{item.psi_by_chance:.4f}"
        mean, then = _mean(item.numbers), _mean(item.sample_numbers)
        nulls = f"{item.null_ratio:.2%}" if item.rows else "-"
        unseen = f"{item.unseen_ratio:.2%}" if item.rows and item.sample_rows else "-"
        rows.append((item.name, item.type, psi, chance, mean, then, nulls, unseen))
    titles = ("column", "type", "PSI", "by chance", "mean", "in sample", "nulls", "unseen")
    more = len(statistics.columns) - len(rows)
    return _table(titles, rows) + (_more(more) if more else "")


def _more(count: int) -> str:
    return f"<p>and {count:,} more; the manifest lists them all.</p>"


def _mean(numbers: Numbers | None) -> str:
    return _number(numbers.mean) if numbers else "-"


def _quarantine(manifest: Manifest) -> str:
    reasons = manifest.statistics.quarantined if manifest.statistics else ()
    if not manifest.rows_quarantined:
        return _section("Quarantine", "<p>No row was set aside.</p>")
    said = (
        f"<p>{_count(manifest.rows_quarantined, 'row')} set aside; see quarantine.parquet. "
        "<code>twofold batch quarantine</code> writes the rows themselves, to be mended.</p>"
    )
    rows = [(item.field or "(row)", item.reason, f"{item.rows:,}") for item in reasons]
    listed = _table(("field", "reason", "rows"), rows) if rows else ""
    more = manifest.rows_quarantined - sum(item.rows for item in reasons)
    note = f"<p>and {_count(more, 'row')} for other reasons.</p>" if rows and more > 0 else ""
    return _section("Quarantine", said + listed + note)


def _files(manifest: Manifest) -> str:
    rows = [
        (file.name, f"{file.rows:,}", f"{file.bytes:,}", file.sha256)
        for file in manifest.files[:MAX_FILES]
    ]
    more = len(manifest.files) - len(rows)
    note = _more(more) if more else ""
    return _section("Files", _table(("file", "rows", "bytes", "SHA-256"), rows) + note)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{page_text(title)}</th>' for title in titles)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{page_text(cell)}</th>'
            if place == 0
            else f"<td>{page_text(cell)}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _by_drift(columns: Iterable[ColumnStatistics]) -> list[ColumnStatistics]:
    return sorted(columns, key=lambda item: -(item.psi or 0.0))


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.6g}"


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")

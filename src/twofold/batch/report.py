"""A run's manifest as one page of HTML: no script, nothing from elsewhere, pictures with tables.

All text of the manifest is foreign: names and categories are whatever the data has in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from twofold.batch.manifest import Manifest
from twofold.batch.plots import category_plot, histogram_plot, share_plot
from twofold.batch.report_style import STYLE
from twofold.batch.statistics import ColumnStatistics, Numbers, Statistics

MAX_PLOTS = 60
"""Columns that are drawn, those that drifted most; the table has all of them, up to the next."""
MAX_LISTED = 500
MAX_FILES = 20
STABLE, SHIFTED = 0.1, 0.2
"""The customary grades of a PSI."""


def render_report(manifest: Manifest) -> str:
    """Write the report of a committed run."""
    title = f"{manifest.run_id}: {manifest.model.name}@{manifest.model.version}"
    statistics = manifest.statistics
    parts = [
        f"<header><p>twofold batch run</p><h1>{escape(manifest.run_id)}</h1></header><main>",
        _warnings(statistics),
        _figures(manifest),
        _facts(manifest),
    ]
    if statistics is None:
        parts.append("<section><h2>Statistics</h2><p>This run was made without.</p></section>")
    else:
        parts += [
            _section("Predictions", _cards(statistics.predictions)),
            _section("Fields", _legend() + _cards(_by_drift(statistics.fields)[:MAX_PLOTS])),
            _section("All columns", _columns_table(statistics)),
        ]
    parts += [_quarantine(manifest), _files(manifest), "</main>"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"{''.join(parts)}</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _warnings(statistics: Statistics | None) -> str:
    if statistics is None or not statistics.warnings:
        return ""
    items = "".join(f"<li>{escape(item)}</li>" for item in statistics.warnings[:MAX_LISTED])
    count = len(statistics.warnings)
    title = "1 warning" if count == 1 else f"{count} warnings"
    return f'<section class="warnings"><h2>{title}</h2><ul>{items}</ul></section>'


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
    return f'<section><dl class="figures">{tiles}</dl>{share_plot(parts, label)}</section>'


def _facts(manifest: Manifest) -> str:
    instants = [
        f"{instant:%Y-%m-%d %H:%M:%S} UTC"
        for instant in (manifest.started_at, manifest.finished_at, manifest.as_of)
    ]
    pairs = [
        ("Model", f"{manifest.model.name}@{manifest.model.version}"),
        ("Model digest", manifest.model.digest),
        ("Input", manifest.input.given),
        ("Input format", f"{manifest.input.format}, {_count(len(manifest.input.files), 'file')}"),
        ("Input fingerprint", manifest.input.fingerprint),
        ("Input as of", instants[2]),
        ("Started", instants[0]),
        ("Finished", instants[1]),
        ("Key", manifest.key or "none"),
        ("Kept columns", ", ".join(manifest.keep) or "none"),
        ("Output columns", ", ".join(f"{item.name} {item.type}" for item in manifest.columns)),
    ]
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in pairs
    )
    return _section("What ran", f'<div class="scroll"><table class="facts">{rows}</table></div>')


def _legend() -> str:
    return (
        '<p class="legend"><span class="now"></span> this run '
        '<span class="then"></span> the sample the model was packed with. '
        "Most drifted first. PSI: below 0.1 is usually taken for stable, above 0.2 for a shift; "
        "below what chance makes of it, it says nothing.</p>"
    )


def _cards(columns: Iterable[ColumnStatistics]) -> str:
    return f'<div class="cards">{"".join(_card(item) for item in columns)}</div>'


def _card(item: ColumnStatistics) -> str:
    facts = [f"nulls {item.null_ratio:.2%}"]
    if item.sample_rows:
        facts[0] += f" (sample {item.sample_null_ratio:.2%})"
    if item.unseen_rows:
        shown = ", ".join(category.value for category in item.unseen)
        facts.append(f"unseen {item.unseen_ratio:.2%}: {shown}")
    drawn = ""
    if item.histogram and item.numbers:
        ends = (f"{item.histogram.start:.4g}", f"{item.histogram.stop:.4g}")
        if item.type == "timestamp":
            low, high = (str(item.numbers.quantiles[ratio]) for ratio in ("0.01", "0.99"))
            ends = (low[:10], high[:10])
        drawn = histogram_plot(item.histogram, item.name, ends=ends)
    elif item.categories:
        drawn = category_plot(
            item.categories, item.name, rows=item.rows, sample_rows=item.sample_rows
        )
    said = "".join(f"<p>{escape(fact)}</p>" for fact in facts)
    return (
        f"<article><h3>{escape(item.name)} <small>{escape(item.type)}</small>{_badge(item)}</h3>"
        f"{drawn}{said}{_beside(item)}</article>"
    )


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
                f"{category.rows / max(item.rows, 1):.2%}",
                f"{category.sample_rows / max(item.sample_rows, 1):.2%}",
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
        nulls, unseen = f"{item.null_ratio:.2%}", f"{item.unseen_ratio:.2%}"
        rows.append((item.name, item.type, psi, chance, mean, then, nulls, unseen))
    titles = ("column", "type", "PSI", "by chance", "mean", "in sample", "nulls", "unseen")
    return _table(titles, rows)


def _mean(numbers: Numbers | None) -> str:
    return _number(numbers.mean) if numbers else "-"


def _quarantine(manifest: Manifest) -> str:
    reasons = manifest.statistics.quarantined if manifest.statistics else ()
    if not manifest.rows_quarantined:
        return _section("Quarantine", "<p>No row was set aside.</p>")
    said = f"<p>{_count(manifest.rows_quarantined, 'row')} set aside; see quarantine.parquet.</p>"
    rows = [(item.field or "(row)", item.reason, f"{item.rows:,}") for item in reasons]
    return _section("Quarantine", said + _table(("field", "reason", "rows"), rows))


def _files(manifest: Manifest) -> str:
    rows = [
        (file.name, f"{file.rows:,}", f"{file.bytes:,}", file.sha256)
        for file in manifest.files[:MAX_FILES]
    ]
    more = len(manifest.files) - len(rows)
    note = f"<p>and {more:,} more; the manifest lists them all.</p>" if more else ""
    return _section("Files", _table(("file", "rows", "bytes", "SHA-256"), rows) + note)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(cell)}</th>' if place == 0 else f"<td>{escape(cell)}</td>"
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

"""A comparison as one page of HTML: no script, nothing from elsewhere, a table behind each plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twofold.lab.compare_costs import ASKED_RATIOS, Derived, work_cost
from twofold.lab.compare_tables import (
    CAVEATS,
    Table,
    batch_sizes,
    batch_split,
    break_evens,
    distributions,
    facts,
    freshness,
    latencies,
    loads,
    median,
    overhead,
    overhead_parts,
    side_by_side,
    summary,
)
from twofold.lab.costs import DayCost, Mode
from twofold.lab.findings import Findings
from twofold.lab.needs import DAY_S
from twofold.lab.plots import (
    PLOT_STYLE,
    Axis,
    Line,
    Range,
    line_plot,
    log_axis,
    range_plot,
    stack_plot,
)
from twofold.lab.shown import (
    shown_bytes,
    shown_cost,
    shown_count,
    shown_number,
    shown_tick,
    shown_time,
)
from twofold.page import page, page_text

STYLE = """
.lead{font-size:1.1rem;max-width:50rem}.lead p{margin:0 0 8px}
.figures{grid-template-columns:repeat(auto-fit,minmax(min(210px,45%),1fr))}
.keys{display:flex;flex-wrap:wrap;gap:2px 14px;margin:6px 0;padding:0;list-style:none;
font-size:.85rem}.keys li::before{content:"";display:inline-block;width:10px;height:10px;
margin-right:5px;background:var(--key)}
.figures div span{display:block;color:var(--soft);font-size:.85rem}
.scroll:focus-visible{outline:2px solid var(--now)}
td,tbody th{padding:5px 12px 5px 0}caption{text-align:left;color:var(--soft)}
@media (max-width:520px){section>.scroll tbody th{min-width:5.5rem}
section>.scroll table{font-size:.8rem}}
@media print{details:not([open])::details-content{content-visibility:visible;display:block}
.scroll{overflow:visible}
table{font-size:8.5pt}details>summary{display:none}
section{break-inside:auto}h2{break-after:avoid}.figures{grid-template-columns:repeat(4,1fr)}}
""".replace("\n", "")

SLOTS = ("a", "b", "c", "d", "e")
TIME_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, DAY_S)
WIDE_TIME_TICKS = (1e-6, 1e-4, 1e-2, 1.0, 60.0, 3_600.0, DAY_S)
AGE_TICKS = (60.0, 600.0, 3_600.0, 4 * 3_600.0, DAY_S, 7 * DAY_S)


def render_page(found: Findings, derived: Derived) -> str:
    """Write the report of a comparison as one page."""
    title = f"{found.model}@{found.version}: batch, real-time, hybrid"
    lead = "".join(f"<p>{page_text(line)}</p>" for line in summary(found, derived))
    quick = " A quick look: figures are rough." if found.is_quick else ""
    about = f"{page_text(found.input)}, {found.made_at:%Y-%m-%d %H:%M} UTC.{quick}"
    parts = [
        f"<header><p>twofold lab compare</p><h1>{page_text(title)}</h1><p>{about}</p></header>",
        "<main>",
        f'<section class="lead" aria-label="Summary">{lead}</section>',
        _tiles(found, derived),
        _section("Side by side", _table(side_by_side(found, derived))),
        _section("Latency per data point", _latency(found)),
        _section("Batch", _batch(found)),
        _section("Real time", _real_time(found)),
        _section("Costs", _costs(derived)),
        _section("Where, how, and what to keep in mind", _method(found)),
        "</main>",
    ]
    return page(title, "".join(parts), PLOT_STYLE + STYLE)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{page_text(title)}</h2>{body}</section>"


def _tiles(found: Findings, derived: Derived) -> str:
    live, stored, batch = found.real_time, found.hybrid, found.batch
    million = derived.per_million
    pairs = [
        ("batch run", shown_time(batch.wall_s), f"{batch.rows:,} rows"),
        ("live, one client", shown_time(median(live.alone)), "p50 over HTTP"),
        ("stored, one client", shown_time(median(stored.alone)), "p50 over HTTP"),
        (
            "live capacity",
            _rate(live.capacity_per_s),
            f"requests/s, p99 within {shown_time(live.slo_s)}",
        ),
        ("a million in batch", shown_cost(million[Mode.BATCH]), "of the core-hour's currency"),
        ("a million live", shown_cost(million[Mode.REAL_TIME]), "the same"),
        ("a million stored", shown_cost(million[Mode.HYBRID]), "the same"),
        ("memory", shown_bytes(live.memory_bytes), f"server, {live.workers} workers"),
    ]
    tiles = "".join(
        f"<div><dt>{page_text(name)}</dt><dd>{page_text(value)} <span>{page_text(note)}</span></dd>"
        "</div>"
        for name, value, note in pairs
    )
    return f'<section aria-label="Figures"><dl class="figures">{tiles}</dl></section>'


def _rate(per_s: float | None) -> str:
    return "not measured" if per_s is None else shown_number(per_s)


def _latency(found: Findings) -> str:
    items = distributions(found)
    kinds = [_kind(name) for name, _ in items]
    ranges = [
        Range(kind, name, _marks(latency.percentiles_s, latency.mean_s))
        for kind, (name, latency) in zip(kinds, items, strict=True)
    ]
    values = [value for item in ranges for _, value in item.marks]
    x = log_axis(values, "from asking, or coming, to the answer", shown_time, WIDE_TIME_TICKS)
    plot = range_plot("Latency per data point of each mode on a logarithmic axis", ranges, x)
    return (
        f'<div class="plots"><article><h3>The middle and the slow end of each mode</h3>{plot}'
        "<p>A dot at the median; strokes at p90, p99 and p99.9.</p></article>"
        f"<article><h3>In numbers</h3>{_table(latencies(found))}</article></div>"
    )


def _kind(name: str) -> str:
    return next(kind for kind in ("stored", "live", "batch") if name.startswith(kind))


def _marks(percentiles_s: dict[str, float], mean_s: float) -> list[tuple[str, float]]:
    wanted = ("50", "90", "99", "99.9")
    found = [(f"p{share}", percentiles_s[share]) for share in wanted if share in percentiles_s]
    return found or [("mean", mean_s)]


def _batch(found: Findings) -> str:
    batch = found.batch
    parts = [
        ("waiting for its partition", batch.wait_s.mean_s),
        ("compute", batch.compute_s.mean_s),
        ("commit", batch.commit_s.mean_s),
    ]
    said = f"What a row waits for within the run: {_spoken(parts)}"
    split = _stacked(said, parts)
    return (
        '<div class="plots"><article><h3>What a row waits for within the run</h3>'
        f"{split}{_table(batch_split(found))}</article>"
        f"<article><h3>What a run costs whatever its size</h3>{_table(batch_sizes(found))}"
        f"<p>{shown_bytes(batch.peak_memory_bytes)} of memory at most; "
        f"{batch.rows_quarantined:,} rows set aside.</p></article></div>"
    )


def _stacked(label: str, parts: Sequence[tuple[str, float]]) -> str:
    total = sum(size for _, size in parts) or 1.0
    slots = dict(zip((name for name, _ in parts), SLOTS, strict=False))
    drawn = stack_plot(label, [(slots[name], name, size) for name, size in parts])
    keys = "".join(
        f'<li style="--key:var(--{slots[name]})">{page_text(name)} {shown_time(size)}, '
        f"{size / total:.0%}</li>"
        for name, size in parts
    )
    return f'{drawn}<ul class="keys">{keys}</ul>'


def _spoken(parts: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {shown_time(size)}" for name, size in parts)


def _real_time(found: Findings) -> str:
    parts = overhead_parts(found)
    split = _stacked(f"Where the time of a live request goes: {_spoken(parts)}", parts)
    first = (
        "<article><h3>Where the time of a lone request goes</h3>"
        f"{split}{_behind(overhead(found))}</article>"
    )
    if not found.real_time.levels:
        said = "<article><h3>Under load</h3><p>Rates weren't measured; see below why.</p></article>"
        return f'<div class="plots">{first}{said}</div>'
    return f'<div class="plots">{_goodput(found)}{_waits(found)}{first}</div>'


def _goodput(found: Findings) -> str:
    live = found.real_time
    most = max(level.offered_per_s for level in live.levels)
    axis = Axis(0.0, most, "offered, requests/s", shown_tick)
    top = max(level.in_time_per_s for level in live.levels) * 1.15 or 1.0
    points = [(level.offered_per_s, level.in_time_per_s) for level in live.levels]
    lines = [
        Line("ideal", [(0.0, 0.0), (min(most, top), min(most, top))]),
        Line("live", [(0.0, 0.0), *points], has_dots=True),
    ]
    upright = [(live.capacity_per_s, "capacity")] if live.capacity_per_s else []
    slo = shown_time(live.slo_s)
    plot = line_plot(
        f"Answers within {slo} against requests offered, a second", lines, axis,
        Axis(0.0, top, f"answered within {slo}, requests/s", shown_tick), upright=upright,
    )  # fmt: skip
    return (
        f"<article><h3>Goodput under load</h3>{plot}"
        "<p>The thin line: everything in time. What is missing to it was answered late or refused."
        f"</p>{_behind(loads(found))}</article>"
    )


def _waits(found: Findings) -> str:
    live = found.real_time
    p50 = _over(found, "50")
    p99 = _over(found, "99")
    values = [y for _, y in (*p50, *p99)] + [live.slo_s]
    most = max(level.offered_per_s for level in live.levels)
    plot = line_plot(
        "Median and 99th percentile of live answers against requests offered a second",
        [Line("live", p50, "p50", has_dots=True), Line("live second", p99, "p99", has_dots=True)],
        Axis(0.0, most, "offered, requests/s", shown_tick),
        log_axis(values, "latency", shown_time, TIME_TICKS),
        level=[(live.slo_s, "objective")],
    )
    return f"<article><h3>Latency under load</h3>{plot}</article>"


def _over(found: Findings, share: str) -> list[tuple[float, float]]:
    return [
        (level.offered_per_s, level.latency.percentiles_s[share])
        for level in found.real_time.levels
        if share in level.latency.percentiles_s
    ]


def _costs(derived: Derived) -> str:
    assumed = derived.assumed
    ages = freshness(derived)
    return (
        f'<div class="plots"><article><h3>Cost against freshness</h3>{_freshness_plot(derived)}'
        f"<p>{page_text(ages.note)}</p>{_behind(ages)}</article>"
        f"<article><h3>Break-even</h3>{_days_plot(derived)}"
        f"<p>A batch of all rows once a day, against live predictions of those that are asked for, "
        f"at {shown_cost(assumed.cost_per_core_hour)} a core-hour.</p>"
        f"{_table(break_evens(derived))}</article></div>"
    )


def _freshness_plot(derived: Derived) -> str:
    def line(kind: str, name: str, days: Sequence[DayCost | None]) -> Line:
        points = [
            (point.age_s, work_cost(day.work_core_s, derived.assumed))
            for point, day in zip(derived.points, days, strict=True)
            if day is not None
        ]
        return Line(kind, points, name)

    points = derived.points
    lines = [
        line("batch", "batch", [point.batch for point in points]),
        line("live second", "real-time", [point.real_time for point in points]),
        line("stored third", "hybrid", [point.hybrid for point in points]),
    ]
    first, last = points[0].age_s, points[-1].age_s
    return line_plot(
        "Cost of a day of each mode against how old what is predicted from may be",
        lines,
        Axis(first, last, "may be so old", shown_time, is_log=True, ticks=AGE_TICKS),
        log_axis([y for one in lines for _, y in one.points], "cost of a day", shown_cost),
    )


def _days_plot(derived: Derived) -> str:
    days = derived.days
    lines = [Line("batch", [(day.rows, day.batch) for day in days], "batch, all rows")]
    kinds = ("live third", "live second", "live")
    lines += [
        Line(kind, [(day.rows, day.live[at]) for day in days], f"live, {ratio:.0%} asked for")
        for at, (ratio, kind) in enumerate(zip(ASKED_RATIOS, kinds, strict=True))
    ]
    return line_plot(
        "Cost of a day in batch and live against rows a day",
        lines,
        log_axis([day.rows for day in days], "rows", shown_count),
        log_axis([y for one in lines for _, y in one.points], "cost of a day", shown_cost),
    )


def _method(found: Findings) -> str:
    notes = "".join(f"<li>{page_text(line)}</li>" for line in (*found.notes, *CAVEATS))
    rows = "".join(
        f'<tr><th scope="row">{page_text(name)}</th><td>{page_text(value)}</td></tr>'
        for name, value in facts(found).rows
    )
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Where and how">'
    return f'{scroll}<table class="facts">{rows}</table></div><ul>{notes}</ul>'


def _behind(table: Table) -> str:
    """The numbers behind a plot, open on paper, too."""
    return f"<details><summary>in numbers</summary>{_table(table)}</details>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{page_text(title)}</th>' for title in table.heads)
    body = "".join(
        f'<tr><th scope="row">{page_text(row[0])}</th>'
        + "".join(f"<td>{page_text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    note = f"<p>{page_text(table.note)}</p>" if table.note else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{page_text(table.title)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )

"""A comparison's figures as words and tables, which its page and its text have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twofold.lab.compare_costs import Derived, work_cost
from twofold.lab.costs import Mode
from twofold.lab.findings import BatchFound, Findings, Latency, Level
from twofold.lab.needs import DAY_S
from twofold.lab.shown import shown_bytes, shown_cost, shown_count, shown_number, shown_time

SHARES = ("50", "90", "99", "99.9")
HOUR_S = 3_600.0


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows.
        heads: Of its columns; the first one is that of the rows' names.
        rows: As many cells each.
        note: What has to be known to read it.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def summary(found: Findings, derived: Derived) -> list[str]:
    """Three sentences: batch, real time and stored, costs."""
    batch, live, stored = found.batch, found.real_time, found.hybrid
    apart = ""
    if batch.scaling is not None:
        apart = (
            f", {shown_time(batch.scaling.fixed_wall_s)} whatever the rows and "
            f"{shown_time(batch.scaling.row_wall_s)} more for each"
        )
    million = derived.per_million
    even = next(item for item in derived.break_evens if item.asked_ratio == 1.0)
    rows = (
        "never" if even.rows_per_day is None else f"from {shown_count(even.rows_per_day)} rows on"
    )
    core_hour = shown_cost(derived.assumed.cost_per_core_hour)
    first = (
        f"In batch, {batch.rows:,} rows are there {shown_time(batch.wall_s)} after the run was "
        f"started{apart}."
    )
    second = (
        f"In real time, a client alone has its prediction {shown_time(median(live.alone))} after "
        f"it asked, and {_kept(live.capacity_per_s, live.slo_s)}; a stored answer takes "
        f"{shown_time(median(stored.alone))} and is at least {_age(stored.age_at_switch_s)} old."
    )
    third = (
        f"At {core_hour} a core-hour, a million predictions cost "
        f"{shown_cost(million[Mode.BATCH])} in batch, {shown_cost(million[Mode.REAL_TIME])} in "
        f"real time and {shown_cost(million[Mode.HYBRID])} stored and asked for; where each row is "
        f"asked for once a day, a daily batch costs less {rows}."
    )
    return [first, second, third]


def side_by_side(found: Findings, derived: Derived) -> Table:
    """The modes beside one another."""
    batch, live, stored = found.batch, found.real_time, found.hybrid
    million = derived.per_million
    return Table(
        "Side by side",
        ("figure", "batch", "real-time", "hybrid (stored)"),
        [
            (
                "from asking to the answer, p50",
                f"{shown_time(batch.wall_s)} from its start",
                shown_time(median(live.alone)),
                shown_time(median(stored.alone)),
            ),
            (
                "the same, p99",
                f"{shown_time(batch.wall_s)} from its start",
                shown_time(_of(live.alone, "99")),
                shown_time(_of(stored.alone, "99")),
            ),
            ("of it in the model", _row_compute(batch), shown_time(live.overhead.predict_s), "-"),
            (
                "throughput",
                f"{shown_number(batch.rows / batch.wall_s)} rows/s",
                _rate(live.capacity_per_s),
                _rate(stored.capacity_per_s),
            ),
            (
                "once a run has begun",
                _marginal(batch),
                "-",
                "-",
            ),
            (
                "CPU of a million",
                shown_time(derived.units.row_core_s * 1e6),
                shown_time(live.cpu_per_request_s * 1e6),
                shown_time(stored.cpu_per_request_s * 1e6),
            ),
            (
                "CPU of a run, whatever its rows",
                shown_time(derived.units.run_core_s),
                "-",
                f"{shown_time(stored.publish_cpu_s)} to publish",
            ),
            (
                "cost of a million",
                shown_cost(million[Mode.BATCH]),
                shown_cost(million[Mode.REAL_TIME]),
                shown_cost(million[Mode.HYBRID]),
            ),
            (
                "memory",
                f"{shown_bytes(batch.peak_memory_bytes)} at most",
                f"{shown_bytes(live.memory_bytes)}, {live.workers} workers",
                "in that server",
            ),
            ("age of what it is from", "up to the period", "none", _ages(found)),
            (
                "in Python, without a server, p50",
                "-",
                shown_time(median(live.in_process)),
                shown_time(median(stored.in_process)),
            ),
        ],
        "The period is the time between runs, for which rows of a batch wait as well. Real-time "
        "and stored answers are those of one client over loopback that sends its next request when "
        "it has the answer; a million of them costs what is held for them, with a server that is "
        "used to 60 % at best.",
    )


def latencies(found: Findings) -> Table:
    """Percentiles of each mode's latency per data point."""
    rows = [
        (name, *(_cell(latency, share) for share in SHARES), f"{latency.count:,}")
        for name, latency in distributions(found)
    ]
    return Table(
        "Latency per data point",
        ("mode", *(f"p{share}" for share in SHARES), "samples"),
        rows,
        "From when a row is asked for, or has come, until its prediction can be read. The waits "
        "for the next run aren't measured: they follow from the schedule, evenly spread from "
        "nothing to the time between runs.",
    )


def distributions(found: Findings) -> list[tuple[str, Latency]]:
    """The latencies that were measured, and those of schedules that follow."""
    live, stored = found.real_time, found.hybrid
    items = [("stored answer in Python", stored.in_process), ("live in Python", live.in_process)]
    items += [("stored answer over HTTP", stored.alone), ("live over HTTP", live.alone)]
    if stored.level is not None:
        at = shown_number(stored.level.offered_per_s)
        items.append((f"stored, {at} requests/s", stored.level.latency))
    kept = kept_levels(found)
    if kept:
        at = shown_number(kept[-1].offered_per_s)
        items.append((f"live, {at} requests/s", kept[-1].latency))
    items.append(("batch, the run itself", _evenly(found.batch, 0.0)))
    items.append(("batch, a run each hour", _evenly(found.batch, HOUR_S)))
    items.append(("batch, a run each day", _evenly(found.batch, DAY_S)))
    return items


def kept_levels(found: Findings) -> list[Level]:
    """The levels within capacity, ascending."""
    live = found.real_time
    most = (live.capacity_per_s or 0.0) * 1.02
    return [level for level in live.levels if level.offered_per_s <= most]


def batch_split(found: Findings) -> Table:
    """What a row of the run waits for."""
    batch = found.batch
    parts = [
        ("waiting for the next run, hourly", HOUR_S / 2, HOUR_S),
        ("waiting for the next run, daily", DAY_S / 2, DAY_S),
        ("waiting for its partition", batch.wait_s.mean_s, batch.wait_s.max_s),
        ("compute", batch.compute_s.mean_s, batch.compute_s.max_s),
        ("commit", batch.commit_s.mean_s, batch.commit_s.max_s),
    ]
    return Table(
        "What a row waits for in batch",
        ("stage", "mean", "at most"),
        [(name, shown_time(mean_s), shown_time(most_s)) for name, mean_s, most_s in parts],
        f"Of {batch.rows:,} rows in {batch.partitions} "
        f"{'partition' if batch.partitions == 1 else 'partitions'}, the run of median length of "
        f"{batch.repeats}. Waiting for its partition begins with the process: its start is in it. "
        "The last three add up to the run. All rows are there at once, when it is committed.",
    )


def batch_sizes(found: Findings) -> Table:
    """Runs over the input and over a larger one."""
    batch, scaling = found.batch, found.batch.scaling
    rows = [
        (
            f"{batch.rows:,} rows",
            shown_time(batch.wall_s),
            shown_time(batch.cpu_s),
            f"{shown_number(batch.rows / batch.wall_s)}",
        )
    ]
    if scaling is not None:
        rows += [
            (
                f"{scaling.rows:,} rows",
                shown_time(scaling.wall_s),
                shown_time(scaling.cpu_s),
                f"{shown_number(scaling.rows / scaling.wall_s)}",
            ),
            (
                "a run, whatever its rows",
                shown_time(scaling.fixed_wall_s),
                shown_time(scaling.fixed_cpu_s),
                "-",
            ),
            (
                "a million rows more",
                shown_time(1e6 * scaling.row_wall_s),
                shown_time(1e6 * scaling.row_cpu_s),
                shown_number(1 / scaling.row_wall_s) if scaling.row_wall_s else "-",
            ),
        ]
    return Table(
        "Batch runs, as whole processes",
        ("run", "wall", "CPU", "rows/s"),
        rows,
        "The larger input is the other one again and again; what is fixed and what a row adds is a "
        "line through both."
        if scaling
        else "",
    )


def overhead(found: Findings) -> Table:
    """Where the time of a lone request goes."""
    total_s = max(found.real_time.overhead.total_s, 1e-12)
    return Table(
        "Where the time of a live request goes",
        ("stage", "median", "share"),
        [
            (name, shown_time(seconds), f"{seconds / total_s:.0%}")
            for name, seconds in [*overhead_parts(found), ("total", total_s)]
        ],
        "One client alone, over loopback. Network is what the server doesn't see: the client, the "
        "system and the wire; between machines it is more. Parse, queue and predict are medians of "
        "what the server tells; encode is the rest of its own total.",
    )


def overhead_parts(found: Findings) -> list[tuple[str, float]]:
    """The parts by name."""
    split = found.real_time.overhead
    return [
        ("network", split.network_s),
        ("parse", split.parse_s),
        ("queue", split.queue_s),
        ("predict", split.predict_s),
        ("encode", split.encode_s),
    ]


def loads(found: Findings) -> Table:
    """Rates that were offered."""
    live = found.real_time
    rows = [
        (
            shown_number(level.offered_per_s),
            shown_number(level.in_time_per_s),
            shown_number(level.shed_per_s),
            shown_number(level.failed_per_s),
            _cell(level.latency, "50"),
            _cell(level.latency, "99"),
            f"{level.latency.count:,}",
            "yes" if level.is_valid else "generator late",
        )
        for level in live.levels
    ]
    slo = shown_time(live.slo_s)
    note = (
        f"Open loop: requests come at their time, whatever the server does; in time is within "
        f"{slo} from when a request was due. Where the generator was late, its own delay is in the "
        "latency: it shares the machine with the server."
    )
    heads = ("offered/s", "in time/s", "shed/s", "failed/s", "p50", "p99", "answers", "valid")
    return Table("Live predictions under load", heads, rows, note)


def freshness(derived: Derived) -> Table:
    """Costs of a day against the tolerated age."""
    assumed = derived.assumed
    rows = [
        (
            shown_time(point.age_s),
            *(
                "can't be" if day is None else shown_cost(work_cost(day.work_core_s, assumed))
                for day in (point.batch, point.real_time, point.hybrid)
            ),
        )
        for point in derived.points
    ]
    return Table(
        "Cost of a day against freshness",
        ("at most so old", "batch", "real-time", "hybrid"),
        rows,
        f"{assumed.rows_per_day:,} rows, {assumed.asked_ratio:.0%} of them asked for in a day, "
        "three times as many as on average at the peak; a batch of all rows as often as the age "
        f"demands; {shown_cost(assumed.cost_per_core_hour)} a core-hour.",
    )


def break_evens(derived: Derived) -> Table:
    """From where on a batch costs less."""
    rows = [
        (
            f"{item.asked_ratio:.0%} of the rows are asked for in a day",
            "never"
            if item.rows_per_day is None
            else f"from {shown_count(item.rows_per_day)} rows a day",
        )
        for item in derived.break_evens
    ]
    age_s, assumed = derived.fresh_age_s, derived.assumed
    rows.append(
        (
            f"{assumed.rows_per_day:,} rows, {assumed.asked_ratio:.0%} asked for",
            "never" if age_s is None else f"if they may be older than {shown_time(age_s)}",
        )
    )
    return Table(
        "Break-even: when a daily batch of all rows costs less than live predictions",
        ("if", "batch costs less"),
        rows,
        "Counted by the CPU of single things; a live prediction by what is held for it.",
    )


def facts(found: Findings) -> Table:
    """Where and how it was measured."""
    machine = found.machine
    memory = shown_bytes(machine.memory_bytes)
    how = "quickly: figures are rough" if found.is_quick else "in full"
    return Table(
        "Where and how",
        ("what", "which"),
        [
            ("model", f"{found.model}@{found.version}"),
            ("input", found.input),
            ("measured", f"{found.made_at:%Y-%m-%d %H:%M} UTC, {how}"),
            (
                "machine",
                f"{machine.cores} cores, {memory}: {machine.cpu}",
            ),
            ("system", f"{machine.system}, Python {machine.python}, twofold {machine.twofold}"),
        ],
    )


CAVEATS = (
    "All processes had this machine, the load generator too: alone, a server keeps up with more.",
    "Requests went over loopback; a network between client and server adds its own time to each.",
    "Settings were the defaults. What other programs did meanwhile is in the figures.",
    "Costs are those of CPU time; memory, storage, traffic and people aren't counted.",
)


def median(latency: Latency) -> float:
    """The median, or the mean of a few."""
    return _of(latency, "50")


def _of(latency: Latency, share: str) -> float:
    fallback_s = latency.mean_s if share == "50" else latency.max_s
    return latency.percentiles_s.get(share, fallback_s)


def _cell(latency: Latency, share: str) -> str:
    value = latency.percentiles_s.get(share)
    return "-" if value is None else shown_time(value)


def _kept(capacity_per_s: float | None, slo_s: float) -> str:
    if capacity_per_s is None:
        return "what the server keeps up with wasn't measured"
    return (
        f"the server keeps up with {shown_number(capacity_per_s)} requests/s "
        f"(99 of 100 within {shown_time(slo_s)})"
    )


def _rate(per_s: float | None) -> str:
    return "not measured" if per_s is None else f"{shown_number(per_s)} requests/s"


def _age(age_s: float | None) -> str:
    return "an unknown time" if age_s is None else shown_time(age_s)


def _ages(found: Findings) -> str:
    least_s = found.hybrid.age_at_switch_s
    return f"{_age(least_s)}, up to the period more"


def _row_compute(batch: BatchFound) -> str:
    row_s = batch.scaling.row_wall_s if batch.scaling else batch.compute_s.mean_s / batch.rows
    return f"{shown_time(row_s)} a row"


def _marginal(batch: BatchFound) -> str:
    if batch.scaling is None or not batch.scaling.row_wall_s:
        return "-"
    return f"{shown_number(1 / batch.scaling.row_wall_s)} rows/s"


def _evenly(batch: BatchFound, period_s: float) -> Latency:
    """What rows wait for that come evenly while a run is started each so often."""
    shares = {share: batch.wall_s + period_s * float(share) / 100 for share in SHARES}
    return Latency(
        count=batch.rows,
        mean_s=batch.wall_s + period_s / 2,
        max_s=batch.wall_s + period_s,
        percentiles_s=shares,
    )

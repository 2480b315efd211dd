"""Needs and findings for the tests of the lab: textbook cases, and any that are valid."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st
from lab_typical import TYPICAL

from twofold.lab.costs import Mode
from twofold.lab.findings import Findings, Latency, Level
from twofold.lab.needs import DAY_S, Features, Needs


def needs(**given: Any) -> Needs:
    """Needs that are said in part; of the rest, somebody waits for a row that is known."""
    values: dict[str, Any] = {
        "rows_per_day": 1_000_000,
        "asked_ratio": 0.02,
        "max_age_s": DAY_S,
        "slo_s": 0.05,
        "peak_per_s": 20.0,
        "features": Features.KNOWN,
    }
    return Needs(**values | given)


def slower(findings: Findings, times: float) -> Findings:
    """Findings of a model that takes so many times as long for everything but starting."""
    batch, live = findings.batch, findings.real_time
    computed = msgspec.structs.replace(
        batch.compute_s, mean_s=batch.compute_s.mean_s * times, max_s=batch.compute_s.max_s * times
    )
    levels = [
        msgspec.structs.replace(
            level,
            offered_per_s=level.offered_per_s / times,
            answered_per_s=level.answered_per_s / times,
            latency=_slower(level.latency, times),
        )
        for level in live.levels
    ]
    return msgspec.structs.replace(
        findings,
        batch=msgspec.structs.replace(
            batch,
            wall_s=batch.start_s + (batch.wall_s - batch.start_s) * times,
            cpu_s=batch.start_s + (batch.cpu_s - batch.start_s) * times,
            compute_s=computed,
        ),
        real_time=msgspec.structs.replace(
            live,
            capacity_per_s=max(
                (level.offered_per_s for level in levels if _p99_s(level) <= live.slo_s),
                default=0.0,
            ),
            cpu_per_request_s=live.cpu_per_request_s * times,
            alone=_slower(live.alone, times),
            levels=levels,
        ),
    )


def _p99_s(level: Level) -> float:
    return level.latency.percentiles_s["99"]


def _slower(latency: Latency, times: float) -> Latency:
    return Latency(
        count=latency.count,
        mean_s=latency.mean_s * times,
        max_s=latency.max_s * times,
        percentiles_s={name: value * times for name, value in latency.percentiles_s.items()},
    )


class Case(NamedTuple):
    """A textbook case."""

    name: str
    needs: Needs
    mode: Mode
    findings: Findings = TYPICAL


BATCH, REAL_TIME, HYBRID = Mode.BATCH, Mode.REAL_TIME, Mode.HYBRID
KNOWN, PARTLY, WITH_REQUEST = Features.KNOWN, Features.PARTLY, Features.WITH_REQUEST
MINUTE_S, HOUR_S = 60.0, 3_600.0


def _alone(**given: Any) -> Needs:
    """Nobody waits."""
    return needs(**{"slo_s": None, "peak_per_s": 0.0, "asked_ratio": 1.0} | given)


CASES = [
    Case(
        "fraud is flagged at once",
        needs(
            rows_per_day=5_000_000,
            asked_ratio=1.0,
            max_age_s=0.0,
            peak_per_s=300.0,
            features=WITH_REQUEST,
        ),
        REAL_TIME,
    ),
    Case(
        "a million churn customers daily, and instant offers at support calls",
        needs(asked_ratio=0.01, features=PARTLY, wants_all=True),
        HYBRID,
    ),
    Case(
        "the same, of those that call alone",
        needs(asked_ratio=0.01, features=PARTLY),
        HYBRID,
    ),
    Case(
        "the same, of a model that takes ten times as long",
        needs(asked_ratio=0.01, features=PARTLY),
        HYBRID,
        slower(TYPICAL, 10.0),
    ),
    Case("a monthly report", _alone(max_age_s=30 * DAY_S, wants_all=True), BATCH),
    Case(
        "products recommended on a page, a day old is fine",
        needs(asked_ratio=0.5, peak_per_s=5_000.0, slo_s=0.1),
        HYBRID,
    ),
    Case(
        "a price quote for what is typed in",
        needs(rows_per_day=50_000, asked_ratio=1.0, slo_s=0.2, features=WITH_REQUEST),
        REAL_TIME,
    ),
    Case("a campaign's list every night", _alone(wants_all=True), BATCH),
    Case("leads within the hour", _alone(rows_per_day=5_000, max_age_s=HOUR_S), BATCH),
    Case(
        "leads as they come in, within the hour",
        _alone(rows_per_day=5_000, max_age_s=HOUR_S, features=WITH_REQUEST),
        BATCH,
    ),
    Case(
        "a credit decision while the customer waits",
        needs(
            rows_per_day=20_000,
            asked_ratio=1.0,
            max_age_s=0.0,
            slo_s=1.0,
            peak_per_s=5.0,
            features=WITH_REQUEST,
        ),
        REAL_TIME,
    ),
    Case(
        "ten rows a day are asked for, of this minute",
        needs(rows_per_day=10, asked_ratio=1.0, max_age_s=5 * MINUTE_S, slo_s=1.0, peak_per_s=1.0),
        REAL_TIME,
    ),
    Case(
        "ten rows a day of a million, of this minute",
        needs(asked_ratio=0.00001, max_age_s=5 * MINUTE_S, slo_s=1.0, peak_per_s=1.0),
        REAL_TIME,
    ),
    Case(
        "a hundred million rows every night for another table",
        _alone(rows_per_day=100_000_000, wants_all=True),
        BATCH,
        slower(TYPICAL, 200.0),
    ),
    Case(
        "transactions looked at again the next day",
        _alone(rows_per_day=5_000_000, features=WITH_REQUEST),
        BATCH,
    ),
    Case("events acted on in seconds, by machines", _alone(max_age_s=5.0), REAL_TIME),
    Case(
        "fraud flagged at once, and all transactions in a table the next day",
        needs(asked_ratio=1.0, peak_per_s=300.0, features=WITH_REQUEST, wants_all=True),
        HYBRID,
    ),
    Case(
        "a slow model whose stored answers are the only ones in time",
        needs(slo_s=0.01),
        HYBRID,
        slower(TYPICAL, 10_000.0),
    ),
]


def _latencies() -> st.SearchStrategy[Latency]:
    times = st.floats(0.0, 100.0)
    percentiles = st.dictionaries(st.sampled_from(["50", "90", "99", "99.9"]), times)
    return st.builds(
        Latency, count=st.integers(0, 10), mean_s=times, max_s=times, percentiles_s=percentiles
    )


_RATES = st.floats(0.0, 1e6)
_LEVELS = st.builds(
    Level,
    offered_per_s=_RATES,
    answered_per_s=_RATES,
    in_time_per_s=_RATES,
    shed_per_s=_RATES,
    failed_per_s=_RATES,
    latency=_latencies(),
    lateness_p99_s=st.floats(0.0, 1.0),
    is_valid=st.booleans(),
)


@st.composite
def any_findings(draw: st.DrawFn) -> Findings:
    """Findings of any figures, also such as no measurement gives."""
    times = st.floats(0.0, 1e5)
    counts = st.integers(0, 10**9)

    def with_any(struct: Any, **fields: st.SearchStrategy[Any]) -> Any:
        drawn = {name: draw(strategy) for name, strategy in fields.items()}
        return msgspec.structs.replace(struct, **drawn)

    return msgspec.structs.replace(
        TYPICAL,
        is_quick=draw(st.booleans()),
        machine=with_any(TYPICAL.machine, cores=st.integers(0, 256), memory_bytes=counts),
        batch=with_any(
            TYPICAL.batch,
            rows=counts,
            wall_s=times,
            cpu_s=times,
            start_s=times,
            partitions=st.integers(0, 1_000),
            compute_s=_latencies(),
        ),
        real_time=with_any(
            TYPICAL.real_time,
            workers=st.integers(0, 256),
            memory_bytes=counts,
            alone=_latencies(),
            slo_s=st.floats(0.0, 10.0),
            capacity_per_s=_RATES,
            cpu_per_request_s=st.floats(0.0, 10.0),
            levels=st.lists(_LEVELS, max_size=4).map(
                lambda levels: sorted(levels, key=lambda level: level.offered_per_s)
            ),
        ),
        hybrid=with_any(
            TYPICAL.hybrid,
            keys=counts,
            publish_s=times,
            publish_cpu_s=times,
            alone=_latencies(),
            capacity_per_s=_RATES,
            cpu_per_request_s=st.floats(0.0, 10.0),
            level=_LEVELS,
        ),
    )


FINDINGS = st.one_of(st.floats(0.01, 1e5).map(lambda times: slower(TYPICAL, times)), any_findings())
NEEDS = st.builds(
    Needs,
    rows_per_day=st.integers(1, 100_000_000_000),
    asked_ratio=st.floats(0.0, 1.0),
    max_age_s=st.one_of(st.just(0.0), st.floats(0.0, 366 * DAY_S)),
    slo_s=st.one_of(st.none(), st.floats(0.0001, 60.0)),
    peak_per_s=st.floats(0.0, 10_000_000.0),
    features=st.sampled_from(Features),
    wants_all=st.booleans(),
    cost_per_core_hour=st.floats(0.0, 1_000.0),
    machines_at_least=st.integers(1, 1_000),
)

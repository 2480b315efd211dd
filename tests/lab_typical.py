"""Findings for tests: round figures of a small model. What tests don't look at is zero."""

from __future__ import annotations

from datetime import UTC, datetime

from twofold.lab.findings import (
    LAYOUT,
    BatchFound,
    Findings,
    HybridFound,
    Latency,
    Level,
    Machine,
    Overhead,
    RealTimeFound,
)

MODEL = "MODEL"


def _latency(count: int, mean_s: float, p50_s: float, p99_s: float, max_s: float) -> Latency:
    return Latency(
        count=count, mean_s=mean_s, max_s=max_s, percentiles_s={"50": p50_s, "99": p99_s}
    )


def _level(per_s: float, p50_s: float, p99_s: float, max_s: float) -> Level:
    return Level(
        offered_per_s=per_s,
        answered_per_s=per_s,
        in_time_per_s=per_s,
        shed_per_s=0.0,
        failed_per_s=0.0,
        latency=_latency(int(per_s * 2), p50_s, p50_s, p99_s, max_s),
        lateness_p99_s=0.0016,
        is_valid=True,
    )


UNUSED = Latency(count=0, mean_s=0.0, max_s=0.0, percentiles_s={})
TYPICAL = Findings(
    layout=LAYOUT,
    model=MODEL,
    version="1",
    input="a million rows of 20 numbers",
    made_at=datetime(2026, 11, 26, tzinfo=UTC),
    is_quick=False,
    machine=Machine(
        cpu="shared", cores=2, memory_bytes=8 << 30, system="Linux", python="3.11", twofold="0.1.0"
    ),
    batch=BatchFound(
        rows=1_000_000,
        rows_quarantined=0,
        wall_s=1.3,
        cpu_s=1.45,
        peak_memory_bytes=290_000_000,
        start_s=0.5,
        partitions=8,
        wait_s=UNUSED,
        compute_s=_latency(8, 0.075, 0.075, 0.075, 0.075),
        commit_s=UNUSED,
        repeats=3,
    ),
    real_time=RealTimeFound(
        workers=2,
        start_s=1.1,
        memory_bytes=162_000_000,
        in_process=_latency(20_000, 2.0e-06, 1.9e-06, 2.7e-06, 1.5e-04),
        alone=_latency(19_500, 2.3e-05, 2.3e-05, 4.1e-05, 3.6e-03),
        overhead=Overhead(
            total_s=2.3e-05,
            network_s=0.0,
            parse_s=0.0,
            queue_s=0.0,
            predict_s=1.9e-06,
            encode_s=0.0,
        ),
        slo_s=0.05,
        capacity_per_s=40_000.0,
        cpu_per_request_s=1.9e-05,
        levels=[
            _level(1_000.0, 1.2e-04, 0.0020, 0.0038),
            _level(10_000.0, 3.7e-05, 0.0030, 0.0083),
            _level(20_000.0, 4.0e-05, 0.0042, 0.0086),
            _level(40_000.0, 3.2e-04, 0.0094, 0.0133),
        ],
    ),
    hybrid=HybridFound(
        keys=1_000_000,
        publish_s=1.0,
        publish_cpu_s=1.05,
        in_process=UNUSED,
        alone=_latency(19_500, 2.2e-05, 2.2e-05, 3.7e-05, 1.4e-03),
        capacity_per_s=40_000.0,
        cpu_per_request_s=1.6e-05,
        level=_level(20_000.0, 2.5e-05, 0.0034, 0.0064),
    ),
)

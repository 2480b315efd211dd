"""What a comparison might have found, for tests of what is made of it."""

from __future__ import annotations

from datetime import UTC, datetime

from twofold.lab.findings import (
    BatchFound,
    Findings,
    HybridFound,
    Latency,
    Level,
    Machine,
    Overhead,
    RealTimeFound,
    Scaling,
)

LATENCY = Latency(count=1_000, mean_s=0.002, max_s=0.01, percentiles_s={"50": 0.002, "99": 0.004})
LEVEL = Level(
    offered_per_s=100.0,
    answered_per_s=100.0,
    in_time_per_s=99.0,
    shed_per_s=0.0,
    failed_per_s=0.0,
    latency=LATENCY,
    lateness_p99_s=0.0001,
    is_valid=True,
)
FOUND = Findings(
    model="churn",
    version="3",
    input="customers.parquet",
    made_at=datetime(2026, 1, 31, tzinfo=UTC),
    is_quick=False,
    machine=Machine(
        cpu="some", cores=2, memory_bytes=1 << 33, system="Linux", python="3.11", twofold="0.1"
    ),
    batch=BatchFound(
        rows=7_043,
        rows_quarantined=0,
        wall_s=1.0,
        cpu_s=1.2,
        peak_memory_bytes=1 << 27,
        start_s=0.5,
        partitions=1,
        wait_s=LATENCY,
        compute_s=LATENCY,
        commit_s=LATENCY,
        repeats=3,
        scaling=Scaling(
            rows=1_007_149,
            wall_s=2.0,
            cpu_s=3.2,
            fixed_wall_s=0.993,
            fixed_cpu_s=1.186,
            row_wall_s=1e-6,
            row_cpu_s=2e-6,
        ),
    ),
    real_time=RealTimeFound(
        workers=2,
        start_s=1.0,
        memory_bytes=1 << 28,
        in_process=LATENCY,
        alone=LATENCY,
        overhead=Overhead(
            total_s=0.0001,
            network_s=0.00005,
            parse_s=0.00001,
            queue_s=0.0,
            predict_s=0.00002,
            encode_s=0.00002,
        ),
        slo_s=0.05,
        capacity_per_s=10_000.0,
        cpu_per_request_s=0.00005,
        levels=[LEVEL],
    ),
    hybrid=HybridFound(
        keys=7_043,
        publish_s=0.6,
        publish_cpu_s=0.6,
        in_process=LATENCY,
        alone=LATENCY,
        capacity_per_s=50_000.0,
        cpu_per_request_s=0.00001,
        level=LEVEL,
        age_at_switch_s=1.1,
        scaling=Scaling(
            rows=507_043,
            wall_s=1.1,
            cpu_s=1.1,
            fixed_wall_s=0.593,
            fixed_cpu_s=0.593,
            row_wall_s=1e-6,
            row_cpu_s=1e-6,
        ),
    ),
)

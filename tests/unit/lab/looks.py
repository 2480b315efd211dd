"""Looks at a server that a test makes up: one that is well, but for what the test says."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from twofold.lab.fault import Finding
from twofold.lab.look import Look, ModelLook, Stage, StoreLook

AT = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
SECONDS = 5.0
BOUNDS_S = (0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0, math.inf)


def stage(count: float, took_s: float) -> Stage:
    """So many that took so long each."""
    counts = {bound: count if took_s <= bound else 0.0 for bound in BOUNDS_S}
    return Stage(buckets=counts, sum_s=count * took_s)


def model_of(**facts: Any) -> ModelLook:
    """A model that has answered 500 requests of one row in 0.4 ms, in the event loop."""
    made = ModelLook(
        model="churn",
        version="3",
        requests={"ok": 500.0},
        rows=500.0,
        duration=stage(500, 0.0006),
        queue=stage(500, 0.0001),
        predict=stage(500, 0.0004),
        capacity_per_s=2_000.0,
        row_cost_s=0.0004,
        packed_row_cost_s=0.0003,
        snapshot_as_of=AT - timedelta(hours=2),
        answers={"stored": 100.0},
    )
    return dataclasses.replace(made, **facts)


NEW_MODEL = ModelLook(model="churn", version="3", snapshot_as_of=AT - timedelta(hours=2))


def look_of(*, at_s: float = SECONDS, **facts: Any) -> Look:
    """A look at a server of that model, some seconds after the first one."""
    at = AT + timedelta(seconds=at_s)
    made = Look(
        at_s=at_s,
        asked_at=at,
        answered_at=at + timedelta(milliseconds=2),
        server_date=at.replace(microsecond=0),
        models=(model_of() if at_s > 0.0 else NEW_MODEL,),
        responses={"200": 600.0} if at_s > 0.0 else {},
        workers=2.0,
        connections=5.0,
        max_connections=8_192.0,
        max_age_s=86_400.0,
        store=StoreLook(),
    )
    return dataclasses.replace(made, **facts)


FIRST = look_of(at_s=0.0)


def seen(**facts: Any) -> list[Look]:
    """Two looks, the second one with what differs."""
    return [FIRST, look_of(**facts)]


def said(finding: Finding) -> dict[str, str]:
    """The evidence by what it is of."""
    return dict(item.split(": ", 1) for item in finding.evidence)

"""What `twofold` is called with for a run of a schedule: a command that anybody can repeat."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from twofold.schedule.cron import zone_of
from twofold.schedule.settings import ScheduleSettings


class Places(NamedTuple):
    """Where models are loaded from, and snapshots published to."""

    registry: str
    store: str


def arguments_for(
    schedule: ScheduleSettings, due_at: datetime, run_id: str, places: Places
) -> tuple[str, ...]:
    """Write the command of the run that is due at an instant.

    Args:
        schedule: What is run.
        due_at: When it is due (UTC).
        run_id: The run.
        places: Where models and snapshots are.
    """
    local = due_at.astimezone(zone_of(schedule.time_zone))
    # Days are added on the calendar: yesterday at the same time, however many hours ago that is.
    as_of = local + timedelta(days=schedule.date_offset_days)
    options = ["--output", schedule.output, "--run-id", run_id, "--as-of", as_of.isoformat()]
    options += ["--registry", places.registry]
    if schedule.key:
        options += ["--key", schedule.key]
    for column in schedule.keep:
        options += ["--keep", column]
    if schedule.query:
        options += ["--query", schedule.query]
    for target in schedule.into:
        options += ["--into", target]
    if schedule.publish or schedule.with_features:
        options += ["--publish", "--store", places.store]
    if schedule.with_features:
        options += ["--with-features"]
    # Behind `--` nothing is taken for a flag.
    return ("batch", "run", *options, "--json", "--", schedule.model, schedule.input)

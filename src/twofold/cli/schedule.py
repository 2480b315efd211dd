"""`twofold schedule run`, `list`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table

from twofold.cli.common import (
    command,
    data,
    flags_of,
    json_option,
    print_json,
    registry_option,
    settings_flags,
    settings_from,
    store_option,
    talk,
)
from twofold.schedule.settings import SchedulerSettings

if TYPE_CHECKING:
    from twofold.app.schedule import Event, ScheduleStatus
    from twofold.schedule.state import Run


@click.group()
def schedule() -> None:
    """Predict in batch periodically, as [[schedule]] in twofold.toml says."""


@schedule.command()
@click.option("--once", is_flag=True, help="Do what is due now, and leave: for a timer of yours.")
@settings_flags("scheduler", SchedulerSettings)
@registry_option
@store_option
@json_option
@command
def run(once: bool, as_json: bool, **flags: Any) -> None:  # noqa: FBT001
    """Start every run when it is due, until Ctrl-C or SIGTERM.

    It may be killed at any time: the next one loses no run and doubles none. With
    --json every event is one line of JSON on stdout.
    """
    from twofold.app.schedule import keep_schedules  # noqa: PLC0415 - heavy

    sections = flags_of("scheduler", SchedulerSettings, flags)
    settings = settings_from({"registry": flags["registry"], "store": flags["store"], **sections})

    def tell(event: Event) -> None:
        if as_json:
            print_json({name: getattr(event, name) for name in FACTS})
            data.file.flush()
        else:
            what = event.run_id or event.schedule
            line = f"{event.at:%Y-%m-%dT%H:%M:%SZ} {event.event} {what}: {event.message}"
            talk().print(line, soft_wrap=True)

    if not as_json and not once:
        names = ", ".join(item.name for item in settings.schedules)
        talk().print(f"keeping {names}  (Ctrl-C stops)", soft_wrap=True)
    failed_runs = keep_schedules(settings, once=once, tell=tell)
    sys.exit(1 if once and failed_runs else 0)


FACTS = ("at", "event", "schedule", "run_id", "message")


@schedule.command("list")
@settings_flags("scheduler", SchedulerSettings, without="max_running_runs")
@json_option
@command
def list_(as_json: bool, **flags: Any) -> None:  # noqa: FBT001
    """Show when each schedule is due next, what is at work, and how its last runs ended."""
    from twofold.app.schedule import look_at_schedules  # noqa: PLC0415 - heavy

    settings = settings_from(flags_of("scheduler", SchedulerSettings, flags))
    found = look_at_schedules(settings)
    if as_json:
        shown = [summary(item) for item in found.schedules]
        print_json({"is_running": found.is_kept, "schedules": shown})
        return
    if not found.schedules:
        talk().print("no [[schedule]] in twofold.toml")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("schedule", "next", "run", "state", "began", "took", "why"):
        table.add_column(title)
    for item in found.schedules:
        for number, row in enumerate(_rows(item)):
            first = (item.settings.name, _shown(item.next_due)) if number == 0 else ("", "")
            table.add_row(*first, *row)
    data.print(table)
    if not found.is_kept:
        talk().print("no scheduler is running; start one with `twofold schedule run`")


def summary(status: ScheduleStatus) -> dict[str, Any]:
    """One schedule, for machines."""
    return {
        "name": status.settings.name,
        "model": status.settings.model,
        "cron": status.settings.cron,
        "time_zone": status.settings.time_zone,
        "next_due": status.next_due,
        "runs": [_of_run(run) for run in (*status.runs, *reversed(status.ended))],
        "skipped": status.skipped,
        "last_skip": status.last_skip and msgspec.to_builtins(status.last_skip),
    }


def _of_run(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "state": _state(run),
        "due_at": run.due_at,
        "attempts": run.attempts,
        "begun_at": run.begun_at,
        "ended_at": run.ended_at,
        "elapsed_s": run.elapsed_s,
        "retry_at": run.retry_at,
        "reason": run.reason,
        "command": ["twofold", *run.arguments],
    }


def _state(run: Run) -> str:
    if run.outcome is not None:
        return str(run.outcome)
    if run.is_at_work:
        return "running"
    return "waiting for a retry" if run.retry_at is not None else "waiting"


SHOWN_RUNS = 3


def _rows(status: ScheduleStatus) -> list[tuple[str, ...]]:
    """What is at work and waiting, then the last runs, the last one first."""
    runs = [*status.runs[:SHOWN_RUNS], *reversed(status.ended[-SHOWN_RUNS:])]
    rows: list[tuple[str, ...]] = []
    for run in runs:
        why = run.reason
        if run.retry_at is not None:
            why = f"again {_shown(run.retry_at)}; {why}"
        took = "" if run.elapsed_s is None else f"{run.elapsed_s:.1f} s"
        rows.append((run.run_id, _state(run), _shown(run.begun_at), took, why))
    return rows or [("none yet", "", "", "", "")]


def _shown(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%SZ}"

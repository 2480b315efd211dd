"""The settings of schedules, and of the scheduler that keeps them."""

from __future__ import annotations

import dataclasses
import re

from twofold.errors import TwofoldError
from twofold.model.names import is_name, parse_reference
from twofold.settings import REQUIRED, setting

MAX_NAME = 40
"""Letters of a schedule's name: with the instant it still makes the id of a run."""

SECRET = re.compile(r"(?i)^postgres(ql)?://([^/?#@]*:[^@]*@|.*[?&](ssl)?password=)")


def _check_name(name: str) -> None:
    if not is_name(name) or len(name) > MAX_NAME:
        raise ValueError(
            f"expected 1 to {MAX_NAME} letters, digits, '.', '_' or '-', the first a letter or "
            f"digit, got {name[:80]!r}. Choose such a name."
        )


def _check_model(model: str) -> None:
    try:
        parse_reference(model)
    except TwofoldError as error:
        raise ValueError(str(error)) from error


def _check_cron(cron: str) -> None:
    from twofold.schedule.cron import check_cron  # noqa: PLC0415 - only who has schedules needs it

    check_cron(cron)


def _check_time_zone(name: str) -> None:
    from twofold.schedule.cron import zone_of  # noqa: PLC0415 - as above

    zone_of(name)


def _check_path(path: str) -> None:
    from twofold.schedule.dates import check_path  # noqa: PLC0415 - as above

    check_path(path)


def _check_place(place: str) -> None:
    _check_path(place)
    if SECRET.match(place):
        # It would be kept beside the run, in what the scheduler remembers.
        raise ValueError(
            "expected an address without a password, got one that has one. Give it in PGPASSWORD "
            "or ~/.pgpass."
        )


def _check_places(places: tuple[str, ...]) -> None:
    for place in places:
        _check_place(place)


@dataclasses.dataclass(frozen=True)
class ScheduleSettings:
    """One schedule: what is to be run when, and what becomes of late, long and failed runs."""

    name: str = setting(REQUIRED, "What its runs are named after.", check=_check_name)
    model: str = setting(
        REQUIRED, "The model: NAME, NAME@VERSION or NAME:ALIAS.", check=_check_model
    )
    input: str = setting(
        REQUIRED,
        "What is predicted, as for `twofold batch run`; `{date}`, or `{date:%Y/%m/%d}`, is the "
        "day it is about.",
        check=_check_place,
    )
    output: str = setting(
        REQUIRED, "Folder the runs are committed to; may have `{date}` too.", check=_check_path
    )
    cron: str = setting(
        REQUIRED,
        "When: minute, hour, day of the month, month and weekday, as Debian's cron reads them.",
        check=_check_cron,
    )
    time_zone: str = setting("UTC", "The zone of cron and of `{date}`.", check=_check_time_zone)
    date_offset_days: int = setting(
        0,
        "Days from the day a run is due to `{date}`; -1 for runs about yesterday.",
        minimum=-3660,
        maximum=3660,
    )
    key: str = setting("", "Column that identifies a row.")
    keep: tuple[str, ...] = setting((), "Columns to pass through.")
    query: str = setting(
        "",
        "What `input` is asked, if it is a database; may have `{date}` too.",
        check=_check_path,
    )
    into: tuple[str, ...] = setting(
        (),
        "Where else the committed runs go, as `--into` of `twofold batch run`; may have `{date}` "
        "too.",
        check=_check_places,
    )
    publish: bool = setting(
        False,
        "Publish each committed run: from then on its predictions are read by key.",
    )
    with_features: bool = setting(
        False,
        "Publish the model's fields, too, for live predictions of rows that changed a little.",
    )
    overlap: str = setting(
        "skip",
        "What is done when a run is due before the one before has ended: skip it, wait, or "
        "cancel_running.",
        choices=("skip", "wait", "cancel_running"),
    )
    catch_up: str = setting(
        "latest",
        "Which of the runs are made up for that were due while nobody was there to start them.",
        choices=("none", "latest", "all"),
    )
    max_late_s: float = setting(
        60.0,
        "Seconds a run may be late before it counts as missed, and catch_up decides.",
        minimum=0.0,
        maximum=86_400.0,
    )
    max_waiting_runs: int = setting(
        31,
        "Runs that may wait for their turn, with catch_up = all or overlap = wait; of more, the "
        "oldest are skipped.",
        minimum=1,
        maximum=10_000,
    )
    jitter_s: float = setting(
        0.0,
        "Seconds over which starts are spread; a run always gets the same share of them.",
        minimum=0.0,
        maximum=86_400.0,
    )
    timeout_s: float = setting(
        86_400.0,
        "Seconds an attempt may take; then it is stopped, and the next one goes on from there.",
        minimum=0.1,
        maximum=31_536_000.0,
    )
    max_retries: int = setting(3, "Further attempts at a run that failed.", minimum=0, maximum=1000)
    retry_delay_s: float = setting(
        60.0,
        "Seconds before the first of them, doubled before each further one up to an hour, less "
        "up to half by chance.",
        minimum=0.0,
        maximum=86_400.0,
    )


@dataclasses.dataclass(frozen=True)
class SchedulerSettings:
    """What `twofold schedule` does for all schedules."""

    state: str = setting("schedules", "Folder in which the scheduler remembers what it did.")
    max_running_runs: int = setting(
        4, "Runs of different schedules at work at once.", minimum=1, maximum=1000
    )
    stop_s: float = setting(
        10.0,
        "Seconds a run has to end by itself when it is stopped, before it is killed.",
        minimum=0.0,
        maximum=3600.0,
    )

"""When a schedule is due: cron expressions in a time zone, across changes of the clocks.

Expressions mean what they mean to Debian's cron. With a `*` in minute or hour a schedule follows
the hours as they pass. Otherwise it follows the dial: what falls into an hour that is left out is
due right after it, what falls into an hour that comes twice is due the first time alone.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

FIELDS = 5
ANY_INSTANT = datetime(2026, 1, 1, tzinfo=UTC)


def check_cron(cron: str) -> None:
    """See that an expression is one.

    Raises:
        ValueError: With `expected X, got Y. Fix.` as its text.
    """
    try:
        if len(cron.split()) != FIELDS:
            raise CronSimError(f"{len(cron.split())} fields")  # noqa: TRY301 - told as the others
        next(CronSim(cron, ANY_INSTANT))
    except (CronSimError, StopIteration) as error:
        why = str(error)[:1].lower() + str(error)[1:] or "never due"
        raise ValueError(
            f"expected minute, hour, day of the month, month and weekday, got {cron[:80]!r} "
            f"({why}). Write them as in '30 2 * * MON-FRI'."
        ) from error


def zone_of(name: str) -> tzinfo:
    """Find a time zone by its name.

    Raises:
        ValueError: There is none; with `expected X, got Y. Fix.` as its text.
    """
    if name == "UTC":
        return UTC  # known without the system's data
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        fix = "Mend its spelling."
        if not zoneinfo.available_timezones():
            fix = "This system knows no zones at all: pip install tzdata."
        raise ValueError(
            f"expected the name of a time zone such as Europe/Berlin, got {name[:80]!r}. {fix}"
        ) from error


def due_after(cron: str, time_zone: str, after: datetime) -> Iterator[datetime]:
    """Give the instants (UTC) at which an expression is due after another, in order, each once.

    Args:
        cron: A checked expression.
        time_zone: The name of a known zone.
        after: Aware; not due itself.
    """
    last = after
    zone = zone_of(time_zone)
    for local in _Dial(cron, after.astimezone(zone)):
        instant = local.astimezone(UTC)
        # A day can begin with an hour that is left out; and within an hour that comes twice the
        # dial alone doesn't tell what is over.
        if instant > last and _exists(local, zone):
            last = instant
            yield instant


class _Dial(CronSim):
    """Goes to the beginning of an hour, also behind a change of the clocks by half an hour."""

    def advance_hour(self) -> bool:
        """Go on to an hour that fits; whether it is another one."""
        is_another = super().advance_hour()
        if is_another:
            # The library goes in steps of an hour, and would leave out what is due before it.
            self.dt = self.dt.replace(minute=0)
        return is_another


def _exists(local: datetime, zone: tzinfo) -> bool:
    return local.astimezone(UTC).astimezone(zone) == local  # of one zone: the dials are compared

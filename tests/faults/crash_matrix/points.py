"""The points of the matrix: which fault strikes a run where."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable, Sequence

from crash_matrix.calls import Call


class Fault(enum.StrEnum):
    """What happens to a run."""

    KILL_AT_STEP = "SIGKILL at a step"
    KILL_AT_CALL = "SIGKILL at a call"
    NO_SPACE = "ENOSPC"
    BROKEN_DISK = "EIO"
    FULL_DISK = "a disk that is full"
    FILE_TOO_LONG = "files that may not grow"


# The calls that a full disk refuses, and those that a broken one does.
STRIKES = {
    Fault.NO_SPACE: {"open", "openat", "creat", "write", "writev", "pwrite64", "pwritev", "mkdir",
                     "mkdirat", "rename", "renameat", "renameat2", "fsync", "fdatasync"},
    Fault.BROKEN_DISK: {"open", "openat", "creat", "write", "writev", "pwrite64", "pwritev",
                        "mkdir", "mkdirat", "rename", "renameat", "renameat2", "fsync",
                        "fdatasync", "truncate", "ftruncate", "unlink", "unlinkat", "rmdir",
                        "close"},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Point:
    """One fault at one place.

    Attributes:
        fault: What happens.
        operation: The step, or the system call.
        path: What the call is about, within the output folder; "" for a step.
        number: Which event from the start of the run; or which call of this name on this path.
        after: The step at which an earlier attempt was killed; 0 if the first one is disturbed.
        in_main: Whether it is a call of the main thread.
    """

    fault: Fault
    operation: str
    path: str
    number: int
    after: int = 0
    in_main: bool = True

    def __str__(self) -> str:
        """Name it for people."""
        place = f" on {self.path}" if self.path else ""
        attempt = ", second attempt" if self.after else ""
        thread = "" if self.in_main else ", second thread"
        return f"{self.fault}: {self.operation}{place}, number {self.number}{thread}{attempt}"

    def is_struck_by(self, call: Call, under: str) -> bool:
        """Whether a call is the one that this point names.

        Args:
            call: As traced.
            under: The output folder.
        """
        place = (call.name, within(call.path, under), call.number, call.in_main)
        return place == (self.operation, self.path, self.number, self.in_main)


def within(path: str, under: str) -> str:
    """Give a path within the output folder."""
    return path.removeprefix(under).lstrip("/") or "."


def step_points(steps: Iterable[str]) -> list[Point]:
    """Make a point of each step event of an undisturbed run."""
    return [
        Point(Fault.KILL_AT_STEP, step, "", number) for number, step in enumerate(steps, start=1)
    ]


def call_points(calls: Iterable[Call], under: str, *, after: int = 0) -> list[Point]:
    """Make the points of an undisturbed attempt's calls that change something.

    Where two threads make the same call on one path, the fault strikes whichever does first: the
    other has no point (see `hidden`).

    Args:
        calls: As recorded.
        under: The output folder, which the paths of the points are relative to.
        after: The step at which the attempt before was killed.
    """
    first: dict[tuple[str, str, int], Call] = {}
    for call in calls:
        first.setdefault((call.name, within(call.path, under), call.number), call)
    return [
        Point(fault, *place, after=after, in_main=call.in_main)
        for fault in (Fault.KILL_AT_CALL, Fault.NO_SPACE, Fault.BROKEN_DISK)
        for place, call in first.items()
        if call.writes and (fault not in STRIKES or call.name in STRIKES[fault])
    ]


def hidden(calls: Sequence[Call], points: Iterable[Point], under: str) -> list[Call]:
    """Give the calls that no point strikes, nor its like.

    Their like is the same call on the same path, of the same thread, in any attempt.

    Args:
        calls: As recorded, in any attempt.
        points: Of all attempts.
        under: The output folder.
    """

    def like(name: str, path: str, *, in_main: bool) -> tuple[str, str, bool]:
        return name, re.sub(r"\battempt-\d+", "attempt", path), in_main

    struck = {like(point.operation, point.path, in_main=point.in_main) for point in points}
    return [
        call
        for call in calls
        if call.writes
        and like(call.name, within(call.path, under), in_main=call.in_main) not in struck
    ]


def order(points: Iterable[Point]) -> list[Point]:
    """Put the points of one fault and one operation together."""
    points = list(points)
    faults = list(Fault)
    operations = list(dict.fromkeys(point.operation for point in points))

    def place(point: Point) -> tuple[int, int]:
        return faults.index(point.fault), operations.index(point.operation)

    return sorted(points, key=place)

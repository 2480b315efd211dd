"""The outcomes of all points and states, as a table and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

TITLES = (
    "fault",
    "during",
    "tried",
    "wrong outcomes",
    "missed",
    "resumed whole",
    "commit unknown",
    "failed after commit",
    "files left over",
)


class Tried(Protocol):
    """What came of a point or a state: see `trial.Outcome` and `recovery.Recovery`."""

    @property
    def fault(self) -> str:
        """What happened."""
        ...

    @property
    def operation(self) -> str:
        """During what."""
        ...

    @property
    def reached(self) -> bool:
        """Whether it happened where it was to."""
        ...

    @property
    def wrong(self) -> tuple[str, ...]:
        """What must not be."""
        ...

    @property
    def resumed(self) -> bool:
        """Whether the same command then gave an undisturbed run's output."""
        ...

    @property
    def commit_unknown(self) -> bool:
        """Whether the run said that its commit may not be on disk."""
        ...

    @property
    def failed_late(self) -> bool:
        """Whether the run ended with an error once it was visible and on disk."""
        ...

    @property
    def left_over(self) -> tuple[str, ...]:
        """Files in the staging folder that no one needs."""
        ...


@dataclasses.dataclass
class Row:
    """What came of one fault during one operation, counted.

    Attributes:
        fault: What happened.
        operation: During what.
        tried: How many points or states.
        wrong: Those with an outcome that must not be.
        missed: Those where the fault struck elsewhere, or not at all: nothing is told by them.
        resumed: Those where the same command then gave an undisturbed run's output.
        commit_unknown: Those where the run said that its commit may not be on disk.
        failed_late: Those where the run ended with an error once it was visible and on disk.
        left_over: Those after which the staging folder has files that no one needs.
    """

    fault: str
    operation: str
    tried: int = 0
    wrong: int = 0
    missed: int = 0
    resumed: int = 0
    commit_unknown: int = 0
    failed_late: int = 0
    left_over: int = 0

    def add(self, outcome: Tried) -> None:
        """Count an outcome; of a missed one, nothing but that."""
        self.tried += 1
        self.wrong += bool(outcome.wrong)
        if not outcome.reached:
            self.missed += 1
            return
        self.resumed += outcome.resumed
        self.commit_unknown += outcome.commit_unknown
        self.failed_late += outcome.failed_late
        self.left_over += bool(outcome.left_over)


def rows_of(outcomes: Iterable[Tried]) -> list[Row]:
    """Count outcomes by fault and operation, in order of appearance, and all of them last."""
    rows: dict[tuple[str, str], Row] = {}
    total = Row("all", "")
    for outcome in outcomes:
        key = (outcome.fault, outcome.operation)
        rows.setdefault(key, Row(*key)).add(outcome)
        total.add(outcome)
    return [*rows.values(), total]


def as_markdown(rows: Sequence[Row]) -> str:
    """Write the table as Markdown."""
    return _table(TITLES, 2, [tuple(dataclasses.asdict(row).values()) for row in rows])


def controls_as_markdown(controls: Sequence[tuple[str, int, int]]) -> str:
    """Write as Markdown how many states are wrong without the fsync of a file or folder."""
    titles = ("without the fsync of", "states", "wrong outcomes")
    return _table(titles, 1, [(f"`{name}`", tried, wrong) for name, tried, wrong in controls])


def as_json(outcomes: Sequence[Tried], controls: Sequence[tuple[str, int, int]]) -> dict[str, Any]:
    """Give the rows, and each point and state that isn't as it should be, for machines."""
    return {
        "rows": [dataclasses.asdict(row) for row in rows_of(outcomes)],
        "failed": [str(outcome) for outcome in outcomes if outcome.wrong or not outcome.reached],
        "controls": [
            {"without_sync": name, "states": tried, "wrong": wrong}
            for name, tried, wrong in controls
        ],
    }


def _table(titles: Sequence[str], words: int, rows: Sequence[Sequence[object]]) -> str:
    ruler = "| " + " | ".join("---" if at < words else "---:" for at in range(len(titles))) + " |"
    lines = [titles, *rows]
    written = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    return "\n".join([written[0], ruler, *written[1:]])

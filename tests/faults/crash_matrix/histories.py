"""What comes before a power loss: runs recorded with all that they do to a disk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from crash_matrix.operations import Mark, Operation, Recording, Sync, Tree, replay
from crash_matrix.scene import CLEAN_INPUT, Attempt, Scene
from twofold.app.batch import Step, list_runs

OUTPUT = Path("made", "out")
"""The output folder below what is recorded: neither it nor the folder above it is there before."""
BUDGET_EXCEEDED, KILLED = 3, -9


@dataclasses.dataclass(frozen=True)
class History:
    """Attempts at one run, one after the other.

    Attributes:
        name: For people.
        attempts: The last one ends well.
        tree: What was on disk before.
    """

    name: str
    attempts: tuple[Attempt, ...]
    tree: Tree = dataclasses.field(default_factory=dict[str, bytes | None])

    @property
    def source(self) -> str:
        """The run's input."""
        return self.attempts[-1].source


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A history as it took place.

    Attributes:
        history: Which.
        operations: What was on disk before, then all that was done to it.
        begin: How many of the operations tell what was there before.
        safe_rows: After how many operations the run said how many of its rows were on disk.
    """

    history: History
    operations: tuple[Operation, ...]
    begin: int
    safe_rows: tuple[tuple[int, int], ...]

    @property
    def steps(self) -> list[str]:
        """The steps that the run reported."""
        return [operation.step for operation in self.operations if isinstance(operation, Mark)]

    @property
    def syncs(self) -> int:
        """How often something was synced."""
        return sum(isinstance(operation, Sync) for operation in self.operations)

    def without_sync(self, name: str) -> Recorded:
        """Give what a run would have done that doesn't sync files or folders of a name.

        Its instants are those of this run: in place of each fsync there is an empty mark.
        """
        left = tuple(
            Mark("") if isinstance(operation, Sync) and operation.name == name else operation
            for operation in self.operations
        )
        return dataclasses.replace(self, operations=left)

    def promised(self, after: int) -> tuple[int, bool]:
        """Give the rows said to be on disk after some operations, and whether the run is done."""
        rows = max((rows for at, rows in self.safe_rows if at <= after), default=0)
        return rows, after == len(self.operations)


ALONE = History("one attempt", (Attempt(),))
CLEAN = History("nothing set aside", (Attempt(source=CLEAN_INPUT),))


def interrupted(steps: Sequence[str]) -> list[History]:
    """Give the histories whose first attempt ends at some step.

    Args:
        steps: The steps of an undisturbed run.
    """

    def killed(step: Step, which: int) -> Attempt:
        places = [at for at, name in enumerate(steps, start=1) if name == step.name]
        return Attempt(kill_at=places[which], code=KILLED)

    overdrawn = Attempt(more=("--max-quarantined-rows", "1"), code=BUDGET_EXCEEDED)
    return [
        History("killed in its last partition", (killed(Step.FINISH, -1), Attempt())),
        History("killed before its commit", (killed(Step.COMMIT, 0), Attempt())),
        History("killed after its commit", (killed(Step.SYNC, 0), Attempt())),
        History("error budget overdrawn, then raised", (overdrawn, Attempt())),
    ]


def killed_at_syncs(count: int) -> list[History]:
    """Give the histories whose first attempt is killed instead of one fsync, for each of them."""
    return [
        History(f"killed at fsync {number}", (Attempt(kill_at_sync=number, code=KILLED), Attempt()))
        for number in range(1, count + 1)
    ]


def record(scene: Scene, history: History, folder: Path) -> Recorded:
    """Let a history take place, below an empty folder.

    Raises:
        RuntimeError: The record isn't what is then there.
    """
    root, notes = folder / "disk", folder / "notes"
    lay_down(root, history.tree)
    recording = Recording(str(root), str(notes), history.tree)
    begin = recording.begin
    for attempt in history.attempts:
        scene.record(recording, root / OUTPUT, attempt, notes)
    operations = tuple(recording.operations)
    if replay(operations) != take_up(root):
        raise RuntimeError(f"{history.name}: expected a whole record, but the disk differs from it")
    safe_rows: list[tuple[int, int]] = []
    for at, operation in enumerate(operations):
        # An attempt has said nothing yet while it takes over.
        if isinstance(operation, Mark) and operation.step != Step.TAKE_OVER.name:
            shown = folder / "shown"
            lay_down(shown, replay(operations[:at]))
            rows = sum(status.rows_done for status in list_runs(shown / OUTPUT))
            shutil.rmtree(shown)
            safe_rows.append((at, rows))
    return Recorded(history, operations, begin, tuple(safe_rows))


def lay_down(folder: Path, tree: Tree) -> None:
    """Write a tree into a new folder."""
    folder.mkdir(parents=True)
    for path, content in tree.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


def take_up(folder: Path) -> dict[str, bytes | None]:
    """Read a folder as a tree."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }

"""A state of the disk laid down, looked at, and the run resumed from it."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from crash_matrix.child import NOW
from crash_matrix.histories import OUTPUT, Recorded, lay_down
from crash_matrix.operations import Tree
from crash_matrix.power_loss import Loss, states
from crash_matrix.reader import look
from crash_matrix.scene import BATCH_ROWS, FINE_ROWS, MODEL, RUN_ID, Result, Scene
from crash_matrix.trial import DIFFERS
from twofold.app.batch import BatchSettings, RunRequest, RunState, Watch, list_runs, run_batch

SETTINGS = BatchSettings(workers=1, batch_rows=BATCH_ROWS, partition_rows=FINE_ROWS)


@dataclasses.dataclass(frozen=True)
class Case:
    """A state that a run was left in, and what it had promised by then.

    Attributes:
        loss: What happened.
        history: What was before, in words.
        after: After how many operations.
        tree: What is on disk.
        source: The run's input.
        rows: Of those, so many were said to be on disk.
        done: Whether the run had ended well.
    """

    loss: Loss
    history: str
    after: int
    tree: Tree
    source: str
    rows: int
    done: bool

    def __str__(self) -> str:
        """Name it for people."""
        return f"power loss after operation {self.after} ({self.history}): {self.loss}"


@dataclasses.dataclass(frozen=True)
class Recovery:
    """What came of a case.

    Attributes:
        case: Which.
        wrong: What must not be, in words.
        visible: Whether the run was visible before it was resumed.
        resumed: Whether it then had an undisturbed run's output.
        rows_resumed: Rows that weren't predicted again.
        left_over: Files left where the run was staged, which an undisturbed run takes away.
    """

    case: Case
    wrong: tuple[str, ...]
    visible: bool
    resumed: bool
    rows_resumed: int
    left_over: tuple[str, ...]

    reached = True
    commit_unknown = False
    failed_late = False

    def __str__(self) -> str:
        """Say what is wrong, for people."""
        return "; ".join([str(self.case), *self.wrong])

    @property
    def fault(self) -> str:
        """What happened."""
        return "power loss"

    @property
    def operation(self) -> str:
        """What it did to the disk."""
        return str(self.case.loss)


def cases(recorded: Iterable[Recorded], seed: int) -> list[Case]:
    """Make the cases of some histories: each state once, with the most that it had to hold."""
    found: dict[tuple[str, bytes], Case] = {}
    for history in recorded:
        source = history.history.source
        for after in range(history.begin, len(history.operations) + 1):
            rows, done = history.promised(after)
            for state in states(history.operations, history.begin, after, seed):
                key = (source, state.key)
                other = found.get(key)
                if other is None:
                    found[key] = Case(
                        state.loss, history.history.name, after, state.tree, source, rows, done
                    )
                elif (done, rows) > (other.done, other.rows):
                    found[key] = dataclasses.replace(
                        other, after=after, history=history.history.name, rows=rows, done=done
                    )
    return list(found.values())


def recover(
    scene: Scene, results: Mapping[str, Result], tried: Sequence[Case], *, at_once: int
) -> Generator[Recovery]:
    """Try cases, several at once, in processes that stay.

    Args:
        scene: Where they take place.
        results: What an undisturbed run commits, by its input.
        tried: The cases.
        at_once: Processes.
    """
    # States are laid down in memory where that is possible: no disk has to take part.
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
    above = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="crash-matrix-", dir=above) as folder,
        ProcessPoolExecutor(
            at_once,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(scene, dict(results), folder),
        ) as pool,
    ):
        yield from pool.map(_recover_here, tried, chunksize=4)


_here: list[tuple[Scene, dict[str, Result], Path]] = []
"""What a process of the pool works with."""


def _begin(scene: Scene, results: dict[str, Result], folder: str) -> None:
    sys.path.insert(0, str(scene.folder))
    _here.append((scene, results, Path(tempfile.mkdtemp(dir=folder))))


def _recover_here(case: Case) -> Recovery:
    scene, results, folder = _here[0]
    return recover_one(scene, results[case.source], case, folder)


def recover_one(scene: Scene, expected: Result, case: Case, folder: Path) -> Recovery:
    """Lay a state down, look at it as a reader does, resume the run, and compare."""
    disk = folder / "disk"
    lay_down(disk, case.tree)
    try:
        return _recover(scene, expected, case, disk / OUTPUT)
    finally:
        shutil.rmtree(disk)


def _recover(scene: Scene, expected: Result, case: Case, output: Path) -> Recovery:
    target = output / RUN_ID
    visible = target.exists()
    wrong: list[str] = []
    if visible and (problem := look(target)):
        wrong.append(f"a reader sees: {problem}")
    if case.done and not visible:
        wrong.append("the run had said that it is committed, and is gone")
    resumed, rows_resumed = False, 0
    left_over: tuple[str, ...] = ()
    try:
        rows = sum(status.rows_done for status in list_runs(output))
        if rows < case.rows:
            wrong.append(f"{case.rows} rows had been said to be on disk, {rows} are")
        request = RunRequest(
            model=MODEL,
            input=str(scene.folder / case.source),
            output=output,
            registry=scene.folder / "registry",
            key="id",
            run_id=RUN_ID,
        )
        result = run_batch(request, settings=SETTINGS, watch=Watch(clock=lambda: NOW))
        rows_resumed = result.rows_resumed
        if visible != (result.state is RunState.ALREADY_COMMITTED):
            wrong.append(f"visible: {visible}, but the run says {result.state}")
        if rows_resumed < rows:
            wrong.append(f"{rows} rows were shown as done, {rows_resumed} were taken up")
        found = scene.result(output)
        resumed = found.equals(expected) and look(target) is None
        left_over = tuple(sorted(found.staging - expected.staging))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
        wrong.append(f"resuming it raised {type(error).__name__}: {error}")
    if not resumed:
        wrong.append(DIFFERS)
    return Recovery(case, tuple(wrong), visible, resumed, rows_resumed, left_over)

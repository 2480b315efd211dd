"""Where the runs of the matrix take place: a packed model, an input, and the command to run."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import twofold
from crash_matrix.calls import TRACED, Call, read_calls
from crash_matrix.child import KILL_AT, KILL_AT_SYNC, STEPS, WITHOUT_SYNC
from crash_matrix.operations import Recording
from crash_matrix.points import Fault, Point, call_points, hidden, order, step_points
from twofold.app.batch import Step

ROWS = 150
PARTITION_ROWS = 40
FINE_ROWS = 30
"""Rows of a partition where power is lost: there is more that can be lost, and no more to run."""
BATCH_ROWS = 50
MIXED_INPUT, CLEAN_INPUT = "in.parquet", "clean.parquet"
RUN_ID = "night"
MODEL = "doubler"
DEADLINE_S = 600
HERE = Path(__file__).parent
ERRNOS = {
    Fault.NO_SPACE: errno.ENOSPC,
    Fault.BROKEN_DISK: errno.EIO,
    Fault.FULL_DISK: errno.ENOSPC,
    Fault.FILE_TOO_LONG: errno.EFBIG,
}

# The model fails on one row of the first partition, the signature refuses another; the second
# partition has nothing to set aside.
POISON = 33
NULLS = (7,)
SOURCE = f"""
def predict(row):
    if row["amount"] == {POISON}.0:
        raise ValueError("poison")
    return row["amount"] * 2.0
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process that ended.

    Attributes:
        code: Its exit code; negative, the signal that ended it.
        said: What it wrote to standard error.
        calls: Its calls, if it was traced.
    """

    code: int
    said: str
    calls: tuple[Call, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """A committed run, as far as two of them can be compared.

    Attributes:
        digests: SHA-256 by name, of all files but the manifest.
        manifest: Without when it was finished.
        staging: Names of the files left where the run was staged.
    """

    digests: dict[str, str]
    manifest: dict[str, Any]
    staging: frozenset[str]

    def equals(self, other: Result) -> bool:
        """Whether both committed the same; what is left beside them may differ."""
        return (self.digests, self.manifest) == (other.digests, other.manifest)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """How one process of a run goes.

    Attributes:
        source: Its input, a name in the scene's folder.
        kill_at: The step at which it is killed, from 1; 0 for none.
        kill_at_sync: The fsync instead of which it is killed, from 1; 0 for none.
        without_sync: The name of a file or folder that it doesn't sync.
        more: Further arguments.
        code: The exit code it ends with.
    """

    source: str = MIXED_INPUT
    kill_at: int = 0
    kill_at_sync: int = 0
    without_sync: str = ""
    more: tuple[str, ...] = ()
    code: int = 0


@dataclasses.dataclass(frozen=True)
class Scene:
    """A folder with all that a run needs."""

    folder: Path

    def command(self, source: str = MIXED_INPUT, partition_rows: int = PARTITION_ROWS) -> list[str]:
        """The command, but for its output folder."""
        return [
            sys.executable, str(HERE / "child.py"), "batch", "run", MODEL,
            str(self.folder / source), "--registry", str(self.folder / "registry"),
            "--key", "id", "--run-id", RUN_ID, "--partition-rows", str(partition_rows),
            "--batch-rows", str(BATCH_ROWS), "--workers", "1", "--output",
        ]  # fmt: skip

    def run(
        self, output: Path, point: Point | None = None, *, follow: tuple[Path, ...] | None = None
    ) -> Ended:
        """Run the command.

        Args:
            output: The output folder.
            point: What happens to the run.
            follow: Give the calls on these paths; on all of them if it is empty.
        """
        kill_at = point.number if point and point.fault is Fault.KILL_AT_STEP else 0
        log = output.with_name(f"{output.name}.strace")
        tracing: list[str] = []
        if point and not kill_at:
            assert follow is None, "the call is found among those on its own path"
            tracing = _strace(log, _injection(output, point), is_killed=point.fault not in ERRNOS)
        elif follow is not None:
            tracing = _strace(log, [part for path in follow for part in ("-P", str(path))])
        attempt = Attempt(kill_at=kill_at)
        ended = self.go([*tracing, *self.command(), str(output)], attempt, notes_of(output))
        calls = read_calls(log.read_text().splitlines(), str(output)) if tracing else []
        return dataclasses.replace(ended, calls=tuple(calls))

    def go(self, command: Sequence[str], attempt: Attempt, notes: Path) -> Ended:
        """Run a command that is the child, whose steps are noted."""
        done = subprocess.run(
            command,
            env=self._environment(attempt, notes),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return Ended(done.returncode, done.stderr, ())

    def record(self, recording: Recording, output: Path, attempt: Attempt, notes: Path) -> None:
        """Run once, and add what it does to a recording.

        Raises:
            RuntimeError: It didn't end as it should: nothing can be told by it.
        """
        log = notes.with_suffix(".strace")
        # Strings in hex, and whole: what is written is to be had byte for byte.
        whole = ["-xx", "--string-limit", str(1 << 24)]
        # Files are written from their start or at their end; where they aren't, the record would
        # differ from the disk. Each call that isn't traced spares two changes of process.
        traced = _strace(log, whole, traced=[name for name in TRACED if name != "close"])
        command = [*traced, *self.command(attempt.source, FINE_ROWS), str(output), *attempt.more]
        ended = self.go(command, attempt, notes)
        if ended.code != attempt.code:
            raise RuntimeError(f"expected exit code {attempt.code}, got {ended.code}: {ended.said}")
        recording.read(log.read_text().splitlines())

    def steps(self, output: Path) -> list[str]:
        """Give the step events of all runs to an output folder; none if none came so far."""
        notes = notes_of(output)
        return notes.read_text().split() if notes.exists() else []

    def result(self, output: Path) -> Result:
        """Read what a run committed."""
        folder = output / RUN_ID
        manifest = json.loads((folder / "manifest.json").read_bytes())
        del manifest["finished_at"]
        digests = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.iterdir()
            if path.name != "manifest.json"
        }
        staging = output / ".twofold" / RUN_ID
        left = {path.name for path in staging.rglob("*") if path.is_file()}
        return Result(digests, manifest, frozenset(left))

    def _environment(self, attempt: Attempt, notes: Path) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("TWOFOLD_")}
        source = Path(twofold.__file__).parents[1]
        return kept | {
            "PYTHONPATH": os.pathsep.join([str(source), str(self.folder)]),
            # Not every Python notices that a file of bytecode was cut short by a limit.
            "PYTHONDONTWRITEBYTECODE": "1",
            STEPS: str(notes),
            KILL_AT: str(attempt.kill_at),
            KILL_AT_SYNC: str(attempt.kill_at_sync),
            WITHOUT_SYNC: attempt.without_sync,
        }


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """What a run does and leaves when nothing happens to it.

    Attributes:
        result: What it commits.
        points: Where it can be disturbed.
        steps: The steps of its only attempt.
        hidden: Calls that can't be disturbed: another thread's are always struck first.
    """

    result: Result
    points: tuple[Point, ...]
    steps: tuple[str, ...]
    hidden: tuple[Call, ...] = ()


def _injection(output: Path, point: Point) -> list[str]:
    error = ERRNOS.get(point.fault)
    what = f"error={errno.errorcode[error]}" if error else "signal=KILL"
    path = os.path.normpath(output / point.path)
    return ["-P", path, "-e", f"inject={point.operation}:{what}:when={point.number}"]


def _strace(
    log: Path, more: list[str], *, traced: Sequence[str] = TRACED, is_killed: bool = False
) -> list[str]:
    # An unknown call is no error with a question mark: not every machine has all of them.
    names = ",".join(f"?{name}" for name in traced)
    found = ["strace", "--follow-forks", "--decode-fds=path", "--output", str(log)]
    if not is_killed:
        # Spares the calls that aren't traced. strace 6.1 injects errors with it, but not always
        # a signal.
        found.append("--seccomp-bpf")
    return [*found, "-e", f"trace={names}", *more]


def notes_of(output: Path) -> Path:
    """Where the steps of the runs to an output folder are noted."""
    return output.with_name(f"{output.name}.steps")


def kill_at_step(number: int) -> Point:
    """A kill at a step of which only the number matters."""
    return Point(Fault.KILL_AT_STEP, "", "", number)


def strace_works() -> bool:
    """Whether calls can be traced here: strace is installed, and a container may forbid it."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(
        ["strace", "--seccomp-bpf", "--follow-forks", "--output", os.devnull, "true"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def make_scene(folder: Path) -> Scene:
    """Pack a model and write an input."""
    (folder / "crash_matrix_model.py").write_text(SOURCE)
    sample = pa.table({"amount": pa.array([0.0, 1.0, 500.0], pa.float64())})
    sys.path.insert(0, str(folder))
    try:
        registry = folder / "registry"
        twofold.pack("crash_matrix_model:predict", name=MODEL, sample=sample, registry=registry)
    finally:
        sys.path.remove(str(folder))
    ids = [f"c{number}" for number in range(ROWS)]
    mixed = [None if number in NULLS else float(number) for number in range(ROWS)]
    clean = [float(ROWS + number) for number in range(ROWS)]
    for name, amounts in ((MIXED_INPUT, mixed), (CLEAN_INPUT, clean)):
        table = pa.table({"id": ids, "amount": pa.array(amounts, pa.float64())})
        pq.write_table(table, folder / name)
    return Scene(folder)


def checked_result(scene: Scene, output: Path, aside: Collection[int]) -> Result:
    """Read what a run committed that nothing happened to.

    Raises:
        RuntimeError: It hasn't each row once, the bad ones in quarantine.
    """
    folder = output / RUN_ID
    parts = [pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]
    ids = pa.concat_tables(parts)["id"].to_pylist()
    quarantine = folder / "quarantine.parquet"
    found = pq.read_table(quarantine)["row"].to_pylist() if quarantine.exists() else []
    if ids != [f"c{n}" for n in range(ROWS) if n not in aside] or found != sorted(aside):
        raise RuntimeError("an undisturbed run: expected each row once, got others. See `scene`.")
    return scene.result(output)


def run_undisturbed(scene: Scene, *, trace: bool) -> Undisturbed:
    """Run once, and record what could be disturbed.

    Raises:
        RuntimeError: The run isn't what the matrix is about: nothing can be told by it.
    """
    output = scene.folder / "undisturbed"
    ended = scene.run(output, follow=() if trace else None)
    if ended.code:
        raise RuntimeError(f"the undisturbed run: expected exit code 0, got {ended.code}")
    result = checked_result(scene, output, {*NULLS, POISON})
    steps = scene.steps(output)
    points = [*step_points(steps), *call_points(ended.calls, str(output))]
    unseen: list[Call] = []
    if trace:
        # The last step at which nothing is visible yet: most is there to be taken up or taken away.
        after = steps.index(Step.COMMIT.name) + 1
        again = scene.folder / "undisturbed-second"
        scene.run(again, kill_at_step(after))
        calls = scene.run(again, follow=()).calls
        points += call_points(calls, str(again), after=after)
        unseen = [
            *hidden(ended.calls, points, str(output)),
            *hidden(calls, points, str(again)),
        ]
    return Undisturbed(result, tuple(order(points)), tuple(steps), tuple(unseen))

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
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import twofold
from crash_matrix.calls import TRACED, Call, read_calls
from crash_matrix.child import KILL_AT, STEPS
from crash_matrix.points import Fault, Point, call_points, order, step_points
from twofold.app.batch import Step

ROWS = 150
PARTITION_ROWS = 100
RUN_ID = "night"
MODEL = "doubler"
DEADLINE_S = 120
HERE = Path(__file__).parent
ERRNOS = {Fault.NO_SPACE: errno.ENOSPC, Fault.BROKEN_DISK: errno.EIO}

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
        staging: What is left where the run was staged.
    """

    digests: dict[str, str]
    manifest: dict[str, Any]
    staging: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Scene:
    """A folder with all that a run needs."""

    folder: Path

    @property
    def command(self) -> list[str]:
        """The command, but for its output folder."""
        return [
            sys.executable, str(HERE / "child.py"), "batch", "run", MODEL,
            str(self.folder / "in.parquet"), "--registry", str(self.folder / "registry"),
            "--key", "id", "--run-id", RUN_ID, "--partition-rows", str(PARTITION_ROWS),
            "--batch-rows", "50", "--workers", "1", "--output",
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
        done = subprocess.run(
            [*tracing, *self.command, str(output)],
            env=self._environment(kill_at, output),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        calls = read_calls(log.read_text().splitlines(), str(output)) if tracing else []
        return Ended(done.returncode, done.stderr, tuple(calls))

    def steps(self, output: Path) -> list[str]:
        """Give the step events of all runs to an output folder."""
        return self._notes(output).read_text().split()

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
        left = {path.relative_to(staging).as_posix() for path in staging.rglob("*")}
        return Result(digests, manifest, frozenset(left))

    def _environment(self, kill_at: int, output: Path) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("TWOFOLD_")}
        source = Path(twofold.__file__).parents[1]
        return kept | {
            "PYTHONPATH": os.pathsep.join([str(source), str(self.folder)]),
            STEPS: str(self._notes(output)),
            KILL_AT: str(kill_at),
        }

    def _notes(self, output: Path) -> Path:
        return output.with_name(f"{output.name}.steps")


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """What a run does and leaves when nothing happens to it."""

    result: Result
    points: tuple[Point, ...]


def _injection(output: Path, point: Point) -> list[str]:
    error = ERRNOS.get(point.fault)
    what = f"error={errno.errorcode[error]}" if error else "signal=KILL"
    path = os.path.normpath(output / point.path)
    return ["-P", path, "-e", f"inject={point.operation}:{what}:when={point.number}"]


def _strace(log: Path, more: list[str], *, is_killed: bool = False) -> list[str]:
    # An unknown call is no error with a question mark: not every machine has all of them.
    names = ",".join(f"?{name}" for name in TRACED)
    found = ["strace", "--follow-forks", "--decode-fds=path", "--output", str(log)]
    if not is_killed:
        # Spares the calls that aren't traced. strace 6.1 injects errors with it, but not always
        # a signal.
        found.append("--seccomp-bpf")
    return [*found, "-e", f"trace={names}", *more]


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
    amounts = [None if number in NULLS else float(number) for number in range(ROWS)]
    table = pa.table({"id": ids, "amount": pa.array(amounts, pa.float64())})
    pq.write_table(table, folder / "in.parquet")
    return Scene(folder)


def run_undisturbed(scene: Scene, *, trace: bool) -> Undisturbed:
    """Run once, and record what could be disturbed.

    Raises:
        RuntimeError: The run isn't what the matrix is about: nothing can be told by it.
    """
    output = scene.folder / "undisturbed"
    ended = scene.run(output, follow=() if trace else None)
    if ended.code:
        raise RuntimeError(f"the undisturbed run: expected exit code 0, got {ended.code}")
    result = scene.result(output)
    folder = output / RUN_ID
    parts = [pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]
    ids = pa.concat_tables(parts)["id"].to_pylist()
    aside = pq.read_table(folder / "quarantine.parquet").num_rows
    if ids != [f"c{n}" for n in range(ROWS) if n not in {*NULLS, POISON}] or aside != ROWS - len(
        ids
    ):
        raise RuntimeError("the undisturbed run: expected each row once, got others. See `scene`.")
    steps = scene.steps(output)
    points = [*step_points(steps), *call_points(ended.calls, str(output))]
    if trace:
        # The last step at which nothing is visible yet: most is there to be taken up or taken away.
        after = steps.index(Step.COMMIT.name) + 1
        output = scene.folder / "undisturbed-second"
        scene.run(output, kill_at_step(after))
        points += call_points(scene.run(output, follow=()).calls, str(output), after=after)
    return Undisturbed(result, tuple(order(points)))

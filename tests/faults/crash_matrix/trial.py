"""One point tried: a run disturbed there, resumed by the same command, and compared."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from crash_matrix.calls import SYNCS, trusted_after_failed_sync
from crash_matrix.points import Fault, Point
from crash_matrix.reader import look
from crash_matrix.scene import ERRNOS, HERE, RUN_ID, Ended, Scene, Undisturbed, kill_at_step

FAILED, COMMIT_UNKNOWN = 1, 4
DIFFERS = "the output differs from an undisturbed run's"
WORDS = {fault: os.strerror(error) for fault, error in ERRNOS.items()}
# What these fail to do may be done already: the folder is there, the file is on disk. If it isn't,
# the run fails later, or its output differs.
MAY_PASS = {"close", "mkdir"}
# Behind the commit, what was staged is taken away: what stays there harms nobody, and goes with the
# next attempt.
TAKES_AWAY = {"unlink", "unlinkat", "rmdir"}
# Lines have checksums of their own, and what a lost one spoke of is done again: the ledger may be
# added to after a failed fsync, where another file has to be written anew.
CHECKED_LINE_BY_LINE = "ledger.jsonl"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a point.

    Attributes:
        point: Which.
        reached: Whether the fault struck the step or the call that the point names.
        code: Exit code of the disturbed run; negative, the signal that ended it.
        committed: Whether the run was visible then.
        resumed: Whether the same command then ended well, with an undisturbed run's output.
        wrong: What must not be, in words.
        left_over: Files left where the run was staged, which an undisturbed run takes away.
        looks: How often the reader looked.
    """

    point: Point
    reached: bool
    code: int
    committed: bool
    resumed: bool
    wrong: tuple[str, ...]
    left_over: tuple[str, ...]
    looks: int

    def __str__(self) -> str:
        """Say what is wrong, for people."""
        missed = () if self.reached else ("missed: the fault didn't strike there",)
        return "; ".join([str(self.point), *missed, *self.wrong])

    @property
    def fault(self) -> str:
        """What happened."""
        return str(self.point.fault)

    @property
    def operation(self) -> str:
        """During what."""
        return f"`{self.point.operation}`"

    @property
    def commit_unknown(self) -> bool:
        """Whether the run said so."""
        return self.code == COMMIT_UNKNOWN

    @property
    def failed_late(self) -> bool:
        """Whether it ended with an error although the run was committed."""
        return self.code == FAILED and self.committed


def try_point(scene: Scene, undisturbed: Undisturbed, point: Point, output: Path) -> Outcome:
    """Disturb a run, resume it, compare; the output folder is removed if nothing is wrong."""
    with reading(output / RUN_ID) as seen:
        if point.after:
            scene.run(output, kill_at_step(point.after))
        disturbed = scene.run(output, point)
        reached = _reached(point, disturbed, scene.steps(output)[-1:], output)
        committed = (output / RUN_ID).exists()
        wrong = wrong_end(point, disturbed, output) if reached else []
        follow = _follows(point, output)
        resumed = scene.run(output, follow=follow)
    wrong += wrong_resumed(resumed, seen)
    result = scene.result(output) if (output / RUN_ID / "manifest.json").exists() else None
    whole = result is not None and result.equals(undisturbed.result)
    if not whole:
        wrong.append(DIFFERS)
    if follow and trusted_after_failed_sync([*disturbed.calls, *resumed.calls], str(follow[0])):
        wrong.append("the file is used after its fsync failed, without being written anew")
    if not wrong:
        remove(output)
    return Outcome(
        point=point,
        reached=reached,
        code=disturbed.code,
        committed=committed,
        resumed=whole and resumed.code == 0,
        wrong=tuple(wrong),
        left_over=tuple(sorted(result.staging - undisturbed.result.staging)) if result else (),
        looks=seen["looks"],
    )


def remove(output: Path) -> None:
    """Take away an output folder, and what was noted beside it."""
    for path in output.parent.glob(f"{output.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def wrong_resumed(resumed: Ended, seen: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the run that resumes, and with what a reader saw until then."""
    wrong = [f"a reader saw: {what}" for what in seen["wrong"]]
    if resumed.code:
        wrong.append(f"resuming it ended with {resumed.code}: {resumed.said.strip()[-300:]}")
    return wrong


def wrong_end(point: Point, ended: Ended, output: Path) -> list[str]:
    """Say what is wrong with how a disturbed run ended, and with what was visible then."""
    committed = (output / RUN_ID).exists()
    wrong = [] if not committed else _said("after the fault", look(output / RUN_ID))
    return wrong + _wrong_words(point, ended, committed=committed)


def _wrong_words(point: Point, ended: Ended, *, committed: bool) -> list[str]:
    if point.fault not in ERRNOS:
        return []
    if ended.code == 0:
        may_pass = MAY_PASS | TAKES_AWAY if committed else MAY_PASS
        return [] if point.operation in may_pass else ["the error was passed over"]
    wrong = []
    if ended.code not in (FAILED, COMMIT_UNKNOWN):
        wrong.append(f"exit code {ended.code}")
    if ended.code == COMMIT_UNKNOWN and not committed:
        wrong.append("it says that the run is complete, but it isn't visible")
    if not ended.said.startswith("error: ") or "Traceback" in ended.said:
        wrong.append(f"no clear error: {ended.said.strip()[-300:]}")
    elif WORDS[point.fault] not in ended.said:
        wrong.append(f"the error doesn't say {WORDS[point.fault]!r}: {ended.said.strip()[-300:]}")
    return wrong


def _reached(point: Point, ended: Ended, last_step: list[str], output: Path) -> bool:
    """Whether the fault struck where the point says, and nowhere before."""
    if point.fault is Fault.KILL_AT_STEP:
        return ended.code == -signal.SIGKILL and last_step == [point.operation]
    is_kill = point.fault is Fault.KILL_AT_CALL
    if is_kill and ended.code != -signal.SIGKILL:
        return False
    struck = [call for call in ended.calls if (call.died if is_kill else call.injected)]
    return bool(struck) and point.is_struck_by(struck[0], str(output))


def _follows(point: Point, output: Path) -> tuple[Path, ...] | None:
    """The file whose calls tell whether it is written anew."""
    fails_to_sync = point.operation in SYNCS and point.fault in ERRNOS
    if not fails_to_sync or Path(point.path).name == CHECKED_LINE_BY_LINE:
        return None
    path = output / point.path
    # A folder can be synced again: its entries aren't pages of ours.
    return (path,) if path.suffix else None


def _said(when: str, what: str | None) -> list[str]:
    return [f"{when}: {what}"] if what else []


@contextlib.contextmanager
def reading(folder: Path) -> Generator[dict[str, Any]]:
    """Look at a folder as long as the block runs; then the yielded dict has what was seen."""
    seen: dict[str, Any] = {}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(HERE / "reader.py"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            yield seen
            printed, _ = process.communicate(timeout=30)
            seen.update(json.loads(printed))
        finally:
            process.kill()

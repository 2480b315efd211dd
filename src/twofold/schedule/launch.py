"""Starts the process of an attempt, finds it again after a crash, looks whether it has ended.

An attempt has a file, `RUN_ID.attempt`, that is the standard output of its process: a first line
with the process id, then what `twofold batch run --json` writes when it ends. The file is locked
as long as the process lives, whoever started it, because the lock belongs to the open file and
the process has it open. So a scheduler that comes after a crash knows what is still at work, and
how ended what isn't.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from twofold.schedule.agenda import Ending

COMMAND = (sys.executable, "-m", "twofold")
SUFFIX = ".attempt"
MAX_REASON = 500
"""Letters of an error message that are kept."""
MAX_RESULT_BYTES = 16_777_216
"""What is read of an attempt's file, from its end: libraries print to it, too."""

# Before the command begins its process id is in the file: nothing is ever at work unknown.
SHELL = 'echo "$$"; exec "$@"'


class _Result(msgspec.Struct):
    """What of a command's result says how it ended."""

    state: str = ""
    error: str = ""
    exit_code: int = 0


class Attempt:
    """The process at work on a run: a child of this process, or of one that crashed."""

    def __init__(self, path: Path, child: subprocess.Popen[bytes] | None, began_s: float) -> None:
        """Know an attempt.

        Args:
            path: Its file.
            child: Its process, if this one started it.
            began_s: When it began, or was found (monotonic).
        """
        self._path = path
        self._child = child
        self.began_s = began_s
        self.told_to_stop_s: float | None = None
        self.is_timed_out = False

    @property
    def is_found(self) -> bool:
        """Whether another process started it."""
        return self._child is None

    def poll(self) -> Ending | None:
        """Look whether it has ended, and how; None while it is at work."""
        if self._child is None and _is_locked(self._path):
            return None
        if self._child is not None and self._child.poll() is None:
            return None
        result = _result(self._path)
        # Who started it is gone, and its exit code with them: what it wrote last has it.
        code = result and result.exit_code
        if self._child is not None:
            code = self._child.returncode
        reason = result.error[:MAX_REASON] if result else ""
        return Ending(code, reason, self.is_timed_out)

    def stop(self, kind: signal.Signals) -> None:
        """Send a signal to it and to all it has started."""
        group = self._child.pid if self._child is not None else _process_id(self._path)
        if group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, kind)

    def forget(self) -> None:
        """Remove its file."""
        self._path.unlink(missing_ok=True)


def attempt_path(folder: Path, run_id: str) -> Path:
    """Where the file of a run's attempt lies."""
    return folder / f"{run_id}{SUFFIX}"


def launch(folder: Path, run_id: str, arguments: Sequence[str]) -> Attempt:
    """Start an attempt, in a process group of its own: Ctrl-C here doesn't reach it.

    Raises:
        OSError: No process can be started.
    """
    path = attempt_path(folder, run_id)
    # A new file: what an earlier attempt has left running may have the old one open.
    path.unlink(missing_ok=True)
    command = ["/bin/sh", "-c", SHELL, "sh", *COMMAND, *arguments]
    with path.open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        child = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=file, start_new_session=True
        )
    return Attempt(path, child, time.monotonic())


def find(folder: Path, run_id: str) -> Attempt | None:
    """Find the attempt that a crashed scheduler started, at work or ended; None if it has none."""
    path = attempt_path(folder, run_id)
    return Attempt(path, None, time.monotonic()) if path.exists() else None


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False  # Somebody removed it: nothing is known of the attempt.
    return False


def _process_id(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        first = file.readline(20).strip()
        return int(first) if first.isdigit() else None
    return None


def _result(path: Path) -> _Result | None:
    """What the command wrote; None if it hasn't come to that."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_RESULT_BYTES))
            _, begin, last = file.read().rpartition(b"\n{")
        found = msgspec.json.decode(begin + last, type=_Result)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if found.state or found.error else None

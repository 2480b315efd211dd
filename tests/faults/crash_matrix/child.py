"""The real `twofold` command, which notes each durable step of its run and can end at one.

A script: its arguments are those of `twofold`. The clock of records stands still, or no two runs
would have the same bytes.
"""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from twofold.app import batch
from twofold.cli import main

STEPS = "CRASH_MATRIX_STEPS"
"""Variable: the file that each step is noted in."""
KILL_AT = "CRASH_MATRIX_KILL_AT"
"""Variable: at which step, from 1, the process ends; 0 for none."""
KILL_AT_SYNC = "CRASH_MATRIX_KILL_AT_SYNC"
"""Variable: instead of which fsync, from 1, the process ends; 0 for none."""
WITHOUT_SYNC = "CRASH_MATRIX_WITHOUT_SYNC"
"""Variable: the name of a file or folder whose fsync is left out, as a defect would."""
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def run() -> None:
    """Be `twofold`, watched."""
    notes = Path(os.environ[STEPS])
    _watch_syncs(int(os.environ[KILL_AT_SYNC]), os.environ[WITHOUT_SYNC])
    kill_at = int(os.environ[KILL_AT])
    seen = 0

    def at(step: batch.Step) -> None:
        nonlocal seen
        seen += 1
        with notes.open("a") as file:
            file.write(f"{step.name}\n")
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    # The command takes `Watch` from there when it runs.
    batch.Watch = partial(batch.Watch, clock=lambda: NOW, step=at)  # type: ignore[misc]
    main()


def _watch_syncs(kill_at: int, without: str) -> None:
    """Put another in the place of the one door to fsync."""
    fsync = os.fsync
    seen = 0

    def sync(descriptor: int) -> None:
        nonlocal seen
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name != without:
            fsync(descriptor)

    os.fsync = sync  # type: ignore[assignment]


if __name__ == "__main__":
    run()

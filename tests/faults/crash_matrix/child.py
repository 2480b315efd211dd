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
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def run() -> None:
    """Be `twofold`, watched."""
    notes = Path(os.environ[STEPS])
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


if __name__ == "__main__":
    run()

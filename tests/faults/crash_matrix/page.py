"""The page of the documentation that shows the matrix."""

from __future__ import annotations

from collections.abc import Sequence

from crash_matrix.table import Row, as_markdown

PAGE = """\
# Crash matrix of batch runs

A real `twofold batch run` is disturbed at every durable step and in every file-system call that
changes something in its output folder; then the same command is run again, and its output is
compared, byte by byte, with an undisturbed run's. `make crash-matrix` does it and prints this table
of {points} points; `tests/faults/test_crash_matrix.py` tries some of them with every `make test`.

{table}

**Faults.** `SIGKILL` ends the process at a step (see `Step` in `src/twofold/batch/watch.py`), or
when it enters a call. `ENOSPC` and `EIO` are what strace answers a call with in the kernel's place.
Each call is struck once in a first attempt, and once in a second one, whose first was killed just
before its commit. Two threads work on a run: where both make the same call on one file, it is
struck in the one that does first.

**Wrong outcomes** would be: other bytes, other rows or another manifest (but for `finished_at`)
than an undisturbed run's; a second run that does not end well; an error passed over, one without a
clear message, or an exit code other than 1 or 4; a file in use whose `fsync` failed and that was
not written anew; a reader, which looks all the time, that sees the run before it is whole; a fault
that did not strike.

**Commit unknown** is exit code 4: the run is visible and whole, but the disk has not confirmed it.
**Failed after commit** is exit code 1 though the run is committed: what failed is the cleaning up.
**Files left over** are in the staging folder after a run that was disturbed behind its commit,
where no reader looks.

A killed process is no power failure: what the kernel had not written yet is not lost here.
"""


def render_page(rows: Sequence[Row]) -> str:
    """Write the page anew."""
    return PAGE.format(points=rows[-1].points, table=as_markdown(rows))

"""The page of the documentation that shows the matrix."""

from __future__ import annotations

from collections.abc import Sequence

from crash_matrix.survey import Survey
from crash_matrix.table import Row, as_markdown, controls_as_markdown

PAGE = """\
# Crash matrix of batch runs

What becomes of a batch run when its process is killed, its disk fails or is full, or the machine
loses power? A real `twofold batch run` is disturbed, then the same command is run again, and its
output is compared, byte by byte, with an undisturbed run's, while a reader looks all the time for
a run that isn't whole. `make crash-matrix` does all of it and writes this page;
`tests/faults/test_crash_matrix.py` tries a part with every `make test`.

{points} points at which a run was disturbed, {states} states of the disk after a loss of power:
**{wrong} wrong outcomes**.

{table}

## What is done

**SIGKILL** ends the process at a step (see `Step` in `src/twofold/batch/watch.py`), or when it
enters a call that changes something in the output folder. **ENOSPC and EIO** are what strace
answers such a call with in the kernel's place. Each call is struck in a first attempt, and in a
second one, whose first was killed just before its commit. What strace wrote tells whether the
fault struck the call that the point names; if not, the point is **missed**, and tells nothing. Two
threads work on a run: where both make the same call on one file, the one that does first is
struck; the other's like has to be struck in the second attempt, or it is named in the output.

**A disk that is full** is a small file system in memory: with room for a page more each time (and
for a file more), until a run fits. Then it is enlarged, and the run goes on. **Files that may not
grow** beyond a length (RLIMIT_FSIZE) do the same to each file. Here the kernel itself cuts writes
short. Where nothing may be mounted, the small disks are left out, and it is said.

**Power loss** is played on a model of a disk. What a run does to its output folder is recorded,
call by call, with every byte; the record has to give the folder that the run left. Then, for each
instant, folders are made that the disk may hold if power is lost there, and the run is resumed
from each. Recorded are {histories} runs: one without a disturbance, one with nothing to set aside,
some killed and resumed, one over its error budget and resumed, one killed in place of each of its
fsyncs and resumed, and some resumed from the states of an earlier loss.

## The model of a disk

- What was written to a file is there once an fsync of the file has returned.
- A name (of a new, renamed or deleted file or folder) is as it should be once an fsync of its
  folder has returned. The fsync of a file does nothing for its name, nor that of a folder for what
  its files hold.
- A rename happens or doesn't; both folders agree on it. It is on disk once the folder that it
  leads to was synced.
- All else is kept or lost, each by itself and in any order: names without content, later changes
  without earlier ones, files that end at any byte, sectors of 512 bytes that are zeros, or as they
  were.

This is less than ext4, XFS and Btrfs give in their usual modes. It asks of a disk that it doesn't
lie about what it has synced, and that what was synced doesn't rot; the method is that of Pillai et
al., "All File Systems Are Not Created Equal" (OSDI 2014). A file whose fsync failed is never used
again without being written anew (Rebello et al., "Can Applications Recover from fsync Failures?",
ATC 2020). Where states are too many to try all, they are drawn by chance, the same each time.

## What the outcomes mean

**Wrong** would be: other bytes, other rows or another manifest (but for `finished_at`) than an
undisturbed run's; a second run that doesn't end well; an error passed over, one without a clear
message, or an exit code other than 1 or 4; a file in use whose fsync failed; a reader that sees
the run before it is whole; a run that said it is committed and is gone, or rows said to be safe
that have to be predicted again.

**Resumed whole**: the same command then gave an undisturbed run's output.
**Commit unknown**: exit code 4, see below.
**Failed after commit**: exit code 1 though the run is committed and on disk. What failed is the
cleaning up; running the same command again says "already committed".
**Files left over** are in the staging folder, where no reader looks, after a disturbance behind
the commit. They harm nobody, and may be deleted.

## Would it be noticed?

The same states, of a run that leaves one fsync out. Each has to give wrong outcomes, or the matrix
could not fail:

{controls}

## Commit unknown: what to do

Exit code 4 says: the run is complete, and visible or about to be, but the disk did not confirm the
commit. Until it does, a loss of power may take the run back to just before it.

1. Look at the disk: the message says what it answered. Mend that first, or step 2 fails as well.
2. Run the same command again, with the same `--run-id`. If the run is there, this has the disk
   confirm it and says "already committed"; if not, it commits. Neither predicts a row twice.
3. Exit code 0 is the confirmation. Let others use the run from then on.

Don't start the work anew under another `--run-id`: there may then be two runs of it.
"""


def render_page(rows: Sequence[Row], survey: Survey) -> str:
    """Write the page anew."""
    states = len(survey.recoveries)
    return PAGE.format(
        points=rows[-1].tried - states,
        states=states,
        wrong=rows[-1].wrong,
        histories=len(survey.histories),
        table=as_markdown(rows),
        controls=controls_as_markdown(survey.controls),
    )

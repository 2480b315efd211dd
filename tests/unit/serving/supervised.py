"""A program for `test_supervisor`: supervises small workers and tells, line by line, what happens.

Called with the name of a function of this module, which every worker runs, and a folder. Its
workers write to the same output, so that the end of the output is the end of them all.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from twofold.errors import ConfigError
from twofold.serving.restarts import Restarts
from twofold.serving.supervisor import Link, Report, supervise

LIMIT_S = 20
"""Whatever goes wrong, nothing of this stays longer."""
HANDLERS = (signal.SIGTERM, signal.SIGINT)


def tell(*words: object) -> None:
    """Write one line in one piece: several processes write."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def up(index: int, link: Link) -> None:
    """Report ready, then tell so: whoever reads it may kill this process, the report is sent."""
    link.send(Report())
    tell("worker", index, "up", os.getpid())


class Told:
    """Notices SIGTERM from the moment it is made; waits for it or for the supervisor's end."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._reader, self._writer = os.pipe()
        signal.signal(signal.SIGTERM, self._take)

    def _take(self, *_: object) -> None:
        tell("worker", self._index, "told")
        os.write(self._writer, b".")

    def wait(self, link: Link) -> bool:
        """Wait; True if it was SIGTERM."""
        from multiprocessing.connection import wait

        return self._reader in wait([self._reader, link], LIMIT_S)


def polite(index: int, link: Link, _: Path) -> None:
    """Take 0.3 s to end once told; end at once when the supervisor is gone."""
    told = Told(index)
    up(index, link)
    if not told.wait(link):
        tell("worker", index, "alone")
        return
    link.poll(0.3)
    tell("worker", index, "done")


def late(index: int, link: Link, folder: Path) -> None:
    """Be polite; the second worker is slow to start."""
    if index == 1:
        link.poll(0.2)
        tell("worker 1 late")
    polite(index, link, folder)


def stubborn(index: int, link: Link, _: Path) -> None:
    """Be told, and stay."""
    Told(index)
    up(index, link)
    link.poll(LIMIT_S)


def brief(index: int, link: Link, folder: Path) -> None:
    """Be ready and gone the first time; polite when started again."""
    mark = folder / f"brief-{index}"
    if mark.exists():
        polite(index, link, folder)
        return
    mark.touch()
    up(index, link)


def unable(index: int, link: Link, _: Path) -> None:
    """Say why it can't start."""
    link.send(Report(failure="churn@3: expected 3 files, got 2. Pack it again."))


def silent(index: int, link: Link, _: Path) -> None:
    """End without a word."""
    os._exit(3)


def unlucky(index: int, link: Link, folder: Path) -> None:
    """Be polite, but fail the second time the first worker is started."""
    starts = folder / f"starts-{index}"
    count = len(starts.read_bytes()) if starts.exists() else 0
    starts.write_bytes(b"." * (count + 1))
    if (index, count) == (0, 1):
        link.send(Report(failure="no luck"))
    else:
        polite(index, link, folder)


def main(work: str, folder: str, workers: str, max_per_min: str) -> None:
    """Supervise; tell how it ended, and whether the signals are as they were before."""
    signal.alarm(LIMIT_S)
    before = [signal.getsignal(kind) for kind in HANDLERS]
    chosen: Callable[[int, Link, Path], None] = globals()[work]
    try:
        supervise(
            functools.partial(_work, chosen, Path(folder)),
            workers=int(workers),
            drain_s=LIMIT_S,
            restarts=Restarts(max_per_min=int(max_per_min)),
            ready=lambda: tell("ready"),
            restarted=lambda: tell("restarted"),
            stopping=lambda: tell("stopping"),
        )
    except ConfigError as error:
        tell("failed:", error)
    restored = before == [signal.getsignal(kind) for kind in HANDLERS]
    tell("signals", "restored" if restored else "kept")


def _work(chosen: Callable[[int, Link, Path], None], folder: Path, index: int, link: Link) -> None:
    chosen(index, link, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])

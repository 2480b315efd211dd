"""A program for `test_supervisor`: supervises small workers and tells, line by line, what happens.

Called with the name of a function of this module, which every worker runs, and a folder. If the
file `next` in the folder names another one, the next generation of workers is to run that. All
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
from twofold.serving import supervisor
from twofold.serving.restarts import Restarts
from twofold.serving.supervisor import LEAVE, Changes, Link, Report, Work, supervise

LIMIT_S = 20
"""Whatever goes wrong, nothing of this stays longer."""
CHECK_S = 0.02
HANDLERS = (signal.SIGTERM, signal.SIGINT)


def tell(*words: object) -> None:
    """Write one line in one piece: several processes write."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def up(index: int, link: Link) -> None:
    """Report ready, then tell so: whoever reads it may kill this process, the report is sent."""
    link.send(Report())
    tell("worker", index, "up", os.getpid())


class Told:
    """Notices SIGTERM from the moment it is made; waits for it, for a word, or for the end."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._reader, self._writer = os.pipe()
        signal.signal(signal.SIGTERM, self._take)

    def _take(self, *_: object) -> None:
        tell("worker", self._index, "told")
        os.write(self._writer, b".")

    def wait(self, link: Link) -> str:
        """Wait; say whether it was SIGTERM, the word to leave, or the supervisor's end."""
        from multiprocessing.connection import wait

        if self._reader in wait([self._reader, link], LIMIT_S):
            return "told"
        try:
            return "asked to leave" if link.recv_bytes() == LEAVE else "asked in vain"
        except EOFError:
            return "alone"


def polite(index: int, link: Link, _: Path) -> None:
    """Take 0.3 s to end once told; end at once when asked, or when the supervisor is gone."""
    told = Told(index)
    up(index, link)
    how = told.wait(link)
    if how != "told":
        tell("worker", index, how)
        return
    link.poll(0.3)
    tell("worker", index, "done")


def late(index: int, link: Link, folder: Path) -> None:
    """Be polite; every second worker is slow to start."""
    if index % 2:
        link.poll(0.2)
        tell("worker", index, "late")
    polite(index, link, folder)


def held(index: int, link: Link, folder: Path) -> None:
    """Be polite, but not before there is a file `go`."""
    tell("worker", index, "held")
    while not (folder / "go").exists():
        link.poll(CHECK_S)
    polite(index, link, folder)


def clinging(index: int, link: Link, _: Path) -> None:
    """Stay, whether asked to leave or told."""
    told = Told(index)
    up(index, link)
    tell("worker", index, told.wait(link), "but stays")
    link.poll(LIMIT_S)


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


def second_fails(index: int, link: Link, folder: Path) -> None:
    """Be held, but fail if it is every second worker."""
    if index % 2:
        link.send(Report(failure="no luck"))
    else:
        held(index, link, folder)


def main(work: str, folder: str, workers: str, max_per_min: str, drain_s: str, look_s: str) -> None:
    """Supervise; tell how it ended, and whether the signals are as they were before."""
    signal.alarm(LIMIT_S)
    supervisor.STOP_MARGIN_S = min(supervisor.STOP_MARGIN_S, float(drain_s))
    before = [signal.getsignal(kind) for kind in HANDLERS]
    following = Path(folder) / "next"

    def work_of(name: str) -> Work:
        return functools.partial(_work, globals()[name], Path(folder))

    def look() -> Work | None:
        if not following.exists():
            return None
        name = following.read_text(encoding="utf-8")
        following.unlink()
        return work_of(name)

    try:
        supervise(
            work_of(work),
            workers=int(workers),
            drain_s=float(drain_s),
            restarts=Restarts(max_per_min=int(max_per_min)),
            ready=lambda: tell("ready"),
            restarted=lambda: tell("restarted"),
            stopping=lambda: tell("stopping"),
            changes=Changes(
                look,
                lambda: tell("switched"),
                lambda reason: tell("refused:", reason),
                float(look_s),
            )
            if float(look_s)
            else None,
        )
    except ConfigError as error:
        tell("failed:", error)
    restored = before == [signal.getsignal(kind) for kind in HANDLERS]
    tell("signals", "restored" if restored else "kept")


def _work(chosen: Callable[[int, Link, Path], None], folder: Path, index: int, link: Link) -> None:
    chosen(index, link, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Starts the worker processes of a server, replaces those that die, drains them at the end.

When other versions are to be served, a whole new generation of workers is loaded and warmed up
beside the old one; once all of it is ready the old one is told to leave. So nothing is ever
loaded where requests are answered, and what can't be loaded changes nothing.

The supervisor itself predicts nothing and loads no library, so that nothing a model does can
end it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from twofold.errors import ConfigError, problem
from twofold.serving.restarts import Restarts
from twofold.signals import caught

log = logging.getLogger("twofold.serving")

STOP_MARGIN_S = 2.0
"""Beyond the time to drain: what a worker has to end by itself before it is killed."""

Link = Connection
"""A worker's line to its supervisor: it reports on it, and it sees there when the supervisor is
gone, because then it becomes readable."""
Work = Callable[[int, "Link"], None]
"""What a worker process does, given its number and its link; must be picklable. No two workers
alive have the same number, which is less than twice their count. It reports ready or failed. It
ends at SIGTERM or when the link ends; when `LEAVE` comes over the link, it takes no more
connections and ends with the last one it has."""
LEAVE = b"leave"


@dataclass(frozen=True)
class Report:
    """What a worker says once: that it is ready, or why it can't be."""

    failure: str | None = None


@dataclass
class _Worker:
    index: int
    process: SpawnProcess
    link: Link
    ready: bool = False
    failure: str | None = None

    @property
    def reported(self) -> bool:
        return self.ready or self.failure is not None


@dataclass(frozen=True)
class Changes:
    """What a supervisor does about other versions to be served.

    Attributes:
        look: Gives the work of a new generation, if there is to be one.
        switched: Called when it serves.
        refused: Called when it couldn't be loaded, with the reason.
        look_s: How often to look.
    """

    look: Callable[[], Work | None]
    switched: Callable[[], None]
    refused: Callable[[str], None]
    look_s: float


def supervise(  # noqa: PLR0913 - what happens when is the caller's; a value type would only rename it
    work: Work,
    *,
    workers: int,
    drain_s: float,
    restarts: Restarts,
    ready: Callable[[], None],
    restarted: Callable[[], None],
    stopping: Callable[[], None],
    changes: Changes | None = None,
) -> None:
    """Run workers until SIGTERM or SIGINT, then drain them; a second signal kills them.

    Must be called from the main thread.

    Args:
        work: What each worker does.
        workers: How many.
        drain_s: How long they may take to end.
        restarts: How often dead ones are replaced.
        ready: Called once, when all are ready.
        restarted: Called whenever one that died is replaced.
        stopping: Called before they are told to end.
        changes: Whether other versions are to be served.

    Raises:
        ConfigError: A worker couldn't get ready, and none was; the message is the worker's.
    """
    with caught(signal.SIGTERM, signal.SIGINT) as signals:
        team = _Team(work, workers, drain_s)
        try:
            _watch(team, signals, restarts, ready, restarted, changes)
        finally:
            stopping()
            team.stop(signals)


def _watch(
    team: _Team,
    signals: int,
    restarts: Restarts,
    ready: Callable[[], None],
    restarted: Callable[[], None],
    changes: Changes | None,
) -> None:
    announced = False
    for index in range(team.size):
        team.start(index)
    while True:
        missing = team.missing()
        wait_s = restarts.wait_s(time.monotonic()) if missing else None
        if wait_s == 0.0:
            team.start(missing[0])
            restarts.note(time.monotonic())
            restarted()
            continue
        if changes is not None:
            waits_s = (wait_s, changes.look_s, team.patience_s())
            wait_s = min(item for item in waits_s if item is not None)
        if signals in wait([signals, *team.sources()], wait_s):
            os.read(signals, 1)  # this one is heard: only a further one cuts the draining short
            return
        team.look()
        if not announced and team.all_ready():
            announced = True
            ready()
        if changes is not None and announced:
            _change(team, changes)


def _change(team: _Team, changes: Changes) -> None:
    """Let a new generation begin, take over, or be refused."""
    failure = team.coming_failure()
    if failure is not None:
        team.drop_coming()
        changes.refused(failure)
    elif team.coming_ready():
        team.switch()
        changes.switched()
    elif team.is_settled():
        work = changes.look()
        if work is not None:
            team.begin(work)


class _Team:
    """The worker processes that are alive, of up to three generations.

    Those that serve, by index; those that are to serve next; those that were told to leave.
    """

    def __init__(self, work: Work, size: int, drain_s: float) -> None:
        self.size = size
        self._work = work
        self._drain_s = drain_s
        self._context = multiprocessing.get_context("spawn")
        self._alive: dict[int, _Worker] = {}
        self._coming: dict[int, _Worker] = {}
        self._coming_work = work
        self._leaving: list[_Worker] = []
        self._leave_until_s = 0.0
        self._parity = 0
        self._has_served = False
        # Starting it changes the signal mask, which must not happen in the middle of `start`.
        resource_tracker.ensure_running()

    def start(self, index: int) -> None:
        self._alive[index] = self._started(self._work, index, self._parity)

    def begin(self, work: Work) -> None:
        """Start the workers that are to serve next."""
        self._coming_work = work
        for index in range(self.size):
            self._coming[index] = self._started(work, index, 1 - self._parity)

    def _started(self, work: Work, index: int, parity: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        number = parity * self.size + index
        process = self._context.Process(
            target=work, args=(number, theirs), name=f"twofold-worker-{index}"
        )
        # Ctrl-C reaches every process of the terminal. The workers inherit this mask and leave
        # it to the supervisor to stop them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(index, process, ours)

    def missing(self) -> list[int]:
        return [index for index in range(self.size) if index not in self._alive]

    def all_ready(self) -> bool:
        return len(self._alive) == self.size and all(w.ready for w in self._alive.values())

    def is_settled(self) -> bool:
        """Whether there is one generation only, and all of it serves."""
        return not self._coming and not self._leaving and self.all_ready()

    def coming_ready(self) -> bool:
        return bool(self._coming) and all(worker.ready for worker in self._coming.values())

    def coming_failure(self) -> str | None:
        """Why the next generation can't serve, if it can't."""
        for worker in self._coming.values():
            if worker.failure is not None:
                return worker.failure
            if worker.process.exitcode is not None:
                how = _end_of(worker.process.exitcode)
                return problem("worker", "to get ready", how, "See what it wrote to stderr.")
        return None

    def drop_coming(self) -> None:
        """Give the next generation up."""
        for worker in self._coming.values():
            worker.process.kill()
            worker.process.join()
            worker.link.close()
        self._coming = {}

    def switch(self) -> None:
        """Let the next generation serve; the one before leaves."""
        self._leaving = list(self._alive.values())
        self._leave_until_s = time.monotonic() + self._drain_s + STOP_MARGIN_S
        self._alive, self._coming = self._coming, {}
        self._has_served = True
        self._work = self._coming_work
        self._parity = 1 - self._parity
        for worker in self._leaving:
            with contextlib.suppress(OSError):  # It has just died: it has left.
                worker.link.send_bytes(LEAVE)

    def patience_s(self) -> float | None:
        """How long those who were told to leave may still take; None if all have left."""
        return max(0.0, self._leave_until_s - time.monotonic()) if self._leaving else None

    def sources(self) -> Iterator[Link | int]:
        for worker in self._everybody():
            yield worker.process.sentinel
            if not worker.reported:
                yield worker.link

    def _everybody(self) -> list[_Worker]:
        return [*self._alive.values(), *self._coming.values(), *self._leaving]

    def look(self) -> None:
        """Take reports, and let the dead go."""
        for worker in self._everybody():
            _hear(worker)
        for worker in list(self._alive.values()):
            if worker.process.exitcode is None and worker.failure is None:
                continue
            if worker.process.exitcode is None:
                # It has said why it can't get ready: it has nothing to finish.
                worker.process.terminate()
                worker.process.join(STOP_MARGIN_S)
                worker.process.kill()
            worker.process.join()
            del self._alive[worker.index]
            worker.link.close()
            self._lost(worker)
        for worker in list(self._leaving):
            if time.monotonic() >= self._leave_until_s:
                worker.process.kill()
                worker.process.join()
            if worker.process.exitcode is not None:
                self._leaving.remove(worker)
                worker.link.close()

    def _lost(self, worker: _Worker) -> None:
        how = _end_of(worker.process.exitcode or 0)
        self._has_served = self._has_served or worker.ready
        if not self._has_served and not any(other.ready for other in self._alive.values()):
            raise ConfigError(
                worker.failure
                or problem("worker", "to get ready", how, "See what it wrote to stderr.")
            )
        log.error("worker %d: %s; starting another", worker.index, worker.failure or how)

    def _unfinished(self) -> list[int]:
        processes = [worker.process for worker in self._everybody()]
        return [process.sentinel for process in processes if process.is_alive()]

    def stop(self, signals: int) -> None:
        for worker in self._everybody():
            worker.process.terminate()
        until_s = time.monotonic() + self._drain_s + STOP_MARGIN_S
        # Asked once a turn: between two questions a process may end.
        while sentinels := self._unfinished():
            left_s = until_s - time.monotonic()
            if left_s <= 0 or signals in wait([signals, *sentinels], left_s):
                break
        for worker in self._everybody():
            worker.process.kill()
            worker.process.join()
            worker.link.close()


def _hear(worker: _Worker) -> None:
    if worker.reported or not worker.link.poll():
        return
    try:
        report: Report = worker.link.recv()
    except (EOFError, OSError):
        return  # It ended without a word; its exit code tells how.
    worker.ready, worker.failure = report.failure is None, report.failure


def _end_of(code: int) -> str:
    if code < 0:
        return f"an end by {signal.Signals(-code).name}"
    return f"an end with exit code {code}"

"""Starts the worker processes of a server, replaces those that die, drains them at the end.

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
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from twofold.errors import ConfigError, problem
from twofold.serving.restarts import Restarts

log = logging.getLogger("twofold.serving")

STOP_MARGIN_S = 2.0
"""Beyond the time to drain: what a worker has to end by itself before it is killed."""

Link = Connection
"""A worker's line to its supervisor: it reports on it, and it sees there when the supervisor is
gone, because then it becomes readable."""
Work = Callable[[int, "Link"], None]
"""What a worker process does, given its index and its link; must be picklable. It reports ready
or failed, and ends at SIGTERM or when the link becomes readable."""


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


def supervise(  # noqa: PLR0913 - what happens when is the caller's; a value type would only rename it
    work: Work,
    *,
    workers: int,
    drain_s: float,
    restarts: Restarts,
    ready: Callable[[], None],
    restarted: Callable[[], None],
    stopping: Callable[[], None],
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

    Raises:
        ConfigError: A worker couldn't get ready, and none was; the message is the worker's.
    """
    with _signals() as signals:
        team = _Team(work, workers)
        try:
            _watch(team, signals, restarts, ready, restarted)
        finally:
            stopping()
            team.stop(signals, drain_s)


def _watch(
    team: _Team,
    signals: int,
    restarts: Restarts,
    ready: Callable[[], None],
    restarted: Callable[[], None],
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
        if signals in wait([signals, *team.sources()], wait_s):
            os.read(signals, 1)  # this one is heard: only a further one cuts the draining short
            return
        team.look()
        if not announced and team.all_ready():
            announced = True
            ready()


class _Team:
    """The worker processes that are alive, by index."""

    def __init__(self, work: Work, size: int) -> None:
        self.size = size
        self._work = work
        self._context = multiprocessing.get_context("spawn")
        self._alive: dict[int, _Worker] = {}
        # Starting it changes the signal mask, which must not happen in the middle of `start`.
        resource_tracker.ensure_running()

    def start(self, index: int) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=self._work, args=(index, theirs), name=f"twofold-worker-{index}"
        )
        # Ctrl-C reaches every process of the terminal. The workers inherit this mask and leave
        # it to the supervisor to stop them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._alive[index] = _Worker(index, process, ours)

    def missing(self) -> list[int]:
        return [index for index in range(self.size) if index not in self._alive]

    def all_ready(self) -> bool:
        return len(self._alive) == self.size and all(w.ready for w in self._alive.values())

    def sources(self) -> Iterator[Link | int]:
        for worker in self._alive.values():
            yield worker.process.sentinel
            if not worker.reported:
                yield worker.link

    def look(self) -> None:
        """Take reports, and let the dead go."""
        for worker in list(self._alive.values()):
            _hear(worker)
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

    def _lost(self, worker: _Worker) -> None:
        how = _end_of(worker.process.exitcode or 0)
        if not worker.ready and not any(other.ready for other in self._alive.values()):
            raise ConfigError(
                worker.failure
                or problem("worker", "to get ready", how, "See what it wrote to stderr.")
            )
        log.error("worker %d: %s; starting another", worker.index, worker.failure or how)

    def _unfinished(self) -> list[int]:
        processes = [worker.process for worker in self._alive.values()]
        return [process.sentinel for process in processes if process.is_alive()]

    def stop(self, signals: int, drain_s: float) -> None:
        for worker in self._alive.values():
            worker.process.terminate()
        until_s = time.monotonic() + drain_s + STOP_MARGIN_S
        # Asked once a turn: between two questions a process may end.
        while sentinels := self._unfinished():
            left_s = until_s - time.monotonic()
            if left_s <= 0 or signals in wait([signals, *sentinels], left_s):
                break
        for worker in self._alive.values():
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


@contextlib.contextmanager
def _signals() -> Generator[int]:
    """Give a descriptor that becomes readable at SIGTERM or SIGINT, once for each."""
    reader, writer = os.pipe()
    kinds = (signal.SIGTERM, signal.SIGINT)

    def tell(*_: object) -> None:
        os.write(writer, b".")

    before = {kind: signal.signal(kind, tell) for kind in kinds}
    try:
        yield reader
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        os.close(reader)
        os.close(writer)

"""Loading a server from one process or several, and what came of it."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import msgspec
import numpy as np

from twofold.errors import ConfigError, problem
from twofold.lab.arrivals import Profile
from twofold.lab.ask import Address
from twofold.lab.engine import LENGTH, Job, Report, native, split_evenly
from twofold.lab.loaded import Conduct, Loaded, loaded_of
from twofold.lab.outcomes import Tally

LEAD_S = 0.05
"""From when all processes are ready to when the load begins."""
START_LIMIT_S = 60.0
GRACE_S = 30.0
"""What a process may take beyond the end of its load to say what came of it."""
MAX_PROCESSES = 64
MIN_CONNECTIONS, MAX_CONNECTIONS = 256, 4_000
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Target:
    """What is asked, and where.

    Attributes:
        address: A numeric IPv4 or IPv6 address and a port, or the path of a Unix socket.
        requests: Whole HTTP/1.1 requests, used in turn.
        expect: What the body of every good answer has in it; any body if empty.
    """

    address: Address
    requests: Sequence[bytes]
    expect: bytes = b""


class Stopped(KeyboardInterrupt):
    """A load was interrupted.

    Attributes:
        loaded: What was measured until then.
    """

    def __init__(self, loaded: Loaded) -> None:
        """Keep it."""
        super().__init__()
        self.loaded = loaded


def connections_for(peak_per_s: float, deadline_s: float) -> int:
    """Connections of which a server that answers in time or at once keeps none waiting.

    As many as requests come until the deadline of the first (J. Little, 1961). With fewer, those
    beyond its capacity would wait for one before the server has seen them, and it could do nothing
    but answer them late. More than `MAX_CONNECTIONS` cost generator and server more than they show.
    """
    return min(max(MIN_CONNECTIONS, math.ceil(peak_per_s * deadline_s)), MAX_CONNECTIONS)


def run_open(  # noqa: PLR0913 - a load is what these say, and most are named
    target: Target,
    dues: Profile | Any,
    *,
    deadline_s: float,
    timeout_s: float,
    warm_up_s: float,
    connections: int = 256,
    processes: int = 1,
) -> Loaded:
    """Send requests at fixed instants, whatever the server does.

    Args:
        target: What is asked, and where.
        dues: When: a profile, before which the server is warmed up at its first rate; or ascending
            seconds from the start (float64), of which those before `warm_up_s` don't count.
        deadline_s: For how long an answer is in time, from when its request was due.
        timeout_s: After which it is given up, and its connection closed.
        warm_up_s: How long the warm-up takes.
        connections: Most connections at a time, of all processes.
        processes: How many send, each an even share of the requests.

    Raises:
        ConfigError: The native generator isn't there, or the system doesn't allow it what it needs.
        Stopped: Ctrl-C; it has what was measured until then.
    """
    if isinstance(dues, Profile):
        warmed = dues.warmed(warm_up_s)
        edges_s = warmed.edges_s[1:] if warm_up_s else warmed.edges_s
        plan = _Plan(warmed, None, edges_s)
    else:
        instants = np.asarray(dues, np.float64)
        plan = _Plan(None, instants, _edges_of(instants, warm_up_s))
    limits = _Limits(deadline_s, timeout_s, connections, processes)
    return _run(_jobs(target, plan, limits))


def run_closed(  # noqa: PLR0913 - as above
    target: Target,
    *,
    connections: int,
    seconds: float,
    warm_up_s: float,
    deadline_s: float,
    timeout_s: float,
    processes: int = 1,
) -> Loaded:
    """Have each connection ask again as soon as it is answered.

    It tells how much a server can do. It doesn't tell how long clients wait when more is asked of
    it than that: a slow answer keeps its connection from asking, and so lowers the load.

    Args:
        target: What is asked, and where.
        connections: How many, of all processes.
        seconds: How long requests are sent that count.
        warm_up_s: How long before that.
        deadline_s: For how long an answer is in time, from when its request was sent.
        timeout_s: After which it is given up, and its connection closed.
        processes: How many send, each on an even share of the connections.

    Raises:
        ConfigError: As `run_open`.
        Stopped: As `run_open`.
    """
    plan = _Plan(None, None, [warm_up_s, warm_up_s + seconds])
    limits = _Limits(deadline_s, timeout_s, connections, processes)
    return _run(_jobs(target, plan, limits))


@dataclass(frozen=True)
class _Limits:
    deadline_s: float
    timeout_s: float
    connections: int
    processes: int


@dataclass(frozen=True)
class _Plan:
    profile: Profile | None
    instants: Any
    edges_s: list[float]


def _edges_of(instants: Any, warm_up_s: float) -> list[float]:
    """From the end of the warm-up until another request would be due."""
    counted = instants[instants >= warm_up_s]
    if len(counted) <= 1:
        return [warm_up_s, warm_up_s + 1.0]
    gap_s = (counted[-1] - counted[0]) / (len(counted) - 1)
    return [warm_up_s, float(counted[-1] + gap_s)]


def _jobs(target: Target, plan: _Plan, limits: _Limits) -> list[Job]:
    native()  # says what is wrong before any process is started
    processes, most = limits.processes, min(limits.connections, MAX_PROCESSES)
    if not 1 <= processes <= most:
        expected = f"1 to {most}, at most one a connection"
        fix = "Take fewer processes, or more connections."
        raise ConfigError(problem("processes", expected, f"{processes}", fix))
    host, port = (target.address, 0) if isinstance(target.address, str) else target.address
    return [
        Job(
            host=host,
            port=port,
            requests=list(target.requests),
            expect=target.expect,
            profile=plan.profile,
            dues_s=None if plan.instants is None else plan.instants[part::processes].tobytes(),
            part=part,
            of_parts=processes,
            edges_s=plan.edges_s,
            deadline_s=limits.deadline_s,
            timeout_s=limits.timeout_s,
            connections=share,
        )
        for part, share in enumerate(split_evenly(limits.connections, processes))
    ]


def _run(jobs: list[Job]) -> Loaded:
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_Worker.started(job)) for job in jobs]
        until_s = time.monotonic() + START_LIMIT_S
        for worker in workers:
            worker.wait_until_ready(until_s)
        start_s = time.monotonic() + LEAD_S
        for worker in workers:
            worker.tell(repr(start_s).encode())
        until_s = start_s + jobs[0].edges_s[-1] + jobs[0].timeout_s + GRACE_S
        try:
            reports = [worker.report(until_s) for worker in workers]
        except KeyboardInterrupt:
            for worker in workers:
                worker.process.send_signal(signal.SIGTERM)
            until_s = time.monotonic() + GRACE_S
            raise Stopped(
                _merged(jobs[0], [worker.report(until_s) for worker in workers])
            ) from None
    return _merged(jobs[0], reports)


def _merged(job: Job, reports: list[Report]) -> Loaded:
    for report in reports:
        if report.problem:
            raise ConfigError(f"lab load: {report.problem}")
    tallies = [Tally() for _ in job.edges_s[1:]]
    for report in reports:
        for whole, part in zip(tallies, report.tallies, strict=True):
            whole.merge(Tally.unpacked(part))
    stopped = [report.stopped_s for report in reports if report.stopped_s is not None]
    conduct = Conduct(
        is_closed=job.is_closed,
        busy_ratio=max(report.busy_ratio for report in reports),
        resent=sum(report.resent for report in reports),
        stopped_s=min(stopped) if stopped else None,
        is_full=any(report.is_full for report in reports),
        timeout_s=job.timeout_s,
    )
    return loaded_of(tallies, job.edges_s, conduct)


class _Worker:
    """A process of the generator."""

    def __init__(self, process: subprocess.Popen[bytes], into: IO[bytes], out: IO[bytes]) -> None:
        self.process = process
        self._into, self._out = into, out
        self._received = b""
        self._report: Report | None = None

    @staticmethod
    @contextlib.contextmanager
    def started(job: Job) -> Generator[_Worker]:
        command = [sys.executable, "-m", "twofold.lab.engine_process"]
        # A group of its own: Ctrl-C comes through this process, which asks for what was measured.
        # Not a session: each has its own share of the processor where the system is set up so.
        process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )
        try:
            if process.stdin is None or process.stdout is None:
                raise AssertionError("both are pipes")
            worker = _Worker(process, process.stdin, process.stdout)
            worker.tell(msgspec.msgpack.encode(job))
            yield worker
        finally:
            process.kill()
            process.communicate()

    def tell(self, message: bytes) -> None:
        left = memoryview(LENGTH.pack(len(message)) + message)
        while left:
            left = left[self._into.write(left) or 0 :]

    def wait_until_ready(self, until_s: float) -> None:
        message = self._message(until_s)
        if message != b"ready":
            raise ConfigError(f"lab load: {msgspec.msgpack.decode(message, type=Report).problem}")

    def report(self, until_s: float) -> Report:
        if self._report is None:
            self._report = msgspec.msgpack.decode(self._message(until_s), type=Report)
        return self._report

    def _message(self, until_s: float) -> bytes:
        while len(self._received) < LENGTH.size:
            self._receive(until_s)
        (length,) = LENGTH.unpack_from(self._received)
        while len(self._received) < LENGTH.size + length:
            self._receive(until_s)
        message = self._received[LENGTH.size : LENGTH.size + length]
        self._received = self._received[LENGTH.size + length :]
        return message

    def _receive(self, until_s: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            ready = selector.select(max(until_s - time.monotonic(), 0))
        piece = os.read(self._out.fileno(), PIECE_BYTES) if ready else b""
        if not piece:
            how = "has ended" if ready else "says nothing"
            raise ConfigError(f"lab load: a process of the load generator {how}. Try again.")
        self._received += piece

"""A process of the load generator: `python -m twofold.lab.engine_process`, told what through pipes.

It reads a job, says that it is ready, reads the instant to begin at, and says what came of it.
"""

from __future__ import annotations

import gc
import resource
import signal
import sys
import time
from typing import BinaryIO

import msgspec
import numpy as np

from twofold.errors import ConfigError, problem
from twofold.lab.engine import LENGTH, Job, Report, native
from twofold.lab.outcomes import Course, tallied

SPARE_FILES = 32


class Stop:
    """Whether this process was told to end before its time.

    Attributes:
        at_s: When, monotonic; None if it wasn't.
    """

    def __init__(self) -> None:
        """Not yet."""
        self.at_s: float | None = None

    def __call__(self) -> bool:
        """Whether it was."""
        return self.at_s is not None

    def note(self, *_: object) -> None:
        """As a handler of signals."""
        self.at_s = self.at_s or time.monotonic()


def main() -> None:
    """Do a job."""
    # Ctrl-C is for the process that started this one; it passes on what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.note)
    pipe, out = sys.stdin.buffer, sys.stdout.buffer
    job = msgspec.msgpack.decode(_read(pipe), type=Job)
    try:
        raise_limit_of_files(job.connections)
        report = run(job, pipe, out, stop)
    except (ConfigError, OSError, ValueError) as error:
        report = Report(
            tallies=[], busy_ratio=0, resent=0, stopped_s=None, is_full=False, problem=str(error)
        )
    _write(out, msgspec.msgpack.encode(report))


def run(job: Job, pipe: BinaryIO, out: BinaryIO, stop: Stop) -> Report:
    """Send the requests of a job, and count what came of them."""
    due = job.dues()
    which = job.which(len(due))
    sent, done, late = (np.zeros(len(due)) for _ in range(3))
    result = np.zeros(len(due), np.int16)
    requests, engine = job.requests_in_turn(), native()
    gc.disable()
    _write(out, b"ready")
    start_s = float(_read(pipe))
    used_s = time.process_time()
    begun, _, resent, _ = engine.run(
        (job.host, job.port),
        requests,
        which,
        due,
        sent,
        done,
        late,
        result,
        start_s=start_s,
        end_s=job.edges_s[-1] if job.is_closed else 0.0,
        timeout_s=job.timeout_s,
        connections=job.connections,
        expect=job.expect,
        is_to_end=stop,
    )
    used_s = time.process_time() - used_s
    passed_s = max(time.monotonic() - start_s, 1e-9)
    stopped_s = None if stop.at_s is None else max(stop.at_s - start_s, 0.0)
    course = Course(due[:begun], done[:begun], late[:begun], result[:begun])
    tallies = tallied(course, job.edges_s, deadline_s=job.deadline_s)
    return Report(
        tallies=[tally.packed() for tally in tallies],
        busy_ratio=used_s / passed_s,
        resent=resent,
        stopped_s=stopped_s,
        is_full=job.is_closed and begun == len(due),
    )


def raise_limit_of_files(connections: int) -> None:
    """Have room for so many connections.

    Raises:
        ConfigError: The system doesn't allow so many.
    """
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            fix = "Raise `ulimit -n`, or take fewer connections."
            raise ConfigError(problem("connections", f"{wanted} open files", f"{hard}", fix))
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _read(pipe: BinaryIO) -> bytes:
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        sys.exit(1)  # whoever started this is gone
    return pipe.read(LENGTH.unpack(head)[0])


def _write(pipe: BinaryIO, message: bytes) -> None:
    pipe.write(LENGTH.pack(len(message)) + message)
    pipe.flush()


if __name__ == "__main__":
    main()

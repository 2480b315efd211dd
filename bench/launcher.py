"""Run one command and say what it and all that it started took; see `processes`.

    python -S launcher.py LIMIT_S TREE COMMAND...

Prints its process id as soon as it runs, and a line of JSON when it has ended. What the command
prints goes to stderr.

It is a process of its own, and a small one, because Linux counts what a process had in memory
before it became another program into that program's peak: children of a large benchmark would
all seem large. It is also the heir of what the command leaves behind, as Ray and Spark do, so
that this is counted, and ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

from serving import cpu_s, descendants

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
GRACE_S = 5.0
POLL_S = 0.02
SAMPLES_EVERY_S = 0.2
MB = 1e6
KIB = 1024


class Tree:
    """What the processes that we have started use, looked at now and then."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.memory_mb = 0.0
        self._cpu_s: dict[int, float] = {}
        self._ended = threading.Event()

    def watch(self) -> None:
        """Look until `end`."""
        while not self._ended.wait(SAMPLES_EVERY_S):
            pids = descendants(os.getpid())
            self.memory_mb = max(self.memory_mb, sum(map(_share_mb, pids)))
            self._cpu_s.update({pid: cpu_s(pid) for pid in pids})

    def end(self) -> float:
        """Stop; CPU seconds of all that were seen, also of those that nobody waited for."""
        self._ended.set()
        return sum(self._cpu_s.values())


def main() -> None:
    """Run it."""
    limit_s, tree, command = float(sys.argv[1]), sys.argv[2] == "tree", sys.argv[3:]
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGALRM, _too_long)
    seen = Tree()
    try:
        start_s = time.perf_counter()
        to_log = [(os.POSIX_SPAWN_DUP2, 2, 1)]
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=to_log)
        print(pid, flush=True)
        if tree:
            threading.Thread(target=seen.watch, daemon=True).start()
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        _, status, usage = os.wait4(pid, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        wall_s = time.perf_counter() - start_s
    finally:
        _end_leftovers()
    seen_s = seen.end()
    all_of_it = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "code": os.waitstatus_to_exitcode(status),
        "wall_s": wall_s,
        "cpu_s": max(seen_s, all_of_it.ru_utime + all_of_it.ru_stime),
        "memory_mb": max(seen.memory_mb, usage.ru_maxrss * KIB / MB),
    }
    print(json.dumps(found), flush=True)


def _too_long(*_: object) -> None:
    raise TimeoutError("it took longer than it may")


def _share_mb(pid: int) -> float:
    """The memory of one process, what it shares with others shared out between them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(sizes[0]) * KIB / MB if sizes else 0.0


def _end_leftovers() -> None:
    """Wait for what is left, ask it to end, and end it."""
    for told in (0, signal.SIGTERM, signal.SIGKILL):
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, told)
        end_s = time.monotonic() + GRACE_S
        while time.monotonic() < end_s:
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(POLL_S)
            except ChildProcessError:
                return


if __name__ == "__main__":
    main()

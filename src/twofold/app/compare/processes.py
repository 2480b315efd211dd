"""Whole processes of twofold, as a user has them: run to their end, or serving meanwhile.

They work in a folder of the comparison's own and see none of its user's settings, so that what is
measured are the defaults. Each of them ends in time, whatever happens here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from twofold.app.serve import announced
from twofold.errors import TwofoldError, problem

OWN_VARIABLES = "TWOFOLD_"
STOP_S = 15.0
"""How long a process may take to end when it is told to."""
TAIL_CHARS = 600
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of what rusage counts memory in."""
PROC = Path("/proc")
LOOK_S = 0.02


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process that ran to its end.

    Attributes:
        began_at: Just before it was started (UTC).
        ended_at: Just after its end (UTC).
        wall_s: From its start to its end.
        cpu_s: Of it and its children.
        peak_memory_bytes: Resident, at most.
        out: What it printed.
    """

    began_at: datetime
    ended_at: datetime
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    out: bytes


def run_to_end(words: Sequence[str], folder: Path, *, limit_s: float) -> Ended:
    """Run a command of twofold.

    Args:
        words: What follows `twofold`.
        folder: Where it works, and leaves what it said.
        limit_s: It is killed after that.

    Raises:
        TwofoldError: It failed, or took too long; with the end of what it said.
    """
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        began_at, began_s = datetime.now(UTC), time.perf_counter()
        process = _start(words, folder, stdout.fileno(), stderr.fileno())
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(limit_s, end)
        timer.daemon = True
        timer.start()
        try:
            with _Peak(process.pid) as peak:
                # What rusage says of a child is had by waiting for it in this way only.
                _, status, used = os.wait4(process.pid, 0)
                wall_s, ended_at = time.perf_counter() - began_s, datetime.now(UTC)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            timer.cancel()
            _end(process)
    if process.returncode != 0:
        got = f"more than {limit_s:g} s" if is_late.is_set() else f"exit code {process.returncode}"
        raise _failed(words, got, err)
    cpu_s = used.ru_utime + used.ru_stime
    peak_bytes = peak.found_bytes or used.ru_maxrss * RSS_UNIT
    return Ended(began_at, ended_at, wall_s, cpu_s, peak_bytes, out.read_bytes())


class _Peak:
    """Looks at the most memory that a process has had, until it has ended.

    What rusage says of that begins with what its parent had when it was started.
    """

    def __init__(self, pid: int) -> None:
        self.found_bytes = 0
        self._path = PROC / str(pid) / "status"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                lines = self._path.read_text(encoding="utf-8").splitlines()
            except OSError:
                return
            sizes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
            self.found_bytes = max([self.found_bytes, *(1024 * size for size in sizes)])


@dataclasses.dataclass(frozen=True)
class Serving:
    """A server that is ready.

    Attributes:
        pid: Of its first process.
        url: Where.
        start_s: From its start until every worker took requests.
    """

    pid: int
    url: str
    start_s: float

    @property
    def address(self) -> tuple[str, int]:
        """IP address and port."""
        host, _, port = self.url.rpartition("//")[2].rpartition(":")
        return host, int(port)

    def cpu_s(self) -> float:
        """What its living processes have used of the CPU so far."""
        return sum(_cpu_s(pid) for pid in family(self.pid))

    def memory_bytes(self) -> int:
        """What its processes hold now; pages they share counted once where the system tells."""
        return sum(_memory_bytes(pid) for pid in family(self.pid))


@contextlib.contextmanager
def serving(words: Sequence[str], folder: Path) -> Generator[Serving]:
    """Run a server; it is stopped at the end, however that comes.

    Args:
        words: What follows `twofold serve`.
        folder: Where it works, and leaves what it said.

    Raises:
        TwofoldError: It couldn't start; the message is its own.
    """
    words = ["serve", *words, "--json"]
    with (folder / "server.log").open("wb") as log:
        began_s = time.perf_counter()
        process = _start(words, folder, subprocess.PIPE, log.fileno())
        try:
            url = announced(process)
            yield Serving(process.pid, url, time.perf_counter() - began_s)
        finally:
            _end(process)
            if process.stdout is not None:
                process.stdout.close()


def family(root: int) -> list[int]:
    """A process, and all that it and those have started, as far as they live."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found, waiting = [root], [root]
    while waiting:
        of_one = children.get(waiting.pop(), [])
        found += of_one
        waiting += of_one
    return found


def _start(words: Sequence[str], folder: Path, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)
    }
    # The command is this Python with arguments made here, and what the user named.
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "twofold", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have a process ended that may have ended already."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _failed(words: Sequence[str], got: str, said: Path) -> TwofoldError:
    text = " ".join(said.read_text(encoding="utf-8", errors="replace").split()).rstrip(".")
    got += f": {text[-TAIL_CHARS:]}" if text else ""
    where = f"twofold {' '.join(words[:2])}"
    return TwofoldError(problem(where, "it to run", got, "Mend that; then compare again."))


def _parents() -> list[tuple[int, int]]:
    """The ids of all processes and of those that started them."""
    if not PROC.exists():
        return [(int(pid), int(parent)) for pid, parent in _ps("pid=,ppid=")]
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [(pid, int(fields[1])) for pid in pids if (fields := _stat(pid))]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; none if the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _cpu_s(pid: int) -> float:
    if PROC.exists():
        fields = _stat(pid)
        ticks = int(fields[11]) + int(fields[12]) if fields else 0
        return ticks / os.sysconf("SC_CLK_TCK")
    total = 0.0
    for words in _ps("time=", pid):
        seconds = 0.0
        for part in words[0].replace("-", ":").split(":"):
            seconds = seconds * 60 + float(part)
        total += seconds
    return total


def _memory_bytes(pid: int) -> int:
    if not PROC.exists():
        return sum(int(words[0]) * 1024 for words in _ps("rss=", pid))
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    sizes = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return int(sizes[0]) * 1024 if sizes else 0


def _ps(columns: str, pid: int | None = None) -> list[list[str]]:
    which = ["-A"] if pid is None else ["-p", str(pid)]
    command = ["ps", *which, "-o", columns]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return [line.split() for line in done.stdout.splitlines() if line.split()]

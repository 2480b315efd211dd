"""What the benchmarks of servers share: processes on chosen cores, and what the system says.

Linux only: it reads /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

READY_S = 60.0
STOP_S = 8.0
POLL_S = 0.002
FIRST_NICE = -15
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
ESTABLISHED = "01"
LOG_TAIL_BYTES = 600

Cores = frozenset[int]


def all_cores() -> Cores:
    """The cores this process may use."""
    return frozenset(os.sched_getaffinity(0))


def server_core() -> Cores:
    """The one core of servers that are measured on one."""
    return frozenset([min(all_cores())])


def client_core() -> Cores:
    """The one core of what loads them: another one, where there is another."""
    return frozenset([max(all_cores())])


@contextlib.contextmanager
def on_cores(cores: Cores) -> Generator[None]:
    """Start child processes on these cores: they inherit them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def going_first() -> Generator[None]:
    """Let this process and all it starts run before the machine's other work; needs root."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # Where each session has its own share of the machine, that share counts, too.
    share = Path("/proc/self/autogroup")
    of_session = share.read_text(encoding="utf-8").split()[-1] if share.exists() else ""
    os.setpriority(os.PRIO_PROCESS, 0, FIRST_NICE)
    try:
        if of_session:
            share.write_text(str(FIRST_NICE), encoding="utf-8")
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        if of_session:
            share.write_text(of_session, encoding="utf-8")


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class NotStarted(Exception):
    """A server ended or said nothing before it was ready; the text is the end of its log."""


@dataclass
class Server:
    """A server in the background, on chosen cores, stopped at the end of `with`.

    Attributes:
        name: What tables call it.
        command: How it is started.
        log: Where its output goes.
        cores: Those it may use.
        port: Where it listens; 0 until it says so itself, see `announced`.
        cwd: Its folder.
        environment: Added to this process's own.
        announced: It prints a line of JSON with its `url` on stdout once it is ready.
    """

    name: str
    command: Sequence[str]
    log: Path
    cores: Cores
    port: int = 0
    cwd: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    announced: bool = False

    def __enter__(self) -> Self:
        """Start it, and wait for its own word that it is ready if it gives one."""
        with on_cores(self.cores), self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.announced else log,
                stderr=log,
            )
        try:
            if self.announced:
                self._hear()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def _hear(self) -> None:
        output = self.process.stdout
        if output is None or not select.select([output], [], [], READY_S)[0]:
            raise NotStarted(self.said())
        line = output.readline()
        said: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
        if "url" not in said:
            raise NotStarted(said.get("error") or self.said())
        self.port = int(said["url"].rpartition(":")[2])

    def wait_ready(self, is_ready: Callable[[int], bool], *, limit_s: float = READY_S) -> float:
        """Ask until it answers as it should.

        Args:
            is_ready: Asks the server on this port; an OSError means: not yet.
            limit_s: How long to try.

        Returns:
            Seconds since this call.
        """
        start_s = time.perf_counter()
        while time.perf_counter() - start_s < limit_s and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if is_ready(self.port):
                    return time.perf_counter() - start_s
            time.sleep(POLL_S)
        raise NotStarted(self.said())

    def said(self) -> str:
        """The end of its log, in one line."""
        text = self.log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        return f"{self.name}: {' '.join(text.split()) or 'it said nothing'}"

    def stop(self) -> None:
        """End it and all it has started, by their ids."""
        # Once the root is gone, nothing tells any more whose the others were.
        ours = self.processes()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        for pid, born in ours.items():
            if start_of(pid) == born:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def processes(self) -> dict[int, str]:
        """The ids of its processes, and when each was started; the first is the one we started."""
        return {pid: start_of(pid) for pid in (self.process.pid, *descendants(self.process.pid))}

    def workers(self) -> list[int]:
        """Its processes but the first, and but the one in which multiprocessing keeps books."""
        return [
            pid
            for pid in descendants(self.process.pid)
            if "resource_tracker" not in command_of(pid)
        ]

    def cpu_s(self) -> float:
        """CPU seconds that its living processes have used."""
        return sum(cpu_s(pid) for pid in self.processes())


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; none if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def start_of(pid: int) -> str:
    """When a process was started: with its id, this names it for good. Empty if it is gone."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def command_of(pid: int) -> str:
    """A process's command line; empty if it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode("utf-8", "replace")


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have, while it lives."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        of_one = children.get(waiting.pop(), [])
        found += of_one
        waiting += of_one
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of one process, all its threads; 0 if it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S if fields else 0.0


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Megabytes (1e6) of a process: now (`VmRSS`), or the most it ever had (`VmHWM`)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in lines if line.startswith(f"{what}:")]
    return int(sizes[0]) * 1024 / 1e6 if sizes else 0.0


def connections_of(pid: int, port: int) -> int:
    """How many connections to its port a process holds."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="utf-8").splitlines():
                fields = line.split()
                if fields[1].endswith(f":{port:04X}") and fields[3] == ESTABLISHED:
                    inodes.add(f"socket:[{fields[9]}]")
    held = 0
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                held += str(entry.readlink()) in inodes
    return held


def busiest(pids: Sequence[int], during_s: float) -> int:
    """Which of the processes uses the most CPU while we wait."""
    before = {pid: cpu_s(pid) for pid in pids}
    time.sleep(during_s)
    return max(pids, key=lambda pid: cpu_s(pid) - before[pid])


class Elsewhere:
    """How many cores others use meanwhile: figures taken beside a busy neighbour say little."""

    def __init__(self, server: Server) -> None:
        """Begin; `server` and our own children are not others."""
        self._server = server
        self._start_s = time.perf_counter()
        self._before_s = self._others_s()

    def cores(self) -> float:
        """Cores that others have used on average since the beginning."""
        used_s = self._others_s() - self._before_s
        # Clock ticks are coarse: on a quiet machine the difference may be below nothing.
        return max(0.0, used_s) / (time.perf_counter() - self._start_s)

    def _others_s(self) -> float:
        with Path("/proc/stat").open(encoding="utf-8") as file:
            fields = [int(word) for word in file.readline().split()[1:9]]
        busy_s = (sum(fields) - fields[3] - fields[4]) / TICKS_PER_S  # idle, and waiting for disks
        own = os.times()
        own_s = own.user + own.system + own.children_user + own.children_system
        return busy_s - own_s - self._server.cpu_s()

"""Open-loop load: requests at fixed instants, whatever the server does; see openloop.c."""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.build import built
from load.request import Request
from serving import Cores, all_cores, on_cores

LEAD_S = 0.05
"""From the start of the program to its first request; as LEAD_S of openloop.c."""
GRACE_S = 60.0

Summary = dict[str, Any]
"""What openloop.c says of a segment."""


@dataclass(frozen=True)
class Sent:
    """One request of a load, in seconds from the program's start.

    Attributes:
        segment: Its segment, from 0.
        due_s: When it was due.
        done_s: When it was answered, or given up.
        result: Its status, or why it has none.
    """

    segment: int
    due_s: float
    done_s: float
    result: str

    @property
    def took_s(self) -> float:
        """How long its client waited."""
        return self.done_s - self.due_s


@dataclass(frozen=True)
class OpenLoop:
    """A load to be run.

    Attributes:
        request: What is asked.
        segments: Requests a second, and for how many seconds.
        connections: Most connections that a segment opens.
        timeout_s: How long an attempt may take.
        retries: How often a refused attempt is repeated.
        cores: Where the client runs.
    """

    request: Request
    segments: Sequence[tuple[float, float]]
    connections: int = 512
    timeout_s: float = 1.0
    retries: int = 0
    cores: Cores | None = None

    @contextlib.contextmanager
    def running(self, port: int, folder: Path) -> Generator[Running]:
        """Run it in the background while the caller does something to the server."""
        words: list[str] = [str(built("openloop", folder)), "--port", str(port), "--summary"]
        words += ["--path", self.request.path, "--connections", str(self.connections)]
        segments = ",".join(f"{rate:.6g}:{seconds:g}" for rate, seconds in self.segments)
        words += ["--segments", segments, "--timeout-s", f"{self.timeout_s:g}"]
        words += ["--retries", str(self.retries), "--csv", str(folder / "openloop.csv")]
        for name, value in self.request.headers:
            words += ["--header", f"{name}: {value}"]
        if self.request.expect:
            words += ["--expect", self.request.expect]
        if body := self.request.body_file(folder):
            words += ["--body", str(body), "--type", self.request.type]
        with on_cores(self.cores or all_cores()):
            process = subprocess.Popen(words, stdout=subprocess.PIPE)
        limit_s = sum(seconds for _, seconds in self.segments) + GRACE_S
        try:
            yield Running(process, folder / "openloop.csv", limit_s)
        finally:
            process.kill()
            process.communicate()

    def run(self, port: int, folder: Path) -> list[Summary]:
        """Run it to its end; one summary a segment."""
        with self.running(port, folder) as load:
            return load.summaries()


@dataclass(frozen=True)
class Running:
    """A load on its way."""

    process: subprocess.Popen[bytes]
    csv: Path
    limit_s: float

    def summaries(self) -> list[Summary]:
        """Wait for its end; one summary a segment."""
        output, _ = self.process.communicate(timeout=self.limit_s)
        if self.process.returncode:
            raise subprocess.CalledProcessError(self.process.returncode, "openloop")
        return [json.loads(line) for line in output.splitlines()]

    def requests(self, segment: int) -> list[Sent]:
        """The requests of a segment, once the load has ended."""
        with self.csv.open(encoding="utf-8", newline="") as file:
            return [
                Sent(segment, float(line["due_s"]), float(line["done_s"]), line["result"])
                for line in csv.DictReader(file)
                if line["segment"] == str(segment)
            ]

"""Whole processes, measured from start to end: seconds, CPU seconds and memory. Linux only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from targets import Report, Target, median

LAUNCHER = Path(__file__).with_name("launcher.py")
LIMIT_S = 900.0
STOP_S = 20.0
LOG_TAIL_CHARS = 400


class Failed(Exception):
    """A command that ended otherwise than it should; the text is the end of what it said."""


@dataclass(frozen=True)
class Measured:
    """What one command took, with all processes that it started.

    Attributes:
        wall_s: From its start to its end.
        cpu_s: User and system time.
        memory_mb: Megabytes (1e6) in memory at most; of several processes at once, as looked at
            five times a second.
        code: How it ended.
    """

    wall_s: float
    cpu_s: float
    memory_mb: float
    code: int = 0


@dataclass
class Running:
    """A command in the background, ended at the end of `with` at the latest.

    Attributes:
        command: How it is started.
        log: Where its output goes.
        environment: Added to this process's own.
        limit_s: How long it may take.
        tree: Whether it works in several processes.
    """

    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = LIMIT_S
    tree: bool = False

    def __enter__(self) -> Self:
        """Start it."""
        launch = [sys.executable, "-S", str(LAUNCHER), str(self.limit_s)]
        launch += ["tree" if self.tree else "one", *self.command]
        with self.log.open("wb") as log:
            self._launcher = subprocess.Popen(
                launch,
                cwd=self.log.parent,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        said = self._said()
        if not said:
            self.__exit__()
            raise Failed(f"{self.command[0]}: not started: {self.tail()}")
        self.pid = int(said)
        return self

    def __exit__(self, *_: object) -> None:
        """Have it ended, if it hasn't."""
        if self._launcher.poll() is None:
            self._launcher.terminate()
        try:
            self._launcher.wait(STOP_S)
        finally:
            if self._launcher.stdout is not None:
                self._launcher.stdout.close()

    def kill(self) -> None:
        """End it as a power cut would, if it is still there."""
        if not self.is_over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return not Path(f"/proc/{self.pid}").exists()

    def end(self) -> Measured:
        """Wait for its end, however it comes."""
        said = self._said()
        if not said:
            raise Failed(f"{self.command[0]}: not measured: {self.tail()}")
        return Measured(**json.loads(said))

    def tail(self) -> str:
        """The end of what it said, in one line."""
        words = " ".join(self.log.read_text(encoding="utf-8", errors="replace").split())
        return words[-LOG_TAIL_CHARS:] or "it said nothing"

    def _said(self) -> str:
        return "" if self._launcher.stdout is None else self._launcher.stdout.readline()


def measured(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    tree: bool = False,
) -> Measured:
    """Run a command to its end.

    Raises:
        Failed: It couldn't be run, or its exit code isn't 0.
    """
    with Running(command, log, environment, tree=tree) as running:
        found = running.end()
        if found.code:
            raise Failed(f"exit code {found.code}: {running.tail()}")
        return found


def in_turn(
    sides: Mapping[str, Callable[[], Measured]],
    rounds: int,
    fewer: Mapping[str, int] | None = None,
) -> dict[str, list[Measured]]:
    """Measure all sides in turn, round by round: what the machine does meanwhile befalls all.

    Args:
        sides: What is run, by name.
        rounds: How often.
        fewer: Those that are run less often.
    """
    found: dict[str, list[Measured]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name, run in sides.items():
            if turn < (fewer or {}).get(name, rounds):
                found[name].append(run())
    return found


def best_s(every: Sequence[Measured]) -> float:
    """Seconds of the quickest round: a busy machine only ever adds to them."""
    return min(one.wall_s for one in every)


def show(report: Report, found: Mapping[str, Sequence[Measured]], rows: Mapping[str, int]) -> None:
    """Print and keep what each side took; `rows` is how many it predicted."""
    heads = ["", "best s", "median s", "worst s", "CPU s", "rows/s", "peak MB"]
    lines = [
        [
            name,
            f"{best_s(every):.2f}",
            f"{median([one.wall_s for one in every]):.2f}",
            f"{max(one.wall_s for one in every):.2f}",
            f"{min(one.cpu_s for one in every):.2f}",
            f"{rows[name] / best_s(every):,.0f}",
            f"{max(one.memory_mb for one in every):,.0f}",
        ]
        for name, every in found.items()
    ]
    report.table(heads, lines)
    report.keep("rounds", {name: [asdict(one) for one in every] for name, every in found.items()})


def check_ratio(
    report: Report,
    name: str,
    sides: tuple[Sequence[Measured], Sequence[Measured]],
    target: Target | None,
) -> None:
    """Check how many times longer the best round of one side took than that of another.

    Beside it stand the least and the largest ratio within a round, and that of the CPU seconds.
    """
    long, short = sides
    each = [a.wall_s / b.wall_s for a, b in zip(long, short, strict=False)]
    cpu = min(one.cpu_s for one in long) / max(1e-9, min(one.cpu_s for one in short))
    note = f"  rounds {min(each):.2f} to {max(each):.2f}; by CPU time {cpu:.2f}"
    report.check(name, best_s(long) / best_s(short), target, note)

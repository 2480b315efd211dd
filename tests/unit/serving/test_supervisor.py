"""Real worker processes: replaced when they die, and by others that serve something new."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "supervised.py"
UP = r"worker (\d) up (\d+)"
# What is written, in this order when it is sorted, when two polite workers are told to stop.
BOTH_DRAINED = [
    "signals restored",
    "stopping",
    "worker 0 done",
    "worker 0 told",
    "worker 1 done",
    "worker 1 told",
]
# Why the workers `unable` and `silent` aren't ready.
SAYS_WHY = "churn@3: expected 3 files, got 2. Pack it again."
SAYS_NOTHING = (
    "worker: expected to get ready, got an end with exit code 3. See what it wrote to stderr."
)

Start = Callable[..., "Supervised"]


class Supervised:
    """The program under test, and the lines it and its workers wrote."""

    def __init__(
        self,
        folder: Path,
        work: str,
        *,
        workers: int = 1,
        max_per_min: int = 60,
        drain_s: float = 20.0,
        look_s: float = 0.0,
    ) -> None:
        self.folder = folder
        words = [work, folder, workers, max_per_min, drain_s, look_s]
        # A session of its own: signals to its group reach no one else.
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            yield self.lines[-1]

    def until(self, *patterns: str) -> list[re.Match[str]]:
        """Read on until each of these was seen, in whatever order; give the lines so found."""
        missing = list(patterns)
        found: list[re.Match[str]] = []
        for line in self._lines():
            match = next((m for p in missing if (m := re.fullmatch(p, line))), None)
            if match:
                found.append(match)
                missing.remove(match.re.pattern)
            if not missing:
                return found
        raise AssertionError(f"expected {missing}, got the end of {self.lines}")

    def up(self, count: int, *patterns: str) -> list[tuple[str, int]]:
        """Read on until so many workers are up; give the index and the process id of each."""
        found = self.until(*[UP] * count, *patterns)
        return [(match[1], int(match[2])) for match in found if match.re.pattern == UP]

    def change(self, work: str) -> None:
        """Have the next generation of workers do something else."""
        # Moved, so that nobody sees half of it.
        begun = self.folder / "next-begun"
        begun.write_text(work, encoding="utf-8")
        begun.rename(self.folder / "next")

    def ends(self, *signals: signal.Signals) -> list[str]:
        """Send signals to the supervisor alone; give what is written from now on."""
        begin = len(self.lines)
        for kind in signals:
            self.process.send_signal(kind)
        list(self._lines())
        assert self.process.wait(30) == 0
        return self.lines[begin:]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Supervised] = []

    def begin(work: str, **options: float) -> Supervised:
        started.append(Supervised(tmp_path, work, **options))  # type: ignore[arg-type] - whole ones
        return started[-1]

    yield begin
    for item in started:
        item.process.kill()  # Its workers see that it is gone, and end.
        item.process.communicate()


def test_ready_is_announced_once_when_the_last_worker_is(start: Start) -> None:
    program = start("late", workers=2)
    program.until("ready")
    assert "worker 1 late" in program.lines
    assert "ready" not in program.ends(signal.SIGTERM)


def test_first_signal_drains_every_worker_and_waits_for_it(start: Start) -> None:
    program = start("polite", workers=2)
    program.up(2, "ready")
    lines = program.ends(signal.SIGTERM)
    assert lines[0] == "stopping"
    assert sorted(lines[1:-1]) == [
        "worker 0 done",
        "worker 0 told",
        "worker 1 done",
        "worker 1 told",
    ]
    assert lines[-1] == "signals restored"


def test_ctrl_c_reaches_the_workers_only_through_the_supervisor(start: Start) -> None:
    program = start("polite")
    program.up(1, "ready")
    os.killpg(program.process.pid, signal.SIGINT)  # as a terminal does, to all of its group
    assert program.ends() == ["stopping", "worker 0 told", "worker 0 done", "signals restored"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_kills_workers_that_stay(start: Start, second: signal.Signals) -> None:
    program = start("stubborn", workers=2)
    program.up(2, "ready")
    program.process.send_signal(signal.SIGTERM)
    program.until("worker 0 told", "worker 1 told")
    assert program.ends(second) == ["signals restored"]


def test_killed_worker_is_replaced_and_ready_is_not_announced_again(start: Start) -> None:
    program = start("polite", workers=2)
    (index, process), other = program.up(2, "ready")
    os.kill(process, signal.SIGKILL)
    lost = f"worker {index}: an end by SIGKILL; starting another"
    [(replaced, replacement)] = program.up(1, lost, "restarted")
    assert replaced == index
    assert replacement not in {process, other[1]}
    assert sorted(program.ends(signal.SIGTERM)) == BOTH_DRAINED
    assert program.lines.count("ready") == 1


def test_worker_that_ends_by_itself_once_ready_is_replaced(start: Start) -> None:
    program = start("brief")
    program.up(2, "worker 0: an end with exit code 0; starting another")
    assert program.ends(signal.SIGTERM)[-2:] == ["worker 0 done", "signals restored"]


def test_replacement_that_fails_is_replaced_while_another_worker_is_ready(start: Start) -> None:
    program = start("unlucky", workers=2)
    os.kill(dict(program.up(2, "ready"))["0"], signal.SIGKILL)
    lost = [f"worker 0: {how}; starting another" for how in ("an end by SIGKILL", "no luck")]
    [(replaced, _)] = program.up(1, *lost, "restarted", "restarted")
    assert replaced == "0"
    assert program.ends(signal.SIGTERM)[-1] == "signals restored"


def test_restarts_beyond_the_rate_wait_and_a_signal_is_heard_meanwhile(start: Start) -> None:
    program = start("polite", max_per_min=1)
    for restarts in (0, 1):
        [(_, process)] = program.up(1, *["restarted"] * restarts)
        os.kill(process, signal.SIGKILL)
        program.until("worker 0: an end by SIGKILL; starting another")
    assert program.ends(signal.SIGTERM) == ["stopping", "signals restored"]


def test_failed_start_is_an_error_with_the_words_of_the_worker(start: Start) -> None:
    program = start("unable", workers=2)
    assert program.ends() == [
        "stopping",
        f"failed: {SAYS_WHY}",
        "signals restored",
    ]


def test_worker_that_ends_at_the_start_without_a_word_is_an_error_too(start: Start) -> None:
    program = start("silent")
    assert program.ends() == [
        "stopping",
        f"failed: {SAYS_NOTHING}",
        "signals restored",
    ]


def test_workers_see_that_their_supervisor_is_gone(start: Start) -> None:
    program = start("polite", workers=2)
    program.up(2, "ready")
    program.process.kill()
    program.until("worker 0 alone", "worker 1 alone")


def test_next_generation_takes_over_when_all_of_it_is_ready(start: Start) -> None:
    program = start("polite", workers=2, look_s=0.05)
    program.up(2, "ready")
    program.change("late")
    program.up(2, "switched", "worker 0 asked to leave", "worker 1 asked to leave")
    # Nobody is asked to leave before the last of the new ones, who is late, is ready.
    left = min(program.lines.index(f"worker {index} asked to leave") for index in (0, 1))
    assert program.lines.index("worker 3 late") < left
    lines = program.ends(signal.SIGTERM)
    # The old ones are about to be gone; they may still be told.
    assert {"worker 2 done", "worker 3 done"} <= set(lines)
    assert not {"worker 0 done", "worker 1 done"} & set(lines)
    assert lines[-1] == "signals restored"
    assert program.lines.count("ready") == 1


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("unable", SAYS_WHY),
        ("silent", SAYS_NOTHING),
    ],
)
def test_generation_that_fails_is_refused_and_the_old_one_serves_on(
    start: Start, work: str, reason: str
) -> None:
    program = start("polite", workers=2, look_s=0.05)
    program.up(2, "ready")
    program.change(work)
    program.until(re.escape(f"refused: {reason}"))
    # It is over with: the next one may come, under the same numbers.
    program.change("polite")
    came = program.up(2, "switched", "worker 0 asked to leave", "worker 1 asked to leave")
    assert sorted(index for index, _ in came) == ["2", "3"]
    program.change("polite")
    came = program.up(2, "switched", "worker 2 asked to leave", "worker 3 asked to leave")
    assert sorted(index for index, _ in came) == ["0", "1"]
    assert program.ends(signal.SIGTERM)[-1] == "signals restored"


def test_one_worker_that_fails_is_enough_to_refuse_its_generation(start: Start) -> None:
    program = start("polite", workers=2, look_s=0.05)
    program.up(2, "ready")
    program.change("second_fails")
    program.until("refused: no luck")
    lines = program.ends(signal.SIGTERM)
    assert sorted(lines) == BOTH_DRAINED


def test_worker_of_the_old_generation_that_dies_meanwhile_is_replaced(start: Start) -> None:
    program = start("polite", workers=2, look_s=0.05)
    old = dict(program.up(2, "ready"))
    program.change("held")
    program.until("worker 2 held", "worker 3 held")
    os.kill(int(old["0"]), signal.SIGKILL)
    lost = "worker 0: an end by SIGKILL; starting another"
    [(replaced, replacement)] = program.up(1, lost, "restarted")
    assert replaced == "0"
    (program.folder / "go").touch()
    program.up(2, "switched", "worker 0 asked to leave", "worker 1 asked to leave")
    assert replacement != old["0"]
    assert program.ends(signal.SIGTERM)[-1] == "signals restored"


def test_worker_of_the_new_generation_that_dies_once_it_serves_is_replaced(start: Start) -> None:
    program = start("stubborn", look_s=0.05)
    program.up(1, "ready")
    program.change("polite")
    [(index, process)] = program.up(1, "switched")
    assert index == "1"
    os.kill(process, signal.SIGKILL)
    [(index, _)] = program.up(1, "worker 0: an end by SIGKILL; starting another", "restarted")
    assert index == "1", "the number of its generation"
    assert program.ends(signal.SIGTERM)[-1] == "signals restored"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")
def test_worker_that_overstays_when_it_was_asked_to_leave_is_killed(start: Start) -> None:
    # Nobody looks for another change in this time: it is not what the supervisor wakes up for.
    program = start("clinging", drain_s=0.2, look_s=15.0)
    program.change("polite")
    [(_, process)] = program.up(1, "ready")
    ended = os.pidfd_open(process)
    program.until("switched", "worker 0 asked to leave but stays")
    assert select.select([ended], [], [], 5.0)[0] == [ended]
    os.close(ended)
    assert program.ends(signal.SIGTERM)[-1] == "signals restored"


def test_no_change_begins_before_the_last_worker_has_left(start: Start) -> None:
    program = start("clinging", drain_s=0.4, look_s=0.05)
    [(_, process)] = program.up(1, "ready")
    program.change("polite")
    program.up(1, "switched", "worker 0 asked to leave but stays")
    program.change("polite")
    [(index, _)] = program.up(1, "switched")
    assert index == "0"
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert program.ends(signal.SIGTERM)[-1] == "signals restored"


def test_signal_in_the_middle_of_a_change_stops_everybody(start: Start) -> None:
    program = start("polite", workers=2, look_s=0.05)
    program.up(2, "ready")
    program.change("held")
    program.until("worker 2 held", "worker 3 held")
    # The end of the output, which is waited for, is the end of the new workers, too.
    assert sorted(program.ends(signal.SIGTERM)) == BOTH_DRAINED


def test_signal_while_the_old_generation_leaves_stops_everybody(start: Start) -> None:
    program = start("clinging", look_s=0.05)
    program.up(1, "ready")
    program.change("polite")
    program.up(1, "switched", "worker 0 asked to leave but stays")
    program.process.send_signal(signal.SIGTERM)
    program.until("stopping", "worker 0 told", "worker 1 told", "worker 1 done")
    # The second one is for whoever stays.
    assert program.ends(signal.SIGTERM) == ["signals restored"]


def test_no_generation_begins_before_the_first_one_serves(start: Start) -> None:
    program = start("held", look_s=0.05)
    program.change("polite")
    program.until("worker 0 held")
    (program.folder / "go").touch()
    program.until("ready", "switched")
    assert program.lines.index("ready") < program.lines.index("switched")
    assert program.ends(signal.SIGTERM)[-1] == "signals restored"

"""Attempts: their process, their file, and what is known of them after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.schedule import launch as module
from twofold.schedule.agenda import Ending
from twofold.schedule.launch import Attempt, attempt_path, find, launch

DONE = '{"state":"committed","elapsed_s":1.0}'
FAILED = '{"error":"in.parquet: expected a file, got none.","code":"InvalidInput","exit_code":1}'


def begin(folder: Path, script: str, patch: pytest.MonkeyPatch) -> Attempt:
    patch.setattr(module, "COMMAND", ("/bin/sh", "-c", script))
    return launch(folder, "n-1", ["batch", "run"])


def end_of(attempt: Attempt) -> Ending:
    assert attempt._child is not None
    attempt._child.wait(60)
    ending = attempt.poll()
    assert ending is not None
    return ending


def left_behind(folder: Path, *lines: str) -> Attempt:
    """What is found of an attempt that another process started and that has ended."""
    attempt_path(folder, "n-1").write_text("".join(f"{line}\n" for line in lines))
    attempt = find(folder, "n-1")
    assert attempt is not None
    return attempt


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"echo '{DONE}'", Ending(0)),
        (f"echo '{FAILED}'; exit 1", Ending(1, "in.parquet: expected a file, got none.")),
        (
            f"echo noise; echo '{FAILED}'; exit 3",
            Ending(3, "in.parquet: expected a file, got none."),
        ),
        ("echo '{'; exit 2", Ending(2)),
        ("kill -9 $$", Ending(-9)),
    ],
)
def test_an_attempt_ends_with_the_exit_code_and_the_message_of_its_process(
    script: str, expected: Ending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert end_of(begin(tmp_path, script, monkeypatch)) == expected


def test_the_process_has_its_arguments_a_group_of_its_own_and_no_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = begin(
        tmp_path, 'echo "$0 $1 $(ps -o pgid= -p $$)"; read line || echo none', monkeypatch
    )
    assert end_of(attempt).exit_code == 0
    first, said, read = attempt_path(tmp_path, "n-1").read_text().splitlines()
    assert said.split() == ["batch", "run", first]
    assert read == "none"
    attempt.forget()
    assert find(tmp_path, "n-1") is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), Ending(None)),
        (("17",), Ending(None)),
        (("17", '{"state":"comm'), Ending(None)),
        (("17", "{}"), Ending(None)),
        (("17", DONE), Ending(0)),
        (("17", "noise", FAILED), Ending(1, "in.parquet: expected a file, got none.")),
    ],
)
def test_of_an_attempt_that_ended_unwatched_its_last_line_tells_how(
    lines: tuple[str, ...], expected: Ending, tmp_path: Path
) -> None:
    assert left_behind(tmp_path, *lines).poll() == expected


def test_an_attempt_whose_file_somebody_removed_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    attempt = left_behind(tmp_path, "17")
    attempt.forget()
    assert attempt.poll() == Ending(None)
    attempt.stop(signal.SIGTERM)


# Starts an attempt that waits for a line from a pipe, and dies without a word.
CRASHING = """
import os, sys
from pathlib import Path
from twofold.schedule import launch

launch.COMMAND = ("/bin/sh", "-c", %r)
launch.launch(Path("."), "n-1", [])
os.kill(os.getpid(), 9)
"""


def crashed(folder: Path) -> Attempt:
    """Find what a crashed process left at work."""
    os.mkfifo(folder / "pipe")
    code = CRASHING % f"read line < pipe; echo '{DONE}'"
    crash = subprocess.run([sys.executable, "-c", code], cwd=folder, timeout=60, check=False)
    assert crash.returncode == -signal.SIGKILL
    attempt = find(folder, "n-1")
    assert attempt is not None
    assert attempt.is_found
    assert attempt.poll() is None
    return attempt


def wait_for(attempt: Attempt) -> Ending:
    while (ending := attempt.poll()) is None:
        os.sched_yield()
    return ending


def test_an_attempt_goes_on_without_who_started_it_and_is_found_at_work(tmp_path: Path) -> None:
    attempt = crashed(tmp_path)
    with (tmp_path / "pipe").open("w") as pipe:
        pipe.write("go on\n")
    assert wait_for(attempt) == Ending(0)


def test_an_attempt_that_was_found_can_be_stopped(tmp_path: Path) -> None:
    attempt = crashed(tmp_path)
    while module._process_id(attempt_path(tmp_path, "n-1")) is None:
        os.sched_yield()
    attempt.stop(signal.SIGKILL)
    assert wait_for(attempt) == Ending(None)

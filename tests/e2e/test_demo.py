"""The demo: its whole story, twice, and interrupted at any step."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "twofold", "demo", "--rows", "20000"]
STEPS = 7


def test_the_demo_runs_twice_and_both_speeds_agree(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            [*COMMAND, "--json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=170,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["equal_rows"] == report["compared_rows"] == 1000
        assert len(report["steps_s"]) == STEPS
        for words in ("stored:", "live:", "per data point", "bit for bit"):
            assert words in done.stderr


@pytest.mark.parametrize("step", [2, 4, 5])
def test_ctrl_c_at_any_step_leaves_nothing_broken(tmp_path: Path, step: int) -> None:
    process = subprocess.Popen(
        COMMAND, cwd=tmp_path, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if line.startswith(f"{step}. "):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    process.wait(timeout=60)
    assert process.returncode == 130, seen + rest
    assert "Traceback" not in rest
    again = subprocess.run(
        COMMAND,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=170,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert again.returncode == 0, again.stderr


def test_the_demo_leaves_a_folder_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = subprocess.run(
        [*COMMAND, "--folder", "mine"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "expected an empty folder or an earlier demo's" in done.stderr
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"

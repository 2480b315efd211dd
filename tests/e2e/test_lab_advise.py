"""`twofold lab advise` as a user has it: on a terminal it asks, and its settings are used."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "twofold"]
ANSWERS = [
    ("Rows a day [1000000]: ", "1000000"),
    ("Is the whole table wanted (y, n) [n]: ", "y"),
    ("Share that is asked for [0.02]: ", "0.01"),
    ("Tolerated age [24h]: ", "soon"),
    ("Tolerated age [24h]: ", "24h"),
    ("Latency in ms [50]: ", "50"),
    ("Requests a second at the peak [20]: ", ""),
    ("(known, partly, with-request) [known]: ", "partly"),
]
LIMIT_S = 60.0


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def flags(**changed: str) -> list[str]:
    values = {
        "rows-per-day": "1000000",
        "asked-ratio": "0.01",
        "max-age": "24h",
        "slo-ms": "50",
        "peak-per-s": "20",
        "features": "partly",
    }
    values |= {name.replace("_", "-"): value for name, value in changed.items()}
    return [word for name, value in values.items() for word in (f"--{name}", value)]


def test_the_settings_it_writes_are_those_a_scheduler_lists(tmp_path: Path) -> None:
    done = run(
        tmp_path, "lab", "advise", *flags(), "--model", "churn", "--toml", "twofold.toml", "--json"
    )
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)
    assert advice["mode"] == "hybrid"
    listed = run(tmp_path, "schedule", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    (schedule,) = json.loads(listed.stdout)["schedules"]
    assert schedule["name"] == "churn-every-night"


def test_settings_of_every_mode_are_read_by_a_server(tmp_path: Path) -> None:
    for mode, changed in {
        "real-time": {"max_age": "0", "features": "with-request"},
        "batch": {"slo_ms": "none", "features": "known"},
        "hybrid": {},
    }.items():
        folder = tmp_path / mode
        folder.mkdir()
        done = run(folder, "lab", "advise", *flags(**changed), "--toml", "twofold.toml", "--json")
        assert json.loads(done.stdout)["mode"] == mode
        # It ends for want of the model, after the settings were read.
        served = run(folder, "serve", "MODEL")
        assert served.returncode == 1, served.stderr
        assert "twofold.toml" not in served.stderr
        assert "MODEL" in served.stderr


def test_on_a_terminal_it_asks_and_asks_again(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "lab", "advise"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "dumb", "COLUMNS": "200"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        said = "".join(answered(ours, question, answer) for question, answer in ANSWERS)
        said += until(ours, None)
        assert process.wait(LIMIT_S) == 0, said
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert "expected a number and its unit, got 'soon'" in said
    assert "HYBRID" in said


def answered(terminal: int, question: str, answer: str) -> str:
    """Wait for a question and answer it; gives what was said before."""
    said = until(terminal, question)
    os.write(terminal, (answer + "\n").encode())
    return said


def until(terminal: int, words: str | None) -> str:
    """What a terminal shows until it ends with these words, or is closed."""
    said = ""
    limit = time.monotonic() + LIMIT_S
    while words is None or not said.endswith(words):
        assert select.select([terminal], [], [], max(0.0, limit - time.monotonic()))[0], said
        try:
            got = os.read(terminal, 65_536).decode(errors="replace")
        except OSError:  # the other side is closed
            got = ""
        if not got:
            assert words is None, said
            break
        said += got
    return said

"""A scheduler that is killed, again and again, loses no due run and doubles none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import twofold

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
DEADLINE_S = 240
KILLS = 12
SEED = 7

# Stands for `twofold batch run`: notes that it works on a run, and commits it by one rename,
# unless that was done before.
WORK = """
while [ $# -gt 0 ]; do
    case $1 in --run-id) id=$2 ;; esac
    shift
done
state="already committed"
if [ ! -e out/$id ]; then
    state=committed
    echo "$id" >> begun
    mkdir -p staged/$id
    sleep 0.2
    mv -T staged/$id out/$id
fi
echo "{\\"state\\": \\"$state\\"}"
"""

# Keeps an hourly schedule. The clock stands still, or an hour is a second. It dies at a step.
CHILD = """
import os, sys, time
from datetime import datetime, timedelta
from twofold.schedule import launch
from twofold.schedule.arguments import Places
from twofold.schedule.run import Scheduler, Watch, signals
from twofold.schedule.settings import ScheduleSettings, SchedulerSettings

mode, kill_at, begin, epoch_s = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
speed = 3600.0 if mode == "fast" else 0.0
launch.COMMAND = ("/bin/sh", "work.sh")
seen = 0

def clock():
    return datetime.fromisoformat(begin) + timedelta(seconds=speed * (time.time() - epoch_s))

def at(step):
    global seen
    seen += 1
    if seen == kill_at:
        os.kill(os.getpid(), 9)

schedule = ScheduleSettings(
    name="n", model="m", input="in", output="out", cron="0 * * * *",
    catch_up="all", overlap="wait", max_waiting_runs=10_000,
)
with signals() as wait:
    watch = Watch(wait=lambda s: wait(s / (speed or 1.0)), clock=clock, step=at,
                  tell=lambda event: print(event.event, flush=True))
    settings = SchedulerSettings(state="state")
    Scheduler([schedule], settings, Places("registry", "store"), watch).run(once=mode == "once")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work.sh").write_text(WORK)
    for name in ("out", "state"):
        (tmp_path / name).mkdir()
    return tmp_path


def start(
    folder: Path, mode: str, now: datetime, *, kill_at: int = 0, epoch_s: float = 0.0
) -> subprocess.Popen[str]:
    source = str(Path(twofold.__file__).parents[1])
    arguments = [mode, str(kill_at), now.isoformat(), str(epoch_s)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": source},
        stdout=subprocess.PIPE,
        text=True,
    )


def once(folder: Path, hours: int, *, kill_at: int = 0) -> int:
    """Let a scheduler do what is due so many hours after midnight; gives its exit code."""
    child = start(folder, "once", MIDNIGHT + timedelta(hours=hours), kill_at=kill_at)
    child.communicate(timeout=DEADLINE_S)
    return child.returncode


def run_ids(hours: int) -> list[str]:
    """The runs that are due within so many hours after midnight."""
    return [f"n-{MIDNIGHT + timedelta(hours=hour):%Y%m%dT%H%M%SZ}" for hour in range(1, hours + 1)]


def begun(folder: Path) -> list[str]:
    return (folder / "begun").read_text().splitlines()


def committed(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").iterdir())


def test_killed_at_any_step_it_runs_every_instant_once(folder: Path) -> None:
    assert once(folder, 0) == 0
    last = hour = 0
    kill_at = 1
    # Each time two more runs are due, and the scheduler is killed one step later.
    while last == 0:
        hour += 2
        killed = once(folder, hour, kill_at=kill_at)
        assert killed in (0, -signal.SIGKILL)
        assert once(folder, hour) == 0
        assert committed(folder) == run_ids(hour)
        assert begun(folder) == run_ids(hour)
        last = kill_at if killed == 0 else 0
        kill_at += 1
    # Two runs are taken up, begun, started, ended, tidied up after: there is no further step.
    assert last == 11


def test_a_run_at_work_when_the_scheduler_is_killed_goes_on_and_is_not_started_again(
    folder: Path,
) -> None:
    assert once(folder, 0) == 0
    child = start(folder, "once", MIDNIGHT + timedelta(hours=1))
    stop_s = time.monotonic() + DEADLINE_S
    while not (folder / "begun").exists():
        assert time.monotonic() < stop_s
        os.sched_yield()
    child.kill()
    child.communicate()
    after = start(folder, "once", MIDNIGHT + timedelta(hours=1))
    said, _ = after.communicate(timeout=DEADLINE_S)
    assert said.split() == ["found", "ended"]
    assert begun(folder) == committed(folder) == run_ids(1)


def test_killed_at_random_instants_it_runs_every_instant_once(folder: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - for kills, not for secrets
    epoch_s = time.time()
    for _ in range(KILLS):
        child = start(folder, "fast", MIDNIGHT, epoch_s=epoch_s)
        with pytest.raises(subprocess.TimeoutExpired):
            child.communicate(timeout=chance.uniform(0.05, 3.0))
        child.kill()
        child.communicate()
    hours = int(time.time() - epoch_s) + 1
    assert once(folder, hours) == 0
    # It was first looked at some hours after midnight.
    first = len(run_ids(hours)) - len(committed(folder))
    assert begun(folder) == committed(folder) == run_ids(hours)[first:]
    assert len(committed(folder)) > KILLS // 2


def test_stopped_it_stops_what_is_at_work_and_the_next_goes_on_with_it(folder: Path) -> None:
    (folder / "work.sh").write_text(WORK.replace("sleep 0.2", "test -e go || sleep 600"))
    assert once(folder, 0) == 0
    child = start(folder, "still", MIDNIGHT + timedelta(hours=1))
    stop_s = time.monotonic() + DEADLINE_S
    while not (folder / "begun").exists():
        assert time.monotonic() < stop_s
        os.sched_yield()
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=DEADLINE_S)
    assert (child.returncode, said.split()) == (0, ["due", "started", "stopped"])
    assert committed(folder) == []
    (folder / "go").touch()
    assert once(folder, 1) == 0
    assert committed(folder) == run_ids(1)

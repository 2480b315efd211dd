"""Schedules as a user has them: the commands, and the ways to hand them over to others."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import twofold
from twofold.lease import hold_lease
from twofold.schedule.agenda import begin
from twofold.schedule.keep import save_state
from twofold.schedule.settings import ScheduleSettings
from twofold.schedule.state import State

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")
FILE = """
[[schedule]]
name = "nightly"
model = "price"
input = "in/{date}.parquet"
output = "out"
key = "id"
cron = "30 2 * * *"
"""
DUE = datetime(2026, 1, 31, 2, 30, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "schedule_rules.py").write_text("def price(row):\n    return row['x'] * 2.0\n")
    table = pa.table({"id": [1, 2], "x": [1.0, 2.0]})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "2026-01-31.parquet")
    (tmp_path / "twofold.toml").write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        twofold.pack(
            "schedule_rules:price",
            name="price",
            sample=table,
            registry=tmp_path / "registry",
            drop=["id"],
        )
    return tmp_path


def twofold_run(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "twofold", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def listed(folder: Path) -> dict[str, Any]:
    return json.loads(twofold_run(folder, "schedule", "list", "--json").stdout)["schedules"][0]


def due(folder: Path, name: str = "nightly") -> None:
    """Make the run of the 31st the last one that is due and not dealt with."""
    schedule = ScheduleSettings(name, "price", "in", "out", "30 2 31 1 *")
    (folder / "twofold.toml").write_text(FILE.replace("30 2 * * *", schedule.cron))
    table = begin(schedule, DUE - timedelta(days=1))
    (folder / "schedules").mkdir()
    save_state(folder / "schedules", State(timetables={name: table}))


def test_what_is_due_is_run_once_and_listed(folder: Path) -> None:
    due(folder)
    assert listed(folder)["runs"] == []
    twofold_run(folder, "schedule", "run", "--once")
    (part,) = (folder / "out" / "nightly-20260131T023000Z").glob("part-*.parquet")
    assert pq.read_table(part)["prediction"].to_pylist() == [2.0, 4.0]
    twofold_run(folder, "schedule", "run", "--once")
    (run,) = listed(folder)["runs"]
    assert (run["state"], run["attempts"], run["reason"]) == ("done", 1, "")
    # The command it shows is one that anybody can repeat.
    again = twofold_run(folder, *run["command"][1:])
    assert json.loads(again.stdout)["state"] == "already committed"
    manifest = json.loads(again.stdout)["manifest"]
    assert manifest["as_of"] == "2026-01-31T02:30:00Z"


def test_a_run_that_fails_says_why_and_waits_for_its_retry(folder: Path) -> None:
    due(folder)
    (folder / "in" / "2026-01-31.parquet").unlink()
    said = twofold_run(folder, "schedule", "run", "--once", "--json").stdout
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["event"] for event in events] == ["due", "started", "retry"]
    assert "in/2026-01-31.parquet" in events[-1]["message"]
    (run,) = listed(folder)["runs"]
    assert run["state"] == "waiting for a retry"
    shown = twofold_run(folder, "schedule", "list").stdout
    assert "waiting for a retry" in shown
    assert "exit code 1: in/2026-01-31.parquet: expected" in shown


def test_a_second_scheduler_is_refused(folder: Path) -> None:
    (folder / "schedules").mkdir()
    with hold_lease(folder / "schedules", "first"):
        done = twofold_run(folder, "schedule", "run", code=5)
        assert "schedules: expected no other scheduler, got one at work" in done.stderr
        assert "no scheduler is running" not in twofold_run(folder, "schedule", "list").stderr


def test_every_problem_of_every_schedule_is_said_at_once(folder: Path) -> None:
    wrong = FILE + FILE.replace("nightly", "other").replace("30 2", "30 25") + "key2 = 1\n"
    (folder / "twofold.toml").write_text(wrong.replace("{date}", "{day}"))
    done = twofold_run(folder, "schedule", "list", code=2)
    for words in (
        "twofold.toml: schedule 'nightly'.input: expected no placeholder but {date}, got {day}",
        "twofold.toml: schedule 'other'.input: expected no placeholder",
        "twofold.toml: schedule 'other'.cron: expected minute, hour",
        "twofold.toml: schedule 'other'.key2: expected one of name, model",
    ):
        assert words in done.stderr


def test_without_a_schedule_there_is_nothing_to_keep(folder: Path) -> None:
    (folder / "twofold.toml").write_text("")
    done = twofold_run(folder, "schedule", "run", code=1)
    assert "twofold.toml: expected a [[schedule]], got none" in done.stderr


# Handing over to others: what the page says is what works.


def block(kind: str, word: str) -> str:
    """The block of the page that has a word in it."""
    found = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    (text,) = [text for text in found if word in text]
    return text


def in_shell(folder: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as cron or a container does: by `sh -c`, with `twofold` on the path."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m twofold "$@"\n'
    (bin_folder / "twofold").write_text(script)
    (bin_folder / "twofold").chmod(0o755)
    environment = {
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "PYTHONPATH": f"{folder}:{Path(twofold.__file__).parents[1]}",
        **variables,
    }
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_line_for_cron_commits_the_day_once(folder: Path) -> None:
    line = block("text", "CRON_TZ").strip().splitlines()[-1]
    # What cron does: five fields, then a command in which \% stands for %.
    command = line.split(None, 5)[5].replace("\\%", "%").replace("cd /srv/churn && ", "")
    command = command.replace("churn", "price").replace("customer_id", "id")
    today = datetime.now(UTC)
    days = [today - timedelta(days=1), today, today + timedelta(days=1)]
    for day in days:  # It may be midnight by now.
        pq.write_table(pa.table({"id": [1], "x": [1.0]}), folder / "in" / f"{day:%Y-%m-%d}.parquet")
    first = in_shell(folder, command)
    assert first.returncode == 0, first.stderr
    again = in_shell(folder, command)
    assert "already committed" in again.stderr


def test_the_manifest_for_kubernetes_names_a_run_after_its_job(folder: Path) -> None:
    yaml = pytest.importorskip("yaml")
    cron_job = yaml.safe_load(block("yaml", "CronJob"))
    assert cron_job["spec"]["concurrencyPolicy"] == "Forbid"
    job = cron_job["spec"]["jobTemplate"]["spec"]
    (rule,) = [rule for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2, 3])
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    (container,) = pod["containers"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    (variable,) = container["env"]
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == (
        "metadata.labels['batch.kubernetes.io/job-name']"
    )
    shell, flag, script = container["command"]
    assert (shell, flag) == ("/bin/sh", "-c")
    script = script.replace("/data/", "").replace("churn", "price").replace("customer_id", "id")
    script = script.replace("--registry registry", "").replace(
        "--output predictions", "--output out"
    )
    # Kubernetes names a job after the minute it is due, counted from 1970.
    job_name = f"price-nightly-{int(DUE.timestamp()) // 60}"
    for state in ("committed", "already committed"):
        done = in_shell(folder, script, **{variable["name"]: job_name})
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(state)
    assert (folder / "out" / job_name).is_dir()


def test_the_dag_for_airflow_is_python_and_its_command_is_idempotent(folder: Path) -> None:
    tree = ast.parse(block("python", "BashOperator"))
    (command,) = [
        keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "bash_command" and isinstance(keyword.value, ast.Constant)
    ]
    # What Airflow's templates make of it.
    command = command.replace("{{ ds }}", "2026-01-31").replace("{{ ds_nodash }}", "20260131")
    assert "{{" not in command
    command = command.replace("cd /srv/churn && ", "").replace("churn", "price")
    command = command.replace("customer_id", "id").replace("predictions", "out")
    for state in ("committed", "already committed"):
        done = in_shell(folder, command)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(state)

"""How soon a committed run of a million keys is what is read: verified, and switched to."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from batch import KEY, RUN_ID
from processes import Measured, best_s, in_turn, measured
from snapshots import SnapshotLab
from store_servers import NoServer, postgresql_schema, redis_server
from targets import Report, at_most

KEYS, ROUNDS, SERVER_ROUNDS = 1_000_000, 5, 3
EMBEDDED, SERVER = at_most(2.0, "s"), at_most(8.0, "s")


def run(lab: SnapshotLab, report: Report) -> None:
    """Measure and print."""
    keys = lab.keys(KEYS)
    report.begin("publish", f"`twofold snapshot publish` of {keys:,} keys, as a whole process")
    batch = lab.batch
    batch.prepare()
    with tempfile.TemporaryDirectory(dir=lab.folder) as runs:
        command = [sys.executable, "-m", "twofold", "batch", "run", "churn", str(batch.input(keys))]
        command += ["--output", runs, "--key", KEY, "--run-id", RUN_ID, "--json"]
        command += ["--registry", str(batch.registry)]
        measured(command, lab.folder / "run.log", batch.environment)
        found = in_turn({"folder": lambda: _into_folder(lab, runs)}, batch.rounds(ROUNDS))
        _show(report, "into a folder", found["folder"])
        report.check("seconds into a folder, best", best_s(found["folder"]), EMBEDDED)
        servers = {
            "Redis": partial(_into_redis, lab, runs),
            "PostgreSQL": partial(_into_pg, lab, runs),
        }
        for name, publish in servers.items():
            _server(report, name, publish, batch.rounds(SERVER_ROUNDS))


def _server(report: Report, name: str, publish: Callable[[], Measured], rounds: int) -> None:
    try:
        every = [publish() for _ in range(rounds)]
    except NoServer as error:
        report.check(f"seconds into {name}, best", None, SERVER, f"  {error}")
        return
    _show(report, f"into {name}", every)
    report.check(f"seconds into {name}, best", best_s(every), SERVER)


def _show(report: Report, where: str, every: list[Measured]) -> None:
    worst = max(one.wall_s for one in every)
    note = f"  CPU {min(one.cpu_s for one in every):.2f} s"
    report.check(f"seconds {where}, worst", worst, None, note)
    report.check(f"peak memory {where}, MB", max(one.memory_mb for one in every), None)


def _into_folder(lab: SnapshotLab, runs: str) -> Measured:
    with tempfile.TemporaryDirectory(dir=lab.folder) as store:
        return _published(lab, runs, store)


def _into_redis(lab: SnapshotLab, runs: str) -> Measured:
    with redis_server(lab.folder) as (url, _):
        return _published(lab, runs, url)


def _into_pg(lab: SnapshotLab, runs: str) -> Measured:
    with postgresql_schema() as url:
        return _published(lab, runs, url)


def _published(lab: SnapshotLab, runs: str, store: str) -> Measured:
    command = [sys.executable, "-m", "twofold", "snapshot", "publish", str(Path(runs) / RUN_ID)]
    command += ["--store", store, "--json"]
    return measured(command, lab.folder / "publish.log", lab.environment)

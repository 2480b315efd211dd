"""Snapshots: how soon a run is read by key, how quick an answer is, and what a switch costs.

    python bench/bench_snapshots.py [PART...] [--quick] [--json FILE]

Every figure is a ratio within this run, or stands beside the target it has on any machine. Needs
Linux, wrk for `http`, redis-server for `away`, and for `publish` that and a PostgreSQL. `get`
makes a snapshot of 20 million keys in TMPDIR, about 700 MB.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from batch import NoRoom
from common import scratch
from processes import Failed
from serving import NotStarted
from snapshot_parts import away, get, http, publish, switch
from snapshots import SnapshotLab
from store_servers import NoServer
from targets import Report

PARTS = {
    "publish": publish.run,
    "get": get.run,
    "switch": switch.run,
    "http": http.run,
    "away": away.run,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="a tenth of the keys")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    # Told to end, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = Report()
    with scratch() as folder:
        lab = SnapshotLab(Path(folder), given.quick)
        for part in given.parts or PARTS:
            try:
                PARTS[part](lab, report)
            except (
                OSError,
                subprocess.SubprocessError,
                NotStarted,
                NoRoom,
                NoServer,
                Failed,
            ) as error:
                report.fail(error)
    report.end(given.json)
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()

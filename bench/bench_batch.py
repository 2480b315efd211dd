"""The batch engine: how fast, against whom, at which cost, in how much memory.

    python bench/bench_batch.py [PART...] [--quick] [--json FILE]

Every figure is a ratio within this run, or stands beside the target it has on any machine. Both
sides of a ratio are whole processes, from a cold interpreter (its bytecode is there) to the last
byte of output; they take turns, and the quickest round of each counts, since a busy machine only
ever adds to it. Needs Linux. The peers of `peers` are installed into .venv-bench the first time;
Spark needs Java. Inputs are written to TMPDIR, about 6 GB for everything.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from batch import BatchLab, NoRoom
from batch_parts import (
    bad,
    durability,
    floor,
    formats,
    memory,
    peers,
    ray,
    resume,
    scaling,
    start,
    telco,
)
from common import scratch
from processes import Failed
from serving import going_first
from targets import Report

PARTS = {
    "peers": peers.run,
    "floor": floor.run,
    "start": start.run,
    "durability": durability.run,
    "memory": memory.run,
    "telco": telco.run,
    "resume": resume.run,
    "bad": bad.run,
    "formats": formats.run,
    "scaling": scaling.run,
    "ray": ray.run,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the rows: see that it runs"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--flag", action="append", default=[], help="of every `twofold batch run`, as --flag=--x=1"
    )
    parser.add_argument(
        "--first", action="store_true", help="before the machine's other work; needs root"
    )
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    # Told to end, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = Report()
    with scratch() as folder, going_first() if given.first else contextlib.nullcontext():
        lab = BatchLab(Path(folder), given.quick, given.flag)
        lab.prepare()
        for part in given.parts or PARTS:
            try:
                PARTS[part](lab, report)
            except (OSError, subprocess.SubprocessError, Failed, NoRoom) as error:
                report.fail(error)
    report.end(given.json)
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()

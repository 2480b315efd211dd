"""The real-time server: how fast, how steady under overload, how hard to disturb.

    python bench/bench_serving.py [PART...] [--quick] [--json FILE]

Every figure is a ratio within this run, or stands beside the target it has on any machine. Needs
Linux, a C compiler and wrk (the Debian package wrk). The peers of `hot` are installed into
.venv-bench the first time.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from common import scratch
from contestants import Lab
from load.build import NoCompiler
from load.closedloop import NoWrk, check_installed
from serving import NotStarted, going_first
from serving_parts import big, hot, kill, overload, reload, start
from targets import Report

PARTS = {
    "hot": hot.run,
    "overload": overload.run,
    "big": big.run,
    "start": start.run,
    "kill": kill.run,
    "reload": reload.run,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="short: to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--constant-path", default="/v2/health/live", help="what twofold answers without a model"
    )
    parser.add_argument(
        "--flag", action="append", default=[], help="of every `twofold serve`, as --flag=--x=1"
    )
    parser.add_argument("--only", default="", help="overload: those whose name has this in it")
    parser.add_argument(
        "--first", action="store_true", help="before the machine's other work; needs root"
    )
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    try:
        check_installed()
    except NoWrk as error:
        sys.exit(str(error))
    # Told to end, it still stops the servers that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = Report()
    with scratch() as folder, going_first() if given.first else contextlib.nullcontext():
        lab = Lab(Path(folder), given.quick, given.flag, given.constant_path, given.only)
        for part in given.parts or PARTS:
            try:
                PARTS[part](lab, report)
            except (OSError, subprocess.SubprocessError, NotStarted, NoCompiler) as error:
                report.fail(error)
    report.end(given.json)
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()

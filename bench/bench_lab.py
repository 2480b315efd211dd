"""The lab: how much its load generator sends in time, whether others find the same as it does.

    python bench/bench_lab.py [PART...] [--quick] [--first] [--json FILE]

Needs Linux, a C compiler and wrk, and a machine of two cores that does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from common import scratch
from lab_parts import agree, compare, rate, stall
from lab_parts.setting import LoadLab
from load.build import NoCompiler
from load.closedloop import NoWrk, check_installed
from processes import Failed
from serving import NotStarted, going_first
from targets import Report

from twofold.errors import TwofoldError

PARTS = {"rate": rate.run, "agree": agree.run, "stall": stall.run, "compare": compare.run}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="less exact, in a few seconds")
    parser.add_argument("--first", action="store_true", help="go before all else; needs root")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    # Told to end, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = Report()
    with scratch() as folder, going_first() if given.first else contextlib.nullcontext():
        lab = LoadLab(Path(folder), given.quick)
        for part in given.parts or PARTS:
            try:
                if part in ("agree", "compare"):
                    check_installed()
                PARTS[part](lab, report)
            except (
                OSError,
                subprocess.SubprocessError,
                NotStarted,
                NoCompiler,
                NoWrk,
                Failed,
                TwofoldError,
            ) as error:
                report.fail(error)
    report.end(given.json)
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()

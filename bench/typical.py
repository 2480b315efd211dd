"""The figures that advice begins with: `twofold lab compare` of the standard model.

    python bench/typical.py [FILE]

Writes what was found to a file (src/twofold/lab/typical.json is one), or to stdout. The machine has
to do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from batch import KEY, BatchLab
from common import scratch

ROWS = 1_000_000
LIMIT_S = 900


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="written to")
    given = parser.parse_args()
    with scratch() as folder:
        lab = BatchLab(Path(folder))
        lab.prepare()
        command = [sys.executable, "-m", "twofold", "lab", "compare", "churn"]
        command += [lab.input(ROWS).name, "--key", KEY, "--json", "--registry", str(lab.registry)]
        # Where it works is no part of what it finds.
        done = subprocess.run(
            command, cwd=lab.folder, stdout=subprocess.PIPE, check=True, timeout=LIMIT_S
        )
    if given.file is None:
        sys.stdout.buffer.write(done.stdout)
    else:
        given.file.write_bytes(done.stdout)


if __name__ == "__main__":
    main()

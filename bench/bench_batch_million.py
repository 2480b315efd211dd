"""A million customers from Parquet to Parquet: the plain pandas script against `twofold batch run`.

Whole processes; twofold's also validates, quarantines, stages and commits.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from common import scratch, show, telco

from twofold.demo import customers

ROWS = 1_000_000
REPEATS = 3


def run(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a process to its end: wall seconds and peak memory in MiB."""
    start_s = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    scale = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start_s, usage.ru_maxrss * scale / (1 << 20)


def main() -> None:
    """Measure and print."""
    with scratch() as name:
        folder = Path(name)
        _, _, model, _ = telco(folder)
        people = folder / "customers.parquet"
        customers.write_customers(people, customers.real_customers(), ROWS, lambda _: None)
        script = [sys.executable, str(Path(__file__).with_name("plain_script.py"))]
        plain = [*script, str(people), str(model), str(folder / "out.parquet")]
        batch = [sys.executable, "-m", "twofold", "batch", "run", "churn", str(people)]
        batch += ["--output", str(folder / "predictions"), "--key", "customer_id", "--json"]
        runs = {"plain pandas script": plain, "twofold batch run": batch}
        best: dict[str, tuple[float, float]] = {}
        for turn in range(REPEATS):
            for title, command in runs.items():
                extra = ["--run-id", f"turn-{turn}"] if command is batch else []
                found = run([*command, *extra], folder)
                best[title] = min(best.get(title, found), found)
        show(
            f"{ROWS:,} rows, Parquet to Parquet, whole process, best of {REPEATS}",
            [
                (title, seconds, f"{ROWS / seconds:,.0f} rows/s, peak {peak:,.0f} MiB")
                for title, (seconds, peak) in best.items()
            ],
            "plain pandas script",
        )


if __name__ == "__main__":
    main()

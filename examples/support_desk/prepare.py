"""Set the support desk up: pack the model, write the day's customers, predict and publish them.

What is there already is kept, so it may be run again at any time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq

import twofold
from twofold.demo import customers

HERE = Path(__file__).resolve().parent
MODEL = "churn"
ZONE, NIGHT = ZoneInfo("Europe/Berlin"), timedelta(hours=2, minutes=30)  # as in twofold.toml
LIMIT_S = 600


def command(*arguments: str) -> str:
    """Run twofold in this folder, whose `twofold.toml` it reads; give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "twofold", *arguments],
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=LIMIT_S,
    )
    return done.stdout


def pack_model() -> None:
    """Pack the model, unless there is one."""
    try:
        packed = twofold.load(MODEL, registry=HERE / "registry")
    except twofold.UnknownModel:
        print("training and packing the model: half a minute ...", flush=True)
        real = customers.real_customers()
        packed = twofold.pack(
            customers.train(real),
            name=MODEL,
            sample=real,
            registry=HERE / "registry",
            drop=[customers.KEY, customers.TARGET],
        )
    print(f"model      {MODEL}@{packed.version}", flush=True)


def write_customers(day: str) -> None:
    """Write the file that a customer database would hand over at the end of a day."""
    path = HERE / "customers" / f"{day}.parquet"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        table = customers.real_customers().drop_columns([customers.TARGET])
        writing = path.with_suffix(".writing")
        pq.write_table(table, writing)
        writing.replace(path)
    print(f"customers  customers/{path.name}", flush=True)


def snapshots() -> list[dict[str, Any]]:
    """The snapshots that are kept: the one that is read, then the one before."""
    return json.loads(command("snapshot", "list", "--model", MODEL, "--json"))["snapshots"]


def publish(day: str) -> None:
    """Predict and publish a day as the schedule would, unless something as new is there.

    What was rolled back counts as there: it isn't published again behind somebody's back.
    """
    if all(item["as_of"] < day for item in snapshots()):
        command(
            "batch", "run", MODEL, "customers/{date}.parquet",
            "--output", "predictions/{date}",
            "--key", customers.KEY,
            "--as-of", day,
            "--publish", "--with-features",
        )  # fmt: skip
    current = snapshots()[0]
    print(f"published  run {current['run_id']}, as of {current['as_of']}", flush=True)


def prepare() -> None:
    """Set all up."""
    # The day that the coming night's run is about: up to half past two it is still yesterday.
    day = f"{datetime.now(ZONE) - NIGHT:%Y-%m-%d}"
    pack_model()
    write_customers(day)
    publish(day)


if __name__ == "__main__":
    prepare()

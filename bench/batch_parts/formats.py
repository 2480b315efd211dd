"""The same rows from each format; CSV also against a pandas script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from batch import BatchLab, Values, differences, predicted
from batch_parts.peers import PLAIN, PeerRun
from peers.install import NotInstalled
from processes import Failed, Measured, check_ratio, in_turn, show
from pyarrow import ipc
from targets import Report

ROWS, ROUNDS = 1_000_000, 3
SCRIPT = "pandas.read_csv script"


def run(lab: BatchLab, report: Report) -> None:
    """Measure and print."""
    rows = lab.rows(ROWS)
    report.begin("formats", f"{rows:,} rows, the same in each format")
    parquet = lab.input(rows)
    writers = {"csv": _write_csv, "jsonl": _write_lines, "arrow": _write_arrow}
    sources = {"parquet": parquet}
    for kind, write in writers.items():
        sources[kind] = lab.made(
            f"rows-{rows}.{kind}", rows, lambda path, write=write: write(parquet, path)
        )
    first: list[Values] = []

    def same(path: Path) -> None:
        found = predicted(path)
        if not first:
            first.append(found)
        elif why := differences(first[0], found):
            raise Failed(why)

    sides: dict[str, Callable[[], Measured]] = {
        kind: lambda at=source: lab.run(at, look=same) for kind, source in sources.items()
    }
    try:
        script = PeerRun(lab, PLAIN)
        script.check()
        sides[SCRIPT] = lambda: script(sources["csv"], same)
    except (NotInstalled, Failed) as error:
        print(f"  {SCRIPT}: skipped: {error}")
    found = in_turn(sides, lab.rounds(ROUNDS))
    show(report, found, dict.fromkeys(found, rows))
    if SCRIPT in found:
        check_ratio(report, f"{SCRIPT} / twofold from CSV", (found[SCRIPT], found["csv"]), None)
    sizes = [f"{kind} {path.stat().st_size / 1e6:,.0f} MB" for kind, path in sources.items()]
    print(f"  {', '.join(sizes)}")


def _write_csv(source: Path, target: Path) -> None:
    with pq.ParquetFile(source) as file, pc.CSVWriter(target, file.schema_arrow) as writer:
        for batch in file.iter_batches():
            writer.write_batch(batch)


def _write_arrow(source: Path, target: Path) -> None:
    with (
        pq.ParquetFile(source) as file,
        pa.OSFile(str(target), "wb") as sink,
        ipc.new_file(sink, file.schema_arrow) as writer,
    ):
        for batch in file.iter_batches():
            writer.write_batch(batch)


def _write_lines(source: Path, target: Path) -> None:
    with pq.ParquetFile(source) as file, target.open("wb") as out:
        for batch in file.iter_batches():
            frame = pl.DataFrame(pl.from_arrow(batch))
            frame.write_ndjson(out)

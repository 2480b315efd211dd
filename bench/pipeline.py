"""The batch pipeline of twofold as one process, whole or in part, for `durability` and others.

    python pipeline.py durable|plain|apart REGISTRY INPUT OUT [SETTING=VALUE...]

- `durable`: a run as `twofold batch run` does it, at a fixed instant, so that two have equal bytes.
- `plain`: the same reading, predicting and writing of the same parts, into a folder: no ledger,
  manifest, lease, fingerprint of the input, fsync, reading back, or progress.
- `apart`: reading, predicting and writing one after the other, in one thread of ours; what each
  takes is printed, start-up left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from twofold.app.batch import BatchSettings, RunRequest, Watch, run_batch
from twofold.batch.inputs import Input, open_input, read_chunks
from twofold.batch.layout import Layout, Stamp, lay_out
from twofold.batch.local import Behind, cores, predict_in_order
from twofold.batch.plan import Plan, part_name
from twofold.batch.predict import predict_chunk
from twofold.batch.stage import COMPRESSION, COMPRESSION_LEVEL
from twofold.predictor.door import Predictor
from twofold.predictor.load import load

MODEL, KEY, RUN_ID = "churn", "id", "night"
INSTANT = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        registry: Where the model is.
        source: The input.
        out: The folder that a run is committed to, or into which parts are written.
        settings: Of the run.
    """

    registry: Path
    source: str
    out: Path
    settings: BatchSettings

    @property
    def plan(self) -> Plan:
        """How the input is sliced."""
        return Plan(self.settings.partition_rows, self.settings.batch_rows)

    def opened(self) -> tuple[Predictor, Input, Layout, Stamp]:
        """The model, the input, the columns, and what stands beside each prediction."""
        predictor = load(MODEL, registry=self.registry)
        source = open_input(self.source)
        layout = lay_out(source, predictor.signature, predictor.output, key=KEY, keep=())
        return predictor, source, layout, Stamp(predictor.version, RUN_ID, INSTANT)

    def write(
        self, number: int, layout: Layout, batches: list[pa.RecordBatch], stamp: Stamp
    ) -> None:
        """Write a part as `twofold.batch.stage` does, but to its place and never looked at."""
        part = layout.table(batches, stamp)
        few = [
            field.name
            for field in part.schema
            if not pa.types.is_floating(field.type) and not pa.types.is_integer(field.type)
        ]
        pq.write_table(
            part,
            self.out / part_name(number),
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=few,
            row_group_size=part.num_rows,
        )


def durable(job: Job) -> dict[str, Any]:
    """Run, or resume."""
    request = RunRequest(
        model=MODEL,
        input=job.source,
        output=job.out,
        registry=job.registry,
        key=KEY,
        run_id=RUN_ID,
    )
    result = run_batch(request, settings=job.settings, watch=Watch(clock=lambda: INSTANT))
    return {"state": str(result.state), "rows_resumed": result.rows_resumed}


def plain(job: Job) -> dict[str, Any]:
    """Read, predict and write at once, without more."""
    predictor, source, layout, stamp = job.opened()
    job.out.mkdir()
    predict = partial(predict_chunk, predictor, layout, from_text=source.format.is_text)
    chunks = read_chunks(source, layout.read, job.plan, codable=layout.texts, first_row=0)
    results = predict_in_order(
        chunks,
        predict,
        workers=job.settings.workers or cores(),
        max_waiting=job.settings.max_waiting_batches,
    )
    rows = number = 0
    part: list[pa.RecordBatch] = []
    with Behind() as behind:
        for found in results:
            rows += found.rows_in
            part.append(found.columns)
            if rows % job.plan.partition_rows == 0:
                behind.do(partial(job.write, number, layout, part, stamp))
                number, part = number + 1, []
        if part:
            behind.do(partial(job.write, number, layout, part, stamp))
        behind.wait()
    return {"rows": rows}


def apart(job: Job) -> dict[str, Any]:
    """Do one thing after the other, and say what each took."""
    predictor, source, layout, stamp = job.opened()
    job.out.mkdir()
    schema = pa.schema([*layout.passed, *layout.outputs])
    names = [field.name for field in layout.passed]
    took = {"read": Took(), "predict": Took(), "write": Took()}
    chunks = read_chunks(source, layout.read, job.plan, codable=layout.texts, first_row=0)
    rows = number = 0
    part: list[pa.RecordBatch] = []
    while (chunk := took["read"].by(lambda: next(chunks, None))) is not None:
        columns = chunk.rows.columns
        wanted = columns.select(list(layout.fields))
        predictions = took["predict"].by(lambda: predictor.predict_columns(wanted))
        passed = columns.select(names).columns
        part.append(pa.RecordBatch.from_arrays([*passed, *predictions.columns], schema=schema))
        rows += columns.num_rows
        if rows % job.plan.partition_rows == 0:
            took["write"].by(partial(job.write, number, layout, part, stamp))
            number, part = number + 1, []
    if part:
        took["write"].by(partial(job.write, number, layout, part, stamp))
    return {name: {"wall_s": one.wall_s, "cpu_s": one.cpu_s} for name, one in took.items()}


@dataclass
class Took:
    """Seconds, and CPU seconds of all threads, of several calls."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def by(self, call: Callable[[], Any]) -> Any:
        """Call, and count what it takes."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        found = call()
        self.wall_s += time.perf_counter() - wall_s
        self.cpu_s += time.process_time() - cpu_s
        return found


def main() -> None:
    """Do it, and print what is to be said as JSON."""
    mode, registry, source, out, *words = sys.argv[1:]
    kinds = {field.name: type(field.default) for field in fields(BatchSettings)}
    given = dict(word.split("=", 1) for word in words)
    read = {name: json.loads(value.lower()) if kinds[name] is bool else kinds[name](value)
            for name, value in given.items()}  # fmt: skip
    job = Job(Path(registry), source, Path(out), BatchSettings(**read))
    print(json.dumps({"durable": durable, "plain": plain, "apart": apart}[mode](job)))


if __name__ == "__main__":
    main()

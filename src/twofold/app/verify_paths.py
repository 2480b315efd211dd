"""The same rows on every way to a prediction, from end to end, and the bits compared.

A real batch run of the rows is published to a store, and a real server answers for them: by row,
and by key. All of it lies in a folder that is gone afterwards.
"""

from __future__ import annotations

import http.client
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twofold.app.batch import RunRequest, RunResult, run_batch
from twofold.app.serve import running_server
from twofold.batch.committed import Committed
from twofold.errors import TwofoldError, problem
from twofold.hybrid.publish import publish
from twofold.hybrid.settings import SnapshotSettings
from twofold.model.record import ModelVersion
from twofold.predictor.parity import same_bits
from twofold.serving.settings import ServeSettings
from twofold.stores.embedded import EmbeddedStore

KEY, RUN_ID = "twofold row", "verify"
ROWS_AT_ONCE = 500
ANSWER_S = 60.0
MAX_SHOWN = 3
OK = 200

Predictions = Sequence[Sequence[Any]]
"""Of each row, one plain value per output."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A way to a prediction, and whether it gives the same.

    Attributes:
        name: Which.
        rows: Rows compared.
        differing: Rows whose bits differ from those of batch, in process.
        examples: The first of them, readable.
    """

    name: str
    rows: int
    differing: int
    examples: list[str]


def verify_paths(
    record: ModelVersion, registry: Path, columns: pa.RecordBatch, batch: Sequence[Any]
) -> list[Way]:
    """Predict rows on every way.

    Args:
        record: The version.
        registry: The registry's folder.
        columns: The rows, canonical, on none of which the model fails; with numbers that JSON
            can't write they are left out of what is asked over HTTP.
        batch: What they are predicted in process: an array per output.

    Raises:
        TwofoldError: A way has no answer at all.
    """
    keys = [f"{row}/é" for row in range(columns.num_rows)]  # as awkward as keys may be
    with tempfile.TemporaryDirectory(prefix="twofold-verify-") as text:
        folder = Path(text)
        run = _run(record, registry, folder, columns.append_column(KEY, pa.array(keys)))
        table = pa.concat_tables(Committed(run.folder, run.manifest).tables())
        names = record.output.names
        parts = list(zip(*(table[name].to_pylist() for name in names), strict=True))
        every = list(range(columns.num_rows))
        ways = [_compared("batch run", every, parts, batch)]
        store = EmbeddedStore(folder / "store")
        publish(Committed(run.folder, run.manifest), store, SnapshotSettings())
        reader = store.reader(record.name)
        _, stored = reader.find([key.encode() for key in keys])
        reader.close()
        found = [() if item is None else item.predictions for item in stored]
        ways.append(_compared("snapshot", every, found, batch))
        rows = columns.to_pylist()
        plain = [row for row in every if _is_plain(rows[row])]
        settings = ServeSettings(port=0, workers=1)
        reference = f"{record.name}@{record.version}"
        with running_server(
            [reference], registry=registry, settings=settings, store=str(folder / "store")
        ) as url:
            asked = list(_asked(url, record, [rows[row] for row in plain]))
            ways.append(_compared("server", plain, asked, batch))
            answered = list(_answered(url, record, keys))
        ways.append(_compared("server, by key", every, answered, batch))
    return ways


def _run(record: ModelVersion, registry: Path, folder: Path, rows: pa.RecordBatch) -> RunResult:
    source = folder / "rows.parquet"
    pq.write_table(pa.Table.from_batches([rows]), source)
    request = RunRequest(
        model=f"{record.name}@{record.version}",
        input=str(source),
        output=folder / "runs",
        registry=registry,
        key=KEY,
        run_id=RUN_ID,
    )
    result = run_batch(request)
    if result.manifest.rows_predicted != rows.num_rows:
        fix = "Look at the model: it fails on rows that it predicted just now."
        got = f"{result.manifest.rows_quarantined} in quarantine"
        raise TwofoldError(problem(record.name, f"{rows.num_rows} rows predicted", got, fix))
    return result


def _is_plain(row: dict[str, Any]) -> bool:
    """Whether JSON can write a row."""
    return not any(isinstance(value, float) and math.isinf(value) for value in row.values())


def _asked(url: str, record: ModelVersion, rows: list[dict[str, Any]]) -> Iterator[Sequence[Any]]:
    path = f"/v1/models/{record.name}/predict"
    for start in range(0, len(rows), ROWS_AT_ONCE):
        said = _post(url, path, {"rows": rows[start : start + ROWS_AT_ONCE]})
        for prediction in said["predictions"]:
            yield _values(prediction)


def _answered(url: str, record: ModelVersion, keys: list[str]) -> Iterator[Sequence[Any]]:
    path = f"/v1/models/{record.name}/answers"
    for start in range(0, len(keys), ROWS_AT_ONCE):
        said = _post(url, path, {"keys": keys[start : start + ROWS_AT_ONCE]})
        for answer in said["answers"]:
            yield _values(answer["prediction"]) if answer.get("source") == "batch" else ()


def _values(prediction: Any) -> Sequence[Any]:
    return tuple(prediction.values()) if isinstance(prediction, dict) else (prediction,)


def _post(url: str, path: str, body: Any) -> dict[str, Any]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_S)
    try:
        headers = {"Content-Type": "application/json", "X-Twofold-Deadline-Ms": "60000"}
        connection.request("POST", path, msgspec.json.encode(body), headers)
        response = connection.getresponse()
        said: dict[str, Any] = msgspec.json.decode(response.read())
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise TwofoldError(problem(path, "an answer", repr(error), "Look at its log.")) from error
    finally:
        connection.close()
    if response.status != OK:
        raise TwofoldError(f"{path}: {said.get('error', said)}")
    return said


def _compared(
    name: str, rows: Sequence[int], predictions: Predictions, batch: Sequence[Any]
) -> Way:
    examples: list[str] = []
    differing = 0
    for row, values in zip(rows, predictions, strict=True):
        expected = [column[row : row + 1] for column in batch]
        if len(values) == len(expected) and all(
            same_bits(_as(value, column), column)
            for value, column in zip(values, expected, strict=True)
        ):
            continue
        differing += 1
        if len(examples) < MAX_SHOWN:
            shown = [column[0] for column in expected]
            examples.append(f"row {row + 1} of those compared: {values} by {name}, {shown}")
    return Way(name=name, rows=len(rows), differing=differing, examples=examples)


def _as(value: Any, column: Any) -> Any:
    """A value as an array; what is no number has no way to be written in JSON but null."""
    if value is None and column.dtype.kind == "f":
        value = math.nan
    return np.array([value], column.dtype)

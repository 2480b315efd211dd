"""The same rows on every way to a prediction; one that differs is told, with the row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.app import verify_paths as ways
from twofold.app.verify import verify

REGISTRY = Path("registry")
NAMES = ["batch run", "snapshot", "server", "server, by key"]


def test_a_run_a_snapshot_and_a_server_give_the_bits_of_this_process(
    folder: Path, table: pa.Table
) -> None:
    pq.write_table(table, "in.parquet")
    report = verify("offer@1", "in.parquet", registry=REGISTRY, max_rows=20)
    assert report.passed
    assert [(way.name, way.rows, way.differing) for way in report.ways] == [
        (name, 20, 0) for name in NAMES
    ]
    assert report.text().splitlines()[-1] == "server, by key: 20 rows, equal bit for bit"


def test_what_a_server_gives_otherwise_is_told_by_row(
    folder: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ways._asked

    def altered(*what: Any) -> Any:
        for row, values in enumerate(real(*what)):
            yield tuple(np.nextafter(value, math.inf) for value in values) if row == 3 else values

    monkeypatch.setattr(ways, "_asked", altered)
    pq.write_table(table, "in.parquet")
    report = verify("offer@1", "in.parquet", registry=REGISTRY, max_rows=20)
    assert not report.passed
    assert [way.differing for way in report.ways] == [0, 0, 1, 0]
    (example,) = report.ways[2].examples
    assert example.startswith("row 4 of those compared: ")
    assert "server: 20 rows, 1 rows differ" in report.text()


@pytest.mark.parametrize(
    ("values", "differing"),
    [((1.5,), 0), ((1.25,), 1), ((None,), 1), ((), 1), ((1.5, 2.0), 1)],
)
def test_rows_are_compared_by_their_bits(values: tuple[Any, ...], differing: int) -> None:
    way = ways._compared("here", [0], [values], [np.array([1.5])])
    assert (way.rows, way.differing) == (1, differing)


def test_null_stands_for_what_json_can_t_write() -> None:
    assert ways._compared("here", [0], [(None,)], [np.array([math.nan])]).differing == 0
    assert ways._compared("here", [0], [(None,)], [np.array(["a"], object)]).differing == 1

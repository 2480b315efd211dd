"""A committed run as what is delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from twofold.batch.committed import Committed, streamed
from twofold.errors import TwofoldError


def taken(run: Committed, schema: pa.Schema, tell: Callable[[int], None] = id) -> pa.Table:
    with streamed(run, schema, tell) as rows:
        return rows.read_all()


def test_its_rows_come_in_their_order_and_in_the_types_asked_for(bench: Any) -> None:
    run = bench.run_with_bad_rows()
    wanted = pa.schema([("run_id", pa.string()), ("id", pa.string()), ("prediction", pa.float64())])
    counted: list[int] = []
    found = taken(run, wanted, counted.append)
    assert found.schema == wanted
    assert found.column("id").to_pylist() == [f"c{n}" for n in range(20) if n not in {1, 9}]
    assert set(found.column("run_id").to_pylist()) == {"night"}
    assert counted == [7, 14, 18]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_either_format_gives_the_same_rows(bench: Any, kind: str) -> None:
    run = bench.run_with_bad_rows(format=kind)
    found = taken(run, pa.schema([("prediction", pa.float32())]))
    assert found.column("prediction").to_pylist() == [2.0 * n for n in range(20) if n not in {1, 9}]


def test_a_repair_changes_its_generation_and_nothing_else_of_what_it_is(bench: Any) -> None:
    before = bench.run_with_bad_rows()
    after = bench.mend(9)
    assert (before.generation, after.generation) == (1, 2)
    assert before.identity == after.identity
    other = bench.run_with_bad_rows(rows=21, run_id="other")
    assert other.identity != before.identity


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_part_that_is_not_as_it_was_written_is_not_delivered(bench: Any, is_gone: bool) -> None:
    run = bench.run_with_bad_rows()
    path = run.folder / run.manifest.files[1].name
    if is_gone:
        path.unlink()
    else:
        path.write_bytes((run.folder / run.manifest.files[0].name).read_bytes())
    with pytest.raises(TwofoldError, match=r"part-000001.*the file that the manifest lists"):
        taken(run, run.schema())


def test_what_goes_wrong_on_the_way_is_raised_as_it_was(bench: Any, crash: type) -> None:
    def stop(rows: int) -> None:
        raise crash

    run = bench.run_with_bad_rows()
    with pytest.raises(crash):
        taken(run, run.schema(), stop)
    with pytest.raises(ValueError, match="of the taker"), streamed(run, run.schema(), id):
        raise ValueError("of the taker")

"""A comparison from its beginning to where processes are started; tests/e2e has the rest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doubler import pack_doubler

from twofold.app.compare import run
from twofold.app.compare.run import CompareRequest, compare
from twofold.errors import ConfigError, InvalidInput, TwofoldError, UnknownModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    pack_doubler(folder, "unit_compare")
    pq.write_table(pa.table({"amount": [1.0, 2.0]}), folder / "rows.parquet")
    pq.write_table(pa.table({"amount": pa.nulls(2, pa.float64())}), folder / "bad.parquet")
    return folder


def request(folder: Path, **changes: object) -> CompareRequest:
    given = {"model": "doubler", "input": str(folder / "rows.parquet"), "is_quick": True}
    return CompareRequest(registry=folder / "registry", **(given | changes))  # type: ignore[arg-type]


def test_what_is_wrong_is_said_before_anything_is_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "measure_batch", pytest.fail)
    with pytest.raises(UnknownModel):
        compare(request(folder, model="none"), lambda *_: None)
    with pytest.raises(InvalidInput, match="expected rows to predict, got none"):
        compare(request(folder, input=str(folder / "bad.parquet")), lambda *_: None)
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        compare(request(folder, keep=folder), lambda *_: None)


def test_nothing_is_left_when_a_part_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise TwofoldError("batch: expected a run, got none. Try again.")

    monkeypatch.setattr(run, "measure_batch", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(TwofoldError, match="batch: expected a run"):
        compare(request(folder), lambda *_: None)
    assert list(tmp_path.iterdir()) == []

"""Verifying on one's own rows: which rows are compared, and that a difference is not missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from twofold.app.verify import Report, verify
from twofold.errors import ConfigError, DeclarationError, InvalidInput, UnknownModel

REGISTRY = Path("registry")


def verified(model: str, table: pa.Table, *, max_rows: int = 1000) -> Report:
    pq.write_table(table, "in.parquet")
    return verify(model, "in.parquet", registry=REGISTRY, max_rows=max_rows, end_to_end=False)


def shown_rows(report: Report) -> list[str]:
    return [example.partition(":")[0] for example in report.examples]


def test_a_sound_version_passes_on_every_row(folder: Path, table: pa.Table) -> None:
    assert verified("offer@1", table) == Report(
        model="offer@1",
        rows=100,
        refused=0,
        passed=True,
        speeds=0,
        original="bit-equal on 100 rows",
        examples=[],
    )


def test_the_reference_is_resolved_as_everywhere(folder: Path, table: pa.Table) -> None:
    assert verified("offer", table).model == "offer@2"
    with pytest.raises(UnknownModel, match="expected a model among: drifting, offer, got 'nope'"):
        verified("nope", table)


@pytest.mark.parametrize(
    ("max_rows", "expected"),
    [(1, ["row 0"]), (2, ["row 0", "row 99"]), (3, ["row 0", "row 49", "row 99"])],
)
def test_the_rows_compared_are_spread_over_the_file(
    folder: Path,
    table: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
    max_rows: int,
    expected: list[str],
) -> None:
    monkeypatch.setenv("DRIFT", "1")
    report = verified("drifting", table, max_rows=max_rows)
    assert report.rows == max_rows
    assert shown_rows(report) == expected


def test_no_row_is_compared_twice(folder: Path, table: pa.Table) -> None:
    assert verified("offer", table.slice(0, 7), max_rows=50).rows == 7


def test_a_version_that_gives_other_bits_fails_and_shows_the_first_rows(
    folder: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFT", "1")
    report = verified("drifting", table.slice(0, 5))
    assert not report.passed
    assert (report.rows, report.speeds) == (5, 5)
    # Each call adds one more: five for the batch, then five for the original.
    assert report.original == "5 of 5 rows have other predictions, by up to 5; 0 labels flipped"
    assert shown_rows(report) == ["row 0", "row 1", "row 2"]
    assert all(" in real time, [" in example for example in report.examples)


def test_rows_that_do_not_fit_are_counted_and_the_others_keep_their_numbers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = [None, 1.0, float("nan"), 2.0, 3.0]
    plan = ["pro", "pro", "pro", "gold", "basic"]
    monkeypatch.setenv("DRIFT", "1")
    report = verified("drifting", pa.table({"spend": spend, "plan": plan}))
    assert (report.rows, report.refused) == (2, 3)
    assert shown_rows(report) == ["row 1", "row 4"]


def test_where_no_row_fits_the_first_is_named_with_its_reason(folder: Path) -> None:
    table = pa.table({"spend": [1.0, None], "plan": ["gold", "pro"]})
    with pytest.raises(InvalidInput) as caught:
        verified("offer", table)
    assert str(caught.value).startswith(
        "in.parquet: plan: expected one of 'basic', 'pro', got 'gold'. "
    )


def test_columns_beside_the_fields_do_no_harm_whatever_their_order(folder: Path) -> None:
    table = pa.table({"zip": [1], "plan": ["pro"], "customer": ["c"], "spend": [2.0]})
    assert verified("offer", table).passed


def test_a_csv_file_is_compared_too(folder: Path, table: pa.Table) -> None:
    pcsv.write_csv(table, "in.csv")
    report = verify("offer", "in.csv", registry=REGISTRY, max_rows=1000, end_to_end=False)
    assert (report.rows, report.refused, report.passed) == (100, 0, True)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([("spend", [1.0])], "in.parquet.plan: expected a column, got only spend. Add column plan"),
        ([("x", [1.0])], "in.parquet.spend: expected a column, got only x. Add column spend."),
        (
            [("spend", [1.0]), ("plan", ["pro"]), ("plan", ["pro"])],
            "in.parquet.plan: expected one column, got several. Rename the others.",
        ),
    ],
)
def test_a_file_without_the_fields_is_refused(
    folder: Path, columns: list[tuple[str, list[Any]]], words: str
) -> None:
    arrays = [pa.array(values) for _, values in columns]
    with pytest.raises(InvalidInput) as caught:
        verified("offer", pa.Table.from_arrays(arrays, [name for name, _ in columns]))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.csv", None, "no.csv: expected a file, got nothing there"),
        ("in.txt", b"x", "in.txt: expected a .parquet, .csv or .arrow file, got the suffix '.txt'"),
        ("in.csv", b"spend,plan\n", "in.csv: expected at least one row, got none"),
        ("in.parquet", b"PAR1", "in.parquet: expected a readable .parquet file, got "),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    folder: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        verify("offer", name, registry=REGISTRY, max_rows=10)
    assert words in str(caught.value)


def test_a_changed_artifact_is_never_run(folder: Path, table: pa.Table) -> None:
    path = REGISTRY / "offer" / "1" / "app_rules.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"app_rules\.py: expected the bytes it was packed with"):
        verified("offer@1", table)


def test_the_text_for_people_says_what_was_found() -> None:
    report = Report(
        model="offer@1",
        rows=12_345,
        refused=1_000,
        passed=False,
        speeds=2,
        original="bit-equal on 12345 rows",
        examples=["row 7: ...", "row 8: ..."],
    )
    assert report.text().splitlines() == [
        "offer@1: 12,345 rows compared, 1,000 do not fit",
        "batch and real time: 2 rows differ",
        "original: bit-equal on 12345 rows",
        "row 7: ...",
        "row 8: ...",
    ]


def test_the_text_of_a_report_without_a_difference_says_so(folder: Path, table: pa.Table) -> None:
    assert verified("offer@1", table).text().splitlines()[1:] == [
        "batch and real time: equal bit for bit",
        "original: bit-equal on 100 rows",
    ]

"""The manifest is what a run says of itself: it adds up, and it is read as it was written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.manifest import (
    Column,
    FileEntry,
    InputEntry,
    InputFile,
    Manifest,
    ModelEntry,
    Settings,
    check_counts,
    read_manifest,
    render_manifest,
)
from twofold.errors import InvalidInput, TwofoldError

AT = datetime(2026, 1, 31, 12, 30, 15, 123457, tzinfo=UTC)


def entry(name: str, rows: int) -> FileEntry:
    return FileEntry(name=name, rows=rows, bytes=100 + rows, sha256="ab")


def manifest(
    parts: Sequence[int] = (8, 3),
    set_aside: int | None = 1,
    *,
    counts: tuple[int, int, int] | None = None,
) -> Manifest:
    """Make one whose counts (in, predicted, quarantined) agree with its files unless given."""
    predicted, quarantined = sum(parts), set_aside or 0
    given = counts or (predicted + quarantined, predicted, quarantined)
    return Manifest(
        run_id="night",
        model=ModelEntry(name="churn", version="3", digest="d1g3st"),
        input=InputEntry(
            given="/données/in",
            format="parquet",
            fingerprint="cd",
            files=(
                InputFile(path="/données/in/a.parquet", bytes=9, rows=12, digest="xxh128:ef"),
                InputFile(path="/données/in/b.csv", bytes=9, digest="xxh128:ef", modified_ns=2**62),
            ),
        ),
        as_of=AT,
        started_at=AT,
        finished_at=AT,
        predicted_at=AT,
        rows_in=given[0],
        rows_predicted=given[1],
        rows_quarantined=given[2],
        key=None,
        keep=("a", "b"),
        columns=(Column(name="prediction", type="double"),),
        files=tuple(entry(f"part-{index:06d}", rows) for index, rows in enumerate(parts)),
        quarantine=None if set_aside is None else entry("quarantine.parquet", set_aside),
        settings=Settings(partition_rows=8, compression="zstd"),
    )


@given(
    parts=st.lists(st.integers(0, 3), max_size=3),
    set_aside=st.none() | st.integers(0, 3),
    counts=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)),
)
def test_counts_pass_only_if_they_are_those_of_the_files(
    parts: list[int], set_aside: int | None, counts: tuple[int, int, int]
) -> None:
    check_counts(manifest(parts, set_aside))
    predicted, quarantined = sum(parts), set_aside or 0
    if counts == (predicted + quarantined, predicted, quarantined):
        return
    with pytest.raises(TwofoldError, match="Nothing was committed"):
        check_counts(manifest(parts, set_aside, counts=counts))


def test_rows_that_do_not_add_up_are_named_on_both_sides() -> None:
    with pytest.raises(TwofoldError) as caught:
        check_counts(manifest([8, 3], None, counts=(12, 11, 1)))
    assert str(caught.value) == (
        "night: expected 12 rows in, 11 predicted and 1 set aside, got files with 11 and 0. "
        "Nothing was committed. Delete the run's staging folder and start it again."
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for written in (manifest(), manifest([], None)):
        (tmp_path / "manifest.json").write_bytes(render_manifest(written))
        assert read_manifest(tmp_path) == written


def test_manifest_is_written_for_people_too() -> None:
    text = render_manifest(manifest()).decode()
    assert text.startswith('{\n  "format": 1,\n  "run_id": "night",\n')
    assert text.endswith("\n}\n")
    assert '"given": "/données/in"' in text
    assert json.loads(text)["predicted_at"] == "2026-01-31T12:30:15.123457Z"
    assert json.loads(text)["quarantine"] == {
        "name": "quarantine.parquet",
        "rows": 1,
        "bytes": 101,
        "sha256": "ab",
    }


def test_same_manifest_is_the_same_bytes() -> None:
    assert render_manifest(manifest()) == render_manifest(manifest())


def test_folder_that_is_not_there_has_no_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "night") is None


def test_members_added_by_a_later_version_are_passed_over(tmp_path: Path) -> None:
    facts = json.loads(render_manifest(manifest())) | {"engine": "local"}
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    assert read_manifest(tmp_path) == manifest()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "neither: Input data was truncated"),
        (b"not json", "neither: JSON is malformed"),
        (b"[]", "neither: Expected `object`, got `array`"),
        (b"{}", "neither: Object missing required field `run_id`"),
        (render_manifest(manifest())[:-3], "neither: Input data was truncated"),
        (
            render_manifest(manifest()).replace(b'"rows_in": 12', b'"rows_in": "12"'),
            "neither: Expected `int`, got `str` - at `$.rows_in`",
        ),
    ],
)
def test_folder_with_something_else_in_the_place_of_a_manifest_is_refused(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_manifest(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: expected a committed run or nothing, got {says}")
    assert message.endswith("Choose another --run-id or --output, or move the folder away.")
    assert isinstance(caught.value.__cause__, msgspec.DecodeError)


def test_folder_without_a_manifest_and_file_in_the_place_of_a_folder_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidInput, match=r"got neither: .*No such file or directory"):
        read_manifest(tmp_path)
    (tmp_path / "night").write_text("mine")
    with pytest.raises(InvalidInput, match=r"got neither: .*Not a directory"):
        read_manifest(tmp_path / "night")

"""The report: one page that needs nothing else and believes nothing it is told."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from twofold.batch.manifest import Manifest, read_manifest
from twofold.batch.report import render_report
from twofold.batch.statistics import Category, ColumnStatistics, Histogram, Numbers
from twofold.batch.summary import FIX

EVIL = "<img src=x onerror=alert(1)>&\"'</style></title>"
VOID = {"meta", "rect", "path"}


class Tags(HTMLParser):
    """Notes the tags, and that each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def manifest(bench: Any) -> Manifest:
    bench.run(bench.parquet(bench.table([1.0, None, *map(float, range(30))])))
    found = read_manifest(bench.committed)
    assert found is not None
    return found


def column(name: str, **changed: Any) -> ColumnStatistics:
    numbers = Numbers(
        mean=1.0, deviation=2.0, minimum=-1.0, maximum=3.0, quantiles={"0.5": 1.0, "0.99": 3.0}
    )
    histogram = Histogram(start=-1.0, stop=3.0, shares=(0.5, 0.5), sample_shares=(1.0, 0.0))
    facts = {"rows": 10, "nulls": 1, "sample_rows": 5, "psi": 0.3, "psi_by_chance": 0.1}
    facts |= {"numbers": numbers, "sample_numbers": numbers, "histogram": histogram}
    return ColumnStatistics(name=name, type="float64", **(facts | changed))


def evil(manifest: Manifest) -> Manifest:
    texts = (Category(value=EVIL, rows=3, sample_rows=0),)
    words = column(
        EVIL, numbers=None, histogram=None, categories=texts, unseen=texts, unseen_rows=3
    )
    assert manifest.statistics is not None
    statistics = msgspec.structs.replace(
        manifest.statistics, fields=(column(EVIL), words), warnings=(EVIL,) * 2
    )
    model = msgspec.structs.replace(manifest.model, name=EVIL)
    return msgspec.structs.replace(manifest, run_id=EVIL, model=model, statistics=statistics)


def with_fields(manifest: Manifest, *fields: ColumnStatistics) -> Manifest:
    assert manifest.statistics is not None
    statistics = msgspec.structs.replace(manifest.statistics, fields=fields)
    return msgspec.structs.replace(manifest, statistics=statistics)


def test_the_page_tells_what_ran_how_many_and_how_good(manifest: Manifest) -> None:
    page = render_report(manifest)
    for said in ("night", "doubler@1", "in.parquet", "rows in", "32", "amount", "plan", "SHA-256"):
        assert said in page
    assert "expected" in page  # the reason of the row set aside


def test_foreign_text_is_text(manifest: Manifest) -> None:
    page = render_report(evil(manifest))
    assert "<img" not in page
    tags = Tags(page)
    assert tags.open == []
    assert not {"script", "img", "link", "iframe"} & tags.seen
    assert not [name for name in tags.attributes if name.startswith("on")]


def test_the_page_needs_nothing_from_elsewhere(manifest: Manifest) -> None:
    page = render_report(evil(manifest))
    assert not re.search(
        r"https?://|url\(|@import|\bsrc=|\bhref=", page.replace("&lt;img src=", "")
    )


def test_every_picture_has_a_text_and_a_table(manifest: Manifest) -> None:
    page = render_report(evil(manifest))
    assert page.count("<svg") == page.count("aria-label=") > 2
    assert page.count("<details>") >= 3


def test_a_wide_model_has_a_page_of_less_than_a_megabyte(manifest: Manifest) -> None:
    assert manifest.statistics is not None
    columns = tuple(column(f"feature {at}", psi=at / 1000) for at in range(1000))
    statistics = msgspec.structs.replace(manifest.statistics, fields=columns)
    page = render_report(msgspec.structs.replace(manifest, statistics=statistics))
    assert len(page.encode()) < 1_000_000
    assert page.index("feature 999") < page.index("feature 950")


def test_a_run_without_statistics_has_a_page(manifest: Manifest, tmp_path: Path) -> None:
    page = render_report(msgspec.structs.replace(manifest, statistics=None))
    assert "made without" in page
    assert Tags(page).open == []


def test_texts_that_the_sample_lacks_have_a_bar_where_there_is_a_sample(manifest: Manifest) -> None:
    known = (Category(value="known", rows=5, sample_rows=5),)
    new = (Category(value="new", rows=4, sample_rows=0),)
    facts: dict[str, Any] = {"numbers": None, "histogram": None, "unseen": new, "unseen_rows": 4}
    with_sample = column("word", categories=known, **facts)
    without = column("word", sample_rows=0, **facts)
    page = render_report(with_fields(manifest, with_sample))
    assert "(not in the sample)" in page
    assert "not in the sample 40.00%: new" in page
    page = render_report(with_fields(manifest, without))
    assert "not in the sample" not in page
    assert ">new</text>" in page


def test_a_column_without_rows_claims_no_shares(manifest: Manifest) -> None:
    known = (Category(value="known", rows=0, sample_rows=5),)
    empty = column("word", rows=0, nulls=0, numbers=None, histogram=None, categories=known)
    page = render_report(with_fields(manifest, empty))
    card = page[page.index("<h3><span>word") :].partition("</article>")[0]
    assert "no values in this run" in card
    assert "<svg" not in card
    assert ">0.00%" not in card


def test_ends_of_times_are_those_of_the_picture(manifest: Manifest) -> None:
    days = Histogram(start=0.0, stop=86_400e6 * 31, shares=(1.0,), sample_shares=())
    day = Histogram(start=0.0, stop=3_600e6, shares=(1.0,), sample_shares=())
    page = render_report(
        with_fields(
            manifest,
            msgspec.structs.replace(column("days", histogram=days), type="timestamp"),
            msgspec.structs.replace(column("day", histogram=day), type="timestamp"),
        )
    )
    for end in ("1970-01-01", "1970-02-01", "1970-01-01T00:00:00", "1970-01-01T01:00:00"):
        assert f">{end}</text>" in page


def test_many_warnings_are_folded_and_advice_is_given_once(manifest: Manifest) -> None:
    assert manifest.statistics is not None
    warnings = tuple(f"x{at}: expected less, got more. {FIX}" for at in range(300))
    statistics = msgspec.structs.replace(manifest.statistics, warnings=warnings)
    page = render_report(msgspec.structs.replace(manifest, statistics=statistics))
    assert page.count(FIX) == 1
    assert "300 warnings" in page
    assert "<summary>292 more</summary>" in page
    assert "x299: expected" in page


def test_a_page_says_what_it_leaves_out(manifest: Manifest) -> None:
    columns = tuple(column(f"x{at}") for at in range(600))
    page = render_report(with_fields(manifest, *columns))
    assert "The 60 of 600 fields that drifted most." in page
    assert "and 101 more; the manifest lists them all." in page
    page = render_report(msgspec.structs.replace(manifest, rows_quarantined=11))
    assert "and 10 rows for other reasons." in page


def test_types_of_columns_are_told_in_words(manifest: Manifest) -> None:
    page = render_report(manifest)
    assert "dictionary" not in page
    assert "model_version string" in page


def test_a_run_without_rows_has_a_page(bench: Any) -> None:
    bench.run(bench.parquet(bench.table([])))
    found = read_manifest(bench.committed)
    assert found is not None
    page = render_report(found)
    assert Tags(page).open == []
    assert "no values in this run" in page

"""Plots: pictures with a text for those who don't see them, and no markup from the data."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from twofold.batch.plots import category_plot, histogram_plot, share_plot
from twofold.batch.statistics import Category, Histogram

EVIL = '<script>"&'


def elements(svg: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(tag))  # noqa: S314 - made by ourselves


def test_a_histogram_has_a_bar_for_each_share_that_is_not_zero() -> None:
    found = Histogram(start=0.0, stop=1.0, shares=(0.5, 0.0, 0.5), sample_shares=(0.2, 0.3, 0.5))
    svg = histogram_plot(found, EVIL, ends=("0", EVIL))
    bars = elements(svg, "rect")
    assert len(bars) == 2
    assert bars[0].get("height") == bars[1].get("height")
    assert ET.fromstring(svg).get("aria-label", "").startswith("Distribution")  # noqa: S314
    assert "<script>" not in svg


def test_a_histogram_without_a_sample_has_no_outline() -> None:
    found = Histogram(start=0.0, stop=1.0, shares=(1.0,), sample_shares=())
    assert 'class="then"' not in histogram_plot(found, "a", ends=("0", "1"))


def test_categories_are_drawn_up_to_a_limit_with_marks_of_the_sample() -> None:
    items = [Category(value=EVIL * 9, rows=at, sample_rows=9 - at) for at in range(10)]
    svg = category_plot(items, EVIL, rows=45, sample_rows=45, limit=4)
    assert len(elements(svg, "rect")) == len(elements(svg, "path")) == 4
    assert "<script>" not in svg
    assert not elements(category_plot(items, "a", rows=45, sample_rows=0), "path")


def test_nothing_to_draw_is_drawn() -> None:
    assert elements(category_plot([], "a", rows=0, sample_rows=0), "svg")
    assert len(elements(share_plot([("now", 0), ("bad", 0)], "none"), "rect")) == 2


def test_shares_fill_the_width() -> None:
    widths = [
        float(bar.get("width", "0"))
        for bar in elements(share_plot([("now", 3), ("bad", 1)], "some"), "rect")
    ]
    assert widths == [240.0, 80.0]


def test_texts_without_a_sample_have_a_bar_together() -> None:
    svg = category_plot([], "a", rows=4, sample_rows=4, unseen_rows=3)
    assert len(elements(svg, "rect")) == 1
    assert "75.0%" in svg


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("", '""'),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 19 + "…"),
        ("\u9577" * 10, "\u9577" * 10),
        ("\u9577" * 11, "\u9577" * 9 + "…"),
    ],
)
def test_long_texts_are_cut_to_the_room_beside_the_bars(text: str, label: str) -> None:
    svg = category_plot([Category(value=text, rows=1, sample_rows=1)], "a", rows=1, sample_rows=1)
    assert elements(svg, "text")[0].text == label

"""A comparison as one page of HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest
from found import FOUND, LEVEL

from twofold.lab.compare_costs import Assumed, derive
from twofold.lab.compare_page import render_page
from twofold.lab.findings import Findings

MAX_BYTES = 1_000_000
VOID = {"meta", "br", "hr", "img", "input", "link"}


def rendered(found: Findings = FOUND) -> str:
    return render_page(found, derive(found, Assumed()))


class Nesting(HTMLParser):
    """Checks that what is opened is closed, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def with_load() -> Findings:
    shares = (0.25, 0.5, 0.8, 1.0, 1.5, 3.0)
    levels = [
        msgspec.structs.replace(LEVEL, offered_per_s=10_000 * share, in_time_per_s=5_000 * share)
        for share in shares
    ]
    live = msgspec.structs.replace(FOUND.real_time, levels=levels)
    return msgspec.structs.replace(FOUND, real_time=live)


def without_rates() -> Findings:
    live = msgspec.structs.replace(FOUND.real_time, capacity_per_s=None, levels=[])
    stored = msgspec.structs.replace(FOUND.hybrid, capacity_per_s=None, level=None)
    notes = ("Rates and capacity weren't measured: no compiler.",)
    return msgspec.structs.replace(FOUND, real_time=live, hybrid=stored, notes=notes)


@pytest.mark.parametrize("found", [FOUND, with_load(), without_rates()], ids=["one", "all", "none"])
def test_the_page_is_well_formed_small_and_asks_for_nothing(found: Findings) -> None:
    text = rendered(found)
    assert len(text.encode()) < MAX_BYTES
    parser = Nesting()
    parser.feed(text)
    assert parser.open == []
    assert not parser.seen & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?:|url\(|@import|src=|href=", text)


def test_every_part_has_its_section_and_its_plot() -> None:
    text = rendered(with_load())
    for title in (
        "Side by side", "Latency per data point", "Batch", "Real time", "Costs",
        "Where, how, and what to keep in mind",
    ):  # fmt: skip
        assert f"<h2>{title}</h2>" in text
    for title in (
        "Goodput under load", "Latency under load", "Where the time of a lone request goes",
        "What a row waits for within the run", "Cost against freshness", "Break-even",
    ):  # fmt: skip
        assert f"<h3>{title}</h3>" in text
    assert text.count("<svg ") == text.count('role="img"') == 7


def test_what_could_not_be_measured_is_said_with_its_reason() -> None:
    text = rendered(without_rates())
    assert "Rates weren&#x27;t measured" in text or "Rates weren't measured" in text
    assert "no compiler" in text


def test_names_of_the_data_are_text() -> None:
    found = msgspec.structs.replace(FOUND, input="<script>alert(1)</script>", model="a&b")
    text = rendered(found)
    assert "<script" not in text
    assert "a&amp;b@3" in text

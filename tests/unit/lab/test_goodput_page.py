from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from twofold.lab.findings import Latency, Level
from twofold.lab.goodput_page import Curve, milliseconds, notes_on, render_goodput


def level(rate: float, *, in_time: float = 1.0, is_valid: bool = True) -> Level:
    latency = Latency(count=2000, mean_s=0.01, max_s=1.5, percentiles_s={"50": 0.002, "99": 0.05})
    return Level(
        offered_per_s=rate,
        answered_per_s=rate * in_time,
        in_time_per_s=rate * in_time,
        shed_per_s=rate * (1 - in_time),
        failed_per_s=0,
        latency=latency,
        lateness_p99_s=0.0001,
        is_valid=is_valid,
    )


def curve(**changes: Any) -> Curve:
    levels = [level(500), level(1000), level(3000, in_time=1 / 3)]
    found = Curve(capacity_per_s=1000, slo_s=0.1, deadline_s=0.1, levels=levels, search=[],
                  limit="", was_stopped=False)  # fmt: skip
    return msgspec.structs.replace(found, **changes)


def test_the_page_has_the_capacity_the_curve_and_no_script() -> None:
    page = render_goodput(curve(), {"URL": "<http://x>"}, made_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert "1,000/s" in page
    assert page.count("<svg") == 2
    assert "&lt;http://x&gt;" in page
    assert "<script" not in page
    assert "2026-01-02 00:00 UTC" in page


def test_its_figures_can_be_taken_away_as_json() -> None:
    page = render_goodput(curve(), {"URL": "x"})
    (link,) = re.findall(r'href="data:application/json,([^"]+)"', page)
    found = json.loads(unquote(link))
    assert msgspec.convert(found["curve"], Curve) == curve()
    assert found["facts"] == {"URL": "x"}


def test_nothing_is_drawn_of_what_did_not_happen() -> None:
    assert ">failed<" not in render_goodput(curve(), {})
    assert ">shed<" in render_goodput(curve(), {})


def test_a_page_of_no_level_is_still_one() -> None:
    assert "none" in render_goodput(curve(levels=[], capacity_per_s=0.0), {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"was_stopped": True}, "interrupted"),
        ({"limit": "no higher rate is tried"}, "may be higher: no higher rate"),
        (
            {"levels": [level(500, is_valid=False), level(900)]},
            "At 1 of 2 rates the load generator",
        ),
        ({"levels": [level(500, in_time=0.5)]}, "At 500/s, not above the capacity"),
    ],
)
def test_what_is_wrong_with_the_figures_is_said_first(changes: dict[str, Any], said: str) -> None:
    (note,) = notes_on(curve(**changes))
    assert said in note
    assert '<section class="warnings">' in render_goodput(curve(**changes), {})


def test_a_good_curve_has_no_warning() -> None:
    assert notes_on(curve()) == []


def test_milliseconds_have_three_digits_and_no_exponent() -> None:
    assert [milliseconds(s) for s in (0.0000123, 0.0456, 0.5, 1.234)] == [
        "0.0123", "45.6", "500", "1,234"]  # fmt: skip

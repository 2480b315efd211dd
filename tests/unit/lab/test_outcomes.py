from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from twofold.lab.outcomes import WITHOUT_STATUS, Course, Outcome, Tally, outcome_of, tallied

HEADER = Path(__file__).parents[3] / "src" / "load" / "engine.h"


def course(*requests: tuple[float, float, int], late_s: float = 0.0) -> Course:
    due, done, result = zip(*requests, strict=True)
    return Course(np.array(due), np.array(done), np.full(len(due), late_s), np.array(result))


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (200, Outcome.IN_TIME),
        (204, Outcome.IN_TIME),
        (301, Outcome.UNEXPECTED),
        (404, Outcome.CLIENT_ERROR),
        (429, Outcome.SHED),
        (500, Outcome.SERVER_ERROR),
        (503, Outcome.SHED),
        (504, Outcome.SERVER_ERROR),
        (-1, Outcome.GAVE_UP),
        (-8, Outcome.OWN_LIMIT),
    ],
)
def test_every_result_has_its_outcome(result: int, outcome: Outcome) -> None:
    assert outcome_of(result, is_in_time=True) is outcome


def test_an_answer_after_its_deadline_is_late_but_an_error_stays_what_it_is() -> None:
    assert outcome_of(200, is_in_time=False) is Outcome.LATE
    assert outcome_of(503, is_in_time=False) is Outcome.SHED


def test_every_result_of_the_engine_is_known() -> None:
    found = re.findall(r"^    \w+ = (-\d+)", HEADER.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(map(int, found)) == sorted(WITHOUT_STATUS)


def test_requests_count_in_the_stretch_in_which_they_were_due_and_none_of_the_warm_up() -> None:
    found = tallied(
        course(
            (0.5, 0.6, 500), (1.0, 1.05, 200), (1.9, 2.5, 200), (2.0, 2.01, 503), (2.5, 4.5, -1)
        ),
        [1.0, 2.0, 3.0],
        deadline_s=0.1,
    )
    assert [tally.outcomes for tally in found] == [
        {"in_time": 1, "late": 1},
        {"shed": 1, "gave_up": 1},
    ]
    assert [tally.statuses for tally in found] == [{"200": 2}, {"503": 1}]


def test_latency_is_that_of_good_answers_from_when_they_were_due() -> None:
    (tally,) = tallied(
        course((0.0, 2.0, 200), (0.0, 9.0, 500), (0.0, 9.0, -1)), [0.0, 1.0], deadline_s=1
    )
    assert tally.latency.count == 1
    assert tally.latency.max_s == 2.0
    assert tally.lateness.count == 3


def test_what_has_no_end_does_not_count() -> None:
    (tally,) = tallied(course((0.0, 0.1, 200), (0.5, 0.0, 0)), [0.0, 1.0], deadline_s=1)
    assert tally.count == 1


def test_tallies_of_several_processes_add_up() -> None:
    (one,) = tallied(course((0.0, 0.1, 200), (0.0, 0.2, 503)), [0.0, 1.0], deadline_s=1)
    (other,) = tallied(course((0.0, 0.3, 200)), [0.0, 1.0], deadline_s=0.1)
    one.merge(Tally.unpacked(other.packed()))
    assert one.outcomes == {"in_time": 1, "shed": 1, "late": 1}
    assert one.statuses == {"200": 2, "503": 1}
    assert (one.count, one.latency.count, one.latency.max_s) == (3, 2, pytest.approx(0.3))

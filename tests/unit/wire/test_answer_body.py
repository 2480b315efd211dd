"""An answer is written as it is meant, and every end has its count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelves import NOW, origin_of

from twofold.errors import (
    DeadlineExceeded,
    Draining,
    InvalidInput,
    Overloaded,
    PredictionFailed,
    QuotaExceeded,
    Stale,
    StoreUnavailable,
    UnknownKey,
)
from twofold.hybrid.ask import Answer, Ask
from twofold.serving.metrics import Answered
from twofold.wire.answer_body import (
    Relayed,
    answer_body,
    answered_as,
    around,
    failed_body,
    shown_age_s,
)
from twofold.wire.statuses import WireError


def answer(**facts: Any) -> Answer:
    known: dict[str, Any] = {
        "key": "a",
        "prediction": 7.5,
        "model": "churn",
        "version": "3",
        "source": "batch",
        "as_of": NOW,
        "age_s": 1.5,
        "is_fresh": True,
    }
    return Answer(**known | facts)


def test_members_come_in_one_order_and_what_is_empty_is_left_out() -> None:
    assert answer_body(answer()) == (
        b'{"key":"a","prediction":7.5,"model":"churn","version":"3","source":"batch",'
        b'"as_of":"2026-01-31T12:00:00Z","age_s":1.5,"fresh":true}'
    )
    told = answer_body(answer(key=17, is_fresh=False, why="stale", run_id="night", age_s=0.0))
    assert told.startswith(b'{"key":17,')
    assert told.endswith(b'"age_s":0.0,"fresh":false,"why":"stale","run_id":"night"}')


@given(age_us=st.integers(0, 10**15))
def test_age_is_shown_to_the_millisecond_that_is_over(age_us: int) -> None:
    shown = msgspec.json.decode(answer_body(answer(age_s=age_us / 1_000_000)))["age_s"]
    assert shown == shown_age_s(age_us) == age_us // 1000 / 1000


@given(
    age_ms=st.integers(0, 10**11),
    run_id=st.text(max_size=9),
    model=st.sampled_from(["churn", '"age_s":0.0', 'x"prediction":null']),
)
def test_parts_around_key_prediction_and_age_make_the_answer(
    age_ms: int, run_id: str, model: str
) -> None:
    origin = origin_of(run_id=run_id, model=model)
    before, after = around(origin)
    whole = answer(
        model=model,
        as_of=origin.as_of,
        run_id=run_id,
        age_s=timedelta(milliseconds=age_ms).total_seconds(),
    )
    age = msgspec.json.encode(age_ms / 1000)
    assert b'{"key":"a","prediction":7.5' + before + age + after == answer_body(whole)


@pytest.mark.parametrize(
    ("item", "counted"),
    [
        (answer(), Answered.STORED),
        (answer(is_fresh=False), Answered.STALE),
        (answer(source="live"), Answered.LIVE),
        (answer(source="live", is_fresh=False), Answered.LIVE),
        (UnknownKey("key"), Answered.UNKNOWN),
        (InvalidInput("row"), Answered.INVALID),
        (WireError("not_json", "body"), Answered.INVALID),
        (Stale("key"), Answered.REFUSED),
        (Draining("server"), Answered.REFUSED),
        (QuotaExceeded("quota"), Answered.REFUSED),
        (Overloaded("server", retry_after_s=1), Answered.REFUSED),
        (DeadlineExceeded("deadline"), Answered.REFUSED),
        (StoreUnavailable("store"), Answered.REFUSED),
        (PredictionFailed("model"), Answered.FAILED),
        (ZeroDivisionError(), Answered.FAILED),
        (Relayed(500, {}), Answered.FAILED),
        (Relayed(503, {}), Answered.REFUSED),
        (Relayed(504, {}), Answered.REFUSED),
        (Relayed(413, {}), Answered.INVALID),
        (Relayed(422, {}), Answered.INVALID),
    ],
)
def test_every_end_has_its_count(item: Answer | Exception, counted: Answered) -> None:
    assert answered_as(item) is counted


def test_key_of_several_that_has_no_answer_says_why() -> None:
    told = msgspec.json.decode(failed_body(Ask("a"), UnknownKey("key 'a': expected it.")))
    assert told == {"key": "a", "error": "key 'a': expected it.", "code": "unknown_key"}
    relayed = Relayed(503, {"error": "server: expected less.", "code": "overloaded"})
    told = msgspec.json.decode(failed_body(Ask(17), relayed))
    assert told == {"key": 17, "error": "server: expected less.", "code": "overloaded"}
    assert msgspec.json.decode(failed_body(Ask("a"), Relayed(500, {})))["code"] == "internal"

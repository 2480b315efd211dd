"""What is asked for by key is settled: from the store, or by a row to predict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import AS_OF, live_of, snapshot_of

from twofold.errors import InvalidInput, Stale, StoreUnavailable, UnknownKey
from twofold.hybrid.ask import UNAVAILABLE, Answer, Ask, Asking, Live
from twofold.hybrid.settings import AnswerSettings
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Signature
from twofold.stores.snapshot import Origin, Stored

SIGNATURE = Signature(
    fields=(Field(name="amount", type="float64"), Field(name="plan", type="string"))
)
ROW = {"amount": 1.5, "plan": "basic"}
HOUR = timedelta(hours=1)
NOW = AS_OF + HOUR
SNAPSHOT = snapshot_of()
AWAY = StoreUnavailable("store: expected an answer, got none.")


def asking(*outputs: str, version: str = "3", **policy: Any) -> Asking:
    check = RowCheck(SIGNATURE)
    settings = AnswerSettings(**policy)
    return Asking("churn", version, outputs or ("prediction",), check, settings)


def stored(*predictions: Any, features: Mapping[str, Any] | None = None, **origin: Any) -> Stored:
    made = Origin(
        source="batch",
        model="churn",
        version="3",
        run_id="night-1",
        as_of=AS_OF,
        predicted_at=AS_OF + HOUR,
    )
    found = msgspec.structs.replace(made, **origin)
    return Stored(predictions or (0.5,), found, None if features is None else dict(features))


def settled(
    ask: Ask, found: Stored | None, now: datetime = NOW, by: Asking | None = None
) -> Answer | Live:
    return (by or asking()).settle(ask, found, SNAPSHOT, now)


def answer(*given: Any, **named: Any) -> Answer:
    found = settled(*given, **named)
    assert isinstance(found, Answer)
    return found


def live(*given: Any, **named: Any) -> Live:
    found = settled(*given, **named)
    assert isinstance(found, Live)
    return found


# ---- stored ----------------------------------------------------------------------------------


def test_a_fresh_stored_prediction_is_the_answer_with_where_it_comes_from() -> None:
    assert answer(Ask("k"), stored(0.5)) == Answer(
        key="k",
        prediction=0.5,
        model="churn",
        version="3",
        source="batch",
        as_of=AS_OF,
        age_s=3600.0,
        is_fresh=True,
        why="",
        run_id="night-1",
    )
    assert answer(Ask(17), stored(0.5)).key == 17


def test_of_several_outputs_each_has_its_name() -> None:
    both = stored(0.1, 0.9, outputs=("no", "yes"))
    named = {"no": 0.1, "yes": 0.9}
    assert answer(Ask("k"), both, by=asking("no", "yes")).prediction == named
    # Those of the version that predicted, whatever the one that serves calls its own.
    assert answer(Ask("k"), both, by=asking("left", "right", "maybe")).prediction == named
    assert answer(Ask("k"), both, by=asking()).prediction == named


def test_a_live_prediction_is_kept_with_the_names_of_its_outputs() -> None:
    by = asking("no", "yes")
    settled = by.settle(Ask("k", row=ROW), None, None, AS_OF)
    assert isinstance(settled, Live)
    kept = by.kept(by.predicted(settled, {"no": 0.25, "yes": 0.75}, AS_OF), AS_OF + HOUR)
    assert (kept.predictions, kept.origin.outputs) == ((0.25, 0.75), ("no", "yes"))
    assert (kept.origin.source, kept.origin.as_of) == ("live", AS_OF)
    assert kept.origin.predicted_at == AS_OF + HOUR


def test_a_live_prediction_that_was_kept_is_live_and_has_no_run() -> None:
    kept = live_of(0.7, version="3")
    found = answer(Ask("k"), kept, kept.origin.as_of + HOUR)
    assert (found.source, found.run_id, found.prediction, found.age_s) == ("live", "", 0.7, 3600.0)


def test_one_request_may_ask_for_fresher_ones_or_take_older_ones() -> None:
    found = stored()
    assert answer(Ask("k"), found).is_fresh
    assert not answer(Ask("k", max_age_s=3599.0), found).is_fresh
    assert not answer(Ask("k", max_age_s=0.0), found).is_fresh
    old = AS_OF + timedelta(days=9)
    assert not answer(Ask("k"), found, old).is_fresh
    assert answer(Ask("k", max_age_s=10 * 86_400.0), found, old).is_fresh


@pytest.mark.parametrize(
    ("now", "why", "age_s"),
    [
        (AS_OF + timedelta(days=2), "stale", 2 * 86_400.0),
        (AS_OF - HOUR, "out of the future", 0.0),
    ],
)
def test_a_stale_one_is_marked_and_says_why_and_its_age_is_never_negative(
    now: datetime, why: str, age_s: float
) -> None:
    found = answer(Ask("k"), stored(), now)
    assert (found.is_fresh, found.why, found.age_s) == (False, why, age_s)


def test_one_out_of_a_near_future_is_fresh_and_no_seconds_old() -> None:
    found = answer(Ask("k"), stored(), AS_OF - timedelta(seconds=59))
    assert (found.is_fresh, found.why, found.age_s) == (True, "", 0.0)


def test_a_stale_one_is_refused_if_the_policy_says_so() -> None:
    refusing = asking(on_stale="refuse")
    with pytest.raises(Stale, match=r"key 'k': expected a prediction of at most 60 s of age, got"):
        settled(Ask("k", max_age_s=60.0), stored(), by=refusing)
    assert answer(Ask("k"), stored(), by=refusing).is_fresh


def test_a_key_that_is_not_stored_is_unknown_unless_a_row_is_given() -> None:
    says = r"key 'k': expected a key that is stored, got one that isn't\. Send the row"
    with pytest.raises(UnknownKey, match=says):
        settled(Ask("k"), None)
    with pytest.raises(UnknownKey, match="got no snapshot at all"):
        asking().settle(Ask("k"), None, None, NOW)
    with pytest.raises(UnknownKey, match=rf"key '{'x' * 80}': "):
        settled(Ask("x" * 10_000), None)
    with pytest.raises(UnknownKey, match="got changes to one that isn't"):
        settled(Ask("k", changes={"amount": 2.0}), None)
    found = live(Ask("k", row=ROW), None)
    assert (found.row, found.why, found.as_of) == (ROW, "unknown key", NOW)


# ---- live ------------------------------------------------------------------------------------


def test_a_row_that_the_batch_had_is_answered_from_the_store() -> None:
    had = stored(features=ROW)
    assert answer(Ask("k", row=dict(ROW)), had).source == "batch"
    # The same in another form: what counts is what the model is given.
    assert answer(Ask("k", row=[1.5, "basic"]), had).is_fresh
    assert answer(Ask("k", row={"plan": "basic", "amount": 1.5}), had).is_fresh


@pytest.mark.parametrize("had", [stored(features={**ROW, "amount": 2.0}), stored()])
def test_a_row_of_which_it_is_not_known_that_the_batch_had_it_is_newer(had: Stored) -> None:
    found = live(Ask("k", row=ROW), had)
    assert (found.row, found.why, found.as_of) == (ROW, "newer features", NOW)


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="amount"):
        settled(Ask("k", row={"amount": "many", "plan": "basic"}), stored(features=ROW))


def test_a_row_that_is_not_after_the_batch_is_not_newer() -> None:
    other = {**ROW, "amount": 9.0}
    for row_as_of in [AS_OF, AS_OF - HOUR]:
        assert answer(Ask("k", row=other, row_as_of=row_as_of), stored()).source == "batch"
    found = live(Ask("k", row=other, row_as_of=AS_OF + HOUR / 2), stored())
    assert (found.as_of, found.why) == (AS_OF + HOUR / 2, "newer features")


def test_no_row_is_from_the_future() -> None:
    assert live(Ask("k", row=ROW, row_as_of=NOW + HOUR), stored()).as_of == NOW


def test_of_a_stale_prediction_the_row_is_predicted_although_the_batch_had_it() -> None:
    later = AS_OF + timedelta(days=2)
    found = live(Ask("k", row=ROW), stored(features=ROW), later)
    assert (found.row, found.why, found.as_of) == (ROW, "stale", later)
    found = live(Ask("k", row=ROW), stored(features=ROW), AS_OF - HOUR)
    assert found.why == "out of the future"


def test_changes_are_put_into_what_the_batch_had_which_is_as_old_as_that() -> None:
    found = live(Ask("k", changes={"amount": 2.0}), stored(features=ROW))
    assert found.row == {"amount": 2.0, "plan": "basic"}
    assert (found.as_of, found.why) == (AS_OF, "newer features")
    assert ROW["amount"] == 1.5


def test_changes_are_put_into_the_row_if_one_is_given() -> None:
    found = live(Ask("k", row=ROW, changes={"plan": "pro"}), stored(features=ROW))
    assert (found.row, found.as_of) == ({"amount": 1.5, "plan": "pro"}, NOW)
    assert live(Ask("k", row=ROW, changes={"plan": "pro"}), None).why == "unknown key"
    with pytest.raises(InvalidInput, match="changes: expected a row by field name, got a list"):
        settled(Ask("k", row=[1.5, "basic"], changes={"plan": "pro"}), None)


def test_changes_of_no_fields_or_without_features_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"changes\.colour: expected one of amount, plan, got"):
        settled(Ask("k", changes={"colour": "red"}), stored(features=ROW))
    with pytest.raises(InvalidInput, match=r"changes: .*without features\. Publish it with --with"):
        settled(Ask("k", changes={"amount": 2.0}), stored())


def test_another_versions_prediction_is_the_answer_unless_it_is_to_be_live() -> None:
    assert answer(Ask("k"), stored(), by=asking(version="4")).version == "3"
    other = asking(version="4", on_other_version="live")
    found = live(Ask("k"), stored(features=ROW), by=other)
    assert (found.row, found.as_of, found.why) == (ROW, AS_OF, "another version")
    found = live(Ask("k", row=ROW), stored(features=ROW), by=other)
    assert (found.row, found.why) == (ROW, "another version")
    marked = answer(Ask("k"), stored(), by=other)
    assert (marked.is_fresh, marked.why) == (False, "another version")
    assert answer(Ask("k"), stored(), by=asking(on_other_version="live")).is_fresh


def test_features_are_looked_up_only_where_they_help() -> None:
    plain, others = asking(), asking(on_other_version="live")
    for ask, wants in [
        (Ask("k"), False),
        (Ask("k", row=ROW), True),
        (Ask("k", changes={"amount": 2.0}), True),
    ]:
        assert plain.wants_features(ask) is wants
        assert others.wants_features(ask)


def test_what_was_predicted_now_is_an_answer_of_the_version_that_serves() -> None:
    ask = Ask("k", row=ROW, row_as_of=NOW - HOUR, max_age_s=7_200.0)
    item = Live(ask, ROW, NOW - HOUR, "newer features")
    assert asking(version="4").predicted(item, 0.7, NOW) == Answer(
        key="k",
        prediction=0.7,
        model="churn",
        version="4",
        source="live",
        as_of=NOW - HOUR,
        age_s=3600.0,
        is_fresh=True,
        why="newer features",
    )
    old = Live(Ask("k", max_age_s=60.0), ROW, NOW - HOUR, "another version")
    assert not asking().predicted(old, 0.7, NOW).is_fresh
    # The clock was put back since.
    assert asking().predicted(item, 0.7, NOW - 2 * HOUR).age_s == 0.0


# ---- while the store is away -----------------------------------------------------------------


def test_while_the_store_is_away_a_row_is_predicted() -> None:
    ask = Ask("k", row=ROW, changes={"plan": "pro"})
    found = asking().settle_alone(ask, stored(), AWAY, NOW)
    assert found == Live(ask, {"amount": 1.5, "plan": "pro"}, NOW, UNAVAILABLE)
    dated = Ask("k", row=ROW, row_as_of=AS_OF)
    assert asking().settle_alone(dated, None, AWAY, NOW) == Live(dated, ROW, AS_OF, UNAVAILABLE)


def test_what_is_remembered_is_marked_however_fresh_it_is() -> None:
    found = asking().settle_alone(Ask("k"), stored(0.5), AWAY, NOW)
    assert isinstance(found, Answer)
    assert (found.prediction, found.is_fresh, found.why) == (0.5, False, UNAVAILABLE)
    assert found.age_s == 3600.0


def test_changes_are_put_into_remembered_features() -> None:
    ask = Ask("k", changes={"amount": 2.0})
    found = asking().settle_alone(ask, stored(features=ROW), AWAY, NOW)
    assert found == Live(ask, {**ROW, "amount": 2.0}, AS_OF, UNAVAILABLE, ROW)


def test_the_features_that_the_batch_had_are_answered_where_they_are_wanted() -> None:
    known = stored(features=ROW)
    assert answer(Ask("k", features=True), known).features == ROW
    assert answer(Ask("k"), known).features is None
    assert answer(Ask("k", features=True), stored()).features is None
    for ask in (Ask("k", changes={"amount": 2.0}, features=True), Ask("k", row=ROW, features=True)):
        found = asking().settle(ask, stored(features=ROW), None, AS_OF + 48 * HOUR)
        assert isinstance(found, Live)
        assert asking().predicted(found, 0.5, AS_OF).features == ROW


@pytest.mark.parametrize(
    ("ask", "remembered", "policy"),
    [
        (Ask("k"), None, {}),
        (Ask("k", changes={"amount": 2.0}), None, {}),
        (Ask("k", changes={"amount": 2.0}), stored(), {}),
        (Ask("k"), stored(), {"on_stale": "refuse"}),
    ],
)
def test_with_nothing_that_will_do_the_error_is_that_of_the_store(
    ask: Ask, remembered: Stored | None, policy: dict[str, Any]
) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        asking(**policy).settle_alone(ask, remembered, AWAY, NOW)
    assert caught.value is AWAY


# ---- all -------------------------------------------------------------------------------------


@given(
    st.none() | st.just(stored()) | st.just(stored(features=ROW)) | st.just(live_of()),
    st.builds(
        Ask,
        st.just("k"),
        max_age_s=st.none() | st.floats(0, 1e6),
        row=st.none() | st.just(ROW) | st.just({**ROW, "amount": 7.0}),
        changes=st.none() | st.just({"amount": 9.0}),
        row_as_of=st.none() | st.integers(-9, 9).map(lambda hours: AS_OF + hours * HOUR),
    ),
    st.integers(-200_000, 400_000),
    st.sampled_from(["mark", "refuse"]),
    st.sampled_from(["stored", "live"]),
)
def test_what_holds_of_whatever_is_asked(
    found: Stored | None, ask: Ask, after_s: int, on_stale: str, on_other_version: str
) -> None:
    now = AS_OF + timedelta(seconds=after_s)
    by = asking(on_stale=on_stale, on_other_version=on_other_version)
    try:
        item = settled(ask, found, now, by)
    except UnknownKey:
        assert found is None
        assert ask.row is None
        return
    except Stale:
        assert on_stale == "refuse"
        return
    except InvalidInput:
        assert found is not None
        assert found.features is None
        assert ask.changes is not None
        return
    if isinstance(item, Live):
        assert item.why
        assert item.as_of <= max(now, AS_OF, live_of().origin.as_of)
        item = by.predicted(item, 0.5, now)
    else:
        assert found is not None
        assert item.prediction == found.predictions[0]
        assert item.is_fresh == (not item.why)
    assert item.age_s >= 0.0
    if item.is_fresh:
        limit_s = ask.max_age_s if ask.max_age_s is not None else 86_400.0
        assert item.age_s <= limit_s

"""Whether a stored prediction is the answer: the table of the module, row by row, and beyond."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.hybrid.freshness import Facts, Features, Use, age_s_of, decide, is_fresh
from twofold.hybrid.settings import AnswerSettings

MAX_AGE_S, SKEW_S = 100.0, 60.0
FRESH, STALE, FUTURE = 99.0, 101.0, -61.0
NONE, SAME, NEWER = Features.NONE, Features.SAME, Features.NEWER
STORED, OTHERS_LIVE = AnswerSettings(), AnswerSettings(on_other_version="live")
POLICIES = [
    AnswerSettings(on_stale=stale, on_other_version=other, max_skew_s=SKEW_S)
    for stale, other in itertools.product(["mark", "refuse"], ["stored", "live"])
]
ANY_FACTS = st.builds(
    Facts,
    age_s=st.none() | st.floats(allow_nan=False) | st.sampled_from([-SKEW_S, 0.0, MAX_AGE_S]),
    max_age_s=st.just(MAX_AGE_S) | st.floats(0, 1e9),
    features=st.sampled_from(Features),
    has_published=st.booleans(),
    is_other_version=st.booleans(),
)


def used(
    age_s: float | None,
    features: Features,
    policy: AnswerSettings = STORED,
    *,
    published: bool = False,
    other: bool = False,
) -> Use:
    return decide(Facts(age_s, MAX_AGE_S, features, published, other), policy)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("other", [False, True])
def test_without_a_stored_prediction_it_is_live_if_there_is_a_row(
    policy: AnswerSettings, other: bool
) -> None:
    assert used(None, NONE, policy, other=other) is Use.UNKNOWN
    for features in [SAME, NEWER]:
        assert used(None, features, policy, other=other) is Use.LIVE


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("age_s", [FRESH, STALE, FUTURE])
@pytest.mark.parametrize("other", [False, True])
def test_newer_features_are_predicted_live_however_fresh_the_stored_prediction_is(
    policy: AnswerSettings, age_s: float, other: bool
) -> None:
    assert used(age_s, NEWER, policy, other=other) is Use.LIVE


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("features", [NONE, SAME])
@pytest.mark.parametrize("published", [False, True])
def test_a_fresh_prediction_of_the_version_that_serves_is_the_answer(
    policy: AnswerSettings, features: Features, published: bool
) -> None:
    assert used(FRESH, features, policy, published=published) is Use.STORED


@pytest.mark.parametrize("features", [NONE, SAME])
@pytest.mark.parametrize("published", [False, True])
def test_one_of_another_version_is_the_answer_too_unless_the_policy_says_live(
    features: Features, published: bool
) -> None:
    assert used(FRESH, features, published=published, other=True) is Use.STORED
    found = used(FRESH, features, OTHERS_LIVE, published=published, other=True)
    has_features = features is SAME or published
    assert found is (Use.LIVE if has_features else Use.STALE)


def test_one_of_another_version_that_cannot_be_predicted_anew_is_as_if_stale() -> None:
    refusing = AnswerSettings(on_other_version="live", on_stale="refuse")
    assert used(FRESH, NONE, refusing, other=True) is Use.REFUSED


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("age_s", [STALE, FUTURE])
@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("published", [False, True])
def test_a_stale_prediction_is_made_anew_of_the_same_features_else_marked_or_refused(
    policy: AnswerSettings, age_s: float, other: bool, published: bool
) -> None:
    assert used(age_s, SAME, policy, other=other, published=published) is Use.LIVE
    wanted = Use.REFUSED if policy.on_stale == "refuse" else Use.STALE
    # What the batch had is as old as its prediction: to predict of it makes nothing fresher.
    assert used(age_s, NONE, policy, other=other, published=published) is wanted


@given(ANY_FACTS, st.sampled_from(POLICIES))
def test_what_holds_of_every_answer(facts: Facts, policy: AnswerSettings) -> None:
    use = decide(facts, policy)
    fresh = facts.age_s is not None and -SKEW_S <= facts.age_s <= facts.max_age_s
    if use is Use.STORED:
        assert fresh
        assert facts.features is not NEWER
        assert not facts.is_other_version or policy.on_other_version == "stored"
    if facts.features is NEWER:
        assert use is Use.LIVE
    if use is Use.LIVE:
        assert facts.features is not NONE or facts.has_published
    assert (use is Use.UNKNOWN) == (facts.age_s is None and facts.features is NONE)
    if use is Use.REFUSED:
        assert policy.on_stale == "refuse"
    if use is Use.STALE:
        assert policy.on_stale == "mark"
        assert not fresh or facts.is_other_version


@given(ANY_FACTS, st.floats(0, 1e9), st.sampled_from(POLICIES))
def test_who_takes_older_predictions_gets_no_fewer_of_them(
    facts: Facts, more_s: float, policy: AnswerSettings
) -> None:
    wider = Facts(
        facts.age_s,
        facts.max_age_s + more_s,
        facts.features,
        facts.has_published,
        facts.is_other_version,
    )
    if decide(facts, policy) is Use.STORED:
        assert decide(wider, policy) is Use.STORED


def test_a_prediction_is_fresh_up_to_its_age_and_a_little_out_of_the_future() -> None:
    for age_s in [-SKEW_S, -0.0, 0.0, MAX_AGE_S]:
        assert is_fresh(age_s, MAX_AGE_S, SKEW_S)
    for age_s in [-SKEW_S - 1e-6, MAX_AGE_S + 1e-6, float("inf"), float("-inf"), float("nan")]:
        assert not is_fresh(age_s, MAX_AGE_S, SKEW_S)
    assert is_fresh(0.0, 0.0, 0.0)
    assert not is_fresh(1e-6, 0.0, 0.0)


def test_a_clock_that_jumps_makes_stale_what_was_fresh_and_back() -> None:
    as_of = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)

    def found(jump: timedelta) -> Use:
        age_s = age_s_of(as_of, as_of + timedelta(seconds=50) + jump)
        return used(age_s, NONE, AnswerSettings(max_skew_s=SKEW_S))

    assert found(timedelta()) is Use.STORED
    assert found(timedelta(hours=1)) is Use.STALE  # as if it were old
    assert found(-timedelta(seconds=100)) is Use.STORED  # within what clocks may differ
    assert found(-timedelta(hours=1)) is Use.STALE  # out of the future
    assert found(timedelta()) is Use.STORED


def test_an_age_is_that_of_instants_not_of_what_clocks_show() -> None:
    berlin_before, berlin_after = (timezone(timedelta(hours=hours)) for hours in (1, 2))
    as_of = datetime(2026, 3, 29, 1, 59, tzinfo=berlin_before)
    now = datetime(2026, 3, 29, 3, 1, tzinfo=berlin_after)
    assert age_s_of(as_of, now) == 120.0
    assert age_s_of(now, as_of) == -120.0

"""Answers by key for Python callers: from the last batch while it is fresh, else from the model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import twofold
from twofold.app.answers import Answers, answers
from twofold.app.settings import read
from twofold.app.snapshot import roll_back_snapshot
from twofold.errors import (
    ConfigError,
    InvalidInput,
    PredictionFailed,
    Stale,
    StoreUnavailable,
    UnknownKey,
    UnknownModel,
)
from twofold.hybrid.settings import AnswerSettings
from twofold.stores.open import open_store
from twofold.stores.snapshot import Snapshot, Stored
from twofold.stores.store import Found, LocalReader

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
NOW = AS_OF + timedelta(hours=1)
AWAY = StoreUnavailable("store: expected an answer, got none. Look at it.")


Publish = Callable[..., None]


@pytest.fixture
def published(folder: Path, publish: Publish) -> Path:
    """A folder where a snapshot of a hundred customers is published, with their features."""
    publish()
    return folder


Open = Callable[..., Answers]


@pytest.fixture
def opened(published: Path) -> Iterator[Open]:
    """Open what was published, an hour after its input was true."""
    made: list[Answers] = []

    def make(reader: Any = None, *, now: datetime = NOW, **policy: Any) -> Answers:
        local: Any = open_store("store", timeout_s=1.0).reader("offer")
        predictor = twofold.load("offer@2", registry="registry")
        given = local if reader is None else reader(local)
        made.append(Answers(predictor, given, AnswerSettings(**policy), clock=lambda: now))
        return made[-1]

    yield make
    for item in made:
        item.close()


def test_stored_prediction_is_answered_with_where_it_comes_from(opened: Open) -> None:
    answer = opened().get("c8")
    assert (answer.key, answer.prediction, answer.model, answer.version) == (
        "c8",
        1.0,
        "offer",
        "2",
    )
    assert (answer.source, answer.run_id, answer.is_fresh, answer.why) == (
        "batch",
        "night",
        True,
        "",
    )
    assert (answer.as_of, answer.age_s) == (AS_OF, 3600.0)


def test_row_is_predicted_as_it_is_now_unless_the_batch_had_it(opened: Open) -> None:
    one = opened()
    row = {"spend": 2.0, "plan": "basic"}
    assert one.get("c8", row=row).source == "batch"
    newer = one.get("c8", row=row | {"spend": 5.0})
    assert (newer.prediction, newer.source, newer.why) == (4.0, "live", "newer features")
    assert (newer.as_of, newer.age_s) == (NOW, 0.0)
    assert one.get("c8", row=[5.0, "basic"], row_as_of=AS_OF).source == "batch"
    new = one.get("nobody", row=[5.0, "basic"])
    assert (new.prediction, new.why) == (4.0, "unknown key")


def test_changes_are_put_into_the_row_of_the_batch(opened: Open, publish: Publish) -> None:
    answer = opened().get("c8", changes={"spend": 9.0})
    assert (answer.prediction, answer.as_of) == (8.0, AS_OF)
    publish("plain", features=False)
    with pytest.raises(InvalidInput, match="Publish it with --with-features"):
        opened().get("c8", changes={"spend": 9.0})


def test_key_that_is_not_stored_is_unknown_and_of_many_none(opened: Open) -> None:
    one = opened()
    with pytest.raises(UnknownKey, match="Send the row, too"):
        one.get("nobody")
    found = one.get_many(["c4", "nobody", "c8"])
    assert [item and item.prediction for item in found] == [0.0, None, 1.0]
    assert one.get_many([]) == []


def test_stale_prediction_is_marked_or_refused(opened: Open) -> None:
    late = NOW + timedelta(days=2)
    answer = opened(now=late).get("c8")
    assert (answer.is_fresh, answer.why) == (False, "stale")
    assert opened(now=late).get("c8", max_age_s=1e6).is_fresh
    strict = opened(now=late, on_stale="refuse")
    with pytest.raises(Stale):
        strict.get("c8")
    with pytest.raises(Stale):
        strict.get_many(["c8"])
    assert strict.get_many(["c8"], max_age_s=1e6)[0] is not None


def test_row_that_does_not_fit_and_a_model_that_fails_are_told(opened: Open) -> None:
    with pytest.raises(InvalidInput, match="plan"):
        opened().get("c8", row={"spend": 1.0, "plan": "gold"})

    class Broken:
        name, version = "offer", "2"

        def __init__(self, real: Any) -> None:
            self.signature, self.output = real.signature, real.output

        def predict_one(self, _: Any) -> Any:
            raise PredictionFailed("the model raised")

    one = opened()
    one._predictor = Broken(one._predictor)  # type: ignore[assignment]
    with pytest.raises(PredictionFailed):
        one.get("c8", row=[9.0, "pro"])


def test_live_prediction_is_kept_for_all_readers_if_that_is_asked_for(opened: Open) -> None:
    one, other = opened(), opened()
    one.get("c8", row=[9.0, "pro"])
    assert other.get("c8").prediction == 1.0
    kept = one.get("c8", row=[9.0, "pro"], keep=True)
    for reader in (one, other):
        found = reader.get("c8")
        assert (found.prediction, found.source, found.run_id) == (kept.prediction, "live", "")
        assert found.as_of == NOW


def test_switch_and_the_way_back_are_seen_at_once(opened: Open, publish: Publish) -> None:
    one = opened()
    assert one.get("c8").run_id == "night"
    publish("day")
    assert one.get("c8").run_id == "day"
    roll_back_snapshot(read(), "offer")
    assert one.get("c8").run_id == "night"


def test_predictions_of_another_version_are_made_anew_where_the_policy_says_so(
    published: Path,
) -> None:
    for policy, version in ((None, "2"), (AnswerSettings(on_other_version="live"), "1")):
        with answers("offer@1", policy=policy, store="store", registry="registry") as one:
            assert one.get("c8", max_age_s=1e10).version == version


def test_damaged_snapshot_leaves_what_can_be_predicted(opened: Open) -> None:
    [values] = Path("store/offer").glob("*/values-0")
    values.write_bytes(b"x")
    assert opened().get("c8", row=[5.0, "basic"]).why == "store unavailable"
    with pytest.raises(StoreUnavailable, match="Roll back to the previous snapshot"):
        opened().get("c8")


# Stores that are away, or on a server


class Away:
    """A store in memory that fails, in the end or at once."""

    def __init__(self, local: LocalReader, *, finds: bool = False) -> None:
        self._local = local
        self._finds = finds

    def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        if not self._finds:
            raise AWAY
        return self._local.find(keys, with_features=with_features)

    def keep(self, *_: Any) -> bool:
        raise AWAY

    def close(self) -> None:
        self._local.close()


def test_store_that_is_away_leaves_what_can_be_predicted(opened: Open) -> None:
    one = opened(Away)
    answer = one.get("c8", row=[5.0, "basic"], keep=True)
    assert (answer.prediction, answer.source, answer.why) == (4.0, "live", "store unavailable")
    with pytest.raises(StoreUnavailable):
        one.get("c8")
    with pytest.raises(StoreUnavailable):
        one.get("c8", changes={"spend": 1.0})
    with pytest.raises(StoreUnavailable):
        one.get_many(["c8"])


def test_prediction_that_can_not_be_kept_is_an_answer(opened: Open) -> None:
    one = opened(lambda local: Away(local, finds=True))
    assert one.get("c8", row=[5.0, "basic"], keep=True).prediction == 4.0


class Far:
    """A store on a server; it is asked, and hung up on, in one event loop of its own."""

    def __init__(self, local: LocalReader) -> None:
        self._local = local
        self.loops: set[int] = set()
        self.threads: set[int] = set()
        self.is_closed = False

    async def _note(self) -> None:
        await asyncio.sleep(0)
        self.loops.add(id(asyncio.get_running_loop()))
        self.threads.add(threading.get_ident())

    async def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        await self._note()
        return self._local.find(keys, with_features=with_features)

    async def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        await self._note()
        return self._local.keep(key, stored, snapshot)

    async def close(self) -> None:
        await self._note()
        self.is_closed = True


def use(far: list[Far], opened: Open) -> None:
    def reader(local: Any) -> Far:
        far.append(Far(local))
        return far[-1]

    with opened(reader) as one:
        assert one.get("c8").prediction == 1.0
        one.get("c8", row=[5.0, "basic"], keep=True)
        assert [item and item.source for item in one.get_many(["c8", "c4", "x"])] == [
            "live",
            "batch",
            None,
        ]


def check(far: list[Far]) -> None:
    [only] = far
    assert only.is_closed
    assert len(only.loops) == len(only.threads) == 1
    assert only.threads.isdisjoint({threading.get_ident()})


def test_store_on_a_server_is_waited_for(opened: Open) -> None:
    far: list[Far] = []
    before = threading.active_count()
    use(far, opened)
    check(far)
    assert threading.active_count() == before


def test_store_on_a_server_is_waited_for_within_another_event_loop(opened: Open) -> None:
    far: list[Far] = []

    async def in_a_notebook() -> None:
        use(far, opened)

    asyncio.run(in_a_notebook())
    check(far)


def test_closing_twice_is_closing(opened: Open) -> None:
    one = opened(Far)
    one.get("c8")
    one.close()
    one.close()


# Opening


def test_it_is_there_under_a_short_name() -> None:
    assert twofold.answers is answers
    assert twofold.Answers is Answers
    assert {"answers", "Answers", "UnknownKey"} <= set(twofold.__all__)
    assert twofold.UnknownKey is UnknownKey


def test_settings_say_where_to_look_and_what_is_fresh(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with twofold.answers("offer") as one:
        assert one.get("c8", max_age_s=1e10).is_fresh
    monkeypatch.setenv("TWOFOLD_ANSWERS_ON_STALE", "refuse")
    monkeypatch.setenv("TWOFOLD_ANSWERS_MAX_AGE_S", "1")
    with twofold.answers("offer") as one, pytest.raises(Stale):
        one.get("c8")
    monkeypatch.setenv("TWOFOLD_STORE", "elsewhere")
    with twofold.answers("offer") as one, pytest.raises(UnknownKey, match="no snapshot at all"):
        one.get("c8")
    with twofold.answers("offer", store=Path("store"), policy=AnswerSettings()) as one:
        assert one.get("c8", max_age_s=1e10).prediction == 1.0


def test_what_is_not_there_is_told_at_once(published: Path) -> None:
    with pytest.raises(UnknownModel):
        twofold.answers("nobody")
    with pytest.raises(ConfigError, match="--store: expected"):
        twofold.answers("offer", store="nosql://somewhere")

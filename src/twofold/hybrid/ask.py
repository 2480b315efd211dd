"""What is asked for by key, and what is answered: from the store, or from a live prediction.

Values only. `Asking.settle` says which it is; who predicts, and where, is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from twofold.errors import InvalidInput, Stale, UnknownKey, problem
from twofold.hybrid.freshness import Facts, Features, Use, age_s_of, decide, is_fresh
from twofold.hybrid.settings import AnswerSettings
from twofold.stores.snapshot import Origin, Snapshot, Stored

Row = Mapping[str, Any] | Sequence[Any]
Check = Callable[[Row], list[Any]]
"""Gives a row's canonical values; raises InvalidInput."""

UNAVAILABLE = "store unavailable"
SEND_ROW = 'Send the row, too: {"key": ..., "row": {...}}.'
PUBLISH_FEATURES = "Publish it with --with-features, or send the whole row."


class Ask(msgspec.Struct, frozen=True):
    """What somebody asks for.

    Attributes:
        key: The key, as it was given.
        max_age_s: Up to which a stored prediction will do; None: as the settings say.
        row: The row as it is now, if it is known.
        changes: Fields of it that have other values now than in the batch.
        row_as_of: When `row` was true (aware), if that is known: what the batch had is as good.
        keep: Whether a live prediction is kept in the store until the next switch.
        features: Whether the features that the batch had are wanted, too.
    """

    key: str | int
    max_age_s: float | None = None
    row: Row | None = None
    changes: Mapping[str, Any] | None = None
    row_as_of: datetime | None = None
    keep: bool = False
    features: bool = False

    @property
    def wants_features(self) -> bool:
        """Whether it helps to know the features that the batch had."""
        return self.features or self.row is not None or self.changes is not None


class Answer(msgspec.Struct, frozen=True):
    """What is answered.

    Attributes:
        key: The key.
        prediction: The prediction; of several outputs, each by its name.
        model: The model's name.
        version: The version that predicted.
        source: `batch`, or `live`; a live prediction that was kept is `live`, too.
        as_of: When its input was true.
        age_s: Seconds since then, never negative.
        is_fresh: Whether that is within what was asked for.
        why: Why it isn't simply a fresh stored prediction; empty if it is.
        run_id: Of a stored prediction: its run.
        features: Those the batch had, by field, if they are wanted and were published.
    """

    key: str | int
    prediction: Any
    model: str
    version: str
    source: str
    as_of: datetime
    age_s: float
    is_fresh: bool
    why: str = ""
    run_id: str = ""
    features: Mapping[str, Any] | None = None


class Live(msgspec.Struct, frozen=True):
    """A row that is to be predicted now, for an answer.

    Attributes:
        ask: What was asked for.
        row: The row.
        as_of: When the oldest of it was true.
        why: Why it is predicted now.
        features: Those the batch had, if they are known.
    """

    ask: Ask
    row: Row
    as_of: datetime
    why: str
    features: Mapping[str, Any] | None = None


def shown(stored: Stored) -> Any:
    """The predictions of a row, as an answer has them: of several outputs, each by its name."""
    outputs, predictions = stored.origin.outputs, stored.predictions
    if len(outputs) == 1:
        (only,) = predictions
        return only
    return dict(zip(outputs, predictions, strict=True))


class Asking:
    """Settles what is asked of one model.

    Attributes:
        wants_others: Whether what another version predicted is predicted anew.
    """

    def __init__(
        self, model: str, version: str, outputs: Sequence[str], check: Check, policy: AnswerSettings
    ) -> None:
        """Prepare.

        Args:
            model: The model's name.
            version: The version that serves.
            outputs: Names of what it predicts of a row.
            check: Its signature's.
            policy: What is done with what is stale.
        """
        self._model, self._version = model, version
        self._outputs = tuple(outputs)
        self._check = check
        self._policy = policy
        self.wants_others = policy.on_other_version == "live"

    def wants_features(self, ask: Ask) -> bool:
        """Whether to look up the published features, too."""
        return self.wants_others or ask.wants_features

    def settle(
        self, ask: Ask, stored: Stored | None, snapshot: Snapshot | None, now: datetime
    ) -> Answer | Live:
        """Answer from the store, or say what is to be predicted.

        Args:
            ask: What is asked for.
            stored: What there is for the key.
            snapshot: Where it was looked for; None if there is none.
            now: The time (UTC).

        Raises:
            UnknownKey: Nothing is stored for the key, and there is no row.
            Stale: What is stored is too old, and the policy says not to answer with it.
            InvalidInput: The changes are no fields, or of features that weren't published.
        """
        published = None if stored is None else stored.features
        age_s = None if stored is None else age_s_of(stored.origin.as_of, now)
        max_age_s = self._policy.max_age_s if ask.max_age_s is None else ask.max_age_s
        is_other = stored is not None and stored.origin.version != self._version
        facts = Facts(
            age_s=age_s,
            max_age_s=max_age_s,
            features=self._features(ask, stored),
            has_published=published is not None,
            is_other_version=is_other,
        )
        use = decide(facts, self._policy)
        if use is Use.LIVE:
            return self._live(ask, stored, facts, now)
        if stored is None or age_s is None:
            raise _unknown(ask, snapshot)
        if use is Use.REFUSED:
            raise _stale(ask, age_s, max_age_s)
        fresh = use is Use.STORED
        why = "" if fresh else self._why_stale(facts)
        return self.stored(ask, stored, age_s, why=why, is_fresh=fresh)

    def settle_alone(
        self, ask: Ask, remembered: Stored | None, error: Exception, now: datetime
    ) -> Answer | Live:
        """Answer although the store doesn't: with a live prediction, or what is remembered.

        Args:
            ask: What is asked for.
            remembered: What the store last had for the key.
            error: Why it has nothing to say.
            now: The time (UTC).

        Raises:
            Exception: `error`: there is neither a row nor anything remembered that will do.
        """
        if ask.row is not None:
            row = self._changed(ask.row, ask.changes) if ask.changes else ask.row
            known = None if remembered is None else remembered.features
            return Live(ask, row, min(ask.row_as_of or now, now), UNAVAILABLE, known)
        if remembered is None or self._policy.on_stale == "refuse":
            raise error
        if ask.changes is None:
            age_s = age_s_of(remembered.origin.as_of, now)
            return self.stored(ask, remembered, age_s, why=UNAVAILABLE, is_fresh=False)
        if remembered.features is None:
            raise error
        row = self._changed(remembered.features, ask.changes)
        return Live(ask, row, remembered.origin.as_of, UNAVAILABLE, remembered.features)

    def stored(self, ask: Ask, stored: Stored, age_s: float, *, why: str, is_fresh: bool) -> Answer:
        """An answer out of the store."""
        origin = stored.origin
        return Answer(
            ask.key,
            shown(stored),
            origin.model,
            origin.version,
            origin.source,
            origin.as_of,
            max(age_s, 0.0),
            is_fresh,
            why,
            origin.run_id,
            stored.features if ask.features else None,
        )

    def predicted(self, live: Live, prediction: Any, now: datetime) -> Answer:
        """An answer of a row that was predicted now.

        Args:
            live: The row.
            prediction: What became of it; of several outputs, each by its name.
            now: The time (UTC).
        """
        ask, age_s = live.ask, age_s_of(live.as_of, now)
        max_age_s = self._policy.max_age_s if ask.max_age_s is None else ask.max_age_s
        return Answer(
            ask.key,
            prediction,
            self._model,
            self._version,
            "live",
            live.as_of,
            max(age_s, 0.0),
            is_fresh(age_s, max_age_s, self._policy.max_skew_s),
            live.why,
            features=live.features if ask.features else None,
        )

    def kept(self, answer: Answer, now: datetime) -> Stored:
        """An answer that was predicted now, as a store keeps it."""
        value = answer.prediction
        predictions = tuple(value.values()) if isinstance(value, dict) else (value,)
        origin = Origin(
            source="live",
            model=answer.model,
            version=answer.version,
            run_id="",
            as_of=answer.as_of,
            predicted_at=now,
            outputs=self._outputs,
        )
        return Stored(predictions, origin)

    def _features(self, ask: Ask, stored: Stored | None) -> Features:
        if ask.changes is not None:
            return Features.NEWER
        if ask.row is None:
            return Features.NONE
        if stored is None:
            return Features.NEWER
        if ask.row_as_of is not None and ask.row_as_of <= stored.origin.as_of:
            return Features.SAME
        if stored.features is None:
            return Features.NEWER
        is_same = self._check(ask.row) == self._check(stored.features)
        return Features.SAME if is_same else Features.NEWER

    def _live(self, ask: Ask, stored: Stored | None, facts: Facts, now: datetime) -> Live:
        """What is predicted now: of what was given, or else of what the batch had."""
        if ask.row is not None:
            row = self._changed(ask.row, ask.changes) if ask.changes else ask.row
            as_of = ask.row_as_of or now
            known = None if stored is None else stored.features
            return Live(ask, row, min(as_of, now), self._why_live(facts), known)
        if stored is None:
            raise UnknownKey(
                problem(_where(ask), "a key that is stored", "changes to one that isn't", SEND_ROW)
            )
        if stored.features is None:
            got = "a snapshot without features"
            raise InvalidInput(
                problem("changes", "the other features to be published", got, PUBLISH_FEATURES)
            )
        row = self._changed(stored.features, ask.changes or {})
        return Live(ask, row, stored.origin.as_of, self._why_live(facts), stored.features)

    @staticmethod
    def _changed(row: Row, changes: Mapping[str, Any]) -> Row:
        if not isinstance(row, Mapping):
            fix = "Send the row as an object by field name."
            raise InvalidInput(problem("changes", "a row by field name", "a list", fix))
        for name in changes:
            if name not in row:
                known = ", ".join(list(row)[:20])
                fix = "Send fields of the model."
                raise InvalidInput(problem(f"changes.{name}", f"one of {known}", "another", fix))
        return {**row, **changes}

    def _why_live(self, facts: Facts) -> str:
        if facts.features is Features.NEWER:
            return "unknown key" if facts.age_s is None else "newer features"
        return self._why_stale(facts)

    def _why_stale(self, facts: Facts) -> str:
        age_s = facts.age_s
        if age_s is None:
            return "unknown key"
        if is_fresh(age_s, facts.max_age_s, self._policy.max_skew_s):
            return "another version"
        return "stale" if age_s > facts.max_age_s else "out of the future"


def _where(ask: Ask) -> str:
    return f"key {str(ask.key)[:80]!r}"


def _unknown(ask: Ask, snapshot: Snapshot | None) -> UnknownKey:
    got = "one that isn't" if snapshot else "no snapshot at all"
    return UnknownKey(problem(_where(ask), "a key that is stored", got, SEND_ROW))


def _stale(ask: Ask, age_s: float, max_age_s: float) -> Stale:
    expected = f"a prediction of at most {max_age_s:g} s of age"
    got = f"one of {age_s:.0f} s"
    return Stale(problem(_where(ask), expected, got, SEND_ROW))

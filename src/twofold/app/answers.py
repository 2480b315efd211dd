"""Answers by key, as Python callers ask for them: stored while they are fresh, else live."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

from twofold.app.settings import read
from twofold.errors import StoreUnavailable, UnknownKey
from twofold.hybrid.ask import Answer, Ask, Asking, Live, Row
from twofold.hybrid.settings import AnswerSettings
from twofold.model.rows import RowCheck
from twofold.predictor.door import Predictor
from twofold.predictor.load import load
from twofold.stores.open import open_store
from twofold.stores.snapshot import Stored, key_of
from twofold.stores.store import Found, LocalReader, RemoteReader

__all__ = ["Answer", "Answers", "answers"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def answers(
    reference: str,
    *,
    registry: Path | str | None = None,
    store: Path | str | None = None,
    policy: AnswerSettings | None = None,
) -> Answers:
    """Open what the last batch run left, and the model that predicts what it didn't.

    Args:
        reference: `churn` (alias champion, else the newest), `churn@3` or `churn:canary`.
        registry: The registry's folder; by default the settings' (`./registry`).
        store: Where the snapshots are; by default the settings' (`./store`).
        policy: When a stored prediction is an answer; by default as the settings say.

    Returns:
        What answers by key, until it is closed.

    Raises:
        UnknownModel: No such model, version or alias.
        StoreUnavailable: The store can't be read.
        ConfigError: There is no such kind of store, or what it needs isn't installed.
    """
    settings = read()
    policy = policy or settings.answers
    predictor = load(reference, registry=registry or settings.registry)
    opened = open_store(str(store or settings.general.store), timeout_s=policy.store_timeout_s)
    return Answers(predictor, opened.reader(predictor.name), policy)


class Answers:
    """Answers of one model by key. May be used as a context, which closes the store."""

    def __init__(
        self,
        predictor: Predictor,
        reader: LocalReader | RemoteReader,
        policy: AnswerSettings,
        *,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Answer from a store, and from a model.

        Args:
            predictor: The model.
            reader: The store, opened for it.
            policy: When a stored prediction is an answer.
            clock: The time (UTC).
        """
        self._predictor = predictor
        self._reader = reader
        self._clock = clock
        self._loop: _Loop | None = None
        names = predictor.output.names
        check = RowCheck(predictor.signature)
        self._asking = Asking(predictor.name, predictor.version, names, check, policy)
        # What is mapped is looked up without a detour.
        self._find_one: Callable[[bytes], Stored | None] | None = getattr(reader, "find_one", None)
        if self._asking.wants_others:
            self._find_one = None  # it doesn't look for features

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def get(  # noqa: PLR0913 - what may be asked for, named
        self,
        key: str | int,
        *,
        max_age_s: float | None = None,
        row: Row | None = None,
        changes: Mapping[str, Any] | None = None,
        row_as_of: datetime | None = None,
        keep: bool = False,
        features: bool = False,
    ) -> Answer:
        """Answer for one key.

        Args:
            key: As it stands in the batch's key column.
            max_age_s: Up to which age a stored prediction will do; by default as the policy says.
            row: The row as it is now, if it is known: without it only what is stored can answer.
            changes: Fields that have other values now than in the batch, whose features were
                published.
            row_as_of: When `row` was true (aware): if not after the batch's, it isn't newer.
            keep: Keep a live prediction in the store, for all, until the next switch.
            features: Give the features that the batch had, too, if they were published.

        Raises:
            UnknownKey: Nothing is stored for the key, and there is no row.
            Stale: What is stored is too old, and the policy is to refuse it.
            InvalidInput: The row doesn't fit the signature.
            PredictionFailed: The model failed.
            StoreUnavailable: The store doesn't answer, and there is no row.
        """
        ask = Ask(key, max_age_s, row, changes, row_as_of, keep, features)
        if self._find_one is not None and not ask.wants_features:
            stored = self._find_one(key_of(key))
            if stored is not None:
                return self._predicted(self._asking.settle(ask, stored, None, self._clock()))
        try:
            found = self._find([ask])
        except StoreUnavailable as error:
            return self._predicted(self._asking.settle_alone(ask, None, error, self._clock()))
        return self._answer(ask, found, 0)

    def get_many(
        self, keys: Iterable[str | int], *, max_age_s: float | None = None
    ) -> list[Answer | None]:
        """Answer for many keys, all from one snapshot; None where nothing is stored.

        Args:
            keys: As they stand in the batch's key column.
            max_age_s: See `get`.

        Raises:
            Stale: One is too old, and the policy is to refuse it.
            StoreUnavailable: The store doesn't answer.
        """
        asks = [Ask(key, max_age_s) for key in keys]
        found = self._find(asks)
        every: list[Answer | None] = []
        for at, ask in enumerate(asks):
            try:
                every.append(self._answer(ask, found, at))
            except UnknownKey:
                every.append(None)
        return every

    def close(self) -> None:
        """Let go of the store."""
        self._wait(self._reader.close())
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _find(self, asks: Sequence[Ask]) -> Found:
        keys = [key_of(ask.key) for ask in asks]
        with_features = any(self._asking.wants_features(ask) for ask in asks)
        return self._wait(self._reader.find(keys, with_features=with_features))

    def _answer(self, ask: Ask, found: Found, at: int) -> Answer:
        snapshot, stored = found.snapshot, found.stored[at]
        settled = self._asking.settle(ask, stored, snapshot, self._clock())
        answer = self._predicted(settled)
        if isinstance(settled, Live) and ask.keep and snapshot is not None:
            kept = self._asking.kept(answer, self._clock())
            with contextlib.suppress(StoreUnavailable):  # the answer is right all the same
                self._wait(self._reader.keep(key_of(ask.key), kept, snapshot))
        return answer

    def _predicted(self, settled: Answer | Live) -> Answer:
        if isinstance(settled, Answer):
            return settled
        prediction = self._predictor.predict_one(settled.row)
        return self._asking.predicted(settled, prediction, self._clock())

    def _wait(self, result: Any) -> Any:
        """The result of a reader, which may have to be waited for."""
        if not inspect.isawaitable(result):
            return result
        if self._loop is None:
            self._loop = _Loop()
        return self._loop.run(cast("Any", result))


class _Loop:
    """An event loop in a thread of its own: the caller may be in another one, as in a notebook."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

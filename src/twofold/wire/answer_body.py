"""The body of an answer by key, and how it is counted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from twofold.errors import DeadlineExceeded, InvalidInput, Refused, StoreUnavailable, UnknownKey
from twofold.hybrid.ask import Answer, Ask
from twofold.serving.metrics import Answered
from twofold.stores.snapshot import Origin
from twofold.wire.statuses import WireError, code_of, told

RELAYED = {500: Answered.FAILED, 503: Answered.REFUSED, 504: Answered.REFUSED}
"""How what `/predict` refused is counted, by its status."""
REFUSALS: tuple[tuple[type[Any], Answered], ...] = (
    (UnknownKey, Answered.UNKNOWN),
    (Refused, Answered.REFUSED),
    (DeadlineExceeded, Answered.REFUSED),
    (StoreUnavailable, Answered.REFUSED),
    (InvalidInput, Answered.INVALID),
    (WireError, Answered.INVALID),
)
"""How errors are counted; the first class that fits counts."""

encode = msgspec.json.Encoder().encode


class Shown(msgspec.Struct, omit_defaults=True):
    """An answer as it is sent; `docs/hybrid.md` says what it means."""

    key: str | int
    prediction: Any
    model: str
    version: str
    source: str
    as_of: datetime
    age_s: float
    fresh: bool
    why: str = ""
    run_id: str = ""
    features: Mapping[str, Any] | None = None


class Relayed(Exception):
    """What `/predict` refused, as it said it."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        """Keep it."""
        super().__init__(body.get("error", ""))
        self.status = status
        self.code = body.get("code", "internal")


def shown_age_s(age_us: int) -> float:
    """An age in seconds, to the millisecond that is over; of microseconds, as these are exact."""
    return age_us // 1000 / 1000


def answer_body(answer: Answer) -> bytes:
    """An answer as it is sent."""
    return encode(
        Shown(
            answer.key,
            answer.prediction,
            answer.model,
            answer.version,
            answer.source,
            answer.as_of,
            shown_age_s(round(answer.age_s * 1_000_000)),
            answer.is_fresh,
            answer.why,
            answer.run_id,
            answer.features,
        )
    )


def around(origin: Origin) -> tuple[bytes, bytes]:
    """What stands before and behind the age in the answer of a fresh prediction."""
    shown = Shown(
        "", None, origin.model, origin.version, origin.source, origin.as_of, 0.0, fresh=True,
        run_id=origin.run_id,
    )  # fmt: skip
    before, _, after = encode(shown).partition(b'"age_s":0.0')
    return before.partition(b'"prediction":null')[2] + b'"age_s":', after


def answered_as(item: Answer | Exception) -> Answered:
    """How an answer is counted."""
    if isinstance(item, Answer):
        if item.source == "live":
            return Answered.LIVE
        return Answered.STORED if item.is_fresh else Answered.STALE
    if isinstance(item, Relayed):
        return RELAYED.get(item.status, Answered.INVALID)
    return next((answer for kind, answer in REFUSALS if isinstance(item, kind)), Answered.FAILED)


def failed_body(ask: Ask, error: Exception) -> bytes:
    """A key of several that has no answer."""
    code = error.code if isinstance(error, Relayed) else code_of(error)
    return encode({"key": ask.key, "error": told(error), "code": code})

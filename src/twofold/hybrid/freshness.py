"""Whether a stored prediction is the answer, or a live one. Values only; `decide` is the table.

====================== ==================== ======================= ==============================
stored prediction      features in request  on_other_version        answer
====================== ==================== ======================= ==============================
none                   none                                         unknown key: an error
none                   a row                                        live
any                    newer ones                                   live
fresh, same version    none, or the same                            stored, fresh
fresh, other version   none, or the same    stored                  stored, fresh
fresh, other version   none, or the same    live                    live if there are features,
                                                                    else as if stale
stale                  the same                                     live
stale                  none                                         stored, not fresh; or an error
                                                                    if on_stale is refuse
====================== ==================== ======================= ==============================

Newer features are those of which it isn't known that the batch had them already. Features are
also there, for another version to predict from, if they were published beside the prediction.
"""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from twofold.hybrid.settings import AnswerSettings


class Features(enum.Enum):
    """The features that a request has for a key."""

    NONE = "none"
    SAME = "the same as the batch had"
    NEWER = "newer than the batch had"


class Use(enum.Enum):
    """What an answer is made of."""

    STORED = "stored"
    LIVE = "live"
    STALE = "stale"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Facts(msgspec.Struct, frozen=True):
    """What is known when an answer is due.

    Attributes:
        age_s: Of the stored prediction: seconds since its input was true, negative if that is in
            the future; None if there is no prediction for the key.
        max_age_s: Up to which it is fresh.
        features: What the request has.
        has_published: Whether the batch's features lie beside the prediction.
        is_other_version: Whether another version predicted it than the one that serves.
    """

    age_s: float | None
    max_age_s: float
    features: Features = Features.NONE
    has_published: bool = False
    is_other_version: bool = False


def age_s_of(as_of: datetime, now: datetime) -> float:
    """Seconds since an instant, by the clock on the wall; negative if it is to come."""
    return (now - as_of).total_seconds()


def is_fresh(age_s: float, max_age_s: float, max_skew_s: float) -> bool:
    """Whether a prediction of that age is fresh: not too old, nor out of the future."""
    return -max_skew_s <= age_s <= max_age_s


def decide(facts: Facts, policy: AnswerSettings) -> Use:
    """Decide what an answer is made of: the table of this module."""
    given = facts.features
    if facts.age_s is None:
        return Use.UNKNOWN if given is Features.NONE else Use.LIVE
    if given is Features.NEWER:
        return Use.LIVE
    if is_fresh(facts.age_s, facts.max_age_s, policy.max_skew_s):
        if not facts.is_other_version or policy.on_other_version == "stored":
            return Use.STORED
        if given is Features.SAME or facts.has_published:
            return Use.LIVE
    elif given is Features.SAME:
        return Use.LIVE
    return Use.REFUSED if policy.on_stale == "refuse" else Use.STALE

"""Fresh stored predictions, answered from the bytes of a key: what the desk asks for.

It gives the very bytes that `answers` gives for them, and leaves all else to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twofold.hybrid.ask import Asking
from twofold.hybrid.settings import AnswerSettings
from twofold.serving.metrics import Answered
from twofold.serving.service import Health, Served, Service
from twofold.stores.snapshot import Origin
from twofold.stores.store import LocalReader
from twofold.wire.answer_body import around, encode


def stored_bodies(
    reader: LocalReader,
    asking: Asking,
    policy: AnswerSettings,
    *,
    service: Service,
    served: Served,
) -> Callable[[bytes], bytes | None]:
    """Make what gives the body of the answer for a key; None if it isn't simply what is stored.

    Args:
        reader: The store.
        asking: Shows predictions.
        policy: When they are fresh.
        service: Where they are counted.
        served: The version that serves.
    """
    find = reader.find_one
    add, shown = service.metrics.add, asking.shown
    is_single = len(served.output.names) == 1
    stored_slot, live_slot = (
        served.answer_slots[Answered.STORED],
        served.answer_slots[Answered.LIVE],
    )
    version = served.version if policy.on_other_version == "live" else None
    max_age_ms, now_s = policy.max_age_s * 1000, time.time
    known: Origin | None = None
    as_of_s, slot, last_ms = 0.0, stored_slot, -1
    before = behind = after = b""

    def answer(key: bytes) -> bytes | None:
        nonlocal known, as_of_s, slot, before, last_ms, behind, after
        stored = find(key)
        if stored is None or service.health is Health.DRAINING:
            return None
        origin = stored.origin
        if origin is not known:
            if version is not None and origin.version != version:
                return None
            as_of_s, (before, after) = origin.as_of.timestamp(), around(origin)
            slot = stored_slot if origin.source == "batch" else live_slot
            known, last_ms = origin, -1
        age_ms = int((now_s() - as_of_s) * 1000)
        if age_ms != last_ms:
            if not 0 <= age_ms <= max_age_ms:
                return None
            last_ms, behind = age_ms, before + encode(age_ms / 1000) + after
        add(slot)
        given = stored.predictions
        prediction = encode(given[0] if is_single else shown(given))
        if key.isalnum():
            return b'{"key":"%b","prediction":%b%b' % (key, prediction, behind)
        return b'{"key":%b,"prediction":%b%b' % (encode(key.decode()), prediction, behind)

    return answer

"""Fresh stored predictions, answered from the bytes of a key: what the desk asks for.

It gives the very bytes that `answers` gives for them, and leaves all else to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twofold.hybrid.ask import shown
from twofold.hybrid.settings import AnswerSettings
from twofold.serving.metrics import Answered
from twofold.serving.service import Health, Served, Service
from twofold.stores.snapshot import Origin
from twofold.stores.store import LocalReader
from twofold.stores.values import to_micros
from twofold.wire.answer_body import around, encode, shown_age_s


def stored_bodies(
    reader: LocalReader,
    policy: AnswerSettings,
    *,
    service: Service,
    served: Served,
    clock_ns: Callable[[], int] = time.time_ns,
) -> Callable[[bytes], bytes | None]:
    """Make what gives the body of the answer for a key; None if it isn't simply what is stored.

    Args:
        reader: The store.
        policy: When they are fresh.
        service: Where they are counted.
        served: The version that serves.
        clock_ns: The time, in nanoseconds since 1970.
    """
    find = reader.find_one
    add, is_single = service.metrics.add, True
    stored_slot, live_slot = (
        served.answer_slots[Answered.STORED],
        served.answer_slots[Answered.LIVE],
    )
    version = served.version if policy.on_other_version == "live" else None
    max_age_us = _most_us(policy.max_age_s)
    known: Origin | None = None
    as_of_us, slot, last_ms = 0, stored_slot, -1
    before = behind = after = b""

    def answer(key: bytes) -> bytes | None:
        nonlocal known, is_single, as_of_us, slot, before, last_ms, behind, after
        stored = find(key)
        if stored is None or service.health is Health.DRAINING:
            return None
        origin = stored.origin
        if origin is not known:
            if version is not None and origin.version != version:
                return None
            as_of_us, (before, after) = to_micros(origin.as_of), around(origin)
            slot = live_slot if origin.source == "live" else stored_slot
            known, last_ms, is_single = origin, -1, len(origin.outputs) == 1
        age_us = clock_ns() // 1000 - as_of_us
        # What lies in the future may be fresh, too; that is rare, and left to others.
        if not 0 <= age_us <= max_age_us:
            return None
        age_ms = age_us // 1000
        if age_ms != last_ms:
            last_ms, behind = age_ms, before + encode(shown_age_s(age_us)) + after
        prediction = encode(stored.predictions[0] if is_single else shown(stored))
        add(slot)
        if key.isalnum():
            return b'{"key":"%b","prediction":%b%b' % (key, prediction, behind)
        return b'{"key":%b,"prediction":%b%b' % (encode(key.decode()), prediction, behind)

    return answer


def _most_us(age_s: float) -> int:
    """The greatest whole number of microseconds that is at most so many seconds."""
    most_us = int(age_s * 1_000_000) + 1
    while most_us / 1_000_000 > age_s:
        most_us -= 1
    return most_us

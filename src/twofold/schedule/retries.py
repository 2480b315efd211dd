"""Whether another attempt at a run makes sense, and when."""

from __future__ import annotations

import enum
import hashlib

MAX_DELAY_S = 3600.0


class Verdict(enum.StrEnum):
    """What an exit code of `twofold batch run` says about another attempt."""

    DONE = "done"
    GIVE_UP = "give up"
    RETRY = "retry"
    LOOK_AGAIN = "look again"


VERDICTS = {
    0: Verdict.DONE,
    1: Verdict.RETRY,  # the input isn't there yet, the disk is full
    2: Verdict.GIVE_UP,  # wrong usage stays wrong
    3: Verdict.GIVE_UP,  # the same rows would be set aside again
    4: Verdict.RETRY,  # the same run id again settles whether it is committed
    5: Verdict.LOOK_AGAIN,  # it is at work elsewhere
}


def verdict_on(exit_code: int) -> Verdict:
    """Judge an exit code; a run that was killed, as for want of memory, is tried again."""
    return VERDICTS.get(exit_code, Verdict.RETRY)


def delay_s(run_id: str, failures: int, retry_delay_s: float) -> float:
    """Seconds from a failure, the first or a further one, to the next attempt.

    Doubled with each failure up to an hour, less up to half: what failed together is not tried
    again together.
    """
    longest_s = max(MAX_DELAY_S, retry_delay_s)
    # Beyond so many doublings it is the longest in any case, and floats have an end.
    full_s = min(longest_s, retry_delay_s * 2.0 ** min(failures - 1, 64))
    return full_s * (1.0 - share(f"{run_id} {failures}") / 2.0)


def share(text: str) -> float:
    """A number from 0 up to 1 that looks like chance and is always the same for one text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2.0**48

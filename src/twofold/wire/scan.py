"""Plain requests, recognised natively: `src/wire` has the code, and says what is plain."""

from __future__ import annotations

from collections.abc import Callable

from twofold.serving.native import native
from twofold.wire.http import DEFAULT, KEEP_ALIVE, Limits, Request


def scanner(limits: Limits) -> Callable[[bytes, float], Request | None]:
    """Make the quick way through plain requests.

    Args:
        limits: How large a request may be.

    Returns:
        Called with the bytes that came while a connection's parser was idle, and when they came
        (monotonic seconds): their request, if they are one whole plain request and nothing more.
        It is the one that the parser would give, which needn't see those bytes then. None says
        nothing about them: the parser has to. It never raises, whatever the bytes.
    """
    built = native()
    if built is None:
        return _none_is_plain
    made = built.Scanner(
        Request,
        DEFAULT,
        KEEP_ALIVE,
        limits.max_header_bytes,
        limits.max_url_bytes,
        limits.max_body_bytes,
    )
    scan: Callable[[bytes, float], Request | None] = made.scan
    return scan


def _none_is_plain(_data: bytes, _now_s: float) -> None:
    return None

"""The common infer request, answered natively from its bytes to those of its answer.

It is the plain request for one row of a model that is predicted as soon as the row is read, by a
caller who asks for nothing special. Programs that ask write all but the row alike, again and again:
a protocol's reader tells once what that is (`call.Form`), and it is recognised by its bytes from
then on. `src/wire/desk.c` takes such requests through the same steps as `connection`, `routes` and
`infer` do, without the interpreter between them; whatever is not of that kind, or goes wrong,
begins again there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twofold.serving.native import native
from twofold.wire.call import Form
from twofold.wire.http import Request

Slots = tuple[int, int, int, int, int, int]
"""Where an answer is counted: responses, requests, rows, duration, queue, predict."""
Common = tuple[
    bytes, Callable[[bytes, bytes | None], Form | None], Callable[[Any], float | None], Slots, int
]
"""What a target has: itself, `Reader.form`, the kernel's own way, the slots, the largest body."""


class Desk(Protocol):
    """What `twofold._wire.Desk` has."""

    def take(self, data: bytes, now_s: float, /) -> bytes | Request | None:
        """The answer's bytes; else the request, if it is plain; else None."""
        ...

    def set_date(self, line: bytes, /) -> None:
        """Send this Date header line."""
        ...


def make_desk(
    scan: Callable[..., Any], tally: Any, clock: Callable[[], float], common: Iterable[Common]
) -> Desk | None:
    """Make the desk of a worker; None where it wasn't built, or there is nothing for it to do.

    Args:
        scan: `twofold.wire.scan.scanner`'s.
        tally: Where answers are counted; None where it wasn't built.
        clock: Monotonic seconds.
        common: The targets it answers.
    """
    built, scanner = native(), getattr(scan, "__self__", None)
    targets = list(common)
    if built is None or tally is None or not isinstance(scanner, built.Scanner) or not targets:
        return None
    desk = built.Desk(scanner, tally, clock)
    for item in targets:
        desk.add(*item)
    return desk

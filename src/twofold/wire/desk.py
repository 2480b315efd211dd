"""The common infer request, answered natively from its bytes to those of its answer.

It is the plain request of a caller who asks for nothing special: for one row of a model that is
predicted as soon as the row is read, or to be refused like the one before it. Programs write all
but the row alike, again and again: a protocol's reader tells once what that is (`call.Form`), and
it is recognised by its bytes from then on. `src/wire/desk.c` takes such requests through the same
steps as `connection`, `routes` and `infer` do, without the interpreter between them; whatever is
not of that kind, or goes wrong, begins again there. So it is with GET for a key of which a fresh
prediction is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from twofold.serving.native import Gate, native
from twofold.wire.call import Form
from twofold.wire.http import Request


class Deadline(NamedTuple):
    """How long a request may take, of which a late event loop uses up a part.

    Attributes:
        lag_s: How late it is at an instant, monotonic seconds.
        allowed_s: What a request may take that doesn't say so itself.
        share: With `guard_s`, up to what part of that the loop may be late: see
            `twofold.serving.admission.refused_ratio`.
        guard_s: See there.
    """

    lag_s: Callable[[float], float]
    allowed_s: float
    share: float
    guard_s: float


class Common(NamedTuple):
    """What the desk needs for the common requests to a target.

    Attributes:
        target: The target.
        form: `Reader.form`; None if they aren't answered natively.
        quick: The kernel's own way; None in the same case.
        gate: Closed while they are refused, or those for which the loop is too late, if there is
            `quick`; None if they never are.
        deadline: How long they may take.
        answered: Where an answer is counted: responses, requests, rows, duration, queue, predict.
        refused: Where a refusal is counted: responses, requests, duration.
        max_body_bytes: Requests with larger bodies are none of them.
    """

    target: bytes
    form: Callable[[bytes, bytes | None], Form | None] | None
    quick: Callable[[Any], float | None] | None
    gate: Gate | None
    deadline: Deadline
    answered: tuple[int, int, int, int, int, int]
    refused: tuple[int, int, int]
    max_body_bytes: int


class Keyed(NamedTuple):
    """What the desk needs for GET requests for a key.

    Attributes:
        before: What comes before the key in the target.
        find: Gives the body of the answer for the bytes of a key; None if it isn't answered here.
            It counts the answer, but for the response.
        response: Where responses are counted.
    """

    before: bytes
    find: Callable[[bytes], bytes | None]
    response: int


class Desk(Protocol):
    """What `twofold._wire.Desk` has."""

    def take(self, data: bytes, now_s: float, /) -> bytes | Request | None:
        """The bytes of the answer or refusal; else the request, if it is plain; else None."""
        ...

    def set_date(self, line: bytes, /) -> None:
        """Send this Date header line."""
        ...


def make_desk(
    scan: Callable[..., Any],
    tally: Any,
    clock: Callable[[], float],
    common: Iterable[Common],
    keyed: Iterable[Keyed] = (),
) -> Desk | None:
    """Make the desk of a worker; None where it wasn't built, or there is nothing for it to do.

    Args:
        scan: `twofold.wire.scan.scanner`'s.
        tally: Where answers are counted; None where it wasn't built.
        clock: Monotonic seconds.
        common: The targets it answers.
        keyed: What it answers by key.
    """
    built, scanner = native(), getattr(scan, "__self__", None)
    targets, stored = list(common), list(keyed)
    if built is None or tally is None or not isinstance(scanner, built.Scanner):
        return None
    if not targets and not stored:
        return None
    desk = built.Desk(scanner, tally, clock)
    for item in targets:
        desk.add(*item)
    for item in stored:
        desk.add_keyed(*item)
    return desk

"""Whether a request is admitted: only if its turn comes before its deadline.

Work that will miss its deadline spends time that a request with a chance could have used, so it
is shed while shedding is still cheap: from its headers, before its body is looked at. A pure
decision; who waits, and for how long the model has been busy, comes in.
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.serving.priority import Priority

SHARES: dict[Priority, float] = {
    Priority.INTERACTIVE: 0.9,
    Priority.NORMAL: 0.8,
    Priority.BACKGROUND: 0.4,
}
"""How much of the time to its deadline a request of each class may be expected to wait: the
lower the class, the earlier it gives way."""
GUARD_S = 0.002
"""What the answer needs after the model has predicted: encoding, the network, the client."""
MIN_RETRY_S, MAX_RETRY_S = 1, 30


@dataclass(frozen=True)
class Load:
    """What a request would have to wait for.

    Attributes:
        lag_s: How late the event loop is.
        ahead_s: Predicted time of what is being predicted and of what waits before it.
        own_s: Predicted time of its own rows.
        margin: How much longer than predicted it may take.
    """

    lag_s: float
    ahead_s: float
    own_s: float
    margin: float

    @property
    def expected_s(self) -> float:
        """Seconds until its answer."""
        return self.lag_s + self.margin * (self.ahead_s + self.own_s)


def admits(load: Load, priority: Priority, left_s: float) -> bool:
    """Whether a request with `left_s` seconds to its deadline is admitted.

    An idle model admits everything: if even that were refused, nothing would ever be learnt.
    """
    if load.ahead_s == 0.0 and load.lag_s <= GUARD_S:
        return True
    return load.expected_s <= SHARES[priority] * left_s - GUARD_S


def refused_ratio(lag_s: float, priority: Priority, allowed_s: float) -> float:
    """The share of requests to refuse of those that are predicted as soon as they are read.

    The event loop is their queue, first come, first served. If all were admitted until it is too
    late, and all refused from then on, turns of nothing but refusals would follow until the loop
    has caught up. So the share that is refused grows with the lag, from none at half of the most to
    all: it settles where what is left can be done. That is random early detection (S. Floyd, V.
    Jacobson, 1993).

    Args:
        lag_s: How late the loop is, seconds.
        priority: The class of the request.
        allowed_s: What it may take, seconds.

    Returns:
        From 0 to 1.
    """
    if lag_s <= GUARD_S:
        return 0.0
    half_s = (SHARES[priority] * allowed_s - GUARD_S) / 2
    return min(1.0, max(0.0, lag_s / half_s - 1.0)) if half_s > 0.0 else 1.0


def retry_after_s(expected_s: float, chance: float) -> int:
    """Whole seconds after which a refused client may try again.

    Args:
        expected_s: How long the queue is, in time.
        chance: From 0 to 1, at random: clients refused together must not come back together.
    """
    return min(max(MIN_RETRY_S, round(expected_s + chance * 2.0)), MAX_RETRY_S)

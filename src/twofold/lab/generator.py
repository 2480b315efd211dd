"""Loading a server from one process or several, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twofold.lab.arrivals import Profile
from twofold.lab.loaded import Loaded

Address = tuple[str, int] | str
"""Where a server listens: a numeric IP address and a port, or the path of a Unix socket."""


@dataclass(frozen=True)
class Target:
    """What is asked, and where.

    Attributes:
        address: A numeric IPv4 or IPv6 address and a port, or the path of a Unix socket.
        requests: Whole HTTP/1.1 requests, used in turn.
        expect: What the body of every good answer has in it; any body if empty.
    """

    address: Address
    requests: Sequence[bytes]
    expect: bytes = b""


def run_open(
    target: Target,
    dues: Profile | Any,
    *,
    deadline_s: float,
    timeout_s: float,
    warm_up_s: float,
    connections: int = 256,
    processes: int = 1,
) -> Loaded:
    """Send requests at fixed instants, whatever the server does."""
    raise NotImplementedError


def run_closed(
    target: Target,
    *,
    connections: int,
    seconds: float,
    warm_up_s: float,
    deadline_s: float,
    timeout_s: float,
    processes: int = 1,
) -> Loaded:
    """Have each connection ask again as soon as it is answered."""
    raise NotImplementedError

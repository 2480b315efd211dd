"""What a process of the generator is told to do, and what it tells: values for pipes."""

from __future__ import annotations

import functools
import importlib
import struct
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from twofold.errors import ConfigError
from twofold.lab.arrivals import MAX_REQUESTS, Profile
from twofold.lab.outcomes import PackedTally

LENGTH = struct.Struct("<Q")
"""What stands before each message in a pipe."""
MAX_CLOSED_PER_S = 200_000
"""Of a process; more memory than for this is never taken for a closed loop."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a load that one process has.

    Attributes:
        host: A numeric IP address, or the path of a Unix socket.
        port: 0 for a socket.
        requests: Whole requests.
        expect: What good answers have in them.
        profile: When requests are due, of all processes; or
        dues_s: the same of this one, as float64; or neither, for a closed loop.
        part: Which process this is, from 0.
        of_parts: How many there are.
        edges_s: See `twofold.lab.outcomes.tallied`.
        deadline_s: Likewise.
        timeout_s: When an unanswered request is given up.
        connections: Most connections at a time; in a closed loop, as many.
    """

    host: str
    port: int
    requests: list[bytes]
    expect: bytes
    profile: Profile | None
    dues_s: bytes | None
    part: int
    of_parts: int
    edges_s: list[float]
    deadline_s: float
    timeout_s: float
    connections: int

    @property
    def is_closed(self) -> bool:
        """Whether each connection asks again when it is answered."""
        return self.profile is None and self.dues_s is None

    def dues(self) -> Any:
        """The instants of this process; of a closed loop, room for as many as there may be."""
        if self.profile is not None:
            return np.ascontiguousarray(self.profile.dues()[self.part :: self.of_parts])
        if self.dues_s is not None:
            return np.frombuffer(bytearray(self.dues_s), np.float64)
        # Memory that isn't touched isn't taken.
        return np.zeros(min(int(self.edges_s[-1] * MAX_CLOSED_PER_S) + 1, MAX_REQUESTS))

    def which(self, count: int) -> Any:
        """The request of each instant: all processes together use them in turn."""
        if self.is_closed:
            return None
        turns = np.arange(count, dtype=np.int64) * self.of_parts + self.part
        return (turns % len(self.requests)).astype(np.uint32)

    def requests_in_turn(self) -> list[bytes]:
        """The requests; in a closed loop each process begins elsewhere."""
        if not self.is_closed:
            return self.requests
        first = self.part * len(self.requests) // self.of_parts
        return self.requests[first:] + self.requests[:first]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a process has found.

    Attributes:
        tallies: One a stretch.
        busy_ratio: CPU time used, of the time that passed.
        resent: Requests that were sent once more.
        stopped_s: When it was told to end before its time; else None.
        is_full: A closed loop had no room for more.
        problem: Why there is nothing of this; else "".
    """

    tallies: list[PackedTally]
    busy_ratio: float
    resent: int
    stopped_s: float | None
    is_full: bool
    problem: str = ""


@functools.cache
def native() -> Any:
    """The extension module `twofold._load`.

    Raises:
        ConfigError: It isn't there.
    """
    try:
        return importlib.import_module("twofold._load")
    except ImportError as error:
        raise ConfigError(
            "lab load: expected the native load generator, got none. It is built when twofold is "
            "installed on Linux with a C compiler: install one (such as the package gcc), then "
            "twofold again."
        ) from error


def split_evenly(total: int, parts: int) -> list[int]:
    """So many things for each of several processes."""
    edges = [total * at // parts for at in range(parts + 1)]
    return [end - begin for begin, end in pairwise(edges)]

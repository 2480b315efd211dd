"""One client that sends its next request when it has the answer to the one before."""

from __future__ import annotations

import itertools
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from twofold.errors import TwofoldError, problem
from twofold.lab.parts import stages_of
from twofold.lab.requests import with_header

TIMEOUT_S = 10.0
READ_BYTES = 65_536
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
TIMING = ("X-Twofold-Timing", "1")
MAX_CALLS = 200_000
MIN_CALLS = 20
"""However slow they are, up to their limit in time."""


def timed(calls: Iterator[Callable[[], object]], *, seconds: float, warm_up: int) -> list[float]:
    """Make calls for a while and give what each took; the first ones don't count.

    Args:
        calls: What is called, one after the other.
        seconds: For how long; ten times that if they are slow, until there are a few.
        warm_up: How many don't count: fewer if they take longer than that, but one.
    """
    began_s = time.perf_counter()
    for _ in range(warm_up):
        next(calls)()
        if time.perf_counter() - began_s >= seconds:
            break
    times_s: list[float] = []
    began_s = time.perf_counter()
    while len(times_s) < MAX_CALLS:
        call = next(calls)
        start_s = time.perf_counter()
        call()
        now_s = time.perf_counter()
        times_s.append(now_s - start_s)
        if now_s - began_s >= seconds * (1 if len(times_s) >= MIN_CALLS else 10):
            break
    return times_s


def ask_alone(
    address: tuple[str, int], requests: Sequence[bytes], *, seconds: float, warm_up: int
) -> tuple[list[float], int]:
    """Ask a server, from Python, whose own part is in what is measured.

    Returns:
        What each answer took; how many there were, with those that don't count.
    """
    answers = 0

    def ask(client: socket.socket, blob: bytes) -> None:
        nonlocal answers
        exchange(client, blob)
        answers += 1

    with socket.create_connection(address, TIMEOUT_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        calls = (lambda blob=blob: ask(client, blob) for blob in itertools.cycle(requests))
        return timed(iter(calls), seconds=seconds, warm_up=warm_up), answers


def ask_for_stages(
    address: tuple[str, int], requests: Sequence[bytes], *, seconds: float, warm_up: int
) -> list[Mapping[str, float]]:
    """Ask a server for its own times; see `twofold.wire.stages`."""
    asking = [with_header(request, TIMING) for request in requests]
    told: list[Mapping[str, float]] = []

    def ask(client: socket.socket, blob: bytes) -> None:
        stages = stages_of(exchange(client, blob))
        if stages is not None:
            told.append(stages)

    with socket.create_connection(address, TIMEOUT_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        calls = (lambda blob=blob: ask(client, blob) for blob in itertools.cycle(asking))
        times_s = timed(iter(calls), seconds=seconds, warm_up=warm_up)
    return told[-len(times_s) :]


def exchange(client: socket.socket, blob: bytes) -> bytes:
    """Send one request and read its answer.

    Returns:
        The answer's status line and headers.

    Raises:
        TwofoldError: It isn't the answer that was asked for.
        OSError: The connection failed.
    """
    client.sendall(blob)
    data = b""
    while True:
        piece = client.recv(READ_BYTES)
        data += piece
        head, found, body = data.partition(b"\r\n\r\n")
        length = LENGTH.search(head) if found else None
        if length is not None and len(body) >= int(length[1]):
            break
        if not piece or (found and length is None):
            raise _wrong(data)
    if not head.startswith(b"HTTP/1.1 200"):
        raise _wrong(data)
    return head


def _wrong(data: bytes) -> TwofoldError:
    got = data[:300].decode("utf-8", "replace") or "a closed connection"
    fix = "Look at the rows of INPUT, and at the model."
    return TwofoldError(problem("server", "an answer to a row of INPUT", got, fix))

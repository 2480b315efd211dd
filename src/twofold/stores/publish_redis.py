"""Publish snapshots to Redis: take the right to, write, look, move the pointer, delete."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import msgspec

from twofold.errors import (
    CommitUnknown,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
    TwofoldError,
    problem,
)
from twofold.stores.redis_layout import (
    BEGIN,
    LEFT,
    POINT,
    READ_BACK,
    RELEASE,
    RENEW,
    SETTLE,
    TAKE,
    Buckets,
    Command,
    Group,
    Names,
    Window,
    mark_of,
    not_ours,
    windows,
)
from twofold.stores.snapshot import (
    Pointer,
    Snapshot,
    Stored,
    decode_pointer,
    encode_pointer,
)
from twofold.stores.store import Rows
from twofold.stores.values import Origins, decode_value

RENEWALS = 4
"""In the time of a lease."""
MAX_COMMANDS = 2_000
"""That are sent before the answers are read."""
MAX_CHUNK_BYTES = 4 << 20
SETTLE_ATTEMPTS = 5
SETTLE_WAIT_S = 0.5
"""How often it is asked what came of a move, and how long is waited in between."""
SHOWN_BYTES = 80

T = TypeVar("T")


class Server(Protocol):
    """A connection to a Redis server or a cluster."""

    address: str

    def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, and give the answers in their order.

        Some may have been carried out if it fails; in a cluster, some twice.

        Raises:
            StoreUnavailable: No answer came, or it was a refusal.
        """
        ...


class Lock:
    """The right to publish, renewed by a thread for as long as it is wanted.

    Attributes:
        token: Tells its holder from others.
    """

    def __init__(self, server: Server, model: str, lease_s: float) -> None:
        """Don't take it yet."""
        self.token = secrets.token_hex(16)
        self._server = server
        self._where = f"{server.address} {model}"
        self._key = Names(model).lock
        self._pointer_key = Names(model).pointer
        self.lease_ms = max(1, int(lease_s * 1000))
        self._lease_s = lease_s
        self._until_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="twofold-lock", daemon=True)

    def take(self) -> bytes:
        """Take it.

        Returns:
            The pointer's JSON; empty if there is none.

        Raises:
            LeaseHeld: Another process has it.
            StoreUnavailable: The store doesn't answer.
        """
        asked_s = time.monotonic()
        keys = (self._key, self._pointer_key)
        command = ("EVAL", TAKE, 2, *keys, self.token, self.lease_ms)
        ((taken, *rest),) = self._server.send([command])
        if not taken:
            got = "one at work"
            fix = f"Wait for it; if it died, its right ends within {self._lease_s:g} s."
            raise LeaseHeld(problem(self._where, "no other publisher", got, fix))
        self._until_s = asked_s + self._lease_s
        self._thread.start()
        return rest[0] if rest and rest[0] else b""

    def check(self) -> None:
        """Make sure that it is still ours.

        Raises:
            LeaseHeld: It may not be.
        """
        if time.monotonic() >= self._until_s:
            raise self.lost()

    def lost(self) -> LeaseHeld:
        """Say that it was lost."""
        got = "it lost meanwhile, or the pointer moved by somebody else"
        fix = "Publish again."
        return LeaseHeld(problem(self._where, "the right to publish", got, fix))

    def release(self) -> None:
        """Let go of it, if it is still ours."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(StoreUnavailable):  # It ends by itself.
            self._server.send([("EVAL", RELEASE, 1, self._key, self.token)])

    def _renew(self) -> None:
        while not self._ended.wait(self._lease_s / RENEWALS):
            asked_s, token = time.monotonic(), self.token
            command = ("EVAL", RENEW, 1, self._key, token, self.lease_ms)
            with contextlib.suppress(StoreUnavailable):  # Next time, or it ends.
                (renewed,) = self._server.send([command])
                if renewed:
                    self._until_s = asked_s + self._lease_s
                elif token == self.token:
                    self._until_s = 0.0
                    return


@contextlib.contextmanager
def publishing_redis(server: Server, model: str, *, lease_s: float) -> Generator[RedisPublication]:
    """Hold the right to publish snapshots of a model.

    What was written and not switched to is deleted at the end; what a dead publisher left, at the
    beginning of the next.

    Raises:
        LeaseHeld: Another process has it.
        StoreUnavailable: The store doesn't answer.
    """
    lock = Lock(server, model, lease_s)
    raw = lock.take()
    try:
        pointer = decode_pointer(raw, f"{server.address} {model}") if raw else Pointer()
        publication = RedisPublication(server, model, lock, pointer, raw)
        publication.sweep()
        try:
            yield publication
        finally:
            publication.discard_all()
    finally:
        lock.release()


class RedisPublication:
    """See `Publication`."""

    def __init__(
        self, server: Server, model: str, lock: Lock, pointer: Pointer, raw: bytes
    ) -> None:
        """See `publishing_redis`."""
        self._server = server
        self._model = model
        self._names = Names(model)
        self._lock = lock
        self._pointer = pointer
        # As it was read, for a later layout may write more than we know of.
        self._raw = raw
        self._begun: dict[str, int] = {}
        self._checksums: dict[str, int] = {}

    @property
    def pointer(self) -> Pointer:
        """Where the pointer stands."""
        return self._pointer

    def write(self, snapshot: Snapshot, rows: Iterable[Rows]) -> None:
        """See `Publication.write`.

        Holds 8 bytes for each row, and a window of rows: see `redis_layout.WINDOW_BYTES`.

        Raises:
            InvalidInput: A key stands twice in it.
            LeaseHeld: The right to publish was lost.
            StoreUnavailable: The store doesn't answer.
        """
        keys = (self._names.lock, self._names.written)
        about = (self._lock.token, snapshot.name, snapshot.rows)
        # Before it is asked: if no answer comes, it may have been heard all the same.
        self._begun[snapshot.name] = snapshot.rows
        (is_ours,) = self._server.send([("EVAL", BEGIN, 2, *keys, *about)])
        if not is_ours:
            raise self._lock.lost()
        buckets = Buckets.of(snapshot)
        before: list[Any] = []
        total = 0
        writer = ThreadPoolExecutor(1, "twofold-write")
        try:
            for window in windows(rows):
                sent = [writer.submit(self._send, chunk) for chunk in _even(window, buckets)]
                # The server is at work meanwhile.
                total += window.checksum()
                doubtful = [row for chunk in sent for row in chunk.result()]
                key = window.twice(doubtful, before) if doubtful else None
                if key is not None:
                    raise _twice(key)
                before.append(window.hashes)
        finally:
            writer.shutdown(cancel_futures=True)
        self._checksums[snapshot.name] = total

    def _send(self, chunk: Sequence[Group]) -> list[int]:
        """Write some rows; give those of a group of which one was there already."""
        self._lock.check()
        answers = self._server.send([group.command for group in chunk])
        wanted = zip(chunk, answers, strict=True)
        return [row for group, added in wanted if added != len(group.rows) for row in group.rows]

    def verify(self, snapshot: Snapshot) -> int:
        """See `Publication.verify`.

        The server adds up the checksums of all rows, so that they needn't travel.
        """
        found = total = 0
        for names in parts(Buckets.of(snapshot).all(), MAX_COMMANDS):
            for rows, some in self._server.send([("EVAL", READ_BACK, 1, name) for name in names]):
                found, total = found + rows, total + int(some)
        wanted = self._checksums.get(snapshot.name)
        # Another number of rows is the caller's to tell.
        if wanted is not None and found == snapshot.rows and total != wanted:
            where, fix = f"{self._server.address}: {self._model}", "Publish the run again."
            got = f"checksum {total:x}"
            wanted = f"{snapshot.name} as it was written (checksum {wanted:x})"
            raise TwofoldError(problem(where, wanted, got, fix))
        return found

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        """See `Publication.find`."""
        buckets, origins = Buckets.of(snapshot), Origins(snapshot)
        found: list[Stored | None] = []
        for some in parts(keys, MAX_COMMANDS):
            answers = self._server.send([("HGET", buckets.holding(key), key) for key in some])
            try:
                found += [
                    None if data is None else decode_value(data, origins, with_features=True)
                    for data in answers
                ]
            except msgspec.DecodeError as error:
                raise not_ours(self._server.address, snapshot, error) from error
        return found

    def point(self, pointer: Pointer) -> None:
        """See `Publication.point`."""
        self._lock.check()
        # If the store is gone already, this says so, and nothing can have been changed.
        self._server.send([("HGET", self._names.pointer, "mark")])
        raw = encode_pointer(pointer)
        keys = (self._names.lock, self._names.pointer, self._names.live(mark_of(self._pointer)))
        about = (self._lock.token, self._raw, raw, mark_of(pointer))
        try:
            (is_moved,) = self._server.send([("EVAL", POINT, 3, *keys, *about)])
        except StoreUnavailable as error:
            self._settle(raw, error)
        else:
            if not is_moved:
                raise self._lock.lost()
        self._pointer, self._raw = pointer, raw
        self._checksums.clear()
        for kept in pointer.kept:
            self._begun.pop(kept.name, None)
        with contextlib.suppress(StoreUnavailable):  # The next publisher deletes it.
            self.sweep()

    def sweep(self) -> None:
        """Delete the rows of all snapshots that the pointer doesn't lead to.

        Raises:
            StoreUnavailable: The store doesn't answer.
        """
        keys = (self._names.lock, self._names.pointer, self._names.written)
        command = ("EVAL", LEFT, 3, *keys, self._lock.token, self._raw)
        (listed,) = self._server.send([command])
        # What was listed while nobody else could write is not pointed to by anybody any more:
        # others point to their own, or to what is kept. So it may be deleted at leisure.
        kept = {snapshot.name for snapshot in self._pointer.kept}
        for name, rows in parts(listed or [], 2):
            if name.decode() not in kept:
                self._delete(name.decode(), int(rows))

    def discard(self, snapshot: Snapshot) -> None:
        """See `Publication.discard`; of what was written here."""
        if snapshot.name in self._begun:
            self._delete(snapshot.name, self._begun[snapshot.name])
            del self._begun[snapshot.name]

    def discard_all(self) -> None:
        """Delete what was written here and not pointed to."""
        with contextlib.suppress(StoreUnavailable):  # The next publisher does.
            for name, rows in self._begun.items():
                self._delete(name, rows)

    def _delete(self, name: str, rows: int) -> None:
        for names in parts(Buckets(self._model, name, rows).all(), MAX_COMMANDS):
            self._server.send([("UNLINK", bucket) for bucket in names])
        # Last: until then the next publisher finds it.
        self._server.send([("HDEL", self._names.written, name)])

    def _settle(self, raw: bytes, error: StoreUnavailable) -> None:
        """Find out what came of a move to which there was no answer.

        Raises:
            StoreUnavailable: It wasn't made, and can't be any more.
            CommitUnknown: That can't be told.
        """
        fresh = secrets.token_hex(16)
        keys = (self._names.lock, self._names.pointer)
        about = (self._lock.token, fresh, self._lock.lease_ms)
        for attempt in range(SETTLE_ATTEMPTS):
            if attempt:
                time.sleep(SETTLE_WAIT_S)
            try:
                (found,) = self._server.send([("EVAL", SETTLE, 2, *keys, *about)])
            except StoreUnavailable:
                continue
            self._lock.token = fresh
            if found == raw:
                return
            if (found or b"") == self._raw:
                raise error
            break
        # It may be what readers read by now.
        self._begun.clear()
        where = f"{self._server.address} {self._model}"
        got = f"none: {error}"
        fix = "Look at what is current, and publish again if it isn't this."
        raise CommitUnknown(problem(where, "an answer to the switch", got, fix)) from error


def _twice(key: bytes) -> InvalidInput:
    shown = repr(key[:SHOWN_BYTES].decode("utf-8", "replace"))
    fix = "Predict each of them once; which of two predictions is meant, nobody can tell."
    return InvalidInput(problem("key", "each key once", f"{shown} twice", fix))


def _even(window: Window, buckets: Buckets) -> Generator[list[Group]]:
    """A window in even parts, whatever the rows' length."""
    row_bytes = window.size_bytes // len(window.keys) + 1
    return _chunks(window.groups(buckets), max(1, MAX_CHUNK_BYTES // row_bytes))


def _chunks(groups: Iterable[Group], max_rows: int) -> Generator[list[Group]]:
    chunk: list[Group] = []
    rows = 0
    for group in groups:
        chunk.append(group)
        rows += len(group.rows)
        if rows >= max_rows or len(chunk) >= MAX_COMMANDS:
            yield chunk
            chunk, rows = [], 0
    if chunk:
        yield chunk


def parts(items: Iterable[T], size: int) -> Generator[tuple[T, ...]]:
    """Cut into parts of a size; the last may be smaller."""
    rest = iter(items)
    while part := tuple(itertools.islice(rest, size)):
        yield part

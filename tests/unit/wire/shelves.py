"""Stores of predictions by key, in memory and away, and the bench's routes over them."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from twofold.errors import StoreUnavailable, TwofoldError
from twofold.hybrid.ask import Asking
from twofold.hybrid.lookup import Lookup
from twofold.hybrid.settings import AnswerSettings
from twofold.serving.key_entries import Entry, render
from twofold.serving.keys import KeysFile
from twofold.serving.metrics import ANSWERS, STORE_REQUESTS
from twofold.stores.snapshot import Origin, Snapshot, Stored
from twofold.stores.store import Found
from twofold.wire.access import Access
from twofold.wire.answers import Hybrid
from twofold.wire.routes import Routes

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECRET = b"tf_secret-of-the-desk"


def snapshot_of(**facts: Any) -> Snapshot:
    """A snapshot of an hour ago."""
    known: dict[str, Any] = {
        "name": "000001-abcd",
        "number": 1,
        "model": "churn",
        "version": "3",
        "digest": "d1g3st",
        "run_id": "night",
        "run": "night-1",
        "as_of": NOW - timedelta(hours=1),
        "predicted_at": NOW - timedelta(minutes=30),
        "published_at": NOW - timedelta(minutes=20),
        "rows": 2,
        "outputs": ("prediction",),
        "type": "float64",
    }
    return Snapshot(**known | facts)


def origin_of(**facts: Any) -> Origin:
    """Where most of that snapshot comes from."""
    known: dict[str, Any] = {
        "source": "batch",
        "model": "churn",
        "version": "3",
        "run_id": "night",
        "as_of": NOW - timedelta(hours=1),
        "predicted_at": NOW - timedelta(minutes=30),
    }
    return Origin(**known | facts)


ORIGIN = origin_of()


def stored(*predictions: Any, features: Any = None, origin: Origin = ORIGIN) -> Stored:
    """What is stored for a key."""
    return Stored(predictions, origin, features)


class Shelf:
    """A store in memory."""

    def __init__(self, **what: Stored) -> None:
        self.stored = {key.encode(): item for key, item in what.items()}
        self.snapshot: Snapshot | None = snapshot_of()
        self.fails: TwofoldError | None = None
        self.kept: list[tuple[bytes, Stored, Snapshot]] = []
        self.asked: list[tuple[list[bytes], bool]] = []

    def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        self.asked.append((list(keys), with_features))
        if self.fails is not None:
            raise self.fails
        if self.snapshot is None:
            return Found(None, [None] * len(keys))
        found = [self.stored.get(key) for key in keys]
        if with_features:
            return Found(self.snapshot, found)
        bare = [item and msgspec.structs.replace(item, features=None) for item in found]
        return Found(self.snapshot, bare)

    def find_one(self, key: bytes, /) -> Stored | None:
        return self.find([key]).stored[0]

    def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        if self.fails is not None:
            raise self.fails
        self.kept.append((key, stored, snapshot))
        self.stored[key] = stored
        return True

    def close(self) -> None:
        """Nothing is held."""


class FarShelf:
    """The same on a server, which may hang."""

    def __init__(self, shelf: Shelf, hang: Callable[[], None]) -> None:
        self.shelf = shelf
        self.hangs = False
        self._hang = hang

    async def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        await asyncio.sleep(0)
        if self.hangs:
            self._hang()
            await asyncio.Event().wait()
        return self.shelf.find(keys, with_features=with_features)

    async def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        if self.hangs:
            self._hang()
            await asyncio.Event().wait()
        return self.shelf.keep(key, stored, snapshot)

    async def close(self) -> None:
        """Nothing is held."""


UNAVAILABLE = StoreUnavailable("store: expected an answer, got none. Look at it.")


@dataclasses.dataclass
class Keyed:
    """The routes of a bench, whose models answer by key.

    Attributes:
        bench: The bench.
        shelf: What is stored.
        far: The server it is on, if it isn't in memory.
        now: The time.
        hybrids: What the routes were given.
    """

    bench: Any
    shelf: Shelf
    far: FarShelf | None = None
    now: datetime = NOW
    hybrids: dict[str, Hybrid] = dataclasses.field(default_factory=dict)

    def open(
        self,
        *models: str,
        access: Access | None = None,
        is_far: bool = False,
        routes: Callable[..., Routes] = Routes,
        **policy: Any,
    ) -> Keyed:
        """Answer by key, as the policy says."""
        bench, settings = self.bench, AnswerSettings(**policy)
        hybrids = self.hybrids = {}
        for name in models or ("churn",):
            served = bench.service.default(name)
            asking = Asking(name, served.version, served.output.names, served.check, settings)
            lookup = self._lookup(settings) if is_far else None
            local = None if is_far else self.shelf
            hybrids[name] = Hybrid(local, lookup, asking, settings, self.clock_ns)
        bench.routes = routes(
            bench.service,
            bench.settings,
            access=access or Access(),
            version="9.9",
            hybrids=hybrids,
        )
        return self

    def _lookup(self, policy: AnswerSettings) -> Lookup:
        bench, slot = self.bench, self.bench.metrics.layout.slot
        loop_s = 0.0

        def hang() -> None:
            nonlocal loop_s
            loop_s += 1_000.0

        # Waiting takes no time: it is over when the store hangs.
        bench.loop.time = lambda: loop_s
        self.far = FarShelf(self.shelf, hang)
        return Lookup(
            self.far,
            policy,
            clock=lambda: bench.now_s,
            tell=lambda outcome, _: bench.metrics.add(slot(STORE_REQUESTS, outcome)),
        )

    def clock_ns(self) -> int:
        return (self.now - EPOCH) // timedelta(microseconds=1) * 1000

    def get(self, key: str = "a", model: str = "churn", **more: Any) -> tuple[int, Any]:
        """Ask for a key, as it stands in a path."""
        response = self.bench.ask("GET", f"/v1/models/{model}/answers/{key}", **more)
        return response.status, msgspec.json.decode(response.body)

    def post(self, body: Any, model: str = "churn", **more: Any) -> tuple[int, Any]:
        """Ask with a body."""
        response = self.bench.ask("POST", f"/v1/models/{model}/answers", body, **more)
        return response.status, msgspec.json.decode(response.body)

    def counted(self, version: str = "3") -> dict[str, float]:
        """How many keys were answered with what."""
        return {
            labels[2]: values[0]
            for family, labels, values in self.bench.metrics.totals()
            if family.name == ANSWERS and labels[1] == version and values[0]
        }

    def store_requests(self) -> tuple[float, float]:
        """How many requests to the store were answered, and how many failed."""
        every = {
            labels[0]: values[0]
            for family, labels, values in self.bench.metrics.totals()
            if family.name == STORE_REQUESTS
        }
        return every["answered"], every["failed"]


def access_of(folder: Path, **quota: Any) -> Access:
    """Access by one key, `SECRET`, to `churn`."""
    entry = Entry("desk", (hashlib.sha256(SECRET).hexdigest(),), models=("churn",), **quota)
    path = folder / "keys.toml"
    path.write_text(render(entry), encoding="utf-8")
    return Access(KeysFile(path))

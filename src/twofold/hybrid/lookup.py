"""Looking keys up in a store on a server, which may be slow, or away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from twofold.errors import StoreUnavailable, problem
from twofold.hybrid.breaker import Breaker
from twofold.hybrid.settings import AnswerSettings
from twofold.stores.snapshot import Snapshot, Stored
from twofold.stores.store import Found, RemoteReader


class Lookup:
    """Asks a store, but not for longer than it may take, nor while it keeps failing.

    What it found last is remembered, for answers that say how old they are while it is away.

    Attributes:
        snapshot: What was read last; None before the first answer.
    """

    def __init__(
        self,
        reader: RemoteReader,
        policy: AnswerSettings,
        clock: Callable[[], float],
        tell: Callable[[str, float], None] = lambda _outcome, _took_s: None,
    ) -> None:
        """Look up.

        Args:
            reader: The store.
            policy: How long it may take, and how often it may fail.
            clock: Monotonic seconds.
            tell: Told of every request to the store: `answered` or `failed`, and how many seconds
                it took.
        """
        self._tell = tell
        self._reader = reader
        self._timeout_s = policy.store_timeout_s
        self._clock = clock
        self._breaker = Breaker(
            max_failures=policy.max_store_failures, retry_s=policy.store_retry_s
        )
        self._most = policy.max_remembered_keys
        self._remembered: OrderedDict[bytes, Stored] = OrderedDict()
        self.snapshot: Snapshot | None = None

    @property
    def is_away(self) -> bool:
        """Whether the store failed too often to be asked just now."""
        return self._breaker.is_open

    @property
    def away_since_s(self) -> float | None:
        """Since when it is, monotonic seconds; None if it isn't."""
        return self._breaker.opened_s

    async def find(self, keys: Sequence[bytes], *, with_features: bool, within_s: float) -> Found:
        """Look keys up.

        Args:
            keys: The keys.
            with_features: Whether their features are wanted, too.
            within_s: How long there is.

        Raises:
            StoreUnavailable: It didn't answer, or isn't asked just now.
        """
        began_s = self._clock()
        if not self._breaker.lets(began_s):
            got = "several failures in a row"
            raise StoreUnavailable(problem("store", "an answer", got, "It is tried again soon."))
        timeout_s = min(self._timeout_s, within_s)
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._reader.find(keys, with_features=with_features)
        except TimeoutError as error:
            # Who had hardly any time left says little about the store.
            self._failed(began_s, timeout_s / self._timeout_s)
            fix = "Look at its load and at the way to it."
            within = f"an answer within {timeout_s * 1000:.0f} ms"
            raise StoreUnavailable(problem("store", within, "none", fix)) from error
        except StoreUnavailable:
            self._failed(began_s)
            raise
        self._tell("answered", self._clock() - began_s)
        self._breaker.succeeded()
        self.snapshot = found.snapshot
        self._remember(keys, found)
        return found

    def _failed(self, began_s: float, share: float = 1.0) -> None:
        now_s = self._clock()
        self._breaker.failed(now_s, share)
        self._tell("failed", now_s - began_s)

    def _remember(self, keys: Sequence[bytes], found: Found) -> None:
        if not self._most:
            return
        remembered = self._remembered
        for key, stored in zip(keys, found.stored, strict=True):
            if stored is None:
                remembered.pop(key, None)
            else:
                remembered[key] = stored
                remembered.move_to_end(key)
        while len(remembered) > self._most:
            remembered.popitem(last=False)

    def remembered(self, key: bytes) -> Stored | None:
        """What was found for a key when the store last had an answer."""
        return self._remembered.get(key)

    async def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        """Keep a live prediction in the store; see `LocalReader.keep`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._reader.keep(key, stored, snapshot)
        except (TimeoutError, StoreUnavailable):
            return False

"""Who is let in, to which model, how often, and how important the request is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from twofold.errors import QuotaExceeded, problem
from twofold.model.rows import describe
from twofold.serving.keys import Key, Keys, KeysFile
from twofold.serving.priority import WORDS, Priority
from twofold.serving.quotas import Quota, Quotas
from twofold.wire.statuses import WireError

API_KEY = b"x-api-key"
AUTHORIZATION = b"authorization"
BEARER = b"bearer "
PRIORITY = b"x-twofold-priority"


class Access:
    """Lets requests in by their headers; without keys, all of them.

    Attributes:
        is_open: Whether everybody is let in.
        admitted: Told the key of each request that is let in.
    """

    def __init__(self, keys_file: KeysFile | None = None, quotas: Quotas | None = None) -> None:
        """Guard a server.

        Args:
            keys_file: The keys, looked at anew with each request; None lets everybody in.
            quotas: What the keys have used; by default this process counts by itself.
        """
        self._file = keys_file
        self.is_open = keys_file is None
        self.admitted: Callable[[Key], None] = lambda _: None
        self._quotas = quotas or Quotas.of_one_process()

    def identify(
        self, headers: Mapping[bytes, bytes], model: str, *, now_utc: datetime
    ) -> tuple[Priority, Key | None]:
        """Tell who asks, and how important it is; a quota isn't looked at.

        Args:
            headers: Its headers, names in lower case.
            model: The name of the model it asks for.
            now_utc: The current instant, UTC.

        Returns:
            The request's class: the one its header asks for, but none higher than its key may
            ask for; without such a header the key's own, and without keys `NORMAL`. And the key.

        Raises:
            WireError: `unauthorized` without a key that is known and hasn't expired, `forbidden`
                if the key is not for this model, `bad_request` for a class that doesn't exist.
        """
        if self._file is None:
            return _asked(headers, Priority.NORMAL), None
        key = _key(headers, self._file.keys, now_utc)
        if key.models is not None and model not in key.models:
            raise WireError(
                "forbidden",
                problem(
                    "model",
                    "one that this API key is for",
                    repr(model),
                    "Use another key, or ask the server's operator to add the model to this one.",
                ),
            )
        # Of two classes the lower one is the greater number.
        return max(_asked(headers, key.priority), key.priority), key

    def take(self, key: Key, *, now_s: float) -> None:
        """Take one request from a key's quota.

        Args:
            key: Whose.
            now_s: The current instant, monotonic seconds.

        Raises:
            QuotaExceeded: It is used up.
        """
        if key.quota is not None:
            wait_s = self._quotas.take(key.index, key.quota, now_s)
            if wait_s > 0.0:
                raise _exceeded(key.quota, wait_s)
        self.admitted(key)

    def name_of(self, headers: Mapping[bytes, bytes], *, now_utc: datetime) -> str | None:
        """The name of the key that a request shows; None without one that is known.

        Args:
            headers: Its headers, names in lower case.
            now_utc: The current instant, UTC.
        """
        if self._file is None:
            return None
        key = self._file.keys.find(_presented(headers), now=now_utc)
        return None if key is None else key.name

    def renew(self) -> None:
        """Take over a changed file of keys; to be called several times a second."""
        if self._file is not None:
            self._file.reload_if_changed()


def _key(headers: Mapping[bytes, bytes], keys: Keys, now_utc: datetime) -> Key:
    presented = _presented(headers)
    if not presented:
        fix = "Send the header Authorization: Bearer KEY, or X-Api-Key: KEY."
        raise WireError("unauthorized", problem("authorization", "an API key", "none", fix))
    key = keys.find(presented, now=now_utc)
    if key is None:
        # Whether it was ever a key is not said, and what was sent is not repeated.
        fix = "Ask the server's operator for a key."
        raise WireError(
            "unauthorized",
            problem("authorization", "an API key in force", "one that isn't", fix),
        )
    return key


def _presented(headers: Mapping[bytes, bytes]) -> bytes:
    """What a request shows as its key; empty if nothing."""
    # X-Api-Key is for nothing but keys; Authorization may be for a gateway before this server.
    return headers.get(API_KEY) or _bearer(headers.get(AUTHORIZATION, b""))


def _bearer(authorization: bytes) -> bytes:
    """The key of an Authorization header; empty if it has another scheme (RFC 6750, 2.1)."""
    if authorization[: len(BEARER)].lower() != BEARER:
        return b""
    return authorization[len(BEARER) :].strip(b" ")


def _asked(headers: Mapping[bytes, bytes], otherwise: Priority) -> Priority:
    word = headers.get(PRIORITY)
    if word is None:
        return otherwise
    priority = Priority.parse(word)
    if priority is None:
        shown = describe(word.decode("latin-1"))
        fix = "Send one of them, or leave the header out."
        raise WireError("bad_request", problem("X-Twofold-Priority", f"one of {WORDS}", shown, fix))
    return priority


def _exceeded(quota: Quota, wait_s: float) -> QuotaExceeded:
    limit = f"at most {quota.max_requests_per_s:g} requests/s with this API key"
    fix = "Send it again after the seconds that Retry-After says."
    return QuotaExceeded(
        problem("quota", f"{limit} and {quota.burst_requests} after a rest", "more", fix),
        retry_after_s=wait_s,
    )

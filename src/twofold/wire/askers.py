"""Who is refused, and who fails: by the names of their keys, or without keys by their addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from twofold.serving.clients import Clients, Ended
from twofold.serving.keys import Key
from twofold.wire.access import Access

ENDED: dict[int, Ended] = {
    400: Ended.INVALID,
    413: Ended.INVALID,
    415: Ended.INVALID,
    422: Ended.INVALID,
    429: Ended.OVER_QUOTA,
    500: Ended.FAILED,
    503: Ended.SHED,
    504: Ended.LATE,
}
"""How a request ended that has a response of that status; what isn't here isn't counted."""


class Askers:
    """Counts by client what is refused; where there are keys, what is admitted, too."""

    def __init__(self, access: Access, clients: Clients) -> None:
        """Count.

        Args:
            access: Who may ask.
            clients: Where they are counted.
        """
        self._access = access
        self._clients = clients
        access.admitted = self.admitted

    def admitted(self, key: Key) -> None:
        """Count a request that is let in."""
        self._clients.note(key.name, Ended.ADMITTED)

    def refused(
        self, status: int, headers: Mapping[bytes, bytes], transport: asyncio.BaseTransport
    ) -> None:
        """Count a response that is no answer.

        Args:
            status: Its status.
            headers: Of the request, as far as they were read.
            transport: Of its connection.
        """
        ended = ENDED.get(status)
        if ended is None:
            return
        if self._access.is_open:
            peer = transport.get_extra_info("peername")
            # Whoever comes over a Unix socket has no address.
            client = str(peer[0]) if isinstance(peer, tuple) else None
        else:
            client = self._access.name_of(headers, now_utc=datetime.now(UTC))
        if client is not None:
            self._clients.note(client, ended)

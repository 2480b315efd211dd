"""Whoever is refused is counted: by key, or without keys by address."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from twofold.errors import QuotaExceeded
from twofold.serving.clients import FADE_S, Clients
from twofold.serving.key_entries import Entry, render
from twofold.serving.keys import KeysFile
from twofold.wire.access import Access
from twofold.wire.askers import ENDED, Askers
from twofold.wire.statuses import STATUSES

NOW_UTC = datetime(2026, 7, 1, tzinfo=UTC)


class Wire(asyncio.Transport):
    def __init__(self, peer: Any) -> None:
        super().__init__({"peername": peer})


TCP = Wire(("192.0.2.7", 50_000))


def counts(clients: Clients) -> dict[str, dict[str, int]]:
    return {
        client: {ended.name: round(rate * FADE_S) for ended, rate in rates.items() if rate}
        for client, rates in clients.rates().items()
    }


@pytest.fixture
def clients() -> Clients:
    return Clients.of_one_process()


@pytest.fixture
def guarded(tmp_path: Path) -> Access:
    entries = [
        Entry(name, (hashlib.sha256(name.encode()).hexdigest(),), max_requests_per_s=rate)
        for name, rate in (("desk", None), ("night", 1.0))
    ]
    file = tmp_path / "keys.toml"
    file.write_text("\n".join(map(render, entries)), encoding="utf-8")
    return Access(KeysFile(file))


def test_without_keys_addresses_are_counted_whatever_their_port(clients: Clients) -> None:
    askers = Askers(Access(), clients)
    for peer in (("192.0.2.7", 1), ("192.0.2.7", 2), ("::1", 3, 0, 0)):
        askers.refused(503, {}, Wire(peer))
    assert counts(clients) == {"192.0.2.7": {"SHED": 2}, "::1": {"SHED": 1}}


@pytest.mark.parametrize("peer", ["", None, b"\0abstract"])
def test_who_has_no_address_is_not_counted(clients: Clients, peer: Any) -> None:
    Askers(Access(), clients).refused(503, {}, Wire(peer))
    assert counts(clients) == {}


def test_every_way_to_be_refused_is_counted_as_what_it_is(clients: Clients) -> None:
    askers = Askers(Access(), clients)
    for status in (200, 400, 401, 404, 422, 429, 500, 503, 504):
        askers.refused(status, {}, TCP)
    assert counts(clients) == {
        "192.0.2.7": {"INVALID": 2, "OVER_QUOTA": 1, "FAILED": 1, "SHED": 1, "LATE": 1}
    }
    assert set(ENDED) <= set(STATUSES.values())


def test_with_keys_names_are_counted_and_no_address(clients: Clients, guarded: Access) -> None:
    askers = Askers(guarded, clients)
    for headers in ({b"x-api-key": b"desk"}, {b"authorization": b"Bearer desk"}):
        askers.refused(503, headers, TCP)
    for headers in ({}, {b"x-api-key": b"nobody's"}):
        askers.refused(503, headers, TCP)
    assert counts(clients) == {"desk": {"SHED": 2}}


def test_with_keys_what_is_admitted_is_counted_but_nothing_over_the_quota(
    clients: Clients, guarded: Access
) -> None:
    askers = Askers(guarded, clients)
    for name, times in ((b"desk", 3), (b"night", 2)):
        _, key = guarded.identify({b"x-api-key": name}, "churn", now_utc=NOW_UTC)
        assert key is not None
        for _ in range(times):
            guarded.take(key, now_s=50.0)
    with pytest.raises(QuotaExceeded):
        guarded.take(key, now_s=50.0)
    askers.refused(429, {b"x-api-key": b"night"}, TCP)
    assert counts(clients) == {"night": {"ADMITTED": 2, "OVER_QUOTA": 1}, "desk": {"ADMITTED": 3}}

"""Sessions that never come about; tests/conformance has a real server."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Generator, Iterator

import pytest
from psycopg.waiting import Ready, Wait

from twofold.errors import ConfigError
from twofold.stores.postgresql_address import Address, parse_address
from twofold.stores.psycopg import AsyncSession, Failed, Session, _NoAnswer, _within, check, render


def test_names_are_quoted_and_texts_too() -> None:
    text = render("DROP {schema} {table} {pointers} {words}", 'a"b', "c%d", "it's")
    assert text == """DROP "a""b" "a""b"."c%d" "a""b"."pointers" 'it''s'"""


def test_an_address_that_libpq_does_not_know_is_refused_without_its_password() -> None:
    address = parse_address("postgresql://me:hush@db/t?frob=1")
    with pytest.raises(ConfigError, match="frob") as caught:
        check(address)
    assert "hush" not in str(caught.value)


@pytest.fixture
def silent() -> Iterator[Address]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield parse_address(f"postgresql://me:hush@127.0.0.1:{listener.getsockname()[1]}/t")


def refusing() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return parse_address(f"postgresql://me:hush@127.0.0.1:{port}/t")


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_allowed(silent: Address) -> None:
    began_s = time.monotonic()
    with pytest.raises(Failed, match=r"no answer within 0\.1 s") as caught:
        asyncio.run(AsyncSession.connect(silent, 0.1))
    assert time.monotonic() - began_s < 1.5
    assert (caught.value.is_lost, caught.value.code) == (True, None)


def test_a_server_that_is_not_there_is_told_of_without_the_password() -> None:
    with pytest.raises(Failed, match="refused") as caught:
        Session(refusing(), 1.0)
    with pytest.raises(Failed, match="refused") as later:
        asyncio.run(AsyncSession.connect(refusing(), 1.0))
    for failed in (caught.value, later.value):
        assert failed.is_lost
        assert "hush" not in f"{failed} {failed.__cause__!r}"


def test_a_wait_passes_on_what_it_is_given_and_gives_what_comes_of_it() -> None:
    def waiting() -> Generator[Wait, Ready, str]:
        first = yield Wait.R
        second = yield Wait.W
        return f"{first.name} {second.name}"

    within = _within(waiting(), 60)
    assert next(within) == Wait.R
    assert within.send(Ready.R) == Wait.W
    with pytest.raises(StopIteration, match="R W"):
        within.send(Ready.W)


def test_a_wait_ends_when_its_time_is_over_and_nothing_came() -> None:
    def waiting() -> Generator[Wait, Ready, None]:
        while True:
            yield Wait.R

    within = _within(waiting(), 0)
    next(within)
    assert within.send(Ready.R) == Wait.R
    with pytest.raises(_NoAnswer, match="no answer within 0 s"):
        within.send(Ready.NONE)

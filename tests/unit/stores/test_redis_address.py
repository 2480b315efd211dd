"""Addresses of Redis servers, and what is never shown of them."""

from __future__ import annotations

import pytest

from twofold.errors import ConfigError
from twofold.stores.redis_address import parse_address


@pytest.mark.parametrize(
    ("url", "shown", "given"),
    [
        ("redis://h", "redis://h:6379/0", "redis://h:6379/0"),
        ("redis://h:1/3", "redis://h:1/3", "redis://h:1/3"),
        ("redis://h:1/", "redis://h:1/0", "redis://h:1/0"),
        ("redis://u:pw@h", "redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:pw@h", "redis://h:6379/0", "redis://h:6379/0"),
        ("rediss://[::1]:2", "rediss://[::1]:2/0", "rediss://[::1]:2/0"),
        ("redis+cluster://a.b-c", "redis+cluster://a.b-c:6379", "redis://a.b-c:6379/0"),
        ("rediss+cluster://u:pw@h/0", "rediss+cluster://h:6379", "rediss://h:6379/0"),
        ("rediss://h?ssl_ca_certs=/c", "rediss://h:6379/0", "rediss://h:6379/0?ssl_ca_certs=/c"),
    ],
)
def test_an_address_is_read(url: str, shown: str, given: str) -> None:
    address = parse_address(url)
    assert (address.shown, address.url) == (shown, given)
    assert address.is_cluster == ("+cluster" in url)


def test_user_and_password_are_decoded_and_not_shown() -> None:
    address = parse_address("redis://al%40ice:hush%21%23@h")
    assert (address.user, address.password) == ("al@ice", "hush!#")
    assert "hush" not in repr(address)
    assert "al@ice" not in repr(address)
    said = str(address.failed("WRONGPASS hush!# or hush%21%23 is wrong."))
    assert "hush" not in said
    assert said.startswith("redis://h:6379/0: expected an answer of the store, got WRONGPASS ...")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        "http://u:hush@h",
        "redis://u:hu#sh@h",
        "redis://u:hu@sh@h",
        "redis://u:hu/sh@h",
        "redis://u:hush@",
        "redis://u:hush@h:port",
        "redis://u:hush@h/db",
        "redis://u@h?password=hush",
        "rediss://u@h?ssl_ca_certs=a&password=hush",
        "rediss://u@h?ssl_hush=hush",
        "redis://u:hush@h?ssl_ca_certs=a",
        "redis://u:hush@h/0#f",
        "redis://u:hush@h/0\n",
    ],
)
def test_another_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--store: expected a URL redis://") as caught:
        parse_address(url)
    assert "hush" not in str(caught.value)


def test_a_cluster_has_no_other_database() -> None:
    with pytest.raises(ConfigError, match="a cluster without /DB, got /2"):
        parse_address("redis+cluster://h/2")


def test_what_was_to_be_written_is_not_shown() -> None:
    words = "Command # 1 (HSET k customer 1) of pipeline caused error: OOM command not allowed"
    said = str(parse_address("redis://h").failed(words))
    assert "customer" not in said
    assert "got OOM command not allowed. Look" in said

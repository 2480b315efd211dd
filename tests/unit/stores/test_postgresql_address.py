from __future__ import annotations

import pytest

from twofold.errors import ConfigError
from twofold.stores.postgresql_address import parse_address, without_secrets


@pytest.mark.parametrize(
    ("given", "url", "schema", "secrets"),
    [
        ("postgresql://db/test", "postgresql://db/test", "twofold", {}),
        ("postgres://me@db:5433/test", "postgres://me@db:5433/test", "twofold", {}),
        ("postgresql://me:p%40ss@db/t", "postgresql://me@db/t", "twofold", {"password": "p@ss"}),
        ("postgresql://me:@db/t", "postgresql://me@db/t", "twofold", {"password": ""}),
        ("postgresql://:pw@db/t", "postgresql://db/t", "twofold", {"password": "pw"}),
        ("postgresql://db/t?schema=a%20b", "postgresql://db/t", "a b", {}),
        (
            "postgresql://a,b:5433/t?sslmode=require&schema=s&target_session_attrs=any",
            "postgresql://a,b:5433/t?sslmode=require&target_session_attrs=any",
            "s",
            {},
        ),
        (
            "postgresql://db/t?password=x%26y&user=me&sslpassword=z",
            "postgresql://db/t?user=me",
            "twofold",
            {"password": "x&y", "sslpassword": "z"},
        ),
        ("postgresql:///t?host=/run/pg", "postgresql:///t?host=/run/pg", "twofold", {}),
        (
            "postgresql://me:pw@[::1]:5432/t",
            "postgresql://me@[::1]:5432/t",
            "twofold",
            {"password": "pw"},
        ),
    ],
)
def test_an_address_is_taken_apart_and_shown_without_its_secrets(
    given: str, url: str, schema: str, secrets: dict[str, str]
) -> None:
    address = parse_address(given)
    assert (address.url, address.schema, address.secrets) == (url, schema, secrets)
    assert all(secret not in repr(address) for secret in secrets.values() if secret)


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://me:hu@sh@db/t",
        "postgresql://me:hu#sh@db/t",
        "postgresql://me:hu/sh@db/t",
        "postgresql://me:hu?sh@db/t",
        "postgresql://me:hush",
        "postgresql://me:hush/test",
        "redis://me:hush@db",
        "hush",
    ],
)
def test_a_secret_that_cannot_be_told_from_the_rest_is_refused_and_not_shown(given: str) -> None:
    with pytest.raises(ConfigError, match=r"^--store: expected a URL postgresql://") as caught:
        parse_address(given)
    assert "hu" not in str(caught.value)
    assert "sh" not in str(caught.value).replace("#", "")


@pytest.mark.parametrize("schema", ["", "x" * 64, "a%00b"])
def test_a_schema_that_no_database_can_have_is_refused(schema: str) -> None:
    with pytest.raises(ConfigError, match="a name of 1 to 63 bytes"):
        parse_address(f"postgresql://db/t?schema={schema}")


def test_what_a_server_says_is_one_line_without_secrets_and_not_long() -> None:
    address = parse_address("postgresql://me:hush@db/t")
    said = without_secrets("no:\n  hush is wrong.\n", address)
    assert said == "no: ... is wrong"
    assert len(without_secrets("x" * 1_000, address)) == 500

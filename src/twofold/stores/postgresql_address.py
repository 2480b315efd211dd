"""The address of a PostgreSQL that holds snapshots, and the part of it that nobody is shown."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import unquote

from twofold.errors import ConfigError, problem

SCHEMES = ("postgresql", "postgres")
SCHEMA = "twofold"
SECRETS = ("password", "sslpassword")
MAX_NAME_BYTES = 63
"""PostgreSQL cuts off what is longer."""
HOST = r"(?:\[[^\]]*\]|[^/?#@:,\[\]]*)(?::[0-9]+)?"
PARTS = re.compile(
    r"(\w+://)(?:([^/?#@:]*)(?::([^/?#@]*))?@)?"  # who
    rf"({HOST}(?:,{HOST})*(?:/[^?#@]*)?)"  # where
    r"(?:\?([^#@]*))?"
)
FORM = "postgresql://USER@HOST/DATABASE"


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a PostgreSQL is, and who asks.

    Attributes:
        url: As libpq takes it, without a secret: what messages name.
        schema: Where the tables are.
        secrets: What libpq is given beside the URL: a password, if the URL had one.
    """

    url: str
    schema: str
    secrets: dict[str, str] = dataclasses.field(repr=False)


def parse_address(url: str) -> Address:
    """Take an address apart.

    Args:
        url: `postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?schema=NAME]`, with any other
            parameter of libpq.

    Raises:
        ConfigError: It is none, or has a secret where it can't be told from the rest: so the
            message doesn't show it.
    """
    scheme = url.partition("://")[0]
    found = PARTS.fullmatch(url)
    if scheme not in SCHEMES or found is None:
        shown = f"{scheme}://..." if scheme in SCHEMES else "something else"
        fix = "Write %40 for @, %23 for #, %2F for / and %3F for ? within its parts."
        raise ConfigError(problem("--store", f"a URL {FORM}", shown, fix))
    start, user, password, place, given = found.groups()
    secrets = {} if password is None else {"password": unquote(password)}
    schema, kept = SCHEMA, list[str]()
    for parameter in (given or "").split("&"):
        name, _, value = parameter.partition("=")
        if name == "schema":
            schema = unquote(value)
        elif name in SECRETS:
            secrets[name] = unquote(value)
        elif parameter:
            kept.append(parameter)
    shown = start + (f"{user}@" if user else "") + place + ("?" + "&".join(kept) if kept else "")
    if not 0 < len(schema.encode()) <= MAX_NAME_BYTES or "\0" in schema:
        wanted = f"?schema= with a name of 1 to {MAX_NAME_BYTES} bytes"
        raise ConfigError(problem(shown, wanted, repr(schema[:80]), "Choose such a name."))
    return Address(shown, schema, secrets)


def without_secrets(said: str, address: Address) -> str:
    """What libpq or a server says, in a line, without the secrets of an address."""
    line = " ".join(said.split())
    for secret in address.secrets.values():
        if secret:
            line = line.replace(secret, "...")
    return line[:500].rstrip(".")

"""From the address of a store to the store."""

from __future__ import annotations

from pathlib import Path

from twofold.errors import ConfigError, problem
from twofold.stores.embedded import EmbeddedStore
from twofold.stores.postgresql_address import SCHEMES
from twofold.stores.store import Store

REDIS = ("redis", "rediss", "redis+cluster", "rediss+cluster")


def is_local(address: str) -> bool:
    """Whether a store is read from memory, not from a server."""
    return "://" not in address


def open_store(address: str, *, timeout_s: float) -> Store:
    """Open a store; nothing is asked of it yet.

    Args:
        address: A folder, or the URL of a server.
        timeout_s: Seconds a server may take to answer.

    Raises:
        ConfigError: There is no such kind of store, or what it needs isn't installed.
    """
    scheme, found, _ = address.partition("://")
    if not found:
        return EmbeddedStore(Path(address))
    if scheme in REDIS:
        from twofold.stores.redis import RedisStore  # noqa: PLC0415 - an extra

        return RedisStore(address, timeout_s=timeout_s)
    if scheme in SCHEMES:
        from twofold.stores.postgresql import PostgresqlStore  # noqa: PLC0415 - as above

        return PostgresqlStore(address, timeout_s=timeout_s)
    fix = "Give a folder, redis://HOST or postgresql://HOST/DATABASE."
    raise ConfigError(problem("--store", "a folder or a server", f"{scheme}://", fix))

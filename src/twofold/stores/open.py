"""From the address of a store to the store."""

from __future__ import annotations

from pathlib import Path

from twofold.errors import ConfigError, problem
from twofold.stores.embedded import EmbeddedStore
from twofold.stores.store import Store


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
    del timeout_s
    scheme, found, _ = address.partition("://")
    if not found:
        return EmbeddedStore(Path(address))
    fix = "Give a folder."
    raise ConfigError(problem("--store", "a folder", f"{scheme}://", fix))

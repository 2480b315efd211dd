"""The settings of the server."""

from __future__ import annotations

import dataclasses

from twofold.settings import setting


@dataclasses.dataclass(frozen=True)
class ServeSettings:
    """Where the server listens, and its limits."""

    host: str = setting("127.0.0.1", "Address to listen at.")
    port: int = setting(8080, "Port to listen at; 0 takes any free one.", minimum=0, maximum=65535)
    workers: int = setting(0, "Processes that answer; 0 means one per core.", minimum=0, maximum=256)

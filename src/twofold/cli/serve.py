"""`twofold serve`."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from twofold.cli.common import (
    command,
    data,
    flags_of,
    json_option,
    print_json,
    registry_option,
    settings_flags,
    settings_from,
    talk,
)
from twofold.serving.settings import ServeSettings

log = logging.getLogger("twofold.serving")


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@settings_flags("serve", ServeSettings)
@registry_option
@json_option
@command
def serve(models: tuple[str, ...], registry: str | None, as_json: bool, **flags: Any) -> None:  # noqa: FBT001
    """Serve models over HTTP: one row in, one prediction out.

    MODEL is NAME, NAME@VERSION or NAME:ALIAS.
    """
    from twofold.app.serve import serve as run_server  # noqa: PLC0415 - only this command needs it

    settings = settings_from({"registry": registry, **flags_of("serve", ServeSettings, flags)})

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "models": list(models)})
            data.file.flush()
        if settings.serve.log_format == "json":
            # On stderr there are JSON objects only.
            log.warning("serving %s at %s", ", ".join(models), url)
        elif not as_json:
            talk().print(f"serving {', '.join(models)} at {url}  (Ctrl-C stops)")
            talk().print(f"try {url}/docs")

    sys.exit(run_server(models, registry=settings.registry, settings=settings.serve, ready=ready))

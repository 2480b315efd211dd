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
    store_option,
    talk,
)
from twofold.serving.settings import ServeSettings

log = logging.getLogger("twofold.serving")


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@settings_flags("serve", ServeSettings)
@registry_option
@store_option
@json_option
@command
def serve(models: tuple[str, ...], as_json: bool, **flags: Any) -> None:  # noqa: FBT001
    """Serve models over HTTP: one row in, one prediction out.

    MODEL is NAME, NAME@VERSION or NAME:ALIAS. What batch runs left in the store is
    answered by key, too.
    """
    from twofold.app.serve import serve as run_server  # noqa: PLC0415 - only this command needs it

    named = {"registry": flags.pop("registry"), "store": flags.pop("store")}
    settings = settings_from({**named, **flags_of("serve", ServeSettings, flags)})

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

    code = run_server(
        models,
        registry=settings.registry,
        settings=settings.serve,
        store=settings.general.store,
        policy=settings.answers,
        ready=ready,
    )
    sys.exit(code)

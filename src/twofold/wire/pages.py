"""The pages about a server, as an ordinary ASGI application: its interface, for both readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from twofold.serving.service import Service
from twofold.serving.settings import ServeSettings
from twofold.wire import docs_page
from twofold.wire.asgi import Message, Receive, Send
from twofold.wire.http import JSON, Response
from twofold.wire.openapi import NO_ANSWERS, Answering, openapi
from twofold.wire.statuses import OK


class Pages:
    """Answers GET for each of its paths."""

    def __init__(
        self,
        service: Service,
        settings: ServeSettings,
        *,
        version: str,
        answering: Answering = NO_ANSWERS,
    ) -> None:
        """Prepare what never changes.

        Args:
            service: The models.
            settings: Their limits, and whether there are API keys.
            version: Of twofold.
            answering: What answers by key, by the name of the model.
        """
        document: Any = openapi(service, settings, version=version, answering=answering)
        page = docs_page.docs_page(
            service, is_open=not settings.api_keys, answering=list(answering)
        )
        self.paths: Mapping[str, Response] = {
            "/openapi.json": Response(OK, msgspec.json.encode(document), JSON),
            "/docs": Response(OK, page, docs_page.CONTENT_TYPE, docs_page.HEADERS),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer one request (ASGI); the paths are the only ones it is asked for."""
        response = self.paths[scope["path"]]
        headers = [(b"content-type", response.content_type)]
        for line in response.headers.splitlines():
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        await send({"type": "http.response.start", "status": OK, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

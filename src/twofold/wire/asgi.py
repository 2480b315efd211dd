"""Runs an ordinary ASGI application for what isn't hot: documentation, dashboard, administration.

The whole request is given to it, and its whole response is sent in one write (ASGI 3.0, HTTP
connection scope 2.4). It shares the event loop with the hot path, so it must not block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from twofold.wire.connection import Caller
from twofold.wire.http import Request, Response, split_target
from twofold.wire.refusal import refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

TEXT = b"text/plain; charset=utf-8"
OWN_HEADERS = (b"content-type", b"content-length", b"connection", b"date", b"transfer-encoding")
"""The headers that the server itself writes."""


class Mounted:
    """A handler that lets an application answer."""

    def __init__(self, application: Application, *, timeout_s: float) -> None:
        """Mount an application.

        Args:
            application: What answers.
            timeout_s: How long it may take.
        """
        self._application = application
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request, caller: Caller) -> None:
        """See that a request is answered."""
        task = asyncio.get_running_loop().create_task(self._answer(request, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request, caller: Caller) -> None:
        exchange = _Exchange(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._application(_scope(request), exchange.receive, exchange.send)
            response = exchange.response()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            response = refusal(error, request)
        caller.reply(response)


class _Exchange:
    """One request, as the application receives it, and what it sends."""

    def __init__(self, request: Request) -> None:
        self._request: Request | None = request
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._whole = asyncio.Event()

    async def receive(self) -> Message:
        request, self._request = self._request, None
        if request is None:
            # Frameworks listen meanwhile, and would give up if they were told before the end.
            await self._whole.wait()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.lower(), value) for name, value in message.get("headers", ())]
        elif message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._whole.set()

    def response(self) -> Response:
        if not (self._status and self._whole.is_set()):
            raise RuntimeError("the application ended without a whole response")
        kinds = [value for name, value in self._headers if name == b"content-type"]
        lines = [b"%b: %b" % item for item in self._headers if item[0] not in OWN_HEADERS]
        kind = kinds[0] if kinds else TEXT
        if any(b"\r" in line or b"\n" in line for line in (kind, *lines)):
            raise RuntimeError("the application sent a header with a line break in it")
        headers = b"".join(line + b"\r\n" for line in lines)
        return Response(self._status, b"".join(self._body), kind, headers)


def _scope(request: Request) -> Message:
    path, query = split_target(request.target)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method.decode("ascii"),
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.headers.items()),
        "client": None,
        "server": None,
    }

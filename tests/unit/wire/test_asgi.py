"""An application sees an ordinary request, and its answer is the server's, whatever it does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from callers import Waiter

from twofold.wire.asgi import OWN_HEADERS, Application, Message, Mounted, Receive, Send
from twofold.wire.http import DEFAULT, Request, Response

LIMIT_S = 10
"""A test that goes wrong ends then, and fails."""
REQUEST = Request(
    b"POST",
    b"http://x:80/a%20b/\xc3\xa9?q=%31&r",
    {b"host": b"x", b"accept": b"text/html, */*"},
    b"the body",
    DEFAULT,
    100.0,
)


def answered(
    application: Application, request: Request = REQUEST, *, timeout_s: float = 9.0
) -> Response:
    """Give the one answer of an application."""

    async def ask() -> Response:
        waiter = Waiter()
        mounted = Mounted(application, timeout_s=timeout_s)
        assert mounted(request, waiter) is None
        assert waiter.answers == [], "the application has its turn later"
        for task in tuple(mounted._tasks):
            await task
        assert not mounted._tasks
        assert waiter.task is None, "there is no task to wait for"
        [response] = waiter.answers
        return response

    return asyncio.run(asyncio.wait_for(ask(), LIMIT_S))


def sends(*messages: Message) -> Application:
    """Make an application that sends these."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return application


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(part: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": part, "more_body": more}


def failure_of(application: Application, caplog: pytest.LogCaptureFixture, **more: Any) -> str:
    """Check that the caller learns an id only; give what the log has."""
    with caplog.at_level(logging.ERROR):
        response = answered(application, **more)
    told = msgspec.json.decode(response.body)
    assert (response.status, told["code"]) == (500, "internal")
    assert told["error"].startswith("prediction: expected the server to answer, got a failure")
    assert "Traceback" not in told["error"]
    assert told["request_id"] in caplog.text
    return caplog.text


def test_application_is_told_what_was_asked() -> None:
    seen: list[Message] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        seen.extend((scope, await receive()))
        await sends(start(), body(b""))(scope, receive, send)

    answered(application)
    assert seen == [
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/a b/\u00e9",
            "raw_path": b"/a%20b/\xc3\xa9",
            "query_string": b"q=%31&r",
            "root_path": "",
            "headers": [(b"host", b"x"), (b"accept", b"text/html, */*")],
            "client": None,
            "server": None,
        },
        {"type": "http.request", "body": b"the body", "more_body": False},
    ]


def test_path_that_is_no_utf_8_is_told_as_well_as_it_can_be() -> None:
    paths: list[str] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await sends(start(), body(b""))(scope, receive, send)

    answered(application, Request(b"GET", b"/%ff", {}, b"", DEFAULT, 0.0))
    assert paths == ["/\ufffd"]


def test_answer_is_sent_in_one_piece_however_it_came() -> None:
    parts = [body(b"one, ", more=True), body(b"two, ", more=True), body(b"three")]
    response = answered(sends(start(203, (b"Content-Type", b"text/csv")), *parts))
    assert response == Response(203, b"one, two, three", b"text/csv", b"")


def test_body_may_be_left_out_of_its_message_and_headers_too() -> None:
    response = answered(
        sends({"type": "http.response.start", "status": 200}, {"type": "http.response.body"})
    )
    assert response == Response(200, b"", b"text/plain; charset=utf-8", b"")


def test_headers_pass_through_but_for_those_that_are_the_servers() -> None:
    own = [(name.title(), b"of the application") for name in OWN_HEADERS]
    passed = [(b"X-One", b"1"), (b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c=d"), (b"ETag", b"")]
    response = answered(sends(start(200, *own, *passed), body(b"x")))
    assert response.headers == (b"x-one: 1\r\nset-cookie: a=b\r\nset-cookie: c=d\r\netag: \r\n")
    assert response.content_type == b"of the application"


@pytest.mark.parametrize(
    "header",
    [
        (b"x-one", b"1\r\nSet-Cookie: a=b"),
        (b"x\none", b"1"),
        (b"content-type", b"text/html\r\n\r\n<script>"),
    ],
)
def test_header_that_would_be_two_is_a_failure(
    caplog: pytest.LogCaptureFixture, header: tuple[bytes, bytes]
) -> None:
    assert "line break" in failure_of(sends(start(200, header), body(b"x")), caplog)


def test_exception_is_a_failure_of_which_the_caller_learns_an_id_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(start())
        raise KeyError("secret of the server")

    assert "secret of the server" in failure_of(application, caplog)


@pytest.mark.parametrize(
    "messages",
    [[], [start()], [start(), body(b"half", more=True)], [body(b"a body, but no start")]],
)
def test_answer_that_is_not_whole_is_a_failure(
    caplog: pytest.LogCaptureFixture, messages: list[Message]
) -> None:
    assert "without a whole response" in failure_of(sends(*messages), caplog)


def test_application_that_never_answers_is_ended_after_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    assert "TimeoutError" in failure_of(application, caplog, timeout_s=0.0)
    assert ended == ["ended"]


def test_application_is_told_of_a_disconnect_only_once_it_has_answered() -> None:
    heard: list[str] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()

        async def listen() -> None:
            heard.append((await receive())["type"])

        listening = asyncio.create_task(listen())
        for part in (start(), body(b"a", more=True)):
            await send(part)
            await asyncio.sleep(0)
            assert heard == []
        await send(body(b"b"))
        await listening

    assert answered(application).body == b"ab"
    assert heard == ["http.disconnect"]


def test_several_requests_are_answered_at_the_same_time() -> None:
    async def ask() -> None:
        opened = asyncio.Event()

        async def application(scope: Message, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await opened.wait()
            else:
                opened.set()
            await sends(start(), body(scope["raw_path"]))(scope, receive, send)

        mounted = Mounted(application, timeout_s=9.0)
        waiters = [Waiter(), Waiter()]
        for waiter, target in zip(waiters, (b"/slow", b"/quick"), strict=True):
            mounted(Request(b"GET", target, {}, b"", DEFAULT, 0.0), waiter)
        await asyncio.gather(*mounted._tasks)
        bodies = [response.body for waiter in waiters for response in waiter.answers]
        assert bodies == [b"/slow", b"/quick"]

    asyncio.run(asyncio.wait_for(ask(), LIMIT_S))

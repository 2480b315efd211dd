"""The id by which a request is found again: its caller's, or one made when it fails inside."""

from __future__ import annotations

import re
import secrets

from twofold.wire.http import Response

REQUEST_ID = b"x-request-id"
NAME = b"X-Request-Id: "
LINE = NAME + b"%b\r\n"
USABLE = re.compile(rb"[!-~]{1,128}")
"""What may stand in a log and in a header as it came: visible ASCII, and not much of it."""
ID_BYTES = 8


def new_id() -> str:
    """Make an id that no other request has."""
    return secrets.token_hex(ID_BYTES)


def id_of(headers: dict[bytes, bytes]) -> bytes:
    """The id of a request that has one; another one is put in its place if it can't be used.

    Whoever looks at the headers afterwards sees the one that the answer has.
    """
    sent = headers[REQUEST_ID]
    if not USABLE.fullmatch(sent):
        sent = headers[REQUEST_ID] = new_id().encode()
    return sent


def with_id(response: Response, request_id: bytes) -> Response:
    """Let a response carry an id, unless it has one already."""
    if NAME in response.headers:
        return response
    headers = response.headers + LINE % request_id
    return Response(response.status, response.body, response.content_type, headers)

"""Turns an error into the response that tells the caller, and no more than the caller may know."""

from __future__ import annotations

import logging
import secrets

import msgspec

from twofold.errors import InvalidInput
from twofold.wire.http import Response
from twofold.wire.statuses import STATUSES, UNAVAILABLE, WireError, code_of

log = logging.getLogger("twofold.wire")

RETRY_AFTER = b"Retry-After: 1\r\n"
SERVER_FAULT = 500


def refusal(error: Exception) -> Response:
    """Answer an error: `{"error": "where: expected X, got Y. Fix.", "code": "..."}`.

    A fault of the model or the server is logged with a request id, which is all that the caller
    learns of it.
    """
    code = code_of(error)
    status = STATUSES[code]
    body: dict[str, str] = {"error": str(error), "code": code}
    headers = error.headers if isinstance(error, WireError) else b""
    if status == SERVER_FAULT:
        request_id = secrets.token_hex(8)
        log.error("request %s failed", request_id, exc_info=error)
        who = "the model" if code == "prediction_failed" else "the server"
        body["error"] = (
            f"prediction: expected {who} to answer, got a failure inside it. "
            f"Ask its operator about request {request_id}."
        )
        body["request_id"] = request_id
    elif status == UNAVAILABLE:
        headers += RETRY_AFTER
    if isinstance(error, InvalidInput) and error.field is not None:
        body["field"] = error.field
    return Response(status, msgspec.json.encode(body), headers=headers)

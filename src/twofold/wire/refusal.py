"""Turns an error into the response that tells the caller, and no more than the caller may know."""

from __future__ import annotations

import functools
import logging
import math

import msgspec

from twofold.errors import InvalidInput, Overloaded
from twofold.serving import service
from twofold.serving.metrics import Outcome
from twofold.wire.http import Request, Response, path_of
from twofold.wire.request_id import LINE, REQUEST_ID, id_of, new_id
from twofold.wire.statuses import STATUSES, UNAUTHORIZED, UNAVAILABLE, WireError, code_of, told

log = logging.getLogger("twofold.wire")

CHALLENGE = b"WWW-Authenticate: Bearer\r\n"
"""What a 401 must carry (RFC 9110, 15.5.2; RFC 6750, 3)."""
MAX_RETRY_AFTER_S = 86_400
"""A client that is told to wait longer than a day won't."""
SERVER_FAULT = 500


def refusal(error: Exception, request: Request | None = None) -> Response:
    """Answer an error: `{"error": "where: expected X, got Y. Fix.", "code": "..."}`.

    A fault of the model or the server is logged with a request id, which is all that the caller
    learns of it.

    Args:
        error: What went wrong.
        request: What is answered; its own id is used, if it has one.
    """
    if isinstance(error, Overloaded):
        # Under load one is given many times; the last ones are kept as they were rendered, but
        # without their tracebacks, which would keep whole requests.
        return _overloaded(error.with_traceback(None))
    return _rendered(error, request)


@functools.lru_cache(maxsize=16)
def _overloaded(error: Overloaded) -> Response:
    return _rendered(error)


def _rendered(error: Exception, request: Request | None = None) -> Response:
    code = code_of(error)
    status = STATUSES[code]
    body: dict[str, str] = {"error": told(error), "code": code}
    headers = error.headers if isinstance(error, WireError) else b""
    if status == SERVER_FAULT:
        request_id = _log_fault(error, request)
        who = "the model" if code == "prediction_failed" else "the server"
        body["error"] = (
            f"prediction: expected {who} to answer, got a failure inside it. "
            f"Ask its operator about request {request_id}."
        )
        body["request_id"] = request_id
        headers += LINE % request_id.encode()
    elif status == UNAUTHORIZED:
        headers += CHALLENGE
    else:
        headers += _retry_after(error, status)
    if isinstance(error, InvalidInput) and error.field is not None:
        body["field"] = error.field
    return Response(status, msgspec.json.encode(body), headers=headers)


def _log_fault(error: Exception, request: Request | None) -> str:
    """Log what the caller doesn't learn; give the id under which it is found."""
    if request is not None and REQUEST_ID in request.headers:
        request_id = id_of(request.headers).decode()
    else:
        request_id = new_id()
    fields = {"request_id": request_id}
    if request is not None and request.target:
        fields["path"] = path_of(request)
    log.error("request %s failed", request_id, exc_info=error, extra={"fields": fields})
    return request_id


def outcome_of(error: Exception) -> Outcome:
    """How an infer request that ended with `error` is counted.

    What isn't of its protocol is as invalid as what doesn't fit the signature.
    """
    return Outcome.INVALID if isinstance(error, WireError) else service.outcome_of(error)


def _retry_after(error: Exception, status: int) -> bytes:
    """When to send the request again: as the error says, in whole seconds (RFC 9110, 10.2.3)."""
    wait_s: float | None = getattr(error, "retry_after_s", None)
    if wait_s is None:
        if status != UNAVAILABLE:
            return b""
        wait_s = 1.0
    return b"Retry-After: %d\r\n" % max(1, math.ceil(min(MAX_RETRY_AFTER_S, wait_s)))

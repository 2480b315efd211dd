"""The log of requests: one line for each, with how it was answered and nothing of what it said."""

from __future__ import annotations

import logging
from typing import Any

from twofold.wire.http import path_of
from twofold.wire.request_id import NAME, REQUEST_ID
from twofold.wire.watched import Exchange

log = logging.getLogger("twofold.requests")


def log_request(exchange: Exchange) -> None:
    """Log one request.

    Neither body nor query nor header is in the line, but for the request's id.
    """
    request, response, ended = exchange.request, exchange.response, exchange.ended
    fields: dict[str, Any] = {
        "method": request.method.decode("ascii", "backslashreplace"),
        "path": path_of(request),
        "status": response.status,
    }
    if ended is not None:
        fields["model"], fields["version"] = ended.served.name, ended.served.version
        fields["outcome"], fields["rows"] = str(ended.outcome), ended.rows
    fields["duration_ms"] = round(exchange.duration_s * 1000, 3)
    request_id = _id(exchange)
    if request_id:
        fields["request_id"] = request_id
    fields["bytes_in"] = len(request.body)
    fields["bytes_out"] = 0 if request.method == b"HEAD" else len(response.body)
    log.info("answered", extra={"fields": fields})


def _id(exchange: Exchange) -> str:
    """The id of a request; one that had none was given one if it failed inside."""
    if REQUEST_ID in exchange.request.headers:
        return exchange.request.headers[REQUEST_ID].decode("ascii")
    _, found, rest = exchange.response.headers.partition(NAME)
    return rest.partition(b"\r\n")[0].decode("ascii") if found else ""

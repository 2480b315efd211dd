"""Which error is answered with which HTTP status and code: the one table.

Codes are part of the contract: clients may tell errors apart by them.
"""

from __future__ import annotations

import functools

from twofold.errors import (
    DeadlineExceeded,
    Draining,
    InvalidInput,
    PredictionFailed,
    QuotaExceeded,
    Refused,
    Stale,
    StoreUnavailable,
    TwofoldError,
    UnknownKey,
    UnknownModel,
)

OK = 200
UNAUTHORIZED = 401
UNAVAILABLE = 503

STATUSES: dict[str, int] = {
    "bad_request": 400,
    "not_json": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "unknown_path": 404,
    "unknown_model": 404,
    "unknown_key": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "body_too_large": 413,
    "too_many_rows": 413,
    "url_too_long": 414,
    "unsupported_media_type": 415,
    "expectation_failed": 417,
    "invalid_input": 422,
    "quota_exceeded": 429,
    "headers_too_large": 431,
    "prediction_failed": 500,
    "internal": 500,
    "draining": 503,
    "stale": 503,
    "store_unavailable": 503,
    "overloaded": 503,
    "too_many_connections": 503,
    "deadline_exceeded": 504,
}
"""The status of every code."""

ERRORS: tuple[tuple[type[TwofoldError], str], ...] = (
    (UnknownModel, "unknown_model"),
    (UnknownKey, "unknown_key"),
    (InvalidInput, "invalid_input"),
    (Draining, "draining"),
    (Stale, "stale"),
    (QuotaExceeded, "quota_exceeded"),
    (Refused, "overloaded"),
    (DeadlineExceeded, "deadline_exceeded"),
    (PredictionFailed, "prediction_failed"),
    (StoreUnavailable, "store_unavailable"),
)
"""The code of every error; the first class that fits counts."""

REASONS: dict[int, str] = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
"""Every status the server answers, with its name (RFC 9110, RFC 6585)."""

STORE_AWAY = (
    "store: expected an answer, got none. Send the row, too, for a live prediction, or try again "
    "later."
)


class WireError(TwofoldError):
    """The request breaks HTTP, a limit, or this server's routes.

    Attributes:
        code: One of `STATUSES`.
        headers: Header lines the answer must carry, each ended by CRLF.
    """

    def __init__(self, code: str, message: str, *, headers: bytes = b"") -> None:
        """Keep what the answer needs."""
        super().__init__(message)
        self.code = code
        self.headers = headers


def told(error: Exception) -> str:
    """What the caller is told of an error: of a store, its address is the operator's to know."""
    return STORE_AWAY if isinstance(error, StoreUnavailable) else str(error)


def code_of(error: Exception) -> str:
    """The code of an error; `internal` for what isn't in the table."""
    if isinstance(error, WireError):
        return error.code
    return _code_of(type(error))


@functools.cache
def _code_of(kind: type[Exception]) -> str:
    return next((code for known, code in ERRORS if issubclass(kind, known)), "internal")

"""`POST /v1/models/{model}/predict`: one row in, one prediction out; many in, a list out."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.rows import describe
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.wire.http import JSON, Request, Response
from twofold.wire.statuses import OK, WireError

DEADLINE = b"x-twofold-deadline-ms"
MILLISECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
JSON_UTF8 = re.compile(rb"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)
ONE = 'Send {"row": {...}} for one row.'
MANY = 'Send {"rows": [...]} for many rows.'


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    row: Any = msgspec.UNSET
    rows: Any = msgspec.UNSET


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


class Predict:
    """The handler of one served version."""

    def __init__(self, service: Service, served: Served, settings: ServeSettings) -> None:
        """Prepare the part of the answers that never changes."""
        self._service = service
        self._served = served
        self._deadline_s = settings.deadline_s
        self._max_rows = settings.max_rows
        tail = {"model": served.name, "version": served.version, "source": "live"}
        self._tail = b"," + _encode(tail)[1:]
        self._has_tensors = any(f.type == "tensor" for f in served.model.signature.fields)

    def __call__(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            WireError: It isn't such a request.
            TwofoldError: See `Service.predict_one`.
        """
        served = self._served
        try:
            deadline_s = self._deadline(request)
            body = self._body(request)
        except (WireError, InvalidInput):
            self._service.count_invalid(served)
            raise
        if body.rows is msgspec.UNSET:
            prediction = self._service.predict_one(
                served, body.row, received_s=request.received_s, deadline_s=deadline_s
            )
            return Response(OK, b'{"prediction":' + _encode(prediction) + self._tail)
        predictions = self._service.predict_many(
            served, body.rows, received_s=request.received_s, deadline_s=deadline_s
        )
        return Response(OK, b'{"predictions":' + _encode(predictions) + self._tail)

    def _deadline(self, request: Request) -> float:
        text = request.headers.get(DEADLINE)
        if text is None:
            return request.received_s + self._deadline_s
        if not MILLISECONDS.fullmatch(text) or float(text) == 0.0:
            shown = describe(text.decode("latin-1"))
            fix = "Send a number such as 250."
            raise WireError(
                "bad_request",
                problem("X-Twofold-Deadline-Ms", "a positive number of milliseconds", shown, fix),
            )
        return request.received_s + float(text) / 1000

    def _body(self, request: Request) -> _Body:
        kind = request.headers.get(b"content-type")
        if kind is not None and kind != JSON:
            _check_kind(kind)
        if b"content-encoding" in request.headers:
            shown = describe(request.headers[b"content-encoding"].decode("latin-1"))
            raise WireError(
                "unsupported_media_type",
                problem("Content-Encoding", "none", shown, "Send the body uncompressed."),
            )
        try:
            body = _decode(request.body)
        except RecursionError:
            raise _too_deep() from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _why(request.body, error) from None
        if body.rows is msgspec.UNSET:
            self._check_row(body.row)
        else:
            self._check_rows(body)
        return body

    def _check_row(self, row: Any) -> None:
        if row is msgspec.UNSET:
            raise InvalidInput(problem("body", '"row" or "rows"', "neither", f"{ONE} {MANY}"))
        if isinstance(row, list) and row:
            several: list[Any] = row
            nested = (dict,) if self._has_tensors else (dict, list)
            if all(isinstance(item, nested) for item in several):
                raise InvalidInput(problem("row", "one row", f"a list of {len(several)}", MANY))

    def _check_rows(self, body: _Body) -> None:
        if body.row is not msgspec.UNSET:
            raise InvalidInput(problem("body", '"row" or "rows"', "both", f"{ONE} {MANY}"))
        rows: Any = body.rows
        if not isinstance(rows, list):
            raise InvalidInput(problem("rows", "a list of rows", describe(rows), ONE))
        count = len(rows)  # type: ignore[arg-type] - a list of anything
        if count > self._max_rows:
            fix = "Send them in several requests, or use a batch run."
            raise WireError(
                "too_many_rows", problem("rows", f"at most {self._max_rows} rows", str(count), fix)
            )


def _check_kind(kind: bytes) -> None:
    if not JSON_UTF8.fullmatch(kind):
        raise WireError(
            "unsupported_media_type",
            problem(
                "Content-Type",
                "application/json in UTF-8",
                describe(kind.decode("latin-1")),
                "Send JSON, with the header Content-Type: application/json.",
            ),
        )


def _too_deep() -> WireError:
    return WireError("not_json", problem("body", "plain values", "JSON nested too deep", ONE))


def _why(body: bytes, error: Exception) -> WireError | InvalidInput:
    """Say what is wrong with a body; it was refused already, so time doesn't matter."""
    if not body.strip():
        return WireError("not_json", problem("body", "a JSON object", "nothing", f"{ONE} {MANY}"))
    if not isinstance(error, msgspec.ValidationError):
        got = "text that isn't UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error}"
        return WireError("not_json", problem("body", "JSON", got, "Mend the text."))
    try:
        value: Any = msgspec.json.decode(body)
    except RecursionError:
        return _too_deep()
    except msgspec.ValidationError:
        return InvalidInput(
            problem(
                "body",
                "numbers within the range of float64",
                "one beyond it",
                "Send smaller numbers.",
            )
        )
    if not isinstance(value, dict):
        return WireError(
            "not_json", problem("body", "a JSON object", describe(value), f"{ONE} {MANY}")
        )
    unknown = next(iter(value.keys() - {"row", "rows"}))
    return InvalidInput(
        problem("body", 'only "row" or "rows"', f"a member {describe(unknown)}", f"{ONE} {MANY}")
    )

"""`POST /v1/models/{model}/predict`: one row in, one prediction out; many in, a list out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.members import name_twice
from twofold.model.rows import describe
from twofold.serving.service import Contract
from twofold.wire.call import Around, Call, Form, Plain
from twofold.wire.http import JSON, Request, Response
from twofold.wire.statuses import OK, WireError

JSON_UTF8 = re.compile(rb"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)
ONE = 'Send {"row": {...}} for one row.'
MANY = 'Send {"rows": [...]} for many rows.'
ONE_ROW = re.compile(rb'(\s*\{\s*"row"\s*:).*(\}\s*)', re.DOTALL)


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    row: Any = msgspec.UNSET
    rows: Any = msgspec.UNSET


_decode = msgspec.json.Decoder(_Body).decode
_decode_row = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class V1:
    """The protocol of twofold itself, for one served version."""

    def __init__(self, served: Contract, *, max_rows: int) -> None:
        """Prepare the part of the answers that never changes."""
        self._check = served.check
        self._max_rows = max_rows
        self._names = served.output.names
        tail = {"model": served.name, "version": served.version, "source": "live"}
        self._tail = b"," + _encode(tail)[1:]
        self._around = Around(b'{"prediction":', _encode, self._tail)
        self._one = self._around if len(self._names) == 1 else self._one_of_several
        self._has_tensors = any(field.type == "tensor" for field in served.signature.fields)

    def plain(self, body: bytes, json_length: bytes | None) -> Plain | None:  # noqa: ARG002
        """Read one row; see `Reader`."""
        try:
            read = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        row: Any = read.row
        if read.rows is not msgspec.UNSET or (
            type(row) is dict and body.count(b":") != len(row) + 1  # type: ignore[arg-type]
        ):
            return None
        return row, self._one

    def form(self, body: bytes, json_length: bytes | None) -> Form | None:
        """Tell what stands around the row; see `Reader`."""
        found = ONE_ROW.fullmatch(body)
        if found is None or json_length is not None:
            return None
        return Form(found.groups(), _decode_row, 0, self._around)

    def read(self, request: Request) -> Call:
        """Read one request; see `Reader`."""
        body = _body(request)
        _check_names(request.body, body)
        if body.rows is msgspec.UNSET:
            self._check_row(body.row)
            return Call([self._check(body.row)], self._one)
        self._check_rows(body)
        check = self._check
        rows = [check(row, where=f"rows[{index}]") for index, row in enumerate(body.rows)]
        return Call(rows, self._many)

    def _one_of_several(self, columns: Sequence[Sequence[Any]]) -> Response:
        return self._around((self._listed(columns),))

    def _many(self, columns: Sequence[Sequence[Any]]) -> Response:
        predictions = self._listed(columns)
        return Response(OK, b'{"predictions":' + _encode(predictions) + self._tail)

    def _listed(self, columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
        names = self._names
        if not columns:
            return []  # There were no rows.
        if len(names) == 1:
            return columns[0]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

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


def _body(request: Request) -> _Body:
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
        return _decode(request.body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _why(request.body, error) from None


def _check_names(text: bytes, body: _Body) -> None:
    """Refuse a name that stands twice in an object: who reads the other value sees another row."""
    rows: list[Any] = [body.row] if body.rows is msgspec.UNSET else [body.row, body.rows]
    if isinstance(body.rows, list):
        rows += body.rows
    members = sum(len(row) for row in rows if isinstance(row, dict))
    members += (body.row is not msgspec.UNSET) + (body.rows is not msgspec.UNSET)
    twice = name_twice(text, members=members)
    if twice is not None:
        raise InvalidInput(
            problem("body", "each name once in an object", f"{describe(twice)} twice", "Send one.")
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


def _no_json(error: Exception) -> WireError | InvalidInput:
    if isinstance(error, msgspec.ValidationError):
        expected = "numbers within the range of float64"
        return InvalidInput(problem("body", expected, "one beyond it", "Send smaller numbers."))
    got = "text that isn't UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error}"
    return WireError("not_json", problem("body", "JSON", got, "Mend the text."))


def _why(body: bytes, error: Exception) -> WireError | InvalidInput:
    """Say what is wrong with a body; it was refused already, so time doesn't matter."""
    if not body.strip():
        return WireError("not_json", problem("body", "a JSON object", "nothing", f"{ONE} {MANY}"))
    if not isinstance(error, msgspec.ValidationError):
        return _no_json(error)
    # What comes first has the wrong type; what follows may be no JSON at all.
    try:
        value: Any = msgspec.json.decode(body)
    except RecursionError:
        return _too_deep()
    except (msgspec.MsgspecError, UnicodeDecodeError) as later:
        return _no_json(later)
    if not isinstance(value, dict):
        return WireError(
            "not_json", problem("body", "a JSON object", describe(value), f"{ONE} {MANY}")
        )
    unknown = next(iter(value.keys() - {"row", "rows"}))
    return InvalidInput(
        problem("body", 'only "row" or "rows"', f"a member {describe(unknown)}", f"{ONE} {MANY}")
    )

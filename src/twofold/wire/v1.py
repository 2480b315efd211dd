"""`POST /v1/models/{model}/predict`: one row in, one prediction out; many in, a list out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.rows import describe
from twofold.serving.service import Contract
from twofold.wire.call import Around, Call, Form, Plain
from twofold.wire.http import Request, Response
from twofold.wire.json_body import check_twice, read_body
from twofold.wire.statuses import OK, WireError

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
        body = read_body(request, _decode, ("row", "rows"), f"{ONE} {MANY}")
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


def _check_names(text: bytes, body: _Body) -> None:
    """Refuse a name that stands twice in an object."""
    rows: list[Any] = [body.row] if body.rows is msgspec.UNSET else [body.row, body.rows]
    if isinstance(body.rows, list):
        rows += body.rows
    members = sum(len(row) for row in rows if isinstance(row, dict))
    members += (body.row is not msgspec.UNSET) + (body.rows is not msgspec.UNSET)
    check_twice(text, members)

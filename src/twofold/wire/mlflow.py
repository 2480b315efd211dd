"""MLflow's scoring protocol, which is also that of SageMaker's containers.

`POST /invocations` takes rows as JSON under one of four names, as CSV, or as JSON lines:

================= ============================================== ==========================
name              value                                          its second row in messages
================= ============================================== ==========================
dataframe_split   {"columns": [name, ...], "data": [[...], ...]} dataframe_split.data[1]
dataframe_records [{name: ...}, ...]                             dataframe_records[1]
instances         the same, or lists, or the only input's values instances[1]
inputs            {name: [...], ...}, or as instances            inputs.name[1]
(CSV)             with or without a header line                  rows[1]
(JSON lines)      one of instances a line                        lines[1]
================= ============================================== ==========================

Clients send the same columns again and again: where the fields are is worked out once, and found
again by the columns' bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.columns import check_names
from twofold.model.rows import MAX_SHOWN_CHARS, describe
from twofold.model.signature import Field, Value
from twofold.serving.service import Contract
from twofold.wire import csv_text
from twofold.wire.call import Call
from twofold.wire.http import JSON, Request, Response
from twofold.wire.mlflow_body import (
    PAYLOADS,
    Body,
    Split,
    decode,
    decode_lines,
    names,
    wrong_members,
)
from twofold.wire.statuses import OK, UNAVAILABLE, WireError

CSV = "text/csv"
JSON_LINES = ("application/jsonlines", "application/x-jsonlines", "application/x-ndjson")
TEXT = b"text/plain; charset=utf-8"
UTF_8 = ("utf-8", "utf8")
HEADER = ("present", "absent")
NOT_A_TIME = "NaT"
"""What MLflow's client makes of a timestamp that pandas hasn't."""

MAX_PLANS = 64
MAX_PLAN_BYTES = 4096
EXAMPLES = {
    "dataframe_records": 'Send {"dataframe_records": [{...}, ...]}.',
    "instances": 'Send {"instances": [{...}, ...]}.',
    "inputs": 'Send {"inputs": {name: [...], ...}}, with a list for each field.',
}


class _Rows(NamedTuple):
    """Rows as they came, how messages call them, and whether they came by columns."""

    rows: list[Any]
    where: str
    by_column: bool = False


class _Plan(NamedTuple):
    """How wide a table is (0: no columns), and where its fields are if not in their order."""

    width: int
    order: list[int] | None = None


_encode = msgspec.json.Encoder().encode


class Invocations:
    """The reader of one served version's requests."""

    def __init__(self, served: Contract, *, max_rows: int) -> None:
        """Prepare what each request needs of the signature.

        Args:
            served: The version.
            max_rows: Rows one request may ask for.
        """
        fields = served.signature.fields
        self._max_rows = max_rows
        self._check = served.check
        self._signature = served.signature
        self._fields = fields
        self._names = [field.name for field in fields]
        self._inputs = frozenset(self._names)
        self._known = self._inputs.union(self._signature.ignored)
        self._timestamps = {f.name: i for i, f in enumerate(fields) if f.type == "timestamp"}
        self._parsers = [csv_text.parser(field) for field in fields]
        self._plans: dict[bytes, _Plan] = {}
        self._is_sole = len(fields) == 1
        self._is_tensor = self._is_sole and fields[0].type == "tensor"
        self._outputs = served.output.names
        # Every answer says what made it; MLflow's body has no place for that.
        facts = {"Model": served.name, "Version": served.version, "Source": "live"}
        self._headers = b"".join(f"X-Twofold-{k}: {v}\r\n".encode() for k, v in facts.items())

    def plain(self, body: bytes, json_length: bytes | None) -> None:
        """Leave every request to `read`; see `Reader`."""

    def form(self, body: bytes, json_length: bytes | None) -> None:
        """Tell of no form; see `Reader`."""

    def read(self, request: Request) -> Call:
        """Read one request; see `twofold.wire.call.Reader`."""
        headers = request.headers
        if b"content-encoding" in headers:
            shown = describe(headers[b"content-encoding"].decode("latin-1"))
            fix = "Send the body uncompressed."
            raise _unsupported(problem("Content-Encoding", "none", shown, fix))
        kind = headers.get(b"content-type")
        came = self._json(request.body) if not kind or kind == JSON else self._of_kind(request)
        respond = self._csv_response if _wants_csv(headers) else self._json_response
        return Call(self._checked(came), respond)

    def _checked(self, came: _Rows) -> list[list[Value]]:
        """Check each row; only a bad one is worth the making of its name."""
        values: list[list[Value]] = []
        check = self._check
        try:
            for row in came.rows:
                values.append(check(row))  # noqa: PERF401 - a failure leaves how many were good
        except InvalidInput:
            raise self._why(came, len(values)) from None
        return values

    def _why(self, came: _Rows, index: int) -> InvalidInput:
        where = came.where if came.by_column else f"{came.where}[{index}]"
        try:
            self._check(came.rows[index], where=where)
        except InvalidInput as error:
            if not came.by_column:
                return error
            place = f"{where}.{error.field}"
            words = str(error).removeprefix(place)
            return InvalidInput(f"{place}[{index}]{words}", field=error.field)
        raise AssertionError("a row was refused once and then admitted")

    def _json_response(self, outputs: Sequence[Sequence[Any]]) -> Response:
        predictions: Sequence[Any] = outputs[0]
        if len(self._outputs) > 1:
            rows = zip(*outputs, strict=True)
            predictions = [dict(zip(self._outputs, row, strict=True)) for row in rows]
        body = b'{"predictions":' + _encode(predictions) + b"}"
        return Response(OK, body, headers=self._headers)

    def _csv_response(self, outputs: Sequence[Sequence[Any]]) -> Response:
        return Response(OK, csv_text.lines(outputs), CSV.encode(), self._headers)

    # JSON

    def _json(self, body: bytes) -> _Rows:
        sent = decode(body)
        values = (sent.dataframe_split, sent.dataframe_records, sent.instances, sent.inputs)
        if values.count(msgspec.UNSET) != len(values) - 1:
            raise wrong_members([n for n in PAYLOADS if getattr(sent, n) is not msgspec.UNSET])
        came = self._rows(sent)
        self._clear_timestamps(came.rows, body)
        return came

    def _rows(self, sent: Body) -> _Rows:
        if isinstance(sent.dataframe_split, Split):
            return self._split(sent.dataframe_split)
        if isinstance(sent.inputs, dict):
            return self._columns(sent.inputs)
        where = next(n for n in PAYLOADS if getattr(sent, n) is not msgspec.UNSET)
        rows: Any = getattr(sent, where)
        if isinstance(rows, list):
            return _Rows(self._listed(rows, where), where)
        raise InvalidInput(problem(where, "a list of rows", describe(rows), EXAMPLES[where]))

    def _lines(self, body: bytes) -> _Rows:
        where = "lines"
        rows = self._listed(decode_lines(body, where), where)
        self._clear_timestamps(rows, body)
        return _Rows(rows, where)

    def _split(self, split: Split) -> _Rows:
        where = "dataframe_split.data"
        rows, columns = split.data, bytes(split.columns)
        plan = self._plans.get(columns) or self._plan(columns)
        if not plan.width:
            return _Rows(self._listed(rows, where), where)
        self._limit(len(rows), where)
        if plan.order is None:
            return _Rows(rows, where)
        for index, row in enumerate(rows):
            if len(row) != plan.width:
                expected = f"{_count(plan.width, 'value')} like the columns"
                fix = "Send one value per column."
                raise InvalidInput(problem(f"{where}[{index}]", expected, f"{len(row)}", fix))
        return _Rows([[row[place] for place in plan.order] for row in rows], where)

    def _plan(self, columns: bytes) -> _Plan:
        given = names(columns)
        plan = _Plan(0)
        if given is not None:
            order = self._order(given, "dataframe_split.columns")
            plan = _Plan(len(given), None if given == self._names else order)
        if len(columns) <= MAX_PLAN_BYTES and len(self._plans) < MAX_PLANS:
            self._plans[columns] = plan
        return plan

    def _listed(self, rows: list[Any], where: str) -> list[Any]:
        """Rows one by one; those of a model of one field may be that field's values."""
        self._limit(len(rows), where)
        if self._is_tensor:
            return [row if _holds_tensor(row) else [row] for row in rows]
        if self._is_sole:
            return [row if isinstance(row, (list, dict)) else [row] for row in rows]
        return rows

    def _columns(self, inputs: dict[str, Any]) -> _Rows:
        where = "inputs"
        if inputs.keys() != self._inputs:
            self._order(list(inputs), where)
        columns = [_column(field, inputs[field.name]) for field in self._fields]
        rows = len(columns[0])
        if any(len(column) != rows for column in columns):
            raise self._ragged(columns)
        self._limit(rows, where)
        return _Rows([list(row) for row in zip(*columns, strict=True)], where, by_column=True)

    def _ragged(self, columns: list[list[Any]]) -> InvalidInput:
        counts = list(map(len, columns))
        rows = Counter(counts).most_common(1)[0][0]
        index = next(index for index, count in enumerate(counts) if count != rows)
        name = self._names[index]
        expected = f"{_count(rows, 'row')} like the other inputs"
        fix = "Send one value per row for every input."
        words = problem(f"inputs.{name}", expected, f"{counts[index]}", fix)
        return InvalidInput(words, field=name)

    def _order(self, columns: Sequence[str], where: str) -> list[int]:
        """Where each field is in a table.

        Raises:
            InvalidInput: A field is missing or doubled, or a column is none of the model's.
        """
        places = {name: place for place, name in enumerate(columns)}
        if len(places) < len(columns):
            often = Counter(columns)
            doubled = next((name for name in self._names if often[name] > 1), None)
            if doubled is not None:
                words = problem(f"{where}.{doubled}", "one column", "several", "Rename the others.")
                raise InvalidInput(words, field=doubled)
        if not (self._known >= places.keys() >= self._inputs):
            # Its words, but for a few short names: it goes through all of them for each field.
            few = [name for name in places if name in self._known]
            strange = next((name for name in places if name not in self._known), None)
            if strange is not None:
                is_short = len(strange) <= MAX_SHOWN_CHARS
                few.append(strange if is_short else strange[:MAX_SHOWN_CHARS] + "...")
            check_names(self._signature, few, where=where)
        return [places[name] for name in self._names]

    def _clear_timestamps(self, rows: list[Any], body: bytes) -> None:
        if not self._timestamps or NOT_A_TIME.encode() not in body:
            return
        for row in rows:
            for name, place in self._timestamps.items():
                if isinstance(row, dict):
                    if row.get(name) == NOT_A_TIME:
                        row[name] = None
                elif isinstance(row, list) and row[place : place + 1] == [NOT_A_TIME]:
                    row[place] = None

    def _limit(self, count: int, where: str) -> None:
        if not count:
            raise InvalidInput(problem(where, "at least one row", "none", "Send a row."))
        if count > self._max_rows:
            expected = f"at most {_count(self._max_rows, 'row')}"
            fix = "Send them in several requests, or use a batch run."
            raise WireError("too_many_rows", problem(where, expected, f"{count}", fix))

    # Other media types

    def _of_kind(self, request: Request) -> _Rows:
        sent = request.headers[b"content-type"].decode("latin-1")
        name, parameters = _media_type(sent)
        charset = parameters.pop("charset", UTF_8[0])
        header = parameters.pop("header", None) if name == CSV else None
        if charset in UTF_8 and not parameters and (header is None or header in HEADER):
            if name == CSV:
                return self._csv(request.body, header)
            if name in JSON_LINES:
                return self._lines(request.body)
            if name.encode() == JSON:
                return self._json(request.body)
        expected = (
            f"application/json, {CSV} (with header=present or header=absent, if need be) or "
            f"{JSON_LINES[0]}, all in UTF-8"
        )
        fix = "Send the rows as one of these."
        raise _unsupported(problem("Content-Type", expected, describe(sent), fix))

    def _csv(self, body: bytes, header: str | None) -> _Rows:
        where = "rows"
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError:
            words = problem("body", "CSV in UTF-8", "other bytes", "Save the text as UTF-8.")
            raise WireError("bad_request", words) from None
        records = csv_text.records(text)
        cells: list[list[str | None]] = []
        order: list[int] | None = None
        width = 0
        for record in records:
            if not width:
                width = len(record)
                if header == "present" or (header is None and not self._may_be_row(record)):
                    order = self._order([name or "" for name in record], "header")
                    continue
            if len(record) != width:
                like = "first row" if order is None else "header"
                expected = f"{_count(width, 'cell')} like the {like}"
                fix = "Mend the line; put text with a comma or a line break in double quotes."
                place = f"{where}[{len(cells)}]"
                raise InvalidInput(problem(place, expected, f"{len(record)}", fix))
            cells.append(record)
            if len(cells) > self._max_rows:
                break  # The rest isn't worth reading.
        self._limit(len(cells), where)
        return _Rows([self._parsed(record, order) for record in cells], where)

    def _may_be_row(self, record: list[str | None]) -> bool:
        """Whether the first record is rather a row than a header: SageMaker's has none."""
        widths = {len(self._fields)}
        if self._is_tensor:
            widths.add(self._fields[0].length or 0)
        return len(record) in widths and self._inputs.isdisjoint(record)

    def _parsed(self, record: list[str | None], order: list[int] | None) -> list[Any]:
        if order is not None:
            record = [record[place] for place in order]
        elif self._is_tensor and (len(record) > 1 or not str(record[0]).startswith("[")):
            return [[None if cell is None else csv_text.number(cell) for cell in record]]
        if len(record) != len(self._parsers):
            return record
        cells = zip(self._parsers, record, strict=True)
        return [None if cell is None else parse(cell) for parse, cell in cells]


def ping(*, ready: bool) -> Response:
    """Answer `GET /ping` and `GET /health`; what counts is the status.

    MLflow's own body is a line break, which clients that read JSON can't take.
    """
    return Response(OK if ready else UNAVAILABLE, _encode({"ready": ready}))


def version(of: str) -> Response:
    """Answer `GET /version` with plain text, as MLflow's client takes it."""
    return Response(OK, of.encode(), TEXT)


def _wants_csv(headers: Mapping[bytes, bytes]) -> bool:
    accept = headers.get(b"accept")
    if accept is None or accept == b"*/*":
        return False
    first = accept.partition(b",")[0].partition(b";")[0]
    return first.strip().lower() == CSV.encode()


def _media_type(header: str) -> tuple[str, dict[str, str]]:
    name, *parameters = header.lower().split(";")
    pairs = [part.partition("=") for part in parameters if part.strip()]
    return name.strip(), {key.strip(): text.strip().strip('"') for key, _, text in pairs}


def _unsupported(words: str) -> WireError:
    return WireError("unsupported_media_type", words)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _holds_tensor(row: Any) -> bool:
    """Whether a row of a model of one tensor is more than that tensor's numbers."""
    if isinstance(row, list):
        only: Any = row[0] if len(row) == 1 else 0
        return only is None or isinstance(only, list)
    return isinstance(row, dict)


def _column(field: Field, value: Any) -> list[Any]:
    """The values of one input: a list of them, or one row's."""
    if not isinstance(value, list):
        return [value]
    if field.type != "tensor" or not value:
        return value
    are_several = any(item is None or isinstance(item, list) for item in value)
    return value if are_several else [value]

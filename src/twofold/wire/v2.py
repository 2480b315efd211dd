"""`POST /v2/models/{model}/infer`: the Open Inference Protocol V2, and its binary extension.

Clients that send raw tensors repeat the JSON before them: what it says is worked out once, and
found again by its bytes.
"""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from twofold.errors import InvalidInput, TwofoldError, problem
from twofold.model.rows import describe
from twofold.serving.service import Contract
from twofold.wire.call import Around, Call, Form, Plain
from twofold.wire.http import JSON, Request
from twofold.wire.statuses import WireError
from twofold.wire.v2_answer import OCTETS, Answers, Respond, no_shared_memory
from twofold.wire.v2_layout import Layout, Rows, shown_size
from twofold.wire.v2_request import EXAMPLE, Head, read_head, where_of
from twofold.wire.v2_tensors import Tensors

HEADER_LENGTH = b"inference-header-content-length"
MAX_LENGTH_DIGITS = 18
CONTENT_TYPE = re.compile(
    rb"application/(octet-stream|json\s*(;\s*charset\s*=\s*\"?utf-8\"?)?)\s*", re.IGNORECASE
)
DATA = re.compile(rb'"data"\s*+:\s*+\[?(\[(?:[^][{}"]|"(?:[^"\\]|\\.)*+")*+\])', re.DOTALL)
"""A tensor's values in JSON: a flat list. In what is no JSON it could look for them for seconds."""
MAX_PLANS = 64
MAX_PLAN_HEADER_BYTES = 4096


class _Plan(msgspec.Struct, frozen=True):
    """What a JSON header says.

    Attributes:
        layout: How to read the rows.
        raw_bytes: How many bytes come behind the header.
        respond: Makes the response.
    """

    layout: Layout
    raw_bytes: int
    respond: Respond


class V2:
    """Reads the infer requests for one served version."""

    def __init__(self, served: Contract, *, max_rows: int) -> None:
        """Look up what doesn't depend on the request.

        Args:
            served: The version.
            max_rows: How many rows a request may have.
        """
        self._check = served.check
        self._tensors = Tensors(served.signature, max_rows=max_rows)
        self._answers = Answers(served.name, served.version, served.output)
        self._plans: dict[bytes, _Plan] = {}

    def plain(self, body: bytes, json_length: bytes | None) -> Plain | None:
        """Read one row; see `Reader`."""
        try:
            plan, start = self._planned(body, json_length)
            layout = plan.layout
            if layout.count != 1:
                return None
            return layout.rows(body, start)[0], plan.respond
        except TwofoldError:
            return None

    def form(self, body: bytes, json_length: bytes | None) -> Form | None:
        """Tell what stands around the values; see `Reader`."""
        try:
            if json_length is None:
                return self._form_of_json(body)
            plan, start = self._planned(body, json_length)
        except TwofoldError:
            return None
        read, respond, head = plan.layout.read_one, plan.respond, body[:start]
        # What isn't remembered has an id, most likely another one in every request.
        if read is None or not isinstance(respond, Around) or head not in self._plans:
            return None
        return Form((head,), read, plan.raw_bytes, respond)

    def _form_of_json(self, body: bytes) -> Form | None:
        read_head(body)  # see DATA
        places = [found.span(1) for found in DATA.finditer(body)]
        starts, ends = zip(*places, strict=True) if places else ((), ())
        parts = tuple(
            body[end:start] for end, start in zip((0, *ends), (*starts, len(body)), strict=True)
        )
        # Such text may have stood within a name, or a member stood twice: then values are left.
        head = read_head(b"[]".join(parts))
        if head.id is not None or any(tensor.data not in ([], [[]]) for tensor in head.inputs):
            return None
        read, respond = self._tensors.reader_of_one(head.inputs), self._answers.respond(head, 1)
        if read is None or len(head.inputs) != len(places) or not isinstance(respond, Around):
            return None
        return Form(parts, read, 0, respond)

    def read(self, request: Request) -> Call:
        """Read one request.

        Raises:
            WireError: It isn't of the protocol, or has too many rows.
            InvalidInput: Its tensors don't fit the signature.
        """
        headers = request.headers
        kind = headers.get(b"content-type")
        if kind is not None and kind not in (JSON, OCTETS):
            _check_kind(kind)
        if b"content-encoding" in headers:
            _refuse_encoding(headers[b"content-encoding"])
        plan, start = self._planned(request.body, headers.get(HEADER_LENGTH))
        layout = plan.layout
        rows = layout.rows(request.body, start)
        check = self._check
        try:
            checked = [check(rows[0])] if layout.count == 1 else [check(row) for row in rows]
        except InvalidInput:
            self._blame(layout, rows)
            raise
        return Call(checked, plan.respond)

    def _planned(self, body: bytes, length: bytes | None) -> tuple[_Plan, int]:
        """Read the JSON of a request: what it says, and where it ends."""
        if length is None:
            start = len(body)
            plan = self._plan(read_head(body))
        else:
            start = int(length) if length.isdigit() and len(length) <= MAX_LENGTH_DIGITS else 0
            if not 0 < start <= len(body):
                _refuse_length(length, len(body))
            text = body[:start]
            plan = self._plans.get(text)
            if plan is None:
                plan = self._remember(text)
        if plan.raw_bytes != len(body) - start:
            _refuse_raw(plan.raw_bytes, len(body) - start, length)
        return plan, start

    def _remember(self, text: bytes) -> _Plan:
        head = read_head(text)
        plan = self._plan(head)
        # An id is most likely another one in every request, and without raw bytes the JSON is.
        if plan.raw_bytes and head.id is None and len(text) <= MAX_PLAN_HEADER_BYTES:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[text] = plan
        return plan

    def _plan(self, head: Head) -> _Plan:
        raw_bytes = 0
        for tensor in head.inputs:
            parameters = tensor.parameters
            if parameters is not None:
                if parameters.shared_memory_region is not None:
                    raise no_shared_memory(f"{where_of(tensor.name)}.parameters")
                raw_bytes += parameters.binary_data_size or 0
        layout = self._tensors.layout(head.inputs)
        return _Plan(layout, raw_bytes, self._answers.respond(head, layout.count))

    def _blame(self, layout: Layout, rows: Rows) -> None:
        """Find the first row that doesn't fit, and say where the caller wrote it."""
        for index, row in enumerate(rows):
            try:
                self._check(row)
            except InvalidInput as error:
                if error.field is None:
                    raise
                words = str(error).removeprefix(f"row.{error.field}")
                place = layout.place(index, error.field)
                raise InvalidInput(f"{place}{words}", field=error.field) from None


def _check_kind(kind: bytes) -> None:
    if not CONTENT_TYPE.fullmatch(kind):
        expected = "application/json in UTF-8, or application/octet-stream"
        fix = "Send JSON, with the header Content-Type: application/json."
        shown = describe(kind.decode("latin-1"))
        raise WireError("unsupported_media_type", problem("Content-Type", expected, shown, fix))


def _refuse_encoding(encoding: bytes) -> NoReturn:
    shown = describe(encoding.decode("latin-1"))
    fix = "Send the body uncompressed."
    raise WireError("unsupported_media_type", problem("Content-Encoding", "none", shown, fix))


def _refuse_length(text: bytes, body_bytes: int) -> NoReturn:
    raise WireError(
        "bad_request",
        problem(
            "Inference-Header-Content-Length",
            f"the length of the JSON that the body begins with, 1 to {body_bytes} bytes",
            describe(text.decode("latin-1")).removeprefix("string "),
            EXAMPLE,
        ),
    )


def _refuse_raw(expected: int, got: int, length: bytes | None) -> NoReturn:
    if length is None:
        where, wanted, came = "Inference-Header-Content-Length", "the length of the JSON", "nothing"
        fix = "Send it with raw bytes: the JSON ends there and they begin."
    else:
        where, wanted, came = "body", f"{shown_size(expected)} raw bytes behind the JSON", f"{got}"
        fix = "Send as many as the inputs' binary_data_size say together."
    raise WireError("bad_request", problem(where, wanted, came, fix))

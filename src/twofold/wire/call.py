"""Between bytes and rows: what a protocol reads out of a request, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from twofold.model.signature import Value
from twofold.wire.http import JSON, Request, Response
from twofold.wire.statuses import OK


class Call(msgspec.Struct, frozen=True):
    """One infer request, read and checked.

    Attributes:
        rows: Canonical values, one list per row in the signature's order; at least one row.
        respond: Makes the response from the predictions: for each output, in the order of
            `Output.names`, one plain Python value per row.
    """

    rows: Sequence[Sequence[Value]]
    respond: Callable[[Sequence[Sequence[Any]]], Response]


Plain = tuple[Any, Callable[[Sequence[Sequence[Any]]], Response]]
"""One row as it came, not yet checked, and what makes the response; see `Call`."""


class Around(NamedTuple):
    """Makes the response of one prediction: what stands before and behind it.

    Attributes:
        before: Of the body.
        write: Writes the prediction.
        after: Of the body.
        content_type: Of the response.
        headers: Its further header lines, each ended by CRLF.
    """

    before: bytes
    write: Callable[[Any], bytes]
    after: bytes
    content_type: bytes = JSON
    headers: bytes = b""

    def __call__(self, columns: Sequence[Sequence[Any]]) -> Response:
        """Make it; see `Call.respond`."""
        body = self.before + self.write(columns[0][0]) + self.after
        return Response(OK, body, self.content_type, self.headers)


class Form(NamedTuple):
    """What requests of one client have in common, that differ in nothing but their one row.

    Attributes:
        parts: The body but for the row: what stands before and behind each piece of it. One piece
            may be any JSON; several are flat lists, and become one. Of raw values, which follow,
            the one part is all of the JSON.
        read: Gives the row, as `Plain` has it: from its JSON, or, if it is raw, from a text that
            has it and where in it the row begins. Raises anything if it can't.
        raw_bytes: How long a raw row is; 0: it is JSON.
        respond: Makes the response.
    """

    parts: tuple[bytes, ...]
    read: Callable[..., Any]
    raw_bytes: int
    respond: Around


class Reader(Protocol):
    """Reads the requests of one protocol for one served version."""

    def plain(self, body: bytes, json_length: bytes | None) -> Plain | None:
        """Read the one row of a common request, and leave it to the kernel to check it.

        Args:
            body: Of JSON, uncompressed.
            json_length: How long the JSON is, if something else follows it.

        Returns:
            None for any other request, a wrong one too: `read` has the rules and the words.
        """
        ...

    def form(self, body: bytes, json_length: bytes | None) -> Form | None:
        """Tell what such requests have in common: whatever fits the form is read like this one.

        Args:
            body: See `plain`.
            json_length: See `plain`.

        Returns:
            None if they have nothing in common that helps.
        """
        ...

    def read(self, request: Request) -> Call:
        """Read one request.

        Raises:
            WireError: It isn't of the protocol.
            InvalidInput: Its rows don't fit the signature.
        """
        ...

"""Between bytes and rows: what a protocol reads out of a request, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from twofold.model.signature import Value
from twofold.wire.http import Request, Response


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

    def read(self, request: Request) -> Call:
        """Read one request.

        Raises:
            WireError: It isn't of the protocol.
            InvalidInput: Its rows don't fit the signature.
        """
        ...

"""A request that a load is made of."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from pathlib import Path

ASK_S = 5.0


@dataclass(frozen=True)
class Request:
    """One HTTP request; without a body it is a GET.

    Attributes:
        path: What is asked.
        body: What is sent.
        type: The body's content type.
        headers: Further headers.
        expect: Text that every good answer has in it; empty: any 200 is good.
        paths: What a closed loop asks in turn instead of `path`, by GET.
    """

    path: str
    body: bytes | None = None
    type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    expect: str = ""
    paths: tuple[str, ...] = ()

    def ask(self, port: int) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Send it once: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_S)
        try:
            about = {"Content-Type": self.type} if self.body is not None else {}
            method = "GET" if self.body is None else "POST"
            connection.request(method, self.path, self.body, {**about, **dict(self.headers)})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def is_answered(self, port: int) -> bool:
        """Whether the answer is good now."""
        try:
            status, _, body = self.ask(port)
        except http.client.HTTPException:
            return False
        return status == http.HTTPStatus.OK and self.expect.encode() in body

    def body_file(self, folder: Path) -> Path | None:
        """The body as a file in a folder, for programs that read it there."""
        if self.body is None:
            return None
        path = folder / f"body-{abs(hash(self.body)):x}"
        path.write_bytes(self.body)
        return path

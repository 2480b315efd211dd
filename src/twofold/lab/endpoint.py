"""What a URL speaks, found out by asking, and the requests that a load of it is made of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from twofold.errors import ConfigError, problem
from twofold.lab.ask import Answer, Place, ask, place_of
from twofold.lab.generator import Target
from twofold.lab.read_rows import chosen, read_keys, read_rows
from twofold.lab.requests import (
    DEADLINE_HEADER,
    Protocol,
    Row,
    Tensor,
    body_of,
    deadline_header,
    key_target,
    path_of,
    protocol_of,
    request_of,
)

OF_TWOFOLD = (Protocol.TWOFOLD, Protocol.ANSWERS)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be asked, as far as it was said.

    Attributes:
        url: Of the server, or of what is to be asked there.
        protocol: None: what the path says, else what the server answers to.
        model: Its name; None: the only one that is served.
        rows: A file of rows.
        keys: A file of keys, and its column.
        body: A template of bodies.
        headers: Further ones.
        deadline_s: What a twofold server is told.
        expect: What every good answer has in it.
    """

    url: str
    protocol: Protocol | None = None
    model: str | None = None
    rows: Path | None = None
    keys: tuple[Path, str] | None = None
    body: Path | None = None
    headers: Sequence[tuple[str, str]] = ()
    deadline_s: float | None = None
    expect: str = ""


@dataclass(frozen=True)
class Endpoint:
    """What will be asked.

    Attributes:
        target: Where, and the requests.
        protocol: What it speaks.
        path: Of the first request.
        rows: How many different requests there are.
    """

    target: Target
    protocol: Protocol
    path: str
    rows: int


def find_endpoint(wanted: Wanted) -> Endpoint:
    """Find out what a URL speaks, make the requests, and try the first of them.

    Raises:
        ConfigError: The server doesn't answer, or not with a prediction; or it isn't clear what is
            to be asked.
        InvalidInput: The file of rows or keys can't be used.
    """
    place = place_of(wanted.url)
    server = _Server(place, wanted.headers)
    protocol = wanted.protocol or _protocol(place, server, wanted)
    path = place.target
    model = wanted.model or _model_in(path)
    if not path:
        model = model or server.only_model(protocol)
        path = path_of(protocol, model)
    if protocol is Protocol.ANSWERS:
        requests = _key_requests(wanted, place, path)
    else:
        requests = _row_requests(wanted, server, protocol, path, model)
    _try_first(requests[0], place, wanted, path)
    target = Target(place.address, requests, wanted.expect.encode())
    return Endpoint(target, protocol, path, len(requests))


def _try_first(request: bytes, place: Place, wanted: Wanted, path: str) -> None:
    answer = ask(place.address, request)
    if not answer.is_good:
        fix = "Mend what is asked: see --rows, --protocol, --model, --header, --body and --api-key."
        raise ConfigError(problem(path, "an answer with a 2xx", answer.shown(), fix))
    if wanted.expect.encode() not in answer.body:
        fix = "Mend --expect, or what is asked."
        expected = f"an answer with {shlex.quote(wanted.expect)} in it"
        raise ConfigError(problem(path, expected, answer.shown(), fix))


class _Server:
    """What it tells of itself."""

    def __init__(self, place: Place, headers: Sequence[tuple[str, str]]) -> None:
        self.host = place.host
        self._place, self._headers = place, headers

    def get(self, path: str, *, method: str = "GET") -> Answer:
        body = None if method == "GET" else b""
        request = request_of(path, host=self._place.host, body=body, headers=self._headers)
        return ask(self._place.address, request)

    def only_model(self, protocol: Protocol) -> str:
        """The model, where it needs no name.

        Raises:
            ConfigError: There are several, or it can't be told.
        """
        if protocol not in (*OF_TWOFOLD, Protocol.V2):
            return ""
        names = self.models() or self._index()
        if len(names) == 1:
            return names[0]
        got = ", ".join(names) or "no list of them"
        raise ConfigError(problem("--model", "one served model", got, "Name one: --model NAME."))

    def models(self) -> list[str]:
        """The models of a twofold server; none of any other."""
        found = self.get("/v1/models").document()
        listed = found.get("models") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            return []
        items = [item for item in listed if isinstance(item, dict) and "default" in item]
        return [str(item.get("name")) for item in items if item["default"]]

    def _index(self) -> list[str]:
        found = self.get("/v2/repository/index", method="POST").document()
        items = found if isinstance(found, list) else []
        names = [item.get("name") for item in items if isinstance(item, dict)]
        return list(dict.fromkeys(str(name) for name in names if name))

    def inputs(self, model: str) -> dict[str, str]:
        """Names and types of a twofold model's inputs, in order; none if it isn't one."""
        found = self.get(f"/v1/models/{model}").document() if model else None
        listed = found.get("inputs") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            return {}
        items = [item for item in listed if isinstance(item, dict)]
        return {str(item.get("name")): str(item.get("type")) for item in items}

    def tensors(self, path: str) -> list[Tensor]:
        """The inputs of a model of the Open Inference Protocol; none if it doesn't tell."""
        found = self.get(path.removesuffix("/infer")).document()
        try:
            return msgspec.convert(found.get("inputs") or [], list[Tensor])
        except (AttributeError, msgspec.ValidationError):
            return []

    def example(self, model: str) -> dict[str, Any] | None:
        """The row that a twofold server shows in its documentation."""
        found: Any = self.get("/openapi.json").document()
        path = path_of(Protocol.TWOFOLD, model)
        for part in ("paths", path, "post", "requestBody", "content", "application/json",
                     "examples", "one", "value", "row"):  # fmt: skip
            found = found.get(part) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None


def _protocol(place: Place, server: _Server, wanted: Wanted) -> Protocol:
    if wanted.keys is not None:
        return Protocol.ANSWERS
    if found := protocol_of(place.target.partition("?")[0]):
        return found
    if wanted.body is not None:
        return Protocol.JSON
    if server.models():
        return Protocol.TWOFOLD
    if isinstance(server.get("/v2").document(), dict):
        return Protocol.V2
    if server.get("/ping").is_good:
        return Protocol.MLFLOW
    got = "no answer to /v1/models, /v2 or /ping"
    fix = "Give the whole URL of what is to be asked, or --protocol."
    raise ConfigError(problem("URL", "a server whose protocol can be told", got, fix))


def _model_in(path: str) -> str:
    parts = path.partition("?")[0].strip("/").split("/")
    is_named = len(parts) > 2 and parts[0] in ("v1", "v2") and parts[1] == "models"  # noqa: PLR2004 - v1/models/NAME
    return parts[2] if is_named else ""


def _headers(wanted: Wanted, protocol: Protocol) -> list[tuple[str, str]]:
    headers = list(wanted.headers)
    is_given = any(name.lower() == DEADLINE_HEADER.lower() for name, _ in headers)
    if wanted.deadline_s is not None and protocol in OF_TWOFOLD and not is_given:
        headers.append(deadline_header(wanted.deadline_s))
    return headers


def _key_requests(wanted: Wanted, place: Place, path: str) -> list[bytes]:
    if wanted.keys is None:
        fix = "Give a file of keys and its column: --keys FILE:COLUMN."
        raise ConfigError(problem("--keys", "keys to ask for", "none", fix))
    headers = _headers(wanted, Protocol.ANSWERS)
    path, _, query = path.partition("?")
    return [
        request_of(
            key_target(path, key) + (f"?{query}" if query else ""),
            host=place.host,
            body=None,
            headers=headers,
        )
        for key in read_keys(*wanted.keys)
    ]


def _row_requests(
    wanted: Wanted, server: _Server, protocol: Protocol, path: str, model: str
) -> list[bytes]:
    template = None if wanted.body is None else wanted.body.read_bytes()
    if protocol is Protocol.MLFLOW:
        # A path without a model: that of a twofold server is its first.
        model = next(iter(server.models()), "")
    known = server.inputs(model) if protocol is not Protocol.JSON else {}
    tensors = server.tensors(path) if protocol is Protocol.V2 else []
    rows = _rows(wanted, server, model, known, tensors)
    headers, host = _headers(wanted, protocol), server.host
    return [
        request_of(
            path,
            host=host,
            body=body_of(protocol, row, tensors=tensors, template=template),
            headers=headers,
        )
        for row in rows
    ]


def _rows(
    wanted: Wanted, server: _Server, model: str, known: dict[str, str], tensors: Sequence[Tensor]
) -> list[Row]:
    if wanted.rows is None:
        if wanted.body is not None:
            return [{}]  # what is asked stands in the template
        example = server.example(model) if model else None
        if example is None:
            fix = "Give a file of rows: --rows FILE, or a body: --body FILE."
            raise ConfigError(problem("--rows", "rows to ask for", "none", fix))
        return [example]
    texts = [name for name, kind in known.items() if kind in ("string", "timestamp")]
    texts += [tensor.name for tensor in tensors if tensor.datatype == "BYTES"]
    rows = read_rows(wanted.rows, texts=texts)
    names = list(known)
    if not names and not (len(tensors) == 1 and tensors[0].name not in rows[0]):
        names = [tensor.name for tensor in tensors]
    return chosen(rows, names)

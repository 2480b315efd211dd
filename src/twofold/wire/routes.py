"""Which path and method is answered by what: one look-up in a table of exact paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from twofold.errors import problem
from twofold.model.rows import describe
from twofold.serving.metrics import RESPONSES
from twofold.serving.service import Health, Served, Service
from twofold.serving.settings import ServeSettings
from twofold.serving.waiting import Task
from twofold.wire import mlflow, v2_describe
from twofold.wire.access import Access
from twofold.wire.answers import ANSWERS, SLASHES_BEFORE_KEY, Answers, Hybrid
from twofold.wire.asgi import Mounted
from twofold.wire.connection import Caller
from twofold.wire.describe import describe_model, describe_models
from twofold.wire.desk import Common, Keyed
from twofold.wire.exposition import CONTENT_TYPE as METRICS_TYPE
from twofold.wire.exposition import Rates, exposition
from twofold.wire.http import NOTHING_READ, Request, Response, split_target
from twofold.wire.infer import Infer
from twofold.wire.pages import Pages
from twofold.wire.protocols import Protocol, readers
from twofold.wire.refusal import refusal
from twofold.wire.request_id import REQUEST_ID, id_of, with_id
from twofold.wire.statuses import OK, REASONS, UNAVAILABLE, WireError

Handler = Callable[[Request, Caller], Response | None]
Route = dict[bytes, Handler]
"""Method to handler."""

V1_MODELS = "/v1/models"
V2_MODELS = "/v2/models"
OF_MODEL = ([], ["predict"], ["answers"], ["infer"], ["ready"], ["config"])
"""What may follow a model in a path."""


class Routes:
    """Answers requests; never raises."""

    def __init__(
        self,
        service: Service,
        settings: ServeSettings,
        *,
        access: Access,
        version: str,
        hybrids: Mapping[str, Hybrid] = MappingProxyType({}),
        clients: Callable[[], Rates] = lambda: MappingProxyType({}),
    ) -> None:
        """Prepare the route of every served version.

        Args:
            service: The models.
            settings: Their limits.
            access: Who may ask for predictions.
            version: Of twofold.
            hybrids: What answers by key, by the name of the model.
            clients: Gives what is known of single clients.
        """
        self._service = service
        self._access = access
        self._settings = settings
        self._slots = {
            status: service.metrics.layout.slot(RESPONSES, str(status)) for status in REASONS
        }
        self._keyed: dict[bytes, Route] = {}
        self._answers: dict[bytes, Answers] = {}
        self._routes: dict[bytes, Route] = {
            b"/metrics": _get(
                lambda _: Response(OK, exposition(service.metrics, clients()), METRICS_TYPE)
            ),
            b"/v2": _get(_fixed(_json(v2_describe.server_metadata(version)))),
            b"/v2/health/live": _get(_fixed(_json(v2_describe.server_live()))),
            b"/v2/health/ready": _get(self._ready),
            b"/v2/repository/index": _post_plain(self._index),
            b"/ping": _get(lambda _: mlflow.ping(ready=service.is_ready)),
            b"/health": _get(lambda _: mlflow.ping(ready=service.is_ready)),
            b"/version": _get(_fixed(mlflow.version(version))),
            V1_MODELS.encode(): _get(_fixed(_json(describe_models(service)))),
        }
        answering = {name: hybrid.policy for name, hybrid in hybrids.items()}
        pages = Pages(service, settings, version=version, answering=answering)
        mounted = Mounted(pages, timeout_s=settings.body_timeout_s)
        for path in pages.paths:
            self._routes[path.encode()] = {b"GET": mounted, b"HEAD": mounted}
        for name, versions in service.versions.items():
            for number, item in versions.items():
                self._add_version(f"{name}/versions/{number}", item)
                if item is service.default(name):
                    self._add_version(name, item)
                    if name in hybrids:
                        self._add_answers(item, hybrids[name])
        first = next(iter(service.versions))
        self._routes[b"/invocations"] = self._infer(service.default(first), Protocol.MLFLOW)

    def _add_version(self, path: str, served: Served) -> None:
        routes, max_rows = self._routes, self._settings.max_rows
        about = _get(_fixed(_json(describe_model(served))))
        metadata = _json(v2_describe.model_metadata(served, self._service.versions[served.name]))
        config = _json(v2_describe.model_config(served, max_rows=max_rows))
        v1, v2 = f"{V1_MODELS}/{path}", f"{V2_MODELS}/{path}"
        routes[v1.encode()] = about
        routes[f"{v1}/predict".encode()] = self._infer(served, Protocol.V1)
        routes[v2.encode()] = _get(_fixed(metadata))
        routes[f"{v2}/config".encode()] = _get(_fixed(config))
        routes[f"{v2}/ready".encode()] = _get(lambda _: self._model_ready(served))
        routes[f"{v2}/infer".encode()] = self._infer(served, Protocol.V2)

    def _add_answers(self, served: Served, hybrid: Hybrid) -> None:
        path = f"{V1_MODELS}/{served.name}"
        answers = self._answers[path.encode()] = Answers(
            self._service,
            served,
            hybrid,
            infer=self._routes[f"{path}/predict".encode()][b"POST"],
            access=self._access,
            deadline_s=self._settings.deadline_s,
        )
        self._routes[f"{path}/answers".encode()] = {b"POST": answers.post}
        self._keyed[f"{path}/answers".encode()] = {b"GET": answers.get, b"HEAD": answers.get}

    def _infer(self, served: Served, protocol: Protocol) -> Route:
        reader = readers(served, max_rows=self._settings.max_rows)[protocol]
        infer = Infer(self._service, served, reader, protocol, self._access, self._settings)
        return {b"POST": infer}

    def common(self) -> Iterator[Common]:
        """What may be answered natively; see `twofold.wire.desk`."""
        for target, route in self._routes.items():
            handler = route.get(b"POST")
            if isinstance(handler, Infer):
                found = handler.common(target, self._slots[OK], self._slots[UNAVAILABLE])
                if found is not None:
                    yield found

    def keyed(self) -> Iterator[Keyed]:
        """What may be answered natively by key; nothing where each answer is told of."""
        if type(self) is not Routes:
            return
        for path, answers in self._answers.items():
            find = answers.quick()
            if find is not None:
                yield Keyed(path + ANSWERS, find, self._slots[OK])

    def answer(self, request: Request, caller: Caller) -> Response | None:
        """Answer a request, a failed one too; None if its answer comes later."""
        named = None
        if REQUEST_ID in request.headers:
            caller = named = _Named(request, caller)
        try:
            route = self._routes.get(request.target)
            handler = None if route is None else route.get(request.method)
            if handler is None:
                handler = self._handler(request.method, request.target)
            response = handler(request, caller)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            response = refusal(error, request)
        return response if named is None or response is None else named.named(response)

    def count(self, status: int) -> None:
        """Count a response."""
        # A mounted application may answer what the server itself never does.
        slot = self._slots.get(status)
        if slot is not None:
            self._service.metrics.add(slot)

    def gate(
        self, method: bytes, target: bytes, headers: dict[bytes, bytes], received_s: float
    ) -> Exception | None:
        """Why a request needn't send its body; None if it may."""
        try:
            handler = self._handler(method, target)
            if isinstance(handler, Infer):
                handler.gate(headers, received_s)
        except Exception as error:  # noqa: BLE001 - it is what the caller is answered with
            return error
        return None

    def _handler(self, method: bytes, target: bytes) -> Handler:
        route = self._routes.get(target) or self._find(target)
        handler = route.get(method)
        if handler is None:
            raise _wrong_method(method, route)
        return handler

    def refuse(self, error: Exception, request: Request = NOTHING_READ) -> Response:
        """Answer what never became a whole request; as much of it is given as was read."""
        if REQUEST_ID not in request.headers:
            return refusal(error, request)
        request_id = id_of(request.headers)
        return with_id(refusal(error, request), request_id)

    def _find(self, target: bytes) -> Route:
        """Look up a target that isn't a plain path: with a query, escapes, or a host."""
        escaped = split_target(target)[0]
        # A key may have anything in it: its escapes are those of the key alone.
        *before, _ = escaped.split(b"/", SLASHES_BEFORE_KEY)
        keyed = self._keyed.get(unquote_to_bytes(b"/".join(before)))
        if keyed is not None:
            return keyed
        path = unquote_to_bytes(escaped)
        route = self._routes.get(path)
        if route is None:
            raise self._unknown(path.decode("utf-8", "replace"))
        return route

    def _unknown(self, path: str) -> Exception:
        match path.split("/"):
            case ["", "v1" | "v2", "models", name, "versions", version, *rest] if rest in OF_MODEL:
                return self._unknown_model(name, version, path)
            case ["", "v1" | "v2", "models", name, *rest] if rest in OF_MODEL:
                return self._unknown_model(name, None, path)
            case ["", "v1", "models", name, "answers", *_]:
                return self._unknown_model(name, None, path)
            case _:
                return _unknown_path(path)

    def _unknown_model(self, name: str, version: str | None, path: str) -> Exception:
        try:
            self._service.find(name, version)
        except Exception as error:  # noqa: BLE001 - raised by the caller
            return error
        return _unknown_path(path)

    def _ready(self, _: Request) -> Response:
        ready = self._service.is_ready
        return _json(v2_describe.server_ready(is_ready=ready), OK if ready else UNAVAILABLE)

    def _model_ready(self, served: Served) -> Response:
        ready = self._service.health is Health.READY and served.is_ready
        about = v2_describe.model_ready(served.name, is_ready=ready)
        return _json(about, OK if ready else UNAVAILABLE)

    def _index(self, request: Request) -> Response:
        is_ready_only = v2_describe.read_ready_only(request.body)
        return _json(v2_describe.repository_index(self._service, is_ready_only=is_ready_only))


class _Named:
    """The caller of a request that has an id: whenever its answer comes, it carries the id."""

    __slots__ = ("_caller", "_id")

    def __init__(self, request: Request, caller: Caller) -> None:
        """Read the id, and put another one in its place if it can't be used."""
        self._id = id_of(request.headers)
        self._caller = caller

    def waits_for(self, task: Task) -> None:
        """Be the one for whom a task is done."""
        self._caller.waits_for(task)

    def reply(self, response: Response) -> None:
        """Answer later."""
        self._caller.reply(self.named(response))

    def named(self, response: Response) -> Response:
        """Give the answer the id."""
        return with_id(response, self._id)


def _unknown_path(path: str) -> WireError:
    return WireError(
        "unknown_path",
        problem("path", "a path of this server", describe(path), "GET /docs lists them."),
    )


def _wrong_method(method: bytes, route: Route) -> WireError:
    allowed = ", ".join(name.decode() for name in route)
    shown = method.decode("latin-1")
    return WireError(
        "method_not_allowed",
        problem("method", allowed, shown, f"Send {allowed.partition(',')[0]}."),
        headers=f"Allow: {allowed}\r\n".encode(),
    )


def _get(handler: Callable[[Request], Response]) -> Route:
    route = _post_plain(handler)[b"POST"]
    return {b"GET": route, b"HEAD": route}


def _post_plain(handler: Callable[[Request], Response]) -> Route:
    return {b"POST": lambda request, _: handler(request)}


def _fixed(response: Response) -> Callable[[Request], Response]:
    return lambda _: response


def _json(value: Any, status: int = OK) -> Response:
    return Response(status, msgspec.json.encode(value))

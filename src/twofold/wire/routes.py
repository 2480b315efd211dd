"""Which path and method is answered by what: one look-up in a table of exact paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from twofold.errors import problem
from twofold.model.rows import describe
from twofold.serving.metrics import RESPONSES
from twofold.serving.service import Health, Service
from twofold.serving.settings import ServeSettings
from twofold.wire import docs_page
from twofold.wire.describe import describe_model, describe_models
from twofold.wire.exposition import CONTENT_TYPE as METRICS_TYPE
from twofold.wire.exposition import exposition
from twofold.wire.http import Request, Response
from twofold.wire.openapi import openapi
from twofold.wire.predict import Predict
from twofold.wire.refusal import refusal
from twofold.wire.statuses import OK, REASONS, UNAVAILABLE, WireError

Handler = Callable[[Request], Response]
Route = dict[bytes, Handler]
"""Method to handler."""

MODELS = "/v1/models"


class Routes:
    """Answers requests; never raises."""

    def __init__(self, service: Service, settings: ServeSettings, *, version: str) -> None:
        """Prepare the route of every served version.

        Args:
            service: The models.
            settings: Their limits.
            version: Of twofold.
        """
        self._service = service
        self._slots = {
            status: service.metrics.layout.slot(RESPONSES, str(status)) for status in REASONS
        }
        document = _json(openapi(service, settings, version=version))
        page = Response(OK, docs_page.docs_page(service), docs_page.CONTENT_TYPE, docs_page.HEADERS)
        self._routes: dict[bytes, Route] = {
            b"/v2/health/live": _get(lambda _: _json({"live": True})),
            b"/v2/health/ready": _get(self._ready),
            b"/metrics": _get(lambda _: Response(OK, exposition(service.metrics), METRICS_TYPE)),
            b"/openapi.json": _get(lambda _: document),
            b"/docs": _get(lambda _: page),
            MODELS.encode(): _get(_fixed(_json(describe_models(service)))),
        }
        for name, versions in service.versions.items():
            for number, item in versions.items():
                predict = _post(Predict(service, item, settings))
                about = _get(_fixed(_json(describe_model(item))))
                self._add(f"{name}/versions/{number}", about, predict)
                if item is service.default(name):
                    self._add(name, about, predict)

    def answer(self, request: Request) -> Response:
        """Answer a request, a failed one too."""
        try:
            response = self._handler(request)(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            response = refusal(error)
        self._service.metrics.add(self._slots[response.status])
        return response

    def _handler(self, request: Request) -> Handler:
        route = self._routes.get(request.target) or self._find(request.target)
        handler = route.get(request.method)
        if handler is None:
            raise _wrong_method(request.method, route)
        return handler

    def refuse(self, error: Exception) -> Response:
        """Answer what never became a request."""
        response = refusal(error)
        self._service.metrics.add(self._slots[response.status])
        return response

    def _add(self, path: str, about: Route, predict: Route) -> None:
        self._routes[f"{MODELS}/{path}".encode()] = about
        self._routes[f"{MODELS}/{path}/predict".encode()] = predict

    def _find(self, target: bytes) -> Route:
        """Look up a target that isn't a plain path: with a query, escapes, or a host."""
        path = target.partition(b"#")[0].partition(b"?")[0]
        scheme, _, rest = path.partition(b"://")
        if rest and scheme.lower() in (b"http", b"https"):
            path = b"/" + rest.partition(b"/")[2]
        path = unquote_to_bytes(path)
        route = self._routes.get(path)
        if route is None:
            raise self._unknown(path.decode("utf-8", "replace"))
        return route

    def _unknown(self, path: str) -> Exception:
        match path.split("/"):
            case ["", "v1", "models", name] | ["", "v1", "models", name, "predict"]:
                return self._unknown_model(name, None, path)
            case ["", "v1", "models", name, "versions", version, *rest] if rest in (
                [],
                ["predict"],
            ):
                return self._unknown_model(name, version, path)
            case _:
                return _unknown_path(path)

    def _unknown_model(self, name: str, version: str | None, path: str) -> Exception:
        try:
            self._service.find(name, version)
        except Exception as error:  # noqa: BLE001 - raised by the caller
            return error
        return _unknown_path(path)

    def _ready(self, _: Request) -> Response:
        ready = self._service.health is Health.READY
        return _json({"ready": ready}, OK if ready else UNAVAILABLE)


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


def _get(handler: Handler) -> Route:
    return {b"GET": handler, b"HEAD": handler}


def _post(handler: Handler) -> Route:
    return {b"POST": handler}


def _fixed(response: Response) -> Handler:
    return lambda _: response


def _json(value: Any, status: int = OK) -> Response:
    return Response(status, msgspec.json.encode(value))

"""KServe's own server, with a model that doubles: `python kserve_peer.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from kserve import InferOutput, InferResponse, Model, ModelServer


class Loopback(uvicorn.Config):
    """KServe listens on every address, and has no setting for that."""

    def __init__(self, app: Any, **more: Any) -> None:
        super().__init__(app, **more | {"host": "127.0.0.1"})


class Doubler(Model):
    def __init__(self) -> None:
        super().__init__("doubler")
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        (x,) = payload.inputs
        output = InferOutput("y", list(x.shape), "FP64", [2 * value for value in x.data])
        return InferResponse(payload.id or "", self.name, [output])


uvicorn.Config = Loopback
ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([Doubler()])

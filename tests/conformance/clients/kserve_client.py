"""The REST client of KServe's SDK, speaking the Open Inference Protocol."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
from exchange import answer
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import to_np_dtype

URL = sys.argv[1]
loop = asyncio.new_event_loop()


def inputs_of(tensors: list[dict[str, Any]], *, binary: bool) -> list[InferInput]:
    made = []
    for tensor in tensors:
        name, shape, kind = tensor["name"], tensor["shape"], tensor["datatype"]
        if tensor.get("listed"):
            made.append(InferInput(name, shape, kind, data=tensor["data"]))
            continue
        item = InferInput(name, shape, kind)
        dtype = object if kind == "BYTES" else to_np_dtype(kind)
        item.set_data_from_numpy(
            np.array(tensor["data"], dtype=dtype).reshape(shape), binary_data=binary
        )
        made.append(item)
    return made


def plain(values: Any) -> list[Any]:
    return [v.decode() if isinstance(v, bytes) else v for v in values.tolist()]


async def look(model: str) -> dict[str, Any]:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        return {
            "live": await client.is_server_live(URL),
            "ready": await client.is_server_ready(URL),
            "model_ready": await client.is_model_ready(URL, model),
            "other_ready": await client.is_model_ready(URL, "nobody"),
        }


async def infer(
    model: str,
    inputs: list[dict[str, Any]],
    *,
    binary: bool = True,
    outputs: dict[str, bool] | None = None,
    **more: Any,
) -> dict[str, Any]:
    if outputs is not None:
        more["request_outputs"] = [
            RequestedOutput(name, {"binary_data": is_raw}) for name, is_raw in outputs.items()
        ]
    request = InferRequest(model, inputs_of(inputs, binary=binary), **more)
    headers: dict[str, str] = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        response = await client.infer(URL, request, model_name=model, response_headers=headers)
    return {
        "id": response.id,
        "model": response.model_name,
        "values": {output.name: plain(output.as_numpy()) for output in response.outputs},
        "kinds": {output.name: output.datatype for output in response.outputs},
        "content_type": headers["content-type"],
    }


async def infer_at_once(times: int, model: str, inputs: list[dict[str, Any]]) -> list[Any]:
    request = InferRequest(model, inputs_of(inputs, binary=True))
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        sent = [client.infer(URL, request, model_name=model) for _ in range(times)]
        responses = await asyncio.gather(*sent)
    return [response.outputs[0].as_numpy().tolist() for response in responses]


def waited(call: Any) -> Any:
    return lambda **how: loop.run_until_complete(call(**how))


answer({"look": waited(look), "infer": waited(infer), "infer_at_once": waited(infer_at_once)})

"""Triton's HTTP client, sync and asyncio, as its documentation has it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
import tritonclient.http as sync
from exchange import answer
from tritonclient.http import aio
from tritonclient.utils import triton_to_np_dtype

URL = sys.argv[1].removeprefix("http://")
CONNECTIONS = 8
client = sync.InferenceServerClient(URL, concurrency=CONNECTIONS)
loop = asyncio.new_event_loop()


def inputs_of(module: Any, tensors: list[dict[str, Any]]) -> list[Any]:
    made = []
    for tensor in tensors:
        kind = tensor["datatype"]
        dtype = object if kind == "BYTES" else triton_to_np_dtype(kind)
        values = np.array(tensor["data"], dtype=dtype).reshape(tensor["shape"])
        item = module.InferInput(tensor["name"], tensor["shape"], kind)
        item.set_data_from_numpy(values, binary_data=tensor.get("binary", True))
        made.append(item)
    return made


def request(module: Any, how: dict[str, Any]) -> dict[str, Any]:
    made = {**how, "inputs": inputs_of(module, how["inputs"])}
    if how.get("outputs"):
        made["outputs"] = [
            module.InferRequestedOutput(name, binary_data=binary)
            for name, binary in how["outputs"].items()
        ]
    return made


def result_of(result: Any) -> dict[str, Any]:
    response = result.get_response()
    outputs = {item["name"]: result.as_numpy(item["name"]) for item in response["outputs"]}
    return {
        "response": {name: value for name, value in response.items() if name != "outputs"},
        "values": {name: plain(values) for name, values in outputs.items()},
        "shapes": {name: list(values.shape) for name, values in outputs.items()},
        "dtypes": {name: str(values.dtype) for name, values in outputs.items()},
        "raw": [item["name"] for item in response["outputs"] if "parameters" in item],
    }


def plain(values: Any) -> list[Any]:
    return [v.decode() if isinstance(v, bytes) else v for v in values.tolist()]


def look(model: str, version: str) -> dict[str, Any]:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "server": client.get_server_metadata(),
        "index": client.get_model_repository_index(),
        "model_ready": client.is_model_ready(model, version),
        "metadata": client.get_model_metadata(model, version),
        "config": client.get_model_config(model, version),
    }


async def look_aio(model: str, version: str) -> dict[str, Any]:
    async with aio.InferenceServerClient(URL) as other:
        return {
            "live": await other.is_server_live(),
            "ready": await other.is_server_ready(),
            "server": await other.get_server_metadata(),
            "index": await other.get_model_repository_index(),
            "model_ready": await other.is_model_ready(model, version),
            "metadata": await other.get_model_metadata(model, version),
            "config": await other.get_model_config(model, version),
        }


def infer(**how: Any) -> dict[str, Any]:
    return result_of(client.infer(**request(sync, how)))


async def infer_aio(**how: Any) -> dict[str, Any]:
    async with aio.InferenceServerClient(URL) as other:
        return result_of(await other.infer(**request(aio, how)))


def infer_at_once(times: int, **how: Any) -> list[dict[str, Any]]:
    """Send requests from as many threads as there are connections; each has an id of its own."""
    made = request(sync, how)
    pending = [client.async_infer(request_id=str(index), **made) for index in range(times)]
    return [result_of(item.get_result()) for item in pending]


async def infer_at_once_aio(times: int, **how: Any) -> list[dict[str, Any]]:
    made = request(aio, how)
    async with aio.InferenceServerClient(URL, conn_limit=CONNECTIONS) as other:
        sent = [other.infer(request_id=str(index), **made) for index in range(times)]
        return [result_of(result) for result in await asyncio.gather(*sent)]


def waited(call: Any) -> Any:
    return lambda **how: loop.run_until_complete(call(**how))


answer(
    {
        "look": look,
        "look_aio": waited(look_aio),
        "infer": infer,
        "infer_aio": waited(infer_aio),
        "infer_at_once": infer_at_once,
        "infer_at_once_aio": waited(infer_at_once_aio),
    }
)

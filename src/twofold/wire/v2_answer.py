"""Predictions as tensors: which outputs an infer response has, and its bytes.

One tensor per output, of shape [rows]. What is known before the predictions are is rendered
before them.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.rows import describe
from twofold.model.signature import Output
from twofold.wire.call import Around
from twofold.wire.http import Response
from twofold.wire.statuses import OK, WireError
from twofold.wire.v2_datatypes import BYTES, OF_OUTPUT, write
from twofold.wire.v2_request import Head, OutputParameters

OCTETS = b"application/octet-stream"
HEADER_LENGTH = b"Inference-Header-Content-Length: %d\r\n"
OUTPUTS = b'"outputs":['
MAX_SHOWN_OUTPUTS = 8

Predictions = Sequence[Sequence[Any]]
"""For each output of the model, one value per row."""
Respond = Callable[[Predictions], Response]
Make = Callable[[bytes], Respond]
"""Given what a response begins with, makes the rest."""
Choice = tuple[int, bool]
"""An output's place among the model's, and whether it is sent as raw bytes."""

_encode = msgspec.json.Encoder().encode


class Answers:
    """Makes the responses of one served version."""

    def __init__(self, name: str, version: str, output: Output) -> None:
        """Render what every response begins with, and the common ones as far as they go."""
        self._kind = OF_OUTPUT[output.type]
        self._index = {name: index for index, name in enumerate(output.names)}
        self._start = b'{"model_name":%b,"model_version":%b,' % (_encode(name), _encode(version))
        self._names = [
            b'{"name":%b,"datatype":"%b","shape":[' % (_encode(name), self._kind.name.encode())
            for name in output.names
        ]
        self._all = {
            is_raw: [(index, is_raw) for index in range(len(output.names))]
            for is_raw in (False, True)
        }
        self._makers = {is_raw: self._maker(every, 1) for is_raw, every in self._all.items()}
        self._one_row = {is_raw: make(self._start) for is_raw, make in self._makers.items()}
        self._in_json = self._one_row[False]

    def respond(self, head: Head, rows: int) -> Respond:
        """Prepare the response to a request.

        Raises:
            WireError: It asks for something that isn't supported.
            InvalidInput: It asks for outputs that the model doesn't have, or twice.
        """
        if rows == 1 and not head.outputs and head.parameters is None and head.id is None:
            return self._in_json
        is_raw = head.parameters is not None and head.parameters.binary_data_output is True
        choices = self._choices(head, is_raw=is_raw) if head.outputs else self._all[is_raw]
        is_raw = choices[0][1]
        is_common = rows == 1 and choices == self._all[is_raw]
        if head.id is None:
            if is_common:
                return self._one_row[is_raw]
            return self._maker(choices, rows)(self._start)
        start = b'%b"id":%b,' % (self._start, _encode(head.id))
        return (self._makers[is_raw] if is_common else self._maker(choices, rows))(start)

    def _choices(self, head: Head, *, is_raw: bool) -> list[Choice]:
        choices: dict[int, bool] = {}
        for number, item in enumerate(head.outputs or ()):
            index = self._index.get(item.name)
            where = f"outputs[{number}]"
            if index is None:
                names = list(self._index)
                more = ", ..." if len(names) > MAX_SHOWN_OUTPUTS else ""
                expected = f"one of {', '.join(names[:MAX_SHOWN_OUTPUTS])}{more}"
                fix = "Ask for an output of the model, or leave outputs out for all of them."
                raise InvalidInput(problem(f"{where}.name", expected, describe(item.name), fix))
            if index in choices:
                fix = "Ask once for each."
                raise InvalidInput(
                    problem(f"{where}.name", "another output", f"{item.name} again", fix)
                )
            choices[index] = is_raw
            if item.parameters is not None:
                _check_supported(item.parameters, f"{where}.parameters")
                if item.parameters.binary_data is not None:
                    choices[index] = item.parameters.binary_data
        return list(choices.items())

    def _maker(self, choices: Sequence[Choice], rows: int) -> Make:
        """Render all but the beginning of a response, which has the id."""
        kind = self._kind
        order = [index for index, _ in choices]
        names = [b"%b%d]," % (self._names[index], rows) for index in order]
        if not any(is_raw for _, is_raw in choices):
            names = [name + b'"data":' for name in names]
            return functools.partial(_in_json, order, names, rows)
        if kind is not BYTES and all(is_raw for _, is_raw in choices):
            size = b'"parameters":{"binary_data_size":%d}}' % (rows * kind.item_bytes)
            tail = OUTPUTS + b",".join(name + size for name in names) + b"]}"
            pack = struct.Struct(f"<{rows * len(order)}{kind.code}").pack
            return functools.partial(_in_bytes, order, pack, tail, rows)
        return functools.partial(self._mixed, choices, names)

    def _mixed(self, choices: Sequence[Choice], names: Sequence[bytes], start: bytes) -> Respond:
        kind = self._kind

        def respond(predictions: Predictions) -> Response:
            parts: list[bytes] = []
            raw: list[bytes] = []
            for (index, is_raw), name in zip(choices, names, strict=True):
                values = predictions[index]
                if is_raw:
                    raw.append(write(kind, values))
                    size = len(raw[-1])
                    parts.append(b'%b"parameters":{"binary_data_size":%d}}' % (name, size))
                else:
                    parts.append(b'%b"data":%b}' % (name, _encode(values)))
            head = b"%b%b%b]}" % (start, OUTPUTS, b",".join(parts))
            body = head + b"".join(raw)
            return Response(OK, body, OCTETS, HEADER_LENGTH % len(head))

        return respond


def _in_json(order: Sequence[int], names: Sequence[bytes], rows: int, start: bytes) -> Respond:
    if len(order) == 1:
        (index,) = order
        before = b"%b%b%b" % (start, OUTPUTS, names[0])
        if index == 0 and rows == 1:
            return Around(before + b"[", _encode, b"]}]}")

        def respond_one(predictions: Predictions) -> Response:
            return Response(OK, b"%b%b}]}" % (before, _encode(predictions[index])))

        return respond_one
    pairs = list(zip(order, names, strict=True))

    def respond(predictions: Predictions) -> Response:
        parts = [b"%b%b}" % (name, _encode(predictions[index])) for index, name in pairs]
        return Response(OK, b"%b%b%b]}" % (start, OUTPUTS, b",".join(parts)))

    return respond


def _in_bytes(
    order: Sequence[int], pack: Callable[..., bytes], tail: bytes, rows: int, start: bytes
) -> Respond:
    head = start + tail
    length = HEADER_LENGTH % len(head)
    if order == [0] and rows == 1:
        return Around(head, pack, b"", OCTETS, length)

    def respond(predictions: Predictions) -> Response:
        values = [value for index in order for value in predictions[index]]
        return Response(OK, head + pack(*values), OCTETS, length)

    return respond


def _check_supported(parameters: OutputParameters, where: str) -> None:
    if parameters.classification:
        fix = "Leave it out; a classifier's outputs are its classes."
        message = problem(f"{where}.classification", "nothing (not supported)", "it", fix)
        raise WireError("bad_request", message)
    if parameters.shared_memory_region is not None:
        raise no_shared_memory(where)


def no_shared_memory(where: str) -> WireError:
    """Say that tensors are only taken and sent in the body."""
    place = f"{where}.shared_memory_region"
    fix = "Send and receive tensors in the body: leave it out."
    return WireError("bad_request", problem(place, "nothing (not supported)", "one", fix))

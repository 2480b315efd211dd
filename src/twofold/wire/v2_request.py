"""The JSON of an infer request of the Open Inference Protocol: typed, or told what is wrong.

What plainly fits is read by one typed decoder. Whatever it refuses is read again, slowly: that
either finds the words for what is wrong, or admits what only looks odd (3.0 as an INT32).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, NoReturn, Union, cast

import msgspec
from msgspec import Meta

from twofold.errors import InvalidInput, problem
from twofold.model.rows import MAX_SHOWN_CHARS, describe
from twofold.wire.statuses import WireError
from twofold.wire.v2_datatypes import BOOL, BYTES, DATATYPES, Datatype

EXAMPLE = (
    'Send {"inputs": [{"name": "...", "shape": [1], "datatype": "FP64", "data": [0.5]}, ...]}.'
)
MAX_MSGSPEC_INT = 2**63 - 1
"""Bounds of the typed decoder can't be greater."""

Size = Annotated[int, Meta(ge=0)]


class InputParameters(msgspec.Struct):
    """Those parameters of an input that mean something here."""

    binary_data_size: Size | None = None
    shared_memory_region: Any = None


class OutputParameters(msgspec.Struct):
    """Those parameters of a requested output that mean something here."""

    binary_data: bool | None = None
    classification: Any = None
    shared_memory_region: Any = None


class RequestParameters(msgspec.Struct):
    """Those parameters of a request that mean something here."""

    binary_data_output: bool | None = None


class RequestedOutput(msgspec.Struct):
    """An output asked for."""

    name: str
    parameters: OutputParameters | None = None


class Tensor(msgspec.Struct, tag_field="datatype"):
    """One input.

    Attributes:
        name: A field's, or any.
        shape: Rows first.
        parameters: Its own.
        data: Its values, if they are in the JSON: flat, or a list of lists.
        kind: Its datatype.
    """

    name: str
    shape: list[Size]
    parameters: InputParameters | None = None
    data: list[Any] | None = None
    kind: ClassVar[Datatype]

    @property
    def raw_bytes(self) -> int | None:
        """How many bytes behind the JSON are its own; None if its values are in the JSON."""
        return None if self.parameters is None else self.parameters.binary_data_size


class Head(msgspec.Struct):
    """An infer request, but for the raw bytes behind its JSON.

    Attributes:
        inputs: Its tensors.
        id: To be given back.
        parameters: Of the whole request.
        outputs: Those asked for; none means all.
    """

    inputs: list[Tensor]
    id: str | None = None
    parameters: RequestParameters | None = None
    outputs: list[RequestedOutput] | None = None


def _element(kind: Datatype) -> Any:
    if kind is BOOL:
        return bool
    if kind is BYTES:
        return str
    if kind.bound is not None:
        # JSON has no infinity, and its numbers beyond float64 are refused anyway.
        limits = None if math.isinf(kind.bound) else Meta(gt=-kind.bound, lt=kind.bound)
        return float if limits is None else Annotated[float, limits]
    high = None if kind.high is None or kind.high > MAX_MSGSPEC_INT else kind.high
    return Annotated[int, Meta(ge=kind.low, le=high)]


def _typed(kind: Datatype) -> type[Tensor]:
    value = _element(kind) | None
    made = msgspec.defstruct(
        kind.name,
        [("data", list[value | list[value]] | None, None)],
        bases=(Tensor,),
        namespace={"kind": kind},
        tag=kind.name,
    )
    return cast("type[Tensor]", made)


_TENSORS = {name: _typed(kind) for name, kind in DATATYPES.items()}
_TYPED_HEAD = msgspec.defstruct(
    "TypedHead",
    [("inputs", list[Union[tuple(_TENSORS.values())]])],  # type: ignore[valid-type] # noqa: UP007
    bases=(Head,),
)
_decode = msgspec.json.Decoder(_TYPED_HEAD).decode


def list_decoder(kind: Datatype) -> Callable[[bytes], list[Any]]:
    """What reads a JSON list of a datatype's values; it raises where they don't fit."""
    return msgspec.json.Decoder(list[_element(kind) | None]).decode


def tuple_decoder(kinds: Sequence[Datatype]) -> Callable[[bytes], tuple[Any, ...]]:
    """What reads a JSON list of one value of each datatype; it raises where they don't fit."""
    values = tuple(_element(kind) | None for kind in kinds)
    return msgspec.json.Decoder(tuple[values]).decode  # type: ignore[valid-type]


def read_head(text: bytes) -> Head:
    """Read the JSON of a request.

    Raises:
        WireError: It isn't a JSON object.
        InvalidInput: It isn't an infer request, or a value doesn't fit its datatype.
    """
    try:
        return cast("Head", _decode(text))
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if b"NaN" in text:
            return read_head(_without_nan(text, error))
        raise _not_json(text, error) from None
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError:
        expected, got = "numbers within the range of float64", "one beyond it"
        raise InvalidInput(problem("body", expected, got, "Send smaller numbers.")) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(text, error) from None
    return head_of(value)


def head_of(value: Any) -> Head:
    """Read a request from plain JSON values, with words for whatever doesn't fit.

    Raises:
        WireError: It isn't a JSON object.
        InvalidInput: It isn't an infer request, or a value doesn't fit its datatype.
    """
    if not isinstance(value, dict):
        raise WireError("not_json", problem("body", "a JSON object", describe(value), EXAMPLE))
    body = cast("dict[str, Any]", value)
    request_id = body.get("id")
    if request_id is not None and not isinstance(request_id, str):
        _refuse("id", "text", request_id, "Send it as text, or leave it out.")
    parameters = _parameters(body, "parameters")
    binary = _flag(parameters, "binary_data_output", "parameters")
    outputs = body.get("outputs")
    if outputs is not None:
        outputs = [
            _output(item, f"outputs[{index}]")
            for index, item in enumerate(_list(outputs, "outputs", "a list of outputs"))
        ]
    inputs = _list(body.get("inputs"), "inputs", "a list of tensors")
    return Head(
        inputs=[_tensor(item, f"inputs[{index}]") for index, item in enumerate(inputs)],
        id=request_id,
        parameters=None if parameters is None else RequestParameters(binary_data_output=binary),
        outputs=outputs,
    )


def where_of(name: str) -> str:
    """How messages call an input."""
    shown = name if len(name) <= MAX_SHOWN_CHARS else name[:MAX_SHOWN_CHARS] + "..."
    return f"inputs.{shown if shown.isprintable() else repr(shown)[1:-1]}"


def _tensor(value: Any, where: str) -> Tensor:
    if not isinstance(value, dict):
        _refuse(where, "a tensor (a JSON object)", value, EXAMPLE)
    item = cast("dict[str, Any]", value)
    name = _name(item, where)
    where = where_of(name)
    kind = item.get("datatype", "")
    tensor = _TENSORS.get(kind) if isinstance(kind, str) else None
    if tensor is None:
        known = f"one of {', '.join(DATATYPES)}"
        _refuse(f"{where}.datatype", known, item.get("datatype"), "Send another datatype.")
    shape = _list(item.get("shape"), f"{where}.shape", "a list of sizes")
    for index, size in enumerate(shape):
        if type(size) is not int or size < 0:
            expected = "a whole number, 0 or greater"
            _refuse(f"{where}.shape[{index}]", expected, size, "Send the rows first: [rows].")
    parameters = _parameters(item, f"{where}.parameters")
    data = item.get("data")
    return tensor(
        name=name,
        shape=shape,
        parameters=None
        if parameters is None
        else InputParameters(
            binary_data_size=_raw_bytes(parameters, where),
            shared_memory_region=parameters.get("shared_memory_region"),
        ),
        data=None if data is None else _data(tensor.kind, data, where),
    )


def _data(kind: Datatype, data: Any, where: str) -> list[Any]:
    values: list[Any] = []
    for index, item in enumerate(_list(data, f"{where}.data", "a list of values")):
        place = f"{where}.data[{index}]"
        if isinstance(item, list):
            inner = cast("list[Any]", item)
            values.append([_fit(kind, v, f"{place}[{n}]") for n, v in enumerate(inner)])
        else:
            values.append(_fit(kind, item, place))
    return values


def _fit(kind: Datatype, value: Any, where: str) -> Any:
    """The value as the datatype has it."""
    if value is None:
        return None
    if kind is BOOL or kind is BYTES:
        if isinstance(value, bool if kind is BOOL else str):
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = _number(kind, value)
        if number is not None:
            return number
    return _refuse(where, kind.expects, value, "Send such values, or another datatype.")


def _number(kind: Datatype, value: float) -> float | None:
    """The number as the datatype has it; None if it doesn't fit."""
    if kind.bound is None:
        if isinstance(value, float) and not value.is_integer():
            return None
        whole = int(value)
        return whole if (kind.low or 0) <= whole <= (kind.high or 0) else None
    try:
        return float(value) if -kind.bound < value < kind.bound else None
    except OverflowError:
        return None


def _output(value: Any, where: str) -> RequestedOutput:
    if not isinstance(value, dict):
        _refuse(where, 'an output ({"name": ...})', value, 'Send {"name": ...}.')
    item = cast("dict[str, Any]", value)
    name = _name(item, where)
    parameters = _parameters(item, f"{where}.parameters")
    if parameters is None:
        return RequestedOutput(name)
    return RequestedOutput(
        name,
        OutputParameters(
            binary_data=_flag(parameters, "binary_data", f"{where}.parameters"),
            classification=parameters.get("classification"),
            shared_memory_region=parameters.get("shared_memory_region"),
        ),
    )


def _name(item: dict[str, Any], where: str) -> str:
    name = item.get("name")
    if not isinstance(name, str):
        _refuse(f"{where}.name", "text", name, "Send its name.")
    return name


def _parameters(item: dict[str, Any], where: str) -> dict[str, Any] | None:
    parameters = item.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        _refuse(where, "a JSON object", parameters, "Send an object, or leave it out.")
    return cast("dict[str, Any] | None", parameters)


def _flag(parameters: dict[str, Any] | None, name: str, where: str) -> bool | None:
    value = None if parameters is None else parameters.get(name)
    if value is not None and not isinstance(value, bool):
        _refuse(f"{where}.{name}", "true or false", value, "Send true for raw bytes.")
    return value


def _raw_bytes(parameters: dict[str, Any], where: str) -> int | None:
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        place = f"{where}.parameters.binary_data_size"
        _refuse(place, "a number of bytes", size, "Send a whole number, 0 or greater.")
    return size


def _list(value: Any, where: str, expected: str) -> list[Any]:
    if not isinstance(value, list):
        got = "nothing" if value is None else describe(value)
        raise InvalidInput(problem(where, expected, got, EXAMPLE))
    return cast("list[Any]", value)


def _refuse(where: str, expected: str, value: Any, fix: str) -> NoReturn:
    raise InvalidInput(problem(where, expected, describe(value), fix))


def _without_nan(text: bytes, error: Exception) -> bytes:
    """Write null for NaN: Triton's client sends that in JSON, as Triton takes it."""
    try:
        return msgspec.json.encode(json.loads(text, parse_constant=_null, parse_float=_finite))
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, OverflowError):
        raise _not_json(text, error) from None


def _null(constant: str) -> None:
    if constant != "NaN":
        raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _too_deep() -> WireError:
    return WireError("not_json", problem("body", "an object", "JSON nested too deep", EXAMPLE))


def _not_json(text: bytes, error: Exception) -> WireError:
    if not text.strip():
        return WireError("not_json", problem("body", "a JSON object", "nothing", EXAMPLE))
    got = "text that isn't UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error}"
    fix = "Mend the text, or say with Inference-Header-Content-Length where the JSON ends."
    return WireError("not_json", problem("body", "JSON", got, fix))

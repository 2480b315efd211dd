"""Each protocol has its number, which processes tell each other, and its reader in that place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from twofold.errors import InvalidInput
from twofold.wire.http import DEFAULT, Request
from twofold.wire.mlflow import Invocations
from twofold.wire.protocols import Protocol, readers
from twofold.wire.statuses import WireError
from twofold.wire.v1 import V1
from twofold.wire.v2 import V2

BODIES = {
    Protocol.V1: {"rows": [[1.5, "pro"], [2.0, None]]},
    Protocol.V2: {
        "inputs": [
            {"name": "amount", "shape": [2], "datatype": "FP64", "data": [1.5, 2.0]},
            {"name": "plan", "shape": [2], "datatype": "BYTES", "data": ["pro", None]},
        ]
    },
    Protocol.MLFLOW: {
        "dataframe_split": {"columns": ["amount", "plan"], "data": [[1.5, "pro"], [2.0, None]]}
    },
}


def asked(body: Any) -> Request:
    text = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Request(b"POST", b"/", {}, text, DEFAULT, 0.0)


def test_number_of_a_protocol_is_the_place_of_its_reader(bench: Any) -> None:
    kinds = {Protocol.V1: V1, Protocol.V2: V2, Protocol.MLFLOW: Invocations}
    found = readers(bench.service.find("churn"), max_rows=3)
    assert {protocol: type(found[protocol]) for protocol in Protocol} == kinds
    assert len(found) == len(Protocol)


@pytest.mark.parametrize("protocol", Protocol)
def test_same_rows_are_read_alike_whatever_they_came_in(bench: Any, protocol: Protocol) -> None:
    reader = readers(bench.service.find("churn"), max_rows=3)[protocol]
    call = reader.read(asked(BODIES[protocol]))
    assert [list(row) for row in call.rows] == [[1.5, "pro"], [2.0, None]]
    response = call.respond([[3.0, 4.0]])
    assert response.status == 200
    assert b"[3.0,4.0]" in response.body


@pytest.mark.parametrize("protocol", Protocol)
def test_limit_of_rows_and_the_rules_of_json_hold_for_all(bench: Any, protocol: Protocol) -> None:
    reader = readers(bench.service.find("churn"), max_rows=1)[protocol]
    with pytest.raises(WireError) as caught:
        reader.read(asked(BODIES[protocol]))
    assert caught.value.code == "too_many_rows"
    for body in (b"", b"{", b"\xff", b"[" * 9_999):
        with pytest.raises(WireError) as caught:
            reader.read(asked(body))
        assert caught.value.code == "not_json", body
    with pytest.raises(InvalidInput):
        reader.read(asked(b"{}"))


@pytest.mark.parametrize("protocol", Protocol)
def test_plain_request_of_one_row_is_read_as_the_rules_read_it_or_left_to_them(
    bench: Any, protocol: Protocol
) -> None:
    served = bench.service.find("churn")
    reader = readers(served, max_rows=3)[protocol]
    one: dict[Protocol, Any] = {
        Protocol.V1: {"row": {"amount": 1.5, "plan": "pro"}},
        Protocol.V2: {
            "inputs": [
                {"name": "amount", "shape": [1], "datatype": "FP64", "data": [1.5]},
                {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["pro"]},
            ]
        },
        Protocol.MLFLOW: {"dataframe_records": [{"amount": 1.5, "plan": "pro"}]},
    }
    for body in (one[protocol], BODIES[protocol], b"", b"{", b"{}", b"\xff", b"[" * 9_999, b"[1]"):
        plain = reader.plain(asked(body).body, None)
        if plain is None:
            assert body != one[protocol] or protocol is not Protocol.V1
            continue
        row, respond = plain
        if body == one[protocol]:
            assert served.check(row) == [1.5, "pro"]
            assert respond([[3.0]]) == reader.read(asked(body)).respond([[3.0]])
        else:
            with pytest.raises(InvalidInput):
                served.check(row)

"""What a server keeps for a key: nothing of it is lost, and nothing else is taken for it."""

from __future__ import annotations

import dataclasses
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import AS_OF, PREDICTED_AT, live_of, rows_of, snapshot_of

from twofold.stores.snapshot import Stored
from twofold.stores.values import (
    MAX_ORIGINS,
    Origins,
    decode_value,
    encode_live,
    encode_rows,
    to_micros,
)

ORIGINS = Origins(snapshot_of())
INSTANTS = st.datetimes(
    datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
)  # to the microsecond
VALUES = (
    st.floats().map(lambda value: (value, pa.float64()))
    | st.integers(-(2**63), 2**63 - 1).map(lambda value: (value, pa.int64()))
    | st.booleans().map(lambda value: (value, pa.bool_()))
    | st.text(st.characters(exclude_categories=["Cs"])).map(lambda value: (value, pa.string()))
)


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


@given(st.lists(VALUES, min_size=1, max_size=4), INSTANTS)
def test_a_row_is_found_as_it_was_to_the_bit(
    values: list[tuple[Any, pa.DataType]], at: datetime
) -> None:
    columns = tuple(pa.array([value], kind) for value, kind in values)
    rows = dataclasses.replace(rows_of(["a"], predicted_at=[at]), predictions=columns)
    (data,) = encode_rows(rows)
    stored = decode_value(data, ORIGINS, with_features=True)
    assert [bits(value) for value in stored.predictions] == [bits(value) for value, _ in values]
    assert [type(value) for value in stored.predictions] == [type(value) for value, _ in values]
    assert stored.features is None
    origin = stored.origin
    assert (origin.source, origin.predicted_at, origin.as_of) == ("batch", at, AS_OF)
    assert (origin.model, origin.version, origin.run_id) == ("churn", "3", "night-1")


@given(st.floats(), INSTANTS, INSTANTS)
def test_a_live_prediction_is_found_with_its_own_version_and_instants(
    value: float, as_of: datetime, predicted_at: datetime
) -> None:
    live = live_of(value)
    origin = msgspec.structs.replace(live.origin, as_of=as_of, predicted_at=predicted_at)
    found = decode_value(encode_live(Stored(live.predictions, origin)), ORIGINS)
    assert found.origin == origin
    assert bits(found.predictions[0]) == bits(value)


def test_rows_are_packed_in_their_order_and_features_given_only_if_they_are_wanted() -> None:
    features = pa.RecordBatch.from_pydict({"plan": ["basic", None], "amount": [0.5, None]})
    packed = [*encode_rows(rows_of(["a", "b"], [1.0, 2.0], ["x", "y"], features=features))]
    found = [decode_value(data, ORIGINS, with_features=True) for data in packed]
    assert [stored.predictions for stored in found] == [(1.0, "x"), (2.0, "y")]
    assert [stored.features for stored in found] == features.to_pylist()
    assert decode_value(packed[0], ORIGINS).features is None
    assert [*encode_rows(rows_of([]))] == []


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x92\x01\x02", b"text", b"\x81\x01\x02"])
def test_what_is_something_else_is_no_value(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_value(data, ORIGINS)


def test_a_value_that_is_cut_is_none() -> None:
    data = encode_live(live_of())
    for size in range(len(data)):
        with pytest.raises(msgspec.DecodeError):
            decode_value(data[:size], ORIGINS)


def test_rows_of_one_instant_share_an_origin_and_not_too_many_are_held() -> None:
    origins = Origins(snapshot_of())
    micros = to_micros(PREDICTED_AT)
    assert origins.at(micros) is origins.at(micros)
    for later in range(2 * MAX_ORIGINS):
        assert origins.at(micros + later).predicted_at == PREDICTED_AT + timedelta(
            microseconds=later
        )
    assert len(origins._known) == MAX_ORIGINS
    assert origins.at(micros) is origins.at(micros)


@given(INSTANTS, st.timedeltas(timedelta(hours=-14), timedelta(hours=14)))
def test_an_instant_is_the_same_in_every_zone(at: datetime, offset: timedelta) -> None:
    micros = to_micros(at)
    assert ORIGINS.at(micros).predicted_at == at
    zone = datetime.strptime("+0530", "%z").tzinfo
    assert to_micros(at.astimezone(zone)) == micros
    assert to_micros(at + offset) - micros == offset // timedelta(microseconds=1)

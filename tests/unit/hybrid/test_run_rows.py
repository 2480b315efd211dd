"""The rows of a committed run, as a store takes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from twofold.errors import InvalidInput, TwofoldError
from twofold.hybrid.run_rows import (
    INSTANT,
    check_publishable,
    output_names,
    output_type,
    run_rows,
)
from twofold.stores.store import Rows

FIELDS = ("amount", "plan", "visits")
AMOUNTS = [float(number) for number in range(20)]


def rows_of(run: Any, kind: Any = "float64", features: Any = None) -> list[Rows]:
    return [*run_rows(run, output_names(run.manifest), kind, features)]


def keys_of(run: Any) -> list[bytes]:
    return [key for rows in rows_of(run) for key in rows.keys.to_pylist()]


def test_every_part_gives_its_rows_in_order_with_their_instants(runs: Any, now: datetime) -> None:
    every = rows_of(runs.commit(runs.table(AMOUNTS)))
    assert [len(rows.keys) for rows in every] == [8, 8, 4]
    assert [key for rows in every for key in rows.keys.to_pylist()] == [
        b"c%d" % number for number in range(20)
    ]
    assert [value for rows in every for value in rows.predictions[0].to_pylist()] == [
        2.0 * amount for amount in AMOUNTS
    ]
    for rows in every:
        assert rows.predicted_at.type == INSTANT
        assert set(rows.predicted_at.to_pylist()) == {now}
        assert rows.features is None


@pytest.mark.parametrize("parts", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("kind", "predict", "written"),
    [
        ("float64", lambda amount: [amount / 3], pa.float64()),
        ("float32", lambda amount: [amount / 3], pa.float64()),
        ("int64", lambda amount: [int(amount) - 5], pa.int64()),
        ("bool", lambda amount: [amount > 4], pa.bool_()),
        ("string", lambda amount: ["ü" if amount > 4 else ""], pa.string()),
    ],
)
def test_predictions_of_every_type_come_as_a_store_takes_them(
    runs: Any, model: Any, kind: Any, predict: Any, written: pa.DataType, parts: str
) -> None:
    run = runs.commit(runs.table(AMOUNTS), model=model(predict, kind), format=parts)
    assert output_type(run.schema().field("prediction")) == kind
    columns = [rows.predictions[0] for rows in rows_of(run, kind)]
    assert {column.type for column in columns} == {written}
    found = [value for column in columns for value in column.to_pylist()]
    as_predicted = pa.array([predict(amount)[0] for amount in AMOUNTS], pa.type_for_alias(kind))
    assert found == as_predicted.to_pylist()


def test_of_several_outputs_each_has_its_column_and_what_is_kept_is_none_of_them(
    runs: Any, model: Any
) -> None:
    several = model(lambda amount: [amount, -amount], names=("yes", "no"))
    run = runs.commit(runs.table(AMOUNTS), model=several, keep=FIELDS)
    assert output_names(run.manifest) == ("yes", "no")
    assert rows_of(run)[0].predictions[1].to_pylist() == [-float(number) for number in range(8)]


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        (pa.array(["a", "", "ü"]), ["a", "", "ü"]),
        (pa.array(["a", "b", "c"], pa.large_string()), ["a", "b", "c"]),
        (pa.array(["a", "b", "c"], pa.string_view()), ["a", "b", "c"]),
        (pa.array(["a", "b", "a2"]).dictionary_encode(), ["a", "b", "a2"]),
        (pa.array([b"\xff", b"b", b""]), [b"\xff", b"b", b""]),
        (pa.array([17, -3, 2**62], pa.int64()), ["17", "-3", str(2**62)]),
        (pa.array([17, 0, 2**64 - 1], pa.uint64()), ["17", "0", str(2**64 - 1)]),
        (pa.array([1, 2, 3], pa.int8()).dictionary_encode(), ["1", "2", "3"]),
    ],
)
def test_keys_are_texts_or_the_digits_of_whole_numbers(
    runs: Any, keys: pa.Array, written: list[Any]
) -> None:
    run = runs.commit(runs.table([1.0, 2.0, 3.0], id=keys))
    assert keys_of(run) == [key.encode() if isinstance(key, str) else key for key in written]


def test_keys_of_a_csv_file_are_what_stands_there(runs: Any) -> None:
    table = runs.table([1.0, 2.0], id=pa.array(["007", "1.50"]))
    assert keys_of(runs.commit(table, given="csv")) == [b"007", b"1.50"]


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([1.0, 2.0]),
        pa.array([True, False]),
        pa.array([0, 1], pa.timestamp("us")),
        pa.array([1.0, 2.0]).dictionary_encode(),
    ],
)
def test_keys_of_other_types_are_refused(runs: Any, keys: pa.Array) -> None:
    run = runs.commit(runs.table([1.0, 2.0], id=keys))
    with pytest.raises(InvalidInput, match=r"id: expected a key of text or whole numbers, got "):
        rows_of(run)


@pytest.mark.parametrize(
    "keys",
    [
        pa.array(["a", None]),
        pa.array([1, None]),
        pa.array([None, None]),
        pa.array(["a", None]).dictionary_encode(),
        pa.array(["a", None]).dictionary_encode(null_encoding="encode"),
    ],
)
def test_a_row_without_a_key_is_refused(runs: Any, keys: pa.Array) -> None:
    run = runs.commit(runs.table([1.0, 2.0], id=keys), given="arrow", format="arrow")
    with pytest.raises(InvalidInput, match=r"id: expected a key in every row, got \d nulls in one"):
        rows_of(run)


@pytest.mark.parametrize("given", ["parquet", "csv"])
def test_features_come_as_the_model_was_given_them(runs: Any, model: Any, given: str) -> None:
    table = runs.table(AMOUNTS)
    if given == "csv":
        table = table.set_column(2, "plan", pa.array([["basic", "pro"][n % 2] for n in range(20)]))
    run = runs.commit(table, given=given, keep=FIELDS)
    every = rows_of(run, features=model.signature)
    found = [row for rows in every for row in rows.features.to_pylist()]  # type: ignore[union-attr]
    assert found == table.select(["amount", "plan", "visits"]).to_pylist()
    for rows in every:
        assert rows.features is not None
        assert rows.features.schema.names == ["amount", "plan", "visits"]
        assert rows.features.schema.field("visits").type == pa.int64()


def test_features_that_do_not_fit_any_more_are_told(runs: Any, model: Any) -> None:
    run = runs.commit(runs.table(AMOUNTS), keep=FIELDS)
    other = model.signature.__class__(
        fields=(
            model.signature.fields[1].__class__(name="plan", type="string", categories=("gold",)),
        )
    )
    with pytest.raises(TwofoldError, match=r"night: plan: expected .*gold"):
        rows_of(run, features=other)


def test_a_part_that_is_damaged_is_told_and_nothing_of_it_is_given(runs: Any) -> None:
    run = runs.commit(runs.table(AMOUNTS))
    path = run.folder / run.manifest.files[1].name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    rows = run_rows(run, ("prediction",), "float64", None)
    assert len(next(rows).keys) == 8
    with pytest.raises(TwofoldError, match="part-000001"):
        next(rows)


def test_a_run_that_cannot_be_read_by_key_says_how_to_run_it(runs: Any) -> None:
    table = runs.table(AMOUNTS)
    good = runs.commit(table, keep=FIELDS).manifest
    check_publishable(good, ())
    check_publishable(good, ("amount", "plan"))
    without = table.drop_columns(["id"])
    no_key = runs.commit(without, key=None, run_id="no-key").manifest
    with pytest.raises(InvalidInput, match=r"no-key: expected a run with a key, .* --key COL"):
        check_publishable(no_key, ())
    as_csv = runs.commit(table, format="csv", run_id="as-csv").manifest
    with pytest.raises(InvalidInput, match=r"as-csv: .* got csv, which .* --format parquet"):
        check_publishable(as_csv, ())
    plain = runs.commit(table, run_id="plain").manifest
    with pytest.raises(InvalidInput, match=r"none of 'amount', 'plan'\. .* --keep-features"):
        check_publishable(plain, ("amount", "plan"))


def test_a_key_that_is_a_field_of_the_model_is_a_feature_too(runs: Any) -> None:
    table = runs.table(AMOUNTS).drop_columns(["id"])
    run = runs.commit(table, key="visits", keep=("amount",)).manifest
    check_publishable(run, ("visits", "amount"))
    assert output_names(run) == ("prediction",)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.timestamp("us"), pa.decimal128(9, 2)])
def test_predictions_of_other_types_are_refused(kind: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match="prediction: expected a prediction, got "):
        output_type(pa.field("prediction", kind))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_labels_are_texts_however_they_are_kept(kind: pa.DataType) -> None:
    assert output_type(pa.field("prediction", kind)) == "string"

"""One batch: every row comes out once, predicted or set aside with its own reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.chunks import Broken, Chunk, Rows
from twofold.batch.layout import Layout
from twofold.batch.predict import Predicted, predict_chunk
from twofold.batch.quarantine import SetAside
from twofold.errors import TwofoldError

VALUE = pa.field("prediction", pa.float64())
REASONS = {
    "null": ("amount", "expected float64, got null"),
    "infinite": ("amount", "expected a finite float64, got Infinity"),
    "plan": ("plan", "expected one of 'basic', 'pro', got 'gold'"),
    "both": ("amount", "expected float64, got null"),
    "broken": ("", "expected 3 cells, got 2"),
    "broken cell": ("amount", "expected float64, got 'x'"),
    "poison": ("", "the model raised ValueError: poison"),
}


def layout(key: pa.DataType | None = None, *kept: str) -> Layout:
    passed = [pa.field("id", key)] if key is not None else []
    passed += [pa.field(name, pa.string()) for name in kept]
    return Layout(("amount", "plan"), "id" if key is not None else None, tuple(passed), (VALUE,))


def batch(amounts: Sequence[object], **more: pa.Array) -> pa.RecordBatch:
    """Make rows; the columns stand in another order than the signature's."""
    plans = pa.array(["basic"] * len(amounts), pa.string())
    columns = {"plan": plans} | more
    return pa.RecordBatch.from_pydict(columns | {"amount": pa.array(amounts)})


def chunk_of(kinds: Sequence[str], poison: float, first_row: int = 0) -> Chunk:
    """Make rows of these kinds, in the middle of a longer array, as a reader's slices are."""
    values = {"null": None, "both": None, "infinite": float("inf"), "poison": poison}
    blank = {"broken", "broken cell"}
    amounts = [None if k in blank else values.get(k, float(n)) for n, k in enumerate(kinds)]
    names = [None if k == "broken" else f"c{n}" for n, k in enumerate(kinds)]
    plans = [None if k in blank else "gold" if k in ("plan", "both") else "pro" for k in kinds]
    around = ["?"] * 3
    columns = {
        "id": pa.array([*around, *names, *around], pa.string()),
        "plan": pa.array([*around, *plans, *around], pa.string()),
        "amount": pa.array([0.0] * 3 + amounts + [0.0] * 3, pa.float64()),
    }
    whole = pa.RecordBatch.from_pydict(columns)
    broken = [Broken(n, *REASONS[k]) for n, k in enumerate(kinds) if k in ("broken", "broken cell")]
    return Chunk(first_row, Rows(whole.slice(3, len(kinds)), tuple(broken)))


def predict(
    predictor: Any, rows: pa.RecordBatch, found: Layout, *, from_text: bool = False
) -> Predicted:
    return predict_chunk(predictor, found, Chunk(0, Rows(rows)), from_text=from_text)


def values(predicted: Predicted) -> list[Any]:
    return predicted.columns.column("prediction").to_pylist()


@given(
    kinds=st.lists(st.sampled_from(["good", *REASONS]), max_size=20), first_row=st.integers(0, 99)
)
def test_every_row_is_predicted_or_set_aside_whatever_is_wrong_with_its_neighbours(
    doubler: Callable[[], Any], poison: float, kinds: list[str], first_row: int
) -> None:
    chunk = chunk_of(kinds, poison, first_row)
    found = predict_chunk(doubler(), layout(pa.string()), chunk, from_text=False)
    good = [n for n, kind in enumerate(kinds) if kind == "good"]
    assert (found.first_row, found.rows_in) == (first_row, len(kinds))
    assert found.columns.to_pydict() == {
        "id": [f"c{n}" for n in good],
        "prediction": [2.0 * n for n in good],
    }
    bad = [(n, kind) for n, kind in enumerate(kinds) if kind != "good"]
    assert [(item.row, item.key, item.field) for item in found.set_aside] == [
        (first_row + n, None if kind == "broken" else f"c{n}", REASONS[kind][0]) for n, kind in bad
    ]
    for item, (_, kind) in zip(found.set_aside, bad, strict=True):
        assert item.reason.startswith(REASONS[kind][1])


def test_row_that_could_not_be_read_is_told_its_own_reason_not_that_it_is_null(
    doubler: Callable[[], Any], poison: float
) -> None:
    chunk = chunk_of(["good", "broken", "good", "null"], poison)
    found = predict_chunk(doubler(), layout(pa.string()), chunk, from_text=False)
    assert found.set_aside[0] == SetAside(1, None, "", "expected 3 cells, got 2")
    assert found.set_aside[1] == SetAside(
        3,
        "c3",
        "amount",
        "expected float64, got null. Send a value, or pack the model with --nullable amount.",
    )


def test_model_is_not_asked_when_no_row_can_be_predicted(
    doubler: Callable[..., Any], poison: float
) -> None:
    calls: list[int] = []
    predictor = doubler(on_call=lambda: calls.append(1))
    for kinds in (["null", "broken", "plan"], []):
        chunk = chunk_of(kinds, poison)
        found = predict_chunk(predictor, layout(pa.string()), chunk, from_text=False)
        assert found.columns.schema == pa.schema([pa.field("id", pa.string()), VALUE])
        assert (found.columns.num_rows, len(found.set_aside)) == (0, len(kinds))
    assert calls == []


def test_rows_without_a_fault_are_predicted_in_one_call(doubler: Callable[..., Any]) -> None:
    calls: list[int] = []
    predictor = doubler(on_call=lambda: calls.append(1))
    assert values(predict(predictor, batch([1.0, 2.0, 3.0]), layout())) == [2.0, 4.0, 6.0]
    assert calls == [1]


def test_text_is_parsed_only_where_all_that_comes_is_text(doubler: Callable[[], Any]) -> None:
    rows = batch(["1.5", "x", "-2e1", None])
    found = predict(doubler(), rows, layout(), from_text=True)
    assert values(found) == [3.0, -40.0]
    assert [(item.row, item.reason.partition(".")[0]) for item in found.set_aside] == [
        (1, "expected float64, got string 'x'"),
        (3, "expected float64, got null"),
    ]
    typed = predict(doubler(), rows, layout())
    assert values(typed) == []
    assert typed.set_aside[0].reason.startswith("expected float64, got string '1.5'")


@pytest.mark.parametrize(
    ("keys", "texts"),
    [
        (pa.array([7, None, -(2**63)], pa.int64()), ["7", None, "-9223372036854775808"]),
        (pa.array(["a", None, ""]), ["a", None, ""]),
        (pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
        (pa.array(["a", None, "b"], pa.large_string()), ["a", None, "b"]),
        (pa.array([True, None, False]), ["true", None, "false"]),
        (
            pa.array([datetime(2026, 1, 31, 12, tzinfo=UTC), None, None], pa.timestamp("s", "UTC")),
            ["2026-01-31 12:00:00Z", None, None],
        ),
        (pa.array([b"\xff\x00", None, b"a"]), [repr(b"\xff\x00"), None, repr(b"a")]),
        (pa.array([[1, 2], None, []]), ["[1, 2]", None, "[]"]),
        (pa.array([{"a": 1}, None, {"a": None}]), ["{'a': 1}", None, "{'a': None}"]),
        (pa.nulls(3), [None, None, None]),
    ],
)
def test_key_of_any_type_is_shown_as_text(
    doubler: Callable[[], Any], keys: pa.Array, texts: list[str | None]
) -> None:
    found = predict(doubler(), batch([None] * 3, id=keys), layout(keys.type))
    assert [item.key for item in found.set_aside] == texts


def test_without_a_key_only_the_row_number_tells_which_row_it_is(
    doubler: Callable[[], Any],
) -> None:
    found = predict(doubler(), batch([1.0, None]), layout())
    assert [(item.row, item.key) for item in found.set_aside] == [(1, None)]
    assert found.columns.schema.names == ["prediction"]


def test_kept_columns_follow_their_rows_with_nulls_and_order(doubler: Callable[[], Any]) -> None:
    notes, marks = pa.array(["a", None, "c", None]), pa.array(["w", "x", None, "z"])
    rows = batch([1.0, 2.0, None, 4.0], note=notes, mark=marks)
    found = predict(doubler(), rows, layout(None, "note", "mark"))
    assert found.columns.to_pylist() == [
        {"note": "a", "mark": "w", "prediction": 2.0},
        {"note": None, "mark": "x", "prediction": 4.0},
        {"note": None, "mark": "z", "prediction": 8.0},
    ]


def test_key_that_is_a_field_is_copied_as_it_came_not_as_the_model_got_it(
    doubler: Callable[[], Any],
) -> None:
    found_layout = Layout(("amount", "plan"), "amount", (pa.field("amount", pa.int16()),), (VALUE,))
    rows = batch(cast("Any", pa.array([1, None, 3], pa.int16())))
    found = predict(doubler(), rows, found_layout)
    assert found.columns.schema.field("amount").type == pa.int16()
    assert found.columns.to_pydict() == {"amount": [1, 3], "prediction": [2.0, 6.0]}


def test_error_that_is_no_fault_of_a_row_is_passed_on(doubler: Callable[..., Any]) -> None:
    def fail() -> None:
        raise TwofoldError("the model is gone")

    with pytest.raises(TwofoldError, match=r"^the model is gone$"):
        predict(doubler(on_call=fail), batch([1.0, None]), layout())

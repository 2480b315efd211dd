"""MLflow's scoring client talks to a server as if MLflow had started it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign import Raised
from models import people

import twofold
from twofold import __version__


@pytest.fixture(scope="module")
def mlflow(client: Callable[[str], Any]) -> Any:
    return client("mlflow")


def predictions(registry: Path, rows: list[dict[str, Any]]) -> Any:
    return twofold.load("churn", registry=registry).predict(rows).tolist()


def test_server_is_pinged_waited_for_and_gives_its_version(mlflow: Any) -> None:
    assert mlflow("look") == __version__


@pytest.mark.parametrize("count", [1, 50])
def test_frame_of_text_and_missing_numbers_is_predicted_as_at_the_door(
    mlflow: Any, registry: Path, count: int
) -> None:
    rows = people(count)
    assert mlflow("frame", rows=rows) == {"0": predictions(registry, rows)}


@pytest.mark.parametrize(
    "dtypes",
    [
        {"age": "int32"},
        {"age": "float64"},
        {"plan": "category"},
        {"plan": "object"},
        {"spent": "float32"},
    ],
)
def test_columns_of_other_dtypes_that_hold_the_same_values_are_predicted_alike(
    mlflow: Any, registry: Path, dtypes: dict[str, str]
) -> None:
    rows = [{"age": 30, "spent": None, "plan": "pro"}, {"age": 41, "spent": 2.5, "plan": "team"}]
    assert mlflow("frame", rows=rows, dtypes=dtypes) == {"0": predictions(registry, rows)}


def test_columns_come_in_any_order_and_parameters_are_ignored(mlflow: Any, registry: Path) -> None:
    rows = people(3)
    turned = [dict(reversed(row.items())) for row in rows]
    expected = {"0": predictions(registry, rows)}
    assert mlflow("frame", rows=turned, params={"temperature": 0.5}) == expected


def test_lists_of_rows_are_predicted(mlflow: Any, registry: Path) -> None:
    rows = people(3)
    expected = {"0": predictions(registry, rows)}
    assert mlflow("listed", rows=[list(row.values()) for row in rows]) == expected
    assert mlflow("listed", rows=rows) == expected


@pytest.mark.parametrize(
    ("call", "how", "words"),
    [
        (
            "frame",
            {"rows": [{"age": 20, "spent": 1.5, "plan": "gold"}]},
            "dataframe_split.data[0].plan: expected one of 'basic', 'pro', 'team', got 'gold'.",
        ),
        (
            "frame",
            {"rows": [{"age": 20, "plan": "pro"}]},
            "dataframe_split.columns.spent: expected a column, got only age, plan.",
        ),
        ("array", {"values": [[20, 1.5, 3]]}, "inputs[0].plan: expected string, got number 3.0."),
        ("listed", {"rows": []}, "inputs: expected at least one row, got none."),
    ],
)
def test_refusal_is_an_exception_with_the_status_and_the_servers_words(
    mlflow: Any, call: str, how: dict[str, Any], words: str
) -> None:
    with pytest.raises(Raised, match="error code 422") as caught:
        mlflow(call, **how)
    assert words in caught.value.words

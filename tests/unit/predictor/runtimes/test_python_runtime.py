"""Python callables behind the door."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from twofold.errors import ConfigError, PredictionFailed
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Output, Signature
from twofold.predictor.runtimes import open_runtime

MODULE = """
seen = []

def keep(row):
    seen.append(row)
    return 1.0

def shown(row):
    return repr(sorted(row.items()))

def doubled(rows):
    return [value * 2 for value in rows["x"].to_pylist()]

def array(rows):
    import numpy
    return numpy.array(rows["x"].to_pylist(), numpy.float32)

def given(row):
    return GIVEN[row["x"]]

class Model:
    def __init__(self):
        self.factor = None
    def load(self):
        self.factor = 3.0
    def predict(self, row):
        return row["x"] * self.factor

class Nothing:
    pass
"""
NUMBER = Signature(fields=(Field(name="x", type="float64"),))


def opened(
    folder: Path,
    attribute: str,
    *,
    kind: Any = "float64",
    call: str = "row",
    signature: Signature = NUMBER,
    text: str = MODULE,
) -> Any:
    path = folder / "rules.py"
    path.write_text(text)
    digest = f"{abs(hash((str(folder), text))):064x}"  # a name of its own for each test
    artifact = Artifact(
        file=path.name,
        format="python-source",
        sha256=digest[::-1],
        size_bytes=0,
        call=call,
        input="rows",
        attribute=attribute,
    )
    output = Output(kind="value", type=kind)
    return open_runtime(artifact, folder, signature, output, trust_pickle=False)


def test_a_function_sees_the_same_row_at_both_speeds(tmp_path: Path) -> None:
    zone, none = UTC, None
    signature = Signature(
        fields=(
            Field(name="flag", type="bool", nullable=True),
            Field(name="whole", type="int64", nullable=True),
            Field(name="single", type="float32"),
            Field(name="text", type="string", nullable=True),
            Field(name="many", type="tensor", length=2),
        )
    )
    timed = Signature(fields=(*signature.fields, Field(name="at", type="timestamp", zoned=True)))
    rows = [[True, 5, 0.5, "a", [1.0, 2.0]], [None, None, 0.25, None, [0.0, 0.5]]]
    instant = datetime(2024, 5, 1, tzinfo=zone)
    micros = int(instant.timestamp()) * 1_000_000
    for fields, values in ((signature, rows), (timed, [[*row, micros] for row in rows])):
        runtime = opened(tmp_path, "shown", kind="string", signature=fields)
        many = runtime.predict_columns(columns_of(fields, values))[0].tolist()
        assert [runtime.predict_values(row)[0] for row in values] == many
    assert f"('whole', {none})" in many[1]
    assert "datetime.datetime(2024, 5, 1" in many[0]


def test_a_function_sees_the_first_and_the_last_time_that_are_admitted(tmp_path: Path) -> None:
    signature = Signature(
        fields=(
            Field(name="local", type="timestamp"),
            Field(name="zoned", type="timestamp", zoned=True),
        )
    )
    runtime = opened(tmp_path, "shown", kind="string", signature=signature)
    check = RowCheck(signature)
    for local, zoned, shown in (
        ("0001-01-01", "0001-01-01T14:00:00+14:00", "datetime.datetime(1, 1, 1, 0, 0"),
        ("9999-12-31", "9999-12-31T10:00:00-13:59", "datetime.datetime(9999, 12, 31, 23, 59"),
    ):
        values = check({"local": local, "zoned": zoned})
        [found] = runtime.predict_values(values)
        assert shown in found
        assert runtime.predict_columns(columns_of(signature, [values]))[0].tolist() == [found]


@pytest.mark.parametrize(("attribute", "expected"), [("doubled", 3.0), ("array", 1.5)])
def test_a_batch_wise_function_takes_tables_of_any_length(
    attribute: str, expected: float, tmp_path: Path
) -> None:
    runtime = opened(tmp_path, attribute, call="batch")
    assert runtime.predict_values([1.5]) == (expected,)
    columns = columns_of(NUMBER, [[1.5], [1.5]])
    assert runtime.predict_columns(columns)[0].tolist() == [expected, expected]


def test_a_class_is_made_and_loaded(tmp_path: Path) -> None:
    assert opened(tmp_path, "Model").predict_values([2.0]) == (6.0,)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float64", "'text'"),
        ("float64", "None"),
        ("float64", "True"),
        ("int64", "1.5"),
        ("int64", "True"),
        ("bool", "1"),
        ("string", "b'bytes'"),
    ],
)
def test_another_type_than_declared_is_a_failed_prediction(
    kind: Any, value: str, tmp_path: Path
) -> None:
    runtime = opened(tmp_path, "given", kind=kind, text=f"GIVEN = {{1.0: {value}}}\n{MODULE}")
    with pytest.raises(PredictionFailed, match=f"prediction: expected {kind}, got"):
        runtime.predict_values([1.0])
    with pytest.raises(PredictionFailed, match=f"prediction: expected {kind}, got"):
        runtime.predict_columns(columns_of(NUMBER, [[1.0]]))


def test_whole_numbers_are_fine_where_a_float_is_declared(tmp_path: Path) -> None:
    runtime = opened(tmp_path, "given", text=f"GIVEN = {{1.0: 2}}\n{MODULE}")
    assert runtime.predict_values([1.0]) == (2.0,)
    assert type(runtime.predict_values([1.0])[0]) is float


@pytest.mark.parametrize(
    ("attribute", "text", "words"),
    [
        ("shown", "import no_such_module_here", "expected a module that loads, got ModuleNotFound"),
        ("absent", MODULE, "rules.py:absent: expected a callable"),
        ("Nothing", MODULE, "rules.py:Nothing: expected a callable"),
        ("Model", MODULE.replace("3.0", "1 / 0"), "expected a file that the libraries here can"),
    ],
)
def test_a_module_that_does_not_load_says_why(
    attribute: str, text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, attribute, text=text)
    assert words in str(caught.value)


def test_a_function_may_change_its_row_without_harm(tmp_path: Path) -> None:
    runtime = opened(tmp_path, "keep", text=MODULE.replace("seen.append(row)", "row.clear()"))
    values = [1.5]
    assert runtime.predict_values(values) == (1.0,)
    assert values == [1.5]
    assert isinstance(columns_of(NUMBER, [values]), pa.RecordBatch)

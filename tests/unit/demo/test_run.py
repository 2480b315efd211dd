"""The demo's own parts: its folder, its steps, its samples of a run, its summary."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from twofold.demo import customers
from twofold.demo.run import (
    CHANGES,
    MARKER,
    DemoReport,
    _clear,
    _original_s,
    _Stage,
    _stored,
    _summary,
    run_demo,
)
from twofold.errors import ConfigError

REPORT = DemoReport(
    rows=1_000_000,
    steps_s={"Train": 1.5, "Pack": 2.25},
    batch_rows_per_s=500_000.0,
    one_row_in_process_s=5.5e-6,
    one_row_original_s=0.0123456,
    one_row_http_s=120e-6,
    one_row_http_p99_s=500e-6,
    compared_rows=1_000,
    equal_rows=1_000,
    peak_memory_bytes=300 << 20,
    folder="twofold-demo",
)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, highlight=False, soft_wrap=True, width=200), text


# The folder.


@pytest.mark.parametrize("name", ["new", "new/below/it"])
def test_a_folder_that_is_not_there_is_made_and_marked(tmp_path: Path, name: str) -> None:
    _clear(tmp_path / name)
    assert names_in(tmp_path / name) == [MARKER]
    said = (tmp_path / name / MARKER).read_text(encoding="utf-8")
    assert said == "made by `twofold demo`, which removes this folder when it runs again\n"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    _clear(tmp_path)
    assert names_in(tmp_path) == [MARKER]


def test_what_an_earlier_demo_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    _clear(folder)
    (folder / "registry" / "churn").mkdir(parents=True)
    (folder / "registry" / "churn" / "model.json").write_text("{}", encoding="utf-8")
    (folder / "customers.parquet").write_bytes(b"PAR1")
    _clear(folder)
    assert names_in(folder) == [MARKER]
    assert names_in(tmp_path) == ["demo"]


@pytest.mark.parametrize("name", ["thesis.txt", ".hidden", "twofold-demo", "folder/thesis.txt"])
def test_a_folder_with_anything_else_in_it_is_refused_and_left_alone(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("years of work", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        _clear(tmp_path / "mine")
    assert str(caught.value) == (
        f"{tmp_path / 'mine'}: expected an empty folder or an earlier demo's, got one with other "
        "files. Choose another with --folder."
    )
    assert [found for found in (tmp_path / "mine").rglob("*") if found.is_file()] == [path]
    assert path.read_text(encoding="utf-8") == "years of work"


def test_the_demo_looks_at_its_folder_before_it_does_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected an empty folder or an earlier demo's"):
        run_demo(tmp_path, rows=1_000, wait=False)
    assert names_in(tmp_path) == ["thesis.txt"]
    assert capsys.readouterr() == ("", "")


# The steps.


def test_steps_are_numbered_and_timed_in_their_order() -> None:
    out, text = console()
    stage = _Stage(out)
    for title in ("Train", "Pack", "Predict"):
        with stage.step(title):
            out.print("   working")
    assert [line for line in text.getvalue().splitlines() if line[:1].isdigit()] == [
        "1. Train",
        "2. Pack",
        "3. Predict",
    ]
    assert list(stage.steps_s) == ["Train", "Pack", "Predict"]
    assert all(elapsed_s >= 0 for elapsed_s in stage.steps_s.values())


def test_a_step_that_fails_is_not_counted() -> None:
    stage = _Stage(console()[0])
    with pytest.raises(ZeroDivisionError), stage.step("Train"):
        raise ZeroDivisionError
    assert stage.steps_s == {}


def test_off_a_terminal_no_bar_is_drawn() -> None:
    out, text = console()
    with _Stage(out).bar(10) as advance:
        advance(4)
        advance(6)
    assert text.getvalue() == ""


# Samples of a run.


def run_of(folder: Path, rows: int, *, backwards: bool = False) -> tuple[Path, Any]:
    """Customers whose tenure is their number, and a run that predicted ten times that."""
    numbers = list(range(rows))
    ids = [customers.FIRST_NEW_ID + number for number in numbers]
    predictions = [number * 10.0 for number in numbers]
    part = pa.table({customers.KEY: ids, "prediction": predictions})
    pq.write_table(part, folder / "part-000000.parquet")
    people = pa.table({customers.KEY: ids, "tenure": numbers})
    order = numbers[::-1] if backwards else numbers
    pq.write_table(people.take(order), folder / "customers.parquet")
    manifest = SimpleNamespace(files=[SimpleNamespace(name="part-000000.parquet")])
    return folder / "customers.parquet", SimpleNamespace(folder=folder, manifest=manifest)


@pytest.mark.parametrize(
    ("rows", "count", "expected"),
    [(10, 1, [0]), (10, 2, [0, 5]), (10, 3, [0, 3, 6]), (3, 3, [0, 1, 2]), (3, 10, [0, 1, 2])],
)
def test_stored_predictions_are_spread_over_the_run_with_the_rows_they_are_for(
    tmp_path: Path, rows: int, count: int, expected: list[int]
) -> None:
    stored, found = _stored(*run_of(tmp_path, rows), count)
    first = customers.FIRST_NEW_ID
    assert stored == [(first + number, number * 10.0) for number in expected]
    assert found == [{"tenure": number} for number in expected]


@given(rows=st.integers(1, 60), count=st.integers(1, 70), backwards=st.booleans())
def test_a_prediction_never_gets_another_customer_s_row(
    tmp_path_factory: pytest.TempPathFactory, rows: int, count: int, backwards: bool
) -> None:
    folder = tmp_path_factory.mktemp("run")
    stored, found = _stored(*run_of(folder, rows, backwards=backwards), count)
    assert len(stored) == len(found) == min(rows, count)
    for (_, prediction), row in zip(stored, found, strict=True):
        assert prediction == row["tenure"] * 10.0


def test_the_changes_of_the_one_customer_are_values_the_real_ones_have() -> None:
    real = customers.real_customers()
    for name, value in CHANGES.items():
        assert value in set(real[name].to_pylist())


# The summary.


def predictor(**one_row_s: float | None) -> Any:
    candidates = [
        SimpleNamespace(runtime=name, one_row_s=seconds) for name, seconds in one_row_s.items()
    ]
    runtimes = SimpleNamespace(batch="compiled", real_time="compiled")
    return SimpleNamespace(
        parity=SimpleNamespace(candidates=candidates), record=SimpleNamespace(runtimes=runtimes)
    )


def summary(report: DemoReport) -> list[str]:
    out, text = console()
    _summary(out, report, predictor())
    return text.getvalue().splitlines()


def test_the_summary_compares_the_speeds_with_the_original_in_eighty_columns() -> None:
    lines = summary(REPORT)
    table = [" ".join(line.split()) for line in lines[1:6]]
    assert table == [
        "mode runtime rows/s per data point the answer is",
        "batch compiled 500,000 2.0 µs stored, 2.0 s old",
        "real time, in process compiled 181,818 5.5 µs live",
        "real time, over HTTP compiled 8,333 120.0 µs live",
        "scikit-learn, one row - 81 12,345.6 µs live",
    ]
    assert max(map(len, lines[:7])) <= 80
    assert "peak memory 300 MiB; 4 s in all" in lines


def test_the_summary_says_where_everything_lies() -> None:
    lines = summary(REPORT)
    assert [line.split()[:2] for line in lines[-3:]] == [
        ["model", "twofold-demo/registry/churn"],
        ["customers", "twofold-demo/customers.parquet"],
        ["batch", "twofold-demo/predictions"],
    ]
    assert lines[-3].endswith("(twofold models churn --registry twofold-demo/registry)")


def test_an_original_that_was_not_timed_is_left_out_of_the_summary() -> None:
    lines = summary(msgspec.structs.replace(REPORT, one_row_original_s=None))
    assert not any(line.startswith("scikit-learn") for line in lines)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"compiled": 1e-6, "original": 2e-3}, 2e-3),
        ({"compiled": 1e-6, "original": None}, None),
        ({"compiled": 1e-6}, None),
    ],
)
def test_the_time_of_the_original_is_the_original_s(
    times: dict[str, float | None], expected: float | None
) -> None:
    assert _original_s(predictor(**times)) == expected

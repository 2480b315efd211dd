"""`twofold snapshot publish`, `list`, `rollback`, `get`: results, exit codes, what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.cli.snapshot import shown_age
from twofold.lease import hold_lease

NIGHT = "out/night"
LIST = ("snapshot", "list", "--model", "price")
BACK = ("snapshot", "rollback", "--model", "price")


def run(cli: Any, run_id: str = "night", source: str = "rows.parquet", *flags: str) -> None:
    """Commit a run of `price` by id; it has an as_of of its own."""
    where = ("--output", "out", "--run-id", run_id, "--key", "id", "--keep-features")
    cli("batch", "run", "price", source, *where, *flags)


def publish(cli: Any, folder: str = NIGHT, *flags: str) -> Any:
    return cli.json("snapshot", "publish", folder, *flags)


def get(cli: Any, key: str, *flags: str, code: int = 0, **environment: str) -> Any:
    return cli.json("snapshot", "get", key, "--model", "price", *flags, code=code, **environment)


@pytest.fixture
def night(cli: Any) -> Any:
    """The command, in a folder with a committed run."""
    run(cli)
    return cli


@pytest.fixture
def published(night: Any) -> Any:
    """The command, in a folder whose run is published with its features."""
    publish(night, NIGHT, "--with-features")
    return night


@pytest.fixture
def half(night: Any, table: Callable[[int], pa.Table]) -> Any:
    """The command, in a folder with a smaller run, too, after a published one."""
    publish(night)
    pq.write_table(table(10), "half.parquet")
    run(night, "half", "half.parquet")
    return night


def test_published_snapshot_is_the_result_and_it_is_said_how_it_went(night: Any) -> None:
    result = night("snapshot", "publish", NIGHT)
    assert result.stdout.startswith("000001-")
    assert result.stdout.count("\n") == 1
    assert result.stderr.startswith("published: 20 keys of run night, price@1, in ")
    again = night("snapshot", "publish", NIGHT)
    assert again.stdout == result.stdout
    assert again.stderr.startswith("already published: 20 keys of run night")


def test_with_json_the_result_is_the_snapshot_and_how_it_came_about(night: Any) -> None:
    done = publish(night, NIGHT, "--model", "price")
    assert done.keys() == {"state", "elapsed_s", "snapshot"}
    snapshot = done["snapshot"]
    assert (done["state"], snapshot["run_id"], snapshot["rows"]) == ("published", "night", 20)
    assert [(gate["gate"], gate["passed"]) for gate in snapshot["gates"]] == [
        ("max_quarantined_ratio", True)
    ]
    assert publish(night)["state"] == "already published"


def test_store_may_be_anywhere(night: Any) -> None:
    publish(night, NIGHT, "--store", "elsewhere")
    assert not Path("store").exists()
    assert night.json(*LIST)["snapshots"] == []
    assert len(night.json(*LIST, "--store", "elsewhere")["snapshots"]) == 1
    assert len(night.json(*LIST, TWOFOLD_STORE="elsewhere")["snapshots"]) == 1


@pytest.mark.parametrize(
    ("flags", "code", "kind", "words"),
    [
        (("out/none",), 1, "InvalidInput", "out/none: expected a committed run, got nothing."),
        ((NIGHT, "--model", "cost"), 1, "InvalidInput", "expected a run of cost, got one of price"),
        ((NIGHT, "--store", "nosql://x"), 1, "ConfigError", "--store: expected"),
        (("out/keyless",), 1, "InvalidInput", "Run it again with --key COL"),
        (("out/bare", "--with-features"), 1, "InvalidInput", "Run it again with --keep-features"),
    ],
)
def test_what_can_not_be_published_is_told(
    night: Any, flags: tuple[str, ...], code: int, kind: str, words: str
) -> None:
    batch = ("batch", "run", "price", "rows.parquet", "--output", "out", "--run-id")
    night(*batch, "keyless")
    night(*batch, "bare", "--key", "id")
    error = night.json("snapshot", "publish", *flags, code=code)
    assert (error["code"], error["exit_code"]) == (kind, code)
    assert words in error["error"]


def test_shut_gate_exits_with_3_and_the_snapshot_before_is_read_on(half: Any) -> None:
    error = half.json("snapshot", "publish", "out/half", code=3)
    assert (error["code"], error["exit_code"]) == ("GatesShut", 3)
    assert (
        "half: expected at least 0.9 of the 20 keys before (min_rows_ratio), got 10"
        in (error["error"])
    )
    assert error["error"].endswith("Mend the run, or publish it with --force.")
    assert [item["run_id"] for item in half.json(*LIST)["snapshots"]] == ["night"]


def test_shut_gate_can_be_forced_and_that_is_shown(half: Any) -> None:
    said = half.said("snapshot", "publish", "out/half", "--force")
    assert said.startswith("published: 10 keys of run half, price@1, forced, in ")
    assert "gate min_rows_ratio was shut: expected at least 0.9 of the 20 keys before" in said
    assert "forced: min_rows_ratio" in half(*LIST).stdout


def test_gates_can_be_set(half: Any) -> None:
    flags = ("--min-rows-ratio", "0.5", "--max-prediction-psi", "1000")
    assert publish(half, "out/half", *flags)["snapshot"]["is_forced"] is False


def test_publisher_at_work_exits_with_5(half: Any) -> None:
    with hold_lease(Path("store/price"), "price"):
        for command in (("snapshot", "publish", "out/half", "--force"), BACK):
            error = half.json(*command, code=5)
            assert (error["code"], error["exit_code"]) == ("LeaseHeld", 5)


def test_what_is_kept_is_listed_with_its_age_and_its_gates(half: Any) -> None:
    result = half(*LIST)
    assert result.stdout.split("\n")[0].split() == [
        "snapshot", "state", "run", "version", "keys", "as", "of", "age", "gates",
    ]  # fmt: skip
    assert " current " in result.stdout
    assert " 1 passed" in result.stdout
    half("snapshot", "publish", "out/half", "--force")
    listed = half.json(*LIST)
    assert (listed["model"], listed["switches"]) == ("price", 2)
    assert [(item["state"], item["run_id"], item["rows"]) for item in listed["snapshots"]] == [
        ("current", "half", 10),
        ("previous", "night", 20),
    ]
    assert all(item["age_s"] >= 0.0 for item in listed["snapshots"])


def test_model_without_a_snapshot_is_told_how_to_get_one(cli: Any) -> None:
    result = cli(*LIST)
    assert result.stdout == ""
    assert "no snapshot of price yet" in result.stderr
    assert "twofold snapshot publish DIR/RUN_ID" in result.stderr
    assert cli.json(*LIST) == {"model": "price", "switches": 0, "snapshots": []}


def test_way_back_is_one_step_and_so_is_the_way_forth(half: Any) -> None:
    error = half.json(*BACK, code=1)
    assert "price: expected a snapshot before the current one, got one." in error["error"]
    half("snapshot", "publish", "out/half", "--force")
    assert get(half, "3")["run_id"] == "half"
    shown = half(*BACK).stdout
    assert "rolled back" in shown
    assert get(half, "3")["run_id"] == "night"
    back = half.json(*BACK)
    assert [item["run_id"] for item in back["snapshots"]] == ["half", "night"]
    assert (back["switches"], get(half, "3")["run_id"]) == (4, "half")


# Answers


def test_stored_prediction_is_the_result_and_it_is_said_where_it_comes_from(published: Any) -> None:
    result = published("snapshot", "get", "3", "--model", "price")
    assert result.stdout == "3.0\n"
    assert result.stderr.startswith("batch, price@1, ")
    assert result.stderr.endswith(" old, fresh\n")
    answer = get(published, "3")
    assert answer.keys() == {
        "key", "prediction", "model", "version", "source", "as_of", "age_s", "fresh", "why",
        "run_id", "features",
    }  # fmt: skip
    assert (answer["key"], answer["prediction"], answer["source"]) == ("3", 3.0, "batch")
    assert (answer["fresh"], answer["why"], answer["run_id"]) == (True, "", "night")


def test_row_and_changes_are_predicted_now(published: Any) -> None:
    row = json.dumps({"x": 5.0, "s": "a"})
    live = get(published, "3", "--row", row)
    assert (live["prediction"], live["source"], live["why"]) == (10.0, "live", "newer features")
    assert get(published, "new", "--row", row)["why"] == "unknown key"
    assert get(published, "3", "--changes", '{"x": 7}')["prediction"] == 14.0
    same = json.dumps({"x": 1.5, "s": "d"})
    assert get(published, "3", "--row", same)["source"] == "batch"
    said = published.said("snapshot", "get", "3", "--model", "price@1", "--row", row)
    assert said == "live, price@1, 0 s old, fresh (newer features)"


def test_stale_prediction_is_said_to_be_or_refused(published: Any) -> None:
    said = published.said("snapshot", "get", "3", "--model", "price", "--max-age-s", "0")
    assert said.endswith("not fresh (stale)")
    error = get(published, "3", "--max-age-s", "0", "--on-stale", "refuse", code=1)
    assert error["code"] == "Stale"


def test_key_that_is_not_stored_is_unknown(published: Any) -> None:
    error = get(published, "none", code=1)
    assert (error["code"], error["exit_code"]) == ("UnknownKey", 1)
    assert "key 'none': expected a key that is stored, got one that isn't." in error["error"]
    assert get(published, "", code=1)["error"] == "KEY: expected a key, got nothing. Name one."


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("get", "3"), "Missing option '--model'"),
        (("get", "--model", "price"), "Missing argument 'KEY'"),
        (("get", "3", "--model", "price", "--row", "{"), "expected JSON"),
        (("get", "3", "--model", "price", "--row", "[1]"), "expected an object by field name"),
        (("get", "3", "--model", "price", "--changes", "7"), "expected an object by field name"),
        (("get", "3", "--model", "price", "--on-stale", "guess"), "--on-stale: expected mark"),
        (("get", "3", "--model", "price", "--max-age-s", "-1"), "--max-age-s: expected 0"),
        (("publish",), "Missing argument 'DIR/RUN_ID'"),
        (
            ("publish", NIGHT, "--min-rows-ratio", "lots"),
            "--min-rows-ratio: expected a number, got 'lots'",
        ),
        (("list",), "Missing option '--model'"),
        (("rollback",), "Missing option '--model'"),
        (("withdraw",), "No such command"),
    ],
)
def test_wrong_usage_exits_with_2(cli: Any, flags: tuple[str, ...], words: str) -> None:
    assert words in cli.said("snapshot", *flags, code=2)


def test_model_that_is_not_packed_is_told(published: Any) -> None:
    error = published.json("snapshot", "get", "3", "--model", "none", code=1)
    assert error["code"] == "UnknownModel"


@pytest.mark.parametrize(
    ("age_s", "shown"),
    [
        (0.0, "0 s"),
        (119.4, "119 s"),
        (120.0, "2 min"),
        (7_199.0, "120 min"),
        (7_200.0, "2 h"),
        (172_799.0, "48 h"),
        (172_800.0, "2 d"),
        (-30.0, "-30 s"),
        (-7_200.0, "-2 h"),
    ],
)
def test_age_is_shown_in_the_largest_unit_of_which_it_has_several(age_s: float, shown: str) -> None:
    assert shown_age(age_s) == shown


def test_instants_are_those_of_utc(published: Any) -> None:
    [item] = published.json(*LIST)["snapshots"]
    as_of = datetime.fromisoformat(item["as_of"])
    assert f"{as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" in published(*LIST).stdout

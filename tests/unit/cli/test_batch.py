"""`twofold batch run`, `list`, `status`, `resume`: results, exit codes, and what is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.app.batch import RunRequest, Watch, run_batch
from twofold.batch.settings import BatchSettings
from twofold.batch.stage import staging_folder
from twofold.batch.watch import Progress
from twofold.cli.batch import _Rate, progress_bar
from twofold.lease import hold_lease

OUT = ("--output", "out")
RUN = ("batch", "run", "price", "rows.parquet", *OUT, "--run-id", "night")
BROKEN = ("batch", "run", "price", "broken.parquet", *OUT, "--run-id", "night")
SUMMARY = {
    "run_id",
    "state",
    "folder",
    "model",
    "started_at",
    "rows_done",
    "rows_total",
    "rows_quarantined",
    "into",
    "manifest",
}


class Crash(BaseException):
    """Stands for the end of the process."""


def interrupt(run_id: str = "night", source: str = "rows.parquet") -> None:
    """Leave a run behind that has finished 8 of its 20 rows."""

    def stop(progress: Progress) -> None:
        if progress.rows_done >= 8:
            raise Crash

    request = RunRequest(
        model="price",
        input=source,
        output=Path("out"),
        registry=Path("registry"),
        key="id",
        run_id=run_id,
    )
    settings = BatchSettings(workers=1, batch_rows=4, partition_rows=8)
    with pytest.raises(Crash):
        run_batch(request, settings=settings, watch=Watch(progress=stop))


@contextlib.contextmanager
def at_work(run_id: str = "night") -> Iterator[None]:
    """Be the process that works on a run."""
    with hold_lease(staging_folder(Path("out"), run_id), run_id):
        yield


@pytest.fixture
def broken(cli: Any, table: Callable[[int], pa.Table]) -> None:
    """Twenty rows in `broken.parquet`, of which two don't fit."""
    numbers = [None, None, *[1.0] * 18]
    pq.write_table(table(20).set_column(1, "x", pa.array(numbers)), "broken.parquet")


def test_a_run_gives_its_folder_as_the_result_and_says_how_it_went(cli: Any) -> None:
    result = cli(*RUN, "--key", "id")
    assert result.stdout == "out/night\n"
    assert result.stderr.startswith("committed: 20 of 20 rows predicted, 0 quarantined, in ")
    parts = [pq.read_table(path) for path in Path("out/night").glob("part-*.parquet")]
    assert pa.concat_tables(parts)["prediction"].to_pylist() == [float(n) for n in range(20)]


def test_with_json_the_result_is_the_manifest_and_how_it_came_about(cli: Any) -> None:
    done = cli.json(*RUN, "--key", "id", "--keep", "s", "--keep", "x")
    assert done.keys() == {
        "state",
        "folder",
        "elapsed_s",
        "rows_resumed",
        "deliveries",
        "published",
        "manifest",
    }
    assert (done["state"], done["folder"], done["rows_resumed"]) == ("committed", "out/night", 0)
    manifest = done["manifest"]
    assert (manifest["key"], manifest["keep"]) == ("id", ["s", "x"])
    assert manifest["model"]["version"] == "1"
    assert manifest["rows_in"] == manifest["rows_predicted"] + manifest["rows_quarantined"] == 20


def test_the_same_run_again_is_found_and_not_repeated(cli: Any) -> None:
    first = cli.json(*RUN)
    again = cli.json(*RUN)
    assert (again["state"], again["rows_resumed"]) == ("already committed", 20)
    assert again["manifest"] == first["manifest"]
    said = cli.said(*RUN)
    assert said.startswith("already committed: 20 of 20 rows predicted, 20 of them by earlier")


def test_a_run_without_a_name_gets_one_from_the_time(cli: Any) -> None:
    folder = Path(cli(*RUN[:-2]).stdout.strip())
    assert folder.parent == Path("out")
    assert datetime.strptime(folder.name, "%Y%m%dT%H%M%S%z").tzinfo is not None


def test_the_flags_of_the_settings_shape_the_run(cli: Any) -> None:
    flags = ["--partition-rows", "8", "--batch-rows", "3", "--workers", "2"]
    manifest = cli.json(*RUN, *flags)["manifest"]
    assert [file["rows"] for file in manifest["files"]] == [8, 8, 4]


def test_settings_come_from_file_variable_and_flag_in_this_order(cli: Any) -> None:
    Path("twofold.toml").write_text("[batch]\npartition_rows = 10\n", encoding="utf-8")

    def rows(run_id: str, *flags: str, **environment: str) -> list[int]:
        done = cli.json(*RUN[:-1], run_id, *flags, **environment)
        return [file["rows"] for file in done["manifest"]["files"]]

    variable = {"TWOFOLD_BATCH_PARTITION_ROWS": "15"}
    assert rows("a") == [10, 10]
    assert rows("b", **variable) == [15, 5]
    assert rows("c", "--partition-rows", "19", **variable) == [19, 1]


def test_a_run_over_its_budget_exits_with_3_and_names_the_reasons(cli: Any, broken: None) -> None:
    error = cli.json(*BROKEN, "--max-quarantined-rows", "1", code=3)
    assert (error["code"], error["exit_code"]) == ("BudgetExceeded", 3)
    assert error["error"].startswith("night: expected at most 1 rows set aside")
    assert "See out/.twofold/night/quarantine.parquet for the reasons" in error["error"]
    assert "Nothing was committed." in cli.said(*BROKEN, "--max-quarantined-ratio", "0.05", code=3)
    assert not Path("out/night").exists()
    assert cli.said("batch", "resume", "night", *OUT).startswith(
        "committed: 18 of 20 rows predicted, 2 quarantined, in "
    )


def test_a_run_that_another_process_works_on_exits_with_5(cli: Any) -> None:
    interrupt()
    again = (*RUN, "--key", "id", "--partition-rows", "8")
    with at_work():
        for command in (again, ("batch", "resume", "night", *OUT)):
            error = cli.json(*command, code=5)
            assert (error["code"], error["exit_code"]) == ("LeaseHeld", 5)
            assert error["error"].startswith("night: expected no other process on this run")
    assert cli.json(*again)["rows_resumed"] == 8


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["nope", "rows.parquet"], "UnknownModel", "expected a model among: price, got 'nope'"),
        (
            ["price", "no.csv"],
            "InvalidInput",
            "no.csv: expected a Parquet, CSV, JSON Lines or Arrow IPC file",
        ),
        (["price", "cli_rules.py"], "InvalidInput", "expected a file name that ends in .parquet"),
        (["price", "rows.parquet", "--key", "no"], "InvalidInput", "--key no: expected a column"),
        (["price", "rows.parquet", "--keep", "no"], "InvalidInput", "--keep no: expected a colu"),
        (["price", "rows.parquet", "--run-id", "../up"], "InvalidInput", "--run-id: expected 1 to"),
        (["price", "rows.parquet", "--run-id", "a b"], "InvalidInput", "--run-id: expected 1 to"),
        (["price", "rows.parquet", "--registry", "no"], "UnknownModel", "registry no: expected a"),
    ],
)
def test_a_run_that_cannot_start_says_why_and_leaves_nothing(
    cli: Any, arguments: list[str], kind: str, words: str
) -> None:
    error = cli.json("batch", "run", *arguments, *OUT, code=1)
    assert (error["code"], error["exit_code"]) == (kind, 1)
    assert words in error["error"]
    assert not Path("out").exists()


def test_an_output_that_cannot_be_written_to_is_an_error(cli: Any) -> None:
    error = cli.json("batch", "run", "price", "rows.parquet", "--output", "rows.parquet/x", code=1)
    assert error["code"] == "ConfigError"
    assert error["error"].startswith("rows.parquet/x: expected a folder that can be written to")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers", "-1"], ["--workers: expected 0 to 1024, got -1."]),
        (["--batch-rows", "1.5"], ["--batch-rows: expected a whole number, got '1.5'."]),
        (["--max-quarantined-ratio", "nan"], ["--max-quarantined-ratio: expected a number, got "]),
        (
            ["--workers", "x", "--batch-rows", "0"],
            ["--workers: expected a whole number, got 'x'.", "--batch-rows: expected 1 to 1048576"],
        ),
        (["--key"], ["Option '--key' requires an argument."]),
        (["--nonsense"], ["No such option '--nonsense'."]),
        (["--output", "rows.parquet"], ["'--output': Directory 'rows.parquet' is a file."]),
    ],
)
def test_wrong_flags_are_wrong_usage_all_at_once(
    cli: Any, flags: list[str], words: list[str]
) -> None:
    said = cli.said(*RUN, *flags, code=2)
    assert [part for part in words if part not in said] == []
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["run", *OUT], "argument 'MODEL'"),
        (["run", "price", *OUT], "argument 'INPUT'"),
        (["run", "price", "rows.parquet"], "option '--output'"),
        (["list"], "option '--output'"),
        (["status", *OUT], "argument 'RUN_ID'"),
        (["status", "night"], "option '--output'"),
        (["resume", *OUT], "argument 'RUN_ID'"),
        (["resume", "night"], "option '--output'"),
    ],
)
def test_what_is_missing_is_named(cli: Any, arguments: list[str], missing: str) -> None:
    assert f"Error: Missing {missing}." in cli.said("batch", *arguments, code=2)


def test_a_run_is_resumed_with_its_own_partitions_only(cli: Any) -> None:
    said = cli.said("batch", "resume", "night", *OUT, "--partition-rows", "8", code=2)
    assert "No such option '--partition-rows'" in said


def test_runs_are_listed_in_the_order_they_began_with_their_state(cli: Any) -> None:
    interrupt("first")
    interrupt("second")
    cli(*RUN[:-1], "a-third")
    with at_work("second"):
        rows = [line.split() for line in cli("batch", "list", *OUT).stdout.splitlines()]
        listed = cli.json("batch", "list", *OUT)
    assert rows[0] == ["run", "state", "model", "started", "rows", "quarantined"]
    # The date and the time are two words.
    assert [(row[0], row[1], row[2], row[5], row[6]) for row in rows[1:]] == [
        ("first", "interrupted", "price@1", "8", "0"),
        ("second", "running", "price@1", "8", "0"),
        ("a-third", "committed", "price@1", "20", "0"),
    ]
    assert [run.keys() for run in listed] == [SUMMARY] * 3
    assert [(run["run_id"], run["state"]) for run in listed] == [
        ("first", "interrupted"),
        ("second", "running"),
        ("a-third", "committed"),
    ]
    assert [run["manifest"] is None for run in listed] == [True, True, False]


@pytest.mark.parametrize("folder", ["no-such-folder", "registry"])
def test_a_folder_without_runs_has_none(cli: Any, folder: str) -> None:
    result = cli("batch", "list", "--output", folder)
    assert (result.stdout, result.stderr) == ("", f"no runs in {folder}\n")
    assert cli.json("batch", "list", "--output", folder) == []


def test_the_status_of_an_interrupted_run_says_how_far_it_is(cli: Any) -> None:
    interrupt()
    assert cli("batch", "status", "night", *OUT).stdout.splitlines() == [
        "night  interrupted  price@1",
        "rows 8 of 20, quarantined 0",
        "in out/.twofold/night",
    ]
    found = cli.json("batch", "status", "night", *OUT)
    assert found.keys() == SUMMARY
    assert (found["rows_done"], found["rows_total"], found["manifest"]) == (8, 20, None)


def test_the_status_of_a_run_whose_length_is_not_known_leaves_it_out(cli: Any) -> None:
    lines = ["id,x,s", *(f"{number},{number}.5,a" for number in range(20))]
    Path("rows.csv").write_text("\n".join(lines), encoding="utf-8")
    interrupt(source="rows.csv")
    shown = cli("batch", "status", "night", *OUT).stdout
    assert shown.splitlines()[1] == "rows 8, quarantined 0"
    assert cli.json("batch", "status", "night", *OUT)["rows_total"] is None


def test_the_status_of_a_committed_run_has_its_manifest(cli: Any, broken: None) -> None:
    manifest = cli.json(*BROKEN)["manifest"]
    found = cli.json("batch", "status", "night", *OUT)
    assert (found["state"], found["folder"]) == ("committed", "out/night")
    assert (found["rows_done"], found["rows_quarantined"]) == (20, 2)
    assert found["manifest"] == manifest
    assert found["started_at"] == manifest["started_at"]
    facts = ["night  committed  price@1", "rows 20 of 20, quarantined 2", "in out/night"]
    shown = cli("batch", "status", "night", *OUT).stdout.splitlines()
    assert shown[:3] == facts
    assert shown[3].split()[:2] == ["column", "PSI"]


@pytest.mark.parametrize("command", ["status", "resume"])
def test_a_run_that_does_not_exist_is_answered_with_those_that_do(cli: Any, command: str) -> None:
    error = cli.json("batch", command, "nope", *OUT, code=1)
    assert error["error"] == "out: expected a run nope, got these: none. Name one of them."
    cli(*RUN)
    error = cli.json("batch", command, "nope", *OUT, code=1)
    assert error == {
        "error": "out: expected a run nope, got these: night. Name one of them.",
        "code": "InvalidInput",
        "exit_code": 1,
    }
    assert "run id: expected 1 to 64" in cli.said("batch", command, "../night", *OUT, code=1)


def test_what_was_set_aside_is_handed_out_mended_and_put_back(cli: Any, broken: None) -> None:
    assert cli.json(*BROKEN, "--key", "id")["manifest"]["rows_quarantined"] == 2
    result = cli("batch", "quarantine", "night", "aside.parquet", *OUT)
    assert result.stdout == "aside.parquet\n"
    said = " ".join(result.stderr.split())
    assert said == ("2 rows to mend; then: twofold batch repair night aside.parquet --output out")
    aside = pq.read_table("aside.parquet")
    assert aside["row"].to_pylist() == [0, 1]
    assert aside["reason"].to_pylist()[0].startswith("expected float64, got null")
    assert cli.json("batch", "quarantine", "night", "aside.csv", *OUT) == {
        "file": "aside.csv",
        "rows": 2,
    }
    error = cli.json("batch", "quarantine", "night", "aside.csv", *OUT, code=1)
    assert error["error"].startswith("aside.csv: expected a new file, got one that is there")
    place = aside.column_names.index("x")
    pq.write_table(aside.set_column(place, "x", pa.array([1.0, 2.0])), "mended.parquet")
    manifest = cli.json("batch", "repair", "night", "mended.parquet", *OUT)["manifest"]
    assert (manifest["rows_predicted"], manifest["rows_quarantined"]) == (20, 0)


def test_an_interrupted_run_is_resumed_and_says_what_was_there(cli: Any) -> None:
    interrupt()
    result = cli("batch", "resume", "night", *OUT)
    assert result.stdout == "out/night\n"
    said = " ".join(result.stderr.split())
    assert said.startswith(
        "committed: 20 of 20 rows predicted, 8 of them by earlier attempts, 0 quarantined, in "
    )
    again = cli.json("batch", "resume", "night", *OUT)
    assert (again["state"], again["rows_resumed"]) == ("already committed", 20)


def test_resuming_refuses_wrong_settings(cli: Any) -> None:
    interrupt()
    said = cli.said("batch", "resume", "night", *OUT, "--workers", "x", code=2)
    assert "--workers: expected a whole number, got 'x'." in said


def test_another_run_of_that_name_is_refused_with_what_differs(cli: Any) -> None:
    cli(*RUN, "--key", "id")
    error = cli.json(*RUN, "--key", "s", "--keep", "x", code=1)
    assert error["error"].startswith(
        "--run-id night: expected the same run as when it started, got another key column s "
        "(was id); another kept columns x (was none)."
    )


def test_deliveries_are_told_and_given_with_json(cli: Any) -> None:
    target = f"sqlite:{cli.folder}/crm.db?table=prices"
    first = cli.json(*RUN, "--into", target)
    assert first["deliveries"] == [{"target": target, "state": "delivered", "rows": 20}]
    assert first["manifest"]["into"] == [target]
    deliver = ("batch", "deliver", "night", *OUT)
    again = cli.json(*deliver)
    assert again["deliveries"] == [{"target": target, "state": "already delivered", "rows": 20}]
    other = target.replace("prices", "others")
    assert f"delivered: 20 rows, {other}" in cli(*deliver, "--into", other).stderr
    assert f"to be delivered to {target}" in cli("batch", "status", "night", *OUT).stdout
    assert cli.json("batch", "status", "night", *OUT)["into"] == [target]
    assert cli.json(*RUN)["deliveries"] == again["deliveries"]


def test_a_delivery_that_fails_exits_with_1_after_the_commit_and_says_what_finishes_it(
    cli: Any,
) -> None:
    cli(*RUN)
    (cli.folder / "crm.db").write_text("no database " * 1000)
    target = f"sqlite:{cli.folder}/crm.db?table=prices"
    said = cli(*RUN, "--into", target, code=1).stderr
    assert f"delivery to {target} failed: expected a database that takes the rows" in said
    assert (
        "The run is committed in out/night; finish its delivery with: twofold batch deliver" in said
    )
    (cli.folder / "crm.db").unlink()
    cli("batch", "deliver", "night", *OUT, "--into", target)
    wrong = cli.json(*RUN, "--into", "lake", code=1)
    assert wrong["code"] == "InvalidInput"
    assert cli("batch", "deliver", "night", *OUT, code=1).stderr.count("Say where it goes") == 1


def test_off_a_terminal_no_progress_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("predicting") as show:
        for done in (0, 5, 10):
            show(
                Progress(
                    rows_done=done,
                    rows_total=None if done < 5 else 10,
                    rows_quarantined=0,
                    rows_per_s=1.0,
                    elapsed_s=1.0,
                )
            )
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "12,345 rows  0 rows/s"),
        ({"rows_per_s": 1234.5, "rows_quarantined": 0}, "12,345 rows  1,234 rows/s"),
        (
            {"rows_per_s": 10.0, "rows_quarantined": 1_000},
            "12,345 rows  10 rows/s  1,000 quarantined",
        ),
    ],
)
def test_the_bar_shows_rows_their_rate_and_what_was_set_aside(
    fields: dict[str, float], text: str
) -> None:
    task: Any = SimpleNamespace(completed=12_345.0, fields=fields)
    assert _Rate().render(task).plain == text


# Publishing

LISTED = ("snapshot", "list", "--model", "price")


def snapshots(cli: Any) -> list[str]:
    """The runs of the snapshots that are kept."""
    return [item["run_id"] for item in cli.json(*LISTED)["snapshots"]]


def test_run_is_published_once_it_is_committed(cli: Any) -> None:
    result = cli(*RUN, "--key", "id", "--publish")
    folder, snapshot = result.stdout.splitlines()
    assert folder == "out/night"
    assert snapshot.startswith("000001-")
    committed, published = result.stderr.splitlines()
    assert committed.startswith("committed: 20 of 20 rows")
    assert published.startswith("published: 20 keys of run night, price@1, in ")
    assert snapshots(cli) == ["night"]
    again = cli.json(*RUN, "--key", "id", "--publish")
    assert (again["state"], again["published"]["state"]) == (
        "already committed",
        "already published",
    )
    assert again["published"]["snapshot"]["name"] == snapshot


def test_run_is_not_published_unless_that_is_asked_for(cli: Any) -> None:
    assert cli.json(*RUN, "--key", "id")["published"] is None
    assert snapshots(cli) == []


def test_features_are_published_if_that_is_asked_for(cli: Any) -> None:
    done = cli.json(*RUN, "--key", "id", "--with-features", "--store", "here")
    assert sorted(done["manifest"]["keep"]) == ["s", "x"]
    assert done["published"]["snapshot"]["features"] == ["x", "s"]
    changed = ("snapshot", "get", "3", "--model", "price", "--store", "here", "--changes")
    assert cli.json(*changed, '{"x": 7}')["prediction"] == 14.0


def test_features_can_be_kept_for_later(cli: Any) -> None:
    done = cli.json(*RUN, "--key", "id", "--keep-features", "--keep", "x")
    assert sorted(done["manifest"]["keep"]) == ["s", "x"]
    assert done["published"] is None
    assert cli.json("snapshot", "publish", "out/night", "--with-features")["snapshot"]["features"]


def test_a_run_that_is_resumed_is_published_with_the_features_it_kept(cli: Any) -> None:
    cli(*RUN, "--key", "id", "--keep-features")
    resume = ("batch", "resume", "night", *OUT)
    assert cli.json(*resume)["published"] is None
    assert cli.json(*resume, "--publish")["published"]["snapshot"]["features"] == []
    assert cli.json(*resume, "--with-features")["published"]["snapshot"]["features"] == ["x", "s"]


@pytest.fixture
def shut(cli: Any, table: Callable[[int], pa.Table]) -> tuple[str, ...]:
    """The command of a run that is too small to take the place of the one before."""
    cli(*RUN, "--key", "id", "--publish")
    pq.write_table(table(10), "half.parquet")
    where = ("half.parquet", *OUT, "--run-id", "half", "--key", "id", "--publish")
    return ("batch", "run", "price", *where)


def test_shut_gate_exits_with_3_and_says_that_the_run_is_committed(
    cli: Any, shut: tuple[str, ...]
) -> None:
    result = cli(*shut, "--html", "half.html", code=3)
    assert result.stdout == "out/half\n"
    said = " ".join(result.stderr.split())
    assert said.startswith("committed: 10 of 10 rows predicted")
    assert "error: the run is committed to out/half, but couldn't be published. half: " in said
    assert "(min_rows_ratio), got 10" in said
    assert Path("half.html").exists()
    assert snapshots(cli) == ["night"]
    assert cli.json("batch", "status", "half", *OUT)["state"] == "committed"
    error = cli.json(*shut, code=3)
    assert (error["code"], error["exit_code"]) == ("GatesShut", 3)
    assert error["error"].startswith("the run is committed to out/half, but couldn't be published.")


def test_publisher_at_work_exits_with_5_and_the_run_is_committed(
    cli: Any, shut: tuple[str, ...]
) -> None:
    with hold_lease(Path("store/price"), "price"):
        error = cli.json(*shut, code=5)
    assert error["error"].startswith("the run is committed to out/half")
    assert error["code"] == "LeaseHeld"


@pytest.mark.parametrize("flag", ["--publish", "--with-features"])
def test_run_without_a_key_is_not_begun_if_it_is_to_be_published(cli: Any, flag: str) -> None:
    assert "name its column with --key COL" in cli.said(*RUN, flag, code=2)
    assert not Path("out").exists()


def test_run_over_its_budget_is_not_published(cli: Any, broken: None) -> None:
    flags = ("--key", "id", "--publish", "--max-quarantined-rows", "1")
    assert cli.json(*BROKEN, *flags, code=3)["code"] == "BudgetExceeded"
    assert snapshots(cli) == []


def test_run_that_goes_on_is_published_once_it_is_committed(cli: Any) -> None:
    interrupt()
    done = cli.json("batch", "resume", "night", *OUT, "--publish")
    assert (done["rows_resumed"], done["published"]["state"]) == (8, "published")
    assert snapshots(cli) == ["night"]

"""Files become durable where no reader looks, then visible all at once."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.batch.ledger import Finished, Identity, Ledger, Started, parse_ledger, render_entry
from twofold.batch.manifest import InputEntry, Manifest, ModelEntry, Settings, read_manifest
from twofold.batch.quarantine import SetAside, table_of
from twofold.batch.stage import Stage, read_ledger, staging_folder
from twofold.batch.watch import Step
from twofold.errors import CommitUnknown, ConfigError, LeaseHeld, TwofoldError

AT = datetime(2026, 1, 31, tzinfo=UTC)
IDENTITY = Identity(
    run_id="night",
    model="churn@3",
    model_digest="aa",
    input_fingerprint="bb",
    key=None,
    keep=(),
    partition_rows=3,
    as_of=AT,
)
STARTED = Started(identity=IDENTITY, registry="/r", input="/i", started_at=AT, rows_total=None)
PART_ROWS = 2


class Bench:
    """One staging folder, its steps, and partitions of two predictions and one row set aside."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "out"
        self.steps: list[Step] = []
        self.fail_at: Step | None = None
        self.stage = Stage(self.output, "night", self._step)

    def _step(self, step: Step) -> None:
        self.steps.append(step)
        if step is self.fail_at:
            raise OSError(28, "No space left on device")

    @property
    def folder(self) -> Path:
        return self.output / ".twofold" / "night"

    @property
    def work(self) -> Path:
        return max(self.folder.glob("attempt-*"))

    @property
    def ledger(self) -> Ledger:
        return parse_ledger((self.work / "ledger.jsonl").read_bytes())

    def begin(self) -> Bench:
        self.stage.make_folder()
        self.stage.take_over()
        self.stage.resume()
        self.stage.start(STARTED)
        self.steps.clear()
        return self

    def finish(self, partition: int, *, bad: Sequence[int] = (2,)) -> Finished:
        first_row = partition * 3
        part = pa.table({"prediction": pa.array([first_row + 0.5] * PART_ROWS)})
        rows = [SetAside(first_row + number, None, "", "bad") for number in bad]
        return self.stage.finish(partition, first_row, part, table_of(rows))

    def commit(self, finished: Sequence[Finished], **changed: Any) -> Manifest:
        parts = tuple(entry.part for entry in finished)
        set_aside = self.stage.merge_quarantine(finished)
        quarantined = sum(entry.rows_quarantined for entry in finished)
        predicted = sum(part.rows for part in parts)
        facts: dict[str, Any] = {
            "rows_in": predicted + quarantined,
            "rows_predicted": predicted,
            "rows_quarantined": quarantined,
        }
        manifest = Manifest(
            run_id="night",
            model=ModelEntry(name="churn", version="3", digest="aa"),
            input=InputEntry(given="/i", format="csv", fingerprint="bb", files=()),
            as_of=AT,
            started_at=AT,
            finished_at=AT,
            predicted_at=AT,
            key=None,
            keep=(),
            columns=(),
            files=parts,
            quarantine=set_aside,
            settings=Settings(partition_rows=3, compression="zstd"),
            **(facts | changed),
        )
        self.stage.commit(manifest)
        return manifest

    def files(self) -> list[str]:
        found = (path for path in self.output.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.output).as_posix() for path in found)


@pytest.fixture
def new_stage(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def begun(new_stage: Bench) -> Bench:
    return new_stage.begin()


@pytest.fixture(scope="session")
def begin_another(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    return lambda: Bench(tmp_path_factory.mktemp("stage")).begin()


def rows_set_aside(path: Path) -> list[int]:
    return pq.ParquetFile(path).read().column("row").to_pylist()


def test_places_are_named_and_nothing_is_touched(new_stage: Bench) -> None:
    assert new_stage.stage.target == new_stage.output / "night"
    assert new_stage.stage.folder == staging_folder(new_stage.output, "night")
    assert read_ledger(new_stage.stage.folder) == Ledger(None, (), 0)
    assert not new_stage.output.exists()


def test_folder_is_made_with_those_above_it_and_made_again_without_harm(new_stage: Bench) -> None:
    new_stage.stage.make_folder()
    new_stage.stage.take_over()
    (new_stage.work / "ledger.jsonl").write_bytes(render_entry(STARTED))
    new_stage.stage.make_folder()
    assert read_ledger(new_stage.folder).started == STARTED


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are synced from here on, in order."""
    paths: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_each_folder_that_is_made_is_on_disk_before_there_is_anything_in_it(
    tmp_path: Path, synced: list[str]
) -> None:
    Bench(tmp_path / "above" / "it").stage.make_folder()
    output = tmp_path / "above" / "it" / "out"
    parents = [tmp_path, *reversed(output.parents[:2]), output, output / ".twofold"]
    # The deepest folder that is there may be what an attempt made that was killed just then.
    assert synced == [str(tmp_path.parent), *map(str, parents)]


def test_output_folder_that_is_there_is_made_sure_of_all_the_same(
    new_stage: Bench, synced: list[str]
) -> None:
    new_stage.output.mkdir()
    new_stage.stage.make_folder()
    assert str(new_stage.output.parent) in synced


def test_what_is_taken_up_is_synced_as_its_writer_may_have_been_killed_before_that(
    begun: Bench, synced: list[str]
) -> None:
    begun.finish(0)
    synced.clear()
    begun.stage.resume()
    assert synced == [str(begun.work / "ledger.jsonl"), str(begun.work)]


def test_file_that_can_not_be_closed_says_why(
    begun: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unclosable(io.BytesIO):
        def close(self) -> None:
            raise OSError(5, "Input/output error")

    def opened(_: Path, mode: str) -> io.BytesIO:
        assert mode == "wb"
        return Unclosable()

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(TwofoldError, match=r"got \[Errno 5\] Input/output error\. Make room"):
        begun.finish(0)


def test_output_that_can_not_be_a_folder_is_the_operators_to_change(new_stage: Bench) -> None:
    new_stage.output.write_text("a file")
    with pytest.raises(ConfigError) as caught:
        new_stage.stage.make_folder()
    message = str(caught.value)
    assert message.startswith(f"{new_stage.output}: expected a folder that can be written to, got ")
    assert message.endswith(". Choose another.")
    assert "Not a directory" in message


def test_fresh_stage_resumes_with_nothing(new_stage: Bench) -> None:
    new_stage.stage.make_folder()
    new_stage.stage.take_over()
    assert new_stage.stage.resume() == Ledger(None, (), 0)
    assert new_stage.steps == [Step.TAKE_OVER]


def test_partition_is_recorded_with_the_digest_and_length_of_its_files(begun: Bench) -> None:
    entry = begun.finish(0)
    assert (entry.partition, entry.first_row, entry.rows_in) == (0, 0, 3)
    assert entry.quarantine is not None
    for file, folder, rows in (
        (entry.part, "parts", 2),
        (entry.quarantine, "quarantine", 1),
    ):
        content = (begun.work / folder / file.name).read_bytes()
        assert (file.bytes, file.rows) == (len(content), rows)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert begun.ledger.finished == (entry,)
    assert (entry.part.name, entry.quarantine.name) == (
        "part-000000.parquet",
        "quarantine-000000.parquet",
    )


def test_only_columns_whose_values_repeat_are_written_with_a_dictionary(begun: Bench) -> None:
    table = pa.table(
        {
            "key": pa.array([1, 2]),
            "prediction": pa.array([0.5, 1.5]),
            "plan": pa.array(["a", "a"]),
            "run_id": pa.array(["night", "night"]).dictionary_encode(),
            "predicted_at": pa.array([1, 1], pa.timestamp("us", "UTC")),
        }
    )
    entry = begun.stage.finish(0, 0, table, table_of([]))
    with pq.ParquetFile(begun.work / "parts" / entry.part.name) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(at) for at in range(group.num_columns)]
        assert file.read().cast(table.schema) == table
    has = {column.path_in_schema: column.has_dictionary_page for column in columns}
    assert has == {
        "key": False, "prediction": False, "plan": True, "run_id": True, "predicted_at": True,
    }  # fmt: skip


def test_partition_without_rows_set_aside_leaves_no_quarantine_file(begun: Bench) -> None:
    assert begun.finish(0, bad=()).quarantine is None
    assert begun.files() == [
        ".twofold/night/attempt-000001/ledger.jsonl",
        ".twofold/night/attempt-000001/parts/part-000000.parquet",
    ]


def test_partition_is_recorded_only_after_its_files_have_their_names(begun: Bench) -> None:
    begun.fail_at = Step.FINISH
    with pytest.raises(TwofoldError):
        begun.finish(0)
    assert begun.steps == [Step.WRITE, Step.RENAME, Step.WRITE, Step.RENAME, Step.FINISH]
    assert (begun.work / "parts" / "part-000000.parquet").exists()
    assert (begun.work / "quarantine" / "quarantine-000000.parquet").exists()
    assert begun.ledger.finished == ()


def test_file_has_its_name_only_when_it_is_whole(begun: Bench) -> None:
    begun.fail_at = Step.RENAME
    with pytest.raises(TwofoldError):
        begun.finish(0)
    assert list((begun.work / "parts").iterdir()) == []


@pytest.mark.parametrize("step", [Step.WRITE, Step.RENAME, Step.FINISH])
def test_full_disk_names_the_staging_folder_and_the_way_on(begun: Bench, step: Step) -> None:
    begun.fail_at = step
    with pytest.raises(TwofoldError) as caught:
        begun.finish(0)
    assert str(caught.value) == (
        f"{begun.folder}: expected a disk to write to, got [Errno 28] No space left on device. "
        "Make room; then run the same command again, it goes on from here."
    )
    begun.fail_at = None
    assert begun.stage.resume().finished == ()
    assert begun.finish(0).rows_in == 3


def test_same_partition_is_the_same_bytes_each_time(
    begun: Bench, begin_another: Callable[[], Bench]
) -> None:
    assert begun.finish(1) == begin_another().finish(1) == begun.finish(1)


@settings(max_examples=40)
@given(
    count=st.integers(1, 4),
    harm=st.none() | st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(["flip", "lose"])),
)
def test_resume_takes_up_what_is_sound_before_the_first_harmed_file(
    begin_another: Callable[[], Bench], count: int, harm: tuple[int, bool, str] | None
) -> None:
    bench = begin_another()
    finished = [bench.finish(partition) for partition in range(count)]
    sound = count
    if harm is not None and harm[0] < count:
        sound, in_quarantine, what = harm
        entry = finished[sound]
        assert entry.quarantine is not None
        path = bench.work / "parts" / entry.part.name
        if in_quarantine:
            path = bench.work / "quarantine" / entry.quarantine.name
        content = bytearray(path.read_bytes())
        content[7] ^= 1
        path.unlink()
        if what == "flip":
            path.write_bytes(content)
    ledger = bench.stage.resume()
    assert (ledger.started, list(ledger.finished)) == (STARTED, finished[:sound])
    assert sorted(path.name for path in (bench.work / "parts").iterdir()) == [
        f"part-{partition:06d}.parquet" for partition in range(sound)
    ]
    assert sorted(path.name for path in (bench.work / "quarantine").iterdir()) == [
        f"quarantine-{partition:06d}.parquet" for partition in range(sound)
    ]


def test_resume_cuts_the_torn_end_of_the_ledger_off(begun: Bench) -> None:
    begun.finish(0)
    path = begun.work / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[-40:-1])
    assert begun.stage.resume().valid_bytes == len(whole)
    assert path.read_bytes() == whole


def test_what_is_done_again_is_recorded_after_what_was_said_before(begun: Bench) -> None:
    begun.finish(0)
    second = begun.finish(1)
    (begun.work / "parts" / second.part.name).unlink()
    begun.stage.resume()
    again = begun.finish(1, bad=())
    assert begun.stage.resume().finished[1] == again
    assert not (begun.work / "quarantine" / "quarantine-000001.parquet").exists()


def test_resume_deletes_what_an_overdrawn_budget_left_to_look_at(begun: Bench) -> None:
    entry = begun.finish(0)
    shown = begun.stage.show_quarantine([entry], table_of([]))
    assert shown.exists()
    assert begun.stage.resume().finished == (entry,)
    assert not shown.exists()


def test_quarantine_to_look_at_holds_finished_partitions_and_the_one_at_work(begun: Bench) -> None:
    finished = [begun.finish(0), begun.finish(1, bad=()), begun.finish(2, bad=(0, 1))]
    also = table_of([SetAside(9, "k", "f", "r")])
    shown = begun.stage.show_quarantine(finished, also)
    assert shown == begun.folder / "quarantine.parquet"
    assert rows_set_aside(shown) == [2, 6, 7, 9]


def test_quarantine_to_look_at_may_be_all_of_the_partition_at_work(begun: Bench) -> None:
    shown = begun.stage.show_quarantine([], table_of([SetAside(0, None, "", "bad")]))
    assert rows_set_aside(shown) == [0]


def test_quarantine_of_the_run_lies_beside_the_parts_in_the_order_of_rows(begun: Bench) -> None:
    finished = [begun.finish(0), begun.finish(1, bad=()), begun.finish(2, bad=(1, 0))]
    entry = begun.stage.merge_quarantine(finished)
    path = begun.work / "parts" / "quarantine.parquet"
    assert rows_set_aside(path) == [2, 7, 6]
    assert entry is not None
    assert (entry.name, entry.rows) == ("quarantine.parquet", 3)
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_run_without_rows_set_aside_has_no_quarantine(begun: Bench) -> None:
    finished = [begun.finish(0, bad=())]
    begun.steps.clear()
    assert begun.stage.merge_quarantine(finished) is None
    assert begun.steps == []


def test_commit_makes_the_run_visible_in_one_step(begun: Bench) -> None:
    seen: dict[Step, bool] = {}
    stage = Stage(
        begun.output, "night", lambda step: seen.update({step: begun.stage.target.exists()})
    )
    begun.stage = stage
    stage.take_over()
    others = {Step.START, Step.ANSWER, Step.EXCHANGE} | {
        Step.DELIVER,
        Step.DELIVER_COMMIT,
        Step.DELIVERED,
    }
    manifest = begun.commit([begun.finish(0), begun.finish(1, bad=())])
    assert seen == {step: step is Step.SYNC for step in Step if step not in others}
    assert read_manifest(stage.target) == manifest
    assert begun.files() == [
        ".twofold/night/attempt-000002/ledger.jsonl",
        "night/manifest.json",
        "night/part-000000.parquet",
        "night/part-000001.parquet",
        "night/quarantine.parquet",
    ]


def test_commit_leaves_the_ledger_and_no_other_trace_of_staging(begun: Bench) -> None:
    entry = begun.finish(0)
    begun.commit([entry])
    assert [path.name for path in begun.work.iterdir()] == ["ledger.jsonl"]
    assert read_ledger(begun.folder).finished == (entry,)


def test_run_whose_counts_do_not_agree_is_not_committed(begun: Bench) -> None:
    entry = begun.finish(0)
    with pytest.raises(TwofoldError, match=r"^night: expected 4 rows in, 2 predicted and 1 set"):
        begun.commit([entry], rows_in=4)
    assert not begun.stage.target.exists()
    assert Step.MANIFEST not in begun.steps
    assert begun.stage.resume().finished == (entry,)


@pytest.mark.parametrize("step", [Step.MANIFEST, Step.COMMIT])
def test_commit_that_fails_before_the_rename_can_be_tried_again(begun: Bench, step: Step) -> None:
    entry = begun.finish(0)
    begun.fail_at = step
    with pytest.raises(TwofoldError, match="expected a disk to write to") as caught:
        begun.commit([entry])
    assert not isinstance(caught.value, CommitUnknown)
    assert not begun.stage.target.exists()
    begun.fail_at = None
    assert begun.stage.resume().finished == (entry,)
    begun.commit([entry])
    assert begun.stage.target.exists()


def test_commit_that_fails_after_the_rename_is_not_called_either_way(begun: Bench) -> None:
    begun.fail_at = Step.SYNC
    with pytest.raises(CommitUnknown) as caught:
        begun.commit([begun.finish(0)])
    assert str(caught.value) == (
        f"{begun.stage.target}: expected a commit that is surely on disk, "
        "got [Errno 28] No space left on device. Look whether manifest.json is there, then run "
        "again with --run-id night."
    )


def test_folder_in_the_way_of_a_commit_is_left_alone(begun: Bench) -> None:
    begun.stage.target.mkdir()
    (begun.stage.target / "notes.txt").write_text("mine")
    with pytest.raises(TwofoldError, match="expected a disk to write to") as caught:
        begun.commit([begun.finish(0)])
    assert not isinstance(caught.value, CommitUnknown)
    assert [path.name for path in begun.stage.target.iterdir()] == ["notes.txt"]


def test_run_in_the_way_of_a_commit_may_be_this_one(begun: Bench) -> None:
    begun.stage.target.mkdir()
    (begun.stage.target / "manifest.json").write_text("theirs")
    with pytest.raises(CommitUnknown, match="run again with --run-id night"):
        begun.commit([begun.finish(0)])
    assert (begun.stage.target / "manifest.json").read_text() == "theirs"


def test_attempt_is_numbered_anew_by_whoever_takes_the_run_over(begun: Bench) -> None:
    entry = begun.finish(0)
    for number in (2, 3):
        another = Stage(begun.output, "night", begun.steps.append)
        another.take_over()
        assert begun.work.name == f"attempt-{number:06d}"
        assert another.resume().finished == (entry,)
    assert [path.name for path in begun.folder.iterdir()] == ["attempt-000003"]


@pytest.mark.parametrize("act", ["finish", "commit", "start", "quarantine"])
def test_process_that_lost_its_lease_can_neither_record_nor_commit(begun: Bench, act: str) -> None:
    entry = begun.finish(0)
    another = Stage(begun.output, "night", begun.steps.append)
    another.take_over()
    before = begun.files()
    acts: dict[str, Callable[[], object]] = {
        "finish": lambda: begun.finish(1),
        "commit": lambda: begun.commit([entry]),
        "start": lambda: begun.stage.start(STARTED),
        "quarantine": lambda: begun.stage.show_quarantine([entry], table_of([])),
    }
    with pytest.raises(LeaseHeld, match=r"^night: expected this process alone on the run, got"):
        acts[act]()
    assert begun.files() == before
    assert another.resume().finished == (entry,)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, TwofoldError), (errno.ENOENT, LeaseHeld)]
)
def test_disk_that_refuses_to_take_over_is_told_from_another_process(
    begun: Bench, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[TwofoldError]
) -> None:
    def refuse(_: Path, __: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(TwofoldError) as caught:
        Stage(begun.output, "night", begun.steps.append).take_over()
    assert type(caught.value) is kind


def test_process_that_lost_its_lease_is_told_so_after_the_other_one_has_committed(
    begun: Bench,
) -> None:
    entry = begun.finish(0)
    late, begun.stage = begun.stage, Stage(begun.output, "night", begun.steps.append)
    begun.stage.take_over()
    manifest = begun.commit([entry])
    with pytest.raises(LeaseHeld):
        late.commit(manifest)
    assert read_manifest(late.target) == manifest


def test_what_a_process_that_lost_its_lease_writes_to_open_files_harms_nothing(
    begun: Bench,
) -> None:
    entry = begun.finish(0)
    draft = (begun.work / "draft").open("wb")
    ledger = (begun.work / "ledger.jsonl").open("ab")
    begun.stage = Stage(begun.output, "night", begun.steps.append)
    begun.stage.take_over()
    begun.stage.resume()
    with draft, ledger:
        draft.write(b"half a file")
        ledger.write(render_entry(entry))
    begun.finish(1)
    begun.stage.take_over()
    assert [found.partition for found in begun.stage.resume().finished] == [0, 1]


def test_reader_finds_the_ledger_while_it_is_taken_over(begun: Bench) -> None:
    begun.finish(0)
    (begun.folder / "attempt-of-an-editor").mkdir()
    assert read_ledger(begun.folder).started == STARTED

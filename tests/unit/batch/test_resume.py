"""Runs that end in the middle, and go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.batch import stage
from twofold.batch.run import RunState
from twofold.batch.stage import read_ledger
from twofold.batch.watch import Step
from twofold.errors import CommitUnknown, InvalidInput, TwofoldError

NOT_IN_EVERY_RUN = {
    Step.ANSWER,
    Step.EXCHANGE,
    Step.DELIVER,
    Step.DELIVER_COMMIT,
    Step.DELIVERED,
}
VALUES = [*map(float, range(10)), None, 666.0, *map(float, range(12, 30))]


def test_crash_before_any_durable_step_is_healed_with_the_same_bytes(
    new_bench: Callable[[], Any], crash: type[BaseException]
) -> None:
    undisturbed = new_bench()
    steps: list[Step] = []
    undisturbed.run(undisturbed.parquet(undisturbed.table(VALUES)), at=steps.append)
    wanted = undisturbed.digests()
    assert set(steps) == set(Step) - NOT_IN_EVERY_RUN
    for number, step in enumerate(steps):
        bench = new_bench()
        source = bench.parquet(bench.table(VALUES))
        counter = count()

        def fall(_: Step, *, number: int = number, counter: Any = counter) -> None:
            if next(counter) == number:
                raise crash

        with pytest.raises(crash):
            bench.run(source, at=fall)
        assert bench.committed.exists() == (step is Step.SYNC)
        result = bench.run(source)
        found = bench.digests()
        del found["manifest.json"]
        assert found == {name: wanted[name] for name in wanted if name != "manifest.json"}, step
        assert (result.state is RunState.ALREADY_COMMITTED) == (step is Step.SYNC)


def test_commit_that_was_cut_off_is_made_sure_before_it_is_called_one(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bench.parquet(bench.table(VALUES))

    def fall(step: Step) -> None:
        if step is Step.SYNC:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(source, at=fall)
    synced: list[Path] = []
    monkeypatch.setattr(stage, "sync", synced.append)
    assert bench.run(source).state is RunState.ALREADY_COMMITTED
    assert bench.committed.parent in synced
    assert not (bench.attempt / "quarantine").exists()


def test_commit_that_cannot_be_made_sure_is_called_neither_way(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bench.parquet(bench.table(VALUES))
    bench.run(source)

    def broken(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(stage, "sync", broken)
    with pytest.raises(CommitUnknown, match="Input/output error"):
        bench.run(source)


def test_run_is_committed_even_if_nothing_can_be_cleaned_up_behind_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path, names: set[str]) -> None:
        if not names and bench.committed.exists():
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(stage, "_delete_others", broken)
    assert bench.run(bench.parquet(bench.table(VALUES))).state is RunState.COMMITTED


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=6))
def test_run_that_falls_again_and_again_ends_with_the_same_bytes(
    new_bench: Callable[[], Any], crash: type[BaseException], falls: list[int]
) -> None:
    bench, undisturbed = new_bench(), new_bench()
    undisturbed.run(undisturbed.csv(undisturbed.table(VALUES)))
    source = bench.csv(bench.table(VALUES))
    for fall_at in falls:
        counter = count()

        def fall(_: Step, *, fall_at: int = fall_at, counter: Any = counter) -> None:
            if next(counter) == fall_at:
                raise crash

        try:
            bench.run(source, at=fall)
        except crash:
            continue
    result = bench.run(source)
    assert result.manifest.rows_in == 30
    assert {k: v for k, v in bench.digests().items() if k != "manifest.json"} == {
        k: v for k, v in undisturbed.digests().items() if k != "manifest.json"
    }


def interrupted(bench: Any, crash: type[BaseException], rows: int = 16) -> Any:
    source = bench.parquet(bench.table(VALUES))

    def stop(progress: Any) -> None:
        if progress.rows_done >= rows:
            raise crash

    with pytest.raises(crash):
        bench.run(source, progress=stop)
    return source


def test_finished_partitions_are_not_predicted_again(
    bench: Any, crash: type[BaseException], doubler: Callable[..., Any]
) -> None:
    source = interrupted(bench, crash)
    calls: list[int] = []
    result = bench.run(source, predictor=doubler(on_call=lambda: calls.append(1)))
    assert result.rows_resumed == 16
    assert len(calls) == 5  # of 8 and 6 rows, 3 at a time
    assert bench.seen[0].rows_done == 16


def test_file_changed_since_it_was_staged_is_made_again(
    bench: Any, new_bench: Callable[[], Any], crash: type[BaseException]
) -> None:
    undisturbed = new_bench()
    undisturbed.run(undisturbed.parquet(undisturbed.table(VALUES)))
    source = interrupted(bench, crash)
    path = bench.attempt / "parts" / "part-000001.parquet"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    assert bench.run(source).rows_resumed == 8
    wanted = undisturbed.digests()
    assert bench.digests()["part-000001.parquet"] == wanted["part-000001.parquet"]


def test_file_lost_since_it_was_staged_is_made_again(
    bench: Any, crash: type[BaseException]
) -> None:
    source = interrupted(bench, crash)
    (bench.attempt / "parts" / "part-000000.parquet").unlink()
    assert bench.run(source).rows_resumed == 0
    assert bench.predictions().num_rows == 28


@pytest.mark.parametrize("cut", [1, 30, 150])
def test_torn_ledger_line_is_as_if_it_were_never_written(
    bench: Any, crash: type[BaseException], cut: int
) -> None:
    source = interrupted(bench, crash)
    ledger = bench.attempt / "ledger.jsonl"
    os.truncate(ledger, ledger.stat().st_size - cut)
    assert bench.run(source).rows_resumed == 8
    assert len(read_ledger(bench.staged).finished) == 4


def test_staging_holds_nothing_that_the_manifest_does_not_list(
    bench: Any, crash: type[BaseException]
) -> None:
    source = interrupted(bench, crash)
    (bench.attempt / "parts" / "part-000099.parquet").write_bytes(b"left by an older attempt")
    manifest = bench.run(source).manifest
    listed = {file.name for file in manifest.files} | {"manifest.json", "quarantine.parquet"}
    assert {path.name for path in bench.committed.iterdir()} == listed


def test_interrupt_is_passed_on_and_the_run_goes_on_later(bench: Any) -> None:
    source = bench.parquet(bench.table(VALUES))

    def interrupt(progress: Any) -> None:
        if progress.rows_done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(source, progress=interrupt)
    assert not bench.committed.exists()
    assert bench.run(source).rows_resumed == 8


def test_commit_whose_durability_is_unknown_says_so(bench: Any) -> None:
    def fail(step: Step) -> None:
        if step is Step.SYNC:
            raise OSError(5, "Input/output error")

    source = bench.parquet(bench.table(VALUES))
    with pytest.raises(CommitUnknown, match=r"manifest\.json is there, then run again"):
        bench.run(source, at=fail)
    assert bench.run(source).state is RunState.ALREADY_COMMITTED


@pytest.mark.parametrize("step", [Step.WRITE, Step.RENAME, Step.FINISH, Step.MANIFEST, Step.COMMIT])
def test_full_disk_is_an_error_that_says_how_to_go_on(bench: Any, step: Step) -> None:
    def fail(at: Step) -> None:
        if at is step:
            raise OSError(28, "No space left on device")

    source = bench.parquet(bench.table(VALUES))
    with pytest.raises(TwofoldError, match="No space left on device"):
        bench.run(source, at=fail)
    assert bench.run(source).state is RunState.COMMITTED


LINES = [
    '{"id": "a", "amount": 1.5, "plan": "basic"}',
    '{"id": "b", "amount": "2", "plan": null}',
    '{"id": "c", "amount": 3',
    '{"id": "d", "amount": 4, "plan": "pro", "note": {"x": []}}',
    "[1, 2]",
    "",
    '{"id": "f", "plan": "pro"}',
    '{"id": "g", "amount": 7, "amount": 8, "plan": "pro"}',
    '{"id": "h", "amount": 9, "plan": "gold"}',
    '{"id": "i", "amount": 10, "plan": "pro"}',
]


def as_lines(bench: Any) -> Any:
    return bench.text("\n".join((LINES + [LINES[0]] * 6) * 2), "in.jsonl")


def as_folders(bench: Any) -> Any:
    for number in range(4):
        bench.parquet(bench.table(VALUES[number * 7 :][:7]), f"in/day={number}/in.parquet")
    return bench.folder / "in"


@settings(max_examples=10, deadline=None)
@given(make=st.sampled_from([as_lines, as_folders]), rows=st.integers(1, 24))
def test_lines_and_folders_go_on_to_the_same_bytes(
    new_bench: Callable[[], Any], crash: type[BaseException], make: Any, rows: int
) -> None:
    bench, undisturbed = new_bench(), new_bench()
    for each in (bench, undisturbed):
        each.keep = ("day",) if make is as_folders else ("amount",)
    undisturbed.run(make(undisturbed))
    source = make(bench)

    def stop(progress: Any) -> None:
        if progress.rows_done >= rows:
            raise crash

    with pytest.raises(crash):
        bench.run(source, progress=stop)
    bench.run(source)
    found, wanted = bench.digests(), undisturbed.digests()
    del found["manifest.json"], wanted["manifest.json"]
    assert found == wanted


def test_files_that_changed_their_folders_are_another_input(
    bench: Any, crash: type[BaseException]
) -> None:
    bench.keep = ("day",)
    source = as_folders(bench)

    def stop(progress: Any) -> None:
        if progress.rows_done:
            raise crash

    with pytest.raises(crash):
        bench.run(source, progress=stop)
    (source / "day=3").rename(source / "day=4")
    with pytest.raises(InvalidInput, match="another content of the input"):
        bench.run(source)

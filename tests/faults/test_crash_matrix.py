"""A small part of the crash matrix, the same every time; `make crash-matrix` tries all of it."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from crash_matrix.calls import Call, joined, read_calls, trusted_after_failed_sync
from crash_matrix.histories import ALONE, Recorded, record
from crash_matrix.limits import LENGTH, SIZE, fill_disk, limit_length, why_not
from crash_matrix.operations import Data, Entries, Mark, Recording, Size, Sync, replay
from crash_matrix.points import Fault, Point, call_points, hidden
from crash_matrix.power_loss import Loss, states, unsynced
from crash_matrix.reader import look
from crash_matrix.recovery import Case, Recovery, cases, recover_one
from crash_matrix.scene import (
    MIXED_INPUT,
    Attempt,
    Result,
    Scene,
    Undisturbed,
    make_scene,
    run_undisturbed,
    strace_works,
)
from crash_matrix.survey import SEED, held_most, result_of
from crash_matrix.table import as_markdown, rows_of
from crash_matrix.trial import Outcome, try_point

STEPS = [("RENAME", 0), ("FINISH", -1), ("COMMIT", 0), ("SYNC", 0)]
# The fault, the call, the name of what it is about, and which of these points.
CALLS = [
    (Fault.KILL_AT_CALL, "rename", "parts", 0),
    (Fault.NO_SPACE, "write", "draft", 1),
    (Fault.NO_SPACE, "write", "manifest.json", 0),
    (Fault.BROKEN_DISK, "fsync", "draft", 0),
    (Fault.BROKEN_DISK, "close", "draft", 0),
    (Fault.BROKEN_DISK, "rename", "parts", 0),
]
LIMITS = [Point(Fault.FULL_DISK, SIZE, "", 3), Point(Fault.FILE_TOO_LONG, LENGTH, "", 700)]
SAMPLED_CASES = 60
CONTROL_CASES = 12

TRACE = """\
7 openat(AT_FDCWD</w>, "/w/o/draft", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 4</w/o/draft>
7 write(4</w/o/draft>, "PAR1", 4) = 4
8 openat(AT_FDCWD</w>, "/w/o/draft", O_RDONLY|O_CLOEXEC <unfinished ...>
7 close(4</w/o/draft>) = 0
8 <... openat resumed>) = 4</w/o/draft>
7 fsync(4</w/o/draft>) = -1 EIO (Input/output error) (INJECTED)
7 openat(AT_FDCWD</w>, "/w/other", O_WRONLY|O_CREAT, 0666) = 5</w/other>
7 +++ killed by SIGKILL +++
"""
ANEW = '9 openat(AT_FDCWD</w>, "/w/o/draft", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 4</w/o/draft>\n'
RENAMED = '9 rename("/w/o/draft", "/w/o/part") = 0\n'


RECORD = """\
7 mkdir("/d/o", 0777) = 0
7 mkdir("/d/o", 0777) = -1 EEXIST (File exists)
7 openat(AT_FDCWD</w>, "/d/o/a", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3</d/o/a>
8 openat(AT_FDCWD</w>, "/notes", O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, 0666) = 4</notes>
8 write(4</notes>, "WRITE", 5) = 5
7 write(3</d/o/a>, "PAR1torn", 8) = 4
8 openat(AT_FDCWD</w>, "/elsewhere", O_WRONLY|O_CREAT, 0666) = 4</elsewhere>
8 write(4</elsewhere>, "x", 1) = 1
7 fsync(3</d/o/a>) = 0
7 rename("/d/o/a", "/d/b") = 0
7 openat(AT_FDCWD</w>, "/d/b", O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, 0666) = 5</d/b>
7 write(5</d/b>, "+", 1) = 1
7 truncate("/d/b", 3) = 0
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("crash-matrix"))


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> Undisturbed:
    return run_undisturbed(scene, trace=strace_works())


@pytest.fixture(scope="module")
def alone(scene: Scene) -> Recorded:
    skip_without_strace()
    folder = scene.folder / "alone"
    folder.mkdir()
    return record(scene, ALONE, folder)


@pytest.fixture(scope="module")
def expected(scene: Scene, alone: Recorded) -> Result:
    assert alone.history is ALONE
    return result_of(scene, scene.folder / "alone", MIXED_INPUT)


def recovered(
    scene: Scene, expected: Result, tried: Sequence[Case], folder: Path
) -> list[Recovery]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(scene.folder)
        return [recover_one(scene, expected, case, folder) for case in tried]


def expect_whole(outcome: Outcome) -> None:
    assert outcome.wrong == ()
    assert outcome.reached
    assert outcome.resumed
    assert outcome.looks > 10


def skip_without_strace() -> None:
    if strace_works():
        return
    reason = "needs strace, and leave to trace a process"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize(("step", "which"), STEPS, ids=[step for step, _ in STEPS])
def test_run_killed_at_a_step_is_resumed_to_the_same_output(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path, step: str, which: int
) -> None:
    point = [point for point in undisturbed.points if point.operation == step][which]
    outcome = try_point(scene, undisturbed, point, tmp_path / "out")
    expect_whole(outcome)
    assert outcome.committed == (step == "SYNC")


@pytest.mark.parametrize("place", CALLS, ids=["-".join(map(str, call[:3])) for call in CALLS])
def test_run_disturbed_in_a_call_is_resumed_to_the_same_output(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path, place: tuple[Fault, str, str, int]
) -> None:
    skip_without_strace()
    outcome = try_point(scene, undisturbed, point_of(undisturbed, *place), tmp_path / "out")
    expect_whole(outcome)
    assert not outcome.committed


def test_commit_whose_fsync_failed_is_said_to_be_unknown(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    skip_without_strace()
    point = point_of(undisturbed, Fault.BROKEN_DISK, "fsync", "", -1)
    outcome = try_point(scene, undisturbed, point, tmp_path / "out")
    expect_whole(outcome)
    assert outcome.commit_unknown


def test_lease_that_can_not_be_closed_does_not_fail_a_committed_run(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    skip_without_strace()
    point = point_of(undisturbed, Fault.BROKEN_DISK, "close", "lease", 0)
    outcome = try_point(scene, undisturbed, point, tmp_path / "out")
    expect_whole(outcome)
    assert outcome.code == 0


def test_point_whose_call_is_never_made_is_missed(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    skip_without_strace()
    point = point_of(undisturbed, Fault.NO_SPACE, "write", "manifest.json", 0)
    point = dataclasses.replace(point, number=99)
    outcome = try_point(scene, undisturbed, point, tmp_path / "out")
    assert not outcome.reached
    assert "missed" in str(outcome)


@pytest.mark.parametrize("point", LIMITS, ids=[point.operation for point in LIMITS])
def test_run_that_comes_to_the_end_of_its_disk_goes_on_with_more(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path, point: Point
) -> None:
    if point.fault is Fault.FULL_DISK:
        if reason := why_not():
            pytest.skip(f"no small disk: {reason}")
        outcome = fill_disk(scene, undisturbed, point, tmp_path / "small")
    else:
        outcome = limit_length(scene, undisturbed, point, tmp_path / "out")
    expect_whole(outcome)
    assert not outcome.committed


def test_no_call_is_hidden_behind_another_threads(undisturbed: Undisturbed) -> None:
    assert undisturbed.hidden == ()


def test_run_is_whole_after_any_loss_of_power(
    scene: Scene, alone: Recorded, expected: Result, tmp_path: Path
) -> None:
    found = cases([alone], SEED)
    assert {case.loss for case in found} >= {Loss.ALL, Loss.NONE, Loss.TORN, Loss.ZEROS}
    sampled = random.Random(SEED).sample(found, SAMPLED_CASES)  # noqa: S311 - no secret
    tried = [*held_most(found, CONTROL_CASES), *sampled]
    assert [str(one) for one in recovered(scene, expected, tried, tmp_path) if one.wrong] == []


def test_run_without_an_fsync_is_recorded_as_one_less_it(
    scene: Scene, alone: Recorded, tmp_path: Path
) -> None:
    history = dataclasses.replace(ALONE, attempts=(Attempt(without_sync="draft"),))
    without = record(scene, history, tmp_path)
    # Two threads sync: which comes first may differ from run to run.
    found, before = (
        Counter(one.name for one in run.operations if isinstance(one, Sync))
        for run in (without, alone)
    )
    assert before.pop("draft") > 0
    assert found == before


def test_every_fsync_that_is_left_out_shows(
    scene: Scene, alone: Recorded, expected: Result, tmp_path: Path
) -> None:
    names = {one.name for one in alone.operations if isinstance(one, Sync)}
    assert {"draft", "parts", "ledger.jsonl", "manifest.json"} <= names
    for name in names:
        tried = held_most(cases([alone.without_sync(name)], SEED), CONTROL_CASES)
        wrong = [one for one in recovered(scene, expected, tried, tmp_path) if one.wrong]
        assert wrong, f"no state tells that {name} isn't synced"


def test_record_tells_what_was_done_to_which_file() -> None:
    recording = Recording("/d", "/notes")
    recording.read(in_hex(RECORD).splitlines())
    assert recording.operations == [
        Entries(((0, "o", -1),)),
        Entries(((-1, "a", 2),)),
        Mark("WRITE"),
        Data(2, 0, b"PAR1"),
        Sync(2, "a"),
        Entries(((-1, "a", None), (0, "b", 2))),
        Data(2, 4, b"+"),
        Size(2, 3),
    ]
    assert replay(recording.operations) == {"o": None, "b": b"PAR"}


def test_record_refuses_what_it_does_not_understand() -> None:
    recording = Recording("/d", "/notes", {"a": b"x"})
    line = in_hex("7 fallocate(3</d/a>, 0, 0, 10) = 0")
    with pytest.raises(ValueError, match="isn't modelled"):
        recording.read([line])


def test_only_what_an_fsync_promised_outlives_every_loss_of_power() -> None:
    operations = [
        Entries(((0, "a", 1),)),
        Data(1, 0, b"one"),
        Sync(1, "a"),
        Sync(0, "d"),
        Data(1, 3, b"two"),
        Entries(((0, "a", None), (0, "b", 1))),
    ]
    assert unsynced(operations[:3], 0) == [0]
    assert unsynced(operations, 0) == [4, 5]
    found = [state.tree for state in states(operations, 0, 6, SEED)]
    assert {"a": b"one"} in found
    assert {"b": b"one"} in found
    assert {"b": b"onetwo"} in found
    assert {"b": b"onet"} in found
    assert {"b": b"one\0\0\0"} in found
    for tree in found:
        assert len(tree) == 1
        assert all(content and content.startswith(b"one") for content in tree.values())


def test_entries_may_be_lost_in_any_order_but_a_rename_is_one() -> None:
    operations = [
        Entries(((0, "a", -1),)),
        Entries(((0, "b", 2),)),
        Entries(((0, "b", None), (-1, "c", 2))),
    ]
    found = [state.tree for state in states(operations, 0, 3, SEED)]
    assert all(tree in found for tree in ({}, {"a": None}, {"a": None, "a/c": b""}, {"b": b""}))
    assert not any("b" in tree and "a/c" in tree for tree in found)
    assert unsynced([*operations, Sync(0, "d")], 0) == [2]
    assert unsynced([*operations, Sync(-1, "a")], 0) == [0, 1]


def point_of(undisturbed: Undisturbed, fault: Fault, operation: str, name: str, at: int) -> Point:
    """Find a point of a first attempt by the name of what it is about."""
    found = [
        point
        for point in undisturbed.points
        if (point.fault, point.operation, Path(point.path).name) == (fault, operation, name)
        and not point.after
    ]
    return found[at]


def in_hex(record: str) -> str:
    """Write strings and paths as strace does with -xx."""

    def escaped(match: re.Match[str]) -> str:
        inner = "".join(f"\\x{byte:02x}" for byte in match[2].encode())
        return match[1] + inner + match[3]

    return re.sub(r'(["<])([^">. ]*[^"> ]*)([">])(?![^\n]*resumed>)', escaped, record)


def test_calls_are_read_with_their_numbers_by_thread_and_path() -> None:
    calls = read_calls(TRACE.splitlines(), "/w/o")
    assert [(call.name, call.number, call.writes, call.injected) for call in calls] == [
        ("openat", 1, True, False),
        ("write", 1, True, False),
        ("close", 1, True, False),
        ("openat", 1, False, False),
        ("fsync", 1, True, True),
    ]
    assert [call.in_main for call in calls] == [True, True, True, False, True]


def test_call_that_another_thread_interrupts_is_one() -> None:
    found = [call for call in joined(TRACE.splitlines()) if call.thread == "8"]
    assert [(call.name, call.result) for call in found] == [("openat", 4)]
    (unfinished,) = joined(["7 fsync(4</w/o/draft> <unfinished ...>"])
    assert unfinished.returned == "?"


def test_call_that_another_thread_makes_first_is_hidden_unless_its_like_is_struck() -> None:
    first = Call("fsync", "/w/o/draft", 1, writes=True, injected=False, in_main=False)
    second = dataclasses.replace(first, in_main=True)
    points = call_points([first, second], "/w/o")
    assert {point.in_main for point in points} == {False}
    assert hidden([first, second], points, "/w/o") == [second]
    assert hidden([first, second], [*points, *call_points([second], "/w/o")], "/w/o") == []


def test_each_call_that_changes_something_is_a_point_of_each_fault_it_can_have() -> None:
    points = call_points(read_calls(TRACE.splitlines(), "/w/o"), "/w/o")
    assert Counter(point.fault for point in points) == {
        Fault.KILL_AT_CALL: 4,
        Fault.NO_SPACE: 3,
        Fault.BROKEN_DISK: 4,
    }
    assert {point.path for point in points} == {"draft"}


@pytest.mark.parametrize(("then", "trusted"), [(RENAMED, True), (ANEW + RENAMED, False)])
def test_file_whose_fsync_failed_may_be_used_only_when_written_anew(
    then: str, *, trusted: bool
) -> None:
    calls = read_calls((TRACE + then).splitlines(), "/w/o")
    assert trusted_after_failed_sync(calls, "/w/o/draft") == trusted


def test_reader_tells_of_a_missing_manifest_a_missing_file_and_a_changed_byte(
    scene: Scene, undisturbed: Undisturbed
) -> None:
    folder = scene.folder / "undisturbed" / "night"
    assert look(folder) is None
    part = folder / "part-000000.parquet"
    whole = part.read_bytes()
    try:
        part.write_bytes(whole[:-1])
        assert "another checksum" in str(look(folder))
        part.unlink()
        assert "by the manifest" in str(look(folder))
    finally:
        part.write_bytes(whole)
    assert "manifest.json" in str(look(scene.folder))


def test_table_counts_nothing_of_a_fault_that_did_not_strike_but_that_it_missed() -> None:
    point = Point(Fault.NO_SPACE, "write", "draft", 3)
    missed = Outcome(
        point,
        reached=False,
        code=0,
        committed=True,
        resumed=True,
        wrong=(),
        left_over=("quarantine",),
        looks=9,
    )
    rows = rows_of([missed])
    assert as_markdown(rows).splitlines()[2:] == [
        "| ENOSPC | `write` | 1 | 0 | 1 | 0 | 0 | 0 | 0 |",
        "| all |  | 1 | 0 | 1 | 0 | 0 | 0 | 0 |",
    ]

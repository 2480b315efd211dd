"""A small part of the crash matrix, the same every time; `make crash-matrix` tries all of it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from crash_matrix.calls import read_calls, trusted_after_failed_sync
from crash_matrix.points import Fault, Point, call_points
from crash_matrix.reader import look
from crash_matrix.scene import Scene, Undisturbed, make_scene, run_undisturbed, strace_works
from crash_matrix.table import as_markdown, rows_of
from crash_matrix.trial import Outcome, try_point

STAGED = ".twofold/night/attempt-000001"
DRAFT = f"{STAGED}/draft"

STEPS = [("RENAME", 0), ("FINISH", -1), ("COMMIT", 0), ("SYNC", 0)]
# The fault, the call, and which of the calls on this path from the start of the run.
CALLS = [
    (Fault.KILL_AT_CALL, "rename", f"{STAGED}/parts", 1),
    (Fault.NO_SPACE, "write", DRAFT, 3),
    (Fault.NO_SPACE, "write", f"{STAGED}/parts/manifest.json", 1),
    (Fault.BROKEN_DISK, "fsync", DRAFT, 1),
    (Fault.BROKEN_DISK, "rename", f"{STAGED}/parts", 1),
]
AFTER_COMMIT = Point(Fault.BROKEN_DISK, "fsync", ".", 2)

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


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("crash-matrix"))


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> Undisturbed:
    return run_undisturbed(scene, trace=False)


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


@pytest.mark.parametrize("place", CALLS, ids=[f"{call[0].name}-{call[1]}" for call in CALLS])
def test_run_disturbed_in_a_call_is_resumed_to_the_same_output(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path, place: tuple[Fault, str, str, int]
) -> None:
    skip_without_strace()
    outcome = try_point(scene, undisturbed, Point(*place), tmp_path / "out")
    expect_whole(outcome)
    assert not outcome.committed


def test_commit_whose_fsync_failed_is_said_to_be_unknown(
    scene: Scene, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    skip_without_strace()
    outcome = try_point(scene, undisturbed, AFTER_COMMIT, tmp_path / "out")
    expect_whole(outcome)
    assert outcome.commit_unknown


def test_calls_are_read_with_their_numbers_by_thread_and_path() -> None:
    calls = read_calls(TRACE.splitlines(), "/w/o")
    assert [(call.name, call.number, call.writes, call.injected) for call in calls] == [
        ("openat", 1, True, False),
        ("write", 1, True, False),
        ("openat", 1, False, False),
        ("close", 1, False, False),
        ("fsync", 1, True, True),
    ]


def test_each_call_that_changes_something_is_a_point_of_each_fault_it_can_have() -> None:
    points = call_points(read_calls(TRACE.splitlines(), "/w/o"), "/w/o")
    assert Counter(point.fault for point in points) == {
        Fault.KILL_AT_CALL: 3,
        Fault.NO_SPACE: 3,
        Fault.BROKEN_DISK: 3,
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


def test_table_counts_a_fault_that_did_not_strike_as_wrong() -> None:
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
        "| ENOSPC | `write` | 1 | 1 | 1 | 0 | 0 | 1 |",
        "| all |  | 1 | 1 | 1 | 0 | 0 | 1 |",
    ]

"""A publisher that is killed anywhere: one whole snapshot is read, and the next one works."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.app.settings import read
from twofold.app.snapshot import PublishState, look_at_snapshots, publish_run
from twofold.stores.embedded import EmbeddedStore

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import child
from snapshots import ROWS, commit_runs, expected

DEADLINE_S = 120

# Says each step, each fsync, rename and deletion, and each change of the shared words on a line of
# its own, and waits for leave to go on, so that a kill hits it.
CHILD = """
import os
import shutil
import sys
from pathlib import Path
from twofold.app.settings import read
from twofold.app.snapshot import PublishWatch, publish_run
from twofold.stores import embedded, files, words

def say(what):
    os.write(1, (what + "\\n").encode())
    sys.stdin.readline()

def told(owner, name):
    call = getattr(owner, name)
    def wrapped(*given, **named):
        say(name)
        return call(*given, **named)
    setattr(owner, name, wrapped)

for owner, name in [
    (os, "fsync"), (embedded, "sync"), (Path, "rename"), (shutil, "rmtree"), (Path, "unlink"),
    (words.Words, "begin_switch"), (words.Words, "end_switch"),
]:
    told(owner, name)
folder = Path(sys.argv[1])
settings = read({"store": sys.argv[2]}, folder=folder, environment={})
publish_run(
    folder / "runs" / "second", settings, force=True,
    watch=PublishWatch(step=lambda step: say("step " + step.name)),
)
print("published", flush=True)
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publishing")
    commit_runs(folder, "publishing_doubler")
    return folder


def publish(workplace: Path, store: Path, run_id: str) -> PublishState:
    settings = read({"store": str(store)}, folder=workplace, environment={})
    return publish_run(workplace / "runs" / run_id, settings, force=True).state


def started(
    workplace: Path, store: Path, leave: int
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return child(CHILD, workplace, store, leave=leave)


def events_of(workplace: Path, store: Path) -> list[str]:
    """What a publisher says that nobody disturbs."""
    with started(workplace, store, subprocess.DEVNULL) as process:
        said, _ = process.communicate(timeout=DEADLINE_S)
    lines = said.splitlines()
    assert lines[-1] == "published", lines
    return lines[:-1]


def kill_at(workplace: Path, store: Path, count: int) -> None:
    """Kill a publisher where it says something for the so many-th time."""
    with started(workplace, store, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for number, _ in enumerate(process.stdout):
            if number == count:
                process.kill()
                break
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(DEADLINE_S) == -signal.SIGKILL


def check_whole(store: Path, run_ids: set[str]) -> str:
    """Every key is there, all of one run; its name."""
    reader = EmbeddedStore(store).reader("doubler")
    found = reader.find([f"c{row}".encode() for row in range(ROWS)])
    assert found.snapshot is not None
    run_id = found.snapshot.run_id
    assert run_id in run_ids
    for row, stored in enumerate(found.stored):
        assert stored is not None
        assert stored.predictions == (expected(run_id, row),)
        assert stored.origin.run_id == run_id
    reader.close()
    return run_id


def test_a_publisher_that_is_killed_anywhere_leaves_one_whole_snapshot_and_the_next_one_works(
    workplace: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    publish(workplace, whole, "first")
    events = events_of(workplace, whole)
    assert events.count("rename") == 1
    assert {"step WRITE", "step SWITCHED", "begin_switch", "end_switch", "fsync"} <= set(events)
    switch = events.index("rename")
    for count, event in enumerate(events):
        store = tmp_path / f"store-{count}"
        publish(workplace, store, "first")
        reader = EmbeddedStore(store).reader("doubler")
        assert reader.find([b"c1"]).snapshot is not None
        kill_at(workplace, store, count)
        # Killed before the rename, and at it: it is said before it is done.
        after = {"second"} if count > switch else {"first"}
        assert check_whole(store, after) in after, event
        # So it is for who read before, too, without being told.
        found = reader.find([b"c7"])
        assert found.snapshot is not None
        assert {found.snapshot.run_id} == after, event
        assert publish(workplace, store, "second") is (
            PublishState.ALREADY_PUBLISHED if count > switch else PublishState.PUBLISHED
        )
        assert check_whole(store, {"second"}) == "second"
        found = reader.find([b"c7"])
        assert found.snapshot is not None
        assert found.snapshot.run_id == "second"
        settings = read({"store": str(store)}, folder=workplace, environment={})
        kept = {item.name for item in look_at_snapshots(settings, "doubler").kept}
        folders = {path.name for path in (store / "doubler").iterdir() if path.is_dir()}
        assert folders == kept, event
        reader.close()

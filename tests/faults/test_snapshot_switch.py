"""Readers at full speed while snapshots switch back and forth: no key missing, nothing mixed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twofold.app.settings import read
from twofold.app.snapshot import publish_run, roll_back_snapshot

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import child
from snapshots import RUNS, commit_runs

READERS, SWITCHES = 3, 60
KEYS_AT_ONCE = 4
DEADLINE_S = 120

# Reads as fast as it can until it is told to end; says what it saw.
READER = """
import json
import random
import sys
import threading
from pathlib import Path
from twofold.stores.embedded import EmbeddedStore

rows, at_once, more = int(sys.argv[3]), int(sys.argv[4]), json.loads(sys.argv[5])
reader = EmbeddedStore(Path(sys.argv[2])).reader("doubler")
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
reads = changes = 0
last, switches, wrong = None, -1, []
choice = random.Random(7)
print("reading", flush=True)
while not ended.is_set():
    places = [choice.randrange(rows) for _ in range(at_once)]
    found = reader.find([b"c%d" % place for place in places])
    run_id = found.snapshot.run_id
    if reader.switches < switches:
        wrong.append("went back")
    switches = reader.switches
    changes += run_id != last
    last = run_id
    for place, stored in zip(places, found.stored):
        reads += 1
        if stored is None:
            wrong.append(f"c{place} is missing")
        elif (stored.origin.run_id, *stored.predictions) != (run_id, 2.0 * (place + more[run_id])):
            wrong.append(f"c{place} is mixed: {stored} in {run_id}")
print(json.dumps({"reads": reads, "changes": changes, "wrong": wrong[:3]}), flush=True)
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("switching")
    commit_runs(folder, "switching_doubler", rows=2_000)
    return folder


def test_no_read_of_any_process_is_lost_or_mixed_while_snapshots_switch(
    workplace: Path, tmp_path: Path
) -> None:
    settings = read({"store": str(tmp_path / "store")}, folder=workplace, environment={})
    for run_id in RUNS:
        publish_run(workplace / "runs" / run_id, settings, force=True)
    given = (tmp_path / "store", "2000", str(KEYS_AT_ONCE), json.dumps(RUNS))
    with (
        child(READER, workplace, *given, leave=subprocess.PIPE) as one,
        child(READER, workplace, *given, leave=subprocess.PIPE) as two,
        child(READER, workplace, *given, leave=subprocess.PIPE) as three,
    ):
        readers = [one, two, three]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
        for number in range(SWITCHES):
            if number % 10 == 9:
                # Not only back and forth: a new snapshot, and the oldest one deleted.
                run_id = ("first", "second")[number // 10 % 2]
                publish_run(workplace / "runs" / run_id, settings, force=True)
            else:
                roll_back_snapshot(settings, "doubler")
            time.sleep(0.01)
        for reader in readers:
            said, _ = reader.communicate("\n", timeout=DEADLINE_S)
            found = json.loads(said)
            assert found["wrong"] == []
            assert found["reads"] > KEYS_AT_ONCE * SWITCHES
            assert found["changes"] > 1

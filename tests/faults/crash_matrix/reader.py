"""A reader that never stops looking at a run's output, and tells of all that isn't whole.

A script, of the standard library alone so that it looks on early: `reader.py FOLDER`. It ends when
its standard input does, and prints what it saw as JSON.
"""

from __future__ import annotations

import hashlib
import json
import select
import sys
from pathlib import Path

PAUSE_S = 0.001
MANIFEST_FILE = "manifest.json"


def look(folder: Path) -> str | None:
    """Say what is wrong with a visible run; None if it is whole."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
        expected = {file["name"]: file for file in manifest["files"]}
        if manifest["quarantine"]:
            expected[manifest["quarantine"]["name"]] = manifest["quarantine"]
        found = {path.name for path in folder.iterdir()} - {MANIFEST_FILE}
        if found != set(expected):
            return f"files {sorted(found)}, by the manifest {sorted(expected)}"
        for name, file in expected.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != file["sha256"]:
                return f"{name} has another checksum than in the manifest"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def watch(folder: Path) -> dict[str, object]:
    """Look until the standard input ends."""
    looks, seen = 0, False
    wrong: list[str] = []
    while not wrong:
        ended = bool(select.select([sys.stdin], [], [], PAUSE_S)[0])
        looks += 1
        if folder.exists():
            seen = True
            if problem := look(folder):
                wrong.append(problem)
        elif seen:
            wrong.append("the run was visible, and is gone")
        if ended:
            break
    return {"looks": looks, "seen": seen, "wrong": wrong}


if __name__ == "__main__":
    json.dump(watch(Path(sys.argv[1])), sys.stdout)

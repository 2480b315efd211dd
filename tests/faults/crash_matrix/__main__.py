"""`python -m crash_matrix`: try every point, print the table."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from crash_matrix.page import render_page
from crash_matrix.points import Fault, Point
from crash_matrix.scene import Scene, Undisturbed, make_scene, run_undisturbed, strace_works
from crash_matrix.table import as_json, as_markdown, rows_of
from crash_matrix.trial import Outcome, try_point

talk = Console(stderr=True, highlight=False, markup=False)


def try_points(
    scene: Scene, undisturbed: Undisturbed, points: Sequence[Point], *, at_once: int
) -> list[Outcome]:
    """Try points, several at once; on a terminal, with a progress bar."""
    outputs = [scene.folder / f"point-{number:04}" for number in range(len(points))]
    with ThreadPoolExecutor(at_once) as pool:
        done = pool.map(partial(try_point, scene, undisturbed), points, outputs)
        shown = track(
            done,
            "trying points",
            total=len(points),
            console=talk,
            disable=not talk.is_terminal,
        )
        return list(shown)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="crash_matrix", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print every point as JSON")
    parser.add_argument("--page", type=Path, help="write the page of the documentation, too")
    parser.add_argument("--folder", type=Path, help="work here, and keep what went wrong")
    parser.add_argument("--fault", choices=[fault.name for fault in Fault], help="only this one")
    parser.add_argument("--operation", help="only this step or call")
    parser.add_argument(
        "--at-once", type=int, default=os.cpu_count() or 1, help="points tried at the same time"
    )
    return parser.parse_args()


def main() -> int:
    """Try the points, print the table; 1 if any outcome is wrong."""
    given = arguments()
    trace = strace_works()
    if not trace:
        talk.print("strace doesn't work here: runs are only disturbed at their steps")
    with contextlib.ExitStack() as stack:
        folder = given.folder
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="crash-matrix-")
            folder = Path(stack.enter_context(made))
        folder.mkdir(parents=True, exist_ok=True)
        scene = make_scene(folder.resolve())
        undisturbed = run_undisturbed(scene, trace=trace)
        points = [
            point
            for point in undisturbed.points
            if given.fault in (None, point.fault.name)
            and given.operation in (None, point.operation)
        ]
        outcomes = try_points(scene, undisturbed, points, at_once=given.at_once)
    rows = rows_of(outcomes)
    print(json.dumps(as_json(outcomes)) if given.json else as_markdown(rows))  # noqa: T201 - a command
    for outcome in outcomes:
        for what in outcome.wrong:
            talk.print(f"{outcome.point}: {what}")
        if not outcome.reached:
            talk.print(f"{outcome.point}: the fault did not strike")
    if given.page:
        given.page.write_text(render_page(rows), encoding="utf-8")
    return int(rows[-1].wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
